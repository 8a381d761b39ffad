"""The client that `ibkit.connect()` gives: all that can be asked of a login, and orders through the one gateway.

Its order verbs open the trading desk at their first use: the durable journal in the state directory, and before
anything is sent the settling of what an earlier run left. A program that only looks needs no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import date, datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio

from ibkit.bootstrap.edge import edges
from ibkit.client import Client
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import (
    AccountId,
    GroupKind,
    Key,
    OrderId,
    OrderTicket,
    OrderType,
    StopExit,
    TakeProfit,
    Trail,
    exits_of,
)
from ibkit.settings import Settings
from ibkit.trading import Intent, Observer, Outcome, TradeResult, check_key, make_key
from ibkit.trading.cancel_all import CancelAllResult
from ibkit.trading.selling.sale import Number
from ibkit.trading.timeline import unobserved

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk

__all__ = ["TradingClient"]


class TradingClient(Client):
    """One IBKR login, to look and to trade.

    settings:     where the state directory is and what the trading rules are; of the sign-in nothing is read.
    live_account: names the account whose live money may be traded; without it live orders are refused.
    observe:      told of each step of an order.

    The keyword arguments are those of `Client`. A key names an order: repeated, in this run or the next, it gives the
    order that is there and never a second one. Without a key a fresh one is made; `outcome.intent.key` tells it.
    """

    def __init__(
        self, settings: Settings, *, live_account: str | None = None, observe: Observer = unobserved, **options: Any
    ) -> None:
        super().__init__(**options)
        self._settings = settings
        self._live_account = live_account
        self._observe = observe
        self._desk: Desk | None = None
        self._books = AsyncExitStack()
        self._opening = anyio.Lock()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._desk = None
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            await self._books.aclose()

    async def desk(self) -> Desk:
        """The trading desk, opened and recovered at its first use. StorageError where the journal cannot be used."""
        async with self._opening:
            if self._desk is None:
                self._desk = await self._open_desk()
            return self._desk

    async def _open_desk(self) -> Desk:
        # Here, so that a program that only looks does not load the database's library.
        from ibkit.bootstrap.desks import desk_of, open_books

        async with AsyncExitStack() as stack:
            books = await stack.enter_async_context(open_books(self._settings, clock=self.clock))
            live = self._live_account is not None
            confirmed = live and self._live_account == await self.selected_account(self._settings.account_id)
            confirmed = confirmed and await books.paper_validated()
            desk = await desk_of(self._settings, self, books, live_confirmed=confirmed, observe=self._observe)
            await desk.gateway.recover(desk.account_id)
            self._books = stack.pop_all()
        return desk

    async def place(
        self,
        ticket: OrderTicket,
        *,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        strategy: str = "",
        allow_duplicate: bool = False,
    ) -> Outcome:
        """Place an order at most once.

        confirm: ids of questions that you allow for it. strategy: whose limits apply besides the account's.
        allow_duplicate: you do want the same order again that was placed seconds ago.

        An Outcome says what became of it: `accepted`, `order_id`, or `error`. Raises what kept it from being sent
        (Unreachable, AuthError, StorageError), KeyReused, InFlight.
        """
        gateway = (await self.desk()).gateway
        return await gateway.submit(
            ticket, key=_key(key), confirm=confirm, strategy=strategy, allow_duplicate=allow_duplicate
        )

    async def bracket(
        self,
        entry: OrderTicket,
        *,
        take_profit: TakeProfit | None = None,
        stop: StopExit | None = None,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        strategy: str = "",
        allow_duplicate: bool = False,
    ) -> Outcome:
        """Place `entry` with the exits that wake as it fills and cancel each other, in one request; else as `place`.

        take_profit: a limit price. stop: a trigger price, or a `Trail`. Either may be a ticket of the other side. What
        became of the exits is in `outcome.intent.legs`.
        """
        try:
            exits = exits_of(entry, take_profit=take_profit, stop=stop)
        except ValueError as error:
            raise _invalid(str(error)) from error
        gateway = (await self.desk()).gateway
        return await gateway.submit(
            entry,
            others=exits,
            group=GroupKind.BRACKET,
            key=_key(key),
            confirm=confirm,
            strategy=strategy,
            allow_duplicate=allow_duplicate,
        )

    async def one_cancels_all(
        self,
        tickets: Sequence[OrderTicket],
        *,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        strategy: str = "",
        allow_duplicate: bool = False,
    ) -> Outcome:
        """Place orders of which the first that fills cancels the others, in one request; else as `place`."""
        if len(tickets) < 2:
            raise _invalid("one cancels all needs two orders at least")
        first, *others = tickets
        gateway = (await self.desk()).gateway
        return await gateway.submit(
            first,
            others=tuple(others),
            group=GroupKind.OCA,
            key=_key(key),
            confirm=confirm,
            strategy=strategy,
            allow_duplicate=allow_duplicate,
        )

    async def modify(
        self, order_id: OrderId, ticket: OrderTicket, *, key: str | None = None, confirm: tuple[str, ...] = ()
    ) -> Outcome:
        """Change a working order to `ticket`, given in full."""
        return await (await self.desk()).gateway.modify(order_id, ticket, key=_key(key), confirm=confirm)

    async def cancel(
        self, order_id: OrderId, *, key: str | None = None, account_id: AccountId | None = None
    ) -> Outcome:
        """Cancel a working order and wait for its end; FILLED where a fill won the race."""
        desk = await self.desk()
        return await desk.gateway.cancel(account_id or desk.account_id, order_id, key=_key(key))

    async def cancel_all(self, *, key: str | None = None, account_id: AccountId | None = None) -> CancelAllResult:
        """Cancel every working order of the account, also those placed elsewhere; protective stops are among them."""
        desk = await self.desk()
        return await desk.gateway.cancel_all(account_id or desk.account_id, key=_key(key))

    async def intents(self, *, limit: int = 50) -> tuple[Intent, ...]:
        """What the journal holds of orders asked for, newest first."""
        return await (await self.desk()).books.journal.recent(limit=limit)

    async def sell_option_with_stop(
        self,
        symbol: str,
        strike: Number,
        right: str,
        stop_multiple: Number = 3.0,
        quantity: int = 1,
        expiry: str | date | None = None,
        *,
        width: Number | None = None,
        trail: Trail | None = None,
        take_profit: Number | None = None,
        exit_at: datetime | None = None,
        order_type: str | OrderType = "market",
        limit_price: Number | None = None,
        on_stop_failure: str = "close",
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        allow_delayed: bool = False,
        dry_run: bool = False,
        force: bool = False,
    ) -> TradeResult:
        """Sell an option and protect it with a stop at average fill x `stop_multiple`.

        expiry: YYYYMMDD, default today in New York. right: 'P' or 'C'. key: names the sale; repeated, it never sells
        twice. A failure is a TradeResult with its code; only wrong arguments raise.

        width: a vertical instead, its protection so far beyond `strike`. trail: a trailing stop instead. take_profit:
        buys back, too, at this part of the entry price (0 to 1). exit_at: when the worker closes it.
        """
        try:
            seller = (await self.desk()).seller()
        except IbkitError as error:
            return TradeResult(
                success=False,
                symbol=symbol.upper(),
                strike=Decimal(str(strike)),
                right=right,
                message=error.message,
                code=error.code,
                remedy=error.remedy,
            )
        return await seller.sell_option_with_stop(
            symbol,
            strike,
            right,
            stop_multiple,
            quantity,
            expiry,
            width=width,
            trail=trail,
            take_profit=take_profit,
            exit_at=exit_at,
            order_type=order_type,
            limit_price=limit_price,
            on_stop_failure=on_stop_failure,
            key=key,
            confirm=confirm,
            allow_delayed=allow_delayed,
            dry_run=dry_run,
            force=force,
        )


def _key(given: str | None) -> Key:
    return check_key(given) if given is not None else make_key(edges().random)


def _invalid(why: str) -> ConfigError:
    return ConfigError(f"Invalid request: {why}", code="E-VALIDATION", remedy="Nothing was sent; correct the call.")
