"""All that exists in the simulated world: the listings of `universe.py` and every option on them.

An option's conid is a function of its terms, so it is stable over restarts and read back without a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import Literal

from ibkit.model import Increments
from ibkit.sim.market.calendar import Calendar
from ibkit.sim.market.expiries import CLASSES, Expiry, is_monthly
from ibkit.sim.market.universe import LISTINGS, UNDERLYINGS, Listing
from ibkit.wire.contracts import month_code

__all__ = ["FIRST_OPTION_CONID", "Instrument", "Instruments", "Leg"]

FIRST_OPTION_CONID = 900_000_000
"""Source: docs/facts/contracts-and-market-data.md §9.1 (synthetic conids from here upward)."""
_EPOCH = date(2018, 1, 1)
_ROOTS = tuple(root for roots in CLASSES.values() for root in roots)
_SYMBOL_OF = {root: symbol for symbol, roots in CLASSES.items() for root in roots}
_STRIKE_UNIT = {root: Decimal(5) if _SYMBOL_OF[root] == "SPX" else Decimal("0.5") for root in _ROOTS}
_SLOTS = 13_000
"""Strikes of one root, expiry and right: up to 6,500 (65,000 for the index). Keeps conids inside int32 until 2036."""
_DAILY_REACH = 0.30
"""Expiries other than monthlies list strikes within this share of the price only, their 1-wide ones as all do."""

_CENT, _NICKEL, _DIME, _EDGE = Decimal("0.01"), Decimal("0.05"), Decimal("0.10"), Decimal(3)
_PENNY = Increments(((Decimal(0), _CENT),))
_PENNY_PILOT = Increments(((Decimal(0), _CENT), (_EDGE, _NICKEL)))
_INDEX_OPTION = Increments(((Decimal(0), _NICKEL), (_EDGE, _DIME)))
"""Source: docs/facts/orders.md §1.8 (typical US options), contracts-and-market-data.md §9.2."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a combo. ratio: positive where it is bought when the combo is bought, negative where it is sold."""

    instrument: Instrument
    ratio: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One contract. For options the fields from `underlying_conid` on are set, for a combo (BAG) its legs.

    expiry: last trading day; settles_on: the day after it for an AM-settled index option, else the same.
    listing: the row of `universe.py` that it is, or that it is written on.
    """

    conid: int
    symbol: str
    sec_type: Literal["STK", "IND", "OPT", "BAG"]
    name: str
    listing_exchange: str
    currency: str
    multiplier: Decimal
    increments: Increments
    trading_class: str
    valid_exchanges: tuple[str, ...]
    listing: Listing = field(repr=False)
    underlying_conid: int | None = None
    expiry: date | None = None
    settles_on: date | None = None
    strike: Decimal | None = None
    right: Literal["P", "C"] | None = None
    legs: tuple[Leg, ...] = ()

    @property
    def conidex(self) -> str:
        """`265598`; of a combo `28812380;;;756733/1,320227571/-1`."""
        if not self.legs:
            return str(self.conid)
        return f"{self.conid};;;" + ",".join(f"{leg.instrument.conid}/{leg.ratio}" for leg in self.legs)

    @property
    def key(self) -> int | str:
        """What tells it from every other contract: all combos share one conid."""
        return self.conidex if self.legs else self.conid

    @property
    def last_day(self) -> date | None:
        """Its last trading day, a combo's being that of the leg that ends first; None for what does not end."""
        days = [leg.instrument.expiry for leg in self.legs if leg.instrument.expiry is not None]
        return min(days, default=None) if self.legs else self.expiry

    @property
    def is_option(self) -> bool:
        return self.sec_type == "OPT"

    @property
    def quoted(self) -> bool:
        """Whether the simulated market has prices for it: foreign twins are only names."""
        return self.listing.is_us

    @property
    def am_settled(self) -> bool:
        return self.settles_on != self.expiry

    @property
    def strike_text(self) -> str:
        """`690`, `187.5`; `0` for what has none."""
        return f"{(self.strike or Decimal(0)).normalize():f}"

    @property
    def terms(self) -> str:
        """`NOV 20 '26 690 Call`, with ` (AM)` where it settles so. Source: §1.3, §1.4 (`desc2`); "" for no option."""
        if self.expiry is None:
            return ""
        word = "Call" if self.right == "C" else "Put"
        month = month_code(self.expiry)[:3]
        day = f"{month} {self.expiry:%d} '{self.expiry:%y}"
        return f"{day} {self.strike_text} {word}{' (AM)' if self.am_settled else ''}"

    @property
    def full_name(self) -> str:
        """`SPY Nov20'26 690 Call`. Source: §1.5; the symbol alone for no option."""
        if self.expiry is None:
            return self.symbol
        word = "Call" if self.right == "C" else "Put"
        return f"{self.symbol} {self.expiry:%b%d'%y} {self.strike_text} {word}"

    @property
    def local_symbol(self) -> str:
        """OCC form `SPY   261120C00690000`. Source: §1.4; the symbol alone for no option."""
        if self.expiry is None or self.strike is None:
            return self.symbol
        return f"{self.trading_class:<6}{self.expiry:%y%m%d}{self.right}{int(self.strike * 1000):08d}"


