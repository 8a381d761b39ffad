"""Files for accountants, judged by beancount's own loader, and by the rules of Portfolio Performance's columns."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from beancount import loader
from beancount.core import data, realization

from ibkit.portfolio.accountants.beancount import beancount_of
from ibkit.portfolio.accountants.names import Names, account_part, commodity
from ibkit.portfolio.accountants.portfolio_performance import tables_of, zip_of
from ibkit.portfolio.book import Holding, Portfolio, PortfolioAccount
from ibkit.portfolio.ledger import Ledger, Rules, movements
from ibkit.portfolio.transactions import PaymentKind
from ledger_lives import body_of, ledger_of, live
from portfolio_room import make_portfolio
from sample_portfolios import SAMPLES, TODAY, Books, Sample, european, hard_names, long_term, option_seller, stock

pytestmark = pytest.mark.requirement("FUT-05")


def loaded(
    portfolio: Portfolio, ledgers: Mapping[str, Ledger], without: Mapping[str, str] | None = None
) -> tuple[str, list[Any]]:
    """The file, and what beancount makes of it, without an error."""
    text = beancount_of(portfolio, ledgers, without or {}, today=TODAY).decode()
    entries, errors, _ = loader.load_string(text)
    assert not errors, (errors[:3], text[:2000])
    return text, entries


def of_sample(sample: Sample) -> tuple[str, list[Any]]:
    return loaded(sample.portfolio, sample.ledgers, sample.without)


def sums(entries: list[Any], beginning: str) -> dict[str, Decimal]:
    """By commodity, of all accounts whose name begins so, in units."""
    found: dict[str, Decimal] = {}
    for entry in entries:
        if isinstance(entry, data.Transaction):
            for posting in entry.postings:
                if posting.account.startswith(beginning):
                    units = posting.units
                    found[units.currency] = found.get(units.currency, Decimal(0)) + units.number
    return {currency: amount for currency, amount in found.items() if amount}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_beancount_reads_every_sample_without_an_error(name: str) -> None:
    of_sample(SAMPLES[name]())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("carried", [True, False])
def test_beancount_reads_random_lives_and_comes_to_the_same(seed: int, carried: bool) -> None:
    """Splits, assignments, short lots, conversions; the cash and what was realized are the ledger's to the cent."""
    desk = live(seed).desk
    ledger = ledger_of([body_of(desk)], desk.account, Rules(premium_into_stock=carried))
    portfolio = make_portfolio(PortfolioAccount(name="Main"))
    _, entries = loaded(portfolio, {"Main": ledger})
    assert sums(entries, "Assets:Main:Cash") == {c: amount for c, amount in ledger.cash.items() if amount}
    realized = {c: -amount for c, amount in ledger.realized().items() if amount}
    assert sums(entries, "Income:Main:Realised") == realized
    premiums = sums(entries, "Equity:Main:Premiums-On-Their-Way")
    assert premiums == {}, "what went out of an option came into its stock"


def test_the_kinds_of_payments_and_the_lots_are_where_an_accountant_looks_for_them() -> None:
    sample = european()
    text, entries = of_sample(sample)
    ledger = sample.ledgers["Depot"]
    assert sums(entries, "Income:Depot:Dividends")["CHF"] == Decimal(-1080)
    assert sums(entries, "Expenses:Depot:Withholding-Tax") == {"CHF": Decimal(378)}
    assert sums(entries, "Equity:Depot:Paid-In-And-Out") == {"EUR": Decimal(-168_000)}
    # A commission in another currency than the trade's cannot be inside of its cost.
    assert sums(entries, "Expenses:Depot:Commissions")["EUR"] == Decimal("0.92") + 2 * 5
    root = realization.realize(entries)
    held = realization.get(root, "Assets:Depot:ASML").balance
    (position,) = held.get_positions()
    cost = ledger.held[117589399].cost
    assert position.units.number == 17
    assert abs(position.units.number * position.cost.number - cost) < Decimal("0.00001")
    assert "price ASML 731.9 EUR" in text
    assert 'name: "ASML Holding NV"' in text
    assert "; Tresor: no ledger is kept of this account (it is kept by hand)." in text
    assert "balance Assets:Tresor:GOLD  2.5 GOLD" in text


