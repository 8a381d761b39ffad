"""Combos: several contracts bought and sold as one, at one net price.

    conidex = {spread_conid}[@EXCHANGE];;;{leg_conid}/{ratio}[,{leg_conid}/{ratio}...]

A leg with a positive ratio is bought when the combo is bought, one with a negative ratio sold. The net price is the sum
of leg price x ratio and may be negative. Source: docs/facts/orders.md §1.6.

The simulated exchanges have no market of their own for combos: a combo's bid and ask are what its legs' quotes come to.
Where nobody bids for a leg that would be sold, it goes for nothing; a leg that nobody offers cannot be bought. [sim]
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from ibkit.model import Increments
from ibkit.sim.market.instruments import Instrument, Leg
from ibkit.sim.market.quotes import NOBODY, MarketQuote, Ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibkit.sim.market.market import Market

    Ints = NDArray[np.int64]

__all__ = ["DATA_CONID", "SPREAD_CONID", "combo_of", "combo_quote", "combo_ticks", "leg_prices"]

SPREAD_CONID = 28812380
"""Of combos in dollars; combos in other currencies are not simulated. Source: docs/facts/orders.md §1.6."""
DATA_CONID = 0
"""Stands in its place where market data is asked for. Source: docs/facts/contracts-and-market-data.md §1."""
_MOST_LEGS = 8
_MOST_RATIO = 10_000
"""Bounds of the simulator's own; IBKR's are not published."""
_FORM = re.compile(r"(\d{1,10})(?:@[A-Z]+)?;;;(.+)", re.ASCII)
_LEG = re.compile(r"(\d{1,10})/([+-]?\d{1,5})", re.ASCII)
_INDEX_COMBO = Increments(((Decimal(0), Decimal("0.05")),))
"""SPX combos. Source: docs/facts/orders.md §1.8."""
_ZERO = Decimal(0)


def combo_of(conidex: str, known: Callable[[int], Instrument | None]) -> Instrument | None:
    """The combo that a conidex names, None where it is none that can be traded here.

    known: the contract of a conid. Legs must be tradable, different, and share multiplier and currency: a net price per
    unit means nothing else.
    """
    found = _FORM.fullmatch(conidex.replace(" ", ""))
    parts = [_LEG.fullmatch(part) for part in found[2].split(",")] if found else []
    if found is None or int(found[1]) not in (SPREAD_CONID, DATA_CONID) or not 2 <= len(parts) <= _MOST_LEGS:
        return None
    legs: list[Leg] = []
    for part in parts:
        contract = known(int(part[1])) if part else None
        ratio = int(part[2]) if part else 0
        if contract is None or not contract.quoted or contract.sec_type not in ("STK", "OPT"):
            return None
        if not 0 < abs(ratio) <= _MOST_RATIO:
            return None
        legs.append(Leg(contract, ratio))
    first = legs[0].instrument
    same_terms = {(leg.instrument.multiplier, leg.instrument.currency) for leg in legs}
    if len(same_terms) != 1 or len({leg.instrument.conid for leg in legs}) != len(legs):
        return None
    return dataclasses.replace(
        first,
        conid=SPREAD_CONID,
        sec_type="BAG",
        increments=_increments(legs),
        underlying_conid=first.underlying_conid or first.conid,
        expiry=None,
        settles_on=None,
        strike=None,
        right=None,
        legs=tuple(legs),
    )


def _increments(legs: Sequence[Leg]) -> Increments:
    """SPX combos have their own grid; others that of the leg with the finest."""
    if legs[0].instrument.symbol == "SPX":
        return _INDEX_COMBO
    return min((leg.instrument.increments for leg in legs), key=lambda grid: [size for _, size in grid.steps])


def combo_quote(market: Market, combo: Instrument, at: datetime) -> MarketQuote:
    """The combo's quote; sizes are what the thinnest leg allows. No side at all where a leg is halted or has ended."""
    quotes = [(leg.ratio, market.quote(leg.instrument.conid, at)) for leg in combo.legs]
    is_open = all(quote.open for _, quote in quotes)
    silent = any(quote.bid is None and quote.ask is None for _, quote in quotes)
    bid = None if silent else _net([(r, (q.bid or _ZERO) if r > 0 else q.ask) for r, q in quotes])
    ask = None if silent else _net([(r, q.ask if r > 0 else (q.bid or _ZERO)) for r, q in quotes])
    bid_size, ask_size = _size(quotes, bid=True), _size(quotes, bid=False)
    return MarketQuote(
        conid=combo.conid,
        at=max(quote.at for _, quote in quotes),
        open=is_open,
        bid=bid,
        ask=ask,
        last=_net([(r, q.last) for r, q in quotes]),
        mark=_net([(r, q.mark) for r, q in quotes]),
        prior_close=_net([(r, q.prior_close) for r, q in quotes]),
        bid_size=bid_size if bid is not None else 0,
        ask_size=ask_size if ask is not None else 0,
        traded_today=all(quote.traded_today for _, quote in quotes),
        halted=any(quote.halted for _, quote in quotes),
    )


