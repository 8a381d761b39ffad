"""Prices of the simulated world."""

from __future__ import annotations

import math
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from ibkit.sim.market.calendar import Calendar
from ibkit.sim.market.instruments import Instruments
from ibkit.sim.market.market import Market
from ibkit.sim.market.quotes import Tick
from ibkit.sim.market.surface import black_scholes, implied_volatility

pytestmark = pytest.mark.requirement("TST-01")

START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
FRIDAY = date(2026, 11, 20)
DECEMBER = date(2026, 12, 18)
CALENDAR = Calendar()
INSTRUMENTS = Instruments(CALENDAR)
SPY = 756733
HOUR = timedelta(hours=1)


def new_market(seed: int = 7) -> Market:
    return Market(CALENDAR, Instruments(CALENDAR), seed=seed, start=START)


@pytest.fixture(scope="module")
def market() -> Market:
    """Nobody sets anything in this one."""
    return new_market()


def option(symbol: str = "SPY", day: date = FRIDAY, strike: str = "629", right: str = "P", root: str | None = None):
    found = INSTRUMENTS.option(symbol, day, Decimal(strike), right, root)
    assert found is not None
    return found


# --- Black-Scholes ----------------------------------------------------------------------------------------------


def test_values_agree_with_the_textbook():
    # Hull, Options, Futures and Other Derivatives, example 15.6: S 42, K 40, r 10 %, volatility 20 %, half a year.
    for call, value in ((True, 4.76), (False, 0.81)):
        worth = black_scholes(42.0, 40.0, 0.5, 0.2, call=call, rate=0.1)
        assert float(worth.price) == pytest.approx(value, abs=0.005)


def test_greeks_agree_with_the_textbook():
    # Hull, examples 19.1, 19.2, 19.4, 19.6: S 49, K 50, r 5 %, volatility 20 %, 20 weeks.
    worth = black_scholes(49.0, 50.0, 0.3846, 0.2, call=True, rate=0.05)
    assert float(worth.delta) == pytest.approx(0.522, abs=0.001)
    assert float(worth.theta) == pytest.approx(-4.31, abs=0.01)
    assert float(worth.gamma) == pytest.approx(0.066, abs=0.001)
    assert float(worth.vega) == pytest.approx(12.1, abs=0.05)


@pytest.mark.parametrize("call", [True, False])
def test_greeks_are_the_slopes_of_the_value(call):
    def value(spot: float = 630.0, years: float = 0.1, vol: float = 0.2) -> float:
        return float(black_scholes(spot, 640.0, years, vol, call=call, dividend=0.01).price)

    worth = black_scholes(630.0, 640.0, 0.1, 0.2, call=call, dividend=0.01)
    assert float(worth.delta) == pytest.approx((value(630.01) - value(629.99)) / 0.02, rel=1e-5)
    assert float(worth.vega) == pytest.approx((value(vol=0.2001) - value(vol=0.1999)) / 0.0002, rel=1e-5)
    assert float(worth.theta) == pytest.approx((value(years=0.0999) - value(years=0.1001)) / 0.0002, rel=1e-4)
    assert float(worth.gamma) == pytest.approx((value(631) - 2 * value() + value(629)), rel=1e-2)


def test_at_the_end_only_intrinsic_value_is_left():
    worth = black_scholes(np.array([610.0, 640.0]), 630.0, 0.0, 0.2, call=False)
    assert worth.price.tolist() == [20.0, 0.0]
    assert worth.delta.tolist() == [-1.0, 0.0]


def test_the_surface_gives_puts_a_skew():
    low, middle, high = (float(implied_volatility(630.0, strike, 0.1, 0.15)) for strike in (560.0, 630.0, 690.0))
    assert low > middle
    assert low > high


# --- quotes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_spy_starts_near_630(seed):
    assert abs(new_market(seed).quote(SPY, START).last - 630) < 2


