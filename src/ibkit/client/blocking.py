"""The same client for code that does not await: every verb of `Client`, run in a loop of its own.

with BlockingClient(lambda: Client(auth=auth, base_url=url, transport=transport)) as ib:
    print(ib.accounts())
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import date
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ibkit.client.api.chain import Found, OptionChain
from ibkit.client.client import Client
from ibkit.client.opening import Opening
from ibkit.model import (
    Account,
    AccountId,
    AccountSummary,
    CashBalance,
    Conid,
    Contract,
    Fill,
    Increments,
    Order,
    OrderId,
    OrderTicket,
    Position,
    Preview,
    Quote,
    Right,
    Side,
    Username,
)
from ibkit.wire.contracts import ContractInfo, SearchRow, TradingSchedule
from ibkit.wire.endpoint import Needs
from ibkit.wire.marketdata import QUOTE_FIELDS, SnapshotRow
from ibkit.wire.session import BrokerageStatus, Validation

__all__ = ["BlockingClient", "has_uvloop"]

_T = TypeVar("_T")


class BlockingClient:
    """make: builds the client; it is called in the loop that the client then lives in."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal | None = None
        self._ib: Client | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio", {"use_uvloop": has_uvloop()}))
            made = portal.call(self._make)
            opened: AbstractContextManager[Client] = portal.wrap_async_context_manager(made)
            self._ib = stack.enter_context(opened)
            self._portal = portal
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()
        self._portal, self._ib = None, None

    @property
    def client(self) -> Client:
        """The async client inside; its verbs belong to its own loop."""
        if self._ib is None:
            raise RuntimeError("open the client first: with BlockingClient(…) as ib")
        return self._ib

    def _run(self, verb: Callable[..., Awaitable[_T]], *args: Any, **options: Any) -> _T:
        ib = self.client
        assert self._portal is not None
        return self._portal.call(partial(verb, ib, *args, **options))

    def connect(self, *, upto: Needs = Needs.PRIMED_ACCOUNTS) -> Opening:
        return self._run(Client.connect, upto=upto)

    def request(self, endpoint: Any, **options: Any) -> Any:
        return self._run(Client.request, endpoint, **options)

    # Session

    def status(self, *, kept: bool = False) -> BrokerageStatus:
        return self._run(Client.status, kept=kept)

    def tickle(self) -> BrokerageStatus:
        return self._run(Client.tickle)

    def validate(self) -> Validation:
        return self._run(Client.validate)

    def whoami(self) -> Username | None:
        return self._run(Client.whoami)

    def logout(self) -> None:
        self._run(Client.logout)

    # Accounts and portfolio

    def accounts(self) -> tuple[Account, ...]:
        return self._run(Client.accounts)

    def brokerage_accounts(self) -> Opening:
        return self._run(Client.brokerage_accounts)

    def brokerage_accounts_now(self) -> Opening:
        return self._run(Client.brokerage_accounts_now)

    def switch_account(self, account_id: AccountId) -> None:
        self._run(Client.switch_account, account_id)

    def selected_account(self, account_id: AccountId | None = None) -> AccountId:
        return self._run(Client.selected_account, account_id)

    def summary(self, account_id: AccountId | None = None) -> AccountSummary:
        return self._run(Client.summary, account_id)

    def ledger(self, account_id: AccountId | None = None) -> tuple[CashBalance, ...]:
        return self._run(Client.ledger, account_id)

    def positions(
        self, account_id: AccountId | None = None, *, zero: bool = False, fresh: bool = False
    ) -> tuple[Position, ...]:
        return self._run(Client.positions, account_id, zero=zero, fresh=fresh)

    def positions_now(self, account_id: AccountId | None = None, *, zero: bool = False) -> tuple[Position, ...]:
        return self._run(Client.positions_now, account_id, zero=zero)

    # Contracts

    def search(self, symbol: str) -> tuple[SearchRow, ...]:
        return self._run(Client.search, symbol)

    def underlying(self, symbol: str, *, exchange: str | None = None) -> Contract:
        return self._run(Client.underlying, symbol, exchange=exchange)

    def strikes(self, symbol: str, *, month: date, right: Right) -> tuple[Decimal, ...]:
        return self._run(Client.strikes, symbol, month=month, right=right)

    def expiries(self, symbol: str, *, on_or_after: date, at_least: int = 3) -> tuple[date, ...]:
        return self._run(Client.expiries, symbol, on_or_after=on_or_after, at_least=at_least)

    def option(
        self, symbol: str, *, expiry: date, strike: Decimal, right: Right, trading_class: str | None = None
    ) -> Contract:
        return self._run(Client.option, symbol, expiry=expiry, strike=strike, right=right, trading_class=trading_class)

    def option_strikes(
        self,
        symbol: str,
        *,
        expiry: date,
        right: Right,
        near: Decimal | None = None,
        at_most: int | None = None,
    ) -> tuple[Contract, ...]:
        return self._run(Client.option_strikes, symbol, expiry=expiry, right=right, near=near, at_most=at_most)

    def contract_info(self, conid: Conid) -> ContractInfo:
        return self._run(Client.contract_info, conid)

    def increments(self, conid: Conid, *, side: Side) -> Increments:
        return self._run(Client.increments, conid, side=side)

    def trading_schedule(self, conid: Conid) -> TradingSchedule:
        return self._run(Client.trading_schedule, conid)

    # Market data

    def find(self, text: str, *, at_most: int) -> tuple[Found, ...]:
        return self._run(Client.find, text, at_most=at_most)

    def chain(self, symbol: str, *, expiry: date | None = None, strikes: int) -> OptionChain:
        return self._run(Client.chain, symbol, expiry=expiry, strikes=strikes)

    def snapshot(self, conids: Sequence[Conid], *, fields: Sequence[str] = QUOTE_FIELDS) -> tuple[SnapshotRow, ...]:
        return self._run(Client.snapshot, conids, fields=fields)

    def quote(self, conid: Conid, *, kept: bool = False) -> Quote:
        return self._run(Client.quote, conid, kept=kept)

    def quotes(self, conids: Sequence[Conid], *, kept: bool = False) -> tuple[Quote, ...]:
        return self._run(Client.quotes, conids, kept=kept)

    def unsubscribe_all(self) -> None:
        self._run(Client.unsubscribe_all)

    # Orders

    def preview(self, ticket: OrderTicket) -> Preview:
        return self._run(Client.preview, ticket)

    def orders(self, account_id: AccountId | None = None) -> tuple[tuple[Order, ...], bool]:
        return self._run(Client.orders, account_id)

    def order(self, order_id: OrderId) -> Order | None:
        return self._run(Client.order, order_id)

    def fills(self, account_id: AccountId, *, days: int = 1) -> tuple[Fill, ...]:
        return self._run(Client.fills, account_id, days=days)


def has_uvloop() -> bool:
    """Whether a loop of one's own can be uvloop's, which the HTTP client needs to end cleanly."""
    from importlib.util import find_spec

    return find_spec("uvloop") is not None
