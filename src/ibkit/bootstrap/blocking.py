"""`ibkit.IBRestClient`: the whole of it for code that does not await, sale and stop included (TRD-01, TRD-13)."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Coroutine, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ibkit.bootstrap.clients import client_of, read_settings
from ibkit.bootstrap.trading_client import TradingClient
from ibkit.client.blocking import BlockingClient
from ibkit.errors import IbkitError
from ibkit.model import (
    AccountId,
    AccountSummary,
    Conid,
    OrderId,
    OrderTicket,
    OrderType,
    Position,
    Quote,
    StopExit,
    TakeProfit,
    Trail,
)
from ibkit.settings import Settings
from ibkit.trading import Intent, Observer, Outcome, TradeResult
from ibkit.trading.cancel_all import CancelAllResult
from ibkit.trading.selling.sale import Number
from ibkit.trading.timeline import unobserved

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk

__all__ = ["IBRestClient"]

T = TypeVar("T")

_DEFAULT_REALM = "limited_poa"


class IBRestClient(BlockingClient):
    """One IBKR login, blocking. Settings come from the environment or a settings file unless given.

        with IBRestClient() as ib:
            print(ib.get_account_summary().net_liquidation)

    consumer_key, realm: of OAuth 1.0a, instead of the settings'. account_id: of the account in use, once connected.
    state_dir: where the order journal is kept, instead of the settings'.
    live_account: names the account whose live money may be traded; without it live orders are refused (OPT-08).
    last_error: why the last `connect` gave False. observe: told of each step of a sale.
    """

    def __init__(
        self,
        consumer_key: str | None = None,
        realm: str = _DEFAULT_REALM,
        *,
        env_file: str | Path | None = None,
        settings: Settings | None = None,
        account_id: str | None = None,
        state_dir: str | Path | None = None,
        live_account: str | None = None,
        compete: bool = False,
        observe: Observer = unobserved,
    ) -> None:
        super().__init__(self._make_client)
        self._flags = {
            name: value
            for name, value in (
                ("IB_CONSUMER_KEY", consumer_key),
                ("IB_REALM", realm if realm != _DEFAULT_REALM else None),
                ("IBKR_ACCOUNT_ID", account_id),
                ("IBKIT_STATE_DIR", str(state_dir) if state_dir is not None else None),
            )
            if value is not None
        }
        self._env_file = Path(env_file) if env_file is not None else None
        self._settings = settings
        self._live_account = live_account
        self._compete = compete
        self._observe = observe
        self.account_id: AccountId | None = None
        self.last_error: IbkitError | None = None

    def connect(self) -> bool:  # type: ignore[override]  # the fixed interface of TRD-01
        """Sign in and find the account: True, or False with the reason in `last_error`."""
        if self._portal is not None:
            return True
        self.last_error = None
        try:
            self._settings = self._settings or read_settings(flags=self._flags, env_file=self._env_file)
            super().__enter__()
            self.account_id = self.selected_account(self._settings.account_id)
        except IbkitError as error:
            self.last_error = error
            self.close()
            return False
        # Whoever forgets to close must not leave a session or a thread behind.
        atexit.register(self.close)
        return True

    def close(self) -> None:
        """End everything that was opened; closing twice is fine."""
        atexit.unregister(self.close)
        self.__exit__(None, None, None)

    def __enter__(self) -> Self:
        if not self.connect():
            assert self.last_error is not None
            raise self.last_error
        return self

    @property
    def desk(self) -> Desk:
        """The trading desk, opened at its first use; a program that only reads needs no database."""
        return self._await(self._trading.desk)

    @property
    def _trading(self) -> TradingClient:
        client = self.client
        assert isinstance(client, TradingClient), "what _make_client made"
        return client

    # Orders, each through the one gateway

    def place(
        self,
        ticket: OrderTicket,
        *,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        strategy: str = "",
        allow_duplicate: bool = False,
    ) -> Outcome:
        """Place an order at most once; see `TradingClient.place`."""
        return self._await(
            lambda: self._trading.place(
                ticket, key=key, confirm=confirm, strategy=strategy, allow_duplicate=allow_duplicate
            )
        )

    def bracket(
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
        """Place `entry` with its exits in one request; see `TradingClient.bracket`."""
        return self._await(
            lambda: self._trading.bracket(
                entry,
                take_profit=take_profit,
                stop=stop,
                key=key,
                confirm=confirm,
                strategy=strategy,
                allow_duplicate=allow_duplicate,
            )
        )

    def one_cancels_all(
        self,
        tickets: Sequence[OrderTicket],
        *,
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        strategy: str = "",
        allow_duplicate: bool = False,
    ) -> Outcome:
        """Place orders of which the first that fills cancels the others."""
        return self._await(
            lambda: self._trading.one_cancels_all(
                tickets, key=key, confirm=confirm, strategy=strategy, allow_duplicate=allow_duplicate
            )
        )

    def modify(
        self, order_id: OrderId, ticket: OrderTicket, *, key: str | None = None, confirm: tuple[str, ...] = ()
    ) -> Outcome:
        """Change a working order to `ticket`, given in full."""
        return self._await(lambda: self._trading.modify(order_id, ticket, key=key, confirm=confirm))

    def cancel(self, order_id: OrderId, *, key: str | None = None, account_id: AccountId | None = None) -> Outcome:
        """Cancel a working order and wait for its end."""
        return self._await(lambda: self._trading.cancel(order_id, key=key, account_id=account_id))

    def cancel_all(self, *, key: str | None = None, account_id: AccountId | None = None) -> CancelAllResult:
        """Cancel every working order of the account, stops included."""
        return self._await(lambda: self._trading.cancel_all(key=key, account_id=account_id))

    def intents(self, *, limit: int = 50) -> tuple[Intent, ...]:
        """What the journal holds of orders asked for, newest first."""
        return self._await(lambda: self._trading.intents(limit=limit))

    def get_account_summary(self, account: str | None = None) -> AccountSummary:
        return self.summary(AccountId(account) if account else None)

    def get_positions(self, account: str | None = None) -> tuple[Position, ...]:
        """All of them as they are now: IBKR's own cache, which may be a minute old, is passed by."""
        return self.positions(AccountId(account) if account else None, fresh=True)

    def get_market_data(self, conid: int) -> Quote:
        return self.quote(Conid(conid))

    def sell_option_with_stop(
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
        return self._await(
            lambda: self._trading.sell_option_with_stop(
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
        )

    def _make_client(self) -> TradingClient:
        assert self._settings is not None
        return client_of(
            self._settings, compete=self._compete or None, live_account=self._live_account, observe=self._observe
        )

    def _await(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        assert self._portal is not None, "open the client first: with IBRestClient() as ib"
        result: T = self._portal.call(work)
        return result
