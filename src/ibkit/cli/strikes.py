"""Strikes suggested by delta, for a person to say yes or no to (OPT-03)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ibkit.errors import NotPermitted
from ibkit.model import Contract, Quote, Right

if TYPE_CHECKING:
    from ibkit.client import Client

__all__ = ["TARGET_DELTA", "Suggestion", "suggest"]

TARGET_DELTA: Final = 0.16
_LOOKED_AT: Final = 30
"""Strikes around the price whose deltas are asked for."""
_GREEKS_WITHIN_S: Final = 6.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    contract: Contract
    quote: Quote
    delta: float

    @property
    def text(self) -> str:
        return f"{self.contract.label}  delta {self.delta:+.2f}  bid {self.quote.bid}  ask {self.quote.ask}"


async def suggest(ib: Client, symbol: str, *, expiry: date, right: Right, most_pct: Decimal) -> Suggestion:
    """The out-of-the-money option of that day whose delta is nearest to 0.16, within the strike guard.

    NotPermitted E-MD-NONE where IBKR gives no deltas.
    """
    spot = (await ib.quote((await ib.underlying(symbol)).conid)).best
    if spot is None:
        raise _no_delta(f"no price of {symbol}")
    listed = await ib.option_strikes(symbol, expiry=expiry, right=right, near=spot, at_most=_LOOKED_AT)
    outside = [
        option
        for option in listed
        if option.strike is not None
        and (option.strike < spot if right is Right.PUT else option.strike > spot)
        and abs(option.strike - spot) / spot * 100 <= most_pct
    ]
    quotes = await _with_deltas(ib, outside)
    found = [
        Suggestion(option, quote, quote.delta)
        for option, quote in zip(outside, quotes, strict=True)
        if quote.delta is not None and quote.usable
    ]
    if not found:
        raise _no_delta(f"no delta for options of {symbol} on {expiry:%Y%m%d}")
    return min(found, key=lambda each: abs(abs(each.delta) - TARGET_DELTA))


async def _with_deltas(ib: Client, options: list[Contract]) -> tuple[Quote, ...]:
    """Quotes, waited for until the greeks are there: they are computed, and come after bid and ask."""
    if not options:
        return ()
    deadline = ib.clock.monotonic() + _GREEKS_WITHIN_S
    while True:
        quotes = await ib.quotes(tuple(option.conid for option in options))
        if all(quote.delta is not None for quote in quotes) or ib.clock.monotonic() >= deadline:
            return quotes
        await ib.clock.sleep(0.5)


def _no_delta(what: str) -> NotPermitted:
    return NotPermitted(
        f"No market data available: {what}, so no strike can be suggested",
        code="E-MD-NONE",
        remedy="Name the strikes with --put-strike and --call-strike.",
    )
