"""What `POST /broker-order` answers, row by row of reliability rules §4.8, where no other test of the service does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from faulty_disk import FULL, IOERR_WRITE, Disk
from gateway_service import at_the_gateway, order
from ibkit.bootstrap.desks import journal_path
from ibkit.model import Environment
from ibkit.service.rates import Rates
from ibkit.store.journal import SqliteJournal
from ibkit.trading.alert import AlertKind
from ibkit.trading.risk import Halt, HaltMode, Layer, LimitChange
from people import People, person
from service_desks import Served, new_key, until

PRICE = 262


def resting(service: Served, key: str, **changes: Any) -> Any:
    return order(service, key=key, **{"order_type": "limit", "limit_price": PRICE, **changes})


def with_book(service: Served, work: Callable[[SqliteJournal, datetime], Any]) -> Any:
    """As another process of this state directory would: `ibkit kill`, `ibkit risk set`."""
    assert service.settings is not None
    assert service.world is not None
    clock = service.world.clock

    async def main() -> Any:
        async with SqliteJournal(journal_path(service.settings), clock=clock) as journal:
            return await work(journal, clock.now())

    return anyio.run(main)


def limit(name: str, new: str) -> Callable[[SqliteJournal, datetime], Any]:
    async def work(journal: SqliteJournal, now: datetime) -> None:
        change = LimitChange(
            environment=Environment.PAPER,
            layer=Layer.ENVIRONMENT,
            whose=Environment.PAPER.value,
            name=name,
            new=new,
            by="tests",
            note="a test",
            at=now,
        )
        await journal.risk.change(change)

    return work


# -- in progress ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.requirement("GWY-03", "GWY-01", "GWY-11")
def test_with_the_answer_held_back_a_twin_is_told_after_five_seconds_that_it_is_busy(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path, pace=1.0) as service:
        assert service.world is not None
        held = {"endpoint": "PLACE_ORDERS", "fault": "delay", "params": {"seconds": 10}}
        service.world.control("POST", "faults", held)
        key, answers, taken = new_key(), [], []

        def post() -> None:
            began = time.monotonic()
            answers.append(resting(service, key))
            taken.append(time.monotonic() - began)

        threads = [threading.Thread(target=post) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert {answer.status for answer in answers} == {202, 409}, [answer.raw for answer in answers]
        assert all(5 <= each < 8 for each in taken), taken
        first, twin = sorted(answers, key=lambda answer: answer.status)
        assert twin.code == "E-IDEM-BUSY"
        assert twin.json["error"]["details"]["id"] == first.data["id"]
        assert int(first.headers["retry-after"]) >= 1
        assert int(twin.headers["retry-after"]) >= 1
        assert len(service.sent()) == 1


# -- retention --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("GWY-03")
def test_a_key_of_31_days_ago_is_a_tombstone_and_gives_422_and_no_order_for_400_days(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        key, open_key = new_key(), new_key()
        placed = order(service, key=key)
        until(lambda: service.ask("GET", placed.headers["location"]).data["status"] == "filled")
        assert resting(service, open_key).status == 201
        sent = len(service.sent())

        async def purge(journal: SqliteJournal, now: datetime) -> int:
            # What each process does once a day; the ages in it are those of `tests/store/test_retention.py`.
            return await journal.purge(now + timedelta(days=31))

        assert with_book(service, purge) == 1
        for changes in ({}, {"qty": 2}):
            late = order(service, key=key, **changes)
            assert (late.status, late.code) == (422, "E-IDEM-CONFLICT"), late.raw
        assert service.ask("GET", placed.headers["location"]).status == 404
        still = resting(service, open_key)
        assert (still.status, still.json["cached"]) == (200, True), "an order that works is never purged"
        assert len(service.sent()) == sent


# -- what leaves a key free, and what does not ------------------------------------------------------------------------


@pytest.mark.requirement("GWY-03", "GWY-11")
def test_refusals_for_sign_in_schema_and_rate_leave_the_key_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Rates] = []

    def rates(monotonic: Callable[[], float], **told: str) -> Rates:
        made.append(Rates(monotonic, limit=2, **told))
        return made[-1]

    monkeypatch.setattr("ibkit.service.serving.Rates", rates)
    people = People({"ada": person("ada"), "bob": person("bob")})
    with at_the_gateway(tmp_path, people=people) as service:
        key = new_key()
        assert resting(service, key, token="nobody").status == 401
        assert resting(service, key, qty=0).status == 422
        assert resting(service, new_key()).status == 201
        late = resting(service, key)
        assert (late.status, late.code) == (429, "E-RATE")
        assert len(service.sent()) == 1
        people.holders["later"] = person("bob", user_id="user-ada")  # the same user, whose minute is over
        made[0].within_s = 0.0
        again = resting(service, key)
        assert (again.status, again.json["cached"]) == (201, False), again.raw


@pytest.mark.requirement("GWY-03")
def test_a_looser_limit_does_not_let_a_refused_key_through(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        with_book(service, limit("max_shares", "5"))
        key = new_key()
        refused = resting(service, key, qty=6)
        assert (refused.status, refused.code) == (422, "E-RISK"), refused.raw
        with_book(service, limit("max_shares", "100"))
        again = resting(service, key, qty=6)
        assert (again.status, again.data["status"], again.data["error"]["code"]) == (200, "rejected", "E-RISK")
        assert service.sent() == []
        assert resting(service, new_key(), qty=6).status == 201


@pytest.mark.requirement("GWY-03", "TRD-18")
def test_an_order_stopped_by_the_kill_switch_stays_refused_after_its_release(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:

        async def press(journal: SqliteJournal, now: datetime) -> int:
            halt = Halt(environment=Environment.PAPER, mode=HaltMode.BLOCK_NEW, by="tests", note="a test", at=now)
            return (await journal.risk.halt(halt))[0].number

        async def release(journal: SqliteJournal, now: datetime) -> None:
            await journal.risk.release(number, by="tests", note="over", at=now)

        number, key = with_book(service, press), new_key()
        refused = resting(service, key)
        assert refused.status == 422, refused.raw
        assert refused.code == "E-RISK"
        with_book(service, release)
        again = resting(service, key)
        assert (again.status, again.json["cached"], again.data["status"]) == (200, True, "rejected")
        assert again.data["id"] == refused.json["error"]["details"]["id"]
        assert service.sent() == []
        assert resting(service, new_key()).status == 201


@pytest.mark.requirement("GWY-03", "TRD-18")
def test_an_order_of_read_only_mode_stays_refused_when_the_mode_is_over(tmp_path: Path) -> None:
    key = new_key()
    with at_the_gateway(tmp_path, IBKR_READ_ONLY="true") as service:
        refused = resting(service, key)
        assert (refused.status, refused.code) == (403, "E-READONLY"), refused.raw
    with at_the_gateway(tmp_path) as service:
        again = resting(service, key)
        assert (again.status, again.json["cached"], again.data["status"]) == (200, True, "rejected"), again.raw
        assert again.data["error"]["code"] == "E-READONLY"
        assert service.sent() == []


# -- what the broker says ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("GWY-01", "TRD-10")
def test_a_question_that_is_on_no_list_is_declined_and_told_with_its_words(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        assert service.world is not None
        service.world.control("POST", "scenario", {"scenario": ["order-question-unknown"]})
        key = new_key()
        asked = resting(service, key)
        assert (asked.status, asked.code) == (409, "E-ORD-QUESTION"), asked.raw
        assert asked.json["error"]["details"]["id"]
        again = resting(service, key)
        assert (again.status, again.data["status"], again.data["error"]["code"]) == (200, "rejected", "E-ORD-QUESTION")
        assert asked.json["error"]["message"] == again.data["error"]["message"]
        replies = [each for each in service.world.requests if "/reply/" in each.path]
        assert [each.body["confirmed"] for each in replies] == [False]
        assert len(service.sent()) == 1


@pytest.mark.slow
@pytest.mark.requirement("GWY-01", "GWY-06", "TRD-10")
def test_an_outcome_that_nobody_can_prove_is_502_with_the_order_and_later_reads_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost question may wait at IBKR, seen by nobody: no list proves that there will be no order."""
    monkeypatch.setattr("ibkit.service.orders.ANSWER_WITHIN_S", 60.0)
    with at_the_gateway(tmp_path) as service:
        assert service.world is not None
        service.world.control("POST", "scenario", {"scenario": ["order-question"]})
        service.world.control("POST", "faults", {"endpoint": "PLACE_ORDERS", "fault": "drop-answer"})
        key = new_key()
        answer = resting(service, key)
        assert (answer.status, answer.code) == (502, "E-ORD-UNKNOWN"), answer.raw
        assert "not" in answer.json["error"]["remedy"][0].lower()
        path = f"/broker-order/{answer.json['error']['details']['id']}"
        kept = service.ask("GET", path).data
        assert (kept["status"], kept["error"]["code"]) == ("unknown", "E-ORD-UNKNOWN")
        again = resting(service, key)
        assert (again.status, again.data["id"], again.data["status"]) == (200, kept["id"], "unknown")

        async def alerts(journal: SqliteJournal, now: datetime) -> list[str]:
            return [each.subject for each in await journal.alerts.open(kind=AlertKind.PARKED_ORDER)]

        assert with_book(service, alerts) == [kept["id"]]
        assert len(service.sent()) == 1


