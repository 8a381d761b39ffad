"""Snapshots: a subscription plus a cache read, field by field.

Source: docs/facts/contracts-and-market-data.md §2.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from ibkit.model import Availability, Conid, Greeks, Quote
from ibkit.wire.endpoint import Endpoint, Limit, Needs
from ibkit.wire.numbers import abbreviated, estimate, figure, last_price, percent, whole

__all__ = [
    "OPTION_FIELDS",
    "QUOTE_FIELDS",
    "SNAPSHOT_CONIDS",
    "SNAPSHOT_FIELDS",
    "SnapshotRow",
    "UnsubscribeRequest",
    "greeks_from_wire",
    "has_both_sides",
    "has_data",
    "quote_from_wire",
]

_FACTS = "docs/facts/contracts-and-market-data.md"

SNAPSHOT_CONIDS = 100
"""Most conids of one call. Source: §2.1."""
SNAPSHOT_FIELDS = 50

QUOTE_FIELDS = ("31", "84", "85", "86", "88", "6509", "7635", "7308", "7633")
"""last, bid, ask size, ask, bid size, availability, mark, delta, implied volatility. Source: §2.4."""

OPTION_FIELDS = (*QUOTE_FIELDS, "7309", "7310", "7311", "7638")
"""And gamma, theta, vega, open interest. Source: §2.4."""

_METADATA = frozenset({"conid", "conidEx", "server_id", "_updated", "6119", "6508", "6509", "topic"})
"""Members that say nothing of the market: a row of these alone is still warming up. Source: §2.1."""

SnapshotRow = dict[str, Any]
"""Field number to value, as sent."""


class UnsubscribeRequest(msgspec.Struct):
    conid: int


SNAPSHOT = Endpoint(
    "GET",
    "/iserver/marketdata/snapshot",
    gives=list[SnapshotRow],
    needs=Needs.PRIMED_ACCOUNTS,
    limit=Limit(10, 1.0),
    source=f"{_FACTS} §2.1",
)
UNSUBSCRIBE = Endpoint(
    "POST",
    "/iserver/marketdata/unsubscribe",
    takes=UnsubscribeRequest,
    gives=dict[str, Any],
    source=f"{_FACTS} §2",
)
UNSUBSCRIBE_ALL = Endpoint("GET", "/iserver/marketdata/unsubscribeall", gives=dict[str, Any], source=f"{_FACTS} §2")


def has_data(row: SnapshotRow) -> bool:
    """Anything beyond identity has come."""
    return any(key not in _METADATA and value not in (None, "") for key, value in row.items())


def has_both_sides(row: SnapshotRow) -> bool:
    return bool(row.get("84")) and bool(row.get("86"))


def quote_from_wire(row: SnapshotRow) -> Quote:
    """A quote as it came: crossed and zero prices stay. Raises ValueError for a number that is none."""
    last = last_price(row.get("31"))
    updated = whole(row.get("_updated"))
    return Quote(
        conid=Conid(whole(row.get("conid")) or whole(row.get("conidEx")) or 0),
        bid=figure(row.get("84")),
        ask=figure(row.get("86")),
        last=last.price,
        bid_size=figure(row.get("88")),
        ask_size=figure(row.get("85")),
        mark=figure(row.get("7635")),
        availability=_availability(row.get("6509")),
        last_is_close=last.is_close,
        halted=last.halted,
        at=datetime.fromtimestamp(updated / 1000, UTC) if updated else None,
        delta=estimate(row.get("7308")),
        implied_volatility=percent(row.get("7633")),
    )


def greeks_from_wire(row: SnapshotRow) -> Greeks:
    """Raises ValueError for a number that is none. Open interest comes plain or as `12.3K`. Source: §10 row 5."""
    return Greeks(
        gamma=estimate(row.get("7309")),
        theta=estimate(row.get("7310")),
        vega=estimate(row.get("7311")),
        open_interest=abbreviated(row.get("7638")),
    )


def _availability(value: Any) -> Availability:
    # Only the first letter is tested. Source: §2.3.
    try:
        return Availability(value[0]) if isinstance(value, str) and value else Availability.UNKNOWN
    except ValueError:
        return Availability.UNKNOWN
