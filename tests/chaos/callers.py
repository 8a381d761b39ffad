"""What callers do: they ask for a wish, with its own or another body, and remember what they are told."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import anyio

from ibkit.errors import IbkitError
from ibkit.model import AccountId, OrderId, OrderTicket, SecType
from ibkit.trading.outcome import Outcome

from .checker import TAKEN, Told
from .kinds import LONGEST_CANCELLING
from .process import ACCOUNT, Process
from .workload import Wish

if TYPE_CHECKING:
    from .schedule import Schedule

__all__ = ["Callers"]


class Callers:
    """The callers of one schedule; whichever process they ask."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    async def ask(self, wish: Wish, process: Process) -> None:
        """A caller asks `process` for the wish, and is told something, or leaves."""
        wish.asked += 1
        self._schedule.note(f"ask {wish.key}")
        with anyio.CancelScope() as scope:
            self._schedule.mortality.leave = scope.cancel
            try:
                if wish.operation == "cancel all":
                    await self._cancel_all(wish, process)
                    return
                outcome = await self._submitted(wish, wish.ticket, process)
                self._schedule.mortality.point("K13", "before")
                self._tell(wish, outcome)
                self._schedule.workload.follow(outcome, wish)
                self._schedule.mortality.point("K13", "after")
            except IbkitError as error:
                self._schedule.note(f"told {wish.key}: {type(error).__name__} {error.code} {error.message[:80]}")
                self._schedule.seen[f"error {type(error).__name__}"] += 1
                self._schedule.told.append(Told(self._schedule.clock.monotonic(), wish.key, error=type(error).__name__))
            finally:
                self._schedule.mortality.leave = None
        if scope.cancelled_caught:
            self._schedule.seen["caller left"] += 1

    async def _cancel_all(self, wish: Wish, process: Process) -> None:
        assert process.gateway is not None
        begun = self._schedule.clock.now()
        wish.done = wish.done or wish.asked >= LONGEST_CANCELLING
        result = await process.gateway.cancel_all(ACCOUNT, key=wish.key)
        wish.done = True
        self._schedule.seen["cancelled everything" if result.complete else "not everything cancelled"] += 1
        self._schedule.note(
            f"cancel all: complete {result.complete}, {len(result.cancelled)} cancelled, left {len(result.left)}"
        )
        left = [str(order.id) for order in self._schedule.broker.shown_since(begun, ACCOUNT)]
        if result.complete and left:
            self._schedule.breaches.append(f"S12: everything is called cancelled, while {', '.join(left)} works")

    async def _submitted(self, wish: Wish, ticket: OrderTicket | None, process: Process) -> Outcome:
        gateway = process.gateway
        assert gateway is not None
        if wish.operation == "cancel":
            return await gateway.cancel(wish.account, OrderId(wish.target), key=wish.key)
        assert ticket is not None
        if ticket.contract.sec_type in (SecType.OPTION, SecType.COMBO):
            # Nobody has an option's number without having asked for the chain in this session.
            assert process.client is not None
            await process.client.underlying(ticket.contract.symbol)
        if wish.operation == "modify":
            return await gateway.modify(OrderId(wish.target), ticket, key=wish.key)
        if wish.group is None:
            return await gateway.submit(ticket, key=wish.key)
        others = tuple(dataclasses.replace(other, quantity=ticket.quantity) for other in wish.others)
        return await gateway.submit(ticket, key=wish.key, others=others, group=wish.group)

    def _tell(self, wish: Wish, outcome: Outcome) -> None:
        intent = outcome.intent
        self._schedule.note(
            f"told {wish.key}: {intent.state.value} {intent.order_id or ''}"
            f"{' cached' if outcome.cached else ''} {intent.reason[:80]}"
        )
        self._schedule.seen["replay" if outcome.cached else "answer"] += 1
        stored = self._schedule.states.now().get(wish.key)
        # A twin may have followed the order further meanwhile; from taken it can only go on to taken.
        if stored != intent.state.value and not {stored, intent.state.value} <= TAKEN:
            self._schedule.breaches.append(f"S3: {wish.key} is told {intent.state.value} while the disk says {stored}")
        self._schedule.told.append(
            Told(
                self._schedule.clock.monotonic(),
                wish.key,
                intent.intent_id,
                intent.state.value,
                str(intent.order_id or ""),
            )
        )

    async def ask_other_body(self, wish: Wish, process: Process) -> None:
        """The same key for another order: refused, without effect; only where the first body is stored."""
        assert process.gateway is not None
        assert wish.ticket is not None
        if await process.gateway.find(wish.key) is None:
            return
        other = dataclasses.replace(wish.ticket, quantity=wish.ticket.quantity + 900)
        told = Told(self._schedule.clock.monotonic(), wish.key, other_body=True)
        try:
            outcome = await self._submitted(wish, other, process)
        except IbkitError as error:
            self._schedule.seen[f"other body: {type(error).__name__}"] += 1
            self._schedule.told.append(dataclasses.replace(told, error=type(error).__name__))
        else:
            intent = outcome.intent
            self._schedule.told.append(dataclasses.replace(told, intent_id=intent.intent_id, state=intent.state.value))

    async def recover(self, process: Process, *accounts: AccountId) -> None:
        """As the start of a run: settle what is left, follow what is open."""
        assert process.gateway is not None
        self._schedule.note("recover")
        try:
            found = await process.gateway.recover(*accounts)
        except IbkitError as error:
            self._schedule.note(f"recover: {type(error).__name__} {error.code} {error.message[:80]}")
        else:
            for intent in found:
                self._schedule.note(f"recovered {intent.key}: {intent.state.value} {intent.order_id or ''}")
                self._schedule.seen[f"recovered {intent.state.value}"] += 1
