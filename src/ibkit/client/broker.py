"""The client as `trading` sees it: fits `trading.ports.Broker`, model in and model out.

It adds what a port promises and a verb does not: which session and day a read belonged to, whether it was the
session's first, and that a sign-in is not renewed while a question is open.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ibkit.client.api import orders as api
from ibkit.client.api.marketdata import open_line
from ibkit.client.client import Client
from ibkit.client.opening import Opening
from ibkit.client.risk_reads import RiskReads
from ibkit.errors import IbkitError, OutcomeUnknown
from ibkit.model import (
    Account,
    AccountId,
    AccountSummary,
    Answer,
    Asked,
    CancelAck,
    Conid,
    Contract,
    GroupKind,
    Increments,
    Order,
    OrderId,
    OrderTicket,
    Position,
    Preview,
    QuestionId,
    Quote,
    Ref,
    Right,
    SendPermit,
    Side,
    Username,
)
from ibkit.trading.ports import FillsRead, OrdersRead, SessionMark
from ibkit.trading.risk import DailyPnl, SessionHealth, TradingHours
from ibkit.wire.orders import LIVE_ORDERS_ROWS

__all__ = ["IbkrBroker"]

log = logging.getLogger(__name__)

NEW_YORK: Final = ZoneInfo("America/New_York")
_READS_KEPT: Final = 8
"""Of each account: what is read within half a minute."""


class _Complete(NamedTuple):
    """A complete list: when it was asked for and when it was there, by the clock's monotonic time."""

    asked_at: float
    read_at: float
    read: OrdersRead


