"""Flex statements into the books: from a file, or fetched with the settings' token, or with the user's own where there
are several; by the clock once a day.

    read whole → the account's own? → kept as it came → merged into its ledger → holdings, where no session tells them

What cannot be read, or is of another account, changes nothing at all.
Source: requirement FUT-08; docs/facts/accounts-and-portfolio.md §6.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from ibkit.bootstrap.edge import edges, machine_clock
from ibkit.bootstrap.flex_tokens import FlexAccess, FlexTokens
from ibkit.bootstrap.reconciliation import inbox_of
from ibkit.bootstrap.tls import authority
from ibkit.bootstrap.vaults import open_vault, ring_of
from ibkit.client.flex import FlexClient, FlexPending, open_flex_transport
from ibkit.client.flex_statements import statements_of
from ibkit.clock import Clock
from ibkit.errors import ConfigError, CredentialsRejected, Effect, IbkitError, StorageError, UnexpectedAnswer
from ibkit.model import Account, AccountId
from ibkit.portfolio.book import Link, LinkedAccount, PortfolioAccount
from ibkit.portfolio.picture import Picture, torn
from ibkit.portfolio.ports import SyncOutcome
from ibkit.portfolio.statements import StatementTold, gaps
from ibkit.portfolio.told_holdings import newest_told, picture_of
from ibkit.settings import Settings
from ibkit.settings.addresses import is_loopback, parse_address
from ibkit.store.ledgers import Kept
from ibkit.store.portfolio_rows import conflict
from ibkit.store.vault import SqlVault
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening
from ibkit.users.digests import digest
from ibkit.wire.flex.answers import FLEX_URL

if TYPE_CHECKING:
    from ibkit.bootstrap.credential_desk import CredentialDesk
    from ibkit.bootstrap.jobs import JobEngine
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.client.transport import Transport

__all__ = ["LARGEST_STATEMENT", "FlexDesk", "FlexImport", "StatementSource", "open_flex"]

log = logging.getLogger(__name__)

LARGEST_STATEMENT: Final = 64 * 1024 * 1024
"""Bytes of a file that is handed in. Our own bound; IBKR's longest period is a year."""
REMIND_DAYS: Final = 30
"""So long before FLEX_TOKEN ends people are told. A token lives a year at most (§6)."""
_GIVE: Final = "Give it in the place of the old one: Settings, Credentials, or POST /api/settings/flex."
_AT: Final = timedelta(hours=11)
"""After midnight UTC, when the day before is fetched: early in the morning in New York. Our own choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexImport:
    """What came of a file for one account.

    missing: what the query leaves out, and where it is switched on. unbooked: rows that no ledger is made of yet.
    gaps: days between the account's statements that none tells of. outcome: where its holdings were written.
    """

    account_id: str
    kept: Kept
    first: date
    last: date
    missing: tuple[str, ...]
    unbooked: tuple[str, ...]
    gaps: tuple[tuple[date, date], ...]
    outcome: SyncOutcome | None = None


class StatementSource:
    """The newest statement of an account as what a sync reads. Fits `portfolio.ports.Source`."""

    def __init__(self, desk: PortfolioDesk, user_id: str, portfolio_id: str, account_name: str) -> None:
        self._desk = desk
        self._of = user_id, portfolio_id, account_name

    async def logged_in_as(self) -> str:
        return ""

    async def accounts(self) -> tuple[Account, ...]:
        return ()

    async def picture(self, account_id: AccountId) -> Picture:
        statements = await self._desk.ledgers.statements(*self._of)
        told = newest_told(each for each in statements if each.account_id == account_id)
        if told is None:
            raise torn("no Flex statement tells positions and cash of it yet: import one, or fetch it")
        raw = await self._desk.ledgers.raw(*self._of[:2], told.digest)
        return picture_of(told, raw.body)


class FlexDesk:
    """clock: of the machine. tell: how people hear of a token that ends. Opens a connection when it first fetches.

    tokens: users' own; None: the settings' token is everybody's, and with ENABLE_MULTI_USER nobody's.
    """

    def __init__(
        self,
        settings: Settings,
        desk: PortfolioDesk,
        clock: Clock,
        *,
        tell: Callable[[Happening], Awaitable[None]] | None = None,
        tokens: FlexTokens | None = None,
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._clock = clock
        self._tell = tell
        self._tokens = tokens
        self._clients: dict[str, FlexClient] = {}
        """By the digest of the token: each has IBKR's pace of its own."""

    async def aclose(self) -> None:
        while self._clients:
            await self._clients.popitem()[1].__aexit__(None, None, None)

    # -- importing ----------------------------------------------------------------------------------------------------

    async def take(self, user_id: str, portfolio_id: str, account_name: str, body: bytes) -> FlexImport:
        """A file of statements into the ledger of an account. One by hand is connected to the IBKR account in it.

        The file may tell of other accounts that this user has linked, and of no others. NotFound; UnexpectedAnswer
        (E-FLEX-STATEMENT for what cannot be read, E-FLEX-ACCOUNT); ConfigError (E-CONFLICT). By none of them anything
        is changed.
        """
        desk = self._desk
        account = await desk.books.account(user_id, portfolio_id, account_name)
        allowed: set[str] | None = None
        if account.link is not None:
            allowed = {each.link.account_id for each in await desk.books.linked(user_id)}
        statements = await anyio.to_thread.run_sync(partial(statements_of, body, accounts=allowed))
        account_id = account.link.account_id if account.link is not None else _only_one(statements)
        own = tuple(each for each in statements if each.account_id == account_id)
        if not own:
            raise _of_another(statements[0].account_id)
        return await self._taken(user_id, portfolio_id, account, body, own)

    async def _taken(
        self,
        user_id: str,
        portfolio_id: str,
        account: PortfolioAccount,
        body: bytes,
        own: Sequence[StatementTold],
    ) -> FlexImport:
        """own: read from `body`, all of the one account at IBKR that ours is connected to, or is by this."""
        from ibkit.bootstrap.portfolios import STATEMENTS_ONLY

        desk, account_name, account_id = self._desk, account.name, own[0].account_id
        link = None
        if account.link is None:
            link = Link(account_id=account_id, connection_id=STATEMENTS_ONLY, sync_enabled=False)
        kept = await desk.ledgers.keep(user_id, portfolio_id, account_name, body, own, link=link)
        outcome = None
        without_session = account.link is None or account.link.connection_id == STATEMENTS_ONLY
        if without_session and any(each.tells_holdings for each in own):
            outcome = await desk.sync_from_statements(user_id, portfolio_id, account_name)
        there = await desk.ledgers.statements(user_id, portfolio_id, account_name)
        await inbox_of(desk, user_id, portfolio_id, account_name)  # what it explains is settled, what it tells is found
        return FlexImport(
            account_id=account_id,
            kept=kept,
            first=min(each.first for each in own),
            last=max(each.last for each in own),
            missing=tuple(dict.fromkeys(line for each in own for line in each.missing)),
            unbooked=tuple(dict.fromkeys(line for each in own for line in each.unbooked)),
            gaps=tuple(gaps(there)),
            outcome=outcome,
        )

    async def fetch(
        self,
        user_id: str,
        portfolio_id: str,
        account_name: str,
        *,
        first: date | None = None,
        last: date | None = None,
        within_s: float = math.inf,
    ) -> FlexImport:
        """The statement of the query of the settings, or of the user's own, asked of IBKR, taken as a file is.

        within_s: so long IBKR may take for it, else FlexPending; what it has told is taken to its end.
        ConfigError (E-FLEX-TOKEN, E-CONFIG) where none is set; the errors of `FlexClient.fetch`, and of `take`.
        """
        await self._desk.books.account(user_id, portfolio_id, account_name)
        body = None
        with anyio.move_on_after(within_s):
            body = await self._fetched(user_id, first, last)
        if body is None:
            raise FlexPending(ticket=None, retry_at=self._clock.now(), said="it is still being made")
        return await self.take(user_id, portfolio_id, account_name, body)

    async def can_fetch(self, user_id: str) -> bool:
        """Whether there is a token, and a query, for this user's statements: one that cannot be opened is none."""
        if self._tokens is None:
            return self.is_set
        try:
            return await self._tokens.of(user_id) is not None
        except StorageError:
            return False

    async def _fetched(self, user_id: str, first: date | None, last: date | None) -> bytes:
        access = await self._access(user_id)
        try:
            return (await self._client(access).fetch(access.query_id, first=first, last=last)).body
        except CredentialsRejected as error:
            reason = str(error.details.get("reason", ""))
            await self._told_of_token(user_id, f"IBKR refuses the Flex token: {reason}".strip())
            raise

    async def _access(self, user_id: str) -> FlexAccess:
        if self._tokens is not None:
            own = await self._tokens.of(user_id)
            if own is None:
                raise _no_token("none of yours is kept", "Give yours with its query, or import a statement as a file.")
            return own
        if self._settings.general.multi_user:
            raise _no_token(
                "with ENABLE_MULTI_USER a token of the settings is nobody's, and without ENCRYPTION_KEY none is kept",
                "Set ENCRYPTION_KEY, or import the statement as a file.",
            )
        sync = self._settings.sync
        if sync.flex_query_id is None:
            raise ConfigError(
                "Setting missing: FLEX_QUERY_ID",
                code="E-CONFIG",
                remedy="Client Portal, Performance & Reports, Flex Queries: the number beside the query.",
            )
        if sync.flex_token is None:
            raise _no_token("none is set", "Set FLEX_TOKEN and FLEX_QUERY_ID, or import the statement as a file.")
        return FlexAccess(token=sync.flex_token, query_id=sync.flex_query_id, expires_on=sync.flex_token_expires)

    def _client(self, access: FlexAccess) -> FlexClient:
        known = self._clients.get(digest(access.token))
        if known is None:
            address = self._settings.sync.flex_url or FLEX_URL
            known = self._clients[digest(access.token)] = FlexClient(
                token=access.token, transport=_transport(self._settings, address), base_url=address, clock=self._clock
            )
        return known

    # -- by the clock -------------------------------------------------------------------------------------------------

    @property
    def is_set(self) -> bool:
        """Whether the settings say with what to fetch."""
        sync = self._settings.sync
        return sync.flex_token is not None and sync.flex_query_id is not None and not self._settings.general.multi_user

    def register(self, engine: JobEngine) -> None:
        """Once a day, in one process of all. Nothing where none can be fetched, or FLEX_DAILY=false."""
        if (self.is_set or self._tokens is not None) and self._settings.sync.flex_daily:
            engine.every("flex-statements", timedelta(days=1), self.daily, offset=_AT)

    async def daily(self, at: datetime) -> None:
        """The statement once, into every linked account that it tells of; of each user who keeps a token.

        What fails people are told. at: the beginning of the day's stretch.
        """
        linked = await self._desk.books.linked()
        if self._tokens is None:
            await self.remind()
            if linked:
                await self._daily_of("", linked)
            return
        for user_id in dict.fromkeys(each.user_id for each in linked):
            theirs = [each for each in linked if each.user_id == user_id]
            try:
                access = await self._tokens.of(user_id)
            except IbkitError as error:  # a key of the vault that is gone; another user's may be there
                await self._told_of_day(user_id, error)
                continue
            if access is not None:
                await self._remind_of(user_id, access.expires_on)
                await self._daily_of(user_id, theirs)

    async def _daily_of(self, user_id: str, linked: Sequence[LinkedAccount]) -> None:
        try:
            body = await self._fetched(user_id, None, None)
            told = _by_account(await anyio.to_thread.run_sync(statements_of, body))
        except IbkitError as error:
            log.warning("the daily Flex statement could not be fetched", extra={"code": error.code})
            await self._told_of_day(user_id, error)
            return
        failure: IbkitError | None = None
        for each in linked:
            own = told.get(each.link.account_id)
            if own is None:  # of another login, or of a query that leaves it out
                continue
            try:
                account = await self._desk.books.account(each.user_id, each.portfolio_id, each.account)
                taken = await self._taken(each.user_id, each.portfolio_id, account, body, own)
            except IbkitError as error:
                failure = error
                log.warning("a Flex statement was not taken", extra={"code": error.code})
                continue
            log.info("a Flex statement was taken", extra={"added": len(taken.kept.added)})
        if not any(each.link.account_id in told for each in linked):
            failure = _of_another(next(iter(told)))
        await self._told_of_day(user_id, failure)

    async def _told_of_day(self, user_id: str, failure: IbkitError | None) -> None:
        """failure: None for a day that worked, which ends the alert of one before. Without the error's own text, which
        may name an account at IBKR."""
        if self._tell is None or isinstance(failure, CredentialsRejected):  # of the token people are told apart
            return
        happening = Happening(
            event=EventKind.SYNC_RESTORED if failure is None else EventKind.SYNC_FAILED,
            subject=_subject("flex statements", user_id),
            message="The daily Flex statement is taken again"
            if failure is None
            else f"The daily Flex statement was not taken: {failure.code}",
            remedy="" if failure is None else failure.remedy,
            at=self._clock.now(),
            user=user_id,
            only_ends=failure is None,
        )
        await self._told(happening)

    async def remind(self) -> bool:
        """Whether people were told that the token of the settings ends soon, or has ended."""
        return self.is_set and await self._remind_of("", self._settings.sync.flex_token_expires)

    async def _remind_of(self, user_id: str, ends_on: date | None) -> bool:
        if ends_on is None:
            return False
        left = (ends_on - self._clock.now().date()).days
        if left > REMIND_DAYS:
            return False
        when = f"ends on {ends_on}" if left >= 0 else f"ended on {ends_on}"
        await self._told_of_token(user_id, f"The Flex token {when}")
        return True

    async def _told_of_token(self, user_id: str, message: str) -> None:
        if self._tell is None:
            return
        own = self._tokens is not None
        happening = Happening(
            event=EventKind.CREDENTIAL_OLD,
            subject=_subject("flex token", user_id if own else ""),
            message=message,
            remedy="Make a new one: Client Portal, Performance & Reports, Flex Queries, Flex Web Service "
            f"Configuration. It ends the old one. {_GIVE if own else 'Set FLEX_TOKEN and FLEX_TOKEN_EXPIRES.'}",
            at=self._clock.now(),
            user=user_id if own else "",
        )
        await self._told(happening)

    async def _told(self, happening: Happening) -> None:
        assert self._tell is not None, "looked at by who calls"
        try:
            await self._tell(happening)
        except IbkitError as error:  # what was asked for is what counts
            log.warning("an alert could not be told", extra={"event": happening.event.value, "code": error.code})


