"""What options expose to, against values computed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ibkit.portfolio.analytics.options import Exposure, Greeks, exposures_of
from ibkit.portfolio.book import Holding
from ibkit.portfolio.kinds import SecurityKind

pytestmark = pytest.mark.requirement("FUT-05")
EXPIRY = date(2026, 12, 18)


def option(right: str, strike: int, units: int, cost: str | None, *, conid: int = 1, **given: Any) -> Holding:
    fields: dict[str, Any] = {
        "symbol": f"SPY    DEC2026 {strike} {right}",
        "units": Decimal(units),
        "conid": conid,
        "currency": "USD",
        "kind": SecurityKind.OPTION,
        "average_cost": None if cost is None else Decimal(cost),
        "multiplier": Decimal(100),
        "expiry": EXPIRY,
        "strike": Decimal(strike),
        "right": right,
    }
    return Holding(**(fields | given))


def of(*legs: Holding, greeks: dict[int, Greeks] | None = None, rate: str = "1") -> Exposure:
    (found,), _ = exposures_of(legs, greeks or {}, lambda amount, currency: amount * Decimal(rate))
    return found


def test_a_short_put_can_lose_its_strike_less_its_premium() -> None:
    found = of(option("P", 540, -2, "249.3"))
    assert (found.underlying, found.expiry, found.long, found.short) == ("SPY", EXPIRY, 0, 2)
    assert found.notional == 108_000
    assert found.maximum_loss == 2 * (54_000 - Decimal("249.3"))
    assert not found.unlimited
    euros = of(option("P", 540, -2, "249.3"), rate="0.8")
    assert (euros.notional, euros.maximum_loss) == (86_400, Decimal("0.8") * 2 * (54_000 - Decimal("249.3")))


def test_a_short_call_has_no_bound_and_a_bought_one_gives_it_one() -> None:
    naked = of(option("C", 600, -1, "300"))
    assert (naked.maximum_loss, naked.unlimited, naked.notional) == (None, True, 60_000)
    spread = of(option("C", 600, -1, "300"), option("C", 610, 1, "100", conid=2))
    assert (spread.maximum_loss, spread.unlimited) == (1_000 - 200, False)
    bought = of(option("C", 610, 1, "100"))
    assert (bought.maximum_loss, bought.notional) == (100, 0)


def test_an_iron_condor_loses_on_one_side_only() -> None:
    legs = (
        option("P", 530, 1, "80", conid=1),
        option("P", 540, -1, "200", conid=2),
        option("C", 600, -1, "180", conid=3),
        option("C", 620, 1, "60", conid=4),
    )
    assert of(*legs).maximum_loss == 2_000 - (200 + 180 - 80 - 60)


def test_greeks_are_summed_where_all_are_known_and_none_where_not() -> None:
    legs = (option("P", 540, -2, "249.3"), option("C", 600, 1, "300", conid=2))
    known = {1: Greeks(delta=-0.3, theta=-0.05), 2: Greeks(delta=0.4, theta=-0.04)}
    found = of(*legs, greeks=known, rate="0.8")
    assert found.delta == pytest.approx(-200 * -0.3 + 100 * 0.4)
    assert found.theta == pytest.approx(0.8 * (-200 * -0.05 + 100 * -0.04))
    half = {1: Greeks(delta=-0.3, theta=-0.05), 2: Greeks(delta=0.4)}
    assert (of(*legs, greeks=half).delta, of(*legs, greeks=half).theta) == (pytest.approx(100.0), None)
    assert of(*legs).delta is None


def test_expiries_and_underlyings_stand_apart_and_what_is_missing_is_named() -> None:
    legs = (
        option("P", 540, -1, None),
        option("P", 540, -1, "200", conid=2, expiry=date(2026, 11, 27)),
        option("P", 90, -1, "200", conid=3, symbol="XYZ    DEC2026 90 P", currency="CHF"),
        replace(option("P", 90, -1, "200", conid=4), strike=None),
        Holding(symbol="AAPL", units=Decimal(1), kind=SecurityKind.STOCK),
    )
    found, missing = exposures_of(legs, {}, lambda amount, currency: None if currency == "CHF" else amount)
    assert [(each.underlying, each.expiry.month) for each in found] == [("SPY", 11), ("SPY", 12), ("XYZ", 12)]
    assert [each.maximum_loss for each in found] == [53_800, None, None]
    told = [f"{figure}: {why}" for figure, why in missing]
    assert "options.maximum_loss: XYZ 2026-12-18: no rate of CHF is known" in told
    assert "options: SPY    DEC2026 90 P: its expiry, strike or right is not known" in told
    assert "options.notional: XYZ 2026-12-18: no rate of CHF is known" in told
    assert any(each.startswith("options.maximum_loss: SPY 2026-12-18") for each in told)
    assert sum(each.startswith("options.delta") for each in told) == 3
