"""How much in all: RC-08 value of an order, RC-13 position, RC-14 gross exposure, RC-15 what is sold short.

Positions and open orders are counted at worst: every open order on a side fills, the other side's do not. Open orders
of somebody else count in RC-13; in RC-14 they count once they are filled, since nobody says what they are worth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal

from ibkit.model import GroupKind, OrderTicket, SecType, Side
from ibkit.trading.risk.case import Case, Reading
from ibkit.trading.risk.value import case_value, reference_price, ticket_value, uncovered

__all__ = ["gross_exposure", "order_value", "position", "short_positions"]

_ZERO = Decimal(0)


def order_value(case: Case) -> Reading:
    """RC-08: what the order is worth or may lose."""
    control, name, most = "RC-08", "max_notional", case.limits.max_order_value
    if most is None:
        return case.off(control, name)
    value = case_value(case)
    if value is None:
        return case.refuses(control, name, _missing(case), f"{most:f}", message=_not_valued(case), known=False)
    return case.bounded(control, name, value, most)


def position(case: Case) -> Reading:
    """RC-13: shares of a stock, and value of any contract, after this and all open orders of its side are filled."""
    control, name, limits = "RC-13", "max_position", case.limits
    if limits.max_position is None and limits.max_position_value is None:
        return case.off(control, name)
    worst: Reading | None = None
    for ticket in _largest_each(case):
        for reading in _positions_after(case, ticket):
            if reading.objection is not None:
                return reading
            if worst is None or (reading.headroom or _ZERO) < (worst.headroom or _ZERO):
                worst = reading
    return worst or case.passes(control, name, "no position grows")


def gross_exposure(case: Case) -> Reading:
    """RC-14: all positions without their signs, our open orders and this one, in net liquidation values."""
    control, name, times = "RC-14", "max_exposure", case.limits.max_exposure
    if times is None:
        return case.off(control, name)
    facts, limit = case.facts, f"{times:f} x net liquidation"
    value = case_value(case)
    if facts.net_liquidation is None or facts.positions is None or value is None:
        missing = "net liquidation" if facts.net_liquidation is None else "positions" if value is not None else "value"
        message = f"The account's exposure is not known: {missing} missing"
        if missing == "net liquidation" and facts.pnl_unknown:
            message += f" ({facts.pnl_unknown})"
        return case.refuses(control, name, "unknown", limit, message=message, known=False)
    total = value
    for holding in facts.positions.values():
        if holding.value_usd is None:
            message = "The account's exposure is not known: a position has no value in USD"
            return case.refuses(control, name, "unknown", limit, message=message, known=False)
        total += abs(holding.value_usd)
    for worth in _open_values(case).values():
        if worth is None:
            message = "The account's exposure is not known: an open order has no value"
            return case.refuses(control, name, "unknown", limit, message=message, known=False)
        total += worth
    most = times * facts.net_liquidation
    if total > most:
        return case.refuses(control, name, f"{total:.2f}", f"{most:.2f}", headroom=most - total)
    return case.passes(control, name, f"{total:.2f}", f"{most:.2f}", most - total)


def short_positions(case: Case) -> Reading:
    """RC-15: short stock, and the number of short options in the account that no long leg covers."""
    control, name, limits = "RC-15", "short_not_allowed", case.limits
    for ticket in case.openers:
        if ticket.contract.sec_type is SecType.STOCK and ticket.side is Side.SELL and not limits.short_stock:
            refused = _short_stock(case, ticket)
            if refused is not None:
                return refused
    sold = _uncovered(case)
    most = limits.max_open_short_options
    if not sold or most is None:
        return case.passes(control, name, "sells no option short", "off" if most is None else f"{most:f}")
    held = case.facts.open_short_options
    if held is None:
        message = "The account's positions are not known"
        return case.refuses(control, name, "unknown", f"{most:f}", message=message, known=False)
    waiting = _groups(case, lambda ticket, left: uncovered(ticket) * left / ticket.quantity)
    return case.bounded(control, name, held + waiting + sold, most)


def _positions_after(case: Case, ticket: OrderTicket) -> tuple[Reading, ...]:
    control, name, limits, contract = "RC-13", "max_position", case.limits, ticket.contract
    if contract.legs:
        return ()  # RC-08 bounds what a combination may lose, RC-07 its size; its legs offset each other
    held, waiting = case.held(contract), case.waiting(contract, ticket.side)
    if held is None or waiting is None:
        message = "The account's position and open orders in it are not known"
        return (case.refuses(control, name, "unknown", "", message=message, known=False),)
    sign = 1 if ticket.side is Side.BUY else -1
    after = held * sign + waiting + ticket.quantity
    found = []
    if limits.max_position is not None and contract.sec_type is SecType.STOCK:
        found.append(case.bounded(control, name, max(after, _ZERO), limits.max_position))
    if limits.max_position_value is not None:
        worth = _worth(case, ticket, max(after, _ZERO))
        if worth is None:
            message = "The position cannot be valued: a price is missing"
            found.append(case.refuses(control, name, "unknown", "", message=message, known=False))
        else:
            found.append(case.bounded(control, name, worth, limits.max_position_value))
    return tuple(found)


def _worth(case: Case, ticket: OrderTicket, quantity: Decimal) -> Decimal | None:
    """So much of the contract in USD, at the ticket's worst price."""
    price = reference_price(ticket, case.market(ticket.contract).quote)
    if price is None:
        return None
    return case.usd(price * ticket.contract.multiplier * quantity, ticket.contract.currency)