class IbkrBroker:
    """One open client; who opens and closes it is not its business."""

    def __init__(self, ib: Client) -> None:
        self._ib = ib
        self._orders_read: set[tuple[str, AccountId]] = set()
        self._fills_read: set[tuple[str, AccountId]] = set()
        self._question_open = False
        self._asked: set[QuestionId] = set()
        self._told: Username | None = None
        self._last_mark: SessionMark | None = None
        self._selection: tuple[AccountId | None, int] | None = None
        self._reselected = False
        self._reads = RiskReads(ib)
        self._complete: dict[AccountId, deque[_Complete]] = {}

    async def identify(self) -> Username:
        """Ask IBKR whose login this is: another sign-in of the same user, in another process, must meet our lock.

        Where IBKR does not say, the name from the settings or the sign-in's label has to do; the lock then holds
        against processes with the same settings only.
        """
        self._told = await self._ib.whoami()
        if self._told is None:
            log.warning("IBKR does not tell the user name", extra={"username": self.username})
        return self.username

    @property
    def username(self) -> Username:
        """In lower case, as IBKR shows it: people write their user names as they like."""
        return Username((self._told or self._ib.username).lower())

    async def mark(self) -> SessionMark:
        return self._marked(await self._ib.brokerage_accounts())

    async def _mark_now(self) -> SessionMark:
        mark = self._last_mark = self._marked(await self._ib.brokerage_accounts_now())
        return mark

    def _marked(self, opening: Opening) -> SessionMark:
        self._note_selection(opening)
        return SessionMark(session=opening.session or "", trading_day=self._ib.clock.now().astimezone(NEW_YORK).date())

    def _note_selection(self, opening: Opening) -> None:
        """After another account was selected the lists have to be asked for anew: a first one may be empty or partial.

        Source: docs/facts/accounts-and-portfolio.md §1.2; docs/facts/orders.md §9 rule 4.
        """
        selection = (opening.selected, self._reads.selections)
        if selection == self._selection:
            return
        self._reselected = self._reselected or self._selection is not None
        self._selection = selection
        self._orders_read.clear()
        self._fills_read.clear()

    async def accounts(self) -> tuple[Account, ...]:
        return await self._ib.accounts()

    async def is_paper(self) -> bool | None:
        return (await self._ib.brokerage_accounts()).is_paper

    async def summary(self, account_id: AccountId) -> AccountSummary:
        return await self._ib.summary(account_id)

    async def positions(self, account_id: AccountId) -> tuple[Position, ...]:
        return await self._ib.positions(account_id, fresh=True)

    async def underlying(self, symbol: str) -> Contract:
        return await self._ib.underlying(symbol)

    async def option(self, symbol: str, *, expiry: date, strike: Decimal, right: Right) -> Contract:
        return await self._ib.option(symbol, expiry=expiry, strike=strike, right=right)

    async def option_strikes(
        self, symbol: str, *, expiry: date, right: Right, near: Decimal | None = None, at_most: int | None = None
    ) -> tuple[Contract, ...]:
        return await self._ib.option_strikes(symbol, expiry=expiry, right=right, near=near, at_most=at_most)

    async def increments(self, contract: Contract, *, side: Side) -> Increments:
        return await self._ib.increments(contract.conid, side=side)

    async def quote(self, conid: Conid) -> Quote:
        return await self._ib.quote(conid)

    async def quotes(self, conids: tuple[Conid, ...]) -> tuple[Quote, ...]:
        return await self._ib.quotes(conids)

    async def preview(self, ticket: OrderTicket) -> Preview:
        return await self._ib.preview(ticket)

    async def place(
        self,
        ticket: OrderTicket,
        *,
        ref: Ref,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        permit: SendPermit | None = None,
    ) -> Answer:
        for contract in {each.contract.conidex: each.contract for each in (ticket, *others)}.values():
            await open_line(self._ib, contract)
        async with self._ib.conversation():
            answer = await api.place(self._ib, ticket, ref=ref, others=others, group=group, permit=permit)
            return self._heard(answer)

    async def reply(
        self, question_id: QuestionId, *, confirmed: bool, ref: Ref | None = None, permit: SendPermit | None = None
    ) -> Answer:
        try:
            return self._heard(await api.reply(self._ib, question_id, confirmed=confirmed, ref=ref, permit=permit))
        except BaseException:
            self._close_question()
            raise

    async def modify(self, order_id: OrderId, ticket: OrderTicket, *, permit: SendPermit | None = None) -> Answer:
        async with self._ib.conversation():
            return self._heard(await api.modify(self._ib, order_id, ticket, permit=permit))

    async def cancel(self, account_id: AccountId, order_id: OrderId, *, permit: SendPermit | None = None) -> CancelAck:
        return await api.cancel(self._ib, account_id, order_id, permit=permit)

    async def read_orders(self, account_id: AccountId) -> OrdersRead:
        # A list may be the session's own: whose it is must be the same before and after, for a change makes no error.
        # What was told before may be of any age: a session that was left does not come back.
        before = self._last_mark or await self._mark_now()
        asked_at = self._ib.clock.monotonic()
        orders, snapshot = await self._ib.orders(account_id)
        mark = await self._mark_now()
        new = _first(self._orders_read, mark, account_id)
        read = OrdersRead(
            orders=tuple(order for order in orders if order.account_id == account_id),
            complete=snapshot and len(orders) < LIVE_ORDERS_ROWS and not (new and self._reselected),
            first=new or mark != before,
            mark=mark,
        )
        if read.complete:
            known = self._complete.setdefault(account_id, deque(maxlen=_READS_KEPT))
            known.append(_Complete(asked_at, self._ib.clock.monotonic(), read))
        return read

    async def prime(self, account_id: AccountId) -> None:
        """Ask for the first time what a session's first answer leaves empty, and may be asked once in 5 s only.

        The look-ups before an order take the time that would otherwise be waited right before it is sent.
        Source: docs/facts/orders.md §9 rule 1, §11.
        """
        for first in (self.read_orders, self.read_fills, self._pnl_once):
            try:
                await first(account_id)
            except IbkitError as error:
                log.debug("not primed", extra={"code": error.code})

    async def _pnl_once(self, account_id: AccountId) -> DailyPnl | None:
        return await self._reads.daily_pnl(account_id, patient=False)

    async def recent_orders(self, account_id: AccountId, *, within_s: float) -> OrdersRead:
        known = self._complete.get(account_id)
        if known is not None:
            last = known[-1]
            same_session = last.read.mark.session == (await self.mark()).session
            if same_session and self._ib.clock.monotonic() - last.read_at <= within_s:
                return last.read
        return await self.read_orders(account_id)

    def orders_read_since(self, account_id: AccountId, asked_at: float) -> tuple[OrdersRead, ...]:
        known = self._complete.get(account_id, ())
        return tuple(each.read for each in known if each.asked_at >= asked_at)

    async def read_fills(self, account_id: AccountId, *, days: int = 1) -> FillsRead:
        before = self._last_mark or await self._mark_now()
        fills = await self._ib.fills(account_id, days=days)
        mark = await self._mark_now()
        first = _first(self._fills_read, mark, account_id) or mark != before
        return FillsRead(fills=fills, first=first, mark=mark)

    async def order(self, order_id: OrderId) -> Order | None:
        return await self._ib.order(order_id)

    async def daily_pnl(self, account_id: AccountId, *, select: bool = False) -> DailyPnl | None:
        return await self._reads.daily_pnl(account_id, select=select)

    async def trading_hours(self, contract: Contract) -> TradingHours | None:
        return await self._reads.trading_hours(contract)

    async def exchange_rate(self, currency: str) -> Decimal | None:
        return await self._reads.exchange_rate(currency)

    async def session_health(self) -> SessionHealth:
        return await self._reads.session_health()

    def _heard(self, answer: Answer) -> Answer:
        """An open question keeps the conversation open, so that no renewal comes between it and the reply."""
        if isinstance(answer, Asked):
            if answer.question.question_id in self._asked:
                # A question names no order. One that was asked before is the answer to an earlier call, come late over
                # a connection in between: to reply would confirm that call's order, not this one's.
                self._close_question()
                raise OutcomeUnknown(
                    "IBKR's answer repeats an earlier question", code="E-UPSTREAM", details={"cause": "stale"}
                )
            self._asked.add(answer.question.question_id)
            if not self._question_open:
                self._question_open = True
                self._ib.keeper.conversations += 1
        else:
            self._close_question()
        return answer

    def _close_question(self) -> None:
        if self._question_open:
            self._question_open = False
            self._ib.keeper.conversations -= 1


def _first(seen: set[tuple[str, AccountId]], mark: SessionMark, account_id: AccountId) -> bool:
    key = (mark.session, account_id)
    if key in seen:
        return False
    seen.add(key)
    return True
