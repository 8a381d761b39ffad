"""The kill switch and the limits over HTTP: who may, what holds at once, what waits, and what the audit log says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway_service import at_the_gateway, order
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.desks import journal_path
from ibkit.clock import SystemClock
from ibkit.store import open_journal
from ibkit.users import Role, Scope
from people import People, person
from service_desks import ORDER, new_key, until
from service_people import Person, ServedPeople, served_people

pytestmark = pytest.mark.requirement("MON-09")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("risk"), mock=True) as found:
        yield found


def told(owner: Person, action: str, least: int) -> list[tuple[str, str, str]]:
    found: list[dict[str, Any]] = []

    def seen() -> bool:
        found[:] = owner.ask("GET", f"/api/audit?action={action}").data
        return len(found) >= least

    until(seen)
    return [(each["actor"], each["object"], each["result"]) for each in found]


def test_a_press_stops_orders_at_once_and_a_release_lets_them_go_on(people: ServedPeople) -> None:
    owner, ada = people.person(Role.OWNER), people.person()
    account = ada.ask("POST", "/broker-order", ORDER, key=new_key()).data["account_id"]
    machine = people.machine(owner.user, *(set(Scope) - {Scope.ORDERS_LIVE}))
    pressed = machine.ask("POST", "/api/kill", {"note": "look", "account_id": account.lower()})
    assert pressed.status == 200, pressed.raw
    (halt,) = pressed.data
    assert (halt["account_id"], halt["mode"], halt["by"]) == (account, "block-new", owner.user.user_id)
    refused = ada.ask("POST", "/broker-order", ORDER, key=new_key())
    assert (refused.status, "halted" in refused.json["error"]["message"]) == (422, True), refused.raw
    assert [each["number"] for each in owner.ask("GET", "/api/kill").data] == [halt["number"]]

    release = {"note": "seen", "account_id": account}
    assert machine.ask("POST", "/api/kill/release", release).status == 403
    assert owner.ask("POST", "/api/kill/release", {"note": "seen"}).status == 404  # a part is not the whole
    done = owner.ask("POST", "/api/kill/release", release)
    assert ([each["number"] for each in done.data["ended"]], done.data["waiting"]) == ([halt["number"]], [])
    assert ada.ask("POST", "/broker-order", ORDER, key=new_key()).status == 201
    assert owner.ask("GET", "/api/kill").data == []
    mine = (owner.user.user_id, f"account {account}", "ok")
    assert told(owner, "kill.press", 1) == [mine]
    assert told(owner, "kill.release", 1) == [mine]


@pytest.mark.requirement("TRD-18")
def test_cancel_all_stops_and_cancels_every_working_order_of_the_account(tmp_path: Path) -> None:
    """Also that of a user who is asked nothing. RC-02."""
    with served_people(tmp_path, mock=True) as people:
        owner, ada = people.person(Role.OWNER), people.person()
        resting = {**ORDER, "order_type": "limit", "limit_price": 150, "time_in_force": "gtc"}
        placed = [ada.ask("POST", "/broker-order", {**resting, "qty": qty}, key=new_key()).data for qty in (1, 2)]
        account = placed[0]["account_id"]
        both = owner.ask("POST", "/api/kill", {"note": "stop", "mode": "cancel-all", "symbol": "AAPL"})
        assert (both.status, both.fields) == (422, ["symbol"])

        elsewhere = owner.ask("POST", "/api/kill", {"note": "x", "mode": "cancel-all", "account_id": "DU0000000"})
        assert (elsewhere.status, elsewhere.json["cancelling"]) == (200, []), elsewhere.raw
        pressed = owner.ask("POST", "/api/kill", {"note": "stop", "mode": "cancel-all"})
        assert pressed.status in (200, 202), pressed.raw
        assert {halt["mode"] for halt in pressed.data} == {"cancel-all"}
        assert pressed.json["already_out"] == []

        until(lambda: [each["state"] for each in owner.ask("GET", "/api/kill").json["cancelling"]] == ["done"])
        (told,) = owner.ask("GET", "/api/kill").json["cancelling"]
        assert (told["account_id"], told["broker"], told["left"], told["error"]) == (account, "mock", [], None)
        assert sorted(told["cancelled"]) == sorted(each["broker_order_id"] for each in placed)
        for each in placed:
            until(lambda each=each: ada.ask("GET", f"/broker-order/{each['id']}").data["status"] == "cancelled")
        assert ada.ask("POST", "/broker-order", resting, key=new_key()).status == 422


@pytest.mark.requirement("TRD-18", "CFG-09")
def test_cancel_all_is_proven_for_each_account_of_a_login(tmp_path: Path) -> None:
    """They share the list of orders, which may be asked for once in five seconds."""
    accounts = ("DU1000001", "DU1000002")
    resting = {"order_type": "limit", "limit_price": 150, "time_in_force": "gtc"}
    people = People({"ada": person("ada"), "owner": person("owner", **OWNER)})
    with at_the_gateway(tmp_path, "multi-account", people=people, pace=4.0) as service:
        until(lambda: service.ask("GET", "/health/broker").status == 200)
        for account_id in accounts:
            placed = order(service, account_id=account_id, **resting)
            at = f"/broker-order/{placed.data['id']}"
            until(lambda at=at: service.ask("GET", at).data["status"] == "submitted")
        pressed = service.ask("POST", "/api/kill", {"note": "stop", "mode": "cancel-all"}, token="owner")
        assert pressed.status in (200, 202), pressed.raw

        def told() -> list[tuple[str, str, int]]:
            rows = service.ask("GET", "/api/kill", token="owner").json["cancelling"]
            return sorted((row["account_id"], row["state"], len(row["cancelled"])) for row in rows)

        until(lambda: all(state != "running" for _, state, _ in told()), 60)
        assert told() == [(account_id, "done", 1) for account_id in accounts]
        settings = service.settings
    assert settings is not None

    async def acts() -> list[tuple[str, str]]:
        async with audit_log(settings) as log:
            cancels = await log.entries(action="orders.cancel")
            return sorted((each.actor, str(each.details["account"])) for each in cancels)

    owner = people.holders["owner"].user_id
    assert anyio.run(acts) == [(owner, account_id) for account_id in accounts]


OWNER = {"role": Role.OWNER, "scopes": frozenset(Scope) - {Scope.ORDERS_LIVE}}


@pytest.mark.requirement("TRD-18")
def test_a_login_that_is_away_is_told_and_an_alert_for_its_orders_may_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkit.service.cancelling.REACH_WITHIN_S", 0.5)
    people = People({"owner": person("owner", **OWNER)})
    with at_the_gateway(tmp_path, "not-authenticated", people=people) as service:
        pressed = service.ask("POST", "/api/kill", {"note": "stop", "mode": "cancel-all"}, token="owner")
        assert (pressed.status, len(pressed.data)) == (200, 2), pressed.raw  # the halts stand all the same
        (told,) = pressed.json["cancelling"]
        assert (told["state"], told["account_id"], told["broker"]) == ("failed", "", "ibkr")
        assert told["error"]
        settings = service.settings
    assert settings is not None

    async def alerts() -> list[tuple[str, str]]:
        async with open_journal(journal_path(settings), clock=SystemClock()) as journal:
            return [(each.kind.value, each.severity.value) for each in await journal.alerts.open()]

    assert anyio.run(alerts) == [("cancel_all", "critical")]


@pytest.mark.requirement("TRD-18")
def test_a_press_tells_what_was_on_its_way_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = People({"owner": person("owner", **OWNER), "ada": person("ada")})
    with at_the_gateway(tmp_path, people=people) as service:
        assert service.world is not None
        monkeypatch.setattr("ibkit.service.orders.ANSWER_WITHIN_S", 0.4)
        fault = {"endpoint": "PLACE_ORDERS", "fault": "delay", "params": {"seconds": 25}}
        service.world.control("POST", "faults", fault)
        sent = order(service)
        assert sent.status == 202, sent.raw
        until(service.sent)
        elsewhere = service.ask("POST", "/api/kill", {"note": "x", "symbol": "MSFT"}, token="owner")
        pressed = service.ask("POST", "/api/kill", {"note": "stop"}, token="owner")

        assert elsewhere.json["already_out"] == []
        (out,) = pressed.json["already_out"]
        assert (out["id"], out["terms"].split(" @")[0]) == (sent.data["id"], "BUY 1 AAPL MKT DAY")
        assert pressed.json["cancelling"] == []
        until(lambda: service.ask("GET", f"/broker-order/{sent.data['id']}").data["status"] in ("submitted", "filled"))


def test_a_limit_of_a_user_holds_for_them_and_for_nobody_else(people: ServedPeople) -> None:
    owner, ada, bob = people.person(Role.OWNER), people.person(), people.person()
    body = {"name": "max_shares", "value": "5", "layer": "user", "whose": ada.user.user_id, "note": "new here"}
    changed = owner.ask("POST", "/api/limits", body)
    assert (changed.status, changed.data["in_force"], changed.data["whose"]) == (200, True, ada.user.user_id)
    large = {**ORDER, "qty": 6}
    refused = ada.ask("POST", "/broker-order", large, key=new_key())
    assert (refused.status, refused.code) == (422, "E-RISK"), refused.raw
    assert bob.ask("POST", "/broker-order", large, key=new_key()).status == 201
    assert told(owner, "limits.set", 1) == [(owner.user.user_id, "max_shares", "ok")]
    for wrong in (
        {"name": "no_such_limit"},
        {"value": "many"},
        {"layer": "environment"},
        {"whose": None},
        {"note": ""},
        {"environment": "both"},
    ):
        answer = owner.ask("POST", "/api/limits", {**body, **wrong})
        assert (answer.status, answer.code) == (422, "E-VALIDATION"), (wrong, answer.raw)


@pytest.mark.requirement("TRD-18")
def test_limits_are_told_with_where_they_come_from_and_what_is_used(people: ServedPeople) -> None:
    owner, ada = people.person(Role.OWNER), people.person()
    body = {"name": "max_shares", "value": "7", "layer": "user", "whose": ada.user.user_id, "note": "new here"}
    assert owner.ask("POST", "/api/limits", body).status == 200
    account = ada.ask("POST", "/broker-order", ORDER, key=new_key()).data["account_id"]

    def limit(found: Any, name: str) -> tuple[str, Any, Any, str]:
        (row,) = [row for row in found.data["limits"] if row["name"] == name]
        return row["value"], row["used"], row["left"], row["source"]

    everybodys = owner.ask("GET", "/api/limits")
    assert everybodys.status == 200, everybodys.raw
    assert limit(everybodys, "max_shares") == ("10000", None, None, "default")
    hers = owner.ask("GET", f"/api/limits?user={ada.user.user_id}&account_id={account.lower()}")
    assert limit(hers, "max_shares")[0] == "7"
    assert limit(hers, "max_shares")[3].startswith("user")
    value, used, left, _ = limit(hers, "orders_per_day")
    assert used >= 1
    assert value == "off" or left == int(value) - used
    assert (hers.data["account_id"], hers.data["environment"]) == (account, "paper")
    for wrong in ("?user=", "?nobody=x", "?user=a&user=b", "?key=%00"):
        answer = owner.ask("GET", f"/api/limits{wrong}")
        assert (answer.status, answer.code) == (422, "E-VALIDATION"), wrong
    assert ada.ask("GET", "/api/limits").status == 403


def test_with_live_money_a_second_person_confirms_what_loosens(tmp_path: Path) -> None:
    with served_people(tmp_path, IBKR_ENV="live") as people:
        one, two = people.person(Role.OWNER), people.person(Role.ADMIN)
        raised = one.ask("POST", "/api/limits", {"name": "max_shares", "value": "600", "note": "larger"})
        assert (raised.status, raised.data["in_force"]) == (200, False), raised.raw
        there = f"/api/limits/{raised.data['number']}/confirm"
        waiting = two.ask("GET", "/api/limits").data["waiting"]
        assert [(each["number"], each["name"], each["new"]) for each in waiting] == [
            (raised.data["number"], "max_shares", "600")
        ]
        assert one.ask("POST", there).status in (409, 422)
        confirmed = two.ask("POST", there)
        assert (confirmed.status, confirmed.data["in_force"]) == (200, True), confirmed.raw
        assert two.ask("POST", there).status in (409, 422)  # once
        assert two.ask("GET", "/api/limits").data["waiting"] == []
        lowered = one.ask("POST", "/api/limits", {"name": "max_shares", "value": "10", "note": "smaller"})
        assert lowered.data["in_force"] is True

        assert len(one.ask("POST", "/api/kill", {"note": "stop"}).data) == 2  # paper and live alike
        for ended in (1, 0):  # paper at once
            waits = one.ask("POST", "/api/kill/release", {"note": "go on"}).data
            assert [each["environment"] for each in waits["ended"]] == ["paper"] * ended
            assert [each["environment"] for each in waits["waiting"]] == ["live"]
        ended = two.ask("POST", "/api/kill/release", {"note": "go on"}).data
        assert (len(ended["ended"]), len(ended["waiting"])) == (1, 0)
        results = [result for _, _, result in told(one, "kill.release", 3)]
        assert results == ["ok", "waiting", "waiting"]
        assert [each[2] for each in told(one, "limits.set", 2)] == ["ok", "waiting"]


def test_a_press_on_everything_is_released_as_it_was_made_or_by_environment(people: ServedPeople) -> None:
    one, two = people.person(Role.OWNER), people.person(Role.OWNER)

    def standing() -> list[str]:
        return sorted(each["environment"] for each in one.ask("GET", "/api/kill").data if each["symbol"] == "YYY")

    stop = {"note": "stop", "symbol": "YYY"}
    assert one.ask("POST", "/api/kill", stop).status == 200
    assert standing() == ["live", "paper"]
    assert one.ask("POST", "/api/kill/release", {**stop, "environment": "sim"}).fields == ["environment"]
    told = one.ask("POST", "/api/kill/release", stop).data
    assert ([each["environment"] for each in told["ended"]], standing()) == (["paper"], ["live"])
    told = two.ask("POST", "/api/kill/release", {**stop, "environment": "live"}).data
    assert ([each["environment"] for each in told["ended"]], standing()) == (["live"], [])


def test_an_account_is_stopped_and_limited_where_it_is_whatever_the_settings_say(people: ServedPeople) -> None:
    """Users have connections of both kinds: a stop of a live account beside paper settings must hold, too."""
    owner = people.person(Role.OWNER)
    (halt,) = owner.ask("POST", "/api/kill", {"note": "elsewhere", "account_id": "U7654321"}).data
    assert (halt["environment"], halt["account_id"]) == ("live", "U7654321")
    release = {"note": "seen", "account_id": "U7654321"}
    assert owner.ask("POST", "/api/kill/release", release).status == 200

    wish = {"name": "max_shares", "value": "7", "note": "careful", "layer": "account", "whose": "u7654321"}
    assert owner.ask("POST", "/api/limits", wish).status == 200
    shown = owner.ask("GET", "/api/limits?account_id=U7654321").data
    limits = {each["name"]: each for each in shown["limits"]}
    assert (shown["environment"], limits["max_shares"]["value"]) == ("live", "7")
    assert owner.ask("POST", "/api/limits", {**wish, "environment": "live", "value": "6"}).status == 200
    wrong = owner.ask("POST", "/api/limits", {**wish, "environment": "paper"})
    assert (wrong.status, wrong.fields) == (422, ["environment"])

    everybody = {"name": "max_shares", "value": "400", "note": "careful", "environment": "live"}
    assert owner.ask("POST", "/api/limits", everybody).status == 200
    of_live, of_paper = (owner.ask("GET", f"/api/limits?environment={each}").data for each in ("live", "paper"))
    of = [{each["name"]: each["value"] for each in told["limits"]} for told in (of_live, of_paper)]
    values = [each["max_shares"] for each in of]
    assert (values[0], values[1] == "400") == ("400", False)
    assert owner.ask("GET", "/api/limits?environment=both").fields == ["environment"]


def test_who_does_not_administer_is_told_what_stops_them_and_no_more(people: ServedPeople) -> None:
    owner, ada, viewer = people.person(Role.OWNER), people.person(), people.person(Role.VIEWER)
    account = ada.ask("GET", "/api/account").data["account_id"]
    for wanted in ({"account_id": account}, {"account_id": "U0000001"}, {"symbol": "XXX"}):
        assert owner.ask("POST", "/api/kill", {"note": "look", **wanted}).status == 200
    owner.ask("POST", "/api/kill/release", {"note": "go on", "symbol": "XXX"})
    mine = [each for each in owner.ask("GET", "/api/kill").data if each["note"] == "look"]
    assert {each["account_id"] for each in mine} == {account, "U0000001", ""}
    assert [each["released_by"] for each in mine if each["symbol"]] == [[owner.user.user_id]]
    for who in (ada, viewer):
        told = who.ask("GET", "/api/kill")
        theirs = [each for each in told.data if each["note"] == "look"]
        assert sorted(each["account_id"] for each in theirs) == ["", account]
        assert owner.user.user_id.encode() not in told.raw
    for account_id in (account, "U0000001"):
        done = owner.ask("POST", "/api/kill/release", {"note": "go on", "account_id": account_id})
        assert done.status == 200, done.raw


def test_an_old_sign_in_stops_trading_and_changes_nothing_else(people: ServedPeople) -> None:
    owner = people.person(Role.OWNER)
    people.advance(minutes=15, seconds=1)
    stop = {"note": "stop", "symbol": "ZZZ"}
    assert owner.ask("POST", "/api/kill", stop).status == 200
    for path, body in (("/api/kill/release", stop), ("/api/limits", {}), ("/api/limits/1/confirm", None)):
        refused = owner.ask("POST", path, body)
        assert (refused.status, refused.code) == (403, "E-FORBIDDEN"), path
