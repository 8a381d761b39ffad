"""Shares sum to exactly 100 %, whatever is held."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.portfolio.analytics.shares import herfindahl, shares_of, slices_of

pytestmark = pytest.mark.requirement("FUT-05")
MONEY = st.decimals(min_value=-(10**12), max_value=10**12, places=2, allow_nan=False)


def test_by_hand() -> None:
    three = {name: Decimal(1) for name in ("a", "b", "c")}
    assert shares_of(three) == {"a": Decimal("33.34"), "b": Decimal("33.33"), "c": Decimal("33.33")}
    # 2/3 = 66.666…, 1/6 = 16.666… twice: all lose 2/3 of a hundredth, so the two left go to the first two by name.
    sixths = {"b": Decimal(4), "a": Decimal(1), "c": Decimal(1)}
    assert shares_of(sixths) == {"a": Decimal("16.67"), "b": Decimal("66.67"), "c": Decimal("16.66")}
    short = {"long": Decimal(150), "short": Decimal(-50)}
    assert shares_of(short) == {"long": Decimal(150), "short": Decimal(-50)}
    assert shares_of({"a": Decimal(1), "b": Decimal(-1)}) is None
    assert shares_of({}) is None


@given(st.dictionaries(st.text(max_size=5), MONEY, min_size=1, max_size=40))
def test_the_sum_is_100_exactly_and_none_is_off_by_a_hundredth(values: dict[str, Decimal]) -> None:
    found = shares_of(values)
    total = sum(values.values())
    if total <= 0:
        assert found is None
        return
    assert found is not None
    assert sum(found.values()) == 100
    for name, share in found.items():
        assert abs(share - values[name] * 100 / total) < Decimal("0.0100001")


@given(st.dictionaries(st.text(max_size=5), st.lists(MONEY, min_size=1, max_size=5), min_size=1, max_size=20))
def test_gross_and_net_of_slices(parts: dict[str, list[Decimal]]) -> None:
    slices = slices_of(parts)
    assert {each.name for each in slices} == set(parts)
    assert all(each.gross >= abs(each.net) for each in slices)
    if any(each.gross for each in slices):
        assert sum(each.gross_share or 0 for each in slices) == 100
    net = [each.net_share for each in slices if each.net_share is not None]
    assert not net or sum(net) == 100


def test_concentration() -> None:
    assert herfindahl({"a": Decimal(5)}) == 1.0
    assert herfindahl({str(number): Decimal(7) for number in range(4)}) == pytest.approx(0.25)
    assert herfindahl({"a": Decimal(3), "b": Decimal(-1)}) == pytest.approx(0.75**2 + 0.25**2)
    assert herfindahl({}) is None
