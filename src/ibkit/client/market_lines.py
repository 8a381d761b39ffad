"""The market data that a stream asked for: renewed before its silent end, watched each for itself, merged.

Seconds are those of a clock that never goes back. No I/O.
Source: docs/facts/websocket.md §5.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ibkit.model import Conid, Quote
from ibkit.wire import stream as wire
from ibkit.wire.marketdata import quote_from_wire

__all__ = ["Heard", "MarketLines"]

RENEW_AFTER_S: Final = 540.0
"""IBKR ends a stream silently after 10 to 15 minutes. F126."""
ASK_S: Final = 22.0
"""A quiet market is no dead line: after so long it is asked for anew, which brings a full frame (§5.1). F125, F127."""
STALE_S: Final = 29.0
"""A line that does not answer then is told as silent within 30 s, the time its telling takes included. F79."""
TRIES: Final = 3
"""How often a line that stays silent is asked for again before its next renewal. F125."""


@dataclass(slots=True)
class _Line:
    """asked_at: None while it waits to be asked for. tries: asked for anew so often since something was heard."""

    fields: dict[str, None]
    asked_at: float | None = None
    heard_at: float = 0.0
    tries: int = 0
    told_stale: bool = False
    updated_ms: int = 0
    known: dict[str, Any] = field(default_factory=dict)
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """quote: None where the frame changed nothing, was older than one before, or was for nobody."""

    quote: Quote | None
    was_stale: bool = False


class MarketLines:
    """One line for each contract."""

    def __init__(self) -> None:
        self._lines: dict[Conid, _Line] = {}

    def want(self, conid: Conid, fields: Iterable[str]) -> bool:
        """Ask for a contract's fields; False where they are asked for already."""
        line = self._lines.get(conid)
        if line is None:
            self._lines[conid] = _Line(dict.fromkeys(fields))
            return True
        more = [name for name in fields if name not in line.fields]
        line.fields.update(dict.fromkeys(more))
        return bool(more)

    def known(self, conids: Collection[Conid]) -> list[Quote]:
        """The newest quotes of these contracts, where any came."""
        return [line.quote for conid, line in self._lines.items() if conid in conids and line.quote is not None]

    def now(self, conid: Conid) -> None:
        """The line is to be asked for (again) at once."""
        self._lines[conid].asked_at = None

    def restart(self) -> None:
        """A new connection: everything is asked for anew, and nothing old is merged with what comes.

        The first frames may be partial: a new bid beside an old ask would be a market that never was.
        """
        for line in self._lines.values():
            line.asked_at = None
            line.tries = 0
            line.known = {}

    def due(self, now: float, wanted: Collection[Conid]) -> list[str]:
        """Commands to send now: new lines, renewals, silent lines, and the end of what nobody wants any more."""
        commands = []
        for conid in [conid for conid in self._lines if conid not in wanted]:
            if self._lines.pop(conid).asked_at is not None:
                commands.append(wire.unsubscribe_market(conid))
        for conid, line in self._lines.items():
            silent = line.asked_at is not None and line.tries < TRIES and now - self._since(line) >= ASK_S
            if line.asked_at is None or now - line.asked_at >= RENEW_AFTER_S or silent:
                line.tries = line.tries + 1 if silent else 0
                if line.asked_at is None:
                    line.heard_at = now
                line.asked_at = now
                commands.append(wire.subscribe_market(conid, line.fields))
        return commands

    def gone_stale(self, now: float) -> list[tuple[str, float]]:
        """Lines that fell silent and were not told of yet, with the seconds since their last frame."""
        found = []
        for conid, line in self._lines.items():
            if line.tries and not line.told_stale and now >= self._stale_at(line):
                line.told_stale = True
                found.append((f"smd+{conid}", now - line.heard_at))
        return found

    def next_at(self) -> float | None:
        """When `due` or `gone_stale` has something to do again."""
        moments = []
        for line in self._lines.values():
            if line.asked_at is None:
                return 0.0
            moments.append(line.asked_at + RENEW_AFTER_S)
            if line.tries < TRIES:
                moments.append(self._since(line) + ASK_S)
            if line.tries and not line.told_stale:
                moments.append(self._stale_at(line))
        return min(moments, default=None)

    def hear(self, frame: wire.Market, now: float) -> Heard:
        """Take a frame in. Raises ValueError for a number that is none; the frame then counts for nothing."""
        line = None if frame.conid is None else self._lines.get(frame.conid)
        if line is None:
            return Heard(None)  # F87: nobody asked for it
        was_stale, line.told_stale = line.told_stale, False
        line.heard_at, line.tries = now, 0
        if frame.updated_ms is not None and frame.updated_ms < line.updated_ms:
            return Heard(None, was_stale)  # F81: out of order
        known = wire.merge_fields(line.known, frame.fields)
        quote = quote_from_wire(
            {**known, "conid": frame.conid, "_updated": frame.updated_ms or line.updated_ms or None}
        )
        line.updated_ms = frame.updated_ms or line.updated_ms
        changed, line.known, line.quote = known != line.known, known, quote
        return Heard(quote if changed else None, was_stale)

    @staticmethod
    def _stale_at(line: _Line) -> float:
        """It had its time to answer: also where we slept through the moment at which it was to be asked."""
        return max(line.heard_at + STALE_S, (line.asked_at or 0.0) + STALE_S - ASK_S)

    @staticmethod
    def _since(line: _Line) -> float:
        """From when silence is counted: the last frame, or the last time it was asked for again."""
        return max(line.heard_at, line.asked_at or 0.0) if line.tries else line.heard_at
