"""`ibkit.get_portfolio`: what a user holds at IBKR now, by all of their connections. Requirement SYN-16.

    for connection in ibkit.get_portfolio("anna").connections:
        print(connection.connection_id, connection.error or [a.summary.net_liquidation for a in connection.accounts])

Nothing is kept and nothing is ordered: no brokerage session is opened, so another program's stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from ibkit.bootstrap.clients import open_client, read_settings
from ibkit.bootstrap.connection_desk import open_connection_desk
from ibkit.bootstrap.edge import run
from ibkit.bootstrap.multi_user import check_licence, without_own_login
from ibkit.bootstrap.session_book import OF_SETTINGS
from ibkit.bootstrap.user_login import login_of_user
from ibkit.bootstrap.users import user_called
from ibkit.client.holdings import IbkrSource
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import Account, AccountSummary, CashBalance, Position
from ibkit.settings import Settings, load
from ibkit.wire.endpoint import Needs

__all__ = ["AccountHoldings", "ConnectionHoldings", "Trouble", "UserPortfolio", "get_async_portfolio", "get_portfolio"]

_AT_ONCE: Final = 8
_WITHIN_S: Final = 300.0
"""For one connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why something could not be read: the code, in words, and what to do."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHoldings:
    """One account, whole; where it could not be read so, `error` says why and the rest is empty."""

    account: Account
    summary: AccountSummary | None = None
    cash: tuple[CashBalance, ...] = ()
    positions: tuple[Position, ...] = ()
    error: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionHoldings:
    """accounts: of the login; none where `error` says why it could not be asked."""

    connection_id: str
    accounts: tuple[AccountHoldings, ...] = ()
    error: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPortfolio:
    user_id: str
    connections: tuple[ConnectionHoldings, ...]

    @property
    def complete(self) -> bool:
        """Everything could be read."""
        return all(
            each.error is None and all(account.error is None for account in each.accounts) for each in self.connections
        )


def get_portfolio(
    user_id: str, *, settings: Settings | None = None, env_file: str | Path | None = None
) -> UserPortfolio:
    """Accounts with summary, cash and positions of all the user's connections; what one fails by is told inside.

    user_id: id or name. With ENABLE_MULTI_USER=false the login of the settings is theirs. Blocks; for programs that
    run on an event loop there is `get_async_portfolio`.

    NotFound for a user that is not there, NotPermitted for one who may not connect, ConfigError, StorageError.
    """
    return run(lambda: get_async_portfolio(user_id, settings=settings, env_file=env_file))


async def get_async_portfolio(
    user_id: str, *, settings: Settings | None = None, env_file: str | Path | None = None
) -> UserPortfolio:
    """The asynchronous twin of `get_portfolio`; see there."""
    if not user_id.strip():
        raise ConfigError("Invalid request: user_id: it is empty", code="E-VALIDATION", remedy="Name the user.")
    place = Path(env_file) if env_file is not None else None
    base = settings or load(env_file=place, require_method=False)
    if not base.general.multi_user or base.mock:
        whole = settings or read_settings(env_file=place)
        return UserPortfolio(user_id=user_id, connections=(await _asked(whole, OF_SETTINGS),))
    await check_licence(base)
    user = await user_called(base, user_id)
    async with open_connection_desk(without_own_login(base)) as desk:
        names = [row.connection_id for row in await desk.of_user(user.user_id)]
    found: dict[str, ConnectionHoldings] = {}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def one(name: str) -> None:
        async with limit:
            try:
                _, own, _ = await login_of_user(base, user.user_id, name)
            except IbkitError as error:
                found[name] = ConnectionHoldings(connection_id=name, error=_trouble(error))
                return
            found[name] = await _asked(own, name)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(one, name)
    return UserPortfolio(user_id=user.user_id, connections=tuple(found[name] for name in names))


async def _asked(settings: Settings, name: str) -> ConnectionHoldings:
    try:
        with anyio.fail_after(_WITHIN_S):
            async with open_client(settings, upto=Needs.OUTER_SESSION) as ib:
                source = IbkrSource(ib)
                accounts = [await _account(source, account) for account in await source.accounts()]
    except IbkitError as error:
        return ConnectionHoldings(connection_id=name, error=_trouble(error))
    except TimeoutError:
        slow = IbkitError(f"not everything was told within {_WITHIN_S:g} s", code="E-TIMEOUT")
        return ConnectionHoldings(connection_id=name, error=_trouble(slow))
    return ConnectionHoldings(connection_id=name, accounts=tuple(accounts))


async def _account(source: IbkrSource, account: Account) -> AccountHoldings:
    try:
        picture = await source.picture(account.account_id)
    except IbkitError as error:
        return AccountHoldings(account=account, error=_trouble(error))
    return AccountHoldings(account=account, summary=picture.summary, cash=picture.cash, positions=picture.positions)


def _trouble(error: IbkitError) -> Trouble:
    return Trouble(code=error.code, message=error.message, remedy=error.remedy)