# -- what the disk does -----------------------------------------------------------------------------------------------


def writes(statement: str) -> bool:
    return statement.lstrip().upper().startswith(("INSERT", "UPDATE"))


@pytest.mark.requirement("GWY-06", "ERR-01", "OPT-07")
@pytest.mark.parametrize(("fault", "status"), [(FULL, 507), (IOERR_WRITE, 503)])
def test_a_disk_that_is_full_or_fails_before_the_intent_stores_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, status: int
) -> None:
    disk = Disk(monkeypatch)
    with at_the_gateway(tmp_path) as service:
        before = resting(service, new_key(), qty=2)
        assert before.status == 201, before.raw
        key = new_key()
        disk.fault = lambda statement: fault if writes(statement) else None
        refused = resting(service, key)
        assert (refused.status, refused.code) == (status, "E-DB"), refused.raw
        assert refused.json["error"]["remedy"]
        assert len(service.sent()) == 1
        assert service.ask("GET", before.headers["location"]).data["broker_order_id"], "what was there can be read"
        disk.heal()
        again = resting(service, key)
        if fault == FULL:
            assert (again.status, again.json["cached"]) == (201, False), again.raw
            assert len(service.sent()) == 2
        else:  # after a failed disk nobody knows what is stored: no orders until a restart
            assert (again.status, again.code) == (503, "E-DB"), again.raw
            assert len(service.sent()) == 1


@pytest.mark.requirement("GWY-06", "OPT-07")
def test_a_disk_that_fills_up_between_intent_and_send_keeps_the_order_for_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    with at_the_gateway(tmp_path) as service:
        assert resting(service, new_key(), qty=2).status == 201
        key = new_key()
        disk.fault = lambda statement: FULL if "INTO sends" in statement else None
        refused = resting(service, key)
        assert (refused.status, refused.code) == (507, "E-DB"), refused.raw
        assert len(service.sent()) == 1
        name = refused.json["error"]["details"]["id"]
        assert service.ask("GET", f"/broker-order/{name}").data["status"] == "pending"
        disk.heal()
        again = resting(service, key)
        assert (again.status, again.data["id"]) == (200, name), again.raw
        until(lambda: service.ask("GET", f"/broker-order/{name}").data["status"] == "submitted")
        assert len(service.sent()) == 2
