"""When many small things become one that is told: repeated errors, a long outage, many failures, most of a limit.

Each is a value that is asked with the time and answers with a `Happening` at the moment when there is one, once.
Source: requirements MON-06, MON-08, MON-11.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening

__all__ = ["Downtime", "Failures", "Repeats", "Usage", "Window"]

_MOST_KEYS: Final = 1_000
"""Subjects that are counted at a time; the one that was quiet longest is forgotten."""


@dataclass(slots=True)
class Window:
    """Counts of each key within a time. told: until when a key that crossed the line is not told again."""

    most: int
    within: timedelta
    _seen: OrderedDict[str, deque[tuple[datetime, str]]] = field(default_factory=OrderedDict)
    _told: dict[str, datetime] = field(default_factory=dict)

    def add(self, key: str, at: datetime, trace_id: str = "") -> tuple[tuple[datetime, str], ...] | None:
        """What was counted, where this one makes it `most` within the time; None otherwise, and while it goes on."""
        seen = self._seen.setdefault(key, deque(maxlen=max(self.most, 100)))
        self._seen.move_to_end(key)
        seen.append((at, trace_id))
        while seen and at - seen[0][0] > self.within:
            seen.popleft()
        while len(self._seen) > _MOST_KEYS:
            forgotten, _ = self._seen.popitem(last=False)
            self._told.pop(forgotten, None)
        quiet_until = self._told.get(key)
        if quiet_until is not None and at < quiet_until:
            self._told[key] = at + self.within  # it still goes on: one alert for all of it
            return None
        if len(seen) < self.most:
            return None
        self._told[key] = at + self.within
        return tuple(seen)


@dataclass(slots=True)
class Repeats:
    """The same error class of the same thing five times within ten minutes (MON-08)."""

    window: Window = field(default_factory=lambda: Window(5, timedelta(minutes=10)))

    def failed(
        self, code: str, subject: str, at: datetime, *, trace_id: str = "", remedy: str = ""
    ) -> Happening | None:
        """To the administrators, with first time, count, last trace ids and remedy; once while it goes on."""
        seen = self.window.add(f"{code} {subject}", at, trace_id)
        if seen is None:
            return None
        traces = [trace for _, trace in seen if trace][-5:]
        return Happening(
            event=EventKind.PERSISTENT_ISSUE,
            subject=f"{code} {subject}",
            message=f"{code} on {subject}: {len(seen)} times since {seen[0][0]:%Y-%m-%d %H:%M:%S} UTC",
            at=at,
            trace_id=traces[-1] if traces else "",
            remedy=remedy,
            details={
                "first_at": seen[0][0].isoformat(),
                "count": str(len(seen)),
                "trace_ids": " ".join(traces),
                "code": code,
            },
        )


@dataclass(slots=True)
class Downtime:
    """How long each connection is down: at the beginning, after 15 minutes, and at the end (MON-07, MON-08)."""

    longest: timedelta = timedelta(minutes=15)
    _since: dict[str, datetime] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def down(self, connection: str, reason: str, at: datetime) -> tuple[Happening, ...]:
        """To be called with each look that finds it down."""
        since = self._since.get(connection)
        if since is None:
            self._since[connection] = at
            lost = Happening(
                event=EventKind.CONNECTION_LOST, subject=connection, message=f"{connection} is down: {reason}", at=at
            )
            return (lost,)
        if connection in self._told or at - since <= self.longest:
            return ()
        self._told.add(connection)
        issue = Happening(
            event=EventKind.PERSISTENT_ISSUE,
            subject=connection,  # as of what ends it
            message=f"{connection} is down since {since:%Y-%m-%d %H:%M:%S} UTC: {reason}",
            at=at,
            details={"first_at": since.isoformat()},
        )
        return (issue,)

    def up(self, connection: str, at: datetime) -> tuple[Happening, ...]:
        since = self._since.pop(connection, None)
        self._told.discard(connection)
        if since is None:
            return ()
        back = Happening(
            event=EventKind.CONNECTION_RESTORED,
            subject=connection,
            message=f"{connection} is back after {(at - since).total_seconds():.0f} s",
            at=at,
        )
        return (back,)


@dataclass(slots=True)
class Usage:
    """What is used of a day's limit on market data, for each user; told once a day at four fifths (MON-06)."""

    share: float = 0.8
    _used: dict[tuple[str, str], int] = field(default_factory=dict)
    _day: date | None = None

    def used(self, what: str, limit: int, at: datetime, *, user: str = "", amount: int = 1) -> Happening | None:
        """One more of `what` (snapshots, history requests); a limit of 0 is none."""
        self._begin(at.date())
        key = (user, what)
        before = self._used.get(key, 0)
        self._used[key] = before + amount
        return self._told(what, before, before + amount, limit, at, user)

    def standing(self, what: str, now_used: int, limit: int, at: datetime, *, user: str = "") -> Happening | None:
        """What is in use at a time (lines, subscriptions): the day's highest counts."""
        self._begin(at.date())
        key = (user, what)
        before = self._used.get(key, 0)
        self._used[key] = max(before, now_used)
        return self._told(what, before, self._used[key], limit, at, user)

    def counts(self) -> dict[tuple[str, str], int]:
        """(user, what) → used on this day."""
        return dict(self._used)

    def _begin(self, day: date) -> None:
        if self._day != day:
            self._day, self._used = day, {}

    def _told(self, what: str, before: int, after: int, limit: int, at: datetime, user: str) -> Happening | None:
        # More than the share, not as much: 80 of 100 are still within what was planned.
        if limit <= 0 or not before <= self.share * limit < after:
            return None
        return Happening(
            event=EventKind.DATA_USAGE,
            subject=f"{what} {at:%Y-%m-%d}",
            message=f"{after} of {limit} {what} are used today",
            at=at,
            user=user,
            details={"used": str(after), "limit": str(limit)},
        )


@dataclass(slots=True)
class Failures:
    """Failed sign-ins and bad tokens by account and by address: ten in 15 minutes are a finding (MON-11)."""

    window: Window = field(default_factory=lambda: Window(10, timedelta(minutes=15)))

    def failed(self, kind: str, who: str, at: datetime, *, trace_id: str = "") -> Happening | None:
        """kind: "account" or "address"; who: its name."""
        seen = self.window.add(f"{kind} {who}", at, trace_id)
        if seen is None:
            return None
        return Happening(
            event=EventKind.SECURITY_FINDING,
            subject=f"{kind} {who}",
            message=f"{len(seen)} failed sign-ins or bad tokens of {kind} {who} since {seen[0][0]:%H:%M:%S} UTC",
            at=at,
            trace_id=trace_id,
            details={kind: who, "count": str(len(seen)), "first_at": seen[0][0].isoformat()},
        )