@asynccontextmanager
async def open_flex(
    settings: Settings,
    desk: PortfolioDesk,
    *,
    tell: Callable[[Happening], Awaitable[None]],
    credentials: CredentialDesk | None = None,
) -> AsyncIterator[FlexDesk]:
    """By the machine's clock, which is that of tokens.

    credentials: whose vault has users' own tokens, where it is open already.
    ConfigError (E-ENC-KEY), StorageError (E-ENC, E-DB).
    """
    vault: SqlVault | None = None if credentials is None else credentials.vault
    async with AsyncExitStack() as stack:
        if settings.general.multi_user and vault is None and ring_of(settings) is not None:
            vault = await stack.enter_async_context(open_vault(settings))
        flex = FlexDesk(settings, desk, machine_clock(), tell=tell, tokens=None if vault is None else FlexTokens(vault))
        try:
            yield flex
        finally:
            with anyio.CancelScope(shield=True):
                await flex.aclose()


def _no_token(reason: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"No Flex token can be used: {reason}", code="E-FLEX-TOKEN", remedy=remedy, details={"reason": reason}
    )


def _subject(what: str, user_id: str) -> str:
    """Equal event and subject are one alert: each user's is one of its own."""
    return f"{what} of {user_id}" if user_id else what


def _transport(settings: Settings, address: str) -> Transport:
    given = edges().flex
    if given is not None:
        return given(settings)
    ca = settings.oauth2.base_ca
    if ca is not None and is_loopback(parse_address(address).host):
        return open_flex_transport(address, ca=authority("IBKR_BASE_CA", ca))
    return open_flex_transport(address)


def _by_account(statements: Sequence[StatementTold]) -> Mapping[str, tuple[StatementTold, ...]]:
    found: dict[str, tuple[StatementTold, ...]] = {}
    for each in statements:
        found[each.account_id] = (*found.get(each.account_id, ()), each)
    return found


def _only_one(statements: Sequence[StatementTold]) -> str:
    ids = sorted({each.account_id for each in statements})
    if len(ids) > 1:
        raise conflict(
            f"the statement is of several accounts ({', '.join(map(_masked, ids))})",
            "Connect each account of the portfolio first, or choose one account in the query.",
        )
    return ids[0]


def _of_another(account_id: str) -> UnexpectedAnswer:
    masked = _masked(account_id)
    return UnexpectedAnswer(
        f"The Flex statement is of another account: {masked}",
        code="E-FLEX-ACCOUNT",
        effect=Effect.NONE,
        details={"account": masked},
    )


def _masked(account_id: str) -> str:
    return f"{account_id[:2]}***{account_id[-2:]}"
