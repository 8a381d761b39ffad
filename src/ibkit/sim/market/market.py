"""The simulated market: what every contract costs at any instant.

Underlyings follow `paths.py`, options one volatility surface on top of them (`surface.py`), both as functions of the
seed and the time alone. Only `set_price` and `set_quote` change anything, from their moment on. One tick a second in
regular hours; outside them the last tick stands.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ibkit.sim.market.calendar import Calendar, new_york_date
from ibkit.sim.market.combos import combo_quote, combo_ticks
from ibkit.sim.market.instruments import Instrument, Instruments
from ibkit.sim.market.interventions import Interventions, Pin, Sides
from ibkit.sim.market.paths import Paths, chance, key_of
from ibkit.sim.market.quotes import ASK_SIZE, BID_SIZE, MarketQuote, Tick, Ticks, price_of
from ibkit.sim.market.surface import OVERNIGHT, RATE, SESSIONS_PER_YEAR, Valuation, black_scholes, implied_volatility
from ibkit.sim.market.universe import UNDERLYINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["EARLIEST", "LATEST", "TICK_S", "Market", "MarketQuote", "Tick", "Ticks", "check_start"]

TICK_S = 1.0
_BLOCK = 900
EARLIEST, LATEST = date(2018, 7, 1), date(2032, 12, 31)
"""A world's possible first days: the calendar must know its past shocks and its farthest expiries."""


def check_start(start: datetime) -> None:
    """Raise ValueError for a first moment at which no world can begin."""
    if not EARLIEST <= new_york_date(start) <= LATEST:
        raise ValueError(f"a simulated world starts between {EARLIEST} and {LATEST}, not on {new_york_date(start)}")


