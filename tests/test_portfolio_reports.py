"""From statements in the books to reports and files for accountants."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader

from ibkit.bootstrap.portfolio_files import exported
from ibkit.bootstrap.portfolio_reports import report_now
from ibkit.bootstrap.reconciliation import accept_difference, inbox_of
from ibkit.portfolio.book import Portfolio, PortfolioAccount
from ibkit.portfolio.report.parts import Notes, Report, Table
from ledger_lives import body_of, event, put, trade
from test_flex_books import NAME, Room, room

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-05")]


def table(report: Report, section: str, number: int = 0) -> Table:
    (found,) = [each for each in report.sections if each.title == section]
    return [each for each in found.blocks if isinstance(each, Table)][number]


def notes(report: Report, section: str) -> list[str]:
    (found,) = [each for each in report.sections if each.title == section]
    return [line for each in found.blocks if isinstance(each, Notes) for line in each.lines]


async def a_life(found: Room) -> None:
    """Shares bought and sold in part, a dividend with tax, a fee, a put sold, euros bought."""
    sim = found.sim
    trade(sim, 100, "600.00")
    trade(sim, -1, "3.15", put(sim, 5))
    event(sim, event="convert", account=sim.account, currency="EUR", quantity=1000)
    sim.simulator.advance(timedelta(days=1).total_seconds())
    trade(sim, -40, "610.00")
    event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct=15)
    event(sim, event="fee", account=sim.account, amount=Decimal("-4.50"))
    sim.simulator.advance(timedelta(days=2).total_seconds())
    await found.take(body_of(sim))


async def test_a_statement_in_the_books_is_income_and_results_in_the_report(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        before = await report_now(found.desk, "ada", found.portfolio_id)
        assert notes(before, "Income") == ["Income and costs are not known.", f"{NAME}: no transaction of it is known"]
        await a_life(found)
        report = await report_now(found.desk, "ada", found.portfolio_id)
        ledger = await found.ledger()
        income = {row[:2]: row[2] for row in table(report, "Income").rows}
        assert income["fee", "USD"] == "−4.50"
        assert income["dividend", "USD"] == "+60.00"
        assert income["withholding tax", "USD"] == "−9.00"
        assert "Something may lack" not in str(notes(report, "Income"))
        (sold,) = table(report, "Realised results").rows
        assert (sold[0], sold[1]) == ("SPY", "40")
        assert sold[3] == f"+{ledger.realized()['USD']:,.2f}"
        later = await report_now(
            found.desk, "ada", found.portfolio_id, since=ledger.transactions[-1].booked_on + timedelta(days=1)
        )
        assert table(later, "Realised results").rows == ()


async def test_what_was_realized_stays_when_all_is_sold(tmp_path: Path) -> None:
    """IBKR tells results of positions alone, and of one that is closed there is none."""
    async with room(tmp_path) as found:
        trade(found.sim, 100, "600.00")
        found.sim.simulator.advance(timedelta(days=1).total_seconds())
        trade(found.sim, -100, "610.00")
        found.sim.simulator.advance(timedelta(days=2).total_seconds())
        before = await found.desk.figures("ada", found.portfolio_id)
        assert before.realized_pnl is None
        assert "realized_pnl" in {each.figure for each in before.missing}
        await found.take(body_of(found.sim))
        figures = await found.desk.figures("ada", found.portfolio_id)
        realized = (await found.ledger()).realized()["USD"]
        assert 990 < realized < 1000
        assert figures.realized_pnl == round(realized, 2)


async def test_the_books_go_out_for_beancount_without_an_error(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        await a_life(found)
        portfolio: Portfolio = await found.desk.books.get("ada", found.portfolio_id)
        text = (await exported(found.desk, "ada", portfolio, "beancount")).decode()
        entries, errors, _ = loader.load_string(text)
        assert not errors, errors[:3]
        assert len(entries) > 20
        ledger = await found.ledger()
        assert f"balance Assets:{NAME}:Cash  {ledger.cash['USD']:f} USD" in text
        assert f"balance Assets:{NAME}:SPY  60 SPY" in text
        again = await exported(found.desk, "ada", portfolio, "portfolio-performance")
        assert again == await exported(found.desk, "ada", portfolio, "portfolio-performance")


async def test_open_differences_are_told_until_somebody_accepts_them(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        start = sim.now.date()
        trade(sim, 100)
        sim.simulator.advance(timedelta(days=3).total_seconds())
        event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
        await found.take(body_of(sim, first=sim.now.date()))
        (item,) = await inbox_of(found.desk, "ada", found.portfolio_id, NAME)
        (told,) = notes(await report_now(found.desk, "ada", found.portfolio_id), "Data quality")
        assert told.startswith(f"{NAME}: SPY: the ledger says 0, the statement 100 (")
        assert item.difference.why in told
        gap = await report_now(found.desk, "ada", found.portfolio_id, since=start)
        assert "Something may lack in it" in str(notes(gap, "Income"))  # no statement tells of the first days
        await accept_difference(found.desk, "ada", found.portfolio_id, NAME, item.item_id, by="ada")
        assert notes(await report_now(found.desk, "ada", found.portfolio_id), "Data quality") == []


async def test_an_account_of_another_name_has_no_ledger_and_stands_with_what_it_holds(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        await a_life(found)
        await found.desk.books.change(
            "ada",
            found.portfolio_id,
            lambda there: replace(there, accounts=(*there.accounts, PortfolioAccount(name="Safe"))),
        )
        portfolio = await found.desk.books.get("ada", found.portfolio_id)
        text = (await exported(found.desk, "ada", portfolio, "beancount")).decode()
        assert "; Safe: no ledger is kept of this account (no transaction of it is known)." in text
        assert not loader.load_string(text)[1]
