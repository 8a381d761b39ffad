"""Verbs of contract look-up: symbol → underlying → months → strikes → the one option.

Source: docs/facts/contracts-and-market-data.md §0.1, §1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import anyio

from ibkit.errors import Effect, IbkitError, InvalidRequest, NotFound, Refused, UnexpectedAnswer
from ibkit.model import Conid, Contract, Increments, Right, Side
from ibkit.wire.contracts import (
    CONTRACT_INFO,
    CONTRACT_RULES,
    SECDEF_INFO,
    SECDEF_SEARCH,
    SECDEF_STRIKES,
    TRADING_SCHEDULE,
    US_VENUES,
    ContractInfo,
    ContractRules,
    RulesRequest,
    SearchRow,
    SecdefInfoRow,
    TradingSchedule,
    increments_from_wire,
    month_code,
    option_from_wire,
    underlying_from_wire,
)

if TYPE_CHECKING:
    from ibkit.client.core import Core

NEW_YORK: Final = ZoneInfo("America/New_York")
INFO_AT_ONCE: Final = 8
"""Look-ups side by side that the service bears. Source: §0.3."""
_SUGGESTED: Final = 3


async def search(ib: Core, symbol: str) -> tuple[SearchRow, ...]:
    """IBKR's rows for a symbol, fuzzy as they are. Kept for a day, but asked once in each brokerage session."""
    now, key = ib.clock.monotonic(), symbol.upper()
    known = ib.caches.searches.get(key, now)
    if known is not None and key in ib.caches.searched and ib.keeper.level >= 2:
        return known
    try:
        rows: list[SearchRow] = await ib.request(SECDEF_SEARCH, query={"symbol": key})
    except Refused as error:
        if error.details.get("status") != 200:
            raise
        raise NotFound(f"Contract not found: {symbol} ({error.details.get('reason')})") from error
    ib.caches.searched.add(key)
    return ib.caches.searches.put(key, tuple(rows), now)


async def underlying(ib: Core, symbol: str, *, exchange: str | None = None) -> Contract:
    """The stock, ETF or index of that symbol on its American listing, or on `exchange`.

    NotFound E-CONTRACT where there is none, or several: their exchanges are named.
    """
    row = await _underlying_row(ib, symbol, exchange)
    return ib.caches.learn(underlying_from_wire(row))


async def strikes(ib: Core, symbol: str, *, month: date, right: Right) -> tuple[Decimal, ...]:
    """Strikes of all expiries and classes of a month, ascending: a listed one need not exist on each expiry."""
    row = await _underlying_row(ib, symbol, None)
    return await _strikes(ib, row, month_code(month), right)


