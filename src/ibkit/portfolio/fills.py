"""A live execution as a transaction, until a statement tells the same by its execution id."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from ibkit.model import Fill, Side
from ibkit.portfolio.days import NEW_YORK
from ibkit.portfolio.kinds import IN_PERCENT, PAIRS, SETTLED_DAILY
from ibkit.portfolio.picture import Execution
from ibkit.portfolio.transactions import Listed, Origin, RowSource, Traded

__all__ = ["EXECUTIONS", "LiveTrades", "execution_ids", "execution_key", "trade_of_fill", "trades_of"]

EXECUTIONS = "executions"
"""Section of a source that is an answer of IBKR's list of trades."""
_CORRECTED = re.compile(r"(.+\.)(\d{2})")
_ZERO = Decimal(0)


def execution_key(execution_id: str) -> str:
    """Statements spell it the same. Source: docs/facts/accounts-and-portfolio.md §6.4, last line."""
    return f"exec:{execution_id}"


def execution_ids(execution_id: str) -> tuple[str, ...]:
    """Of one that was corrected: its own, and those that it takes the place of.

    IBKR counts the last part up. Source: docs/facts/orders.md §11 (TWS convention).

    >>> execution_ids("0000e0d5.6a4b1c2d.01.02")
    ('exec:0000e0d5.6a4b1c2d.01.02', 'exec:0000e0d5.6a4b1c2d.01.01')
    """
    found = _CORRECTED.fullmatch(execution_id)
    if found is None:
        return (execution_key(execution_id),)
    head, number = found[1], int(found[2])
    earlier = (execution_key(f"{head}{each:02}") for each in range(number - 1, 0, -1))
    return execution_key(execution_id), *earlier


def trade_of_fill(fill: Fill, listed: Listed, *, day: date, source: RowSource | None = None) -> Traded:
    """day: the trading day of it at its exchange."""
    signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
    return Traded(
        account_id=str(fill.account_id),
        ids=execution_ids(fill.execution_id),
        at=fill.at,
        day=day,
        booked_on=day,
        origin=Origin.LIVE,
        source=source or RowSource(digest="", section=EXECUTIONS),
        listed=listed,
        quantity=signed,
        price=fill.price,
        proceeds=_ZERO - signed * fill.price * listed.multiplier,
        commission=None if fill.fee is None else -fill.fee,
        commission_currency=listed.currency,
        order_ref=str(fill.ref or ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTrades:
    """unbooked: of what else was executed, one line for each listing: how often, and why no ledger has it yet."""

    trades: tuple[Traded, ...] = ()
    unbooked: tuple[str, ...] = ()


def trades_of(executions: Sequence[Execution], listings: Mapping[int, Listed], *, digest: str) -> LiveTrades:
    """As transactions, and in words those that cannot be.

    listings: what is known by conid. digest: of the answer. One that a later row corrects is left out.
    """
    replaced = {each for one in executions for each in execution_ids(one.fill.execution_id)[1:]}
    found: list[Traded] = []
    left: dict[tuple[str, str], int] = {}
    for each in executions:
        if execution_key(each.fill.execution_id) in replaced:
            continue
        listed = listings.get(int(each.fill.conid))
        why = _unbookable(each, listed)
        if why or listed is None:
            named = each.symbol or (listed.symbol if listed is not None else "") or f"conid {each.fill.conid}"
            left[named, why] = left.get((named, why), 0) + 1
            continue
        listed = replace(
            listed, symbol=listed.symbol or each.symbol, asset_class=listed.asset_class or each.asset_class
        )
        day = each.fill.at.astimezone(NEW_YORK).date()
        source = RowSource(digest=digest, section=EXECUTIONS, row=each.row)
        found.append(trade_of_fill(each.fill, listed, day=day, source=source))
    lines = (f"{named}: {count} execution{'s' * (count > 1)}, {why}" for (named, why), count in left.items())
    return LiveTrades(trades=tuple(found), unbooked=tuple(lines))


def _unbookable(this: Execution, listed: Listed | None) -> str:
    """Why it is no transaction; "" where it is one."""
    classes = {this.asset_class, listed.asset_class if listed is not None else ""}
    if daily := sorted(classes & SETTLED_DAILY):
        return f"{daily[0]} settle daily, which no ledger keeps yet"
    if PAIRS in classes:
        return "a conversion, which a statement tells"
    if in_percent := sorted(classes & IN_PERCENT):
        return f"{in_percent[0]} are priced in per cent of their face, until a statement tells what was paid"
    if listed is None or not listed.currency:
        return "of a listing that is not known, until a statement tells it"
    if this.multiplier not in (None, listed.multiplier):
        return "of another size than is known of it, until a statement tells it"
    return ""