class Instruments:
    """Look-ups by conid, symbol and chain. `recentre` is the only thing that changes them."""

    def __init__(self, calendar: Calendar, *, seed: int = 7) -> None:
        self._calendar = calendar
        self._seed = seed
        self._listed = {row.conid: _listed(row) for row in LISTINGS}
        self._underlyings = {i.symbol: i for i in self._listed.values() if i.listing.is_us and i.symbol in UNDERLYINGS}
        self._centres: dict[str, tuple[Decimal, ...]] = {s: (row.base,) for s, row in UNDERLYINGS.items()}
        self._option = lru_cache(maxsize=8192)(self._option_uncached)
        self._combo = lru_cache(maxsize=1024)(self._combo_uncached)

    # --- single contracts ------------------------------------------------------------------------------------------

    def get(self, conid: int) -> Instrument | None:
        """The contract of a conid, None where there is none. Expired options stay known."""
        if conid < FIRST_OPTION_CONID:
            return self._listed.get(conid)
        return self._option(conid)

    def combo(self, conidex: str) -> Instrument | None:
        """The combo that a conidex names, None where it is none that is simulated."""
        return self._combo(conidex)

    def _combo_uncached(self, conidex: str) -> Instrument | None:
        from ibkit.sim.market.combos import combo_of  # combos are made of instruments

        return combo_of(conidex, self.get)

    def by_symbol(self, symbol: str) -> Instrument | None:
        """The American stock, ETF or index of that name."""
        return self._underlyings.get(symbol.upper())

    @property
    def underlyings(self) -> tuple[Instrument, ...]:
        """The quoted ones, as `universe.py` lists them."""
        return tuple(self._underlyings.values())

    @property
    def listings(self) -> tuple[Instrument, ...]:
        """Everything that is no option, foreign twins included."""
        return tuple(self._listed.values())

    def option(
        self, symbol: str, expiry: date, strike: Decimal, right: str, trading_class: str | None = None
    ) -> Instrument | None:
        """One option by its terms, None where it is not listed. Class: the symbol's PM-settled one by default."""
        root = trading_class or CLASSES.get(symbol, ("",))[-1]
        if root not in CLASSES.get(symbol, ()):
            return None
        conid = _conid_of(root, expiry, strike, right)
        return None if conid is None else self._option(conid)

    # --- chains ----------------------------------------------------------------------------------------------------

    def expiries(self, symbol: str, today: date, month: str | None = None) -> list[Expiry]:
        """Those listed on `today`, nearest first; only those of a month (`NOV26`) if given."""
        found = self._calendar.expiries(symbol, today)
        return found if month is None else [expiry for expiry in found if month_code(expiry.day) == month]

    def months(self, symbol: str, today: date) -> list[str]:
        """`["NOV26", "DEC26", ...]`, nearest first."""
        return list(dict.fromkeys(month_code(expiry.day) for expiry in self._calendar.expiries(symbol, today)))

    def strikes(self, symbol: str, day: date) -> list[Decimal]:
        """Ascending strikes of one expiry; they do not follow the price, so that a chain stays as it was."""
        return list(self._strikes(symbol, is_monthly(self._calendar, day)))

    def chain(self, symbol: str, today: date, month: str | None = None) -> Iterator[Instrument]:
        """Every listed option, by expiry, class, strike, call before put."""
        for expiry in self.expiries(symbol, today, month):
            for strike in self.strikes(symbol, expiry.day):
                for right in "CP":
                    found = self.option(symbol, expiry.day, strike, right, expiry.trading_class)
                    assert found is not None, (expiry, strike, right)
                    yield found

    def at_strike(
        self, symbol: str, today: date, month: str, strike: Decimal, right: str | None = None
    ) -> list[Instrument]:
        """One row for each expiry, class and right of a month at one strike."""
        found = (
            self.option(symbol, expiry.day, strike, side, expiry.trading_class)
            for expiry in self.expiries(symbol, today, month)
            for side in ("C", "P")
            if right in (None, side)
        )
        return [option for option in found if option is not None]

    def recentre(self, symbol: str, price: Decimal) -> None:
        """List strikes around `price` as well, as an exchange does after a large move. Those there were stay."""
        if all(abs(price / centre - 1) > Decimal("0.10") for centre in self._centres[symbol]):
            self._centres[symbol] = (*self._centres[symbol], price)
            self._option.cache_clear()
            self._combo.cache_clear()

    def _strikes(self, symbol: str, monthly: bool) -> tuple[Decimal, ...]:
        return _strikes(symbol, self._centres[symbol], monthly)

    def _option_uncached(self, conid: int) -> Instrument | None:
        terms = _terms_of(conid)
        if terms is None:
            return None
        root, day, strike, right = terms
        underlying = self._underlyings[_SYMBOL_OF[root]]
        if not self._calendar.is_expiry(root, day) or strike not in self._strike_set(underlying.symbol, day):
            return None
        index = underlying.sec_type == "IND"
        penny = UNDERLYINGS[underlying.symbol].penny_class
        return Instrument(
            conid=conid,
            symbol=underlying.symbol,
            sec_type="OPT",
            name=underlying.name,
            listing_exchange="CBOE",
            currency="USD",
            multiplier=Decimal(100),
            increments=_INDEX_OPTION if index else _PENNY if penny else _PENNY_PILOT,
            trading_class=root,
            valid_exchanges=underlying.listing.option_exchanges,
            listing=underlying.listing,
            underlying_conid=underlying.conid,
            expiry=day,
            settles_on=self._calendar.next_day(day) if root == "SPX" else day,
            strike=strike,
            right=right,
        )

    def _strike_set(self, symbol: str, day: date) -> frozenset[Decimal]:
        return frozenset(self._strikes(symbol, is_monthly(self._calendar, day)))


