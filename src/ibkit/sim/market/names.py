"""Contracts, prices and amounts in the spellings of IBKR's order, trade and position rows.

Source: docs/facts/orders.md §9-11, docs/facts/accounts-and-portfolio.md §3.1.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.world import World

__all__ = ["contract_line", "long_contract", "name_of", "osi_contract", "plain", "price_text", "short_contract"]


def plain(number: Decimal) -> str:
    """Without an exponent or needless zeros: `3`, `0.5`."""
    return f"{number.normalize():f}"


def price_text(price: Decimal | None) -> str:
    """At least two digits after the point: `2.50`, `0.0125`; empty where there is none."""
    if price is None:
        return ""
    text = plain(price)
    digits = len(text.partition(".")[2])
    return text if digits >= 2 else f"{price:.2f}"


def contract_line(instrument: Instrument) -> str:
    """`SPY Aug21'26 540 PUT`; a stock's symbol; of a combo `SPY 1 AUG 21 '26 540 Put -1 AUG ...` (assumed)."""
    if instrument.legs:
        return f"{instrument.symbol} {short_contract(instrument)}"
    return _option(instrument, "%b%d'%y", {"P": "PUT", "C": "CALL"}) or instrument.symbol


def long_contract(instrument: Instrument) -> str:
    """`SPY Aug21'26 540 Put`."""
    return _option(instrument, "%b%d'%y", {"P": "Put", "C": "Call"}) or instrument.symbol


def short_contract(instrument: Instrument) -> str:
    """`AUG 21 '26 540 Put`: without the symbol; of a combo its legs, each with its ratio (assumed)."""
    if instrument.legs:
        return " ".join(
            f"{leg.ratio} {short_contract(leg.instrument) or leg.instrument.symbol}" for leg in instrument.legs
        )
    if instrument.expiry is None or instrument.strike is None:
        return ""
    right = "Put" if instrument.right == "P" else "Call"
    day = instrument.expiry.strftime("%b %d '%y").upper()
    return f"{day} {plain(instrument.strike)} {right}"


def osi_contract(instrument: Instrument) -> str:
    """`SPY    AUG2026 540 P [SPY   260821P00540000 100]`; a stock's symbol."""
    if instrument.expiry is None or instrument.strike is None:
        return instrument.symbol
    root = instrument.trading_class or instrument.symbol
    thousandths = int(instrument.strike * 1000)
    code = f"{root:<6}{instrument.expiry:%y%m%d}{instrument.right}{thousandths:08d} {plain(instrument.multiplier)}"
    month = instrument.expiry.strftime("%b%Y").upper()
    return f"{instrument.symbol:<6} {month} {plain(instrument.strike)} {instrument.right} [{code}]"


def name_of(world: World, instrument: Instrument) -> str:
    """The company's name; an option shows its underlying's."""
    if instrument.underlying_conid is not None:
        underlying = world.instruments.get(instrument.underlying_conid)
        if underlying is not None:
            return underlying.name
    return instrument.name


def _option(instrument: Instrument, form: str, rights: dict[str, str]) -> str | None:
    if instrument.expiry is None or instrument.strike is None or instrument.right is None:
        return None
    return (
        f"{instrument.symbol} {instrument.expiry.strftime(form)} {plain(instrument.strike)} {rights[instrument.right]}"
    )