def test_a_wrong_number_would_be_seen() -> None:
    """The loader judges what is written: balances and sums are in the file, not only lines."""
    text, _ = of_sample(long_term())
    for old, new in (("open Assets:Taxable:Cash", "open Assets:Taxable:Cask"), ("  -7 AAPL", "  -8 AAPL")):
        assert old in text
        assert loader.load_string(text.replace(old, new, 1))[1], old
    changed = re.sub(r"(balance Assets:Taxable:Cash\s+)\d", r"\g<1>9", text, count=1)
    assert loader.load_string(changed)[1]


def test_names_of_users_cannot_write_lines_of_their_own() -> None:
    name = 'Evil"\n2026-01-01 open Assets:Stolen\n; \\'
    account = PortfolioAccount(name="x; y", holdings=(Holding(symbol='A"B\\', units=Decimal(1), currency="USD"),))
    text, entries = loaded(make_portfolio(account, name=name), {})
    assert not [line for line in text.splitlines() if line.startswith("2026-01-01")]
    assert sums(entries, "Assets:X-y:") == {"A.B": Decimal(1)}


def test_a_bond_is_priced_by_what_one_of_it_is_worth() -> None:
    """Its price is in per cent of its face."""
    bond = Holding(
        symbol="BOND",
        units=Decimal(10000),
        currency="USD",
        asset_class="BOND",
        market_price=Decimal("98.5"),
        market_value=Decimal(9850),
    )
    account = PortfolioAccount(name="A", holdings=(bond, replace(bond, symbol="BILL", market_value=None)))
    _, entries = loaded(make_portfolio(account), {})
    prices = {each.currency: each.amount.number for each in entries if isinstance(each, data.Price)}
    assert prices == {"BOND": Decimal("0.985")}, "and not told where nobody knows it"


def test_two_things_that_are_called_alike_stay_two() -> None:
    books = Books("U1")
    one, two = stock("ABC", 1), stock("ABC", 2)
    books.pay(date(2026, 1, 5), PaymentKind.DEPOSIT, "1000")
    books.trade(date(2026, 1, 6), one, "1", "10")
    books.trade(date(2026, 1, 6), two, "2", "20")
    books.trade(date(2026, 1, 6), stock("USD", 3), "3", "30")
    portfolio = make_portfolio(PortfolioAccount(name="A/B"), PortfolioAccount(name="A B"))
    _, entries = loaded(portfolio, {"A/B": books.ledger(), "A B": books.ledger()})
    assert sums(entries, "Assets:A-B:ABC")["ABC"] == 1
    assert {"ABC", "ABC-2", "USD-2"} <= sums(entries, "Assets:").keys()
    assert sums(entries, "Assets:A-B-2:ABC-2") == {"ABC-2": Decimal(2)}


@pytest.mark.parametrize("symbol", ["a", "🚀", "x" * 200, "A'", "...", "1", "Ü/ß", "SPY   261218P00540000"])
def test_every_symbol_has_a_valid_name(symbol: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9'._-]{0,22}[A-Z0-9]", commodity(symbol)), commodity(symbol)
    assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9-]*", account_part(symbol)), account_part(symbol)
    names = Names(commodity)
    assert len({names.of(number, symbol) for number in range(30)}) == 30
    assert all(len(name) <= 24 for name in names.taken)


def test_movements_come_to_what_the_ledger_is() -> None:
    ledger = option_seller().ledgers["Wheel"]
    steps = movements(ledger)
    assert tuple(closed for step in steps for closed in step.closed) == ledger.closed
    after = {listed.conid: lots for step in steps for listed, _, lots in step.lots if lots}
    for conid, held in ledger.held.items():
        assert after[conid] == held.lots


# -- Portfolio Performance --------------------------------------------------------------------------------------------

ACCOUNT_TYPES = {
    *("Deposit", "Removal", "Dividend", "Interest", "Interest Charge"),
    *("Fees", "Fees Refund", "Taxes", "Tax Refund"),
}
PORTFOLIO_TYPES = {"Buy", "Sell", "Delivery (Inbound)", "Delivery (Outbound)"}


