"""Gathering what the risk controls must know, from the broker and from our own journal.

What costs a call and changes slowly is kept by the broker's adapter for half a minute; positions are read fresh, and
quotes last, because they age fastest. An order that our own journal proves to close asks for its price grid alone.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError, LimitExceeded
from ibkit.model import (
    AccountId,
    ComboLeg,
    Conid,
    Contract,
    Order,
    OrderId,
    OrderTicket,
    Position,
    Quote,
    Right,
    SecType,
    Side,
)
from ibkit.trading.events import IntentId, Operation, Planned
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker, Journal
from ibkit.trading.ref import same_ref
from ibkit.trading.risk import UNPRICED, Facts, Holding, Limits, Market, Mode, RiskBook, scope_of
from ibkit.trading.tracking import Tracker

__all__ = ["ORDERS_AGE_S", "FactFinder"]

ORDERS_AGE_S = 30.0
"""How old the list of open orders may be: what left since then, the journal knows."""
_OPTIONS = (SecType.OPTION, SecType.FUTURE_OPTION)


@dataclass(frozen=True, slots=True)
class _Worth:
    """Of an account, in its base currency. unknown: why the day's profit and loss is not known."""

    net_liquidation: Decimal | None = None
    daily: Decimal | None = None
    at: datetime | None = None
    currency: str | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class FactFinder:
    broker: Broker
    journal: Journal
    tracker: Tracker
    clock: Clock
    book: RiskBook
    live_confirmed: bool | Collection[AccountId]

    async def login(self, account_id: AccountId) -> Facts:
        """What a cancel needs: whose login this is."""
        return Facts(broker_is_paper=await self.broker.is_paper(), live_confirmed=self._confirmed(account_id))

    async def gather(self, planned: Planned, *, given: Facts | None, talking: bool = False) -> Facts:
        """`given` completed for what is planned: what is missing or too old is asked of the broker.

        talking: the caller holds the conversation that the intent is of, so its account may be selected
        (`Broker.daily_pnl`). What was planned under another name of the login is talked about in that name's lane.
        """
        talking = talking and planned.username == self.broker.username
        assert planned.ticket is not None, "a cancel needs its login alone"
        tickets = (planned.ticket, *planned.others)
        facts = dataclasses.replace(
            given or Facts(),
            broker_is_paper=await self.broker.is_paper(),
            live_confirmed=self._confirmed(planned.account_id),
            health=await self.broker.session_health(),
        )
        if await self._closes(tickets, planned):
            return await self._with_grids(tickets, dataclasses.replace(facts, reduces=True))
        limits = await self.book.limits(scope_of(planned))
        facts = await self._with_orders(planned, facts)
        facts = await self._with_account(planned.account_id, tickets, facts, limits, talking=talking)
        facts = await self._with_grids(tickets, facts)
        if limits.regular_hours:
            facts = await self._with_hours(tickets, facts)
        return await self._with_prices(tickets, facts, limits)

    def _confirmed(self, account_id: AccountId) -> bool:
        said = self.live_confirmed
        return said if isinstance(said, bool) else account_id in said

    # -- proof that it closes ---------------------------------------------------------------------------------------

    async def _closes(self, tickets: tuple[OrderTicket, ...], planned: Planned) -> bool:
        """Whether our own journal proves that `tickets` undo what the intent `planned.reduces` has filled.

        LimitExceeded where it was named, but has nothing left to undo: such an order would turn the position round.
        """
        reduces = planned.reduces
        if reduces is None:
            return False
        parent = await self.journal.get(reduces)
        for ticket in tickets:
            if parent is None or not _undoes(ticket, parent):
                raise LimitExceeded(
                    f"{ticket.label} does not undo what {reduces} filled", details={"control": "nothing_to_reduce"}
                )
        assert parent is not None, "there is at least one ticket"
        filled: defaultdict[IntentId, Decimal] = defaultdict(Decimal)
        waiting: defaultdict[IntentId, Decimal] = defaultdict(Decimal)
        counted: set[OrderId] = set()
        for other in await self.journal.reducing(reduces):
            # The orders of one group end each other: what they filled counts in full, of what may yet fill the largest.
            group = other.planned.leg_of or other.intent_id
            if other.operation is not Operation.PLACE or other.state in _UNSENT or group == planned.intent_id:
                continue
            if other.order_id in counted:
                continue  # a group that was found by another of its orders has that one's number, too
            if other.order_id is not None:
                counted.add(other.order_id)
            filled[group] += other.filled
            if not other.final or other.state.denies:
                waiting[group] = max(waiting[group], _may_fill(other))
        left = parent.filled - sum((max(filled[group], waiting[group]) for group in filled), Decimal(0))
        largest = max(ticket.quantity for ticket in tickets)
        if left < largest:
            raise LimitExceeded(
                f"{tickets[0].label}: only {left:f} of {parent.filled:f} are left to undo",
                details={"control": "nothing_to_reduce"},
            )
        return True

    # -- the account ------------------------------------------------------------------------------------------------

    async def _with_orders(self, planned: Planned, facts: Facts) -> Facts:
        """Open orders that are not ours, and how much of ours is filled. None where IBKR shows no complete list."""
        read = await self.broker.recent_orders(planned.account_id, within_s=ORDERS_AGE_S)
        if not read.complete:
            read = await self.broker.recent_orders(planned.account_id, within_s=ORDERS_AGE_S)
        if not read.complete:
            return facts
        ours = [i for i in await self.journal.open_orders(planned.account_id) if i.operation is not Operation.EXTERNAL]
        replaces = next((row for row in read.orders if row.order_id == planned.target), None)
        if replaces is not None and planned.ticket is not None and not _is_of(replaces, planned.ticket):
            raise ConfigError(
                f"Invalid request: order {replaces.order_id} is to {replaces.side.value} {replaces.description}: "
                "a change keeps contract and side",
                code="E-VALIDATION",
                remedy="Cancel it and place another.",
                details={"field": "contract" if replaces.side is planned.ticket.side else "side"},
            )
        standing = [row for row in read.orders if row.account_id == planned.account_id and not row.status.terminal]
        return dataclasses.replace(
            facts,
            others=tuple([row for row in standing if not await self._is_ours(row, ours)]),
            filled=_filled(ours, read.orders),
            replaces=replaces,
        )

    async def _is_ours(self, row: Order, ours: Iterable[Intent]) -> bool:
        """By its number, its mark, or its parent's number (a child whose intent is not written yet)."""
        if any(row.order_id == intent.order_id or row.parent_id == intent.order_id for intent in ours):
            return True
        if row.ref is None:
            return False
        known = await self.journal.get(IntentId(row.ref.strip().casefold()))
        return known is not None and same_ref(known.ref, row.ref) and known.order_id in (None, row.order_id)

    async def _with_account(
        self, account_id: AccountId, tickets: tuple[OrderTicket, ...], facts: Facts, limits: Limits, *, talking: bool
    ) -> Facts:
        read_at = self.clock.now()
        positions = await self.broker.positions(account_id)
        wanted = {ticket.contract.currency for ticket in tickets} | {p.contract.currency for p in positions}
        needs_worth = limits.max_exposure is not None or limits.max_daily_loss_pct is not None
        worth = await self._worth(account_id, select=talking) if needs_worth else _Worth()
        base = worth.currency
        rates = await self._rates(wanted | ({base} if base else set()), facts.rates)
        rate = rates.get(base or "")
        held = sum((p.quantity for p in positions if p.contract.conid == tickets[0].contract.conid), Decimal(0))
        return dataclasses.replace(
            facts,
            read_at=read_at,
            positions=_holdings(positions, rates),
            position=held,
            open_short_options=_short_options(positions),
            rates=rates,
            net_liquidation=_times(worth.net_liquidation, rate),
            daily_pnl=_times(worth.daily, rate),
            pnl_at=worth.at,
            pnl_unknown=worth.unknown,
        )

    async def _worth(self, account_id: AccountId, *, select: bool) -> _Worth:
        """What cannot be read is not known; net liquidation then stands in the account's own summary, too."""
        try:
            told = await self.broker.daily_pnl(account_id, select=select)
            why = f"IBKR tells it of the account that its session has selected, and did not of {account_id}"
        except IbkitError as error:
            told, why = None, f"asked of {account_id}, IBKR told nothing: {error.message}"
        if told is not None:
            return _Worth(told.net_liquidation, told.daily, told.at, await self._currency(account_id))
        try:
            summary = await self.broker.summary(account_id)
        except IbkitError:
            return _Worth(unknown=why)
        return _Worth(summary.net_liquidation, currency=summary.currency, unknown=why)

    async def _currency(self, account_id: AccountId) -> str | None:
        accounts = await self.broker.accounts()
        return next((account.currency for account in accounts if account.account_id == account_id), None)

    async def _rates(self, currencies: Iterable[str], known: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
        """USD for one unit of each; a currency of which IBKR says nothing is left out."""
        rates = {"USD": Decimal(1), **known}
        for currency in sorted(currencies):
            if currency in rates:
                continue
            try:
                rate = await self.broker.exchange_rate(currency)
            except IbkitError:
                continue
            if rate is not None:
                rates[currency] = rate
        return rates

    # -- the contracts ----------------------------------------------------------------------------------------------

    async def _with_grids(self, tickets: tuple[OrderTicket, ...], facts: Facts) -> Facts:
        for ticket in tickets:
            if ticket.limit_price is None and ticket.stop_price is None:
                continue
            if _market(facts, tickets, ticket.contract).increments is None:
                grid = await grid_of(self.broker, ticket.contract, side=ticket.side)
                facts = _known(facts, tickets, ticket.contract, increments=grid)
        return facts

    async def _with_hours(self, tickets: tuple[OrderTicket, ...], facts: Facts) -> Facts:
        for contract in _parts(tickets):
            if _market(facts, tickets, contract).hours is None:
                facts = _known(facts, tickets, contract, hours=await self.broker.trading_hours(contract))
        return facts

    async def _with_prices(self, tickets: tuple[OrderTicket, ...], facts: Facts, limits: Limits) -> Facts:
        """Quotes of all contracts, legs, and underlyings of what is sold without a planned stop, in one request."""
        now = self.clock.now()
        parts = {part.conid: part for part in _parts(tickets)}
        age_s = _age_wanted(tickets, limits)
        stale = [c for c in parts.values() if not _fresh(_market(facts, tickets, c), now, age_s)]
        sold = _sold_options(tickets) if facts.planned_stop is None else ()
        spots = [
            option.underlying_conid
            for option in sold
            if option.underlying_conid is not None and _market(facts, tickets, option).underlying_price is None
        ]
        wanted = tuple(dict.fromkeys([*(contract.conid for contract in stale), *spots]))
        if not wanted:
            return facts
        asked = [await self.broker.quote(wanted[0])] if len(wanted) == 1 else await self.broker.quotes(wanted)
        quotes: dict[Conid, Quote] = dict(zip(wanted, asked, strict=True))
        read_at = self.clock.now()
        for contract in stale:
            facts = _known(facts, tickets, contract, quote=quotes[contract.conid], quote_at=read_at)
        for option in sold:
            spot = quotes.get(option.underlying_conid) if option.underlying_conid is not None else None
            if spot is not None:
                facts = _known(facts, tickets, option, underlying_price=spot.best)
        return facts


def _is_of(row: Order, ticket: OrderTicket) -> bool:
    """Whether the order can be changed to `ticket` at all. Source: docs/facts/orders.md §6.

    Of a combination IBKR may name the spread or a leg, and the legs in an order of its own (assumed, as in `evidence`).
    """
    return bool(ticket.contract.legs) or (row.side is ticket.side and row.conid == ticket.contract.conid)


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
    return max((intent.size, *(other.quantity for other in intent.planned.others)))


def _undoes(ticket: OrderTicket, parent: Intent) -> bool:
    return (
        parent.operation is Operation.PLACE
        and parent.planned.account_id == ticket.account_id
        and parent.ticket.contract.conidex == ticket.contract.conidex
        and parent.ticket.side is ticket.side.opposite
        and parent.filled >= ticket.quantity
    )


def _filled(ours: Iterable[Intent], rows: Iterable[Order]) -> dict[IntentId, Decimal]:
    """How much of each of our open orders is filled, as far as the journal or the list knows; all of one that ended."""
    by_number = {row.order_id: row for row in rows}
    found = {}
    for intent in ours:
        row = by_number.get(intent.order_id) if intent.order_id is not None else None
        seen = Decimal(0) if row is None else row.total if row.status.terminal else row.filled
        found[intent.intent_id] = max(intent.filled, seen)
    return found


def _holdings(positions: Iterable[Position], rates: Mapping[str, Decimal]) -> dict[Conid, Holding]:
    found: dict[Conid, Holding] = {}
    for position in positions:
        worth = _times(position.market_value, rates.get(position.contract.currency))
        known = found.get(position.contract.conid, Holding(quantity=Decimal(0), value_usd=Decimal(0)))
        value = None if worth is None or known.value_usd is None else known.value_usd + abs(worth)
        found[position.contract.conid] = Holding(quantity=known.quantity + position.quantity, value_usd=value)
    return found


def _short_options(positions: Iterable[Position]) -> Decimal:
    """Sold options that no bought one covers: same underlying and right, expiring no earlier (as in `risk.value`)."""
    sides: defaultdict[tuple[str, Right | None], list[Position]] = defaultdict(list)
    for position in positions:
        if position.contract.sec_type in _OPTIONS and position.quantity:
            sides[position.contract.symbol, position.contract.right].append(position)
    total = Decimal(0)
    for held in sides.values():
        # The short that lasts longest has the fewest to cover it, so it chooses first.
        held.sort(key=lambda p: (p.contract.expiry or date.min, p.quantity > 0), reverse=True)
        free = Decimal(0)
        for position in held:
            free += position.quantity
            if free < 0:
                total, free = total - free, Decimal(0)
    return total


def _times(amount: Decimal | None, rate: Decimal | None) -> Decimal | None:
    return None if amount is None or rate is None else amount * rate


def _parts(tickets: Iterable[OrderTicket]) -> tuple[Contract, ...]:
    """The contracts and legs, each once."""
    parts = [
        part
        for t in tickets
        for part in ([leg.contract for leg in t.contract.legs] if t.contract.legs else [t.contract])
    ]
    return tuple({part.conid: part for part in parts}.values())


def _sold_options(tickets: Iterable[OrderTicket]) -> tuple[Contract, ...]:
    """Options that would be short: sold, or a leg on the sold side of a combination."""
    found = []
    for ticket in tickets:
        sign = 1 if ticket.side is Side.BUY else -1
        legs = ticket.contract.legs or (ComboLeg(ticket.contract, 1),)
        found += [leg.contract for leg in legs if leg.contract.sec_type in _OPTIONS and leg.ratio * sign < 0]
    return tuple(found)


def _age_wanted(tickets: Iterable[OrderTicket], limits: Limits) -> float:
    """How old a quote may be: younger for what trades at whatever the market is (RC-11)."""
    unpriced = any(ticket.order_type in UNPRICED for ticket in tickets)
    guarded = unpriced and limits.market_orders is not Mode.OFF
    return min(limits.quote_age_s, limits.market_quote_age_s) if guarded else limits.quote_age_s


def _fresh(market: Market, now: datetime, within_s: float) -> bool:
    return (
        market.quote is not None
        and market.quote_at is not None
        and (now - market.quote_at <= timedelta(seconds=within_s))
    )


def _is_first(tickets: tuple[OrderTicket, ...], contract: Contract) -> bool:
    """What is known of the first order's contract stands in the facts themselves."""
    return contract.conidex == tickets[0].contract.conidex


def _market(facts: Facts, tickets: tuple[OrderTicket, ...], contract: Contract) -> Market:
    if _is_first(tickets, contract):
        return Market(
            quote=facts.quote,
            quote_at=facts.quote_at,
            increments=facts.increments,
            underlying_price=facts.underlying_price,
            hours=facts.hours,
        )
    return facts.markets.get(contract.conid, Market())


def _known(facts: Facts, tickets: tuple[OrderTicket, ...], contract: Contract, **news: object) -> Facts:
    if _is_first(tickets, contract):
        return dataclasses.replace(facts, **news)  # type: ignore[arg-type]  # fields of both, by name
    market = dataclasses.replace(facts.markets.get(contract.conid, Market()), **news)  # type: ignore[arg-type]
    return dataclasses.replace(facts, markets={**facts.markets, contract.conid: market})
