"""What trading needs of the world, as small protocols that `client/broker.py` and `store/` fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from ibkit.model import (
    Account,
    AccountId,
    AccountSummary,
    Answer,
    CancelAck,
    Conid,
    Contract,
    Fill,
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
    Side,
    Username,
)

__all__ = ["Broker", "FillsRead", "OrdersRead", "SessionMark"]


@dataclass(frozen=True, slots=True)
class SessionMark:
    """Which brokerage session and trading day a call belonged to: absence counts only within one of each."""

    session: str
    trading_day: date


@dataclass(frozen=True, slots=True)
class OrdersRead:
    """One read of an account's live orders.

    complete: the broker said `snapshot:true`, unfiltered, and the list was not cut (< 1,000 rows).
    first:    it was the session's first read, which proves nothing.
    """

    orders: tuple[Order, ...]
    complete: bool
    first: bool
    mark: SessionMark


@dataclass(frozen=True, slots=True)
class FillsRead:
    """One read of an account's executions; `first` as in OrdersRead."""

    fills: tuple[Fill, ...]
    first: bool
    mark: SessionMark


class Broker(Protocol):
    """One IBKR login. Every call is sent at most once where it may change something.

    Errors say what is known: `Unreachable` and `Refused` have effect NONE (nothing happened); `OutcomeUnknown`
    and `UnexpectedAnswer` have effect UNKNOWN (look before anything is sent again). A question, a rejection in
    an answer and "already registered" are `Answer`s, not exceptions.
    """

    @property
    def username(self) -> Username:
        """The IBKR user name: one order conversation at a time for each."""
        ...

    async def mark(self) -> SessionMark: ...

    async def accounts(self) -> tuple[Account, ...]: ...

    async def is_paper(self) -> bool:
        """The broker's own word (`isPaper` of /iserver/accounts)."""
        ...

    async def summary(self, account_id: AccountId) -> AccountSummary: ...

    async def positions(self, account_id: AccountId) -> tuple[Position, ...]:
        """All of them, fresh (not from the portfolio cache), or an error; never a part."""
        ...

    async def underlying(self, symbol: str) -> Contract:
        """The stock, ETF or index that `symbol` means on its primary US listing. NotFound (E-CONTRACT)."""
        ...

    async def option(self, symbol: str, *, expiry: date, strike: Decimal, right: Right) -> Contract:
        """The one listed option. NotFound with E-CONTRACT (nearest strikes) or E-EXPIRY (next expiries)."""
        ...

    async def option_strikes(self, symbol: str, *, expiry: date, right: Right) -> tuple[Contract, ...]:
        """All options of that expiry and right, ascending by strike."""
        ...

    async def increments(self, contract: Contract, *, side: Side) -> Increments: ...

    async def quote(self, conid: Conid) -> Quote:
        """A warmed-up quote: bid and ask waited for (0.5 s steps, at most 6 s), then as it is."""
        ...

    async def quotes(self, conids: tuple[Conid, ...]) -> tuple[Quote, ...]:
        """Like `quote` for many at once, in the order asked."""
        ...

    async def preview(self, ticket: OrderTicket) -> Preview: ...

    async def place(self, ticket: OrderTicket, *, ref: Ref) -> Answer: ...

    async def reply(self, question_id: QuestionId, *, confirmed: bool) -> Answer: ...

    async def modify(self, order_id: OrderId, ticket: OrderTicket) -> Answer:
        """`ticket` in full: what it leaves out counts as changed (docs/facts/orders.md §6)."""
        ...

    async def cancel(self, account_id: AccountId, order_id: OrderId) -> CancelAck: ...

    async def read_orders(self, account_id: AccountId) -> OrdersRead: ...

    async def read_fills(self, account_id: AccountId, *, days: int = 1) -> FillsRead: ...

    async def order(self, order_id: OrderId) -> Order | None:
        """None where the broker does not know it (or it is parked behind a question)."""
        ...
