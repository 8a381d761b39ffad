"""Rates of exchange as IBKR told them: what is not told is not known, and what is absurd is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.portfolio.rates import LARGEST_RATE, SMALLEST_RATE, Rates, RateTables, rates_of
from portfolio_room import make_cash

DAY = date(2026, 11, 20)
USD = Rates(day=DAY, base="USD", of={"EUR": Decimal("1.25"), "JPY": Decimal("0.0064")})
CHF = Rates(day=DAY, base="CHF", of={"USD": Decimal("0.8")})


def cash(currency: str, rate: str | None) -> object:
    return replace(make_cash(currency), exchange_rate=None if rate is None else Decimal(rate))


@pytest.mark.requirement("FUT-05")
def test_rates_are_those_of_the_ledger_and_what_it_did_not_tell_is_left_out() -> None:
    told = [cash("USD", "1"), cash("EUR", "1.25"), cash("SEK", None), cash("NOK", "0")]
    assert rates_of(told) == {"USD": Decimal(1), "EUR": Decimal("1.25")}  # type: ignore[arg-type]


@pytest.mark.requirement("FUT-05")
@pytest.mark.parametrize("rate", ["-1.08", "NaN", "Infinity", str(LARGEST_RATE * 2), str(SMALLEST_RATE / 2)])
def test_a_negative_or_absurd_rate_is_refused_by_name(rate: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="the rate of exchange of EUR") as refused:
        rates_of([cash("USD", "1"), cash("EUR", rate)])  # type: ignore[list-item]
    assert (refused.value.code, refused.value.effect) == ("E-SYNC-FAILED", Effect.NONE)
    assert refused.value.details["currency"] == "EUR"


@pytest.mark.requirement("FUT-05")
def test_money_is_brought_to_another_currency_by_the_first_table_that_knows_both() -> None:
    tables = RateTables(tables=(USD, CHF))
    assert tables.convert(Decimal(100), "EUR", "USD") == Decimal(125)
    assert tables.convert(Decimal(125), "USD", "EUR") == Decimal(100)
    assert tables.convert(Decimal(64), "EUR", "JPY") == Decimal(12500)
    assert tables.convert(Decimal(10), "CHF", "USD") == Decimal("12.5")
    assert tables.rate("EUR", "EUR") == 1
    own = Rates(day=DAY, base="USD", of={"EUR": Decimal("1.5")})
    assert tables.after(own).convert(Decimal(100), "EUR", "USD") == Decimal(150)


@pytest.mark.requirement("FUT-05")
def test_a_rate_that_nobody_told_is_none_and_never_one() -> None:
    tables = RateTables(tables=(USD, CHF))
    assert tables.convert(Decimal(100), "SEK", "USD") is None
    assert tables.convert(Decimal(100), "EUR", "CHF") is None  # no table knows both
    assert tables.convert(Decimal(100), "", "USD") is None
    assert RateTables().rate("EUR", "USD") is None
