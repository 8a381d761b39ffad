"""Credentials over HTTP: written and never read back, tested by a real sign-in, each user's own."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from credential_desks import ADA, fields_for, opened_desk, put, settings_of_vault
from ibkit.bootstrap import Edges, run
from ibkit.bootstrap.alerting import open_alerting
from ibkit.bootstrap.multi_user import accept_licence
from ibkit.errors import ConfigError
from ibkit.model import AuthMethod
from ibkit.service.openapi import document
from ibkit.settings import Settings
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.users.principal import Role, Scope
from people import PAPER, People, account, person
from service_desks import FastClock, Served, served, settings_of, until
from simulators import KEYS, make_simulator

CAMEL = {
    "client_id": "clientId",
    "client_key_id": "clientKeyId",
    "private_key": "privateKey",
    "allowed_ip": "allowedIp",
    "consumer_key": "consumerKey",
    "access_token": "accessToken",
    "access_token_secret": "accessTokenSecret",
    "signature_key": "signatureKey",
    "encryption_key": "encryptionKey",
    "dh_params": "dhParams",
}
BASE = "/api/settings/ibkr"
KEEPS = PAPER | {Scope.CREDENTIALS}
START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def body_for(simulator: Simulator, method: AuthMethod = AuthMethod.OAUTH2, user: int = 0, **changed: Any) -> Any:
    fields = {CAMEL.get(name, name): value for name, value in fields_for(simulator, method, user).items()}
    given = {"method": method.value, **fields, **changed}
    return {name: value for name, value in given.items() if value is not None}


def people() -> People:
    now = START
    kept = {"scopes": KEEPS, "signed_in_at": now}
    return People(
        holders={
            "ada": person("ada", **kept),
            "bob": person("bob", **kept),
            "reads": person("reads", role=Role.VIEWER, scopes=frozenset({Scope.READ})),
            "orders": person("orders", scopes=PAPER),
            "late": person("late", scopes=KEEPS, signed_in_at=now - timedelta(minutes=16)),
            "machine": person("ada", scopes=KEEPS, signed_in_at=None, api_key_id="k1"),
            "narrow": person("narrow", accounts=account("DU1000001"), **kept),
        }
    )


@contextmanager
def at_ibkr(
    settings: Settings, *, whose: People | None = None, keep_alive: bool = False
) -> Iterator[tuple[Served, Simulator]]:
    simulator = Simulator(SimConfig(start=START, seed=7), FastClock(START), keys=KEYS)

    def transport(found: Settings) -> Any:
        return simulator.transport("gateway" if found.method is AuthMethod.GATEWAY else "cloud")

    edges = Edges(transport=transport, clock=simulator.clock, keep_alive=keep_alive)
    with served(settings, people=people(), wait=False, open_edges=edges) as service:
        yield service, simulator


def approved(folder: Path, **given: str) -> Settings:
    settings = settings_of_vault(folder, IBKR_GATEWAYS_FOR_USERS="https://localhost:5000", **given)
    run(lambda: accept_licence(settings, "IBKR letter 2026-114", by="cli:tests", at=START))
    return settings


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Simulator]]:
    settings = approved(tmp_path_factory.mktemp("credentials"))
    with pytest.MonkeyPatch.context() as patch:
        from ibkit.service.rates import Rates

        patch.setattr("ibkit.service.serving.Rates", partial(Rates, limit=100_000))
        with at_ibkr(settings) as found:
            yield found


@pytest.mark.requirement("VLT-07", "VLT-08", "CFG-08")
@pytest.mark.plants_secrets  # the registered address is the one that everybody calls from here, so the audit log has it
def test_credentials_are_stored_tested_used_replaced_and_deleted(tmp_path: Path) -> None:
    with at_ibkr(approved(tmp_path)) as (service, simulator):
        empty = service.ask("GET", BASE).json
        assert (empty["status"], empty["inUse"], empty["connections"]) == ("none", None, [])
        assert empty["licence"]["reference"] == "IBKR letter 2026-114"

        stored = service.ask("POST", BASE, body_for(simulator))
        assert stored.status == 200, stored.raw
        assert (stored.json["status"], stored.json["inUse"]) == ("inactive", None)
        shown = service.ask("GET", BASE).json
        assert shown["waiting"]["fields"]["clientId"] == "SimP****"
        assert shown["waiting"]["fields"]["privateKey"] == "****"

        tested = service.ask("POST", f"{BASE}/test").json
        assert tested["success"], tested
        assert list(tested["steps"]) == ["oauth", "sso", "validate", "init"]
        assert all(step["success"] for step in tested["steps"].values())
        assert tested["accounts"] == ["DU1000001"]
        assert (tested["connection"]["status"], tested["connection"]["waiting"]) == ("active", None)
        assert tested["connection"]["inUse"]["lastConnectedAt"]

        # Another user's key under these names: the form is right, and IBKR says no.
        bad = body_for(simulator, privateKey=fields_for(simulator, user=1)["private_key"])
        assert service.ask("POST", BASE, bad).json["waiting"]["status"] == "inactive"
        failed = service.ask("POST", f"{BASE}/test").json
        assert not failed["success"]
        assert failed["steps"]["oauth"]["success"] is False
        assert failed["steps"]["oauth"]["code"]
        assert failed["steps"]["oauth"]["remedy"]
        assert failed["steps"]["init"]["message"] == "not attempted"
        assert failed["connection"]["status"] == "active"
        assert failed["connection"]["waiting"]["status"] == "error"
        assert failed["connection"]["waiting"]["lastError"].startswith(failed["steps"]["oauth"]["code"])
        refused = service.ask("POST", f"{BASE}/activate")
        assert (refused.status, refused.code) == (424, failed["steps"]["oauth"]["code"])

        again = service.ask("POST", BASE, body_for(simulator))  # those in use: the bad ones are not wanted any more
        assert (again.json["status"], again.json["waiting"]) == ("active", None)
        assert service.ask("DELETE", BASE).json == {"connectionId": "default", "deleted": 1}
        assert service.ask("DELETE", BASE).status == 404
        assert service.ask("GET", BASE).json["status"] == "none"


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize("method", list(AuthMethod))
def test_each_method_is_stored_under_a_name_and_put_in_use_at_once(
    opened: tuple[Served, Simulator], method: AuthMethod
) -> None:
    service, simulator = opened
    place = f"{BASE}/my-{method.value}"
    stored = service.ask("POST", place, body_for(simulator, method, label="mine"))
    assert stored.status == 200, stored.raw
    found = service.ask("POST", f"{place}/activate")
    assert found.status == 200, found.raw
    assert (found.json["connectionId"], found.json["status"]) == (f"my-{method.value}", "active")
    assert service.ask("POST", f"{place}/activate").json["inUse"]["version"] == 1
    assert service.ask("GET", place).json["inUse"]["label"] == "mine"
    assert f"my-{method.value}" in [each["connectionId"] for each in service.ask("GET", BASE).json["connections"]]
    assert service.ask("DELETE", place).json["deleted"] == 1
    assert service.ask("GET", place).status == 404


@pytest.mark.requirement("VLT-07", "VLT-15")
def test_no_answer_log_or_file_holds_what_was_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[bytes] = []
    with at_ibkr(approved(tmp_path)) as (service, simulator):
        body = body_for(simulator, AuthMethod.OAUTH1A)
        wrong = {**body, "encryptionKey": body["signatureKey"]}
        for path, given in ((BASE, body), (BASE, wrong), (f"{BASE}/second", {**body, "privateKey": "x"})):
            said.append(service.ask("POST", path, given).raw)
        for method, path in (
            ("GET", BASE),
            ("POST", f"{BASE}/test"),
            ("POST", f"{BASE}/activate"),
            ("GET", f"{BASE}/default"),
            ("GET", "/api/ibkr/status"),
        ):
            said.append(service.ask(method, path).raw)
    secrets = [body[name] for name in ("signatureKey", "encryptionKey", "accessTokenSecret", "accessToken")]
    lines = [line for text in secrets for line in text.splitlines() if len(line) > 16 and "----" not in line]
    assert len(lines) > 20
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything = b"".join(said) + caplog.text.encode() + written
    assert [line for line in lines if line.encode() in everything] == []
    assert body["consumerKey"].encode() not in b"".join(said)


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize("method", [AuthMethod.OAUTH2, AuthMethod.OAUTH1A, AuthMethod.GATEWAY])
def test_missing_fields_are_listed_all_at_once(opened: tuple[Served, Simulator], method: AuthMethod) -> None:
    service, _ = opened
    answer = service.ask("POST", BASE, {"method": method.value, "accountId": "DU1234567"})
    assert (answer.status, answer.code) == (422, "E-VALIDATION")
    required = {
        AuthMethod.OAUTH2: ["clientId", "clientKeyId", "privateKey", "credential", "allowedIp"],
        AuthMethod.OAUTH1A: ["consumerKey", "signatureKey", "encryptionKey", "dhParams"],
        AuthMethod.GATEWAY: ["address"],
    }
    assert answer.fields == required[method]


ROWS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no PEM": ({"privateKey": "canary no key"}, 422, "E-KEY-FORMAT", "privateKey"),
    "a public key": (
        {"privateKey": (KEYS / "simpaper1/public_oauth2.pem").read_text()},
        422,
        "E-KEY-FORMAT",
        "this is a public key",
    ),
    "DH parameters": ({"privateKey": (KEYS / "dhparam.pem").read_text()}, 422, "E-KEY-FORMAT", "Diffie-Hellman"),
    "cut in two": (
        {"privateKey": (KEYS / "simpaper1/private_oauth2.pem").read_text()[:700]},
        422,
        "E-KEY-FORMAT",
        "cut",
    ),
    "blank": ({"clientId": "  "}, 422, "E-VALIDATION", "clientId"),
    "empty": ({"clientId": ""}, 422, "E-VALIDATION", "clientId"),
    "a number": ({"clientId": 7}, 422, "E-VALIDATION", "clientId"),
    "an address of IPv6": ({"allowedIp": "2001:db8::1"}, 422, "E-VALIDATION", "allowedIp"),
    "an account that is none": ({"accountId": "DU 1"}, 422, "E-VALIDATION", "account"),
    "another method's field": ({"consumerKey": "ABCDEFGHI"}, 422, "E-VALIDATION", "does not belong to oauth2"),
    "a password": ({"password": "canary"}, 422, "E-VALIDATION", "never stored"),
    "a code": ({"totpCode": "123456"}, 422, "E-VALIDATION", "never stored"),
    "an unknown field": ({"clientID": "x"}, 422, "E-VALIDATION", "did you mean clientId"),
    "mass assignment": ({"userId": "user-bob"}, 422, "E-VALIDATION", "there is no such field"),
    "its status": ({"status": "active"}, 422, "E-VALIDATION", "there is no such field"),
    "no environment": ({"environment": "live2"}, 422, "E-VALIDATION", "one of paper, live"),
    "no method": ({"method": "oauth3"}, 422, "E-VALIDATION", "one of gateway, oauth1a, oauth2"),
    "65 KB": ({"privateKey": "-----BEGIN PRIVATE KEY-----" + "A" * 65_536}, 422, "E-VALIDATION", "privateKey"),
    "NUL": ({"clientId": "a\0b"}, 400, "E-VALIDATION", "NUL"),
    "5 MB": ({"privateKey": "A" * 5_000_000}, 413, "E-VALIDATION", "larger than"),
}


@pytest.mark.requirement("VLT-07", "VLT-11")
@pytest.mark.parametrize("row", ROWS)
def test_what_cannot_be_credentials_is_refused_by_its_field_and_not_quoted(
    opened: tuple[Served, Simulator], row: str
) -> None:
    service, simulator = opened
    changed, status, code, told = ROWS[row]
    answer = service.ask("POST", f"{BASE}/refused", {**body_for(simulator), **changed})
    assert (answer.status, answer.code) == (status, code), answer.raw
    assert told in answer.json["detail"]
    assert b"canary" not in answer.raw
    assert service.ask("GET", f"{BASE}/refused").status == 404, "nothing was stored"


@pytest.mark.requirement("VLT-07", "SEC-04")
@pytest.mark.parametrize(
    "address",
    [
        "https://169.254.169.254",
        "https://localhost:22",
        "http://localhost:5000",
        "file:///etc/passwd",
        "//x",
        "https://",
    ],
)
def test_a_gateway_that_the_operator_has_not_named_is_refused(opened: tuple[Served, Simulator], address: str) -> None:
    service, _ = opened
    answer = service.ask("POST", f"{BASE}/gw", {"method": "gateway", "address": address})
    assert answer.status == 422
    assert answer.code in ("E-GW-REMOTE", "E-VALIDATION")


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize("name", ["test", "activate", "-x", "a" * 65, "a%20b", "..%2fx"])
def test_a_name_that_is_none_of_a_connection_stores_nothing(opened: tuple[Served, Simulator], name: str) -> None:
    service, simulator = opened
    answer = service.ask("POST", f"{BASE}/{name}", body_for(simulator))
    assert answer.status in (404, 422), answer.raw
    stored = [each["connectionId"] for each in service.ask("GET", BASE).json["connections"]]
    assert not any(each.startswith(name[:3]) for each in stored)


@pytest.mark.requirement("VLT-09")
def test_nobody_sees_tests_or_deletes_what_is_anothers(opened: tuple[Served, Simulator]) -> None:
    service, simulator = opened
    place = f"{BASE}/secret-of-ada"
    assert service.ask("POST", place, body_for(simulator)).status == 200
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/activate")):
        absent = service.ask(method, f"{BASE}/absent{path}", token="bob")
        theirs = service.ask(method, f"{place}{path}", token="bob")
        assert (theirs.status, theirs.code) == (absent.status, absent.code) == (404, "E-NOT-FOUND")
    assert service.ask("GET", BASE, token="bob").json["connections"] == []
    # The same name of another user is another connection.
    assert service.ask("POST", place, body_for(simulator, user=1), token="bob").json["waiting"]["version"] == 1
    assert service.ask("DELETE", place, token="bob").json["deleted"] == 1
    assert service.ask("GET", place).json["waiting"]["fields"]["clientId"] == "SimP****"
    assert service.ask("DELETE", place).json["deleted"] == 1


@pytest.mark.requirement("VLT-07", "GWY-09")
@pytest.mark.parametrize(
    ("token", "reads", "writes"),
    [
        (None, 401, 401),
        ("nobody", 401, 401),
        ("reads", 200, 403),
        ("orders", 200, 403),
        ("late", 200, 403),
        ("narrow", 200, 403),
        ("machine", 200, 200),
        ("ada", 200, 200),
    ],
)
def test_who_may_read_masks_and_who_may_change(
    opened: tuple[Served, Simulator], token: str | None, reads: int, writes: int
) -> None:
    service, simulator = opened
    assert service.ask("GET", BASE, token=token).status == reads
    place = f"{BASE}/of-{writes}-{reads}"
    assert service.ask("POST", place, body_for(simulator), token=token).status == writes
    for method, path in (("POST", "/test"), ("POST", "/activate"), ("DELETE", "")):
        answer = service.ask(method, f"{place}{path}", token=token)
        assert answer.status == writes, (method, path, answer.raw)
        if token == "late":  # a good token, which goes on to read: not the 401 of one that is to be thrown away
            assert answer.json["error"]["code"] == "E-FORBIDDEN"
            assert answer.json["error"]["message"] == "Forbidden: that needs a person's sign-in of the last 15 minutes"
            assert answer.json["error"]["remedy"] == ["Sign in again, then change credentials within 15 minutes."]


@pytest.mark.requirement("CFG-08")
def test_with_one_user_the_addresses_do_not_exist_and_the_status_says_so(mock_service: Served) -> None:
    for path, operations in document()["paths"].items():
        if path.startswith(BASE):
            for method in operations:
                place = path.replace("{connection_id}", "main")
                assert mock_service.ask(method.upper(), place, {} if method == "post" else None).status == 404
    assert mock_service.ask("GET", "/api/ibkr/status").json["multiUserMode"] is False


@pytest.mark.requirement("CFG-08", "VLT-09")
def test_with_several_users_the_settings_credentials_are_ignored_and_that_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    own = fields_for(Simulator(SimConfig(start=START, seed=7), FastClock(START), keys=KEYS))
    settings = approved(
        tmp_path,
        IBKR_CLIENT_ID=own["client_id"],
        IBKR_CLIENT_KEY_ID=own["client_key_id"],
        IBKR_PRIVATE_KEY=own["private_key"],
        IBKR_CREDENTIAL=own["credential"],
        IBKR_ALLOWED_IP="127.0.0.1",
    )
    assert settings.choice is not None
    with at_ibkr(settings) as (service, simulator):
        status = service.ask("GET", "/api/ibkr/status").json
        assert status["multiUserMode"] is True
        assert (status["configured"], status["clientId"]) == (False, None)
        assert service.ask("GET", BASE).status == 200
        assert simulator.requests == [], "nobody signed in with what the settings hold"
    noted = [each for each in caplog.records if "credentials of the settings are ignored" in each.message]
    assert len(noted) == 1
    assert "IBKR_PRIVATE_KEY" in noted[0].ignored  # type: ignore[attr-defined]
    assert own["client_id"] not in caplog.text


@pytest.mark.requirement("VLT-12")
def test_without_a_recorded_approval_the_service_does_not_start_but_for_the_simulated_broker(tmp_path: Path) -> None:
    settings = settings_of_vault(tmp_path)
    with pytest.raises(ConfigError) as caught, at_ibkr(settings):
        pytest.fail("it started")
    assert (caught.value.code, caught.value.exit_code) == ("E-LICENCE", 3)
    assert "ibkit admin licence accept" in caught.value.remedy
    run(lambda: accept_licence(settings, "ticket 4711", by="cli:tests", at=START))
    with at_ibkr(settings) as (service, _):
        assert service.ask("GET", BASE).json["licence"]["reference"] == "ticket 4711"
    mock = settings_of(tmp_path / "mock", ENABLE_MULTI_USER="true", ENCRYPTION_KEY="0a" * 32)
    with served(mock, people=people(), wait=False) as service:
        found = service.ask("GET", BASE)
        assert (found.status, found.json["licence"]) == (200, None)


@pytest.mark.requirement("VLT-04", "CFG-08")
def test_several_users_need_a_vault_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ENABLE_MULTI_USER="true")
    with pytest.raises(ConfigError) as caught, served(settings, wait=False):
        pytest.fail("it started")
    assert caught.value.code == "E-ENC-KEY"


@pytest.mark.requirement("VLT-14")
def test_credentials_of_91_days_ago_are_shown_as_due_and_told_once(tmp_path: Path) -> None:
    settings = approved(tmp_path)
    then = make_simulator(start=START - timedelta(days=91))

    async def stored() -> None:
        async with opened_desk(settings, then) as desk:
            await put(desk, fields_for(then), connection_id="default")
            await desk.activate(ADA, "default")

    async def alerts() -> list[tuple[str, str, int]]:
        async with open_alerting(settings) as alerting:
            return [(each.event.value, each.subject, each.count) for each in await alerting.incidents.incidents()]

    run(stored)
    with at_ibkr(settings, keep_alive=True) as (service, _):
        shown = service.ask("GET", BASE).json["inUse"]
        assert (shown["renewalDue"], shown["ageDays"]) == (True, 91)
        assert shown["createdAt"] == shown["changedAt"]
        old = ("credential.old", "user-ada/default", 1)
        until(lambda: old in run(alerts))
    with at_ibkr(settings, keep_alive=True) as (service, _):  # a new start is no reason for another one
        until(lambda: service.ask("GET", BASE).status == 200)
    assert [each for each in run(alerts) if each[0] == "credential.old"] == [old]


def test_the_examples_of_the_description_are_bodies_that_are_understood() -> None:
    from ibkit.service.credentials import CredentialWish

    body = document()["paths"][BASE]["post"]["requestBody"]["content"]["application/json"]
    for name, example in body["examples"].items():
        assert CredentialWish.read(example["value"]).method == name
    assert json.dumps(body)


@pytest.mark.requirement("MON-03", "VLT-01")
def test_ready_names_a_vault_that_needs_another_key(tmp_path: Path) -> None:
    with at_ibkr(approved(tmp_path)) as (service, _):
        until(lambda: service.ask("GET", "/readyz", token=None).json == {"status": "ready", "down": []})
        with closing(sqlite3.connect(tmp_path / "ibkit.db")) as database, database:
            database.execute("UPDATE vault_keys SET key_id = 'deadbeef'")
        answer = service.ask("GET", "/readyz", token=None)
        assert (answer.status, answer.json) == (503, {"status": "not ready", "down": ["vault"]})
        assert b"deadbeef" not in answer.raw
