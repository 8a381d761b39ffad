"""Settings → the books of portfolios, and what syncs them by the logins of their owners."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date

import anyio.to_thread

from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.portfolio_figures import figures_now
from ibkit.bootstrap.users import user_called, users_now
from ibkit.client.core import Core
from ibkit.client.holdings import IbkrSource
from ibkit.clock import Clock
from ibkit.errors import ConfigError, InvalidRequest, NotFound
from ibkit.model import Account, AccountId
from ibkit.portfolio.analytics.figures import Analytics
from ibkit.portfolio.book import Link, Portfolio, PortfolioAccount
from ibkit.portfolio.ports import SyncOutcome
from ibkit.portfolio.syncing import Syncer, check_user
from ibkit.settings import Settings
from ibkit.store.portfolio_days import SqlDays
from ibkit.store.portfolio_syncs import SqlSyncs
from ibkit.store.portfolios import NOBODY, SqlPortfolios
from ibkit.store.records import open_records

__all__ = ["PART", "PortfolioDesk", "named_in", "open_portfolios", "owner_of"]

PART = "portfolio"
"""Part of the database that this room keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioDesk:
    books: SqlPortfolios
    days: SqlDays
    syncer: Syncer
    clock: Clock

    def new_id(self) -> str:
        return _new_id()

    async def connect(
        self, user_id: str, portfolio_id: str, account_name: str, link: Link, ib: Core
    ) -> PortfolioAccount:
        """The account linked to one that the login sees.

        NotFound; ConfigError (E-CONFLICT); SessionUnavailable (E-SES-USER); InvalidRequest (E-VALIDATION) naming the
        accounts there are. Nothing is changed by one of these.
        """
        source = IbkrSource(ib)
        await self.books.get(user_id, portfolio_id)
        await check_user(source, link)
        seen = await source.accounts()
        if link.account_id not in {account.account_id for account in seen}:
            visible = ", ".join(account.account_id for account in seen)
            raise InvalidRequest(
                f"Invalid request: account_id: {link.account_id} is not among the accounts of this login: {visible}",
                code="E-VALIDATION",
                remedy=f"Name one of {visible}, or another connection.",
                details={"errors": [{"field": "account_id", "message": f"it is one of {visible}"}]},
            )
        return await self.books.connect(user_id, portfolio_id, account_name, link, at=self.clock.now())

    async def sync(
        self, user_id: str, portfolio_id: str, account_name: str, login_of: Callable[[Link], Core]
    ) -> SyncOutcome:
        """See `Syncer.sync`. NotFound for what is not theirs."""
        await self.books.get(user_id, portfolio_id)
        return await self.syncer.sync(portfolio_id, account_name, lambda link: IbkrSource(login_of(link)))

    async def figures(
        self,
        user_id: str,
        portfolio_id: str,
        *,
        as_of: date | None = None,
        since: date | None = None,
        until: date | None = None,
        currency: str | None = None,
        benchmark: Mapping[date, float] | None = None,
    ) -> Analytics:
        """See `figures_now`."""
        return await figures_now(
            self.books,
            self.days,
            self.clock,
            user_id,
            portfolio_id,
            as_of=as_of,
            since=since,
            until=until,
            currency=currency,
            benchmark=benchmark,
        )

    async def linked_to(self, user_id: str) -> dict[str, tuple[Portfolio, PortfolioAccount]]:
        """By account at IBKR: what of this user it is linked to."""
        return {
            account.link.account_id: (portfolio, account)
            for portfolio in await self.books.of_user(user_id)
            for account in portfolio.accounts
            if account.link is not None
        }

    async def seen_by(self, ib: Core) -> tuple[Account, ...]:
        return await IbkrSource(ib).accounts()

    async def count_positions(self, ib: Core, account_id: AccountId) -> int:
        return len((await IbkrSource(ib).picture(account_id)).positions)


def _new_id() -> str:
    return edges().random(16).hex()


async def owner_of(settings: Settings, name: str | None, desk: PortfolioDesk) -> str:
    """Whose portfolios a command means: of the user named, or of the only one there is, or of the installation.

    NotFound; ConfigError (E-VALIDATION) where there are several users and none is named.
    """
    if name is not None:
        return (await user_called(settings, name)).user_id
    users = await users_now(settings)
    if len(users) > 1:
        names = ", ".join(user.name for user in users[:10])
        raise ConfigError(
            f"Invalid request: --user: there are several users ({names})",
            code="E-VALIDATION",
            remedy="Name whose portfolio it is with --user.",
        )
    if not users:
        return NOBODY
    await desk.books.adopt(users[0].user_id)
    return users[0].user_id


def named_in(portfolios: Sequence[Portfolio], name: str) -> Portfolio:
    """The one of that id or name. NotFound; ConfigError (E-VALIDATION) for a name of several."""
    found = [each for each in portfolios if name in (each.portfolio_id, each.name)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(each.portfolio_id for each in found)
        raise ConfigError(
            f"Invalid request: {name[:80]}: several portfolios are called so ({ids})",
            code="E-VALIDATION",
            remedy="Give the id instead of the name.",
        )
    raise NotFound("portfolio not found", code="E-NOT-FOUND", details={"thing": "portfolio"})


@asynccontextmanager
async def open_portfolios(settings: Settings, clock: Clock) -> AsyncIterator[PortfolioDesk]:
    """clock: of the login, whose time the figures carry. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=(PART,)))
    try:
        books = SqlPortfolios(database, clock, _new_id)
        syncs = SqlSyncs(database, clock, _new_id)
        syncer = Syncer(books=syncs, claims=syncs, clock=clock, with_cash=settings.sync.cash)
        yield PortfolioDesk(books=books, days=SqlDays(database, clock), syncer=syncer, clock=clock)
    finally:
        await database.close()
