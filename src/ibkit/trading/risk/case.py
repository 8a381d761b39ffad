"""What a control is given and what it says: a frozen case, and one reading of it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

from ibkit.model import AccountId, Contract, GroupKind, OrderTicket, SecType, Side
from ibkit.trading.events import Operation, Planned, Stage
from ibkit.trading.risk.book import Halt, OpenOrder, RiskState, Scope, Sent, Usage
from ibkit.trading.risk.facts import Facts, Holding, Market
from ibkit.trading.risk.limits import Limits

__all__ = [
    "CONFIRM_GRACE_S",
    "Case",
    "Objection",
    "Reading",
    "State",
    "case_of",
    "is_derivative",
    "parts_of",
    "scope_of",
]

CONFIRM_GRACE_S = 35.0
"""A question may take 30 s; nothing is read while it is open, so what was read may be older by that."""


class State(enum.Enum):
    OK = "ok"
    WARNS = "warns"
    REFUSES = "refuses"
    OFF = "off"
    NOT_KNOWN = "not known"
    """An input is missing or stale, which refuses as well: controls fail closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """A control's no. name: the limit, as `risk set` or the rules call it. value > limit is what broke it, as text."""

    control: str
    name: str
    value: str
    limit: str
    message: str = ""
    code: str = "E-RISK"

    @property
    def text(self) -> str:
        return self.message or f"Order exceeds limit {self.name}: {self.value} > {self.limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one control measured. headroom: what is left below the limit, where that is a number.

    halt: a stop of trading that the control asks for, to be stored before the refusal is told.
    """

    control: str
    name: str
    state: State
    value: str = ""
    limit: str = ""
    headroom: Decimal | None = None
    objection: Objection | None = None
    warning: str = ""
    halt: Halt | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request, of one order or a group, at one moment, with all that is known. A cancel has no tickets."""

    operation: Operation
    scope: Scope
    tickets: tuple[OrderTicket, ...]
    facts: Facts
    limits: Limits
    usage: Usage
    halts: tuple[Halt, ...]
    stage: Stage
    now: datetime
    made_at: datetime
    expires_at: datetime
    group: GroupKind | None = None
    intent_id: str = ""
    strategy: str = ""
    allow_duplicate: bool = False
    tied: tuple[str, ...] = ()
    """At a confirmation: the controls that must cover what is asked (RC-28)."""

    @property
    def account_id(self) -> AccountId:
        return self.scope.account_id

    @cached_property
    def sent(self) -> tuple[Sent, ...]:
        """What left of the last minute, this intent's own send not counted."""
        if not self.own_sent:
            return self.usage.sent
        return tuple([sent for sent in self.usage.sent if sent.intent_id != self.intent_id])

    @cached_property
    def own_sent(self) -> tuple[Sent, ...]:
        own = self.intent_id
        return tuple([sent for sent in self.usage.sent if sent.intent_id == own])

    @cached_property
    def open(self) -> tuple[OpenOrder, ...]:
        """Our other orders that may fill; of a change also not the order that it replaces, nor that one's changes."""
        replaced = self.facts.replaces
        own = {self.intent_id}
        if replaced is not None:
            own |= {str(replaced.ref), f"order {replaced.order_id}"}
        return tuple(o for o in self.usage.open if o.intent_id not in own and o.group not in own)

    @cached_property
    def openers(self) -> tuple[OrderTicket, ...]:
        """The orders that may make a position larger: not an exit, nor a bracket's child that undoes its parent."""
        if not self.tickets or self.facts.reduces:
            return ()
        first, *others = self.tickets
        if self.group is GroupKind.BRACKET:
            return (*_unless(self._exits(first), first), *(ticket for ticket in others if not _undoes(ticket, first)))
        return tuple(ticket for ticket in self.tickets if not self._exits(ticket))

    @property
    def exits(self) -> bool:
        """Nothing in it makes a position larger, which is proven."""
        return bool(self.tickets) and not self.openers

    def market(self, contract: Contract) -> Market:
        first, facts = self.tickets[0].contract, self.facts
        if contract.conidex == first.conidex:
            return Market(
                quote=facts.quote,
                quote_at=facts.quote_at,
                increments=facts.increments,
                underlying_price=facts.underlying_price,
                hours=facts.hours,
            )
        return facts.markets.get(contract.conid, Market())

    def held(self, contract: Contract) -> Decimal | None:
        """The signed position; None where it is not known."""
        facts = self.facts
        if facts.positions is not None:
            return facts.positions.get(contract.conid, Holding(quantity=Decimal(0), value_usd=None)).quantity
        return facts.position if contract.conidex == self.tickets[0].contract.conidex else None

    def left(self, order: OpenOrder) -> Decimal:
        """What of an open order of ours may still come on top of the positions that were read."""
        return max(order.ticket.quantity - self.facts.filled.get(order.intent_id, Decimal(0)), Decimal(0))

    def waiting(self, contract: Contract, side: Side) -> Decimal | None:
        """What open orders, ours and others', may still buy or sell of it at worst; None where it is not known.

        Of a group only the largest member counts: its orders cancel each other.
        """
        if self.facts.others is None:
            return None
        by_group: dict[str, Decimal] = {}
        for order in self.open:
            if order.ticket.side is side and order.ticket.contract.conidex == contract.conidex:
                group = order.group or order.intent_id
                by_group[group] = max(by_group.get(group, Decimal(0)), self.left(order))
        replaced = self.facts.replaces
        foreign = (
            order.remaining
            for order in self.facts.others
            if order.side is side
            and (order.conidex or str(order.conid)) == contract.conidex
            and (replaced is None or order.order_id != replaced.order_id)
        )
        return sum(by_group.values(), Decimal(0)) + sum(foreign, Decimal(0))

    def usd(self, amount: Decimal, currency: str) -> Decimal | None:
        rate = self.facts.rates.get(currency)
        return None if rate is None else amount * rate

    def fresh(self, at: datetime | None, within_s: float) -> bool:
        grace = CONFIRM_GRACE_S if self.stage is Stage.CONFIRM else 0.0
        return at is not None and self.now - at <= timedelta(seconds=within_s + grace)

    def _exits(self, ticket: OrderTicket) -> bool:
        """Whether the positions prove that it only closes, even if every other order on its side fills first."""
        held, waiting = self.held(ticket.contract), self.waiting(ticket.contract, ticket.side)
        if held is None or waiting is None or ticket.contract.legs:
            return False
        signed = ticket.quantity if ticket.side is Side.BUY else -ticket.quantity
        return held * signed < 0 and abs(held) - waiting >= ticket.quantity

    # -- what a control may say ----------------------------------------------------------------------------------

    def passes(
        self, control: str, name: str, value: str = "", limit: str = "", headroom: Decimal | None = None
    ) -> Reading:
        return Reading(control=control, name=name, state=State.OK, value=value, limit=limit, headroom=headroom)

    def off(self, control: str, name: str) -> Reading:
        return Reading(control=control, name=name, state=State.OFF)

    def refuses(
        self,
        control: str,
        name: str,
        value: str,
        limit: str = "",
        *,
        message: str = "",
        code: str = "E-RISK",
        known: bool = True,
        headroom: Decimal | None = None,
        halt: Halt | None = None,
    ) -> Reading:
        """known: False where an input was missing."""
        objection = Objection(control=control, name=name, value=value, limit=limit, message=message, code=code)
        state = State.REFUSES if known else State.NOT_KNOWN
        return Reading(
            control=control,
            name=name,
            state=state,
            value=value,
            limit=limit,
            headroom=headroom,
            objection=objection,
            halt=halt,
        )

    def warns(self, control: str, name: str, value: str, limit: str, message: str) -> Reading:
        return Reading(control=control, name=name, state=State.WARNS, value=value, limit=limit, warning=message)

    def bounded(self, control: str, name: str, value: Decimal, limit: Decimal) -> Reading:
        """`value` held against `limit`, which it may reach."""
        shown, most = f"{value:f}", f"{limit:f}"
        if value > limit:
            return self.refuses(control, name, shown, most, headroom=limit - value)
        return self.passes(control, name, shown, most, limit - value)


