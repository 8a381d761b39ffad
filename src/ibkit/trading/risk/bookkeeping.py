"""The rules by which a risk book is kept, whatever keeps it: who must agree, and which orders count as open."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal

from ibkit.errors import NotFound, TradingError
from ibkit.model import Environment, GroupKind, OrderTicket
from ibkit.trading.events import IntentId, Operation, Planned
from ibkit.trading.intent import IntentState
from ibkit.trading.risk.book import LAYERS, Halt, LimitChange, OpenOrder
from ibkit.trading.risk.environment import NEW_YORK
from ibkit.trading.risk.limits import Limits
from ibkit.trading.risk.names import limit_named, loosens, read_value, show_value

__all__ = [
    "PENDING_FOR",
    "REJECTS_FOR",
    "confirmable",
    "day_start",
    "open_orders",
    "people_needed",
    "prepared",
    "same_halt",
    "same_person",
]

PENDING_FOR = timedelta(hours=24)
"""So long a raise waits for a second person; then it must be asked for anew."""
REJECTS_FOR = timedelta(minutes=6)
"""How far back refusals are read: a breaker's minute, and the five minutes that it holds."""

_UNATTACHED = frozenset(
    {
        IntentState.SENDING,
        IntentState.QUESTIONED,
        IntentState.REPLYING,
        IntentState.AMBIGUOUS,
        IntentState.RECONCILING,
        IntentState.UNKNOWN_NEEDS_HUMAN,
    }
)
"""Of a group in these states, the further orders have no intents of their own yet."""


def people_needed(environment: Environment) -> int:
    """To release a halt, or to raise a limit: on live money a second person."""
    return 2 if environment is Environment.LIVE else 1


def same_person(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def prepared(change: LimitChange, changes: Iterable[LimitChange], base: Limits) -> LimitChange:
    """`change` with its old value, and whether it waits for a second person.

    ConfigError (E-VALIDATION) for a limit, or a value, that there is none of.
    A value is a raise where it lets more through than the layer's own, or, if it has none, than any above it.
    """
    limit_named(change.name)
    new = None if change.new is None else read_value(change.name, change.new)
    of_limit = [c for c in changes if c.name == change.name and c.environment is change.environment and c.in_force]
    depth = LAYERS.index(change.layer)
    own = _latest(c for c in of_limit if (c.layer, c.whose) == (change.layer, change.whose))
    above = [getattr(base, change.name), *_above(of_limit, depth)]
    if own is not None and own.new is not None:
        before = read_value(change.name, own.new)
        raises = (
            loosens(change.name, new, before)
            if change.new is not None
            else any(loosens(change.name, value, before) for value in above)
        )
    else:
        before = above[0]
        raises = change.new is not None and any(loosens(change.name, new, value) for value in above)
    second = raises and people_needed(change.environment) > 1
    written = None if change.new is None else show_value(new)
    return dataclasses.replace(change, new=written, old=show_value(before), needs_second=second)


def confirmable(changes: Sequence[LimitChange], number: int, *, by: str, at: datetime) -> LimitChange:
    """The change `number`, confirmed. NotFound; TradingError where `by` may not, or there is nothing to confirm."""
    change = next((c for c in changes if c.number == number), None)
    if change is None:
        raise NotFound(f"There is no change {number} of a limit", remedy="`ibkit risk history` lists them.")
    if change.in_force:
        raise _refused(f"Change {number} is in force already")
    if same_person(change.by, by):
        raise _refused(f"Change {number} was asked for by {change.by}: another person must confirm it")
    if at - change.at > PENDING_FOR:
        raise _refused(f"Change {number} waited for more than {PENDING_FOR.total_seconds() / 3600:.0f} hours")
    key = (change.environment, change.layer, change.whose, change.name)
    later = [c for c in changes if c.number > number and c.in_force]
    if any((c.environment, c.layer, c.whose, c.name) == key for c in later):
        raise _refused(f"Change {number} was overtaken by a later one")
    return dataclasses.replace(change, confirmed_by=by, confirmed_at=at)


def same_halt(one: Halt, other: Halt) -> bool:
    """Whether a breaker asks for what stands already."""
    return one.control != "" and all(
        getattr(one, name) == getattr(other, name)
        for name in ("control", "environment", "mode", "tenant", "account_id", "symbol")
    )


def day_start(now: datetime) -> datetime:
    """When the trading day of New York began that `now` belongs to."""
    return datetime.combine(now.astimezone(NEW_YORK).date(), time(), NEW_YORK).astimezone(now.tzinfo)


def open_orders(
    planned: Planned,
    state: IntentState,
    *,
    order_id: str,
    sent: Decimal,
    value_usd: Decimal | None,
    parent: Planned | None = None,
) -> tuple[OpenOrder, ...]:
    """The orders of one intent that may fill.

    parent: of a further order of a group, the one that it left with; `value_usd` is then that one's, which is of the
    whole group, and nothing is known of its own sends.
    """
    if planned.ticket is None:
        return ()
    whole = parent or planned
    group = whole.intent_id if whole.group is GroupKind.OCA else ""
    changes = planned.operation is Operation.MODIFY
    if not group and (planned.target or order_id):
        group = f"order {planned.target or order_id}"  # a change and what it changes are one order
    child = parent is not None and parent.ticket is not None and _child(planned.ticket, parent.ticket, whole.group)
    first = OpenOrder(
        intent_id=planned.intent_id,
        ticket=planned.ticket,
        sent=sent if parent is None else planned.ticket.quantity,
        value_usd=value_usd,
        group=group,
        reduces=planned.reduces is not None or child,
        changes=changes,
        ended=state.final and state is not IntentState.UNKNOWN_NEEDS_HUMAN,
    )
    if state not in _UNATTACHED:
        return (first,)
    return (first, *_unattached(planned, planned.ticket, value_usd))


def _unattached(planned: Planned, first: OrderTicket, value_usd: Decimal | None) -> tuple[OpenOrder, ...]:
    oca = planned.group is GroupKind.OCA
    return tuple(
        OpenOrder(
            intent_id=IntentId(f"{planned.intent_id}-{number}"),
            ticket=ticket,
            sent=ticket.quantity,
            value_usd=value_usd if oca else Decimal(0),
            group=planned.intent_id,
            reduces=_child(ticket, first, planned.group),
        )
        for number, ticket in enumerate(planned.others, start=1)
    )


def _child(ticket: OrderTicket, first: OrderTicket, group: GroupKind | None) -> bool:
    return group is GroupKind.BRACKET and ticket.side is first.side.opposite and ticket.quantity <= first.quantity


def _latest(changes: Iterable[LimitChange]) -> LimitChange | None:
    return max(changes, key=lambda change: change.number, default=None)


def _above(changes: Sequence[LimitChange], depth: int) -> list[object]:
    """The values in force of every layer above, whoever's: which of them will hold is not known here."""
    found: dict[tuple[int, str], LimitChange] = {}
    for change in sorted(changes, key=lambda change: change.number):
        layer = LAYERS.index(change.layer)
        if layer < depth:
            found[(layer, change.whose)] = change
    return [read_value(change.name, change.new) for change in found.values() if change.new is not None]


def _refused(message: str) -> TradingError:
    return TradingError(message, code="E-RISK", remedy="`ibkit risk history` shows what waits, and for whom.")
