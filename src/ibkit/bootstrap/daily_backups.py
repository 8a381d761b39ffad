"""A backup every day, made by the worker or by the service that is one: told where it fails, and once it works again.

A look every hour; the first of a day (UTC) makes that day's backup, so a failure is tried again within the hour.
Source: requirement OPS-03.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio.to_thread

from ibkit.bootstrap.backups import back_up_daily
from ibkit.bootstrap.edge import edges
from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight
from ibkit.settings import Settings
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening

__all__ = ["DailyBackups"]

log = logging.getLogger(__name__)

_FIRST_LOOK_S = 60.0
"""A start has better things to do: it looks for the orders of an earlier run."""
_LOOK_EVERY_S = 3600.0
_SUBJECT = "daily backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyBackups:
    """clock: of the machine; days are its days. tell: how people hear of it."""

    settings: Settings
    clock: Clock
    tell: Callable[[Happening], Awaitable[None]]

    async def look(self) -> Path | None:
        """Make the backup of the day where it is missing: the new file. What fails is told, and not raised."""
        now, random = self.clock.now(), edges().random
        try:
            # A worker that ends does not wait: what is half made is no backup yet, and its folder is a scratch one.
            made = await anyio.to_thread.run_sync(
                lambda: back_up_daily(self.settings, now=now, random=random), abandon_on_cancel=True
            )
        except InFlight:
            return None  # another process is at it
        except IbkitError as error:
            log.error("the daily backup failed", extra={"code": error.code, "why": error.message})
            await self._failed(error, now)
            return None
        except Exception as error:  # whoever runs this beside orders must not fall with it
            log.exception("the daily backup failed")
            why = getattr(error, "strerror", None) or type(error).__name__
            await self._failed(IbkitError(f"a fault of ours: {why}", code="E-INTERNAL"), now)
            return None
        if made is not None:
            log.info("backup made", extra={"path": str(made)})
            message = "The daily backup was made and is good"
            await self.tell(
                Happening(event=EventKind.BACKUP_MADE, subject=_SUBJECT, message=message, at=now, only_ends=True)
            )
        return made

    async def _failed(self, error: IbkitError, now: datetime) -> None:
        await self.tell(
            Happening(
                event=EventKind.BACKUP_FAILED,
                subject=_SUBJECT,
                message=f"The daily backup failed: {error.message}",
                remedy=error.remedy,
                at=now,
                details={"code": error.code},
            )
        )

    async def run(self) -> None:
        """Until it is cancelled; BACKUP_KEEP=0: nothing is made."""
        if not self.settings.database.backup_keep:
            return
        await self.clock.sleep(_FIRST_LOOK_S)
        while True:
            await self.look()
            await self.clock.sleep(_LOOK_EVERY_S)
