"""A dispatcher over a real database file, with settings' channels, on a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap.alerting import fixed_channels
from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.notify import Dispatcher, Guard, Services, Webhook
from ibkit.notify.dispatcher import Whose, installations
from ibkit.settings import load
from ibkit.store.alert_channels import SqlChannels
from ibkit.store.database import Database
from ibkit.store.incidents import SqlIncidents
from ibkit.store.records import open_records
from ibkit.trading.alerting import EventKind, Happening
from ibkit.vault import KeyRing, generate_encryption_keys
from vaults import sealer

START = datetime(2026, 11, 27, 15, 30, tzinfo=UTC)
KEY = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0IHdlYmhvb2s="


@dataclass(slots=True)
class Desk:
    clock: ManualClock
    incidents: SqlIncidents
    channels: SqlChannels
    dispatcher: Dispatcher
    database: Database

    def event(self, event: EventKind = EventKind.ORDER_REJECTED, subject: str = "AAPL", **more: Any) -> Happening:
        given = {"message": "IBKR refused it", "at": self.clock.now(), **more}
        return Happening(event=event, subject=subject, **given)

    async def hears(self, *happenings: Happening) -> int:
        self.dispatcher.tell(*happenings)
        return await self.dispatcher.once()


Make = Callable[..., Any]


@pytest.fixture
async def desk_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """`desk_of(ALERT_WEBHOOK_URL=...)`: opened again it is the same database, as after a restart."""
    async with AsyncExitStack() as stack:
        ring = KeyRing.from_hex(Secret(generate_encryption_keys().key))
        clock = ManualClock(START)

        def make(*, alerts: Any = None, whose: Whose = installations, **variables: str) -> Desk:
            settings = load(flags=variables, require_method=False)
            database = open_records(Secret(f"sqlite:///{tmp_path}/ibkit.db"), parts=("alerts",))
            stack.push_async_callback(database.close)
            incidents = SqlIncidents(database)
            channels = SqlChannels(database, fixed=fixed_channels(settings), sealer=sealer(ring))
            guard = Guard(development=True)
            dispatcher = Dispatcher(
                incidents=incidents,
                channels=channels,
                alerts=alerts,
                webhook=Webhook(guard, clock),
                services=Services(guard),
                clock=clock,
                chance=random.Random(7).random,
                whose=whose,
            )
            return Desk(clock, incidents, channels, dispatcher, database)

        yield make
