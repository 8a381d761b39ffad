"""Brackets and OCA groups: what may leave as one request, and which order of the broker is which of ours.

A bracket is not atomic: the parent may go live while a child is refused (docs/facts/orders.md §1.7 item 3), and the
rows of an answer are in no order (item 1). Pure: `group_keeper` looks at the broker and acts on what it sees.

Source: docs/facts/orders.md §1.7; reliability faults F52-F54, F120, F121.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from ibkit.errors import ConfigError
from ibkit.model import Accepted, GroupKind, Order, OrderStatus, OrderTicket, OrderType, Ref, Side
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import Attached, IntentId, LegAck
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Leg
from ibkit.trading.ref import child_key, derive_ref, leg_ref, same_ref

__all__ = [
    "UNSEEN",
    "acknowledged_legs",
    "both_filled_alert",
    "check_group",
    "fits",
    "late_leg",
    "leg_of",
    "legs_from",
    "rows_of",
    "rows_with_first",
]

UNSEEN = "not to be seen at IBKR"
"""Of an order that nothing refused, and that no look has shown yet: it may still come up."""


def check_group(ticket: OrderTicket, others: Sequence[OrderTicket], group: GroupKind | None) -> None:
    """Raises ConfigError (E-VALIDATION) naming what cannot be one request; a single order passes."""
    if group is None:
        if others:
            raise _invalid("group", "several orders leave together only as a bracket or an OCA group")
        return
    if not others:
        raise _invalid("others", f"a group ({group.value}) has at least two orders")
    for number, other in enumerate(others, start=1):
        if other.account_id != ticket.account_id:
            raise _invalid(f"others[{number}].account_id", "the orders of a group are of one account")
        if other.parent_id is not None or ticket.parent_id is not None:
            raise _invalid(f"others[{number}].parent_id", "an order of a group hangs on no other order")
        if group is GroupKind.BRACKET:
            _check_child(ticket, other, f"others[{number}]")


def _check_child(parent: OrderTicket, child: OrderTicket, name: str) -> None:
    """Source: docs/facts/orders.md §1.7 (children: the opposite side, the parent's full size)."""
    if child.side is parent.side:
        raise _invalid(f"{name}.side", "bracket_side: a child undoes its parent, so it is on the opposite side")
    if child.contract.conidex != parent.contract.conidex:
        raise _invalid(f"{name}.contract", "bracket_contract: a child is in the contract of its parent")
    if child.quantity != parent.quantity:
        raise _invalid(f"{name}.quantity", f"bracket_quantity: {child.quantity}, but the parent's is {parent.quantity}")
    entry = parent.limit_price
    if entry is None:
        return
    profit = child.limit_price if child.order_type is OrderType.LIMIT else None
    stop = child.stop_price if child.order_type in (OrderType.STOP, OrderType.STOP_LIMIT) else None
    if profit is not None and not _gains(parent, entry, profit):
        raise _invalid(f"{name}.limit_price", f"bracket_profit: {profit} gains nothing on {entry}")
    if stop is not None and _gains(parent, entry, stop):
        raise _invalid(f"{name}.stop_price", f"bracket_stop: {stop} does not limit a loss on {entry}")


def _gains(parent: OrderTicket, entry: Decimal, exit_: Decimal) -> bool:
    return exit_ > entry if parent.side is Side.BUY else exit_ < entry


def _invalid(field: str, reason: str) -> ConfigError:
    return ConfigError(f"Invalid request: {field}: {reason}", code="E-VALIDATION", details={"field": field})


def acknowledged_legs(intent: Intent, answer: Accepted) -> tuple[LegAck, ...]:
    """What the answer said of the other orders of the group; `number` is None where it cannot tell them apart."""
    if intent.planned.group is None:
        return ()
    only_child = len(intent.planned.others) == 1 and len(answer.others) == 1
    return tuple(
        LegAck(
            number=1 if only_child else _number_of_ref(intent, row.ref),
            order_id=row.order_id,
            status=row.status,
            text=row.text,
        )
        for row in answer.others
    )


def _number_of_ref(intent: Intent, ref: Ref | None) -> int | None:
    if intent.planned.group is not GroupKind.OCA:
        return None
    numbers = range(1, len(intent.planned.others) + 1)
    return next((n for n in numbers if same_ref(leg_ref(intent.ref, n), ref)), None)


def rows_of(intent: Intent, rows: Iterable[Order]) -> tuple[Order, ...]:
    """The other orders of the group among the rows of a list: children by their parent, siblings by their refs."""
    if intent.planned.group is GroupKind.OCA:
        return tuple(row for row in rows if _number_of_ref(intent, row.ref) is not None)
    return tuple(row for row in rows if row.parent_id is not None and row.parent_id == intent.order_id)


def rows_with_first(intent: Intent, rows: Iterable[Order]) -> tuple[Order, ...]:
    """As `rows_of`; and the first of an OCA group where the intent is known by another of them."""
    rows = tuple(rows)
    return (*rows_of(intent, rows), *(row for row in rows if _is_first(intent, row)))


def _is_first(intent: Intent, row: Order) -> bool:
    """Of an OCA group that was found by another of its orders; or a second order of one ref."""
    oca = intent.planned.group is GroupKind.OCA
    return oca and row.order_id != intent.order_id and same_ref(intent.ref, row.ref)


def legs_from(intent: Intent, rows: Sequence[Order], refused: Sequence[LegAck]) -> tuple[LegAck, ...]:
    """One LegAck for each of the other orders, in their places: `rows` are those that the broker shows.

    Number 0, the first of an OCA group, is among them where the intent is known by another: somebody has to follow it.
    refused: what the answer refused; which child that was follows from those that are there, once all others are. A
    leg that is neither shown nor surely refused has no order id and no text.
    """
    places: dict[int, LegAck] = {}
    free = dict(enumerate(intent.planned.others, start=1))
    first = next((row for row in rows if _is_first(intent, row)), None)
    for row in rows:
        if row is first:
            continue
        number = _number_of_ref(intent, row.ref)
        if number is None:
            number = next((n for n, ticket in free.items() if fits(row, ticket)), None)
        if number is not None and number in free:
            del free[number]
            places[number] = LegAck(number, row.order_id, row.status, _why(row))
    named = [leg for leg in refused if leg.number in free]
    unnamed = [leg for leg in refused if leg.number is None]
    left = [number for number in free if all(leg.number != number for leg in named)]
    if len(unnamed) == len(left):  # else a child that lives, unseen yet, could be taken for the one that was refused
        named += [dataclasses.replace(leg, number=number) for leg, number in zip(unnamed, left, strict=True)]
    for leg in named:
        if leg.number is not None and free.pop(leg.number, None) is not None:
            places[leg.number] = LegAck(leg.number, None, OrderStatus.INACTIVE, leg.text or "refused")
    for number in free:
        places[number] = LegAck(number, None, OrderStatus.UNKNOWN)
    if intent.planned.group is GroupKind.OCA and any(leg.order_id == intent.order_id for leg in places.values()):
        places[0] = (
            LegAck(0, first.order_id, first.status, _why(first)) if first else LegAck(0, None, OrderStatus.UNKNOWN)
        )
    return tuple(places[number] for number in sorted(places))


def late_leg(intent: Intent, row: Order) -> LegAck | None:
    """The order of the group that was taken for missing, and now is there; None where `row` is none.

    Number 0: the first of an OCA group, for which another stood when it was found.
    """
    if not intent.grouped:
        return None
    stood_in = intent.order_id in {leg.order_id for leg in intent.legs} and row.order_id != intent.order_id
    if intent.planned.group is GroupKind.OCA and stood_in and same_ref(intent.ref, row.ref):
        return LegAck(0, row.order_id, row.status, _why(row))
    if not rows_of(intent, (row,)):
        return None
    missing = {
        leg.number: intent.planned.others[leg.number - 1]
        for leg in intent.broken
        if leg.number is not None and leg.order_id is None
    }
    number = _number_of_ref(intent, row.ref)
    if number is None:
        number = next((n for n, ticket in missing.items() if fits(row, ticket)), None)
    return LegAck(number, row.order_id, row.status, _why(row)) if number in missing else None


def both_filled_alert(parent: Intent, filled: Sequence[Intent], *, at: datetime) -> Alert:
    """parent: the intent that the group was sent with. Source: reliability fault F54."""
    numbers = ", ".join(str(each.order_id) for each in filled)
    return Alert(
        kind=AlertKind.BOTH_FILLED,
        severity=Severity.CRITICAL,
        subject=parent.ref,
        message=f"CRITICAL: orders {numbers} were to cancel each other and were all filled: check the position",
        at=at,
        details={"account": parent.planned.account_id, "key": parent.key},
    )


def _why(row: Order) -> str:
    refused = row.status is OrderStatus.INACTIVE and not row.parked
    return (row.reason or "refused") if refused else ""


def leg_of(intent: Intent, leg: LegAck, *, at: datetime) -> Leg:
    """One of the other orders of a group that the broker has, as an intent of its own."""
    assert leg.number is not None, "a leg has its place by now"
    assert leg.order_id is not None, "a leg that is there has its number"
    parent, ticket = intent.planned, intent.planned.others[leg.number - 1] if leg.number else intent.ticket
    bracket = parent.group is GroupKind.BRACKET
    key = child_key(intent.key, f"leg-{leg.number}")
    ref = derive_ref(tenant=parent.tenant, environment=parent.environment, key=key)
    terms = ticket_terms(ticket)
    planned = dataclasses.replace(
        parent,
        at=at,
        intent_id=IntentId(ref),
        key=key,
        ref=ref if bracket else leg_ref(intent.ref, leg.number) if leg.number else intent.ref,
        ticket=ticket,
        terms=terms,
        fingerprint=fingerprint(terms),
        purpose=_purpose(ticket) if bracket else parent.purpose,
        reduces=intent.intent_id if bracket else parent.reduces,
        group=None,
        others=(),
        leg_of=intent.intent_id,
    )
    return Leg(planned, Attached(at=at, order_id=leg.order_id, status=leg.status))


def _purpose(ticket: OrderTicket) -> str:
    return "stop" if ticket.order_type.waits else "take profit"


def fits(row: Order, ticket: OrderTicket) -> bool:
    """Whether an order that the broker shows has the terms of `ticket`, as far as both tell them.

    A child may be smaller: where its parent ended after a part was filled, that part is what it is for. Assumed,
    docs/facts/orders.md §15 item 12.
    """
    size_fits = row.total in (ticket.quantity, Decimal(0)) or (
        row.parent_id is not None and row.total < ticket.quantity
    )
    if row.side is not ticket.side or not size_fits:
        return False
    if _kind(row.order_type) != _kind(ticket.order_type.value):
        return False
    if ticket.trail is not None:
        return True  # its prices follow the market from the first moment on
    pairs = ((row.limit_price, ticket.limit_price), (row.stop_price, ticket.stop_price))
    return all(shown == wanted for shown, wanted in pairs if shown is not None and wanted is not None)


def _kind(word: str) -> str:
    """`STOP_LIMIT`, `Stop Limit` and `STP LMT` are one kind."""
    plain = "".join(each for each in word.upper() if each.isalpha())
    return _SPELLINGS.get(plain, plain)


_SPELLINGS = {
    "LIMIT": "LMT",
    "MARKET": "MKT",
    "STOP": "STP",
    "STPLMT": "STOPLIMIT",
    "TRAILINGSTOP": "TRAIL",
    "TRAILINGSTOPLIMIT": "TRAILLMT",
    "TRAILLIMIT": "TRAILLMT",
}