def test_the_same_seed_and_time_give_the_same_prices_in_any_order(market):
    other = new_market()
    conids = [SPY, 416904, option().conid, option(day=DECEMBER).conid]
    moments = [START + HOUR * n for n in (30, 0, 4, 500, 1)]
    forwards = {(c, at): other.quote(c, at) for at in sorted(moments) for c in conids}
    assert {(c, at): market.quote(c, at) for at in moments for c in reversed(conids)} == forwards


def test_another_seed_gives_other_prices(market):
    at = START + HOUR
    assert new_market(8).quote(SPY, at) != market.quote(SPY, at)


def test_the_index_has_a_last_price_and_no_bid_or_ask(market):
    quote = market.quote(416904, START)
    assert quote.last is not None
    assert (quote.bid, quote.ask) == (None, None)
    assert quote.mark == quote.last
    spy = market.quote(SPY, START).last
    assert abs(quote.last / spy - 10) < Decimal("0.1")


def test_quotes_are_on_their_grid_and_never_crossed(market):
    for symbol in ("SPY", "QQQ", "AAPL", "MSFT", "TSLA", "SPX"):
        for contract in list(INSTRUMENTS.chain(symbol, FRIDAY, "DEC26"))[::97]:
            for at in (START, START + 2.71 * HOUR):
                quote = market.quote(contract.conid, at)
                assert quote.ask is not None
                assert contract.increments.fits(quote.ask), (contract.full_name, quote)
                assert contract.increments.fits(quote.last), (contract.full_name, quote)
                assert quote.ask.as_tuple().exponent == -2
                if quote.bid is not None:
                    assert contract.increments.fits(quote.bid), (contract.full_name, quote)
                    assert 0 < quote.bid < quote.ask


def test_calls_and_puts_agree(market):
    spot = market.quote(SPY, START).last
    for strike in ("600", "629", "660"):
        call, put = (market.quote(option(strike=strike, right=right).conid, START) for right in "CP")
        difference = (call.ask - put.ask) - (spot - Decimal(strike))
        assert abs(difference) < Decimal("0.25")
        assert call.iv == pytest.approx(put.iv)
        assert call.delta - put.delta == pytest.approx(1, abs=0.01)


def test_option_prices_fall_with_the_strike_and_rise_with_time(market):
    asks = [market.quote(option(day=DECEMBER, strike=str(k), right="C").conid, START).ask for k in range(560, 700, 5)]
    assert asks == sorted(asks, reverse=True)
    near, far = (market.quote(option(day=day, strike="630", right="C").conid, START).ask for day in (FRIDAY, DECEMBER))
    assert near < far


@pytest.mark.parametrize("seed", [1, 7, 42])
@pytest.mark.requirement("OPT-01", "OPT-03")
def test_todays_options_near_the_money_have_a_bid_through_the_day(seed):
    market = new_market(seed)
    for hours in (-0.9, 0, 2, 4, 5):
        at = START + hours * HOUR
        spot = round(market.quote(SPY, at).last)
        for right, strike in (("P", spot - 1), ("C", spot + 1)):
            quote = market.quote(option(strike=str(strike), right=right).conid, at)
            assert quote.bid is not None
            assert quote.bid >= Decimal("0.05"), (hours, right, quote)


def test_an_option_loses_value_as_time_goes_by():
    market = new_market()
    put = option(strike="630", right="P")
    premiums = []
    for hours in (0, 1, 2, 3, 4, 5):
        at = START + hours * HOUR
        market.set_price("SPY", Decimal("630.00"), at)
        premiums.append(market.quote(put.conid, at).ask)
    assert premiums == sorted(premiums, reverse=True)
    assert premiums[-1] < premiums[0] / 2
    assert market.quote(put.conid, START).theta < 0


def test_options_move_with_their_underlying(market):
    conid = option(strike="640", right="C", day=DECEMBER).conid
    run = market.ticks(conid, START, START + HOUR)
    assert len(set(run.bid_cents.tolist())) > 20
    assert len(set(run.ask_cents.tolist())) > 20


