"""Snapshots: a subscription and a read of what has come so far; and the end of subscriptions.

Source: docs/facts/contracts-and-market-data.md §2.1-2.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ibkit.sim.handlers.contracts import bad_request, conid_of
from ibkit.sim.logins.logins import Brokerage
from ibkit.sim.market.calendar import new_york_date
from ibkit.sim.market.combos import DATA_CONID
from ibkit.sim.market.instruments import Instrument
from ibkit.sim.market.snapshot import COMBO_FIELDS, FIELDS, Look, Stage
from ibkit.sim.routing import ApiError, Call, Json, handles
from ibkit.sim.world import World
from ibkit.wire.marketdata import SNAPSHOT, SNAPSHOT_CONIDS, SNAPSHOT_FIELDS, UNSUBSCRIBE, UNSUBSCRIBE_ALL

__all__ = ["MARKERS", "Line", "availability", "contract_of", "has_arrived", "look", "may_stream", "open_line", "values"]

_EMPTY_CALLS = 3
"""Scenario empty-first-snapshot: so many calls for a contract stay empty, however long they wait."""
_DELAY = timedelta(minutes=15)
MARKERS = ("6509", "6119")
"""Fields that come with every row of data; asked for alone, they make one."""
_TWINS = {"87": ("87_raw",)}
"""Numeric twins that come with a field unasked. §2.2."""


@dataclass(slots=True)
class Line:
    """One contract's stream in a brokerage session: since when each field is asked for, and how many calls came.

    sockets: how many sockets read it; with the last one it ends, unless snapshots were asked for as well.
    """

    asked: dict[str, datetime] = field(default_factory=dict)
    calls: int = 0
    sockets: int = 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One conid of a request: `text` as sent (`756733`, `756733@ARCA`, `0;;;1/1,2/-1`)."""

    text: str
    conid: int


@handles(SNAPSHOT)
def snapshot(call: Call) -> Json:
    """§2.1: rows in the order asked; each contract once."""
    wanted = _wanted(call.query.get("conids") or "")
    fields = [name.strip() for name in (call.query.get("fields") or "").split(",") if name.strip()]
    if len(wanted) > SNAPSHOT_CONIDS or len(fields) > SNAPSHOT_FIELDS:
        raise bad_request(f"at most {SNAPSHOT_CONIDS} conids and {SNAPSHOT_FIELDS} fields")
    return [_row(call, one, fields) for one in wanted]


def _wanted(text: str) -> list[_Wanted]:
    """A combo's legs are separated by commas as well: a part with a ratio belongs to the part before."""
    parts: list[str] = []
    for part in (piece.strip() for piece in text.split(",")):
        if parts and ";;;" in parts[-1] and "/" in part and ";;;" not in part:
            parts[-1] += f",{part}"
        elif part:
            parts.append(part)
    if not parts:
        raise bad_request("conids are required")
    return [_Wanted(part, conid_of(part.partition(";;;")[0].partition("@")[0])) for part in dict.fromkeys(parts)]


def _row(call: Call, wanted: _Wanted, fields: list[str]) -> dict[str, Any]:
    identity: dict[str, Any] = {"conidEx": wanted.text, "conid": wanted.conid}
    brokerage = call.session.brokerage
    assert brokerage is not None, "the server lets nobody in without a brokerage session"
    instrument = contract_of(call.world, wanted.text, wanted.conid)
    if instrument is None or not instrument.quoted or not may_stream(brokerage, instrument):
        return identity
    line = open_line(call, brokerage, instrument.key)
    if line is None:
        return identity
    line.calls += 1
    before = dict(line.asked)
    for name in fields:
        if name in FIELDS or name in MARKERS:
            line.asked.setdefault(name, call.now)
    # A field never comes with the call that first asks for it, however fast the quirks make it.
    arrived = [name for name in fields or before if name in before and has_arrived(call, before[name], name)]
    faults = call.world.faults
    kept_empty = faults.on("empty-first-snapshot") and line.calls <= _EMPTY_CALLS
    if not arrived or kept_empty or faults.on("no-market-data"):
        return identity
    seen = look(call, instrument)
    marker = f"q{wanted.conid % 4}"
    answer = identity | {
        "server_id": marker,
        "_updated": int(seen.quote.at.timestamp() * 1000),
        "6119": marker,
        "6509": availability(call, seen),
    }
    if faults.on("md-not-subscribed") or faults.on("md-no-ack"):
        return answer
    return answer | values(seen, arrived)


