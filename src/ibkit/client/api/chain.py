"""Verbs of looking around: what a text may mean, and the options of one day, strike by strike.

Source: docs/facts/contracts-and-market-data.md §1.1, §1.5, §2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ibkit.client.api.contracts import NEW_YORK, expiries, option_strikes, search, underlying
from ibkit.client.api.marketdata import WARM_UP_S, WARM_UP_STEP_S, quote, snapshot
from ibkit.client.caches import OptionLook
from ibkit.errors import Effect, NotFound, NotPermitted, UnexpectedAnswer
from ibkit.model import Conid, Contract, Greeks, Quote, Right
from ibkit.wire.contracts import TRSRV_SECDEF, SearchRow, TrsrvSecdef
from ibkit.wire.marketdata import OPTION_FIELDS, SnapshotRow, greeks_from_wire, has_both_sides, quote_from_wire
from ibkit.wire.numbers import whole

if TYPE_CHECKING:
    from ibkit.client.core import Core

__all__ = ["ChainRow", "Found", "OptionChain", "OptionSide", "chain", "find", "option_looks"]

EXPIRIES_TOLD: Final = 12
"""At the least, where so many are listed."""
_AGAIN_S: Final = 1.0
"""How long options are waited for that have a stream already: what is missing then does not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a text may mean. kinds: what is traded of it (STK, IND, OPT, …). months: of its options, nearest first.

    currency: None where IBKR does not say.
    """

    conid: Conid
    symbol: str
    name: str
    exchange: str | None
    currency: str | None
    kinds: tuple[str, ...]
    months: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSide:
    contract: Contract
    quote: Quote
    greeks: Greeks


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRow:
    """None where the strike has no such option that day."""

    strike: Decimal
    put: OptionSide | None
    call: OptionSide | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionChain:
    """The strikes around the price, ascending. expiries: the next ones of the symbol, and the one asked for."""

    underlying: Contract
    price: Quote
    expiry: date
    expiries: tuple[date, ...]
    rows: tuple[ChainRow, ...]


async def find(ib: Core, text: str, *, at_most: int) -> tuple[Found, ...]:
    """What IBKR knows by that symbol, in its order. NotFound E-CONTRACT."""
    rows = [row for row in await search(ib, text) if whole(row.conid) is not None][:at_most]
    if not rows:
        raise NotFound(f"Contract not found: {text}")
    terms = await _terms(ib, tuple(_conid(row) for row in rows))
    return tuple(_found(row, terms.get(_conid(row), {})) for row in rows)


async def chain(ib: Core, symbol: str, *, expiry: date | None = None, strikes: int) -> OptionChain:
    """So many strikes around the price, with both options of each. expiry: the next one by default.

    NotFound E-CONTRACT, E-EXPIRY (with the next ones); NotPermitted E-MD-NONE where the underlying has no price.
    What IBKR does not say of an option is None in it.
    """
    under = await underlying(ib, symbol)
    today = ib.clock.now().astimezone(NEW_YORK).date()
    days = await expiries(ib, symbol, on_or_after=today, at_least=EXPIRIES_TOLD)
    if expiry is None and not days:
        raise NotFound(f"{symbol} has no options", code="E-EXPIRY", remedy="Choose another symbol.")
    chosen = expiry or days[0]
    price = await quote(ib, under.conid, kept=True)
    if price.best is None:
        raise NotPermitted(f"No market data available: no price of {symbol}", code="E-MD-NONE")
    puts = await option_strikes(ib, symbol, expiry=chosen, right=Right.PUT, near=price.best, at_most=strikes)
    calls = await option_strikes(ib, symbol, expiry=chosen, right=Right.CALL, near=price.best, at_most=strikes)
    looks = await option_looks(ib, [option.conid for option in (*puts, *calls)])
    sides = {
        (option.strike, option.right): OptionSide(contract=option, quote=look[0], greeks=look[1])
        for option in (*puts, *calls)
        for look in (looks[option.conid],)
    }
    listed = sorted({option.strike for option in (*puts, *calls) if option.strike is not None})
    return OptionChain(
        underlying=under,
        price=price,
        expiry=chosen,
        expiries=tuple(sorted({*days, chosen})),
        rows=tuple(
            ChainRow(strike=strike, put=sides.get((strike, Right.PUT)), call=sides.get((strike, Right.CALL)))
            for strike in listed
        ),
    )


async def option_looks(ib: Core, conids: Sequence[Conid]) -> Mapping[Conid, OptionLook]:
    """Quote and greeks of each, of the last second or new; waited for, but not for ever: greeks come last, or never."""
    shelf, now = ib.caches.option_looks, ib.clock.monotonic()
    known = {conid: held for conid in conids if (held := shelf.get(conid, now)) is not None}
    wanted = [conid for conid in conids if conid not in known]
    if not wanted:
        return known
    turn = shelf.turn
    new = any(conid not in ib.caches.lines for conid in wanted)
    deadline = now + (WARM_UP_S if new else _AGAIN_S)
    while True:
        rows = await snapshot(ib, wanted, fields=OPTION_FIELDS)
        if all(map(_settled, rows)) or ib.clock.monotonic() + WARM_UP_STEP_S > deadline:
            break
        await ib.clock.sleep(WARM_UP_STEP_S)
    try:
        found = {conid: (quote_from_wire(row), greeks_from_wire(row)) for conid, row in zip(wanted, rows, strict=True)}
    except ValueError as error:
        raise UnexpectedAnswer(f"a quote that cannot be read: {error}", effect=Effect.NONE) from error
    for conid, look in found.items():
        shelf.put(conid, look, ib.clock.monotonic(), asked_in=turn)
    return known | found


def _settled(row: SnapshotRow) -> bool:
    # Waiting brings no subscription, and no greeks of what is not in real time. Source: §2.1, §2.3.
    word = str(row.get("6509", ""))[:1]
    return word in ("N", "O") or (has_both_sides(row) and (word != "R" or bool(row.get("7308"))))


async def _terms(ib: Core, conids: tuple[Conid, ...]) -> Mapping[int, Mapping[str, Any]]:
    """What the search does not say of them, by conid; kept for a day."""
    shelf, now = ib.caches.secdefs, ib.clock.monotonic()
    told: TrsrvSecdef | None = shelf.get(conids, now)
    if told is None:
        query = {"conids": ",".join(str(conid) for conid in conids)}
        told = shelf.put(conids, await ib.request(TRSRV_SECDEF, query=query), now)
    return {number: row for row in told.secdef if (number := whole(row.get("conid"))) is not None}


def _conid(row: SearchRow) -> Conid:
    return Conid(whole(row.conid) or 0)


def _found(row: SearchRow, terms: Mapping[str, Any]) -> Found:
    index = row.restricted == "IND"
    kinds = [section.secType for section in row.sections if section.secType]
    if not kinds and index:
        kinds = ["IND"]
    currency = terms.get("currency")
    return Found(
        conid=_conid(row),
        symbol=row.symbol or "",
        name=row.companyName or row.companyHeader or "",
        exchange=row.description or None,
        currency=currency if isinstance(currency, str) and currency else None,
        kinds=tuple(dict.fromkeys(kinds)),
        months=row.option_months,
    )
