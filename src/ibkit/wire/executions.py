"""Executions on the wire: the trades of the last days, and the rows that the stream tells of them.

Source: docs/facts/orders.md §11.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from ibkit.model import AccountId, Conid, Fill, Ref
from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs
from ibkit.wire.numbers import figure, whole
from ibkit.wire.orders import conid_from_wire, order_id_from_wire, side_from_wire

__all__ = ["TRADES", "TradeRow", "fill_from_wire"]

_FACTS = "docs/facts/orders.md"


class TradeRow(msgspec.Struct):
    """One execution. Source: §11."""

    execution_id: str | None = None
    order_id: Any = None
    account: str | None = None
    accountCode: str | None = None
    conid: Any = None
    conidEx: str | None = None
    symbol: str | None = None
    side: str | None = None
    size: Any = None
    price: Any = None
    commission: Any = None
    net_amount: Any = None
    trade_time: str | None = None
    trade_time_r: Any = None
    order_ref: str | None = None
    sec_type: str | None = None
    order_description: str | None = None


TRADES = Endpoint(
    "GET",
    "/iserver/account/trades",
    gives=list[TradeRow],
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    limit=Limit(1, 5.0),
    source=f"{_FACTS} §11",
)


def fill_from_wire(row: TradeRow, account_id: AccountId) -> Fill:
    """One execution. Raises ValueError where it lacks its id, contract, size, price or time."""
    conid = conid_from_wire(row.conid, row.conidEx)
    size, price = figure(row.size), figure(row.price)
    if not row.execution_id or conid is None or size is None or price is None:
        raise ValueError("an execution without id, contract, size or price")
    fee = figure(row.commission)
    return Fill(
        execution_id=row.execution_id,
        order_id=order_id_from_wire(row.order_id),
        account_id=AccountId(row.account or row.accountCode or account_id),
        conid=Conid(conid),
        side=side_from_wire(row.side),
        quantity=abs(size),
        price=price,
        fee=None if fee is None else abs(fee),
        at=_trade_time(row),
        ref=Ref(row.order_ref) if row.order_ref else None,
    )


def _trade_time(row: TradeRow) -> datetime:
    """UTC: milliseconds where given, else `20260706-13:36:02`. Source: §11."""
    milliseconds = whole(row.trade_time_r)
    if milliseconds is not None:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    if row.trade_time:
        return datetime.strptime(row.trade_time, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    raise ValueError("an execution without time")