def contract_of(world: World, text: str, conid: int) -> Instrument | None:
    """What market data is asked for: a contract, or a combo, whose spread conid must be 0 here (§1)."""
    if ";;;" not in text:
        return world.instruments.get(conid)
    return world.instruments.combo(text) if conid == DATA_CONID else None


def may_stream(brokerage: Brokerage, instrument: Instrument) -> bool:
    """Derivatives stay dark until their underlying was searched in this session, combos of them too. §0.1."""
    contracts = [leg.instrument for leg in instrument.legs] or [instrument]
    return all(one.symbol in brokerage.searched_symbols for one in contracts if one.is_option)


def open_line(call: Call, brokerage: Brokerage, key: int | str) -> Line | None:
    """The contract's stream, opened now if there is a line left for it. §2.1. A combo takes one of its own. [sim]"""
    line = brokerage.market_lines.get(key)
    if line is None and len(brokerage.market_lines) < call.world.quirks.market_lines:
        line = brokerage.market_lines[key] = Line()
    return line


def has_arrived(call: Call, asked_at: datetime, name: str) -> bool:
    """Each field warms up on its own. §2.1."""
    quirks, known = call.world.quirks, FIELDS.get(name)
    waits = {
        Stage.FIRST: quirks.snapshot_first_s,
        Stage.FULL: quirks.snapshot_full_s,
        Stage.COMPUTED: quirks.snapshot_computed_s,
    }
    wait = waits[Stage.FULL if known is None else known.stage]
    return (call.now - asked_at).total_seconds() >= wait


def look(call: Call, instrument: Instrument) -> Look:
    at = call.now - _DELAY if call.world.faults.on("delayed-quotes") else call.now
    months = call.world.instruments.months(instrument.symbol, new_york_date(call.now))
    quote = call.world.market.quote_of(instrument, at)
    return Look(instrument, quote, call.world.market, call.world.quirks, tuple(months), at)


def availability(call: Call, seen: Look) -> str:
    """Field 6509. §2.3."""
    faults, is_open = call.world.faults, call.world.calendar.is_open(call.now)
    if faults.on("md-not-subscribed"):
        return "N"
    if faults.on("md-no-ack"):
        return "O"
    if faults.on("delayed-quotes"):
        return "DPB" if is_open else "YB"
    if not is_open:
        return "ZB"
    return "RpB" if seen.instrument.multiplier == 1 else "RB"


def values(seen: Look, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if seen.instrument.legs:
        names = [name for name in names if name in COMBO_FIELDS]
    for name in [member for asked in names for member in (asked, *_TWINS.get(asked, ()))]:
        value = FIELDS[name].value(seen) if name in FIELDS else None
        if value is not None:
            found[name] = value
    return found


@handles(UNSUBSCRIBE)
def unsubscribe(call: Call) -> Json:
    """§2.5: the conid stands in a JSON body; without an open stream it is a 500."""
    brokerage = call.session.brokerage
    conid = call.body.get("conid") if isinstance(call.body, dict) else None
    if brokerage is None or conid is None or brokerage.market_lines.pop(conid_of(conid), None) is None:
        raise ApiError(500, {"error": "unknown"})
    return {"success": True}


@handles(UNSUBSCRIBE_ALL)
def unsubscribe_all(call: Call) -> Json:
    if call.session.brokerage is not None:
        call.session.brokerage.market_lines.clear()
    return {"unsubscribed": True}
