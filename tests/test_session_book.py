"""What looks at a connection leave in its record, and what is told of it. SES-02, SES-04, SES-09."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from ibkit.bootstrap import session_book
from ibkit.bootstrap.pauses import waiting_in
from ibkit.bootstrap.session_book import SessionBook
from ibkit.clock import ManualClock
from ibkit.errors import IbkitError, RateLimited, SessionExpired, StorageError, Unreachable
from ibkit.model import Secret
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.store.database import Database
from ibkit.store.lease import Lease
from ibkit.store.records import open_records
from ibkit.trading.alerting import Happening
from ibkit.trading.connection import ConnectionState

if TYPE_CHECKING:
    from ibkit.trading.ports import Alerts
    from ibkit.trading.selling.ports import Trades

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def made(database: Database, folder: Path, clock: ManualClock, told: list[Happening]) -> SessionBook:
    def tell(happenings: Iterable[Happening]) -> None:
        told.extend(happenings)

    row = ConnectionRow(
        user_id="",
        connection_id="default",
        method="gateway",
        environment="paper",
        created_at=NOW,
        state=ConnectionState.CONFIGURED,
        since=NOW,
    )
    return SessionBook(
        store=SqlConnections(database),
        row=row,
        name="paper gateway",
        alert_before=(1.0, 1 / 6),
        lease=Lease(folder, "session"),
        lease_name="session",
        held=lambda name: True,
        clock=clock,
        random=lambda size: bytes(size),
        tell_all=tell,
    )


@pytest.mark.anyio
@pytest.mark.requirement("SES-02", "SES-04", "SES-09")
async def test_a_session_is_warned_of_twice_and_its_end_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_book, "LONGEST", timedelta(seconds=70))
    clock, told = ManualClock(NOW), list[Happening]()

    database = open_records(Secret(f"sqlite:///{tmp_path}/a.db"), parts=("connections",))
    book = made(database, tmp_path, clock, told)
    await book.open()
    for second in range(0, 70, 5):
        await book.worked("login-1", ("DU1",))
        assert book.session is not None, second
        clock.advance(5)
    (kept,) = await book.store.sessions("", "default", since=NOW)
    assert (kept.expires_at - kept.created_at).total_seconds() == 70
    for _ in range(5):
        await book.failed(SessionExpired())
        clock.advance(25)

    events = [each.event.value for each in told]
    assert events.count("session.expiring") == 2
    assert events.count("session.expired") == 1
    (ended,) = await book.store.sessions("", "default", since=NOW)
    assert ended.status == "expired"
    row_now = await book.store.get("", "default")
    assert row_now is not None
    assert row_now.state is ConnectionState.NEEDS_LOGIN
    await book.close()
    await database.close()


@pytest.mark.anyio
@pytest.mark.requirement("LIM-03")
async def test_a_look_that_meets_the_penalty_box_tells_the_positions_that_wait_for_orders(tmp_path: Path) -> None:
    clock, told = ManualClock(NOW), list[Happening]()
    database = open_records(Secret(f"sqlite:///{tmp_path}/a.db"), parts=("connections",))
    book = made(database, tmp_path, clock, told)
    asked = []

    async def waiting(error: IbkitError, accounts: Collection[str]) -> Sequence[str]:
        asked.append((error.code, tuple(accounts)))
        return ["3 sold SPY 20261120 629 P"]

    boxed = RateLimited("blocked until about 15:40:00 UTC", code="E-PENALTY", retry_at=NOW + timedelta(minutes=10))
    await book.open()
    await book.worked("login-1", ("DU1",))
    book.waiting = waiting
    await book.failed(boxed)
    assert asked == [("E-PENALTY", ("DU1",))]
    assert "3 sold SPY 20261120 629 P" in told[-1].message
    assert book.standing.state is ConnectionState.PAUSED
    await book.close()
    await database.close()


@pytest.mark.anyio
@pytest.mark.requirement("LIM-03")
async def test_books_that_cannot_be_read_and_other_failures_keep_no_alert_back() -> None:
    asked = []

    class Away:
        async def trades(self, **wish: object) -> tuple[()]:
            asked.append(wish)
            return ()

        async def open(self, **wish: object) -> tuple[()]:
            raise StorageError("the database is away")

    waits = waiting_in(cast("Trades", Away()), cast("Alerts", Away()))
    assert await waits(RateLimited("blocked", code="E-PENALTY"), ("DU1",)) == ()
    assert await waits(Unreachable("no answer"), ("DU1",)) == ()
    assert asked == []
