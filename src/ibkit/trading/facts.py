"""Gathering what the risk controls must know, from the broker and from our own journal."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import LimitExceeded
from ibkit.model import AccountId, Contract, OrderTicket, Position, Quote, SecType, Side
from ibkit.trading.events import IntentId, Operation, Planned
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.limits import Facts, Limits
from ibkit.trading.ports import Broker, Journal
from ibkit.trading.structure import net_quote
from ibkit.trading.tracking import Tracker

__all__ = ["FactFinder"]


@dataclass(frozen=True, slots=True)
class FactFinder:
    broker: Broker
    journal: Journal
    tracker: Tracker
    clock: Clock
    limits: Limits
    live_confirmed: bool

    async def login(self) -> Facts:
        """What a cancel needs: whose login this is."""
        return Facts(broker_is_paper=await self.broker.is_paper(), live_confirmed=self.live_confirmed)

    async def gather(self, ticket: OrderTicket, *, given: Facts | None, planned: Planned) -> Facts:
        """`given` completed for the order that is planned: what is missing or too old is asked of the broker."""
        facts = dataclasses.replace(
            given or Facts(), broker_is_paper=await self.broker.is_paper(), live_confirmed=self.live_confirmed
        )
        if await self._closes(ticket, planned):
            facts = dataclasses.replace(facts, reduces=True)
        else:
            facts = await self._with_positions(ticket, facts)
        has_price = ticket.limit_price is not None or ticket.stop_price is not None
        if has_price and facts.increments is None:
            grid = await grid_of(self.broker, ticket.contract, side=ticket.side)
            facts = dataclasses.replace(facts, increments=grid)
        if facts.reduces:
            return facts
        return await self._with_prices(ticket, facts)

    async def _closes(self, ticket: OrderTicket, planned: Planned) -> bool:
        """Whether our own journal proves that `ticket` undoes what the intent `planned.reduces` has filled.

        LimitExceeded where it was named, but has nothing left to undo: such an order would turn the position round.
        """
        reduces = planned.reduces
        if reduces is None:
            return False
        parent = await self.journal.get(reduces)
        if parent is None or not _undoes(ticket, parent):
            raise LimitExceeded(
                f"{ticket.label} does not undo what {reduces} filled", details={"control": "nothing_to_reduce"}
            )
        filled: defaultdict[IntentId, Decimal] = defaultdict(Decimal)
        waiting: defaultdict[IntentId, Decimal] = defaultdict(Decimal)
        for other in await self.journal.reducing(reduces):
            # The orders of one group end each other: what they filled counts in full, of what may yet fill the largest.
            group = other.planned.leg_of or other.intent_id
            if other.operation is not Operation.PLACE or other.state in _UNSENT or group == planned.intent_id:
                continue
            filled[group] += other.filled
            if not other.final or other.state.denies:
                waiting[group] = max(waiting[group], _may_fill(other))
        left = parent.filled - sum((max(filled[group], waiting[group]) for group in filled), Decimal(0))
        if left < ticket.quantity:
            raise LimitExceeded(
                f"{ticket.label}: only {left:f} of {parent.filled:f} are left to undo",
                details={"control": "nothing_to_reduce"},
            )
        return True

    async def _with_positions(self, ticket: OrderTicket, facts: Facts) -> Facts:
        positions = await self.broker.positions(ticket.account_id)
        held = sum((p.quantity for p in positions if p.contract.conid == ticket.contract.conid), Decimal(0))
        signed = ticket.quantity if ticket.side is Side.BUY else -ticket.quantity
        short = facts.open_short_options
        if ticket.side is Side.SELL and ticket.contract.sec_type is SecType.OPTION:
            short = _short_options(positions) + await self._unfinished_sales(ticket.account_id)
        reduces = held * signed < 0 and abs(held) >= ticket.quantity
        return dataclasses.replace(facts, position=held, open_short_options=short, reduces=reduces)

    async def _unfinished_sales(self, account_id: AccountId) -> Decimal:
        """Option contracts that orders of ours may still sell."""
        waiting = Decimal(0)
        for intent in await self.journal.unfinished(self.broker.username):
            if not _may_sell_options(intent, account_id):
                continue
            now = await self.tracker.refresh(intent) if intent.state is IntentState.ACKED else intent
            if not now.final:
                waiting += max(now.ticket.quantity - now.filled, Decimal(0))
        return waiting

    async def _with_prices(self, ticket: OrderTicket, facts: Facts) -> Facts:
        now = self.clock.now()
        fresh = facts.quote_at is not None and now - facts.quote_at <= timedelta(seconds=self.limits.quote_age_s)
        if facts.quote is None or not fresh:
            quote = await self._quote(ticket.contract)
            facts = dataclasses.replace(facts, quote=quote, quote_at=self.clock.now())
        option = ticket.contract.sec_type is SecType.OPTION
        needs_spot = option and ticket.side is Side.SELL and facts.planned_stop is None
        underlying = ticket.contract.underlying_conid
        if needs_spot and facts.underlying_price is None and underlying is not None:
            spot = (await self.broker.quote(underlying)).best
            facts = dataclasses.replace(facts, underlying_price=spot, quote_at=self.clock.now())
        return facts

    async def _quote(self, contract: Contract) -> Quote:
        if not contract.legs:
            return await self.broker.quote(contract.conid)
        return net_quote(contract, await self.broker.quotes(tuple(leg.contract.conid for leg in contract.legs)))


_UNSENT = (
    IntentState.INTENT,
    IntentState.CLAIMED,
    IntentState.REJECTED_LOCAL,
    IntentState.EXPIRED_LOCAL,
    IntentState.REJECTED_POLICY,
    IntentState.REJECTED_BROKER,
    IntentState.NOT_PLACED,
)


def _may_fill(intent: Intent) -> Decimal:
    """What an order that is open, or whose state is unknown, can still take away."""
    return intent.ticket.quantity


def _undoes(ticket: OrderTicket, parent: Intent) -> bool:
    return (
        parent.operation is Operation.PLACE
        and parent.planned.account_id == ticket.account_id
        and parent.ticket.contract.conidex == ticket.contract.conidex
        and parent.ticket.side is ticket.side.opposite
        and parent.filled >= ticket.quantity
    )


def _short_options(positions: tuple[Position, ...]) -> Decimal:
    shorts = (p.quantity for p in positions if p.contract.sec_type is SecType.OPTION and p.quantity < 0)
    return -sum(shorts, Decimal(0))


def _may_sell_options(intent: Intent, account_id: AccountId) -> bool:
    ticket = intent.planned.ticket
    return (
        intent.operation is Operation.PLACE
        and ticket is not None
        and ticket.account_id == account_id
        and ticket.side is Side.SELL
        and ticket.contract.sec_type is SecType.OPTION
        and intent.planned.reduces is None
        and intent.state not in (IntentState.INTENT, IntentState.CLAIMED)
    )
