"""How much and how many: RC-07 quantity of an order, RC-23 open orders of a contract and side."""

from __future__ import annotations

from decimal import Decimal

from ibkit.model import Contract, OrderTicket, SecType, Side
from ibkit.trading.events import Operation
from ibkit.trading.risk.case import Case, Reading, is_derivative
from ibkit.trading.risk.limits import IBKR_MAX_ACTIVE

__all__ = ["active_orders", "quantity"]


def quantity(case: Case) -> Reading:
    """RC-07: contracts for derivatives, shares for the rest; currencies are bounded by value alone."""
    control, name = "RC-07", "max_quantity"
    worst: Reading | None = None
    for ticket in case.tickets:
        most = _most(case, ticket)
        if most is None:
            continue
        reading = case.bounded(control, name, counted(ticket), most)
        if reading.objection is not None:
            return reading
        assert reading.headroom is not None, "a bounded reading has headroom"
        if worst is None or (worst.headroom is not None and reading.headroom < worst.headroom):
            worst = reading
    return worst or case.off(control, name)


def counted(ticket: OrderTicket) -> Decimal:
    """Of a combination its largest leg."""
    legs = ticket.contract.legs
    return ticket.quantity * max((abs(leg.ratio) for leg in legs), default=1)


def active_orders(case: Case) -> Reading:
    """RC-23: IBKR allows 20; what lies between our limit and that is kept for orders that close."""
    control, name, most = "RC-23", "too_many_open", case.limits.max_active_orders
    if most is None:
        return case.off(control, name)
    if case.facts.others is None and not case.exits:
        message = "The open orders of the account are not known"
        return case.refuses(control, name, "unknown", str(most), message=message, known=False)
    worst: Reading | None = None
    for contract, side in dict.fromkeys((ticket.contract, ticket.side) for ticket in case.tickets):
        count = _standing(case, contract, side)
        new = [t for t in case.tickets if (t.contract, t.side) == (contract, side)]
        if case.operation is not Operation.MODIFY:
            count += len(new)
        opens = any(ticket in case.openers for ticket in new)
        reading = case.bounded(control, name, Decimal(count), Decimal(most if opens else max(most, IBKR_MAX_ACTIVE)))
        if reading.objection is not None:
            return reading
        if worst is None or (reading.headroom or Decimal(0)) < (worst.headroom or Decimal(0)):
            worst = reading
    assert worst is not None, "a case that is no cancel has a ticket"
    return worst


def _most(case: Case, ticket: OrderTicket) -> Decimal | None:
    contract = ticket.contract
    if contract.sec_type is SecType.CASH:
        return None
    return case.limits.max_option_contracts if is_derivative(contract) else case.limits.max_shares


def _standing(case: Case, contract: Contract, side: Side) -> int:
    """Open orders of that contract and side, without the one that a change replaces (it stays one order)."""
    key = contract.conidex
    ours = sum(
        (order.ticket.side, order.ticket.contract.conidex) == (side, key) and not (order.ended or order.changes)
        for order in case.usage.open
        if order.intent_id != case.intent_id and order.group != case.intent_id
    )
    foreign = sum(
        order.side is side and (order.conidex or str(order.conid)) == key for order in case.facts.others or ()
    )
    return ours + foreign
