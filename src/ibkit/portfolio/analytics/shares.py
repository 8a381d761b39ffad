"""Shares of a whole in percent, to two places, whose sum is 100 exactly; and how concentrated it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

__all__ = ["Slice", "herfindahl", "shares_of", "slices_of"]

_PARTS: Final = 10_000
"""Hundredths of a percent in the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """net: with signs, short positions negative. gross: without. Shares in percent.

    net_share: None where all together are worth nothing or less; then no part of it is one.
    """

    name: str
    net: Decimal
    gross: Decimal
    net_share: Decimal | None
    gross_share: Decimal | None


def shares_of(values: Mapping[str, Decimal]) -> Mapping[str, Decimal] | None:
    """In percent, to two places, by the largest remainder: each is rounded down, and what is then left of 100 goes, a
    hundredth each, to those that lost most by it (of equals, to the first by name). None where the sum is not positive.

    >>> third = Decimal(1)
    >>> {name: str(share) for name, share in shares_of({"a": third, "b": third, "c": third}).items()}
    {'a': '33.34', 'b': '33.33', 'c': '33.33'}
    """
    total = sum((Fraction(value) for value in values.values()), Fraction(0))
    if total <= 0:
        return None
    exact = {name: Fraction(value) * _PARTS / total for name, value in values.items()}
    down = {name: math.floor(part) for name, part in exact.items()}
    left = _PARTS - sum(down.values())
    for name in sorted(exact, key=lambda each: (down[each] - exact[each], each))[:left]:
        down[name] += 1
    return {name: Decimal(parts).scaleb(-2) for name, parts in down.items()}


def slices_of(parts: Mapping[str, list[Decimal]]) -> tuple[Slice, ...]:
    """The largest first. parts: the signed values of each name."""
    net = {name: sum(values, Decimal(0)) for name, values in parts.items()}
    gross = {name: sum((abs(value) for value in values), Decimal(0)) for name, values in parts.items()}
    net_shares, gross_shares = shares_of(net), shares_of(gross)
    return tuple(
        Slice(
            name=name,
            net=net[name],
            gross=gross[name],
            net_share=None if net_shares is None else net_shares[name],
            gross_share=None if gross_shares is None else gross_shares[name],
        )
        for name in sorted(parts, key=lambda each: (-gross[each], each))
    )


def herfindahl(values: Mapping[str, Decimal]) -> float | None:
    """The Herfindahl-Hirschman index, from 0 to 1: 1 for one position alone, 1/n for n equal ones.

    Of gross values. None where they are worth nothing.
    """
    total = sum((abs(value) for value in values.values()), Decimal(0))
    if total == 0:
        return None
    return math.fsum(float(abs(value) / total) ** 2 for value in values.values())
