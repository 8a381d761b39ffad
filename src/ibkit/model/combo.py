"""Combinations: several contracts traded as one, by ratio, at one net price.

Buying the whole buys the legs of positive ratio and sells the others; selling it does the opposite. The net price is
the sum of leg price x ratio and may be negative. Source: docs/facts/orders.md §1.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ibkit.model.contract import ComboLeg, Contract, SecType
from ibkit.model.identity import Conid

__all__ = ["SPREAD_CONIDS", "combo_of", "net"]

SPREAD_CONIDS: Mapping[str, Conid] = {
    "AUD": Conid(61227077),
    "CAD": Conid(61227082),
    "CHF": Conid(61227087),
    "CNH": Conid(136000441),
    "GBP": Conid(58666491),
    "HKD": Conid(61227072),
    "INR": Conid(136000444),
    "JPY": Conid(61227069),
    "KRW": Conid(136000424),
    "MXN": Conid(136000449),
    "SEK": Conid(136000429),
    "SGD": Conid(426116555),
    "USD": Conid(28812380),
}
"""IBKR's number for spreads in each currency. Source: docs/facts/orders.md §1.6."""

_MOST_LEGS = 4


def combo_of(legs: Sequence[tuple[Contract, int]]) -> Contract:
    """The combination of `legs`, each a contract and its signed ratio, in this order.

    Raises ValueError for fewer than two legs, more than four (our bound: iron condors and butterflies fit), a ratio of
    zero, a leg twice, legs of several currencies or multipliers, or a currency for which IBKR has no number.
    """
    if not 2 <= len(legs) <= _MOST_LEGS:
        raise ValueError(f"a combination has two to {_MOST_LEGS} legs, not {len(legs)}")
    contracts = [contract for contract, _ in legs]
    if any(ratio == 0 for _, ratio in legs) or any(contract.legs for contract in contracts):
        raise ValueError("each leg is a single contract with a ratio that is not zero")
    if len({contract.conid for contract in contracts}) != len(legs):
        raise ValueError("a combination has each leg once")
    first = contracts[0]
    if any((c.currency, c.multiplier) != (first.currency, first.multiplier) for c in contracts):
        raise ValueError("the legs of a combination have one currency and one multiplier")
    if first.currency not in SPREAD_CONIDS:
        raise ValueError(f"no combinations in {first.currency}: they are known for {', '.join(SPREAD_CONIDS)}")
    return Contract(
        conid=SPREAD_CONIDS[first.currency],
        symbol=first.symbol,
        sec_type=SecType.COMBO,
        currency=first.currency,
        multiplier=first.multiplier,
        underlying_conid=first.underlying_conid,
        legs=tuple(ComboLeg(contract, ratio) for contract, ratio in legs),
    )


def net(legs: Sequence[ComboLeg], prices: Mapping[Conid, Decimal]) -> Decimal:
    """What one combination costs at these prices of its legs. KeyError where one is missing."""
    return sum((prices[leg.contract.conid] * leg.ratio for leg in legs), Decimal(0))
