"""The order desk: what stands between a request and a live order. Refusals, questions, parked orders, cOIDs.

Source: docs/facts/orders.md §2-4, §6, §7, §12.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange import refusals
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.exchange.questions import (
    STOP_TYPES,
    UNKNOWN_QUESTION,
    Message,
    OpenQuestion,
    grouped,
    messages_for,
    modify_messages,
)
from ibkit.sim.exchange.refs import Refs
from ibkit.sim.exchange.tickets import SimTicket

if TYPE_CHECKING:
    from ibkit.sim.exchange.exchange import Exchange
    from ibkit.sim.world import World

__all__ = ["Answer", "Asked", "Caller", "OrderDesk", "Prompted", "Refused", "Row", "Taken"]

_REJECT_AFTER = timedelta(milliseconds=350)
"""A late margin rejection comes this long after acceptance. Source: docs/facts/orders.md §8 [forum]."""
_BREAKS_BRACKETS = ("bracket-child-reject", "bracket-refused")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends an order. suppressed: message ids of this brokerage session. has_line: whether it has market data."""

    username: str
    account: str
    suppressed: Collection[str]
    has_line: Callable[[int | str], bool]


@dataclass(frozen=True, slots=True)
class Refused:
    text: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Asked:
    question: OpenQuestion


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an acceptance: an order, or the text why this ticket of the request was refused."""

    order: SimOrder | None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Prompted:
    """The order is rejected unless the caller picks one of the options (§2 shape 4)."""

    order: SimOrder
    request: str


Answer = Refused | Asked | Taken | Prompted


class OrderDesk:
    """Takes orders in for the exchange."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self._world = world
        self._exchange = exchange
        self._refs = Refs(world)
        self._questions: dict[str, OpenQuestion] = {}
        self._prompts: dict[int, str] = {}

    # --- placing -----------------------------------------------------------------------------------------------

    def place(self, caller: Caller, tickets: Sequence[SimTicket], now: datetime) -> Answer:
        """Take one order, a bracket or an OCA group: accept, ask, or refuse."""
        self._void_questions(caller.username)
        taken = self._refs.taken(caller.username, caller.account, tickets, now)
        if taken is not None:
            text = f"Order couldn't be submitted: Local order ID={taken} is already registered."
            return Refused(text, self._world.quirks.coid_duplicate_status)
        refused = refusals.for_request(self._world, caller.account, tickets, now)
        if refused is not None:
            if self._world.quirks.coid_refusal_consumes:
                self._refs.register(caller.username, caller.account, tickets, now)
            return Refused(refused)
        orders, failed = self._book(caller, tickets, now)
        self._refs.register(caller.username, caller.account, tickets, now)
        live_on = not failed or (orders and self._lives_on())
        if any(text.startswith(refusals.CHILD_REFUSED) for text in failed):
            for scenario in _BREAKS_BRACKETS:
                self._world.faults.take(scenario)
        if not live_on:
            return self._refused_as_group(orders, failed, now)
        return self._ask_or_accept(caller, tuple(orders), tuple(failed), now)

    def _book(self, caller: Caller, tickets: Sequence[SimTicket], now: datetime) -> tuple[list[SimOrder], list[str]]:
        """Orders for the tickets, parked for the moment, parents tied to children; and why others were refused."""
        orders: list[SimOrder] = []
        failed: list[str] = []
        by_ref: dict[str, SimOrder] = {}
        for ticket in tickets:
            parent = None
            if ticket.parent is not None:
                parent = by_ref.get(ticket.parent) or self._live_parent(caller.account, ticket.parent)
                text = None
                if parent is None or parent.parent is not None:
                    text = f"Order couldn't be submitted: Parent order ID={ticket.parent} isn't recognized."
                text = text or self._child_refusal(ticket, by_ref)
                text = text or refusals.for_ticket(self._world, caller.account, ticket, now)
                if text is not None:
                    failed.append(text)
                    continue
            order = self._exchange.new_order(
                ticket,
                account=caller.account,
                username=caller.username,
                now=now,
                state="saved" if ticket.deactivated else "parked",
                parent=parent,
            )
            orders.append(order)
            if ticket.ref is not None and parent is None:
                by_ref[ticket.ref] = order
        group = [order for order in orders if order.ticket.one_group and order.parent is None]
        for order in group:
            order.group = f"oco-{group[0].id}"
        return orders, failed

    def _child_refusal(self, ticket: SimTicket, placed: Collection[str]) -> str | None:
        """Scenarios that refuse a child in the request that brings its parent; one hung on later is taken."""
        for scenario in _BREAKS_BRACKETS:
            if ticket.parent in placed and self._world.faults.on(scenario):
                return f"{refusals.CHILD_REFUSED} (scenario {scenario})"
        return None

    def _live_parent(self, account: str, parent: str) -> SimOrder | None:
        order = self._exchange.orders.get(int(parent)) if parent.isdigit() else None
        alive = order is not None and order.account == account and (order.working or order.state == "filled")
        return order if alive else None

    def _lives_on(self) -> bool:
        """Whether the rest of a request goes live where a child is refused: a bracket is not atomic.

        Source: docs/facts/orders.md §1.7 item 3.
        """
        faults = self._world.faults
        live = self._world.quirks.bracket_refusal == "live_parent" or faults.on("bracket-child-reject")
        return live and not faults.on("bracket-refused")

    def _refused_as_group(self, orders: list[SimOrder], failed: list[str], now: datetime) -> Taken:
        """The rest of the request is Inactive with the child that was refused."""
        for order in orders:
            order.note(now, "rejected", self._world.request_id)
            order.state = "rejected"
            order.ended_at = now
            order.reason = failed[0]
        return Taken(_rows(orders, failed))

    def _messages(self, caller: Caller, ticket: SimTicket, now: datetime) -> list[Message]:
        faults = self._world.faults
        found = messages_for(
            ticket,
            self._world.market.quote_of(ticket.instrument, now),
            has_line=_has_data(caller, ticket),
            market_open=self._world.calendar.is_open(now),
            quirks=self._world.quirks,
        )
        if faults.on("order-question"):
            found.append(STOP_TYPES)
        if faults.on("order-question-unknown"):
            found.append(UNKNOWN_QUESTION)
        return found

    def _ask_or_accept(
        self, caller: Caller, orders: tuple[SimOrder, ...], failed: tuple[str, ...], now: datetime
    ) -> Answer:
        messages = [m for order in orders for m in self._messages(caller, order.ticket, now)]
        rounds = grouped(messages, caller.suppressed, self._world.quirks.question_style)
        if not rounds:
            return self._accept(orders, now, failed)
        for order in orders:
            order.note(now, "parked", self._world.request_id)
        return Asked(self._ask(caller, orders, rounds, now, failed=failed))

    def _ask(
        self,
        caller: Caller,
        orders: tuple[SimOrder, ...],
        rounds: Sequence[tuple[Message, ...]],
        now: datetime,
        new_ticket: SimTicket | None = None,
        failed: tuple[str, ...] = (),
    ) -> OpenQuestion:
        question = OpenQuestion(
            id=str(uuid.UUID(int=self._world.rng("questions").getrandbits(128), version=4)),
            username=caller.username,
            account=caller.account,
            asked_at=now,
            messages=rounds[0],
            rest=tuple(rounds[1:]),
            orders=orders,
            kind="place" if new_ticket is None else "modify",
            new_ticket=new_ticket,
            failed=failed,
        )
        # What is too old answers 400 anyway, so nothing is lost with it.
        self._questions = {id_: q for id_, q in self._questions.items() if not self._too_old(q, now)}
        self._questions[question.id] = question
        return question

    def _accept(self, orders: tuple[SimOrder, ...], now: datetime, failed: tuple[str, ...] = ()) -> Taken | Prompted:
        prompted = self._prompt(orders, now)
        if prompted is not None:
            return prompted
        # Children first: when the parent trades at once they must already be there.
        for order in sorted(orders, key=lambda order: order.parent is None):
            if order.state == "saved":
                order.note(now, "saved", self._world.request_id)
            elif order.state == "parked":
                self._exchange.accept(order, now)
        self._reject_for_margin_later(orders, now)
        return Taken(_rows(orders, failed))

    def _reject_for_margin_later(self, orders: tuple[SimOrder, ...], now: datetime) -> None:
        if self._world.quirks.margin_refusal != "later":
            return
        for order in orders:
            if order.state == "live" and order.filled == 0 and order.parent is None:
                reason = refusals.margin(self._world, order.account, [order.ticket], now)
                if reason is not None:
                    order.reject_at = now + _REJECT_AFTER
                    order.reason = reason

    def _prompt(self, orders: tuple[SimOrder, ...], now: datetime) -> Prompted | None:
        """The offer of the price management algo instead of a rejection, by quirk (§15 row 15)."""
        order = orders[0]
        if not self._world.quirks.price_algo_prompt or len(orders) != 1 or order.ticket.adaptive:
            return None
        if not refusals.far_from_reference(self._world, order.ticket, now):
            return None
        self._exchange.end(order, "rejected", now, reason="Price management algo not used")
        request = str(self._world.rng("prompts").randrange(10_000, 100_000))
        self._prompts[order.id] = request
        return Prompted(order, request)

    def open_prompts(self, username: str) -> dict[int, str]:
        """Prompts of this user that nobody has answered: request numbers by order id."""
        orders = self._exchange.orders
        return {
            order_id: request for order_id, request in self._prompts.items() if orders[order_id].username == username
        }

    def pick(self, caller: Caller, order_id: int, request: str, option: str, now: datetime) -> bool:
        """Answer a prompt; False where there is none. "Yes" sends the order again under a new id."""
        order = self._exchange.orders.get(order_id)
        if order is None or order.username != caller.username or self._prompts.get(order_id) != request:
            return False
        del self._prompts[order_id]
        if option == "Yes":
            again = self._exchange.new_order(
                replace(order.ticket, adaptive=True),
                account=order.account,
                username=order.username,
                now=now,
                state="parked",
            )
            again.replaces = order.id
            self._exchange.accept(again, now)
        return True

    # --- questions ---------------------------------------------------------------------------------------------

    def reply(self, caller: Caller, question_id: str, confirmed: bool, now: datetime) -> Answer:
        """Answer an open question. Refused carries 400 for an id nobody waits on, 503 for one that was voided."""
        question = self._questions.get(question_id)
        if question is None or question.username != caller.username or self._too_old(question, now):
            return Refused(f"reply id not found: '{question_id}'", 400)
        if question.voided:
            return Refused("Service Unavailable", 503)
        del self._questions[question_id]
        if not confirmed:
            self._decline(question, now)
            return Refused("Order not confirmed ")
        rest = _unsuppressed(question.rest, caller.suppressed)
        if rest:
            return Asked(self._ask(caller, question.orders, rest, now, question.new_ticket, question.failed))
        if question.new_ticket is not None:
            return self._change(question.orders[0], question.new_ticket, now)
        if self._world.quirks.release_both:
            self._release_alike(question, now)
        return self._accept(question.orders, now, question.failed)

    def _too_old(self, question: OpenQuestion, now: datetime) -> bool:
        return (now - question.asked_at).total_seconds() > self._world.quirks.reply_lifetime_s

    def _decline(self, question: OpenQuestion, now: datetime) -> None:
        if question.kind == "modify":
            return
        for order in question.orders:
            if order.state in ("parked", "saved"):
                order.state = "declined"
                order.ended_at = now
                order.note(now, "declined", self._world.request_id)

    def _release_alike(self, confirmed: OpenQuestion, now: datetime) -> None:
        """As recorded: confirming one order let another go that waited behind the same warning."""
        ids = {message.id for message in confirmed.messages}
        for question in list(self._questions.values()):
            alike = ids & {message.id for message in question.messages}
            if question.username == confirmed.username and question.kind == "place" and alike:
                del self._questions[question.id]
                self._accept(question.orders, now, question.failed)

    def _void_questions(self, username: str) -> None:
        if self._world.quirks.void_older_questions:
            for question in self._questions.values():
                question.voided = question.voided or question.username == username

    def note_read(self, username: str) -> None:
        """A read of orders or trades by this user; by a quirk it voids an open question."""
        if self._world.quirks.reads_void_questions:
            self._void_questions(username)

    def forget(self, order: SimOrder, at: datetime) -> None:
        """The trading day is over for an order that was never transmitted (§3.2)."""
        order.state = "declined"
        order.ended_at = at
        order.note(at, "forgotten", 0)
        self._questions = {id_: q for id_, q in self._questions.items() if order not in q.orders}

    # --- changing and cancelling -----------------------------------------------------------------------------------

    def modify(self, caller: Caller, order_id: int, ticket: SimTicket, now: datetime) -> Answer:
        """Put new terms in the place of an order's old ones; what is left out of the ticket counts as changed."""
        order = self._exchange.orders.get(order_id)
        if order is None or order.account != caller.account:
            return Refused(f"OrderID {order_id} doesn't exist", 400)
        if order.state == "parked":
            return Refused("Order is inactive", 400)
        if order.state not in ("live", "saved"):
            return Refused("Cannot modify a filled order." if order.state == "filled" else _not_editable(order))
        if ticket.instrument.key != order.ticket.instrument.key or ticket.side != order.ticket.side:
            return Refused(_not_editable(order))
        if ticket.quantity < order.filled or ticket.quantity <= 0:
            return Refused(_not_editable(order))
        refused = refusals.for_ticket(self._world, caller.account, ticket, now)
        if refused is not None:
            return Refused(refused)
        self._void_questions(caller.username)
        messages = modify_messages(order.ticket, ticket, self._world.quirks) + self._messages(caller, ticket, now)
        rounds = grouped(messages, caller.suppressed, self._world.quirks.question_style)
        if rounds:
            return Asked(self._ask(caller, (order,), rounds, now, ticket))
        return self._change(order, ticket, now)

    def _change(self, order: SimOrder, ticket: SimTicket, now: datetime) -> Answer:
        if order.state not in ("live", "saved") or ticket.quantity < order.filled:
            # A fill overtook the change: the fill stands (§6).
            return Refused("Cannot modify a filled order." if order.state == "filled" else _not_editable(order))
        old = order.ticket
        order.ticket = replace(ticket, ref=old.ref, parent=old.parent, one_group=old.one_group)
        order.note(now, "modified", self._world.request_id, **refusals.terms(order.ticket))
        if order.elected_at is None and _stop_terms(old) != _stop_terms(order.ticket):
            self._exchange.restart_stop(order)
        else:
            self._exchange.move_stop(order, order.stop_now)
        order.last_hit = None
        order.since = now
        if order.state == "saved" and not ticket.deactivated:
            self._exchange.accept(order, now)
        elif order.remaining == 0:
            order.state = "filled"
            order.ended_at = now
        else:
            self._exchange.touch(order, now)
        return Taken(_rows([order]))

    def cancel(self, account: str, order_id: int, now: datetime) -> Refused | tuple[SimOrder, bool]:
        """Ask for a cancel: the order, and whether it is already done."""
        order = self._exchange.orders.get(order_id)
        if order is None or order.account != account or order.state == "declined":
            return Refused(f"OrderID {order_id} doesn't exist", 400)
        if order.state == "parked":
            return Refused("Order is inactive", 400)
        if order.state == "saved":
            self._exchange.end(order, "cancelled", now)
            return order, True
        if not order.working:
            state = {"filled": "Filled", "cancelled": "Cancelled"}.get(order.state, "Inactive")
            text = f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {state}"
            return Refused(text, 400)
        return order, self._exchange.request_cancel(order, now)

    def cancel_all(self, account: str, now: datetime) -> list[SimOrder]:
        """Ask for a cancel of everything the account has working."""
        working = [o for o in self._exchange.orders.values() if o.account == account and o.state == "live"]
        for order in working:
            if order.state == "live":
                self._exchange.request_cancel(order, now)
        return working

    def warnings(self, caller: Caller, ticket: SimTicket, now: datetime) -> list[str]:
        """Texts of what would be asked, for a preview: suppressed ones left out."""
        rounds = grouped(self._messages(caller, ticket, now), caller.suppressed, "together")
        return [message.text for messages in rounds for message in messages]

    def as_list(self) -> list[dict[str, Any]]:
        return [
            {
                "id": question.id,
                "username": question.username,
                "account": question.account,
                "asked_at": question.asked_at,
                "kind": question.kind,
                "message_ids": [message.id for message in question.messages],
                "order_ids": [order.id for order in question.orders],
                "voided": question.voided,
            }
            for question in self._questions.values()
        ]