# --- ticks ------------------------------------------------------------------------------------------------------


def test_ticks_are_the_quotes_of_each_second(market):
    for conid in (SPY, option().conid, 416904):
        run = market.ticks(conid, START, START + timedelta(seconds=40))
        assert [tick.at for tick in run] == [START + timedelta(seconds=n) for n in range(1, 41)]
        for tick in run:
            quote = market.quote(conid, tick.at)
            assert tick == Tick(tick.at, quote.bid or Decimal(0), quote.ask or Decimal(0), quote.last)
            assert (tick.bid, tick.last) == (run[run.seconds.tolist().index(int(tick.at.timestamp()))].bid, tick.last)


def test_a_run_split_in_two_is_the_same_run(market):
    conid = option(day=DECEMBER).conid
    middle, end = START + timedelta(minutes=7, seconds=0.4), START + timedelta(minutes=20)
    parts = [*market.ticks(conid, START, middle), *market.ticks(conid, middle, end)]
    assert parts == list(market.ticks(conid, START, end))


def test_ticks_come_in_regular_hours_only(market):
    monday = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    run = market.ticks(SPY, START, monday + timedelta(seconds=2))
    times = [tick.at for tick in run]
    assert times[0] == START + timedelta(seconds=1)
    assert times[-4:] == [
        datetime(2026, 11, 20, 20, 59, 59, tzinfo=UTC),
        *(monday + timedelta(seconds=n) for n in range(3)),
    ]


def test_an_expired_option_has_no_more_ticks(market):
    run = market.ticks(option().conid, START, START + 96 * HOUR)
    assert run[-1].at == datetime(2026, 11, 20, 20, 59, 59, tzinfo=UTC)
    assert len(market.ticks(option().conid, START + 24 * HOUR, START + 96 * HOUR)) == 0


def test_searches_of_a_run_agree_with_looking_at_each_tick(market):
    run = market.ticks(option().conid, START, START + 3 * HOUR)
    level = Decimal("1.75")
    expected = next((n for n, tick in enumerate(run) if tick.bid >= level), None)
    assert run.first_bid_at_least(level) == expected
    expected = next((n for n, tick in enumerate(run) if 0 < tick.ask <= Decimal("1.40")), None)
    assert run.first_ask_at_most(Decimal("1.40")) == expected
    expected = next((n for n, tick in enumerate(run) if n >= 50 and tick.last <= Decimal("1.50")), None)
    assert run.first_last_at_most(Decimal("1.50"), 50) == expected
    assert run.first_last_at_least(Decimal(999)) is None
    assert list(run[5:8]) == list(run)[5:8]


def test_a_jump_of_a_day_is_cheap():
    market = new_market()
    conid = option(day=DECEMBER).conid
    market.ticks(conid, START, START + HOUR)
    began = time.process_time()
    run = market.ticks(conid, START + 72 * HOUR, START + 95 * HOUR)
    assert len(run) > 19_000
    assert time.process_time() - began < 0.2  # 10 ms here; wide, because machines differ


# --- the day's figures ------------------------------------------------------------------------------------------


def test_volume_and_range_grow_through_the_day(market):
    quotes = [market.quote(SPY, START + n * HOUR) for n in range(5)]
    assert [q.volume for q in quotes] == sorted(q.volume for q in quotes)
    ranges = [market.day_range(SPY, START + n * HOUR) for n in range(5)]
    assert [high for _, high, _ in ranges] == sorted(high for _, high, _ in ranges)
    assert [low for *_, low in ranges] == sorted((low for *_, low in ranges), reverse=True)
    assert len({opening for opening, *_ in ranges}) == 1


def test_the_prior_close_is_where_the_day_before_ended(market):
    thursday_evening = datetime(2026, 11, 19, 22, 0, tzinfo=UTC)
    assert market.quote(SPY, START).prior_close == market.quote(SPY, thursday_evening).last


