"""Strikes chosen from the chain: by delta (OPT-03), or by what they bring; and the expiry so many days away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ibkit.errors import NotFound, NotPermitted
from ibkit.model import Contract, Quote, Right

if TYPE_CHECKING:
    from ibkit.client import Client

__all__ = ["DELTA_WITHIN", "TARGET_DELTA", "Suggestion", "by_premium", "expiry_in", "suggest"]

TARGET_DELTA: Final = 0.16
DELTA_WITHIN: Final = 0.05
"""How far from a delta that was asked for the nearest strike may be; further off it is another trade."""
_LOOKED_AT: Final = 30
"""Strikes around the price whose quotes are asked for."""
_GREEKS_WITHIN_S: Final = 6.0
"""Source: docs/facts/contracts-and-market-data.md §2.1 (they come seconds after bid and ask)."""
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Suggestion:
    contract: Contract
    quote: Quote
    delta: float | None

    @property
    def strike(self) -> Decimal:
        assert self.contract.strike is not None, "a listed option has a strike"
        return self.contract.strike

    @property
    def text(self) -> str:
        delta = "" if self.delta is None else f"  delta {self.delta:+.2f}"
        return f"{self.contract.label}{delta}  bid {self.quote.bid}  ask {self.quote.ask}"


async def suggest(
    ib: Client,
    symbol: str,
    *,
    expiry: date,
    right: Right,
    most_pct: Decimal,
    delta: float = TARGET_DELTA,
    within: float | None = None,
) -> Suggestion:
    """The out-of-the-money option of that day whose delta is nearest to `delta` in size, within the strike guard.

    within: how far off it may be; None: as near as there is. NotPermitted E-MD-NONE where IBKR gives no deltas,
    NotFound E-CONTRACT (with the nearest) where none is near enough.
    """
    outside = await _outside(ib, symbol, expiry=expiry, right=right, most_pct=most_pct)
    quotes = await _with_deltas(ib, outside)
    found = [
        Suggestion(option, quote, quote.delta)
        for option, quote in zip(outside, quotes, strict=True)
        if quote.delta is not None and quote.usable
    ]
    if not found:
        raise _nothing(f"no delta for options of {symbol} on {expiry:%Y%m%d}")
    nearest = sorted(found, key=lambda each: _off(each, delta))
    if within is not None and _off(nearest[0], delta) > within:
        raise _too_far(f"a delta within {within:g} of {delta:g}", symbol, expiry, right, nearest)
    return nearest[0]


async def by_premium(
    ib: Client, symbol: str, *, expiry: date, right: Right, most_pct: Decimal, premium: Decimal
) -> Suggestion:
    """The out-of-the-money option of that day with the lowest bid that is at least `premium`, within the strike guard.

    NotFound E-CONTRACT (with the dearest) where none brings so much.
    """
    outside = await _outside(ib, symbol, expiry=expiry, right=right, most_pct=most_pct)
    quotes = await ib.quotes(tuple(option.conid for option in outside)) if outside else ()
    found = [
        Suggestion(option, quote, quote.delta)
        for option, quote in zip(outside, quotes, strict=True)
        if quote.usable and quote.bid is not None
    ]
    if not found:
        raise _nothing(f"no quote for options of {symbol} on {expiry:%Y%m%d}")
    enough = [each for each in found if each.quote.bid is not None and each.quote.bid >= premium]
    if not enough:
        dearest = sorted(found, key=lambda each: each.quote.bid or Decimal(0), reverse=True)
        raise _too_far(f"a bid of {premium} or more", symbol, expiry, right, dearest)
    # Of several with the same bid the one further out of the money is the better sale.
    return min(enough, key=lambda each: (each.quote.bid, each.strike if right is Right.PUT else -each.strike))


async def expiry_in(ib: Client, symbol: str, days: int, *, today: date) -> date:
    """The first listed expiry at least `days` calendar days after `today`. NotFound E-EXPIRY with the next three."""
    wanted = today + timedelta(days=days)
    listed = await ib.expiries(symbol, on_or_after=wanted, at_least=1)
    if listed:
        return listed[0]
    nearest = await ib.expiries(symbol, on_or_after=today, at_least=_SHOWN)
    shown = ", ".join(f"{each:%Y%m%d}" for each in nearest[:_SHOWN])
    raise NotFound(
        f"{symbol} has no expiry {days} or more days away",
        code="E-EXPIRY",
        remedy=f"The next are: {shown or 'none is listed'}.",
        details={"expiries": [f"{each:%Y%m%d}" for each in nearest[:_SHOWN]]},
    )


async def _outside(ib: Client, symbol: str, *, expiry: date, right: Right, most_pct: Decimal) -> tuple[Contract, ...]:
    """Options out of the money, no further away than the strike guard lets through."""
    spot = (await ib.quote((await ib.underlying(symbol)).conid)).best
    if spot is None:
        raise _nothing(f"no price of {symbol}")
    listed = await ib.option_strikes(symbol, expiry=expiry, right=right, near=spot, at_most=_LOOKED_AT)
    return tuple(
        option
        for option in listed
        if option.strike is not None
        and (option.strike < spot if right is Right.PUT else option.strike > spot)
        and abs(option.strike - spot) / spot * 100 <= most_pct
    )


async def _with_deltas(ib: Client, options: Sequence[Contract]) -> tuple[Quote, ...]:
    """Quotes, waited for until the greeks are there: they are computed, and come after bid and ask."""
    if not options:
        return ()
    deadline = ib.clock.monotonic() + _GREEKS_WITHIN_S
    while True:
        quotes = await ib.quotes(tuple(option.conid for option in options))
        if all(quote.delta is not None for quote in quotes) or ib.clock.monotonic() >= deadline:
            return quotes
        await ib.clock.sleep(0.5)


def _off(found: Suggestion, delta: float) -> float:
    assert found.delta is not None, "only what has a delta is compared by it"
    return abs(abs(found.delta) - delta)


def _too_far(what: str, symbol: str, expiry: date, right: Right, nearest: Sequence[Suggestion]) -> NotFound:
    word = "put" if right is Right.PUT else "call"
    shown = "; ".join(each.text for each in nearest[:_SHOWN])
    return NotFound(
        f"No {word} of {symbol} on {expiry:%Y%m%d} has {what}",
        code="E-CONTRACT",
        remedy=f"Ask for another, or name a strike. Nearest: {shown}.",
    )


def _nothing(what: str) -> NotPermitted:
    return NotPermitted(
        f"No market data available: {what}, so no strike can be suggested",
        code="E-MD-NONE",
        remedy="Name the strikes with --put-strike and --call-strike.",
    )
