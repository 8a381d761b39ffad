"""`ibkit.create_ibkr_session_auth`: one connection of one user, which signs in by itself, looks and orders. SES-01.

    session = ibkit.create_ibkr_session_auth("anna")          # nothing is read or opened yet
    session.submit_order("AAPL", "buy", 10)                   # signs in first
    session.logout()

With ENABLE_MULTI_USER it signs in with that user's own credentials from the vault, else with those of the settings. Its
session is recorded as a service records it, and its orders leave through the one gateway.
"""

from __future__ import annotations

import atexit
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ibkit.bootstrap.clients import read_settings
from ibkit.bootstrap.connection_desk import no_such_connection
from ibkit.bootstrap.connection_opening import open_connection
from ibkit.bootstrap.connections import Connection, logged_out
from ibkit.bootstrap.desks import Desk
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.session_book import OF_SETTINGS
from ibkit.bootstrap.user_login import login_of_user
from ibkit.client.blocking import has_uvloop
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import (
    AccountId,
    AccountSummary,
    Contract,
    Key,
    OrderId,
    OrderTicket,
    OrderType,
    Position,
    Side,
    TimeInForce,
)
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.trading import Outcome, check_key, make_key
from ibkit.trading.connection import SessionRecord, Standing
from ibkit.trading.ref import key_of_user, own_key
from ibkit.trading.selling.sale import Number

__all__ = [
    "AsyncIBKRSessionAuth",
    "IBKRSessionAuth",
    "SubmittedOrder",
    "create_async_ibkr_session_auth",
    "create_ibkr_session_auth",
]

T = TypeVar("T")