def _listed(row: Listing) -> Instrument:
    return Instrument(
        conid=row.conid,
        symbol=row.symbol,
        sec_type="IND" if row.sec_type == "IND" else "STK",
        name=row.name,
        listing_exchange=row.exchange,
        currency=row.currency,
        multiplier=Decimal(1),
        increments=_PENNY,
        trading_class=row.trading_class,
        valid_exchanges=row.exchanges,
        listing=row,
    )


@lru_cache(maxsize=256)
def _strikes(symbol: str, centres: tuple[Decimal, ...], monthly: bool) -> tuple[Decimal, ...]:
    found: set[Decimal] = set()
    for centre in centres:
        for step, reach in UNDERLYINGS[symbol].bands:
            share = Decimal(str(reach if monthly else min(reach, _DAILY_REACH)))
            low = max(Decimal(1), (centre * (1 - share) / step).to_integral_value(rounding=ROUND_CEILING))
            high = (centre * (1 + share) / step).to_integral_value(rounding=ROUND_FLOOR)
            found.update(step * n for n in range(int(low), int(high) + 1))
    unit = _STRIKE_UNIT[symbol]
    return tuple(sorted(strike for strike in found if strike / unit < _SLOTS))


def _conid_of(root: str, day: date, strike: Decimal, right: str) -> int | None:
    slot = strike / _STRIKE_UNIT[root]
    days = (day - _EPOCH).days
    if right not in ("C", "P") or slot != int(slot) or not 0 < slot < _SLOTS or days < 0:
        return None
    number = ((days * len(_ROOTS) + _ROOTS.index(root)) * 2 + (right == "P")) * _SLOTS + int(slot)
    return FIRST_OPTION_CONID + number


def _terms_of(conid: int) -> tuple[str, date, Decimal, Literal["P", "C"]] | None:
    if not FIRST_OPTION_CONID <= conid < 2**31:
        return None
    number, slot = divmod(conid - FIRST_OPTION_CONID, _SLOTS)
    number, put = divmod(number, 2)
    days, root = divmod(number, len(_ROOTS))
    strike = _STRIKE_UNIT[_ROOTS[root]] * slot
    return _ROOTS[root], _EPOCH + timedelta(days=days), strike, "P" if put else "C"
