"""What holding something requires: a stand-in for IBKR's margin, plain enough to check by hand.

Long stock 25 % of its value, short stock 30 %. A short option alone: multiplier x max(premium + 20 % of the underlying
- what it is out of the money, premium + 10 % of the strike (a put) or of the underlying (a call)). A short option
against a long one of the same underlying, right and an expiry not before it: width x multiplier - credit, never below
zero. A long option alone: its value, since nothing is lent against it.

Source: docs/facts/orders.md §12.4 [sim].
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument

__all__ = ["Held", "margin_of"]

_LONG_STOCK, _SHORT_STOCK = Decimal("0.25"), Decimal("0.30")
_UNDERLYING, _FLOOR = Decimal("0.20"), Decimal("0.10")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Held:
    """A signed quantity; mark: price per unit. underlying: price of what an option is on, else zero."""

    instrument: Instrument
    quantity: Decimal
    mark: Decimal
    underlying: Decimal = _ZERO


def margin_of(holdings: Iterable[Held]) -> Decimal:
    """The requirement of all holdings together, initial and maintenance alike."""
    total = _ZERO
    options: defaultdict[tuple[int | None, str | None], list[Held]] = defaultdict(list)
    for held in holdings:
        if held.quantity == 0:
            continue
        if held.instrument.sec_type == "OPT":
            options[held.instrument.underlying_conid, held.instrument.right].append(held)
        else:
            rate = _LONG_STOCK if held.quantity > 0 else _SHORT_STOCK
            total += abs(held.quantity) * held.mark * held.instrument.multiplier * rate
    return total + sum((_of_options(legs) for legs in options.values()), _ZERO)


@dataclass(slots=True)
class _Cover:
    held: Held
    free: Decimal


def _of_options(legs: list[Held]) -> Decimal:
    """Legs of one underlying and right: each short is paired with the longs that make it cheapest."""
    covers = [_Cover(held, held.quantity) for held in sorted(legs, key=_strike) if held.quantity > 0]
    total = _ZERO
    for short in sorted((held for held in legs if held.quantity < 0), key=_strike):
        left = -short.quantity
        for cover in _cheapest_first(short, covers):
            used = min(cover.free, left)
            total += used * _paired(short, cover.held)
            cover.free -= used
            left -= used
        total += left * _naked(short)
    return total + sum((c.free * c.held.mark * c.held.instrument.multiplier for c in covers), _ZERO)


def _cheapest_first(short: Held, covers: list[_Cover]) -> list[_Cover]:
    fit = [c for c in covers if _expiry(c.held) >= _expiry(short) and _paired(short, c.held) < _naked(short)]
    return sorted(fit, key=lambda cover: _paired(short, cover.held))


def _paired(short: Held, long: Held) -> Decimal:
    """One short covered by one long: the width of the strikes less the credit."""
    put = short.instrument.right == "P"
    width = _strike(short) - _strike(long) if put else _strike(long) - _strike(short)
    return max(_ZERO, max(_ZERO, width) - (short.mark - long.mark)) * short.instrument.multiplier


def _naked(short: Held) -> Decimal:
    put = short.instrument.right == "P"
    strike, underlying = _strike(short), short.underlying
    out_of_money = max(_ZERO, underlying - strike if put else strike - underlying)
    base = strike if put else underlying
    per_unit = max(short.mark + _UNDERLYING * underlying - out_of_money, short.mark + _FLOOR * base)
    return per_unit * short.instrument.multiplier


def _strike(held: Held) -> Decimal:
    return held.instrument.strike or _ZERO


def _expiry(held: Held) -> date:
    return held.instrument.expiry or date.max
