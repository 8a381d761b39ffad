"""Topic `smd`: one contract's quotes, as the fields that changed.

Source: docs/facts/websocket.md §5.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ibkit.sim.handlers import marketdata
from ibkit.sim.market.snapshot import FIELDS
from ibkit.sim.streams.view import View

__all__ = ["MarketTopic"]

_DEFAULT_FIELDS = ("31", "84", "85", "86", "88")
"""Of a subscription that names none [sim]."""


class MarketTopic:
    """`smd+target`; the target is told back as it was sent."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._conid = _conid_of(target)
        self._key: int | str = self._conid
        self._fields: dict[str, None] = {}
        self._line: marketdata.Line | None = None
        self._told: dict[str, Any] = {}
        self._full = True
        self._asked_at = 0.0
        self._next_at = 0.0
        self._quiet = 0

    def ask(self, view: View, args: Mapping[str, Any]) -> None:
        """A renewal begins a new life, adds fields and brings everything again."""
        wanted = [str(name) for name in args.get("fields") or _DEFAULT_FIELDS]
        self._fields.update(dict.fromkeys(wanted))
        self._asked_at = self._next_at = view.at
        self._told, self._full = {}, True
        brokerage = view.brokerage
        instrument = marketdata.contract_of(view.world, self._target, self._conid)
        if brokerage is None or instrument is None or not instrument.quoted or not brokerage.accounts_primed:
            return
        if not marketdata.may_stream(brokerage, instrument):
            return
        self._key = instrument.key
        if self._line is None or brokerage.market_lines.get(self._key) is not self._line:
            self._line = marketdata.open_line(view.call(), brokerage, self._key)
            if self._line is not None:
                self._line.sockets += 1
        if self._line is not None:
            for name in wanted:
                if name in FIELDS or name in marketdata.MARKERS:
                    self._line.asked.setdefault(name, view.world.now)

    def frames(self, view: View) -> Iterable[dict[str, Any]]:
        if self._line is None or view.at < self._next_at:
            return
        if view.brokerage is None or view.brokerage.market_lines.get(self._key) is not self._line:
            self._line = None  # ended by a REST unsubscribe (§5.1)
            return
        if view.at - self._asked_at >= view.world.quirks.smd_lifetime_s:
            self.end(view)
            return
        self._next_at = view.at + view.world.quirks.smd_interval_s
        frame = self._frame(view)
        if frame is not None:
            yield frame

    def end(self, view: View) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        line.sockets -= 1
        brokerage = view.brokerage
        if line.sockets == 0 and line.calls == 0 and brokerage is not None:
            brokerage.market_lines.pop(self._key, None)

    def _frame(self, view: View) -> dict[str, Any] | None:
        world, line = view.world, self._line
        assert line is not None
        if world.faults.on("no-market-data"):
            return None
        call = view.call()
        instrument = marketdata.contract_of(world, self._target, self._conid)
        assert instrument is not None, "a line is for a contract that exists"
        marker = f"q{self._conid % 4}"
        frame: dict[str, Any] = {
            "server_id": marker,
            "conid": self._conid,
            "_updated": int(world.now.timestamp() * 1000),
            "6119": marker,
        }
        seen = marketdata.look(call, instrument)
        if self._full:
            frame |= {"conidEx": self._target, "6508": "&serviceID1=122&serviceID2=123"}
            frame["6509"] = marketdata.availability(call, seen)
        arrived = [n for n in self._fields if n in line.asked and marketdata.has_arrived(call, line.asked[n], n)]
        unentitled = world.faults.on("md-not-subscribed") or world.faults.on("md-no-ack")
        values = {} if unentitled else marketdata.values(seen, [n for n in arrived if n not in marketdata.MARKERS])
        changed = {name: value for name, value in values.items() if self._told.get(name) != value}
        self._told |= changed
        topic = {"topic": f"smd+{self._target}"}
        if changed or (self._full and (values or unentitled)):
            self._full = False
            self._quiet = 0
            return frame | changed | topic
        self._quiet += 1
        every = world.quirks.smd_empty_every
        if not every or self._full or self._quiet % every:
            return None
        if self._quiet % (2 * every) == 0:
            del frame["conid"]
        return frame | topic


def _conid_of(target: str) -> int:
    text = target.partition(";;;")[0].partition("@")[0]
    return int(text) if text.isdigit() else 0
