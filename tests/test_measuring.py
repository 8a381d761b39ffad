"""What a process's figures say of orders, of the login and of the connection, and who writes them where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ibkit.bootstrap.measuring import Measuring
from ibkit.bootstrap.worker_loop import Standing
from ibkit.model import Secret, Username
from ibkit.notify.exposition import exposition
from ibkit.settings import load
from ibkit.store.records import open_records
from ibkit.trading import Step, StepKind
from ibkit.trading.intent import IntentState
from trading_room import make_room
from watching import sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-05")]
CONNECTION = "paper oauth1a"


def books(room: Any) -> Any:
    return SimpleNamespace(alerts=room.journal.alerts, journal=room.journal)


def watching(room: Any) -> Measuring:
    measuring = Measuring(CONNECTION, worker=True)
    measuring.watch(Standing(), room.broker.username)
    return measuring


async def test_a_stop_that_works_for_days_is_no_order_without_a_known_end() -> None:
    """It would be an alert at night for every sold option that is protected."""
    room = (await sold()).room
    assert await room.journal.unfinished(room.broker.username), "the stop works"
    measuring = watching(room)
    await measuring.measure(books(room), room.clock.now() + timedelta(days=3))
    assert measuring.metrics.value("ibkit_open_intents") == 0
    assert measuring.metrics.value("ibkit_oldest_open_intent_seconds") == 0


async def test_an_order_whose_answer_is_awaited_is_one() -> None:
    room = make_room()
    planned, now = SimpleNamespace(at=room.clock.now()), room.clock.now() + timedelta(minutes=11)

    async def unfinished(username: Username) -> tuple[Any, ...]:
        assert username == room.broker.username
        return tuple(
            SimpleNamespace(state=each, planned=planned) for each in (IntentState.AMBIGUOUS, IntentState.ACKED)
        )

    measuring = watching(room)
    journal = SimpleNamespace(unfinished=unfinished)
    await measuring.measure(SimpleNamespace(alerts=room.journal.alerts, journal=journal), now)
    assert measuring.metrics.value("ibkit_open_intents") == 1
    assert measuring.metrics.value("ibkit_oldest_open_intent_seconds") == 660


def test_the_first_unknown_order_is_an_increase_that_prometheus_sees() -> None:
    """increase() of a series that begins at 1 is 0: it has to be there before."""
    measuring = Measuring(CONNECTION)
    before = exposition(measuring.metrics)
    assert 'ibkit_orders_total{outcome="unknown"} 0.0' in before
    assert 'ibkit_orders_total{outcome="refused"} 0.0' in before
    room = make_room()
    measuring.counting(lambda step: None)(Step(kind=StepKind.UNKNOWN, at=room.clock.now(), text="x"))
    assert 'ibkit_orders_total{outcome="unknown"} 1.0' in exposition(measuring.metrics)


async def test_the_age_of_the_login_begins_anew_with_a_new_one() -> None:
    room = make_room()
    measuring, now = watching(room), room.clock.now()
    at = now
    measuring.signed_in_at = lambda: at
    await measuring.measure(books(room), now + timedelta(hours=19))
    assert measuring.metrics.value("ibkit_session_age_seconds", CONNECTION) == 19 * 3600
    at = now + timedelta(hours=19)  # renewed, as OAuth's logins are
    await measuring.measure(books(room), now + timedelta(hours=24))
    assert measuring.metrics.value("ibkit_session_age_seconds", CONNECTION) == 5 * 3600


async def test_a_worker_that_cannot_sign_in_is_not_connected_and_a_service_says_nothing() -> None:
    """Otherwise no rule would ever fire for a worker that waits for a login since its start."""
    room = make_room()
    worker, service = Measuring(CONNECTION, worker=True), Measuring(CONNECTION)
    for each in (worker, service):
        await each.measure(books(room), room.clock.now())
    assert worker.metrics.value("ibkit_connection_up", CONNECTION) == 0
    assert service.metrics.value("ibkit_connection_up", CONNECTION) is None


async def test_only_the_worker_writes_the_file_that_a_collector_reads(tmp_path: Path) -> None:
    """Service and worker share a state directory; two writers would make each other's counters fall."""
    room = make_room()
    settings = load(environ={"IBKIT_STATE_DIR": str(tmp_path), "APP_ENV": "test"}, require_method=False)
    (tmp_path / "worker").mkdir()
    database = open_records(Secret(f"sqlite:///{tmp_path}/a.db"), parts=("metrics",))
    both = SimpleNamespace(**vars(books(room)), records=database)
    try:
        await Measuring(CONNECTION).recorder(settings, both, room.clock).once()
        assert list((tmp_path / "worker").iterdir()) == []
        await Measuring(CONNECTION, worker=True).recorder(settings, both, room.clock).once()
        assert [path.name for path in (tmp_path / "worker").iterdir()] == ["paper-oauth1a.prom"]
    finally:
        await database.close()