def _stop_terms(ticket: SimTicket) -> tuple[Any, ...]:
    """What a trailing stop's place follows from: where none of it changes, the stop stays where it is. [sim]"""
    return ticket.order_type, ticket.stop, ticket.trail, ticket.offset, ticket.limit if ticket.offset else None


def _has_data(caller: Caller, ticket: SimTicket) -> bool:
    """Whether the session has market data for an order: of a combo its own, or that of all its legs. [sim]"""
    instrument = ticket.instrument
    legs = instrument.legs
    return caller.has_line(instrument.key) or (bool(legs) and all(caller.has_line(leg.instrument.key) for leg in legs))


def _not_editable(order: SimOrder) -> str:
    """TWS 161's wording. Source: docs/facts/orders.md §6."""
    state = {"pending_cancel": "PendingCancel", "cancelled": "Cancelled", "live": "Submitted"}.get(
        order.state, "Inactive"
    )
    return f"Cancel attempted when order is not in a cancellable state. Order permId={order.id}, state: {state}"


def _unsuppressed(rounds: Sequence[tuple[Message, ...]], suppressed: Collection[str]) -> list[tuple[Message, ...]]:
    kept = (tuple(m for m in messages if m.id not in suppressed) for messages in rounds)
    return [messages for messages in kept if messages]


def _rows(orders: Sequence[SimOrder], failed: Sequence[str] = ()) -> tuple[Row, ...]:
    """What was refused comes first, children before their parents (§1.7 items 1 and 3)."""
    ordered = sorted(orders, key=lambda order: (order.parent is None, order.id))
    return (*(Row(None, text) for text in failed), *(Row(order) for order in ordered))