def _largest_each(case: Case) -> tuple[OrderTicket, ...]:
    """One order per contract and side: of a group that excludes each other the largest, else all of them as one."""
    found: dict[tuple[str, Side], OrderTicket] = {}
    for ticket in case.openers:
        key = (ticket.contract.conidex, ticket.side)
        other = found.get(key)
        if other is None:
            found[key] = ticket
        elif case.group is GroupKind.OCA:
            found[key] = max(ticket, other, key=lambda each: each.quantity)
        else:
            found[key] = _joined(other, ticket)
    return tuple(found.values())


def _joined(one: OrderTicket, other: OrderTicket) -> OrderTicket:
    return dataclasses.replace(one, quantity=one.quantity + other.quantity)


def _short_stock(case: Case, ticket: OrderTicket) -> Reading | None:
    held, waiting = case.held(ticket.contract), case.waiting(ticket.contract, Side.SELL)
    if held is None or waiting is None:
        message = "The account's position is not known"
        return case.refuses("RC-15", "short_not_allowed", "unknown", "0", message=message, known=False)
    short = ticket.quantity + waiting - max(held, _ZERO)
    if short <= 0:
        return None
    message = f"Selling stock short is not allowed ({short:f} more than the account holds)"
    return case.refuses("RC-15", "short_not_allowed", f"{short:f}", "0", message=message, headroom=-short)


def _uncovered(case: Case) -> Decimal:
    counts = [uncovered(ticket) for ticket in case.openers]
    return max(counts, default=_ZERO) if case.group is GroupKind.OCA else sum(counts, _ZERO)


def _open_values(case: Case) -> dict[str, Decimal | None]:
    """What our open orders were valued at when they left, by group; what only closes counts nothing."""
    found: dict[str, Decimal | None] = {}
    for order in case.open:
        if order.reduces:
            continue
        key = order.group or order.intent_id
        portion = case.left(order) / order.ticket.quantity
        worth = None if order.value_usd is None else order.value_usd * portion
        before = found.get(key, _ZERO)
        found[key] = None if worth is None or before is None else max(before, worth)
    return found


def _groups(case: Case, measure: Callable[[OrderTicket, Decimal], Decimal]) -> Decimal:
    """The sum over our open orders that open something, of each group its largest member."""
    found: dict[str, Decimal] = {}
    for order in case.open:
        if not order.reduces:
            key = order.group or order.intent_id
            found[key] = max(found.get(key, _ZERO), measure(order.ticket, case.left(order)))
    return sum(found.values(), _ZERO)


def _missing(case: Case) -> str:
    currencies = [t.contract.currency for t in case.openers if t.contract.currency not in case.facts.rates]
    return currencies[0] if currencies else "not computable"


def _not_valued(case: Case) -> str:
    if any(ticket_value(case, ticket) is None for ticket in case.openers):
        return "The order cannot be valued: a price is missing"
    return f"The order cannot be valued in USD: no exchange rate of {_missing(case)} is known"
