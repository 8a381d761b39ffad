"""Positions and cash as holdings and securities: every asset class, two listings of a ticker, the user's own names."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from ibkit.model import Conid, Right, SecType
from ibkit.portfolio.book import Security
from ibkit.portfolio.kinds import SecurityKind, kind_of
from ibkit.portfolio.mapping import CASH_CLASS, holdings_of, securities_with
from portfolio_room import NOW, make_cash, make_position

OPTION = make_position(
    "SPY",
    "-1",
    conid=700000101,
    asset_class="OPT",
    kind="ETF",
    terms="SPY    AUG2026 540 P [SPY   260821P00540000 100]",
    average_price=Decimal("2.493"),
    market_price=Decimal("2.31"),
    market_value=Decimal("-231"),
    unrealized_pnl=Decimal("18.3"),
    exchange="",
    contract_sec_type=SecType.OPTION,
    contract_multiplier=Decimal(100),
    contract_expiry=date(2026, 8, 21),
    contract_strike=Decimal(540),
    contract_right=Right.PUT,
    contract_underlying_conid=Conid(756733),
    contract_description="SPY Aug21'26 540 Put",
)
FUTURE = make_position(
    "ES",
    "2",
    conid=495512563,
    asset_class="FUT",
    kind="",
    terms="ES     DEC2026",
    contract_sec_type=SecType.FUTURE,
    contract_multiplier=Decimal(50),
    contract_expiry=date(2026, 12, 18),
)
BOND = make_position("T 4 1/4", "1000", conid=11, asset_class="BOND", kind="", contract_sec_type=SecType.BOND)


@pytest.mark.requirement("SYN-07")
def test_each_sort_of_position_becomes_the_holding_that_is_expected() -> None:
    fractional = make_position("AAPL", "0.125")
    home, abroad = make_position("ABC", "5", conid=1), make_position("ABC", "7", conid=2, contract_currency="EUR")
    closed = make_position("GONE", "0", conid=3)
    found = holdings_of([fractional, OPTION, FUTURE, BOND, home, abroad, closed], [], at=NOW)
    assert [(each.symbol, each.conid, each.units, each.kind) for each in found] == [
        ("AAPL", 265598, Decimal("0.125"), SecurityKind.STOCK),
        ("ABC", 1, Decimal(5), SecurityKind.STOCK),
        ("ABC", 2, Decimal(7), SecurityKind.STOCK),
        ("ES DEC2026", 495512563, Decimal(2), SecurityKind.FUTURE),
        ("SPY AUG2026 540 P [SPY 260821P00540000 100]", 700000101, Decimal(-1), SecurityKind.OPTION),
        ("T 4 1/4", 11, Decimal(1000), SecurityKind.BOND),
    ]
    option = found[4]
    assert (option.average_cost, option.market_price, option.market_value) == (
        Decimal("249.300"),
        Decimal("2.31"),
        Decimal("-231"),
    )
    assert (option.expiry, option.strike, option.right) == (date(2026, 8, 21), Decimal(540), "P")
    assert (option.multiplier, option.underlying_conid, option.currency) == (Decimal(100), 756733, "USD")
    assert (option.unrealized_pnl, option.realized_pnl) == (Decimal("18.3"), Decimal(0))
    assert all(each.synced_at == NOW and each.source.value == "ibkr" for each in found)
    assert found[2].currency == "EUR"


@pytest.mark.requirement("SYN-07")
def test_what_ibkr_did_not_name_is_called_by_its_conid_and_unseen_characters_are_left_out() -> None:
    nameless = make_position("", "1", conid=99, ticker="", name="", terms="")
    odd = make_position("A\u202eB/C \U0001f680", "1", conid=98, name="x\x00y")
    assert [each.symbol for each in holdings_of([nameless, odd], [], at=NOW)] == ["99", "AB/C \U0001f680"]
    securities, _ = securities_with((), [odd], ())
    assert securities[0].name == "xy"


@pytest.mark.requirement("SYN-10")
def test_cash_of_each_currency_is_a_holding_and_none_of_a_currency_that_is_empty() -> None:
    cash = [make_cash("USD", "12.34"), make_cash("EUR", "-5"), make_cash("CHF", "0")]
    found = holdings_of([], cash, at=NOW)
    assert [(each.symbol, each.units, each.kind, each.asset_class) for each in found] == [
        ("EUR", Decimal(-5), SecurityKind.CASH, CASH_CLASS),
        ("USD", Decimal("12.34"), SecurityKind.CASH, CASH_CLASS),
    ]
    assert holdings_of([], cash, at=NOW, with_cash=False) == ()


@pytest.mark.requirement("SYN-09")
@pytest.mark.parametrize(
    ("asset_class", "further", "kind"),
    [
        ("STK", "COMMON", "stock"),
        ("STK", "ETF", "etf"),
        ("STK", "", "stock"),
        ("OPT", "ETF", "option"),
        ("FUT", "", "future"),
        ("FOP", "", "future-option"),
        ("BOND", "", "bond"),
        ("BILL", "", "bond"),
        ("FUND", "", "fund"),
        ("CASH", "", "forex"),
        ("CRYPTO", "", "crypto"),
        ("WAR", "", "warrant"),
        ("CFD", "", "cfd"),
        ("IND", "", "index"),
        ("CMDTY", "", "commodity"),
    ],
)
def test_kinds_of_all_classes(asset_class: str, further: str, kind: str) -> None:
    assert kind_of(asset_class, further).value == kind


@pytest.mark.requirement("SYN-09")
def test_an_unknown_class_is_other_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert kind_of("PDC") is SecurityKind.OTHER
    assert "unknown class" in caplog.text


@pytest.mark.requirement("SYN-08")
def test_new_securities_are_added_and_the_users_own_words_stay() -> None:
    securities, new = securities_with((), [make_position(), OPTION], [make_cash()])
    assert new == 3
    by_symbol = {each.symbol: each for each in securities}
    assert (by_symbol["AAPL"].name, by_symbol["AAPL"].kind) == ("AAPL INC", SecurityKind.STOCK)
    assert by_symbol["USD"].kind is SecurityKind.CASH
    assert by_symbol["SPY AUG2026 540 P [SPY 260821P00540000 100]"].identifier == "SPY Aug21'26 540 Put"

    mine = replace(by_symbol["AAPL"], name="The phone", kind=SecurityKind.OTHER, tags=("tech",))
    kept = tuple(mine if each.symbol == "AAPL" else each for each in securities)
    again, new = securities_with(kept, [make_position(market_price=Decimal(120)), OPTION], [make_cash()])
    assert new == 0
    phone = next(each for each in again if each.symbol == "AAPL")
    assert (phone.name, phone.kind, phone.tags) == ("The phone", SecurityKind.OTHER, ("tech",))
    assert phone.unit_price == Decimal(120)


@pytest.mark.requirement("SYN-08")
def test_a_security_made_by_hand_becomes_the_listing_of_its_ticker() -> None:
    by_hand = Security(symbol="AAPL", name="Apple", tags=("a",))
    securities, new = securities_with((by_hand,), [make_position(), make_position("AAPL", "1", conid=7)], ())
    assert new == 1
    assert [(each.symbol, each.conid, each.name) for each in securities] == [
        ("AAPL", 7, "Apple"),
        ("AAPL", 265598, "AAPL INC"),
    ]
