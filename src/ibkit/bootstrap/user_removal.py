"""A user removed for good, with all that opened a door for them: at the service and at IBKR. Requirement VLT-10, TM-42.

    disabled      tokens, sessions and keys are over: nothing new comes while the rest goes
    looked again  an order that was on its way counts, too
    vault         credentials of every connection destroyed; whoever has one open logs it out; the Flex token
    connections   with their history of sessions
    channels      their alerts' addresses: what their orders still do is the installation's to hear
    portfolios    theirs; the orders of before there were users, where they were theirs, are nobody's
    the user      last, so that what broke off in between is done by removing them again

Their orders and the audit log stay, under their id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio.to_thread

from ibkit.bootstrap.alerting import forget_channels
from ibkit.bootstrap.credential_desk import Asker, CredentialDesk, open_credential_desk
from ibkit.bootstrap.desks import journal_path
from ibkit.bootstrap.flex_tokens import FlexTokens
from ibkit.bootstrap.multi_user import let_go_of_earlier_orders, owns_earlier_orders, sealed_sets_of
from ibkit.bootstrap.portfolios import open_portfolios
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.bootstrap.session_leases import is_kept
from ibkit.bootstrap.users import open_users
from ibkit.clock import Clock
from ibkit.errors import ConfigError, NotFound
from ibkit.settings import Settings
from ibkit.store.connections import SqlConnections
from ibkit.store.journal_look import open_orders_of_user
from ibkit.store.portfolios import SqlPortfolios
from ibkit.users import Principal, User, UserKeeper

__all__ = ["Removal", "Ties", "desk_of_vault", "open_removal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """What a user still has going. orders: not ended, or in doubt. connections: names of those that are up now."""

    orders: int = 0
    connections: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.orders or self.connections)

    @property
    def text(self) -> str:
        parts = [f"{self.orders} open order{'s' if self.orders > 1 else ''}"] if self.orders else []
        parts += [f"a live connection ({', '.join(self.connections)})"] if self.connections else []
        return " and ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """credentials: None where these settings have no key for the vault."""

    settings: Settings
    keeper: UserKeeper
    rows: SqlConnections
    credentials: CredentialDesk | None
    books: SqlPortfolios
    clock: Clock

    async def ties(self, user_id: str) -> Ties:
        """StorageError."""
        nobodys = await owns_earlier_orders(self.settings, user_id)
        count = partial(open_orders_of_user, journal_path(self.settings), user_id, or_nobodys=nobodys)
        orders = await anyio.to_thread.run_sync(count)
        rows = await self.rows.of_user(user_id)
        live = [row.connection_id for row in rows if row.state.is_up and is_kept(self.settings, row)]
        return Ties(orders=orders, connections=tuple(live))

    async def remove(self, user: User, asker: Asker, *, force: bool, by: Principal | None = None) -> Ties:
        """What they had going, which is nothing unless it is forced.

        force: remove them although orders of theirs stand at IBKR, which go on there, or a connection is up, which is
               logged out.

        ConfigError: E-CONFLICT where that is not given and there is something; E-FORBIDDEN for the last owner, and
        for one whom `by` does not manage; E-ENC-KEY where credentials of theirs are kept and there is no key to destroy
        them with. Nothing is changed by one of these, but that their
        sessions are over where an order came in at that very moment.
        """
        if self.credentials is None and await sealed_sets_of(self.settings, user.user_id):
            raise ConfigError(
                f"Not possible as it stands: credentials of {user.name} are kept, and there is no key of the vault",
                code="E-ENC-KEY",
                remedy="Set ENCRYPTION_KEY, or where it comes from, and remove them then.",
            )
        ties = await self.ties(user.user_id)
        _check(user, ties, force=force)
        await self._the_same(user)
        await self.keeper.disable(user.name, by=by)
        try:
            ties = await self.ties(user.user_id)  # an order that was on its way is there by now
            _check(user, ties, force=force)
        except ConfigError:
            await self.keeper.enable(user.name, by=by)
            raise
        if self.credentials is not None:
            for each in await self.credentials.of_user(user.user_id):
                await self.credentials.delete(asker, each.connection_id)
            await FlexTokens(self.credentials.vault).forget(user.user_id)
        for row in await self.rows.of_user(user.user_id):
            await self.rows.delete(user.user_id, row.connection_id)
        await self.books.delete_of_user(user.user_id)
        await forget_channels(self.settings, user.user_id, clock=self.clock)
        if await owns_earlier_orders(self.settings, user.user_id):
            await let_go_of_earlier_orders(self.settings, by=asker.actor, at=self.clock.now())
        await self._the_same(user)
        await self.keeper.remove(user.name, by=by)
        return ties

    async def _the_same(self, user: User) -> None:
        """NotFound where somebody else removed them meanwhile, though another has their name by now."""
        if (await self.keeper.named(user.name)).user_id != user.user_id:
            raise NotFound("user not found", code="E-NOT-FOUND", details={"thing": "user"})


def _check(user: User, ties: Ties, *, force: bool) -> None:
    if ties and not force:
        raise ConfigError(
            f"Not possible as it stands: {user.name} has {ties.text}",
            code="E-CONFLICT",
            remedy="Cancel the orders and log the connection out first, or force it: orders then go on at IBKR "
            "with nobody here to cancel them under that name.",
            details={"orders": ties.orders, "connections": list(ties.connections)},
        )


@asynccontextmanager
async def open_removal(settings: Settings, *, clock: Clock) -> AsyncIterator[Removal]:
    """Over the database and the vault of these settings, for a command. ConfigError, StorageError."""
    async with AsyncExitStack() as stack:
        users = await stack.enter_async_context(open_users(settings, clock=clock))
        rows = await stack.enter_async_context(open_connection_rows(settings))
        portfolios = await stack.enter_async_context(open_portfolios(settings, clock))
        yield Removal(
            settings=settings,
            keeper=users.keeper,
            rows=rows,
            credentials=await stack.enter_async_context(desk_of_vault(settings)),
            books=portfolios.books,
            clock=clock,
        )


@asynccontextmanager
async def desk_of_vault(settings: Settings) -> AsyncIterator[CredentialDesk | None]:
    """Also with ENABLE_MULTI_USER=false: what was kept before must go with its user. None without a key."""
    if not settings.vault.has_key:
        yield None
        return
    async with open_credential_desk(settings) as desk:
        yield desk
