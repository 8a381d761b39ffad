"""Contracts of the simulated world."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.sim.market.calendar import Calendar
from ibkit.sim.market.instruments import FIRST_OPTION_CONID, Instruments
from ibkit.sim.market.universe import UNDERLYINGS

pytestmark = pytest.mark.requirement("TST-01")

FRIDAY = date(2026, 11, 20)
CALENDAR = Calendar()
INSTRUMENTS = Instruments(CALENDAR)


def spy(strike: str, right: str = "P", day: date = FRIDAY, instruments: Instruments = INSTRUMENTS):
    return instruments.option("SPY", day, Decimal(strike), right)


@pytest.mark.parametrize(
    ("symbol", "conid"),
    [("SPY", 756733), ("QQQ", 320227571), ("AAPL", 265598), ("MSFT", 272093), ("TSLA", 76792991), ("SPX", 416904)],
)
def test_the_underlyings_have_ibkrs_own_numbers(symbol, conid):
    assert INSTRUMENTS.by_symbol(symbol).conid == conid
    assert INSTRUMENTS.get(conid).symbol == symbol


def test_foreign_twins_are_names_without_a_market():
    twin = INSTRUMENTS.get(38709152)
    assert (twin.symbol, twin.listing_exchange, twin.currency, twin.quoted) == ("SPY", "MEXI", "MXN", False)


def test_an_option_says_its_terms():
    put = spy("629")
    assert (put.symbol, put.sec_type, put.right, put.strike) == ("SPY", "OPT", "P", Decimal(629))
    assert (put.expiry, put.settles_on, put.trading_class) == (FRIDAY, FRIDAY, "SPY")
    assert (put.multiplier, put.underlying_conid) == (Decimal(100), 756733)
    assert put.terms == "NOV 20 '26 629 Put"
    assert put.full_name == "SPY Nov20'26 629 Put"
    assert put.local_symbol == "SPY   261120P00629000"


def test_local_symbols_follow_the_occ():
    call = INSTRUMENTS.option("AAPL", date(2027, 1, 15), Decimal("267.5"), "C")
    assert call.local_symbol == "AAPL  270115C00267500"
    assert call.terms == "JAN 15 '27 267.5 Call"


def test_a_morning_settled_index_option_ends_the_day_before():
    call = INSTRUMENTS.option("SPX", date(2026, 11, 19), Decimal(6300), "C", "SPX")
    evening = INSTRUMENTS.option("SPX", date(2026, 11, 19), Decimal(6300), "C")
    assert (call.expiry, call.settles_on, call.am_settled) == (date(2026, 11, 19), FRIDAY, True)
    assert call.terms == "NOV 19 '26 6300 Call (AM)"
    assert (evening.trading_class, evening.am_settled) == ("SPXW", False)
    assert call.conid != evening.conid


@pytest.mark.parametrize(
    ("symbol", "below", "above"), [("SPY", "0.01", "0.01"), ("TSLA", "0.01", "0.05"), ("SPX", "0.05", "0.10")]
)
def test_price_grids_are_those_of_the_exchanges(symbol, below, above):
    strike = UNDERLYINGS[symbol].base
    increments = INSTRUMENTS.option(symbol, date(2026, 12, 18), strike - strike % 10, "C").increments
    assert increments.at(Decimal("2.99")) == Decimal(below)
    assert increments.at(Decimal(3)) == Decimal(above)


def test_every_option_is_found_again_by_its_number():
    seen: set[int] = set()
    for symbol in UNDERLYINGS:
        for option in INSTRUMENTS.chain(symbol, date(2026, 11, 16), "NOV26"):
            assert INSTRUMENTS.get(option.conid) == option
            assert FIRST_OPTION_CONID <= option.conid < 2**31
            assert option.conid not in seen
            seen.add(option.conid)
    assert len(seen) > 10_000


def test_numbers_are_the_same_in_every_world():
    assert Instruments(CALENDAR, seed=99).option("SPY", FRIDAY, Decimal(629), "P") == spy("629")
    assert spy("629").conid == 1490604258


@settings(max_examples=300, deadline=None)
@given(st.integers(FIRST_OPTION_CONID, 2**31 - 1))
def test_any_number_is_no_contract_or_the_number_of_its_contract(conid):
    found = INSTRUMENTS.get(conid)
    if found is not None:
        again = INSTRUMENTS.option(found.symbol, found.expiry, found.strike, found.right, found.trading_class)
        assert again is not None
        assert again.conid == conid


@pytest.mark.parametrize("conid", [0, -1, 5, FIRST_OPTION_CONID, 2**31, 2**40])
def test_unknown_numbers_are_no_contract(conid):
    assert INSTRUMENTS.get(conid) is None


@pytest.mark.requirement("TRD-06")
def test_what_is_not_listed_is_no_contract():
    assert spy("629.3") is None
    assert spy("629", day=date(2026, 11, 21)) is None
    assert spy("629", right="X") is None
    assert INSTRUMENTS.option("NOPE", FRIDAY, Decimal(1), "P") is None
    assert INSTRUMENTS.option("AAPL", date(2026, 11, 24), Decimal(270), "P") is None
    assert INSTRUMENTS.option("SPY", FRIDAY, Decimal(629), "P", "SPXW") is None


def test_strikes_are_close_near_the_price_and_wide_far_from_it():
    strikes = INSTRUMENTS.strikes("SPY", FRIDAY)
    near = [strike for strike in strikes if 600 <= strike <= 660]
    assert near == [Decimal(n) for n in range(600, 661)]
    assert Decimal(350) in strikes
    assert Decimal(351) not in strikes
    assert strikes == sorted(set(strikes))


def test_a_far_move_of_the_price_is_covered_from_the_start():
    assert {Decimal(695), Decimal(705)} <= set(INSTRUMENTS.strikes("SPY", date(2026, 11, 24)))


def test_a_larger_move_lists_more_and_unlists_nothing():
    instruments = Instruments(CALENDAR)
    before = instruments.strikes("SPY", FRIDAY)
    assert spy("1003", instruments=instruments) is None
    instruments.recentre("SPY", Decimal("1001.37"))
    assert set(before) <= set(instruments.strikes("SPY", FRIDAY))
    assert spy("1003", instruments=instruments).strike == 1003
    assert spy("629", instruments=instruments) == spy("629")


def test_months_come_nearest_first():
    months = INSTRUMENTS.months("SPY", FRIDAY)
    assert months[:3] == ["NOV26", "DEC26", "JAN27"]
    assert len(months) == len(set(months))


def test_one_strike_has_a_row_for_each_expiry_class_and_right():
    rows = INSTRUMENTS.at_strike("SPX", date(2026, 11, 16), "NOV26", Decimal(6300))
    assert len(rows) == len({(row.expiry, row.trading_class, row.right) for row in rows})
    assert {row.right for row in rows} == {"C", "P"}
    thursday = [row.trading_class for row in rows if row.expiry == date(2026, 11, 19) and row.right == "C"]
    assert thursday == ["SPX", "SPXW"]