def unpacked(sample: Sample) -> dict[str, list[dict[str, str]]]:
    body = zip_of(tables_of(sample.portfolio, sample.ledgers, sample.without, today=TODAY))
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return {
            name: list(csv.DictReader(io.StringIO(packed.read(name).decode(), newline=""), delimiter=";", strict=True))
            for name in packed.namelist()
            if name.endswith(".csv")
        }


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_row_keeps_the_rules_of_the_columns(name: str) -> None:
    found = unpacked(SAMPLES[name]())
    for row in found["account-transactions.csv"]:
        assert row["Type"] in ACCOUNT_TYPES
        assert Decimal(row["Value"]) > 0
        assert row["Type"] != "Dividend" or row["Ticker Symbol"] or row["ISIN"]
        assert row["Cash Account"].endswith(f"({row['Transaction Currency']})")
    for row in found["portfolio-transactions.csv"]:
        assert row["Type"] in PORTFOLIO_TYPES
        assert Decimal(row["Shares"]) > 0
        assert row["Ticker Symbol"]
        value, fees, taxes = (Decimal(row[column] or 0) for column in ("Value", "Fees", "Taxes"))
        assert value >= 0
        assert row["Type"] == "Sell" or fees + taxes <= value
    for row in (each for rows in found.values() for each in rows):
        date.fromisoformat(row["Date"])
        assert None not in row
        assert re.fullmatch(r"\d+\.\d\d", row["Value"])
        assert not row["Note"].startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("name", ["long-term", "option-seller", "european"])
def test_the_rows_come_to_the_cash_and_the_shares_of_the_ledger(name: str) -> None:
    sample = SAMPLES[name]()
    found = unpacked(sample)
    out = {"Removal", "Interest Charge", "Fees", "Taxes", "Buy"}
    for account, ledger in sample.ledgers.items():
        cash: dict[str, Decimal] = {}
        shares: dict[str, Decimal] = {}
        for row in (each for rows in found.values() for each in rows if each["Securities Account"] == account):
            if row["Type"] in PORTFOLIO_TYPES:
                sign = 1 if row["Type"] in ("Buy", "Delivery (Inbound)") else -1
                shares[row["Ticker Symbol"]] = shares.get(row["Ticker Symbol"], Decimal(0)) + sign * Decimal(
                    row["Shares"]
                )
            if not row["Type"].startswith("Delivery"):
                sign = -1 if row["Type"] in out else 1
                cash[row["Transaction Currency"]] = cash.get(row["Transaction Currency"], Decimal(0)) + sign * Decimal(
                    row["Value"]
                )
        for currency, amount in ledger.cash.items():
            # Each row is rounded to the cent.
            assert abs(cash[currency] - amount) < Decimal("0.25"), currency
        assert {symbol: size for symbol, size in shares.items() if size} == {
            held.listed.symbol: held.quantity * held.listed.multiplier for held in ledger.held.values()
        }


def test_an_account_without_a_ledger_is_delivered_and_says_so() -> None:
    sample = hard_names()
    tables = tables_of(sample.portfolio, {}, sample.without, today=TODAY)
    rows = {row["Ticker Symbol"]: row for row in tables.portfolio}
    assert rows["A&B/C; DROP"]["Note"] == "opening balance: no ledger is kept"
    assert rows['"quoted" \\ back']["Type"] == "Delivery (Outbound)"
    assert rows["GOLD"]["Note"].endswith("and no cost is known")
    with zipfile.ZipFile(io.BytesIO(zip_of(tables))) as packed:
        assert "empty: no ledger is kept of it (it is kept by hand)" in packed.read("READ-ME.txt").decode()


def test_a_sale_that_costs_more_than_it_brings_has_its_costs_apart() -> None:
    books = Books("U1")
    books.pay(date(2026, 1, 5), PaymentKind.DEPOSIT, "1000")
    books.trade(date(2026, 1, 6), stock("ABC", 1), "10", "0.05", "1")
    books.trade(date(2026, 1, 7), stock("ABC", 1), "-10", "0.05", "1")
    sample = replace(long_term(), portfolio=make_portfolio(PortfolioAccount(name="A")), ledgers={"A": books.ledger()})
    found = unpacked(sample)
    buy, sell = found["portfolio-transactions.csv"]
    assert (buy["Type"], buy["Value"], buy["Fees"]) == ("Buy", "1.50", "1.00")
    assert (sell["Type"], sell["Value"], sell["Fees"]) == ("Sell", "0.50", "")
    assert [row["Type"] for row in found["account-transactions.csv"]] == ["Deposit", "Fees"]