def case_of(
    planned: Planned,
    facts: Facts,
    state: RiskState,
    *,
    stage: Stage,
    now: datetime,
    tied: tuple[str, ...] = (),
) -> Case:
    """The case of an intent. A ticket of a change is the order in full, as it shall be."""
    tickets = () if planned.ticket is None else (planned.ticket, *planned.others)
    return Case(
        operation=planned.operation,
        scope=scope_of(planned),
        tickets=tickets,
        facts=facts,
        limits=state.limits,
        usage=state.usage,
        halts=state.halts,
        stage=stage,
        now=now,
        made_at=planned.at,
        expires_at=planned.expires_at,
        group=planned.group,
        intent_id=planned.intent_id,
        strategy=planned.strategy,
        allow_duplicate=planned.allow_duplicate,
        tied=tied,
    )


def scope_of(planned: Planned) -> Scope:
    """Whose limits hold for it. A group has the symbol of its first order, each of the others is judged by it, too."""
    return Scope(
        environment=planned.environment,
        account_id=planned.account_id,
        tenant=planned.tenant,
        user=planned.user,
        api_key=planned.api_key,
        symbol=planned.ticket.contract.symbol if planned.ticket is not None else "",
    )


def is_derivative(contract: Contract) -> bool:
    """Counted in contracts."""
    return contract.sec_type in (SecType.OPTION, SecType.FUTURE, SecType.FUTURE_OPTION, SecType.COMBO)


def parts_of(contract: Contract) -> Iterator[Contract]:
    """The contract, or the legs of a combination."""
    if contract.legs:
        yield from (leg.contract for leg in contract.legs)
    else:
        yield contract


def _undoes(child: OrderTicket, parent: OrderTicket) -> bool:
    """Whether a bracket's child takes back at most what its parent opens."""
    return (
        child.contract.conidex == parent.contract.conidex
        and child.side is parent.side.opposite
        and child.quantity <= parent.quantity
    )


def _unless(known: bool, ticket: OrderTicket) -> tuple[OrderTicket, ...]:
    return () if known else (ticket,)