_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_TYPES = {"market": OrderType.MARKET, "limit": OrderType.LIMIT}
_TIMES = {"day": TimeInForce.DAY, "gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedOrder:
    """order_status: IBKR's word, like `Submitted` or `Filled`. key: submitted again with it, it is this very order."""

    order_id: OrderId
    order_status: str
    key: Key


class AsyncIBKRSessionAuth:
    """The asynchronous twin of `IBKRSessionAuth`, for `async with`; see there."""

    def __init__(
        self,
        user_id: str,
        connection_id: str | None = None,
        *,
        settings: Settings | None = None,
        env_file: str | Path | None = None,
        live_account: str | None = None,
    ) -> None:
        self.user_id = user_id
        self.connection_id = connection_id
        self._settings = settings
        self._env_file = Path(env_file) if env_file is not None else None
        self._live_account = live_account
        self._connection: Connection | None = None
        self._stack = AsyncExitStack()
        self._turn = anyio.Lock()

    async def __aenter__(self) -> Self:
        """Opens the connection and its record. Nobody is signed in yet. ConfigError, NotFound, StorageError."""
        if not self.user_id.strip():
            raise ConfigError("Invalid request: user_id: it is empty", code="E-VALIDATION", remedy="Name the user.")
        async with AsyncExitStack() as stack:
            settings, row = await self._login()
            connection = await stack.enter_async_context(open_connection(settings, confirm=self._confirmed, row=row))
            if not connection.wanted:  # whoever runs a program with it wants it connected; as with a worker
                await connection.book.want(True)
                await connection.follow_wish()
            self._connection = connection
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection = None
        await self._stack.aclose()

    async def authenticate(self) -> SessionRecord:
        """Sign in and open the brokerage session: its record, by an id of ours, with when it began and expires.

        Also after a log-out. AuthError, Unreachable, as `ibkit.errors` tells; E-AUTH-BACKOFF where it failed too often.
        """
        connection = self._open_one
        async with self._turn:
            await connection.follow_wish()
            held = await connection.check() if connection.wanted else await connection.bring_up()
        if held.error is not None:
            raise held.error
        if connection.book.session is None:
            raise logged_out()
        return connection.book.session

    async def submit_order(
        self,
        symbol: str,
        action: str,
        quantity: Number,
        order_type: str = "market",
        price: Number | None = None,
        tif: str = "day",
        *,
        account_id: str | None = None,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        allow_duplicate: bool = False,
    ) -> list[SubmittedOrder]:
        """See `IBKRSessionAuth.submit_order`."""
        wish = _OrderWish.read(symbol, action, quantity, order_type, price, tif)
        mine = key_of_user(self.user_id, check_key(key) if key is not None else make_key(edges().random))
        desk = await self._desk(account_id)
        ticket = wish.ticket(desk.account_id, await desk.broker.underlying(wish.symbol))
        outcome = await desk.gateway.submit(ticket, key=mine, confirm=confirm, allow_duplicate=allow_duplicate)
        return [_submitted(outcome)]

    async def get_account_summary(self, account_id: str | None = None) -> AccountSummary:
        """Balances and margins; `totalcashvalue` is a number, `raw` IBKR's whole answer."""
        desk = await self._desk(account_id)
        return await desk.client.summary(desk.account_id)

    async def get_positions(self, account_id: str | None = None) -> list[Position]:
        """All of them as they are now."""
        desk = await self._desk(account_id)
        return list(await desk.client.positions(desk.account_id, fresh=True))

    async def keep_alive(self) -> Standing:
        """One tickle, besides those that go by themselves: how the connection stands. Raises what it fails by."""
        connection = self._open_one
        async with self._turn:
            await connection.follow_wish()
            return await connection.beat()

    async def logout(self) -> IbkitError | None:
        """End the login, here and at IBKR; nothing is sent until `authenticate()`, by whoever else keeps it, either.

        What IBKR could not be told because of, None where it was told. StorageError.
        """
        connection = self._open_one
        async with self._turn:
            return await connection.log_out()

    async def _desk(self, account_id: str | None) -> Desk:
        """Signed in where nobody is yet. TradingError (E-NOT-CONNECTED) after a log-out, here or by a command."""
        connection = self._open_one
        async with self._turn:
            await connection.follow_wish()
            return await connection.desk(None if account_id is None else AccountId(account_id))

    @property
    def _open_one(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("open it first: async with create_async_ibkr_session_auth(…) as session")
        return self._connection

    async def _login(self) -> tuple[Settings, ConnectionRow | None]:
        """What to sign in with, and as what it is kept; None for the connection of the settings."""
        settings = self._settings or read_settings(env_file=self._env_file, require_method=False)
        if not settings.general.multi_user or settings.mock:
            if self.connection_id not in (None, OF_SETTINGS):
                raise no_such_connection()
            if not settings.mock:
                _ = settings.method  # raises what is missing
            return settings, None
        user, own, row = await login_of_user(settings, self.user_id, self.connection_id)
        self.user_id = user.user_id
        return own, row

    def _confirmed(self, account_id: AccountId, validated: bool) -> bool:
        return validated and account_id == self._live_account


class IBKRSessionAuth:
    """One connection of one user, blocking. It opens at its first verb; `close()` or the end of the program closes it.

    user_id:       the user's id or name. With ENABLE_MULTI_USER=false it only says whose the orders are.
    connection_id: which of their connections, by default their default one.
    settings, env_file: in the place of the environment's settings.
    live_account:  names the account whose live money may be traded; without it live orders are refused.
    """

    def __init__(
        self,
        user_id: str,
        connection_id: str | None = None,
        *,
        settings: Settings | None = None,
        env_file: str | Path | None = None,
        live_account: str | None = None,
    ) -> None:
        def make() -> AsyncIBKRSessionAuth:
            return AsyncIBKRSessionAuth(
                user_id, connection_id, settings=settings, env_file=env_file, live_account=live_account
            )

        self._make = make
        self._stack: ExitStack | None = None
        self._portal: BlockingPortal | None = None
        self._twin: AsyncIBKRSessionAuth | None = None

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything that was opened; the login at IBKR goes on. The next verb opens it anew."""
        atexit.unregister(self.close)
        stack, self._stack = self._stack, None
        self._portal = self._twin = None
        if stack is not None:
            stack.close()

    def authenticate(self) -> SessionRecord:
        """Sign in and open the brokerage session: its record, by an id of ours, with when it began and expires.

        Also after a log-out. AuthError, Unreachable, as `ibkit.errors` tells; E-AUTH-BACKOFF where it failed too often.
        """
        return self._run(lambda twin: twin.authenticate())

    def submit_order(
        self,
        symbol: str,
        action: str,
        quantity: Number,
        order_type: str = "market",
        price: Number | None = None,
        tif: str = "day",
        *,
        account_id: str | None = None,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        allow_duplicate: bool = False,
    ) -> list[SubmittedOrder]:
        """Place an order for a stock at most once for its key, signed in first where nobody is yet.

        action: `buy` or `sell`. order_type: `market`, or `limit` with a price. tif: `day`, `gtc` or `ioc`.
        account_id: one of the login's, by default the connection's or the only one. key, confirm, allow_duplicate: as
        in `TradingClient.place`; without a key a fresh one is made.

        Raises why there is no order; OutcomeUnknown where nobody can say yet, with the `key` among its details: look,
        or submit it again with that key, before anything else is sent.
        """
        return self._run(
            lambda twin: twin.submit_order(
                symbol,
                action,
                quantity,
                order_type,
                price,
                tif,
                account_id=account_id,
                key=key,
                confirm=confirm,
                allow_duplicate=allow_duplicate,
            )
        )

    def get_account_summary(self, account_id: str | None = None) -> AccountSummary:
        """Balances and margins; `totalcashvalue` is a number, `raw` IBKR's whole answer."""
        return self._run(lambda twin: twin.get_account_summary(account_id))

    def get_positions(self, account_id: str | None = None) -> list[Position]:
        """All of them as they are now."""
        return self._run(lambda twin: twin.get_positions(account_id))

    def keep_alive(self) -> Standing:
        """One tickle, besides those that go by themselves: how the connection stands. Raises what it fails by."""
        return self._run(lambda twin: twin.keep_alive())

    def logout(self) -> IbkitError | None:
        """End the login, here and at IBKR; nothing is sent until `authenticate()`, by whoever else keeps it, either.

        What IBKR could not be told because of, None where it was told. StorageError.
        """
        return self._run(lambda twin: twin.logout())

    def _run(self, verb: Callable[[AsyncIBKRSessionAuth], Awaitable[T]]) -> T:
        portal, twin = self._opened()
        return portal.call(verb, twin)

    def _opened(self) -> tuple[BlockingPortal, AsyncIBKRSessionAuth]:
        if self._portal is None or self._twin is None:
            with ExitStack() as stack:
                portal = stack.enter_context(start_blocking_portal("asyncio", {"use_uvloop": has_uvloop()}))
                twin = stack.enter_context(portal.wrap_async_context_manager(portal.call(self._make)))
                self._portal, self._twin, self._stack = portal, twin, stack.pop_all()
            # Whoever forgets to close must not leave a thread behind.
            atexit.register(self.close)
        return self._portal, self._twin


def create_ibkr_session_auth(user_id: str, connection_id: str | None = None, **options: Any) -> IBKRSessionAuth:
    """The session of a user's connection, not opened yet; arguments as of `IBKRSessionAuth`."""
    return IBKRSessionAuth(user_id, connection_id, **options)


def create_async_ibkr_session_auth(
    user_id: str, connection_id: str | None = None, **options: Any
) -> AsyncIBKRSessionAuth:
    """The same, for `async with`."""
    return AsyncIBKRSessionAuth(user_id, connection_id, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OrderWish:
    """The arguments of `submit_order`, judged as a whole."""

    symbol: str
    side: Side
    quantity: Decimal
    kind: OrderType
    price: Decimal | None
    tif: TimeInForce

    @classmethod
    def read(cls, symbol: str, action: str, quantity: Number, order_type: str, price: Number | None, tif: str) -> Self:
        """ConfigError (E-VALIDATION) with every mistake of them; nothing was sent."""
        name = " ".join(symbol.upper().replace(".", " ").split())
        side, kind = _SIDES.get(action.casefold()), _TYPES.get(order_type.casefold())
        time, size = _TIMES.get(tif.casefold()), _above_zero(quantity)
        limit = None if price is None else _above_zero(price)

        def problems() -> Iterator[str]:
            if not name or len(name) > 12:
                yield "symbol: it has 1 to 12 characters"
            if side is None:
                yield "action: it is buy or sell"
            if size is None:
                yield "quantity: it is a number above 0"
            if kind is None:
                yield "order_type: it is market or limit"
            if kind is OrderType.LIMIT and limit is None:
                yield "price: a limit order needs one above 0"
            if kind is OrderType.MARKET and price is not None:
                yield "price: a market order has none"
            if time is None:
                yield "tif: it is day, gtc or ioc"

        found = "; ".join(problems())
        if found or side is None or kind is None or time is None or size is None:
            raise ConfigError(
                f"Invalid request: {found}", code="E-VALIDATION", remedy="Nothing was sent; correct the call."
            )
        return cls(symbol=name, side=side, quantity=size, kind=kind, price=limit, tif=time)

    def ticket(self, account_id: AccountId, contract: Contract) -> OrderTicket:
        return OrderTicket(
            account_id=account_id,
            contract=contract,
            side=self.side,
            order_type=self.kind,
            quantity=self.quantity,
            limit_price=self.price,
            tif=self.tif,
        )


def _above_zero(value: Number) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


def _submitted(outcome: Outcome) -> SubmittedOrder:
    intent, error = outcome.intent, outcome.error
    key = own_key(intent.key)
    if error is not None:
        error.details["key"] = key
        raise error
    assert intent.order_id is not None, "an order that the broker took has its number"
    status = intent.order_status.value if intent.order_status is not None else intent.state.value
    return SubmittedOrder(order_id=intent.order_id, order_status=status, key=key)