def test_before_the_opening_the_last_close_is_shown(market):
    early = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    for conid in (SPY, option(day=DECEMBER).conid):
        quote = market.quote(conid, early)
        assert not quote.open
        assert not quote.traded_today
        assert quote.last == quote.prior_close == market.quote(conid, START).prior_close
        assert quote.volume == 0


def test_an_option_shows_the_prior_close_until_its_first_trade(market):
    conid = option(day=DECEMBER).conid
    opening = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    first = market.quote(conid, opening)
    assert not first.traded_today
    assert first.last == first.prior_close
    assert market.quote(conid, opening + timedelta(minutes=2)).traded_today
    assert market.day_range(conid, opening) is None


# --- setting things ---------------------------------------------------------------------------------------------


def test_a_price_holds_from_its_moment_on():
    market = new_market()
    before = market.quote(SPY, START)
    at = START + timedelta(minutes=1)
    market.set_price("SPY", Decimal("700.00"), at)
    assert market.quote(SPY, START) == before
    assert market.quote(SPY, at).last == Decimal("700.00")
    assert abs(market.quote(SPY, at + HOUR).last - 700) < 12
    assert market.quote(option(strike="695", right="C").conid, at).bid > 5
    run = market.ticks(SPY, START, at + timedelta(seconds=1))
    assert run[58].last < 640
    assert run[59].last == Decimal("700.00")


def test_after_a_set_price_ticks_are_still_the_quotes_of_each_second():
    market = new_market()
    market.set_price("SPY", Decimal("641.50"), START + timedelta(seconds=10))
    market.set_price("SPY", Decimal("655.00"), START + timedelta(seconds=25))
    for conid in (SPY, option(strike="640", right="C").conid):
        for tick in market.ticks(conid, START, START + timedelta(seconds=60)):
            quote = market.quote(conid, tick.at)
            assert tick == Tick(tick.at, quote.bid or Decimal(0), quote.ask or Decimal(0), quote.last)


@pytest.mark.parametrize("year", [2017, 2033])
def test_a_world_lives_within_its_calendar(year):
    with pytest.raises(ValueError, match="starts between"):
        Market(CALENDAR, INSTRUMENTS, start=datetime(year, 6, 1, tzinfo=UTC))


@pytest.mark.parametrize("start", [datetime(2018, 7, 2, 15, tzinfo=UTC), datetime(2032, 12, 31, 15, tzinfo=UTC)])
def test_a_world_at_the_edge_of_its_calendar_works(start):
    market = Market(CALENDAR, INSTRUMENTS, start=start)
    assert abs(market.quote(SPY, start).last - 630) < 2
    far = list(INSTRUMENTS.chain("SPX", start.date()))[-1]
    assert market.quote(far.conid, start).ask is not None


def test_a_price_set_while_the_market_is_shut_counts_at_once():
    market = new_market()
    night = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
    market.set_price("SPY", Decimal("650.00"), night)
    assert market.quote(SPY, night).mark == Decimal("650.00")
    monday = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert abs(market.quote(SPY, monday).last - 650) < 15


def test_a_quote_set_by_hand_stands_until_it_is_released():
    market = new_market()
    conid = option().conid
    at = START + timedelta(minutes=1)
    market.set_quote(conid, Decimal("0.62"), Decimal("0.63"), at=at)
    quote = market.quote(conid, at + HOUR)
    assert (quote.bid, quote.ask, quote.bid_size, quote.ask_size) == (Decimal("0.62"), Decimal("0.63"), 40, 25)
    assert quote.bid <= quote.last <= quote.ask
    assert market.quote(conid, START).bid != Decimal("0.62")
    market.release(conid, at=at + 2 * HOUR)
    assert market.quote(conid, at + 2 * HOUR) == new_market().quote(conid, at + 2 * HOUR)
    bids = {tick.bid for tick in market.ticks(conid, at - timedelta(seconds=1), at + HOUR)}
    assert bids == {Decimal("0.62")}


