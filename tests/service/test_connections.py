"""Connections over HTTP: session, connect, reconnect, log out, take over, history and events."""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import threading
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway_service import at_the_gateway
from ibkit.bootstrap import run
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.service.connection_documents import SessionStatus
from ibkit.users.principal import Role, Scope
from people import People, account, person
from service_desks import PACE, Served, until

FIELDS = set(SessionStatus.__struct_fields__)


def session(service: Served) -> dict[str, Any]:
    answer = service.ask("GET", "/api/ibkr/session")
    assert answer.status == 200, answer.raw
    found: dict[str, Any] = answer.json
    return found


def state(service: Served) -> str:
    return str(service.ask("GET", "/api/ibkr/status").json["state"])


def stored(service: Served) -> Any:
    """The row as another process finds it."""
    settings = service.settings
    assert settings is not None

    async def read() -> Any:
        async with open_connection_rows(settings) as rows:
            return await rows.get("", "default")

    return run(read)


def calls(service: Served, ending: str) -> int:
    assert service.world is not None
    return sum(each.path.endswith(ending) for each in service.world.requests)


def scenario(service: Served, *names: str) -> None:
    assert service.world is not None
    service.world.control("POST", "scenario", {"scenario": list(names)})


@pytest.mark.requirement("SES-02", "SES-06", "SES-13")
def test_the_session_is_told_with_its_clocks_and_kept_without_a_secret(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        until(lambda: session(service)["last_keep_alive_at"] is not None)
        told = session(service)
        assert set(told) == FIELDS
        assert (told["state"], told["state_label"], told["connection_id"]) == ("connected", "Connected", "default")
        assert (told["authenticated"], told["competing"], told["connected"], told["message"]) == (True, False, True, "")
        assert (told["method"], told["environment"]) == ("gateway", "paper")
        assert 0 < told["idle_seconds_left"] <= 360
        assert 86_000 < told["age_seconds_left"] <= 86_400
        assert told["ends_first"] == "idle"
        assert told["next_reset"] == "2026-11-21T06:00:00Z"
        assert told["sso_renews_in"] is not None
        again = session(service)
        assert again["session_id"] == told["session_id"]
        world = service.world
        assert world is not None
        (there,) = [each for each in world.world.logins.sessions if each.method == "gateway"]
        dump = b"".join(each.read_bytes() for each in tmp_path.glob("ibkit.db*"))
        assert told["session_id"].encode() in dump
        assert there.id.encode() not in dump


@pytest.mark.requirement("SES-12", "MON-01", "MON-03")
def test_a_gateway_that_is_gone_leaves_neither_row_nor_status_connected(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        assert (stored(service).state, state(service)) == ("connected", "connected")
        world = service.world
        assert world is not None
        began = world.clock.now()
        world.up = False
        until(lambda: state(service) != "connected")
        told = service.ask("GET", "/api/ibkr/status").json
        kept = stored(service)
        assert (world.clock.now() - began).total_seconds() <= 35 + PACE
        assert (told["state"], told["label"], told["connected"]) == ("error", "Error", False)
        assert (kept.state, kept.error_code) == ("error", "E-GW-DOWN")
        assert service.ask("GET", "/health/broker").json["code"] == "E-GW-DOWN"
        world.up = True
        until(lambda: stored(service).state == "connected")
        told = service.ask("GET", "/api/ibkr/session/history?days=1").json
        names = [each["event"] for each in told["events"]]
        assert "reconnect" in names
        changes = [(each["was"], each["state"]) for each in told["events"] if each["event"] == "state"]
        assert changes[-2:] == [("connected", "error"), ("error", "connected")]
        assert 0 < told["availability_percent"] < 100
        assert len(told["sessions"]) == 1


@pytest.mark.requirement("SES-12", "MON-01", "MON-04")
def test_a_session_without_market_data_is_connected_but_limited_until_they_come_back(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        until(lambda: state(service) == "connected")
        scenario(service, "no-market-data")
        until(lambda: state(service) == "degraded")
        told = service.ask("GET", "/api/ibkr/status").json
        assert (told["label"], told["connected"]) == ("Connected (limited)", True)
        assert told["lastError"]["code"] == "E-MD-NONE"
        assert told["lastError"]["remedy"]
        assert set(told["diagnostics"].values()) == {"Connected", "Active", "Validated", "Ready"}
        kept = stored(service)
        assert (kept.state, kept.error_code) == ("degraded", "E-MD-NONE")
        assert kept.checked_at == kept.succeeded_at
        assert session(service)["last_error"]["code"] == "E-MD-NONE"
        assert service.ask("GET", "/health/broker").status == 200
        scenario(service, "ok")
        until(lambda: state(service) == "connected")
        assert service.ask("GET", "/api/ibkr/status").json["lastError"] is None
        until(lambda: stored(service).state == "connected")
        changes = [
            (each["was"], each["state"], each["code"])
            for each in service.ask("GET", "/api/ibkr/session/history").json["events"]
            if each["event"] == "state"
        ]
        assert changes[-2:] == [("connected", "degraded", "E-MD-NONE"), ("degraded", "connected", "")]
        assert service.ask("GET", "/api/ibkr/session/history").json["availability_percent"] > 90


@pytest.mark.requirement("MON-04")
def test_it_is_looked_at_every_thirty_seconds_though_nobody_asks(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        world = service.world
        assert world is not None
        until(lambda: stored(service).state == "connected")
        times = [stored(service).checked_at]
        for _ in range(3):
            until(lambda: stored(service).checked_at != times[-1])
            times.append(stored(service).checked_at)
        pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
        # A tenth of a second of this machine is most of a second there, and one look may be late by more.
        assert all(pause >= 25 for pause in pauses[1:]), pauses
        assert statistics.median(pauses) <= 30 + PACE, pauses


@pytest.mark.requirement("SES-17")
def test_a_page_that_is_looked_at_keeps_the_session_and_without_one_it_is_left_to_end(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path, SESSION_IDLE_TIMEOUT="1") as service:
        world = service.world
        assert world is not None
        until(lambda: stored(service).state == "connected")
        began = world.clock.now()
        while (world.clock.now() - began).total_seconds() < 90:
            assert state(service) == "connected"
            threading.Event().wait(0.3)
        until(lambda: stored(service).state == "configured")
        assert service.ask("GET", "/readyz").status == 200, "nobody asked for it, so nothing is down"
        down = service.ask("GET", "/health/broker")
        assert (down.status, down.json["code"]) == (503, "E-NOT-CONNECTED")
        sent, began = len(world.requests), world.clock.now()
        until(lambda: (world.clock.now() - began).total_seconds() > 70)
        assert [each.path for each in world.requests[sent:]] == []
        assert service.order(broker="ibkr").status == 201
        assert state(service) == "connected"


@pytest.mark.requirement("SES-07", "MON-04")
def test_a_login_that_somebody_completes_is_noticed_by_itself(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path, "not-authenticated") as service:
        until(lambda: state(service) == "needs_login")
        world = service.world
        assert world is not None
        first = service.ask("GET", "/api/ibkr/status").json
        assert first["label"] == "Login required"
        until(lambda: service.ask("GET", "/api/ibkr/status").json["checkedAt"] != first["checkedAt"])
        scenario(service, "ok")
        began = world.clock.now()
        until(lambda: state(service) == "connected")
        # Of 35; a second of this machine is eight of that world.
        assert (world.clock.now() - began).total_seconds() <= 35 + PACE
        kept = service.ask("GET", "/api/ibkr/session/history").json["events"]
        assert [each["event"] for each in kept].count("reconnect") <= 1  # a passive look is no try


@pytest.mark.requirement("SES-10")
def test_after_a_log_out_nothing_is_sent_until_somebody_connects(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        world = service.world
        assert world is not None
        answer = service.ask("POST", "/api/ibkr/logout")
        assert answer.json == {"connection_id": "default", "state": "disconnected", "warning": None}, answer.raw
        assert calls(service, "/logout") == 1
        sent, began = len(world.requests), world.clock.now()
        until(lambda: (world.clock.now() - began).total_seconds() > 70)
        assert [each.path for each in world.requests[sent:]] == []
        assert (stored(service).state, stored(service).wanted, state(service)) == (
            "disconnected",
            False,
            "disconnected",
        )
        refused = service.order(broker="ibkr")
        assert (refused.status, refused.code) == (409, "E-NOT-CONNECTED"), refused.raw
        assert len(world.requests) == sent
        ended = service.ask("GET", "/api/ibkr/session/history").json
        assert [each["status"] for each in ended["sessions"]] == ["closed"]
        assert session(service)["session_id"] is None

        assert service.ask("POST", "/api/ibkr/connect").json["state"] == "connected"
        assert service.order(broker="ibkr").status == 201
        assert len(service.ask("GET", "/api/ibkr/session/history").json["sessions"]) == 2


@pytest.mark.requirement("SES-10")
def test_a_log_out_counts_also_where_the_gateway_is_away(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        assert service.world is not None
        service.world.up = False
        answer = service.ask("POST", "/api/ibkr/logout")
        assert answer.status == 200
        assert answer.json["state"] == "disconnected"
        assert answer.json["warning"]["code"] == "E-GW-DOWN"
        service.world.up = True
    with at_the_gateway(tmp_path, "ok") as again:  # the next process finds it so
        assert state(again) == "disconnected"
        assert len(again.world.requests if again.world else ()) == 0


@pytest.mark.requirement("SES-08")
def test_a_session_that_another_login_has_is_taken_over_only_when_a_person_says_so(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        scenario(service, "competing")
        until(lambda: state(service) == "competing")

        def competes() -> list[bool]:
            assert service.world is not None
            return [each.body["compete"] for each in service.world.requests if "ssodh/init" in each.path]

        assert True not in competes()
        for body in (None, {}, {"confirm": False}, {"confirm": "yes"}, {"confirm": True, "really": True}):
            answer = service.ask("POST", "/api/ibkr/take-over", body)
            assert answer.status in (415, 422), answer.raw
            assert answer.code == "E-VALIDATION"
        assert state(service) == "competing"
        plain = service.ask("POST", "/api/ibkr/reconnect")
        assert (plain.status, plain.code) == (424, "E-SES-COMPETING")
        taken = service.ask("POST", "/api/ibkr/take-over", {"confirm": True})
        assert (taken.status, taken.json["state"]) == (200, "connected"), taken.raw
        assert True in competes()
        names = [each["event"] for each in service.ask("GET", "/api/ibkr/session/history").json["events"]]
        assert "taken_over" in names


@pytest.mark.requirement("SES-04")
def test_reconnect_opens_the_brokerage_session_anew(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        before = session(service)["session_id"]
        told = service.ask("POST", "/api/ibkr/reconnect")
        assert (told.status, told.json["state"]) == (200, "connected"), told.raw
        assert told.json["session_id"] == before
        assert service.order(broker="ibkr").status == 201
        assert service.world is not None
        service.world.up = False
        refused = service.ask("POST", "/api/ibkr/reconnect")
        assert (refused.status, refused.code) == (503, "E-GW-DOWN")
        assert refused.json["error"]["remedy"]


@pytest.mark.requirement("SES-15", "MON-01")
def test_with_one_user_there_is_the_connection_of_the_settings_alone(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        (only,) = service.ask("GET", "/api/ibkr/connections").data
        assert (only["connection_id"], only["is_default"], only["state"]) == ("default", True, "connected")
        for method, path in (
            ("GET", "/api/ibkr/status"),
            ("GET", "/api/ibkr/session"),
            ("GET", "/api/ibkr/session/history"),
            ("POST", "/api/ibkr/test"),
            ("POST", "/api/ibkr/connect"),
            ("POST", "/api/ibkr/logout"),
        ):
            assert service.ask(method, f"{path}?connection_id=other").status == 404, path
            assert service.ask(method, f"{path}?conection_id=default").status == 422, path
        wish = {"connection_id": "second", "method": "oauth2"}
        assert service.ask("POST", "/api/ibkr/connections", wish).status == 404
        assert state(service) == "connected"


@pytest.mark.requirement("MON-09", "SES-10")
def test_who_may_act_on_a_connection_and_what_the_audit_log_has_of_it(tmp_path: Path) -> None:
    people = People(
        {
            "ada": person("ada"),
            "viewer": person("viewer", role=Role.VIEWER),
            "reader": person("reader", scopes=frozenset({Scope.READ})),
            "confined": person("confined", accounts=account("DU1000001")),
        }
    )
    acts = ("connect", "reconnect", "logout", "take-over")
    with at_the_gateway(tmp_path, "ok", people=people) as service:
        until(lambda: state(service) == "connected")
        for token in ("viewer", "reader", "confined"):
            for act in acts:
                refused = service.ask("POST", f"/api/ibkr/{act}", {"confirm": True}, token=token)
                assert (refused.status, refused.code) == (403, "E-FORBIDDEN"), (token, act)
            assert service.ask("GET", "/api/ibkr/session", token=token).status == 200
        for act in acts:
            assert service.ask("POST", f"/api/ibkr/{act}", {"confirm": True}, token=None).status == 401
            assert service.ask("POST", f"/api/ibkr/{act}", {"confirm": True}).status == 200
        assert service.settings is not None
        settings = service.settings

    async def entries() -> list[tuple[str, str, str, str]]:
        async with audit_log(settings) as log:
            return [
                (each.actor, each.action, each.object, each.result)
                for each in reversed(await log.entries())
                if each.action.startswith("sessions.")
            ]

    assert run(entries) == [("user-ada", f"sessions.{act.replace('-', '_')}", "default", "ok") for act in acts]


@pytest.mark.requirement("SES-12")
def test_events_tell_each_change_once_and_go_on_where_they_broke_off(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        until(lambda: stored(service).state == "connected")
        heard: list[dict[str, Any]] = []
        where = urlsplit(service.address)
        call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=40)
        call.request("GET", "/api/ibkr/events", headers={"Authorization": "Bearer ada"})
        answer = call.getresponse()
        assert answer.getheader("content-type", "").startswith("text/event-stream")

        def listen() -> None:
            for line in answer:
                if line.startswith(b"data: "):
                    heard.append(json.loads(line[6:]))

        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        assert service.ask("POST", "/api/ibkr/logout").status == 200
        until(lambda: len(heard) >= 2)
        assert [each["event"] for each in heard] == ["logout", "state"]
        assert (heard[1]["was"], heard[1]["state"]) == ("connected", "disconnected")
        call.sock.close() if call.sock else None

        assert service.ask("GET", "/api/ibkr/events?after=x").status == 422
        again = http.client.HTTPConnection(where.hostname or "", where.port, timeout=40)
        last = {"Authorization": "Bearer ada", "Last-Event-ID": str(heard[0]["id"])}
        again.request("GET", "/api/ibkr/events", headers=last)
        answer = again.getresponse()
        told = next(json.loads(line[6:]) for line in answer if line.startswith(b"data: "))
        assert told["id"] == heard[1]["id"]
        again.close()


@pytest.mark.requirement("SES-14")
def test_the_mock_has_a_history_too(mock_service: Served) -> None:
    until(lambda: mock_service.ask("GET", "/api/ibkr/session/history").json["sessions"])
    told = mock_service.ask("GET", "/api/ibkr/session/history").json
    assert "connected" in {each["state"] for each in told["events"]}, told
    assert told["availability_percent"] > 0


@pytest.mark.requirement("LIM-03", "MON-01")
def test_the_status_says_until_when_calls_pause_and_none_is_made_in_the_pause(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        world = service.world
        assert world is not None
        until(lambda: stored(service).state == "connected")
        assert service.ask("GET", "/api/ibkr/status").json["pausedUntil"] is None
        scenario(service, "rate-429")
        began = world.clock.now()
        until(lambda: service.ask("GET", "/api/ibkr/status").json["pausedUntil"] is not None)
        ends = datetime.fromisoformat(service.ask("GET", "/api/ibkr/status").json["pausedUntil"])
        assert 0 < (ends - began).total_seconds() <= 660

        def quiet() -> bool:
            """Looked at within one pause, which may end between two looks of a slow machine."""
            paused, sent = service.ask("GET", "/api/ibkr/status").json["pausedUntil"], len(world.requests)
            health = service.ask("GET", "/health/broker").status
            within = paused is not None and service.ask("GET", "/api/ibkr/status").json["pausedUntil"] == paused
            return within and health == 503 and len(world.requests) == sent

        until(quiet)
