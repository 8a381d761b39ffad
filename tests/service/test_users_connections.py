"""Several connections of several users in one service: each with its login, state and orders, none with another's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap import Edges, run
from ibkit.bootstrap.connection_desk import open_connection_desk
from ibkit.bootstrap.credential_desk import Asker, open_credential_desk
from ibkit.bootstrap.multi_user import accept_licence
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.settings import Settings
from ibkit.sim.logins.sessions import gateway_login
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.users.principal import Scope
from people import PAPER, People, person
from service_desks import PACE, Served, fast_world, new_key, served, settings_of, unhurried, until
from vaults import OLD

KEEPS = PAPER | {Scope.CREDENTIALS}
GATEWAYS = {port: f"https://localhost:{port}" for port in (5001, 5002, 5003)}


ACCOUNTS = {5001: "DU1000001", 5002: "DU2000001", 5003: "DU1000001"}


def worlds() -> dict[int, Simulator]:
    """Three gateways, each with a login of its own, in one time."""
    first = fast_world(seed=1)
    config = SimConfig(start=first.clock.now(), seed=2)
    there = {5001: first, **{port: Simulator(config, first.clock, keys=None) for port in (5002, 5003)}}
    gateway_login(there[5002].world, "simpaper2", ready=True)
    return there


def approved(settings: Settings) -> None:
    """IBKR's approval of several users, as somebody vouched for it."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    run(lambda: accept_licence(settings, "IBKR compliance case 12345", by="cli:tests", at=at))


def store(settings: Settings, user_id: str, connection_id: str, port: int) -> None:
    """Credentials that have passed their test."""

    async def main() -> None:
        async with open_credential_desk(settings) as desk:
            who = Asker(user_id=user_id, actor=user_id)
            fields = {"address": Secret(GATEWAYS[port]), "account_id": Secret(ACCOUNTS[port])}
            kept = await desk.put(
                who, connection_id, method=AuthMethod.GATEWAY, environment=Environment.PAPER, fields=fields
            )
            assert kept.waiting is not None
            await desk.credentials.activate(kept.waiting.credential_id)

    run(main)


