"""What looks at a connection leave in its record, and what is told of it. SES-02, SES-04, SES-09."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ibkit.bootstrap import session_book
from ibkit.bootstrap.session_book import SessionBook
from ibkit.clock import ManualClock
from ibkit.errors import SessionExpired
from ibkit.model import Secret
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.store.lease import Lease
from ibkit.store.records import open_records
from ibkit.trading.alerting import Happening
from ibkit.trading.connection import ConnectionState

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.requirement("SES-02", "SES-04", "SES-09")
async def test_a_session_is_warned_of_twice_and_its_end_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_book, "LONGEST", timedelta(seconds=70))
    clock, told = ManualClock(NOW), list[Happening]()

    def tell(happenings: Iterable[Happening]) -> None:
        told.extend(happenings)

    database = open_records(Secret(f"sqlite:///{tmp_path}/a.db"), parts=("connections",))
    row = ConnectionRow(
        user_id="",
        connection_id="default",
        method="gateway",
        environment="paper",
        created_at=NOW,
        state=ConnectionState.CONFIGURED,
        since=NOW,
    )
    book = SessionBook(
        store=SqlConnections(database),
        row=row,
        name="paper gateway",
        alert_before=(1.0, 1 / 6),
        lease=Lease(tmp_path, "session"),
        lease_name="session",
        held=lambda name: True,
        clock=clock,
        random=lambda size: bytes(size),
        tell_all=tell,
    )
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
