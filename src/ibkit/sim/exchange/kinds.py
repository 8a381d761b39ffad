"""Order types: what each asks of its ticket, which products take it, and how IBKR displays it.

Source: docs/facts/orders.md §1.3 (which field carries what), §9 (display words and codes of the first four, and
"Trailing Stop"; the other words and codes are assumed), contracts-and-market-data.md §1.13 (types of a product).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "Kind", "OrderType"]

OrderType = Literal[
    "MKT", "LMT", "STP", "STOP_LIMIT", "TRAIL", "TRAILLMT", "MIT", "LIT", "MOC", "LOC", "REL", "MIDPRICE"
]
Source = Literal["price", "auxPrice", "price or auxPrice"]
_ALL = frozenset({"STK", "OPT", "BAG"})
_SINGLE = frozenset({"STK", "OPT"})
_STOCK = frozenset({"STK"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """limit, stop, offset: the wire field that carries it, None for none; a name in `optional` may be left out.

    waits:    for what it is held before it works: an adverse price (a stop), or a favourable one (if touched).
    trails:   its stop follows the market. at_close: it trades at the closing price, or not at all.
    products: those that take it; of combos that is assumed.
    """

    display: str
    code: str
    limit: Source | None = None
    stop: Source | None = None
    offset: Source | None = None
    optional: frozenset[str] = frozenset()
    waits: Literal["stop", "touch"] | None = None
    trails: bool = False
    at_close: bool = False
    products: frozenset[str] = _ALL


KINDS: Mapping[str, Kind] = {
    "MKT": Kind(display="Market", code="MARKET"),
    "LMT": Kind(display="Limit", code="LIMIT", limit="price"),
    "STP": Kind(display="Stop", code="STOP", stop="price or auxPrice", waits="stop"),
    "STOP_LIMIT": Kind(display="Stop Limit", code="STOP_LIMIT", limit="price", stop="auxPrice", waits="stop"),
    "TRAIL": Kind(
        display="Trailing Stop",
        code="TRAIL",
        stop="price",
        optional=frozenset({"stop"}),
        waits="stop",
        trails=True,
    ),
    "TRAILLMT": Kind(
        display="Trailing Stop Limit", code="TRAILLMT", limit="price", stop="auxPrice", waits="stop", trails=True
    ),
    "MIT": Kind(display="Market if Touched", code="MIT", stop="price", waits="touch", products=_SINGLE),
    "LIT": Kind(
        display="Limit if Touched", code="LIT", limit="price", stop="auxPrice", waits="touch", products=_SINGLE
    ),
    "MOC": Kind(display="Market on Close", code="MOC", at_close=True, products=_STOCK),
    "LOC": Kind(display="Limit on Close", code="LOC", limit="price", at_close=True, products=_STOCK),
    "REL": Kind(display="Relative", code="REL", limit="price", offset="auxPrice", products=_SINGLE),
    "MIDPRICE": Kind(
        display="Midprice", code="MIDPRICE", limit="price", optional=frozenset({"limit"}), products=_STOCK
    ),
}
"""By the word on the ticket."""
