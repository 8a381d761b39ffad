"""What an order would do: the broker's what-if, and every control with what is left below its limit."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ibkit.model import Environment
from ibkit.service.brokers import OrderDesk
from ibkit.service.order_wish import Tickets
from ibkit.trading.intake import Asked

__all__ = ["LimitReading", "OrderPreview", "preview_of"]


class LimitReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """state: ok, warns, refuses, off or not known (which refuses, too). headroom: what is left below the limit."""

    control: str
    name: str
    state: str
    value: str | None
    limit: str | None
    headroom: Decimal | None
    message: str | None
    code: str | None


class OrderPreview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """allowed: no control refuses it, and the broker finds nothing wrong. Amounts in the account's currency.

    orders: what it is of, in a few words; of a bracket the exits after it. conid: of the contract that was found;
    multiplier: units in one contract.
    """

    allowed: bool
    account_id: str
    environment: str
    orders: list[str]
    conid: int
    multiplier: Decimal
    amount: Decimal | None
    commission: Decimal | None
    initial_margin_change: Decimal | None
    initial_margin_after: Decimal | None
    maintenance_margin_change: Decimal | None
    maintenance_margin_after: Decimal | None
    equity_after: Decimal | None
    warnings: list[str]
    error: str | None
    limits: list[LimitReading]


async def preview_of(desk: OrderDesk, tickets: Tickets, asked: Asked, environment: Environment) -> OrderPreview:
    """Of the first order what IBKR says; of all of them what our controls say."""
    readings = await desk.gateway.assess(tickets.first, others=tickets.others, group=tickets.group, asked=asked)
    told = await desk.broker.preview(tickets.first)
    return OrderPreview(
        allowed=told.error is None and not any(each.objection for each in readings),
        account_id=desk.account_id,
        environment=environment.value,
        orders=[each.label for each in (tickets.first, *tickets.others)],
        conid=tickets.first.contract.conid,
        multiplier=tickets.first.contract.multiplier,
        amount=told.amount,
        commission=told.commission,
        initial_margin_change=told.initial_margin_change,
        initial_margin_after=told.initial_margin_after,
        maintenance_margin_change=told.maintenance_margin_change,
        maintenance_margin_after=told.maintenance_margin_after,
        equity_after=told.equity_after,
        warnings=list(told.warnings),
        error=told.error,
        limits=[
            LimitReading(
                control=each.control,
                name=each.name,
                state=each.state.value,
                value=each.value or None,
                limit=each.limit or None,
                headroom=each.headroom,
                message=each.objection.text if each.objection else each.warning or None,
                code=each.objection.code if each.objection else None,
            )
            for each in readings
        ],
    )
