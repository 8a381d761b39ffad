"""The figures of a fixture portfolio against values computed by hand; what is not known is None and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ibkit.portfolio.analytics.figures import AccountNow, Analytics, Income, analyse
from ibkit.portfolio.analytics.history import steps_of
from ibkit.portfolio.analytics.options import Greeks
from ibkit.portfolio.book import Holding, HoldingSource, Security
from ibkit.portfolio.dated_rates import DatedAmount, DatedRates
from ibkit.portfolio.days import Flows, Worth
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.rates import Rates

pytestmark = pytest.mark.requirement("FUT-05")
DAY = date(2026, 11, 20)
D = Decimal


def held(symbol: str, units: str, value: str | None, currency: str = "USD", **given: Any) -> Holding:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "units": D(units),
        "source": HoldingSource.IBKR,
        "kind": SecurityKind.STOCK,
        "currency": currency,
        "market_value": None if value is None else D(value),
        "unrealized_pnl": D(0),
        "realized_pnl": D(0),
    }
    return Holding(**(fields | given))


def cash(currency: str, amount: str) -> Holding:
    return held(currency, amount, amount, currency, kind=SecurityKind.CASH, unrealized_pnl=None, realized_pnl=None)


IRA = AccountNow(
    name="IRA",
    day=None,
    currency="USD",
    net_liquidation=D(2800),
    rates=Rates(day=DAY, base="USD", of={"EUR": D("1.25")}),
    holdings=(
        held("AAPL", "10", "1102.50", conid=1, unrealized_pnl=D("97.50"), realized_pnl=D(12)),
        held("SAP", "5", "1000", "EUR", conid=2, unrealized_pnl=D(20)),
        held("XYZ", "-10", "-302.50", conid=3, unrealized_pnl=D("-2.50")),
        cash("USD", "1000"),
        cash("EUR", "-200"),
    ),
)
GOLD = Holding(symbol="GOLD", units=D("1.5"), currency="USD")
VAULT = AccountNow(name="Vault", day=None, currency="", net_liquidation=None, holdings=(GOLD,), by_hand=True)
SECURITIES = (
    Security(symbol="AAPL", conid=1, kind=SecurityKind.STOCK, sector="Technology"),
    Security(symbol="SAP", conid=2, kind=SecurityKind.STOCK, sector="Technology", currency="EUR"),
    Security(symbol="GOLD", kind=SecurityKind.COMMODITY, unit_price=D(2000)),
)


def of(*accounts: AccountNow, into: str = "USD", **given: Any) -> Analytics:
    return analyse(accounts, SECURITIES, into, as_of=DAY, **({"history": {}} | given))


def why(found: Analytics, figure: str) -> list[str]:
    return [each.why for each in found.missing if each.figure == figure]


def test_allocation_by_hand_and_every_sum_of_shares_is_100() -> None:
    found = of(IRA, VAULT)
    assert (found.value, found.gross) == (D("5800.00"), D("6905.00"))
    kinds = {each.name: (each.net, each.gross, each.net_share, each.gross_share) for each in found.by_type}
    assert kinds == {
        "commodity": (D(3000), D(3000), D("51.72"), D("43.45")),
        "stock": (D(2050), D(2655), D("35.35"), D("38.45")),
        "cash": (D(750), D(1250), D("12.93"), D("18.10")),
    }
    assert {each.name: each.net for each in found.by_currency} == {"USD": D(4800), "EUR": D(1000)}
    assert {each.name: each.net for each in found.by_sector} == {
        "Technology": D("2352.50"),
        "not told": D("2697.50"),
        "cash": D(750),
    }
    assert {each.name: each.net for each in found.by_account} == {"IRA": D(2800), "Vault": D(3000)}
    for slices in (found.by_type, found.by_currency, found.by_sector, found.by_account):
        assert sum(each.net_share or 0 for each in slices) == 100
        assert sum(each.gross_share or 0 for each in slices) == 100


def test_concentration_and_results_by_hand() -> None:
    found = of(IRA)
    assert [(each.symbol, each.net, each.share) for each in found.largest] == [
        ("SAP", D(1250), D("47.08")),
        ("AAPL", D("1102.50"), D("41.53")),
        ("XYZ", D("-302.50"), D("11.39")),
    ]
    assert found.hhi == pytest.approx((1250**2 + 1102.5**2 + 302.5**2) / 2655**2)
    assert found.unrealized_pnl == D("97.50") + D(25) - D("2.50")
    assert found.net_liquidation == D(2800)
    assert [(each.currency, each.rate, each.day) for each in found.rates] == [("EUR", D("1.25"), DAY)]


def test_in_another_currency_everything_is_converted() -> None:
    found = of(IRA, into="EUR")
    assert (found.value, found.net_liquidation) == (D(2240), D(2240))
    assert {each.name: each.net for each in found.by_type} == {"stock": D(1640), "cash": D(600)}
    assert [(each.currency, each.rate) for each in found.rates] == [("USD", D("0.8"))]


def test_what_has_no_rate_or_no_price_is_none_and_named_never_zero() -> None:
    nowhere = replace(IRA, rates=None)
    found = of(nowhere)
    assert (found.value, found.gross, found.unrealized_pnl) == (None, None, None)
    assert why(found, "value") == [
        "SAP (IRA): no rate from EUR to USD is known",
        "EUR (IRA): no rate from EUR to USD is known",
    ]
    assert sum(each.gross_share or 0 for each in found.by_type) == 100  # of what is known
    assert {each.name for each in found.by_currency} == {"USD"}
    unpriced = of(replace(VAULT, holdings=(replace(GOLD, symbol="SILVER"),)))
    assert (unpriced.value, unpriced.by_type, unpriced.hhi, unpriced.largest) == (None, (), None, ())
    assert why(unpriced, "value") == ["SILVER (Vault): nobody told what it is worth"]
    assert why(unpriced, "unrealized_pnl") == ["SILVER (Vault): nobody told it"]
    assert why(unpriced, "net_liquidation") == ["Vault: it is kept by hand"]
    assert unpriced.net_liquidation is None
    gone = of(replace(IRA, holdings=(), known=False, net_liquidation=None))
    assert (gone.value, gone.unrealized_pnl) == (None, None)
    assert why(gone, "value") == ["IRA: there is no snapshot of 2026-11-20 or before"]


def test_of_many_reasons_the_rest_is_counted() -> None:
    many = tuple(held(f"S{number:02}", "1", None) for number in range(25))
    told = why(of(replace(IRA, holdings=many)), "value")
    assert (len(told), told[-1]) == (21, "and 5 more")


def test_what_is_worth_nothing_by_itself_is_left_out_and_named() -> None:
    future = held("ESZ6", "1", "300000", kind=SecurityKind.FUTURE, unrealized_pnl=D(50))
    found = of(replace(IRA, holdings=(*IRA.holdings, future)))
    assert found.value == D(2800)
    assert found.left_out == ("ESZ6 (IRA): a future is worth nothing by itself",)
    assert found.unrealized_pnl == D(170)


DATED = DatedRates.of([Rates(day=DAY - timedelta(days=30), base="USD", of={"EUR": D("1.30"), "SEK": D("0.10")})])
"""What was told a month before, when the newest of `IRA` was another."""
BEFORE = DAY - timedelta(days=28)


def test_income_is_summed_by_kind_and_none_where_nobody_keeps_it() -> None:
    assert (of(IRA).income, why(of(IRA), "income")) == (None, ["no transactions are kept of these days"])
    paid = [
        Income(day=BEFORE, kind="dividend", currency="USD", amount=D("10.10")),
        Income(day=BEFORE, kind="dividend", currency="EUR", amount=D(4)),
        Income(day=BEFORE, kind="tax", currency="USD", amount=D("-1.50")),
    ]
    assert of(IRA, income=paid, dated=DATED).income == {"dividend": D("15.30"), "tax": D("-1.50")}
    assert of(IRA, income=[]).income == {}
    today = of(IRA, income=[replace(paid[1], day=DAY)], dated=DATED)
    assert today.income is None, "neither a rate of a month ago nor one of another day is taken for it"
    assert why(today, "income") == [f"no rate from EUR to USD is known of {DAY}"]


def test_what_its_own_row_tells_of_a_rate_goes_first() -> None:
    coupon = Income(day=BEFORE, kind="interest", currency="SEK", amount=D(1000), base="USD", fx_rate=D("0.11"))
    assert of(IRA, income=[coupon], dated=DATED).income == {"interest": D("110.00")}
    assert of(IRA, income=[replace(coupon, fx_rate=None)], dated=DATED).income == {"interest": D("100.00")}
    told = DATED.convert(coupon, "EUR")
    assert told == D("84.61538462"), "by the row's rate to dollars, from there by the day's"


def test_what_was_realized_is_the_ledgers_also_of_what_is_held_no_more() -> None:
    assert (of(IRA).realized_pnl, why(of(IRA), "realized_pnl")) == (None, ["no transactions are kept of these days"])
    sold = [
        DatedAmount(day=BEFORE, currency="USD", amount=D("120.55")),
        DatedAmount(day=BEFORE, currency="EUR", amount=D(-10)),
    ]
    assert of(replace(IRA, holdings=()), realized=sold, dated=DATED).realized_pnl == D("107.55")


def test_options_and_their_greeks() -> None:
    put = held(
        "SPY    DEC2026 540 P",
        "-1",
        "-231",
        conid=9,
        kind=SecurityKind.OPTION,
        multiplier=D(100),
        average_cost=D("249.30"),
        expiry=date(2026, 12, 18),
        strike=D(540),
        right="P",
    )
    account = replace(IRA, holdings=(put,))
    found = of(account, greeks={9: Greeks(delta=-0.25, theta=-0.1)})
    assert [(each.delta, each.theta) for each in found.options] == [(25.0, 10.0)]
    assert found.options[0].maximum_loss == D("53750.70")
    assert of(account).options[0].delta is None
    assert why(of(account), "options.delta") == ["SPY 2026-12-18: no quote tells it of all its options"]


# -- performance ------------------------------------------------------------------------------------------------------


def days(*values: str | None, start: date = date(2026, 11, 16), currency: str = "USD", **rates: str) -> list[Worth]:
    told = {name: D(rate) for name, rate in rates.items()}
    return [
        Worth(
            day=start + timedelta(days=number),
            account_id="DU1",
            currency=currency,
            net_liquidation=None if value is None else D(value),
            rates=told,
        )
        for number, value in enumerate(values)
    ]


ALL = Flows(known=((date(2026, 1, 1), date(2026, 12, 31)),), amounts={date(2026, 11, 18): D(90)})


def test_performance_by_hand() -> None:
    found = of(IRA, history={"IRA": (days("100", "110", "220", "110", "121"), ALL)})
    how = found.performance
    assert how is not None
    assert (how.since, how.until, how.days) == (date(2026, 11, 16), DAY, 4)
    assert (how.start, how.end, how.change, how.flows, how.gain) == (D(100), D(121), D(21), D(90), D(-69))
    assert how.time_weighted == pytest.approx(1.1 * (130 / 110) * 0.5 * 1.1 - 1)
    assert how.time_weighted_yearly is None
    assert how.drawdown is not None
    assert how.drawdown.depth == pytest.approx(0.5)
    assert (how.drawdown.peak, how.drawdown.trough, how.drawdown.recovered) == (
        date(2026, 11, 18),
        date(2026, 11, 19),
        None,
    )
    assert how.money_weighted is not None
    paid = 100 * (1 + how.money_weighted) + 90 * (1 + how.money_weighted) ** (2 / 4)
    assert paid == pytest.approx(121, abs=1e-9)
    assert how.money_weighted_yearly is None
    assert why(found, "performance.money_weighted_yearly") == ["over so short a time no rate for a year tells it"]
    assert (how.volatility, how.benchmark) == (None, None)
    assert why(found, "performance.volatility") == ["it takes 20 daily returns"]
    assert found.day_pnl is not None
    assert (found.day_pnl.since, found.day_pnl.day, found.day_pnl.amount) == (date(2026, 11, 19), DAY, D(11))


def test_without_known_flows_the_change_is_told_and_no_return() -> None:
    found = of(IRA, history={"IRA": (days("100", "110"), Flows())})
    how = found.performance
    assert how is not None
    assert how.change == 10
    assert (how.flows, how.gain, how.time_weighted, how.money_weighted, how.drawdown) == (None,) * 5
    assert found.day_pnl is None
    named = {each.figure for each in found.missing}
    figures = ("time_weighted", "money_weighted", "drawdown", "volatility", "flows", "gain", "benchmark")
    assert {f"performance.{each}" for each in figures} | {"day_pnl"} <= named


def test_one_day_is_no_performance() -> None:
    found = of(IRA, history={"IRA": (days("100"), ALL)})
    assert found.performance is None
    assert why(found, "performance") == ["it takes two days with a snapshot, there are 1"]


def test_an_account_that_begins_later_comes_in_as_a_flow() -> None:
    late = days("50", "55", start=date(2026, 11, 17))
    steps, missing = steps_of({"A": (days("100", "101", "102"), replace(ALL, amounts={})), "B": (late, ALL)}, "USD")
    assert [(each.value, each.flow) for each in steps] == [(100, 100), (151, 50), (157, 90)]
    assert missing == ()


def test_a_day_without_a_snapshot_takes_the_last_one_for_a_week_and_no_longer() -> None:
    steady = days(*("100",) * 11)
    steps, missing = steps_of({"A": (steady, ALL), "B": (days("50"), ALL)}, "USD")
    assert [each.value for each in steps] == [150] * 8
    assert missing == (("performance", "3 days are left out: B: its last snapshot is more than 7 days older"),)


def test_each_day_is_converted_by_its_own_rate() -> None:
    euros = [*days("100", EUR="1.25"), *days("100", start=date(2026, 11, 17), EUR="1.60")]
    steps, _ = steps_of({"A": (euros, replace(ALL, amounts={date(2026, 11, 17): D(16)}))}, "EUR")
    assert [(each.value, each.flow) for each in steps] == [(80, 80), (D("62.5"), 10)]
    steps, missing = steps_of({"A": (days("100", "101"), ALL)}, "EUR")
    assert (steps, missing) == ((), (("performance", "2 days are left out: A: no rate of EUR is known"),))
    steps, missing = steps_of({"A": (days("100", None), ALL), "B": ([], ALL)}, "USD")
    assert [each.value for each in steps] == [100]
    assert len(missing) == 2
