"""What options expose to: by underlying and expiry their delta and theta, notional, and the most that can be lost.

The most that can be lost is that of the options of one underlying and expiry together, held to their expiry, beyond
the premium that was taken or paid (`average_cost`, of one contract, with its commissions). Shares that would cover a
sold call are not counted, nor are options of another expiry. Source: requirement FUT-05.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.portfolio.book import Holding
from ibkit.portfolio.kinds import SecurityKind

__all__ = ["OPTIONS", "Exposure", "Greeks", "exposures_of", "underlying_of"]

OPTIONS: Final = frozenset({SecurityKind.OPTION, SecurityKind.FUTURE_OPTION})
_NOTHING: Final = Decimal(0)

Convert = Callable[[Decimal, str], Decimal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeks:
    """Of one unit of the underlying; theta in the option's currency, for a day. None where no quote told it."""

    delta: float | None = None
    theta: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """delta: in units of the underlying. theta: money for a day. notional: strike times size of the short ones.

    maximum_loss: None where it is not known or has no bound, which `unlimited` tells. Money in the currency asked.
    """

    underlying: str
    expiry: date
    long: Decimal
    short: Decimal
    delta: float | None
    theta: float | None
    notional: Decimal | None
    maximum_loss: Decimal | None
    unlimited: bool


def exposures_of(
    holdings: Iterable[Holding], greeks: Mapping[int, Greeks], convert: Convert
) -> tuple[tuple[Exposure, ...], tuple[tuple[str, str], ...]]:
    """By expiry and underlying; and what is missing, each as figure and reason.

    greeks: by conid. convert: an amount of a currency into the one asked for, None where no rate is known.
    """
    groups: dict[tuple[date, str, str], list[Holding]] = {}
    missing: list[tuple[str, str]] = []
    for holding in holdings:
        if holding.kind not in OPTIONS or holding.units == 0:
            continue
        if holding.expiry is None or holding.strike is None or holding.right not in ("P", "C"):
            missing.append(("options", f"{holding.symbol}: its expiry, strike or right is not known"))
            continue
        groups.setdefault((holding.expiry, underlying_of(holding), holding.currency), []).append(holding)
    found = []
    for (expiry, underlying, currency), legs in sorted(groups.items()):
        named = f"{underlying} {expiry}"
        delta, theta = _summed(legs, greeks, "delta"), _summed(legs, greeks, "theta")
        missing += [
            (figure, f"{named}: no quote tells it of all its options")
            for figure, value in (("options.delta", delta), ("options.theta", theta))
            if value is None
        ]
        rate = convert(Decimal(1), currency)
        if rate is None:
            why = f"{named}: no rate of {currency} is known"
            missing += [("options.notional", why), ("options.maximum_loss", why)]
        loss, unlimited = _worst(legs)
        if loss is None and not unlimited:
            missing.append(("options.maximum_loss", f"{named}: what was paid or taken is not known of all its options"))
        short = [leg for leg in legs if leg.units < 0]
        found.append(
            Exposure(
                underlying=underlying,
                expiry=expiry,
                long=sum((leg.units for leg in legs if leg.units > 0), _NOTHING),
                short=sum((-leg.units for leg in short), _NOTHING),
                delta=delta,
                theta=None if theta is None or rate is None else theta * float(rate),
                notional=convert(sum((-_size(leg) * _strike(leg) for leg in short), _NOTHING), currency),
                maximum_loss=None if loss is None else convert(loss, currency),
                unlimited=unlimited,
            )
        )
    return tuple(found), tuple(missing)


def underlying_of(holding: Holding) -> str:
    """The first word of the local description, as `SPY    AUG2026 540 P`."""
    return holding.symbol.split()[0] if holding.symbol.split() else holding.symbol


def _size(leg: Holding) -> Decimal:
    return leg.units * leg.multiplier


def _strike(leg: Holding) -> Decimal:
    assert leg.strike is not None, "legs without one were left out"
    return leg.strike


def _summed(legs: Sequence[Holding], greeks: Mapping[int, Greeks], name: str) -> float | None:
    total = 0.0
    for leg in legs:
        each: float | None = getattr(greeks.get(leg.conid or 0, Greeks()), name)
        if each is None:
            return None
        total += float(_size(leg)) * each
    return total


def _worst(legs: Sequence[Holding]) -> tuple[Decimal | None, bool]:
    """The largest loss at expiry, and whether it has no bound. Between strikes the result is straight."""
    if sum((_size(leg) for leg in legs if leg.right == "C"), _NOTHING) < 0:
        return None, True
    premium = _NOTHING
    for leg in legs:
        if leg.average_cost is None:
            return None, False
        premium -= leg.units * leg.average_cost
    results = [premium + _value(legs, price) for price in (_NOTHING, *(_strike(leg) for leg in legs))]
    return max(_NOTHING, -min(results)), False


def _value(legs: Sequence[Holding], price: Decimal) -> Decimal:
    """What they are worth at expiry, at that price of the underlying."""
    total = _NOTHING
    for leg in legs:
        inside = _strike(leg) - price if leg.right == "P" else price - _strike(leg)
        total += _size(leg) * max(_NOTHING, inside)
    return total