@contextmanager
def many(folder: Path, *kept: tuple[str, str, int]) -> Iterator[tuple[Served, dict[int, Simulator]]]:
    """A service of several users. kept: (user, connection, port of its gateway)."""
    settings = settings_of(
        folder,
        BROKER_PROVIDER="ibkr",
        ENABLE_MULTI_USER="true",
        ENCRYPTION_KEY=OLD,
        IBKR_GATEWAYS_FOR_USERS=",".join(GATEWAYS.values()),
    )
    there = worlds()
    approved(settings)
    for user_id, connection_id, port in kept:
        store(settings, user_id, connection_id, port)
    people = People({name: person(name) for name in ("ada", "bob", "eve")})
    edges = Edges(transport=lambda each: there[each.gateway_address.port].transport("gateway"), clock=there[5001].clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.own_connections.open_connection", unhurried)
        with served(settings, people=people, wait=False, open_edges=edges) as service:
            yield service, there


def state(service: Served, token: str = "ada", connection_id: str | None = None) -> Any:
    query = "" if connection_id is None else f"?connection_id={connection_id}"
    return service.ask("GET", f"/api/ibkr/status{query}", token=token).json["state"]


def order(service: Served, token: str = "ada", **changes: Any) -> Any:
    return service.order(broker="ibkr", token=token, **changes)


def placed(world: Simulator) -> int:
    return sum(each.method == "POST" and each.path.endswith("/orders") for each in world.requests)


KEPT = (("user-ada", "one", 5001), ("user-ada", "two", 5002), ("user-bob", "one", 5003))


@pytest.mark.requirement("SES-15", "GWY-09", "VLT-09", "MON-03")
def test_each_order_goes_by_the_connection_it_names_and_one_that_is_down_touches_no_other(tmp_path: Path) -> None:
    with many(tmp_path, *KEPT) as (service, there):
        for connection_id in ("one", "two"):
            until(lambda name=connection_id: state(service, connection_id=name) == "connected")
        first, second = order(service), order(service, connection_id="two")
        assert (first.status, second.status) == (201, 201), (first.raw, second.raw)
        assert [placed(there[port]) for port in GATEWAYS] == [1, 1, 0]
        listed = service.ask("GET", "/api/ibkr/connections").data
        assert [(each["connection_id"], each["is_default"], each["state"]) for each in listed] == [
            ("one", True, "connected"),
            ("two", False, "connected"),
        ]

        assert service.ask("GET", "/health/broker", token=None).json == {"status": "up", "code": None}
        assert service.ask("GET", "/health/broker/one").json == {"status": "up", "code": None}

        there[5001].up = False
        until(lambda: state(service) == "error")
        assert service.ask("GET", "/health/broker", token=None).json == {"status": "down", "code": "E-GW-DOWN"}
        one, two = (service.ask("GET", f"/health/broker/{name}") for name in ("one", "two"))
        assert (one.status, one.json) == (503, {"status": "down", "code": "E-GW-DOWN"})
        assert (two.status, two.json) == (200, {"status": "up", "code": None})
        assert state(service, connection_id="two") == "connected"
        assert order(service, connection_id="two").status == 201
        refused = order(service)
        assert (refused.status, refused.code) == (503, "E-GW-DOWN"), refused.raw
        listed = service.ask("GET", "/api/ibkr/connections").data
        assert [each["state"] for each in listed] == ["error", "connected"]
        assert listed[0]["last_error"]["code"] == "E-GW-DOWN"
        listed = {
            name: [each["account_id"] for each in service.ask("GET", f"/broker-order?broker=ibkr{more}").data]
            for name, more in (("all", ""), ("one", "&connection_id=one"), ("two", "&connection_id=two"))
        }
        assert (set(listed["one"]), set(listed["two"])) == ({"DU1000001"}, {"DU2000001"})
        assert len(listed["all"]) == len(listed["one"]) + len(listed["two"])
        # A cancel goes by the login that the order was sent by.
        resting = order(service, connection_id="two", order_type="limit", limit_price=1)
        assert resting.status == 201, resting.raw
        assert resting.data["account_id"] == "DU2000001"
        for name, shown in (("one", False), ("two", True)):
            left = service.ask("GET", f"/broker-order?broker=ibkr&status=open&connection_id={name}").data
            assert (resting.data["id"] in [each["id"] for each in left]) is shown
        gone = service.ask("DELETE", f"/broker-order/{resting.data['id']}")
        assert gone.status == 200, gone.raw
        assert gone.data["status"] == "cancelled"


@pytest.mark.requirement("SES-15", "SYN-03", "GWY-07", "VLT-09")
def test_nobody_reaches_the_connections_of_another(tmp_path: Path) -> None:
    with many(tmp_path, *KEPT) as (service, there):
        until(lambda: state(service, "bob") == "connected")
        until(lambda: state(service) == "connected")
        of_bob = order(service, "bob")
        assert of_bob.status == 201, of_bob.raw
        assert placed(there[5003]) == 1
        assert [each["connection_id"] for each in service.ask("GET", "/api/ibkr/connections", token="bob").data] == [
            "one"
        ]
        for method, path in (
            ("GET", "/api/ibkr/status"),
            ("GET", "/api/ibkr/session"),
            ("GET", "/api/ibkr/session/history"),
            ("GET", "/api/account"),
            ("GET", "/api/positions"),
            ("GET", "/api/trades"),
            ("GET", "/ibkr/accounts"),
            ("POST", "/api/ibkr/test"),
            ("POST", "/api/ibkr/connect"),
            ("POST", "/api/ibkr/logout"),
        ):
            answer = service.ask(method, f"{path}?connection_id=two", token="bob")
            assert (answer.status, answer.code) == (404, "E-NOT-FOUND"), path
        assert order(service, "bob", connection_id="two").status == 404
        assert service.ask("GET", "/health/broker/two", token="bob").status == 404
        assert service.ask("GET", "/health/broker/two", token=None).status == 401
        assert service.ask("DELETE", "/api/ibkr/connections/two", token="bob").status == 404
        assert service.ask("POST", "/api/ibkr/connections/two/default", token="bob").status == 404
        assert service.ask("DELETE", f"/broker-order/{of_bob.data['id']}").status == 404
        assert service.ask("GET", f"/broker-order/{of_bob.data['id']}").status == 404
        for path in ("/api/account", "/api/positions"):
            assert service.ask("GET", path, token="bob").status == 200
            assert service.ask("GET", f"{path}?account_id={ACCOUNTS[5002]}", token="bob").status == 404, path
            assert service.ask("GET", path, token="eve").code == "E-NOT-CONFIGURED", path
        for token, theirs in (("ada", {ACCOUNTS[5001], ACCOUNTS[5002], "DU2000002"}), ("bob", {ACCOUNTS[5003]})):
            told = service.ask("GET", "/ibkr/accounts", token=token).json["accounts"]
            assert {each["accountId"] for each in told} == theirs, told
            assert all(each["linked_to"] is None and each["environment"] == "paper" for each in told)
        # Who has none gets none: neither another's nor that of the settings.
        assert service.ask("GET", "/api/ibkr/status", token="eve").json["configured"] is False
        refused = order(service, "eve")
        assert (refused.status, refused.code) == (409, "E-NOT-CONFIGURED"), refused.raw
        assert service.ask("POST", "/api/ibkr/logout", token="bob").status == 200
        assert (state(service), state(service, "bob")) == ("connected", "disconnected")


@pytest.mark.requirement("SES-15")
def test_the_key_of_an_order_belongs_to_the_connection_it_was_placed_by(tmp_path: Path) -> None:
    with many(tmp_path, *KEPT) as (service, there):
        until(lambda: state(service, connection_id="two") == "connected")
        key = new_key()
        assert order(service, key=key, connection_id="two").status == 201
        again = order(service, key=key, connection_id="two")
        assert (again.status, again.json["cached"]) == (200, True)
        other = order(service, key=key, connection_id="one")
        assert (other.status, other.code) == (422, "E-IDEM-CONFLICT"), other.raw
        assert other.json["error"]["details"]["fields"] == ["connection_id"]
        assert [placed(there[port]) for port in (5001, 5002)] == [0, 1]


@pytest.mark.requirement("SES-15", "SES-16")
def test_connections_are_made_chosen_and_deleted_by_their_user(tmp_path: Path) -> None:
    with many(tmp_path, *KEPT[:1]) as (service, there):
        until(lambda: state(service) == "connected")
        wish = {"connection_id": "more", "method": "gateway", "address": GATEWAYS[5001], "username": "someone"}
        clash = service.ask("POST", "/api/ibkr/connections", wish)
        assert (clash.status, clash.code) == (409, "E-CONFIG-CONFLICT"), clash.raw
        assert "one" in clash.json["error"]["message"]
        foreign = service.ask("POST", "/api/ibkr/connections", wish, token="bob")
        assert foreign.status == 409
        assert "one (" not in foreign.raw.decode()
        stranger = service.ask("POST", "/api/ibkr/connections", {**wish, "address": "https://10.0.0.7:5000"})
        assert (stranger.status, stranger.code) == (409, "E-GW-REMOTE")
        for wrong in ({"method": "oauth2"}, {"address": ""}, {"connection_id": "a b"}, {"environment": "demo"}):
            answer = service.ask("POST", "/api/ibkr/connections", {**wish, **wrong})
            assert (answer.status, answer.code) == (422, "E-VALIDATION"), wrong

        made = service.ask("POST", "/api/ibkr/connections", {**wish, "address": GATEWAYS[5002]})
        assert (made.status, made.json["state"], made.json["is_default"]) == (201, "not_configured", False), made.raw
        chosen = service.ask("POST", "/api/ibkr/connections/more/default")
        assert [each["connection_id"] for each in chosen.data] == ["more", "one"]
        refused = order(service)
        assert (refused.status, refused.code) == (409, "E-NOT-CONFIGURED"), refused.raw
        assert service.ask("DELETE", "/api/ibkr/connections/more").status == 200
        assert order(service).status == 201
        sent = len(there[5001].requests)
        assert service.ask("DELETE", "/api/ibkr/connections/one").status == 200
        assert service.ask("GET", "/api/ibkr/connections").data == []
        paths = [each.path for each in there[5001].requests[sent:]]
        assert (paths[-1], paths.count("/v1/api/logout")) == ("/v1/api/logout", 1), paths
        assert order(service).code == "E-NOT-CONFIGURED"


@pytest.mark.requirement("VLT-07", "SES-15")
def test_a_login_lets_go_of_credentials_that_are_no_longer_in_use(tmp_path: Path) -> None:
    with many(tmp_path, *KEPT[:1]) as (service, there):
        service.people.holders["ada"] = person("ada", scopes=KEEPS, signed_in_at=there[5001].clock.now())
        until(lambda: state(service) == "connected")
        resting = order(service, order_type="limit", limit_price=1)
        assert resting.status == 201, resting.raw

        newer = {"method": "gateway", "address": GATEWAYS[5002], "accountId": ACCOUNTS[5002], "environment": "paper"}
        assert service.ask("POST", "/api/settings/ibkr/one", newer).status == 200
        tested = service.ask("POST", "/api/settings/ibkr/one/test")
        assert tested.json["success"], tested.raw
        until(lambda: state(service) == "connected")
        sent = len(there[5001].requests)
        assert there[5001].requests[-1].path == "/v1/api/logout"
        answer = order(service)
        assert (answer.status, answer.data["account_id"]) == (201, ACCOUNTS[5002]), answer.raw
        # What the former login has sent is still there to be read.
        assert service.ask("GET", f"/broker-order/{resting.data['id']}").data["account_id"] == ACCOUNTS[5001]
        assert len(there[5001].requests) == sent

        assert service.ask("DELETE", "/api/settings/ibkr/one").status == 200
        assert there[5002].requests[-1].path == "/v1/api/logout"
        refused = order(service)
        assert (refused.status, refused.code) == (409, "E-NOT-CONFIGURED"), refused.raw


@pytest.mark.requirement("VLT-07", "VLT-09", "SES-15")
def test_what_a_command_changes_or_deletes_is_followed_within_seconds(tmp_path: Path) -> None:
    """Commands act in a process of their own: what the service has open must not go on with what is gone."""
    with many(tmp_path, *KEPT[:1]) as (service, there):
        until(lambda: state(service) == "connected")
        settings = service.settings
        assert settings is not None
        began = there[5001].clock.now()
        store(settings, "user-ada", "one", 5002)
        until(lambda: there[5001].requests[-1].path == "/v1/api/logout")
        assert (there[5001].clock.now() - began).total_seconds() < 10 + 2 * PACE
        until(lambda: state(service) == "connected")
        sent = len(there[5001].requests)
        answer = order(service)
        assert (answer.status, answer.data["account_id"]) == (201, ACCOUNTS[5002]), answer.raw
        assert len(there[5001].requests) == sent

        async def delete() -> None:
            async with open_connection_desk(settings) as desk:
                await desk.delete(Asker(user_id="user-ada", actor="cli:tests"), "one")

        run(delete)
        until(lambda: there[5002].requests[-1].path == "/v1/api/logout")
        until(lambda: service.ask("GET", "/api/ibkr/status").json["configured"] is False)
        refused = order(service)
        assert (refused.status, refused.code) == (409, "E-NOT-CONFIGURED"), refused.raw
        assert service.ask("GET", "/api/ibkr/connections").data == []


@pytest.mark.requirement("SES-15")
def test_the_default_is_told_as_it_was_chosen_last(tmp_path: Path) -> None:
    with many(tmp_path, *KEPT[:2]) as (service, _):
        until(lambda: state(service, connection_id="two") == "connected")
        until(lambda: state(service) == "connected")
        chosen = service.ask("POST", "/api/ibkr/connections/two/default").data
        assert [(each["connection_id"], each["is_default"]) for each in chosen] == [("two", True), ("one", False)]
