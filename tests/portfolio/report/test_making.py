"""What a report says: every figure that is known, a dash and a reason for every one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from ibkit.portfolio.book import Holding, PortfolioAccount
from ibkit.portfolio.report.holdings import MOST_ROWS
from ibkit.portfolio.report.making import report_of
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Block, Fact, Facts, Notes, Plot, Report, Table
from ibkit.portfolio.report.words import DASH
from ibkit.portfolio.transactions import PaymentKind
from sample_portfolios import (
    NOW,
    SAMPLES,
    TODAY,
    Books,
    european,
    hard_names,
    long_term,
    material_of,
    option_seller,
    stock,
)

pytestmark = pytest.mark.requirement("FUT-05")


def blocks(report: Report, title: str) -> tuple[Block, ...]:
    (section,) = [each for each in report.sections if each.title == title]
    return section.blocks


def tables(report: Report, section: str) -> dict[str, Table]:
    return {each.title: each for each in blocks(report, section) if isinstance(each, Table)}


def facts(report: Report) -> dict[str, Fact]:
    found = next(each for each in blocks(report, "Summary") if isinstance(each, Facts))
    return {fact.label: fact for fact in found.facts}


def notes(report: Report, section: str) -> list[str]:
    return [line for each in blocks(report, section) if isinstance(each, Notes) for line in each.lines]


def texts(report: Report) -> Iterator[str]:
    for section in report.sections:
        for block in section.blocks:
            match block:
                case Table():
                    yield from (text for row in block.rows for text in row)
                case Facts():
                    yield from (text for fact in block.facts for text in (fact.value, fact.beside))
                case Notes():
                    yield from block.lines
                case Plot():
                    yield block.title


def test_the_summary_says_what_the_figures_say() -> None:
    material = material_of(long_term())
    told, how = facts(report_of(material)), material.figures.performance
    assert how is not None
    assert how.drawdown is not None
    assert how.benchmark is not None
    assert told["Net liquidation value"].value == f"{material.figures.net_liquidation:,.2f}"
    assert told["Result of the period"].value == f"+{how.gain:,.2f}"
    assert told["Time-weighted return"].value == f"{how.time_weighted * 100:,.2f} %"  # type: ignore[operator]
    assert told["Largest drawdown"].value == f"−{how.drawdown.depth * 100:,.2f} %"
    assert told["Benchmark"].value == f"{how.benchmark.benchmark * 100:,.2f} %"


def test_what_is_not_known_is_a_dash_and_never_zero() -> None:
    report = report_of(material_of(hard_names()))
    assert {fact.value for fact in facts(report).values()} == {DASH}
    assert not any(text in ("0", "0.00", "+0.00", "None", "nan") for text in texts(report))
    reasons = tables(report, "Data quality")["Not known"].rows
    assert {"Value", "Net liquidation value", "Returns", "Unrealised", "Income, whole"} <= {row[0] for row in reasons}
    assert notes(report, "Income")[0] == "Income and costs are not known."


def test_an_amount_without_a_rate_is_told_in_its_own_currency_and_the_sum_is_not() -> None:
    income = tables(report_of(material_of(european())), "Income")["All that the ledger tells"]
    by = {row[:2]: row[2:] for row in income.rows}
    assert by["dividend", "SEK"] == ("+6,750.00", DASH)
    assert by["dividend", "CHF"] == ("+1,080.00", "+1,134.00")  # 3 times 360, at 1.05
    assert by["withholding tax", "CHF"] == ("−378.00", "−396.90")
    assert by["commissions and taxes of trades", "EUR"][0] == "−27.92"
    assert income.total == ("all together", "", "", DASH)


def test_what_was_paid_and_realised_is_worth_what_the_rate_of_its_day_says() -> None:
    """Whatever the newest rate is."""
    sample = european()
    books = Books("U9", base="EUR")
    books.pay(date(2026, 1, 5), PaymentKind.DIVIDEND, "100", "CHF")
    books.trade(date(2026, 1, 6), stock("NESN", 7, "CHF"), "1", "10", "0")
    books.trade(date(2026, 1, 7), stock("NESN", 7, "CHF"), "-1", "30", "0")
    books.told = [replace(each, fx_rate=Decimal(rate)) for each, rate in zip(books.told, "234", strict=True)]
    material = material_of(replace(sample, ledgers={"Depot": books.ledger()}))
    assert material.figures.currency == "EUR"
    report = report_of(material)
    (paid,) = tables(report, "Income")["All that the ledger tells"].rows
    assert paid == ("dividend", "CHF", "+100.00", "+200.00")
    (sold,) = tables(report, "Realised results")["All that the ledger tells"].rows
    assert sold[3:] == ("+20.00", "CHF", "+80.00")
    sums = dict(tables(report, "Realised results")["Sums"].rows)
    assert sums["securities, in EUR by the rates of their days"] == "+80.00"
    untold = Books("U9", base="EUR")
    untold.told = [replace(books.told[0], fx_rate=None)]
    report = report_of(material_of(replace(sample, ledgers={"Depot": untold.ledger()})))
    (paid,) = tables(report, "Income")["All that the ledger tells"].rows
    assert paid == ("dividend", "CHF", "+100.00", DASH)


def test_only_the_days_asked_for_count_in_income_and_results() -> None:
    report = report_of(replace(material_of(european()), since=date(2026, 1, 1), until=date(2026, 6, 30)))
    income = tables(report, "Income")["From 2026-01-01 to 2026-06-30"]
    assert {row[:2]: row[2] for row in income.rows}["dividend", "CHF"] == "+360.00"
    assert tables(report, "Realised results")["From 2026-01-01 to 2026-06-30"].rows == ()
    all_year = report_of(replace(material_of(european()), since=date(2026, 1, 1)))
    (sold,) = tables(all_year, "Realised results")["From 2026-01-01 to 2026-11-20"].rows
    # 8 of 25 at 705.1 less 4, against 8 of 25 parts of 20,314
    assert sold == ("ASML", "8", "2026-08-14", "−863.68", "EUR", "−863.68")


def test_options_stand_by_expiry_and_a_naked_call_can_lose_without_bound() -> None:
    report = report_of(material_of(option_seller()))
    rows = tables(report, "Options by expiry")[""].rows
    assert [row[:4] for row in rows] == [("2026-12-18", "SPY", "3", "4"), ("2027-01-15", "SPY", "0", "4")]
    assert {row[7] for row in rows} == {"unlimited"}
    assert {row[5] for row in rows} == {DASH}
    assert "Wheel: SPY: the ledger adds up to 100, the account holds 110" in notes(report, "Data quality")


def test_an_old_sync_and_a_failed_one_are_told() -> None:
    report = report_of(material_of(european()))
    standing = {row[0]: row[1:] for row in tables(report, "Data quality")["Accounts"].rows}
    assert standing["Depot"] == ("from IBKR", "2026-11-17 21:30 UTC", "stale: its figures are older than a day")
    assert standing["Tresor"] == ("by hand", DASH, "")
    fresh = material_of(european())
    fresh = replace(fresh, made_at=NOW - timedelta(days=3))
    assert "stale" not in "".join(texts(report_of(fresh)))


def test_all_samples_have_every_section_and_their_shares_sum_to_a_hundred() -> None:
    for name, make in SAMPLES.items():
        report = report_of(material_of(make()))
        assert len(report.sections) == 8, name
        for table in tables(report, "Allocation").values():
            parts = [Decimal(row[4].removesuffix(" %")) for row in table.rows]
            assert sum(parts) == 100, (name, table.title)


def test_a_huge_account_is_cut_and_says_so() -> None:
    many = tuple(Holding(symbol=f"S{number}", units=Decimal(1)) for number in range(MOST_ROWS + 7))
    sample = hard_names()
    account = PortfolioAccount(name="many", holdings=many)
    portfolio = replace(sample.portfolio, accounts=(account, PortfolioAccount(name="after", holdings=many[:3])))
    material = material_of(replace(sample, portfolio=portfolio))
    assert isinstance(material, Material)
    report = report_of(material)
    assert len(tables(report, "Holdings")["many"].rows) == MOST_ROWS
    assert notes(report, "Holdings") == ["And 10 more holdings, which are not listed here."]


def test_a_plot_keeps_its_peaks_when_it_is_thinned() -> None:
    material = material_of(long_term())
    how = material.figures.performance
    assert how is not None
    assert len(how.steps) > 1200
    value = next(each for each in blocks(report_of(material), "Summary") if isinstance(each, Plot))
    points = value.lines[0].points
    assert len(points) <= 600
    assert max(level for _, level in points) == float(max(step.value for step in how.steps))
    assert points[-1][0] == TODAY
