"""Settings → the books of portfolios, and what syncs them by the logins of their owners."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Final

import anyio.to_thread

from ibkit.bootstrap.alerting import open_alerting
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.flex_books import StatementSource
from ibkit.bootstrap.jobs import missing
from ibkit.bootstrap.portfolio_figures import figures_now
from ibkit.bootstrap.users import user_called, users_now
from ibkit.client.core import Core
from ibkit.client.holdings import IbkrSource
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError, InvalidRequest, NotFound
from ibkit.model import Account, AccountId
from ibkit.portfolio.analytics.figures import Analytics
from ibkit.portfolio.analytics.options import Greeks
from ibkit.portfolio.book import Link, Portfolio, PortfolioAccount, SyncError
from ibkit.portfolio.days import NEW_YORK
from ibkit.portfolio.ledger import Ledger, fold_ledger
from ibkit.portfolio.ports import Claim, SyncOutcome
from ibkit.portfolio.syncing import Syncer, check_user
from ibkit.settings import Settings
from ibkit.store.inbox import SqlInbox
from ibkit.store.ledgers import SqlLedgers
from ibkit.store.portfolio_days import SqlDays
from ibkit.store.portfolio_syncs import SqlSyncs
from ibkit.store.portfolios import NOBODY, SqlPortfolios
from ibkit.store.records import open_records
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening

__all__ = [
    "ALERT_AFTER",
    "PART",
    "STATEMENTS_ONLY",
    "PortfolioDesk",
    "named_in",
    "open_portfolios",
    "owner_of",
    "pause_between",
    "told_beside",
]

PART = "portfolio"
"""Part of the database that this room keeps."""
STATEMENTS_ONLY: Final = "@flex"
"""In place of a connection's name: no session tells of the account, but Flex statements. No connection is called so."""
ALERT_AFTER: Final = 3
"""Failures of an account in a row, after which its user is told; once, until a sync is good again. SYN-12."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioDesk:
    books: SqlPortfolios
    syncs: SqlSyncs
    days: SqlDays
    ledgers: SqlLedgers
    inbox: SqlInbox
    syncer: Syncer
    clock: Clock

    def new_id(self) -> str:
        return _new_id()

    @property
    def with_cash(self) -> bool:
        """Whether holdings have cash among them."""
        return self.syncer.with_cash

    def is_without_session(self, link: Link) -> bool:
        """Whether only statements tell of it."""
        return link.connection_id == STATEMENTS_ONLY

    async def connect(
        self, user_id: str, portfolio_id: str, account_name: str, link: Link, ib: Core
    ) -> PortfolioAccount:
        """The account linked to one that the login sees.

        NotFound; ConfigError (E-CONFLICT); SessionUnavailable (E-SES-USER); InvalidRequest (E-VALIDATION) naming the
        accounts there are. Nothing is changed by one of these.
        """
        source = IbkrSource(ib)
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
        """See `Syncer.sync`. NotFound for what is not theirs. One without a session is read from its statements."""
        account = await self.books.account(user_id, portfolio_id, account_name)
        if account.link is not None and self.is_without_session(account.link):
            return await self.sync_from_statements(user_id, portfolio_id, account_name)
        return await self.syncer.sync(portfolio_id, account_name, lambda link: IbkrSource(login_of(link)))

    async def sync_from_statements(self, user_id: str, portfolio_id: str, account_name: str) -> SyncOutcome:
        """The holdings that the newest statement tells. Errors as of `Syncer.sync`."""
        source = StatementSource(self, user_id, portfolio_id, account_name)
        return await self.syncer.sync(portfolio_id, account_name, lambda link: source)

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
        greeks: Mapping[int, Greeks] | None = None,
    ) -> Analytics:
        """See `figures_now`."""
        return await figures_now(
            self.books,
            self.days,
            self.ledgers,
            self.clock,
            user_id,
            portfolio_id,
            as_of=as_of,
            since=since,
            until=until,
            currency=currency,
            benchmark=benchmark,
            greeks=greeks,
        )

    async def ledger_of(
        self, user_id: str, portfolio_id: str, account_name: str, *, as_of: datetime | date | None = None
    ) -> Ledger:
        """What happened in an account and what it came to, by the rules of its own. as_of: inclusive; None: all.

        A day ends at midnight in New York. NotFound.
        """
        until = _end_of(as_of)
        told = await self.ledgers.told(user_id, portfolio_id, account_name, until=until)
        work = partial(
            fold_ledger, told.account_id, told.transactions, opening=told.opening, rules=told.rules, until=until
        )
        return await anyio.to_thread.run_sync(work)  # ten years take long enough to hold others up

    async def seen_by(self, ib: Core) -> tuple[Account, ...]:
        return await IbkrSource(ib).accounts()

    async def count_positions(self, ib: Core, account_id: AccountId) -> int:
        return len((await IbkrSource(ib).picture(account_id)).positions)


def _end_of(as_of: datetime | date | None) -> datetime | None:
    """The moment itself; of a day its last one in New York."""
    if as_of is None or isinstance(as_of, datetime):
        return as_of
    return datetime.combine(as_of, time.max, NEW_YORK)


def _new_id() -> str:
    return edges().random(16).hex()


def pause_between(settings: Settings) -> timedelta | None:
    """Between two syncs by the clock; None where there are none: SYNC_INTERVAL_MINUTES=0, or no library for it."""
    minutes = settings.sync.interval_minutes
    return None if not minutes or missing() else timedelta(minutes=minutes)


def told_beside(settings: Settings) -> Callable[[Happening], Awaitable[None]]:
    """For a command: noted in the database, and delivered by whichever process delivers alerts."""

    async def tell(happening: Happening) -> None:
        async with open_alerting(settings) as alerting:
            await alerting.incidents.note(happening, channels=await alerting.channels.all())

    return tell


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """of_users: alerts are told to the account's owner, and not to that of the installation."""

    tell: Callable[[Happening], Awaitable[None]]
    clock: Clock
    of_users: bool

    async def failed(self, claim: Claim, error: SyncError, in_a_row: int) -> None:
        if in_a_row == ALERT_AFTER:
            # Without the error's own text, which may name an account at IBKR.
            message = f"Portfolio account {claim.account_name}: {in_a_row} syncs in a row failed: {error.code}"
            await self._tell(claim, EventKind.SYNC_FAILED, message, {"code": error.code})

    async def worked(self, claim: Claim) -> None:
        if claim.link.failures >= ALERT_AFTER:
            message = f"Portfolio account {claim.account_name} is synced again"
            await self._tell(claim, EventKind.SYNC_RESTORED, message, {})

    async def _tell(self, claim: Claim, event: EventKind, message: str, details: Mapping[str, str]) -> None:
        happening = Happening(
            event=event,
            subject=f"portfolio account {claim.account_key}",
            message=message,
            at=self.clock.now(),
            user=claim.user_id if self.of_users else "",
            details=details,
            only_ends=event is EventKind.SYNC_RESTORED,
        )
        try:
            await self.tell(happening)
        except IbkitError as error:  # the sync itself is what counts
            log.warning("an alert could not be told", extra={"event": event.value, "code": error.code})


async def _untold(happening: Happening) -> None:
    """Nobody is told."""


@asynccontextmanager
async def open_portfolios(
    settings: Settings, clock: Clock, *, tell: Callable[[Happening], Awaitable[None]] = _untold
) -> AsyncIterator[PortfolioDesk]:
    """clock: of the login, whose time the figures carry. tell: how people hear of syncs that fail. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=(PART,)))
    telling = _Telling(tell=tell, clock=clock, of_users=settings.general.multi_user)
    try:
        books = SqlPortfolios(database, clock, _new_id)
        syncs = SqlSyncs(database, clock, _new_id, keep=timedelta(days=settings.sync.keep_raw_days))
        syncer = Syncer(
            books=syncs,
            claims=syncs,
            clock=clock,
            with_cash=settings.sync.cash,
            failed=telling.failed,
            worked=telling.worked,
        )
        days = SqlDays(database, clock)
        ledgers = SqlLedgers(database, clock)
        inbox = SqlInbox(database, clock)
        yield PortfolioDesk(
            books=books, syncs=syncs, days=days, ledgers=ledgers, inbox=inbox, syncer=syncer, clock=clock
        )
    finally:
        await database.close()
