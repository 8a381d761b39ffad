"""One quote as snapshot fields: which id means what, in which clothes, and how soon after a subscription it comes.

Source: docs/facts/contracts-and-market-data.md §2.1-2.4. Fields that the simulated world cannot know (ratings, events,
ratios) never come, as for a contract without them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.sim.market.calendar import new_york_date
from ibkit.sim.market.instruments import Instrument
from ibkit.sim.market.universe import UNDERLYINGS
from ibkit.sim.quirks import Quirks

if TYPE_CHECKING:
    from ibkit.sim.market.market import Market, MarketQuote

__all__ = ["COMBO_FIELDS", "FIELDS", "Field", "Look", "Stage"]


class Stage(enum.Enum):
    """When a field arrives: first prices, then the rest, then what must be computed. §2.1, §9.2."""

    FIRST = 0
    FULL = 1
    COMPUTED = 2


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one contract, at the world's time `at`."""

    instrument: Instrument
    quote: MarketQuote
    market: Market
    quirks: Quirks
    months: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Field:
    """value: None where there is none; then the field is absent, never null."""

    stage: Stage
    value: Callable[[Look], Any]


def _price(price: Decimal | None) -> str | None:
    return None if price is None else f"{price:.2f}"


def _last(look: Look) -> str | None:
    """Prefix C: the prior close, because nothing was traded today. §2.2."""
    quote = look.quote
    if quote.last is None:
        return None
    if quote.halted:
        return f"H{quote.last:.2f}"
    prefix = "" if quote.traded_today or not look.quirks.close_prefix else "C"
    return f"{prefix}{quote.last:.2f}"


def _size(look: Look, size: int, price: Decimal | None) -> str | None:
    if price is None:
        return None
    if look.quirks.stock_size_lots and not look.instrument.is_option:
        size //= 100
    return f"{size:,}"


def _abbreviated(number: int) -> str:
    """`52.1M`, `123K`, `987`: two or three significant digits."""
    for unit, letter in ((1_000_000, "M"), (1_000, "K")):
        if number >= unit:
            share = number / unit
            return f"{share:.0f}{letter}" if share >= 100 else f"{share:.1f}{letter}"
    return str(number)


def _volume(look: Look) -> str | None:
    return _abbreviated(look.quote.volume) if look.quote.volume else None


def _change(look: Look) -> Decimal | None:
    quote = look.quote
    return None if quote.last is None or quote.prior_close is None else quote.last - quote.prior_close


def _change_text(look: Look) -> str | None:
    change = _change(look)
    return None if change is None else f"{change:+.2f}"


def _change_percent(look: Look) -> float | str | None:
    change, prior = _change(look), look.quote.prior_close
    if change is None or not prior:
        return None
    share = round(float(change / prior * 100), 2)
    return share if look.quirks.change_percent_number else f"{share}%"


def _percent(look: Look, share: float | None) -> str | None:
    if share is None:
        return None
    return f"{share * 100:.1f}{'%' if look.quirks.iv_percent_sign else ''}"


def _greek(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _of_day(index: int) -> Callable[[Look], str | None]:
    """Open, high or low of the day so far."""

    def value(look: Look) -> str | None:
        found = look.market.day_range(look.instrument.conid, look.at)
        return None if found is None else _price(found[index])

    return value


def _since_open(look: Look) -> str | None:
    found = look.market.day_range(look.instrument.conid, look.at)
    return None if found is None or look.quote.last is None else f"{look.quote.last - found[0]:+.2f}"


def _interest(look: Look) -> str | None:
    if not look.instrument.is_option:
        return None
    number = look.market.open_interest(look.instrument.conid, look.at)
    return _abbreviated(number) if look.quirks.abbreviated_interest else str(number)


def _todays_close(look: Look) -> str | None:
    quote = look.quote
    ended = not quote.open and not quote.halted and new_york_date(quote.at) == new_york_date(look.at)
    return _price(quote.last) if ended else None


def _expiry(look: Look) -> str | None:
    return f"{look.instrument.expiry:%Y%m%d}" if look.instrument.expiry else None


def _underlying_iv(look: Look) -> str | None:
    row = UNDERLYINGS.get(look.instrument.symbol)
    return None if row is None or look.instrument.is_option else _percent(look, row.volatility)


def _field(value: Callable[[Look], Any], stage: Stage = Stage.FULL) -> Field:
    return Field(stage, value)


FIELDS: Mapping[str, Field] = {
    "31": _field(_last, Stage.FIRST),
    "84": _field(lambda look: _price(look.quote.bid), Stage.FIRST),
    "55": _field(lambda look: look.instrument.symbol),
    "58": _field(lambda look: look.instrument.terms or None),
    "70": _field(_of_day(1)),
    "71": _field(_of_day(2)),
    "82": _field(_change_text),
    "83": _field(_change_percent),
    "85": _field(lambda look: _size(look, look.quote.ask_size, look.quote.ask)),
    "86": _field(lambda look: _price(look.quote.ask)),
    "87": _field(_volume),
    "87_raw": _field(lambda look: float(look.quote.volume) if look.quote.volume else None),
    "88": _field(lambda look: _size(look, look.quote.bid_size, look.quote.bid)),
    "201": _field(lambda look: look.instrument.right),
    "6004": _field(lambda look: "SMART" if "SMART" in look.instrument.valid_exchanges else None),
    "6008": _field(lambda look: look.instrument.conid),
    "6070": _field(lambda look: look.instrument.sec_type),
    "6072": _field(lambda look: None if look.instrument.is_option else ";".join(look.months) or None),
    "6073": _field(_expiry),
    "6457": _field(lambda look: look.instrument.underlying_conid),
    "7051": _field(lambda look: look.instrument.name),
    "7059": _field(lambda look: f"{look.quote.last_size:,}" if look.quote.traded_today else None),
    "7094": _field(lambda look: f"{look.instrument.conid}@SMART"),
    "7184": _field(lambda look: "0" if look.instrument.sec_type == "IND" else "1"),
    "7219": _field(lambda look: look.instrument.full_name),
    "7220": _field(lambda look: look.instrument.full_name),
    "7221": _field(lambda look: look.instrument.listing_exchange),
    "7280": _field(lambda look: None if look.instrument.is_option else look.instrument.listing.industry),
    "7281": _field(lambda look: None if look.instrument.is_option else look.instrument.listing.category),
    "7283": _field(_underlying_iv, Stage.COMPUTED),
    "7295": _field(_of_day(0)),
    "7296": _field(_todays_close),
    "7308": _field(lambda look: _greek(look.quote.delta), Stage.COMPUTED),
    "7309": _field(lambda look: _greek(look.quote.gamma), Stage.COMPUTED),
    "7310": _field(lambda look: _greek(look.quote.theta), Stage.COMPUTED),
    "7311": _field(lambda look: _greek(look.quote.vega), Stage.COMPUTED),
    "7633": _field(lambda look: _percent(look, look.quote.iv), Stage.COMPUTED),
    "7635": _field(lambda look: _price(look.quote.mark)),
    "7638": _field(_interest, Stage.COMPUTED),
    "7682": _field(_since_open),
    "7714": _field(_expiry),
    "7741": _field(lambda look: _price(look.quote.prior_close)),
    "7762": _field(lambda look: str(look.quote.volume) if look.quote.volume else None),
    "7768": _field(lambda look: "1"),
}
"""By id. An id that is not here never gets a value."""
COMBO_FIELDS = frozenset({"31", "84", "85", "86", "88", "55", "6070", "7635", "7741"})
"""What a combo has: prices and sizes that its legs' quotes make. That it has no others is assumed."""
