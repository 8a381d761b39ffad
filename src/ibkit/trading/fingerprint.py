"""What an order asks for, in one canonical form: how a reused key is told from a repeated one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal

from ibkit.model import AccountId, GroupKind, OrderId, OrderTicket

__all__ = ["cancel_terms", "differing", "external_terms", "fingerprint", "group_terms", "plain", "ticket_terms"]


def plain(number: Decimal) -> str:
    """The one spelling of a number: `1.00` and `1` are both `1`."""
    return format(number.normalize(), "f") if number else "0"


def ticket_terms(ticket: OrderTicket, *, order_id: OrderId | None = None) -> dict[str, str]:
    """Every field that makes one order another; `order_id` is set for a modification."""
    terms = {
        "operation": "place" if order_id is None else "modify",
        "account": str(ticket.account_id),
        "conid": ticket.contract.conidex,
        "side": ticket.side.value,
        "order_type": ticket.order_type.value,
        "quantity": plain(ticket.quantity),
        "limit_price": "" if ticket.limit_price is None else plain(ticket.limit_price),
        "stop_price": "" if ticket.stop_price is None else plain(ticket.stop_price),
        "tif": ticket.tif.value,
        "outside_rth": "true" if ticket.outside_rth else "false",
        "parent_id": ticket.parent_id or "",
    }
    # Only where they are set: a key of a plain order keeps its fingerprint from before these fields were there.
    if ticket.trail is not None:
        terms["trail"] = f"{plain(ticket.trail.amount)} {ticket.trail.kind.value}"
    if ticket.offset is not None:
        terms["offset"] = plain(ticket.offset)
    return terms if order_id is None else {**terms, "order_id": str(order_id)}


def group_terms(ticket: OrderTicket, others: Sequence[OrderTicket], group: GroupKind) -> dict[str, str]:
    """The terms of all orders of a group: those of the first, and of each other one under its number."""
    terms = {**ticket_terms(ticket), "group": group.value}
    for number, other in enumerate(others, start=1):
        terms |= {f"{name} ({number})": value for name, value in ticket_terms(other).items() if name != "operation"}
    return terms


def cancel_terms(account_id: AccountId, order_id: OrderId) -> dict[str, str]:
    return {"operation": "cancel", "account": str(account_id), "order_id": str(order_id)}


def external_terms(account_id: AccountId, order_id: OrderId, description: str) -> dict[str, str]:
    """What an order of somebody else is known by; nobody can ask for it again."""
    return {
        "operation": "external",
        "account": str(account_id),
        "order_id": str(order_id),
        "description": description,
    }


def fingerprint(terms: Mapping[str, str]) -> str:
    """SHA-256 of the terms, whatever their order."""
    lines = "\n".join(f"{name}={terms[name]}" for name in sorted(terms))
    return hashlib.sha256(lines.encode()).hexdigest()


def differing(stored: Mapping[str, str], asked: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the fields in which two sets of terms differ, sorted."""
    return tuple(name for name in sorted({*stored, *asked}) if stored.get(name) != asked.get(name))