def test_one_sided_and_crossed_quotes_can_be_set():
    market = new_market()
    conid = option().conid
    market.set_quote(conid, None, Decimal("0.05"), at=START)
    assert (market.quote(conid, START).bid, market.quote(conid, START).bid_size) == (None, 0)
    market.set_quote(conid, Decimal("0.70"), Decimal("0.60"), at=START)
    assert market.quote(conid, START).bid > market.quote(conid, START).ask


@pytest.mark.parametrize(
    ("symbol", "price"), [("NOPE", "1"), ("SPY", "0"), ("SPY", "-1"), ("SPY", "NaN"), ("SPY", "1.005")]
)
def test_an_impossible_price_is_refused(symbol, price):
    with pytest.raises(ValueError, match=r"underlying|price"):
        new_market().set_price(symbol, Decimal(price), START)


def test_an_impossible_quote_is_refused():
    market = new_market()
    tesla = option("TSLA", DECEMBER, "400", "C")
    with pytest.raises(ValueError, match="grid"):
        market.set_quote(tesla.conid, Decimal("3.01"), Decimal("3.10"), at=START)
    with pytest.raises(ValueError, match="no bid and ask"):
        market.set_quote(416904, Decimal(1), Decimal(2), at=START)
    with pytest.raises(ValueError, match="sizes"):
        market.set_quote(SPY, Decimal(1), Decimal(2), -1, at=START)


def test_a_halt_silences_a_stock_and_its_options():
    market = new_market()
    at = START + timedelta(minutes=1)
    market.halt("SPY", at)
    quote = market.quote(SPY, at + HOUR)
    assert (quote.halted, quote.open, quote.bid, quote.ask) == (True, False, None, None)
    assert quote.last == new_market().quote(SPY, at).last
    assert len(market.ticks(option().conid, START, at + HOUR)) == 59
    market.halt("SPY", at + 2 * HOUR, halted=False)
    assert market.quote(SPY, at + 2 * HOUR) == new_market().quote(SPY, at + 2 * HOUR)
    assert market.quote(320227571, at + HOUR).bid is not None


# --- the end ----------------------------------------------------------------------------------------------------


def test_an_option_ends_at_its_intrinsic_value(market):
    close = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    spot = market.quote(SPY, close).last
    for strike, right in (("600", "C"), ("650", "P"), ("600", "P")):
        contract = option(strike=strike, right=right)
        worth = max(Decimal(0), (spot - contract.strike) * (1 if right == "C" else -1))
        assert market.settlement(contract.conid) == worth
        after = market.quote(contract.conid, close + HOUR)
        assert (after.bid, after.ask, after.mark, after.open) == (None, None, worth, False)
        last = market.quote(contract.conid, close - timedelta(seconds=1))
        assert abs(last.ask - worth) < Decimal("0.40")


def test_a_morning_settlement_takes_the_opening(market):
    contract = option("SPX", date(2026, 11, 19), "6200", "C", "SPX")
    opening = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    assert market.settlement(contract.conid) == market.quote(416904, opening).last - 6200
    overnight = market.quote(contract.conid, opening - 10 * HOUR)
    assert overnight.bid is None
    assert overnight.mark > 0


def test_an_unknown_contract_is_a_key_error_and_a_twin_has_no_price(market):
    with pytest.raises(KeyError):
        market.quote(1, START)
    twin = market.quote(38709152, START)
    assert (twin.bid, twin.ask, twin.last, twin.mark) == (None, None, None, None)
    assert len(market.ticks(38709152, START, START + HOUR)) == 0


def test_the_market_as_a_whole_drives_the_stocks(market):
    moments = [START + 24 * n * HOUR for n in range(0, 180, 3)]
    logs = {c: np.diff([math.log(float(market.quote(c, at).last)) for at in moments]) for c in (SPY, 320227571)}
    assert np.corrcoef(logs[SPY], logs[320227571])[0, 1] > 0.8