def _net(rows: Sequence[tuple[int, Decimal | None]]) -> Decimal | None:
    total = _ZERO
    for ratio, price in rows:
        if price is None:
            return None
        total += ratio * price
    return total


def _size(quotes: Sequence[tuple[int, MarketQuote]], *, bid: bool) -> int:
    """How many combos the thinnest leg has on a side; one that goes for nothing sets no bound."""
    sides = [(r, q.bid, q.bid_size) if (r > 0) == bid else (r, q.ask, q.ask_size) for r, q in quotes]
    return min((size // abs(ratio) for ratio, price, size in sides if price is not None), default=0)


def combo_ticks(market: Market, combo: Instrument, start: datetime, end: datetime) -> Ticks:
    """Its ticks in (start, end]: the seconds at which every leg has one."""
    runs = [(leg.ratio, market.ticks(leg.instrument.conid, start, end)) for leg in combo.legs]
    seconds = reduce(np.intersect1d, [run.seconds for _, run in runs])
    # Legs of one underlying tick alike, so nothing is cut as a rule.
    runs = [
        (ratio, run if len(run) == len(seconds) else run.where(np.isin(run.seconds, seconds))) for ratio, run in runs
    ]
    bid, ask, last = (np.zeros(len(seconds), dtype=np.int64) for _ in range(3))
    no_bid, no_ask = (np.zeros(len(seconds), dtype=bool) for _ in range(2))
    for ratio, run in runs:
        bid += ratio * (run.bid_cents if ratio > 0 else run.ask_cents)
        ask += ratio * (run.ask_cents if ratio > 0 else run.bid_cents)
        last += ratio * run.last_cents
        nobody = ~run.has_ask
        silent = nobody & ~run.has_bid
        no_bid |= silent | (nobody if ratio < 0 else silent)
        no_ask |= silent | (nobody if ratio > 0 else silent)
    return Ticks(
        seconds,
        np.where(no_bid, -NOBODY, bid),
        np.where(no_ask, NOBODY, ask),
        last,
        np.where(no_bid, 0, _sizes(runs, bid=True)),
        np.where(no_ask, 0, _sizes(runs, bid=False)),
        signed=True,
    )


def _sizes(runs: Sequence[tuple[int, Ticks]], *, bid: bool) -> Ints:
    """As `_size`, at each tick."""
    columns: list[Ints] = []
    for ratio, run in runs:
        there, size = (run.has_bid, run.bid_size) if (ratio > 0) == bid else (run.has_ask, run.ask_size)
        columns.append(np.where(there, size // abs(ratio), NOBODY))
    thinnest = reduce(np.minimum, columns)
    return np.where(thinnest == NOBODY, 0, thinnest)


def leg_prices(ratios: Sequence[int], touches: Sequence[Decimal], net: Decimal) -> list[Decimal]:
    """A price for each leg, so that together they come to `net`: their touches, moved where these come to another sum.

    The move goes to the leg of the smallest ratio whose price rises by it, since that is never a price below zero;
    where all would fall, to one after the other, down to zero. Raises ValueError where no prices make up `net`.
    """
    prices = list(touches)
    left = net - sum((ratio * price for ratio, price in zip(ratios, prices, strict=True)), _ZERO)
    by_size = sorted(range(len(ratios)), key=lambda index: (abs(ratios[index]), index))
    for index in by_size:
        if left != 0 and ratios[index] * left > 0:
            prices[index] += left / ratios[index]
            left = _ZERO
    for index in by_size:
        if left == 0:
            break
        wanted = -left / ratios[index]
        lower = min(prices[index], wanted)
        prices[index] -= lower
        # A third has no end in decimals: what was wanted is all that was left, whatever its product says.
        left = _ZERO if lower == wanted else left + ratios[index] * lower
    if left != 0:
        raise ValueError(f"no prices of the legs come to {net}")
    return [price.quantize(_EIGHTH) if price != price.quantize(_EIGHTH) else price for price in prices]


_EIGHTH = Decimal("0.00000001")
"""A leg price is exact to this; a net price that no leg prices of eight digits make up is off by as much."""
