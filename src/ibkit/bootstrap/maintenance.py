"""Windows in which the service is worked on: planned ahead and outside market hours; told of; closed to new orders.

    planned        told at once, by alert to the installation and on every page
    an hour before told again
    begun          new orders and sales are refused (503) until its end, those that close a position, too; syncs pause.
                   What had begun goes on, with its questions; a repeated key is answered; cancels and the kill switch
                   work
    over           told

Market hours are the regular session in New York, Monday to Friday 9:30 to 16:00; holidays count as open, so that a
window on one needs to be forced. What watches over positions goes on all the while: stops, and exits by time.
Source: requirement OPS-06.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import anyio.to_thread

from ibkit.bootstrap.edge import edges
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError
from ibkit.settings import Settings
from ibkit.store.maintenance import SqlMaintenance, Window
from ibkit.store.records import open_records
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening

__all__ = ["AHEAD", "Maintenance", "Told", "open_maintenance", "planned", "session_within"]

log = logging.getLogger(__name__)

AHEAD: Final = timedelta(hours=24)
"""People are told so long before. Source: requirement OPS-06."""
_SOON: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(hours=24)
_LOOK_EVERY_S: Final = 10.0
_NEW_YORK: Final = ZoneInfo("America/New_York")
_OPENS, _CLOSES = time(9, 30), time(16)


class Told(enum.IntEnum):
    NOTHING = 0
    PLANNED = 1
    SOON = 2
    OVER = 3


def session_within(starts_at: datetime, ends_at: datetime) -> tuple[datetime, datetime] | None:
    """The first regular session in New York that the window touches."""
    day = starts_at.astimezone(_NEW_YORK).date()
    last = ends_at.astimezone(_NEW_YORK).date()
    while day <= last:
        opens, closes = (datetime.combine(day, each, _NEW_YORK) for each in (_OPENS, _CLOSES))
        if day.weekday() < 5 and starts_at < closes and opens < ends_at:
            return opens, closes
        day += timedelta(days=1)
    return None


def planned(starts_at: datetime, ends_at: datetime, text: str, *, by: str, now: datetime, force: bool) -> Window:
    """A window that may be planned. ConfigError (E-VALIDATION), naming what is wrong.

    force: also in market hours, and with less than a day's notice.
    """
    said = " ".join(text.split()).rstrip(". ")  # whoever shows it goes on after it
    if not said or len(said) > 500 or not said.isprintable():
        raise _wrong("--text", "say in 1 to 500 characters what is done")
    if ends_at <= starts_at:
        raise _wrong("--end", "it is not after --start")
    if ends_at - starts_at > _LONGEST:
        raise _wrong("--end", f"a window is at most {_LONGEST.total_seconds() / 3600:.0f} hours long")
    if ends_at <= now:
        raise _wrong("--end", "it is over already")
    if not force and starts_at - now < AHEAD:
        raise _wrong("--start", "people are told a day ahead; --force plans it sooner")
    session = session_within(starts_at, ends_at)
    if session is not None and not force:
        opens = f"{session[0].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        raise _wrong("--start", f"it touches market hours (from {opens} on); --force plans it all the same")
    return Window(
        window_id=edges().random(4).hex(),
        starts_at=starts_at.astimezone(UTC),
        ends_at=ends_at.astimezone(UTC),
        text=said,
        planned_by=by[:200],
        planned_at=now,
    )


def _wrong(flag: str, why: str) -> ConfigError:
    return ConfigError(f"Invalid request: {flag}: {why}", code="E-VALIDATION", remedy=f"Correct {flag}.")


@asynccontextmanager
async def open_maintenance(settings: Settings) -> AsyncIterator[SqlMaintenance]:
    """The windows in the database of the settings. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("maintenance",)))
    try:
        yield SqlMaintenance(database)
    finally:
        await database.close()


class Maintenance:
    """The windows as a service follows them. clock: of the machine. tell: how people hear of them."""

    def __init__(self, settings: Settings, clock: Clock, *, tell: Callable[[Happening], Awaitable[None]]) -> None:
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._windows: tuple[Window, ...] = ()

    @property
    def current(self) -> Window | None:
        """The one that holds now; the longest of several."""
        now = self._clock.now()
        return max((each for each in self._windows if each.holds(now)), key=lambda each: each.ends_at, default=None)

    @property
    def next(self) -> Window | None:
        now = self._clock.now()
        ahead = [each for each in self._windows if each.cancelled_at is None and each.starts_at > now]
        return min(ahead, key=lambda each: each.starts_at, default=None)

    def refuse_orders(self) -> None:
        """IbkitError (E-MAINT, with the end) while a window holds."""
        window = self.current
        if window is None:
            return
        left = max(1, round((window.ends_at - self._clock.now()).total_seconds()))
        raise IbkitError(
            f"Maintenance until {window.ends_at:%Y-%m-%d %H:%M} UTC: {window.text}",
            code="E-MAINT",
            remedy="Nothing of this request was stored or sent: repeat it then, with the same key. Cancelling, and "
            "stopping all trading, works meanwhile; an order that closes a position is held back, too.",
            details={"retry_after": left, "until": f"{window.ends_at:%Y-%m-%dT%H:%M:%SZ}"},
        )

    async def run(self) -> None:
        """Until it is cancelled. The database stays open; where it fails it is opened anew."""
        while True:
            try:
                async with open_maintenance(self._settings) as store:
                    while True:
                        await self._look(store)
                        await self._clock.sleep(_LOOK_EVERY_S)
            except IbkitError as error:
                log.warning("what is planned could not be read", extra={"code": error.code})
            except Exception:  # whoever runs this beside orders must not fall with it
                log.exception("what is planned could not be read")
            await self._clock.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Read what is planned, and tell what is due, once. A database that is away leaves what was known."""
        try:
            async with open_maintenance(self._settings) as store:
                await self._look(store)
        except IbkitError as error:
            log.warning("what is planned could not be read", extra={"code": error.code})

    async def _look(self, store: SqlMaintenance) -> None:
        now = self._clock.now()
        windows = await store.windows(ending_after=now - _LONGEST)
        self._windows = tuple(each for each in windows if each.ends_at > now)
        for window in windows:
            step = _due(window, now)
            if step > window.told and await store.tell(window.window_id, step):
                try:
                    await self._tell(_happening(window, step, now))
                except IbkitError as error:  # the pages tell it all the same; the next window must not wait for it
                    log.warning("a window of maintenance could not be told of", extra={"code": error.code})


def _due(window: Window, now: datetime) -> Told:
    """A window that was taken back before it began is told of once more, by its end."""
    if window.cancelled_at is not None:
        return Told.OVER if window.told > Told.NOTHING else Told.NOTHING
    if now >= window.ends_at:
        return Told.OVER
    return Told.SOON if window.starts_at - now <= _SOON else Told.PLANNED


def _happening(window: Window, step: Told, now: datetime) -> Happening:
    span = f"{window.starts_at:%Y-%m-%d %H:%M} to {window.ends_at:%Y-%m-%d %H:%M} UTC"
    if step is not Told.OVER:
        message = f"Maintenance from {span}: {window.text}. Orders are refused meanwhile"
    elif window.cancelled_at is not None:
        message = f"The maintenance from {span} is called off"
    else:
        message = f"The maintenance from {span} is over: orders are taken again"
    return Happening(
        event=EventKind.MAINTENANCE_PLANNED,
        subject=f"maintenance {window.window_id}/{step.name.lower()}",
        message=message,
        remedy="Nothing is to be done."
        if step is Told.OVER
        else "Send before it what cannot wait until its end, exits and rolls, too.",
        at=now,
    )