class Market:
    """start: the instant at which each underlying stands near its base price; without it, about there at all times.

    Raises ValueError for a start outside `EARLIEST` to `LATEST`.
    """

    def __init__(
        self, calendar: Calendar, instruments: Instruments, *, seed: int = 7, start: datetime | None = None
    ) -> None:
        if start is not None:
            check_start(start)
        self._calendar = calendar
        self._instruments = instruments
        self._seed = seed
        self._paths = Paths(calendar, seed, start)
        self._bases = {
            symbol: float(row.base) * (1 + 0.002 * (self._share("base", symbol) - 0.5))
            for symbol, row in UNDERLYINGS.items()
        }
        self._by_hand = Interventions()
        self._quote = lru_cache(maxsize=4096)(self._quote_uncached)
        self._prior_close = lru_cache(maxsize=8192)(self._prior_close_uncached)
        self._block_range = lru_cache(maxsize=8192)(self._block_range_uncached)

    # --- reading ---------------------------------------------------------------------------------------------------

    def quote(self, conid: int, at: datetime) -> MarketQuote:
        """Raises KeyError for an unknown contract. A foreign twin has no prices at all."""
        return self._quote(conid, _floor(at))

    def quote_of(self, instrument: Instrument, at: datetime) -> MarketQuote:
        """The quote of a contract, or of a combo, which its legs' quotes make."""
        return combo_quote(self, instrument, at) if instrument.legs else self.quote(instrument.conid, at)

    def ticks_of(self, instrument: Instrument, start: datetime, end: datetime) -> Ticks:
        """As `ticks`, of a contract or a combo."""
        return (
            combo_ticks(self, instrument, start, end) if instrument.legs else self.ticks(instrument.conid, start, end)
        )

    def ticks(self, conid: int, start: datetime, end: datetime) -> Ticks:
        """All ticks in (start, end], regular hours only; none after an option's last trading day."""
        instrument = self._instrument(conid)
        parts: list[Ticks] = []
        for opening, close in self._calendar.sessions_between(start, end):
            day = new_york_date(opening)
            if not instrument.quoted or (instrument.expiry is not None and day > instrument.expiry):
                continue
            first = max(0, int((start - opening) // timedelta(seconds=1)) + 1)
            final = int((min(end, close - timedelta(seconds=1)) - opening) // timedelta(seconds=1))
            if final >= first:
                run = self._run(instrument, day, int(opening.timestamp()), np.arange(first, final + 1))
                parts.append(run.where(~self._by_hand.halted(instrument.symbol, run.seconds)))
        return Ticks.joined(parts)

    def day_range(self, conid: int, at: datetime) -> tuple[Decimal, Decimal, Decimal] | None:
        """Open, high and low of the current session's last prices so far, None before the first trade."""
        quote = self.quote(conid, at)
        if not quote.traded_today or quote.last is None:
            return None
        instrument = self._instrument(conid)
        day = self._day_of(instrument, at)
        first = self._pace(instrument) if instrument.is_option else 0
        final = self._paths.second(day, at)
        blocks = [(start, min(start + _BLOCK, final + 1)) for start in range(first, final + 1, _BLOCK)]
        ranges = [self._block_range(conid, day, start, end) for start, end in blocks]
        high, low = price_of(max(row[1] for row in ranges)), price_of(min(row[2] for row in ranges))
        return price_of(ranges[0][0]), max(high, quote.last), min(low, quote.last)

    def _block_range_uncached(self, conid: int, day: date, start: int, end: int) -> tuple[int, int, int]:
        """First, highest and lowest last price (cents) of a part of a session; whole parts are asked for again."""
        opening = int(self._opening(day).timestamp())
        lasts = self._run(self._instrument(conid), day, opening, np.arange(start, end)).last_cents
        return int(lasts[0]), int(lasts.max()), int(lasts.min())

    def open_interest(self, conid: int, at: datetime) -> int:
        """Contracts outstanding; the same all day."""
        instrument = self._instrument(conid)
        return int(25_000 * self._interest(instrument) * (0.5 + self._share("oi", conid, new_york_date(at)))) + 1

    def settlement(self, conid: int) -> Decimal:
        """What an option is worth at its end, per unit: against the close, or the opening of an AM settlement."""
        option = self._instrument(conid)
        assert option.settles_on is not None, conid
        assert option.strike is not None, conid
        opening, close = self._hours(option.settles_on)
        moment = opening if option.am_settled else close
        second = self._paths.second(option.settles_on, moment)
        cents = self._spot_cents(option.symbol, option.settles_on, np.array([second]), _epochs(moment))
        distance = price_of(cents[0]) - option.strike
        return max(price_of(0), distance if option.right == "C" else -distance)

    # --- changing --------------------------------------------------------------------------------------------------

    def set_price(self, symbol: str, price: Decimal, at: datetime) -> None:
        """From `at` on the underlying's price is `price` and moves on from there; its options follow.

        Raises ValueError for an unknown symbol or a price that is not positive.
        """
        if symbol not in UNDERLYINGS:
            raise ValueError(f"no underlying is called {symbol}; there are: {', '.join(UNDERLYINGS)}")
        if not price.is_finite() or price <= 0 or price * 100 != int(price * 100):
            raise ValueError(f"a price is positive and in whole cents, not {price}")
        at = _floor(at)
        day = self._calendar.current_day(at)
        natural = self._bases[symbol] * float(np.exp(self._paths.level(symbol, day, self._paths.second(day, at))))
        self._by_hand.shift(symbol, at, float(price) / natural)
        self._instruments.recentre(symbol, price)
        self._changed()

    def set_quote(
        self,
        conid: int,
        bid: Decimal | None,
        ask: Decimal | None,
        bid_size: int = BID_SIZE,
        ask_size: int = ASK_SIZE,
        *,
        at: datetime,
    ) -> None:
        """Hold a contract's bid and ask from `at` on, until set again or released. None: nobody bids (offers).

        Raises ValueError for an unknown contract or a price off its grid. A crossed quote is allowed: they happen.
        """
        instrument = self._instruments.get(conid)
        if instrument is None or not instrument.quoted or instrument.sec_type == "IND":
            raise ValueError(f"contract {conid} has no bid and ask to set")
        for price in (bid, ask):
            if price is not None and (not price.is_finite() or price < 0 or not instrument.increments.fits(price)):
                raise ValueError(f"{price} is not on the price grid of {instrument.full_name}")
        if bid_size < 0 or ask_size < 0:
            raise ValueError("sizes are not negative")
        self._by_hand.pin(conid, _floor(at), Pin(_cents(bid), _cents(ask), bid_size, ask_size))
        self._changed()

    def release(self, conid: int, *, at: datetime) -> None:
        """From `at` on the contract's bid and ask are the market's own again."""
        self._by_hand.pin(conid, _floor(at), None)
        self._changed()

    def halt(self, symbol: str, at: datetime, *, halted: bool = True) -> None:
        """From `at` on an underlying and its options do not trade: no bid, no ask, no tick; or they do again.

        Raises ValueError for an unknown symbol.
        """
        if symbol not in UNDERLYINGS:
            raise ValueError(f"no underlying is called {symbol}; there are: {', '.join(UNDERLYINGS)}")
        self._by_hand.halt(symbol, _floor(at), halted)
        self._changed()

    def _changed(self) -> None:
        self._quote.cache_clear()
        self._prior_close.cache_clear()
        self._block_range.cache_clear()

    # --- one quote -------------------------------------------------------------------------------------------------

    def _quote_uncached(self, conid: int, at: datetime) -> MarketQuote:
        instrument = self._instrument(conid)
        now, halt = at, self._by_hand.halted_since(instrument.symbol, at)
        at = halt or at
        day = self._day_of(instrument, at)
        second = self._paths.second(day, at)
        tick = self._opening(day) + timedelta(seconds=second)
        is_open = self._calendar.is_open(now) and day == new_york_date(now)
        if not instrument.quoted:
            return MarketQuote(conid=conid, at=tick, open=is_open)
        ended = instrument.expiry is not None and now >= self._hours(instrument.expiry)[1]
        # A price set while the market is shut counts at once; so the moment is now, not that of the last tick.
        run = self._run(instrument, day, None, np.array([second]), _epochs(at))
        last = price_of(run.last_cents[0])
        prior = self._prior_close(conid, day)
        today = day == new_york_date(now)
        traded = today and (not instrument.is_option or second >= self._pace(instrument))
        if not today:
            prior = price_of(self._close_cents(instrument, day, _epochs(at)))
            last = last if self._by_hand.has_pins(conid) else prior
        silent = ended or halt is not None
        bid = None if silent or run.bid_cents[0] <= 0 else price_of(run.bid_cents[0])
        ask = None if silent or run.ask_cents[0] <= 0 else price_of(run.ask_cents[0])
        mark = _mark(bid, ask, last)
        if ended and now >= self._settles_at(instrument):
            mark = last = self.settlement(conid)
        greeks = self._greeks(instrument, day, second, at) if instrument.is_option and not ended else {}
        return MarketQuote(
            conid=conid,
            at=tick,
            open=is_open and not silent,
            bid=bid,
            ask=ask,
            last=last,
            mark=mark,
            prior_close=prior,
            bid_size=int(run.bid_size[0]) if bid is not None else 0,
            ask_size=int(run.ask_size[0]) if ask is not None else 0,
            last_size=(1 + int(9 * self._share("last", conid, second))) * (1 if instrument.is_option else 100),
            volume=self._volume(instrument, day, second) if traded else 0,
            traded_today=traded,
            halted=halt is not None,
            **greeks,
        )

    def _greeks(self, option: Instrument, day: date, second: int, at: datetime) -> dict[str, float]:
        seconds = np.array([second])
        worth, volatility = self._worth(option, day, seconds, self._spot(option.symbol, day, seconds, _epochs(at)))
        price = float(worth.price[0])
        return {
            "iv": float(volatility[0]),
            "delta": float(worth.delta[0]),
            "gamma": float(worth.gamma[0]),
            # Nothing loses more in its last day than it is worth.
            "theta": max(float(worth.theta[0]) / SESSIONS_PER_YEAR, -price),
            "vega": float(worth.vega[0]) / 100,
        }

    def _prior_close_uncached(self, conid: int, day: date) -> Decimal:
        instrument, before = self._instrument(conid), self._calendar.previous_day(day)
        return price_of(self._close_cents(instrument, before, _epochs(self._hours(before)[1])))

    def _close_cents(self, instrument: Instrument, day: date, moments: Ints) -> int:
        """What a session closed at: the middle for an option, at least one tick."""
        seconds = np.array([self._paths.second(day, self._hours(day)[1])])
        if not instrument.is_option:
            return int(self._spot_cents(instrument.symbol, day, seconds, moments)[0])
        worth, _ = self._worth(instrument, day, seconds, self._spot(instrument.symbol, day, seconds, moments))
        cents = float(worth.price[0]) * 100
        tick = int(_tick_cents(instrument, np.array([cents]))[0])
        return max(tick, round(cents / tick) * tick)

    # --- runs of ticks ---------------------------------------------------------------------------------------------

    def _run(
        self, instrument: Instrument, day: date, opening: int | None, seconds: Ints, moments: Ints | None = None
    ) -> Ticks:
        """Ticks at seconds of a session. moments: when each is looked at (epoch), if not at that second."""
        if moments is None:
            moments = seconds + int(self._opening(day).timestamp() if opening is None else opening)
        if instrument.is_option:
            sides = self._option_sides(instrument, day, seconds, moments)
            last = self._option_last(instrument, day, seconds, moments)
        else:
            sides, last = self._stock_sides(instrument, day, seconds, moments)
        pinned = self._by_hand.pinned(instrument.conid, sides, moments)
        if pinned is not sides:
            last = np.where(pinned.ask > 0, np.minimum(last, pinned.ask), last)
            last = np.maximum(last, pinned.bid)
        return Ticks(moments, pinned.bid, pinned.ask, last, pinned.bid_size, pinned.ask_size)

    def _stock_sides(self, instrument: Instrument, day: date, seconds: Ints, moments: Ints) -> tuple[Sides, Ints]:
        cents = self._spot(instrument.symbol, day, seconds, moments) * 100
        last = _whole(cents)
        if instrument.sec_type == "IND":
            none = np.zeros_like(last)
            return Sides(none, none, none, none), last
        spread = UNDERLYINGS[instrument.symbol].spread
        bid = np.floor(np.round(cents - (spread - 1) / 2, 4)).astype(np.int64)
        bid = np.minimum(bid, last)
        ask = np.maximum(bid + spread, last)
        sizes = chance(key_of(self._seed, instrument.conid, day, "sizes"), seconds)
        return Sides(bid, ask, 100 * (1 + _whole(8 * sizes)), 100 * (1 + _whole(8 * (1 - sizes)))), last

    def _option_sides(self, option: Instrument, day: date, seconds: Ints, moments: Ints) -> Sides:
        worth, _ = self._worth(option, day, seconds, self._spot(option.symbol, day, seconds, moments))
        # Rounded first, so that the last bits of a logarithm never decide on a tick.
        cents = np.round(worth.price * 100, 4)
        tick = _tick_cents(option, cents)
        half = np.maximum(tick / 2, cents * UNDERLYINGS[option.symbol].option_spread / 2)
        low, high = np.maximum(cents - half, 0), cents + half
        low_tick, high_tick = _tick_cents(option, low), _tick_cents(option, high)
        bid = (np.floor(low / low_tick + 1e-6) * low_tick).astype(np.int64)
        ask = (np.ceil(high / high_tick - 1e-6) * high_tick).astype(np.int64)
        ask = np.maximum(ask, bid + _tick_cents(option, bid.astype(np.float64)).astype(np.int64))
        sizes = chance(key_of(self._seed, option.conid, day, "sizes"), seconds)
        return Sides(bid, ask, BID_SIZE - 10 + _whole(20 * sizes), ASK_SIZE - 10 + _whole(20 * (1 - sizes)))

    def _option_last(self, option: Instrument, day: date, seconds: Ints, moments: Ints) -> Ints:
        """A trade every few seconds, at the bid or at the ask of that second; before the first, the prior close."""
        pace = self._pace(option)
        trades, where, looked_at = seconds - seconds % pace, np.arange(len(seconds)), moments
        if not self._by_hand.has_shifts(option.symbol):
            # Few trades stand for many seconds; with shifts each second's own one counts, lest old trades stand
            # outside the new quote.
            trades, where = np.unique(trades, return_inverse=True)
            looked_at = trades
        sides = self._option_sides(option, day, trades, looked_at)
        lifted = (chance(key_of(self._seed, option.conid, day, "trades"), trades) < 0.5) | (sides.bid <= 0)
        traded = np.where(lifted, sides.ask, sides.bid)[where]
        return np.where(seconds < pace, _cents(self._prior_close(option.conid, day)), traded)

    def _worth(self, option: Instrument, day: date, seconds: Ints, spot: Floats) -> tuple[Valuation, Floats]:
        row = UNDERLYINGS[option.symbol]
        strike, call = float(option.strike or 0), option.right == "C"
        years = self._years(option, day, seconds)
        forward = spot * np.exp((RATE - row.dividend) * years)
        volatility = implied_volatility(forward, strike, years, row.volatility)
        worth = black_scholes(spot, strike, years, volatility, call=call, dividend=row.dividend)
        if option.trading_class in ("SPX", "SPXW"):
            return worth, volatility
        # American options are never below what exercise brings at once.
        intrinsic = np.maximum((spot - strike) if call else (strike - spot), 0.0)
        price = np.maximum(worth.price, intrinsic)
        return Valuation(price, worth.delta, worth.gamma, worth.theta, worth.vega), volatility

    def _years(self, option: Instrument, day: date, seconds: Ints) -> Floats:
        """Trading years until the end: the rest of today's session, whole sessions after it, and the night before an
        AM settlement."""
        assert option.expiry is not None, option
        length = self._paths.second(day, self._hours(day)[1])
        today = (1.0 - OVERNIGHT) * (length - seconds) / length
        sessions = self._calendar.index(option.expiry) - self._calendar.index(day)
        night = OVERNIGHT if option.am_settled else 0.0
        return np.asarray((today + sessions + night) / SESSIONS_PER_YEAR)

    def _spot(self, symbol: str, day: date, seconds: Ints, moments: Ints) -> Floats:
        level = self._bases[symbol] * np.exp(self._paths.day(symbol, day)[seconds])
        return np.asarray(level * self._by_hand.factors(symbol, moments))

    def _spot_cents(self, symbol: str, day: date, seconds: Ints, moments: Ints) -> Ints:
        return _whole(self._spot(symbol, day, seconds, moments) * 100)

    # --- small things ----------------------------------------------------------------------------------------------

    def _instrument(self, conid: int) -> Instrument:
        found = self._instruments.get(conid)
        if found is None:
            raise KeyError(conid)
        return found

    def _day_of(self, instrument: Instrument, at: datetime) -> date:
        """The session whose prices hold; an option's last one stays its last."""
        day = self._calendar.current_day(at)
        return day if instrument.expiry is None else min(day, instrument.expiry)

    def _hours(self, day: date) -> tuple[datetime, datetime]:
        session = self._calendar.session(day)
        assert session is not None, day
        return session

    def _opening(self, day: date) -> datetime:
        return self._hours(day)[0]

    def _settles_at(self, option: Instrument) -> datetime:
        assert option.settles_on is not None, option
        opening, close = self._hours(option.settles_on)
        return opening if option.am_settled else close

    def _share(self, *parts: object) -> float:
        """A constant between 0 and 1 that belongs to these names."""
        return key_of(self._seed, *parts) / 2.0**64

    def _pace(self, option: Instrument) -> int:
        """Seconds between two trades of an option."""
        return 5 + int(25 * self._share("pace", option.conid))

    def _interest(self, option: Instrument) -> float:
        """How much an option is traded, 0 to 1: most near the base price."""
        distance = float(option.strike or 0) / self._bases[option.symbol] - 1
        return float(np.exp(-0.5 * (distance / 0.06) ** 2)) * (0.4 + 0.6 * self._share("interest", option.conid))

    def _volume(self, instrument: Instrument, day: date, second: int) -> int:
        share = second / self._paths.second(day, self._hours(day)[1])
        done = share + 0.3 * float(np.sin(2 * np.pi * share)) / (2 * np.pi)
        daily = 0.8 + 0.4 * self._share("volume", instrument.conid, day)
        if instrument.is_option:
            return int(20_000 * self._interest(instrument) * daily * done) + 1
        return int(UNDERLYINGS[instrument.symbol].volume * daily * done / 100) * 100


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)


def _epochs(at: datetime) -> Ints:
    return np.array([int(at.timestamp())])


def _cents(price: Decimal | None) -> int:
    return 0 if price is None else int(price * 100)


def _whole(values: Floats) -> Ints:
    return np.asarray(np.rint(np.round(values, 4))).astype(np.int64)


def _tick_cents(instrument: Instrument, cents: Floats) -> Floats:
    """The increment at each price, in cents."""
    steps = instrument.increments.steps
    edges = [float(edge * 100) for edge, _ in steps]
    if len(steps) == 1:
        return np.full(np.shape(cents), float(steps[0][1] * 100))
    sizes = np.array([float(size * 100) for _, size in steps])
    return np.asarray(sizes[np.searchsorted(edges, cents, side="right") - 1])


def _mark(bid: Decimal | None, ask: Decimal | None, last: Decimal) -> Decimal:
    """Source: docs/facts/contracts-and-market-data.md §2.4 (7635)."""
    if ask is not None and ask < last:
        return ask
    if bid is not None and bid > last:
        return bid
    return last