async def expiries(ib: Core, symbol: str, *, on_or_after: date, at_least: int = _SUGGESTED) -> tuple[date, ...]:
    """Last trading days of the next options, ascending; at least so many where the months hold them."""
    row = await _underlying_row(ib, symbol, None)
    found: set[date] = set()
    for month in _months_from(row, on_or_after):
        listed = await _strikes(ib, row, month, Right.CALL)
        # Any strike in the middle is listed on nearly all expiries of the month.
        for strike in listed[len(listed) // 2 : len(listed) // 2 + 2]:
            rows = await _info(ib, row, month, strike, Right.CALL)
            found |= {option.expiry for option in rows if option.expiry and option.expiry >= on_or_after}
        if len(found) >= at_least:
            break
    return tuple(sorted(found))


async def option(
    ib: Core, symbol: str, *, expiry: date, strike: Decimal, right: Right, trading_class: str | None = None
) -> Contract:
    """The one listed option. NotFound with E-EXPIRY (next expiries) or E-CONTRACT (nearest strikes)."""
    row = await _underlying_row(ib, symbol, None)
    month = month_code(expiry)
    if expiry < _today(ib) or month not in row.option_months:
        raise await _no_expiry(ib, symbol, expiry)
    listed = await _strikes(ib, row, month, right)
    if strike not in listed:
        raise _no_strike(symbol, expiry, strike, right, listed)
    rows = await _info(ib, row, month, strike, right)
    choice = _choose((found for found in rows if found.expiry == expiry), symbol, trading_class)
    if choice is not None:
        return ib.caches.learn(choice)
    days = await expiries(ib, symbol, on_or_after=_today(ib), at_least=1)
    if expiry in days:
        raise _no_strike(symbol, expiry, strike, right, [other for other in listed if other != strike])
    raise await _no_expiry(ib, symbol, expiry)


async def option_strikes(
    ib: Core,
    symbol: str,
    *,
    expiry: date,
    right: Right,
    near: Decimal | None = None,
    at_most: int | None = None,
) -> tuple[Contract, ...]:
    """The options of that expiry and right, ascending by strike; one look-up a strike.

    near, at_most: only the so many strikes of the month that lie closest to `near`.
    """
    row = await _underlying_row(ib, symbol, None)
    month = month_code(expiry)
    if month not in row.option_months:
        raise await _no_expiry(ib, symbol, expiry)
    listed = list(await _strikes(ib, row, month, right))
    if near is not None and at_most is not None:
        listed = sorted(listed, key=lambda strike: abs(strike - near))[:at_most]
    found: list[Contract] = []
    slots = anyio.CapacityLimiter(INFO_AT_ONCE)

    async def look_up(strike: Decimal) -> None:
        async with slots:
            rows = await _info(ib, row, month, strike, right)
        choice = _choose((option for option in rows if option.expiry == expiry), symbol, None)
        if choice is not None:
            found.append(ib.caches.learn(choice))

    await _side_by_side(look_up, listed)
    if not found:
        raise await _no_expiry(ib, symbol, expiry)
    return tuple(sorted(found, key=lambda option: option.strike or Decimal(0)))


async def contract_info(ib: Core, conid: Conid) -> ContractInfo:
    """IBKR's description of one contract."""
    info: ContractInfo = await ib.request(CONTRACT_INFO, path={"conid": conid})
    return info


async def increments(ib: Core, conid: Conid, *, side: Side) -> Increments:
    """The contract's price grid for orders of that side, kept for an hour."""
    now = ib.clock.monotonic()
    known = ib.caches.increments.get((conid, side), now)
    if known is not None:
        return known
    rules: ContractRules = await ib.request(
        CONTRACT_RULES, body=RulesRequest(conid=conid, exchange="SMART", isBuy=side is Side.BUY)
    )
    try:
        return ib.caches.increments.put((conid, side), increments_from_wire(rules), now)
    except ValueError as error:
        raise InvalidRequest(f"contract rules of {conid}: {error}", code="E-CONTRACT") from error


async def trading_schedule(ib: Core, conid: Conid) -> TradingSchedule:
    """About six trading days from today with their hours, in epoch seconds."""
    schedule: TradingSchedule = await ib.request(TRADING_SCHEDULE, query={"conid": conid})
    return schedule


# How a row is chosen


async def _underlying_row(ib: Core, symbol: str, exchange: str | None) -> SearchRow:
    rows = [row for row in await search(ib, symbol) if (row.symbol or "").upper() == symbol.upper()]
    rows = [row for row in rows if row.section("STK") is not None or row.section("IND") is not None]
    wanted = {exchange.upper()} if exchange else US_VENUES
    fitting = [row for row in rows if (row.description or "").upper() in wanted]
    if len(fitting) == 1:
        return fitting[0]
    if len(rows) == 1 and exchange is None:
        return rows[0]
    if not rows:
        raise NotFound(f"Contract not found: {symbol}")
    listed = ", ".join(sorted({row.description or "?" for row in rows}))
    raise NotFound(
        f"{symbol} is listed more than once: {listed}",
        remedy="Choose one with --exchange, or give its conid.",
        details={"exchanges": listed},
    )


async def _strikes(ib: Core, row: SearchRow, month: str, right: Right) -> tuple[Decimal, ...]:
    now, key = ib.clock.monotonic(), (row.conid, month)
    answer = ib.caches.strikes.get(key, now)
    if answer is None:
        answer = await ib.request(
            SECDEF_STRIKES, query={"conid": row.conid, "sectype": "OPT", "month": month, "exchange": "SMART"}
        )
        if answer.call or answer.put:
            # Empty is also what a session answers that has not searched: never kept.
            ib.caches.strikes.put(key, answer, now)
    return tuple(sorted(answer.put if right is Right.PUT else answer.call))


async def _info(ib: Core, row: SearchRow, month: str, strike: Decimal, right: Right) -> tuple[Contract, ...]:
    """Every option of that month, strike and right: all expiries, all trading classes. Kept for a day."""
    now, key = ib.clock.monotonic(), (row.conid, month, strike, right)
    known = ib.caches.options.get(key, now)
    if known is not None:
        return known
    query = {
        "conid": row.conid,
        "sectype": "OPT",
        "month": month,
        "strike": format(strike.normalize(), "f"),
        "right": right.value,
    }
    try:
        rows: list[SecdefInfoRow] = await ib.request(SECDEF_INFO, query=query)
    except (UnexpectedAnswer, InvalidRequest) as error:
        if "no contracts" not in str(error.details.get("reason", "")).lower():
            raise
        return ()
    under = underlying_from_wire(row)
    try:
        found = tuple(option_from_wire(line, under) for line in rows)
    except ValueError as error:
        raise UnexpectedAnswer(f"an option that cannot be read: {error}", effect=Effect.NONE) from error
    return ib.caches.options.put(key, found, now)


def _choose(options: Iterable[Contract], symbol: str, trading_class: str | None) -> Contract | None:
    """The standard contract of one expiry: multiplier 100, its own class, else the weekly one; others when asked."""
    found = list(options)
    if trading_class is not None:
        return next((option for option in found if option.trading_class == trading_class), None)
    for fits in (
        lambda option: option.trading_class in (symbol.upper(), None),
        lambda option: option.trading_class == f"{symbol.upper()}W",
    ):
        for option in found:
            if option.multiplier == 100 and fits(option):
                return option
    return None


def _months_from(row: SearchRow, day: date) -> tuple[str, ...]:
    """The months of the chain from `day` on: search lists them nearest first."""
    months = row.option_months
    this = month_code(day)
    if this in months:
        return months[months.index(this) :]
    later = [month_code(day.replace(day=1) + timedelta(days=31 * ahead)) for ahead in range(1, 36)]
    return tuple(month for month in months if month in later)


def _today(ib: Core) -> date:
    return ib.clock.now().astimezone(NEW_YORK).date()


async def _no_expiry(ib: Core, symbol: str, expiry: date) -> NotFound:
    after = max(expiry, _today(ib))
    days = await expiries(ib, symbol, on_or_after=after)
    nearest = ", ".join(f"{day:%Y%m%d}" for day in days[:_SUGGESTED])
    return NotFound(
        f"No expiry {expiry:%Y%m%d} for {symbol}",
        code="E-EXPIRY",
        remedy=f"Use --expiry with one of: {nearest or 'none is listed'}.",
        details={"expiries": [f"{day:%Y%m%d}" for day in days[:_SUGGESTED]]},
    )


def _no_strike(symbol: str, expiry: date, strike: Decimal, right: Right, listed: Iterable[Decimal]) -> NotFound:
    nearest = sorted(sorted(listed, key=lambda other: abs(other - strike))[:2])
    shown = [format(other.normalize(), "f") for other in nearest]
    return NotFound(
        f"Contract not found: {symbol} {expiry:%Y%m%d} {strike} {right.value}; "
        f"nearest strikes: {', '.join(shown) or 'none'}",
        details={"strikes": shown},
    )


async def _side_by_side(work: Callable[[Decimal], Awaitable[None]], strikes: Iterable[Decimal]) -> None:
    """Run all; the first error is raised as itself, not in a group."""
    failed: list[IbkitError] = []

    async def guarded(strike: Decimal) -> None:
        try:
            await work(strike)
        except IbkitError as error:
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for strike in strikes:
            group.start_soon(guarded, strike)
    if failed:
        raise failed[0]
