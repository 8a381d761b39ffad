"""What one sale sells: a single option, or a vertical spread as one combination, and what that can cost.

    put   short K, long K - width     bull put spread
    call  short K, long K + width     bear call spread

The combination is written so that *selling* it sells the short leg and buys the long one: (short, +1), (long, -1). Its
net price is then the credit, above zero, and buying it back closes both legs. Source: docs/facts/orders.md §1.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ibkit.model import Availability, Contract, Quote, Right, Side, combo_of

__all__ = ["Structure", "long_strike", "net_quote"]

_ZERO = Decimal(0)

_WORST = (
    Availability.NOT_SUBSCRIBED,
    Availability.NO_ACKNOWLEDGEMENT,
    Availability.FROZEN_DELAYED,
    Availability.DELAYED,
    Availability.FROZEN,
    Availability.INCOMPLETE,
    Availability.UNKNOWN,
)
"""Of the legs' quotes the worst word counts for the whole; anything else is as good as real time."""


@dataclass(frozen=True, slots=True)
class Structure:
    """long: the bought leg of a vertical; None: the short option alone."""

    short: Contract
    long: Contract | None = None

    @property
    def contract(self) -> Contract:
        """What the orders name: the option itself, or the combination."""
        if self.long is None:
            return self.short
        return combo_of(((self.short, 1), (self.long, -1)))

    @property
    def label(self) -> str:
        """`SPY 20261120 629 P`, of a vertical `SPY 20261120 629/624 P`: as its record is called."""
        if self.long is None:
            return self.short.label
        assert self.short.strike is not None, "an option has a strike"
        assert self.short.right is not None, "an option has a right"
        assert self.short.expiry is not None, "an option has an expiry"
        assert self.long.strike is not None, "an option has a strike"
        strikes = f"{self.short.strike.normalize():f}/{self.long.strike.normalize():f}"
        return f"{self.short.symbol} {self.short.expiry:%Y%m%d} {strikes} {self.short.right.value}"

    @property
    def width(self) -> Decimal | None:
        """Between the strikes: the most that the whole can cost (and so lose, before the credit)."""
        if self.long is None:
            return None
        assert self.short.strike is not None, "an option has a strike"
        assert self.long.strike is not None, "an option has a strike"
        return abs(self.short.strike - self.long.strike)

    @property
    def legs(self) -> tuple[tuple[Side, Contract], ...]:
        """What a sale does with each contract."""
        return ((Side.SELL, self.short),) if self.long is None else ((Side.SELL, self.short), (Side.BUY, self.long))

    def max_loss(self, credit: Decimal, quantity: Decimal) -> Decimal | None:
        """At expiry, without a stop: width x multiplier x quantity - credit (a total); of a put the whole strike.

        None for a call sold alone: no number bounds it.
        """
        assert self.short.strike is not None, "an option has a strike"
        units = self.short.multiplier * quantity
        if self.width is not None:
            return self.width * units - credit
        return self.short.strike * units - credit if self.short.right is Right.PUT else None

    def break_even(self, credit_per_unit: Decimal) -> Decimal:
        """The underlying's price at expiry at which the sale neither wins nor loses, before commissions."""
        assert self.short.strike is not None, "an option has a strike"
        below = self.short.right is Right.PUT
        return self.short.strike - credit_per_unit if below else self.short.strike + credit_per_unit


def long_strike(strike: Decimal, right: Right, width: Decimal) -> Decimal:
    """Where the protection of a sold option at `strike` is bought: further out of the money."""
    return strike - width if right is Right.PUT else strike + width


def net_quote(contract: Contract, quotes: Sequence[Quote]) -> Quote:
    """What a combination brings (bid) and costs (ask) when each leg trades at its worse side. quotes: as its legs.

    The prices of the combination itself are not asked for: a snapshot is by conid, and all combinations of a currency
    share one. Source: docs/facts/contracts-and-market-data.md §0.1.
    """
    bid, ask, delta = _ZERO, _ZERO, 0.0
    missing_bid = missing_ask = missing_delta = False
    for leg, quote in zip(contract.legs, quotes, strict=True):
        # A leg that nobody bids for is sold for nothing; one that nobody offers has no price to buy it at.
        gives, takes = (quote.bid, quote.ask) if leg.ratio > 0 else (quote.ask, quote.bid or _ZERO)
        missing_bid, missing_ask = missing_bid or gives is None, missing_ask or takes is None
        missing_delta = missing_delta or quote.delta is None
        bid += leg.ratio * (gives or _ZERO)
        ask += leg.ratio * (takes or _ZERO)
        delta += leg.ratio * (quote.delta or 0.0)
    words = [quote.availability for quote in quotes]
    return Quote(
        conid=contract.conid,
        bid=None if missing_bid else bid,
        ask=None if missing_ask else ask,
        availability=next((word for word in _WORST if word in words), words[0]),
        halted=any(quote.halted for quote in quotes),
        delta=None if missing_delta else delta,
    )
