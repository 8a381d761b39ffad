"""What the failures of one connection tell, call after call: which event it is, whether it repeats, how long it lasts.

| failure                                  | event                                                       |
|------------------------------------------|-------------------------------------------------------------|
| the login or session is over             | session.expired; session.needs_login where a person must act |
| another login holds it                   | session.competing                                           |
| credentials refused / we pause           | auth.failed / auth.paused                                   |
| our database or disk                     | storage.problem                                             |
| anything else of the line or of IBKR     | connection.lost, once for the outage                        |
| IBKR's own reset window                  | none: it was planned; connection.lost after 30 minutes      |
| IBKR's penalty box                       | connection.lost, critical where positions wait for orders   |

Besides, the same error class five times in ten minutes, or an outage of 15 minutes, is a persistent.issue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ibkit.errors import (
    ConfigError,
    CredentialsRejected,
    IbkitError,
    SessionExpired,
    SessionTaken,
    StorageError,
    TradingError,
)
from ibkit.trading.alert import Severity
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening
from ibkit.trading.alerting.thresholds import Downtime, Repeats

__all__ = ["Signs"]

_BY_CODE = {
    "E-GW-NOAUTH": EventKind.SESSION_NEEDS_LOGIN,
    "E-SES-EXPIRED": EventKind.SESSION_EXPIRED,
    "E-SES-COMPETING": EventKind.SESSION_COMPETING,
    "E-AUTH-FAILED": EventKind.AUTH_FAILED,
    "E-AUTH-BACKOFF": EventKind.AUTH_PAUSED,
}
_PLANNED, _PLANNED_FOR = "E-MAINT", timedelta(minutes=30)
_PENALTY = "E-PENALTY"
_MOST_SHOWN = 10


@dataclass(slots=True)
class Signs:
    """connection: its name, which alerts are about."""

    connection: str
    repeats: Repeats = field(default_factory=Repeats)
    downtime: Downtime = field(default_factory=Downtime)
    _planned_since: datetime | None = None
    _issued: bool = False
    """Whether administrators have heard of the outage that goes on: one alert for it, whichever rule came first."""
    _waiting: tuple[str, ...] = ()
    """What was told to wait for the end of the penalty box: told once, and again where it changes."""
    _new: bool = True
    """Nothing was reached yet: a process before this one may have left alerts open that nobody else would close."""

    def heard(self, failure: IbkitError | None, at: datetime) -> tuple[Happening, ...]:
        """After each round: what it failed by, or that it did not."""
        if failure is not None:
            return self.failed(failure, at)
        self._issued, self._planned_since, self._waiting = False, None, ()
        back = self.downtime.up(self.connection, at)
        if self._new and not back:
            again = f"{self.connection} is reached again"
            back = (
                Happening(
                    event=EventKind.CONNECTION_RESTORED, subject=self.connection, message=again, at=at, only_ends=True
                ),
            )
        self._new = False
        return back

    def failed(self, error: IbkitError, at: datetime, waiting: Sequence[str] = ()) -> tuple[Happening, ...]:
        """waiting: positions that depend on orders which cannot be placed meanwhile (LIM-03)."""
        if error.code == _PLANNED:
            return self._planned(error, at)
        trace = error.request_id or ""
        issue = self.repeats.failed(error.code, self.connection, at, trace_id=trace, remedy=error.remedy)
        found = [issue] if issue is not None else []
        if isinstance(error, ConfigError | TradingError):
            return tuple(found)  # ours to mend: no outage of the connection
        event = event_of(error)
        if event is not None:
            found.append(
                Happening(
                    event=event,
                    subject=self.connection,
                    message=f"{self.connection}: {error.code}: {error.message}",
                    at=at,
                    trace_id=trace,
                    remedy=error.remedy,
                )
            )
        if not isinstance(error, StorageError):
            lost = self.downtime.down(self.connection, f"{error.code}: {error.message}", at)
            found += [each for each in lost if event is None or each.event is not EventKind.CONNECTION_LOST]
        if error.code == _PENALTY and waiting:
            found = [each for each in found if each.event is not EventKind.CONNECTION_LOST]
            if tuple(waiting) != self._waiting:
                found.append(self._boxed(error, at, waiting))
            self._waiting = tuple(waiting)
        if self._issued:
            found = [each for each in found if each.event is not EventKind.PERSISTENT_ISSUE]
        self._issued |= any(each.event is EventKind.PERSISTENT_ISSUE for each in found)
        return tuple(found)

    def _boxed(self, error: IbkitError, at: datetime, waiting: Sequence[str]) -> Happening:
        """IBKR refuses everything from this address, and these positions go without their orders until it ends."""
        shown = "; ".join(waiting[:_MOST_SHOWN])
        more = f"; and {len(waiting) - _MOST_SHOWN} more" if len(waiting) > _MOST_SHOWN else ""
        return Happening(
            event=EventKind.CONNECTION_LOST,
            subject=self.connection,
            severity=Severity.CRITICAL,
            message=f"{self.connection}: {error.code}: {error.message}. "
            f"These positions wait for orders that are not placed: {shown}{more}",
            at=at,
            trace_id=error.request_id or "",
            remedy=f"{error.remedy} Until then only a person can protect them, by IBKR's own programs or trade desk.",
            details={"positions": str(len(waiting))},
        )

    def _planned(self, error: IbkitError, at: datetime) -> tuple[Happening, ...]:
        """Nothing, as long as maintenance takes no longer than it should; an outage that began before it goes on."""
        self._planned_since = self._planned_since or at
        if at - self._planned_since <= _PLANNED_FOR:
            return ()
        return self.downtime.down(self.connection, f"{error.code}: {error.message}", at)


def event_of(error: IbkitError) -> EventKind | None:
    """The event that this failure is by itself; None for an outage like any other."""
    by_code = _BY_CODE.get(error.code)
    if by_code is not None:
        return by_code
    match error:
        case StorageError():
            return EventKind.STORAGE_PROBLEM
        case SessionTaken():
            return EventKind.SESSION_COMPETING
        case SessionExpired():
            return EventKind.SESSION_EXPIRED
        case CredentialsRejected():
            return EventKind.AUTH_FAILED
        case _:
            return None
