"""Connections over HTTP: the one of the settings, or with ENABLE_MULTI_USER each user's own, by name, one the default.

Every connection has a login, state, sessions and history of its own; what one fails by does not touch another. They
share the journal, the limits and the kill switch of the installation. Source: requirements SES-15, SES-16, VLT-09.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

from ibkit.bootstrap.auditing import AuditQueue
from ibkit.bootstrap.connection_desk import ConnectionDesk, needs_users, no_such_connection
from ibkit.bootstrap.connection_opening import open_connection
from ibkit.bootstrap.connections import Confirm, Connection
from ibkit.bootstrap.credential_desk import Asker, CredentialDesk
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.session_book import OF_SETTINGS
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import AccountId, AuthMethod, Environment
from ibkit.service.brokers import Brokers, Login
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.trading.connection import ConnectionState
from ibkit.users.principal import Principal

__all__ = ["FOLLOW_EVERY_S", "IBKR", "OwnConnections", "key_of"]

log = logging.getLogger(__name__)

IBKR = "ibkr"
FOLLOW_EVERY_S = 5.0


def key_of(user_id: str, connection_id: str) -> str:
    """How the login of a user's connection is called among the open ones; `broker_of` tells its broker."""
    return f"{IBKR}/{user_id}/{connection_id}"


class OwnConnections:
    """desk: the users' credentials, None with ENABLE_MULTI_USER=false. rows: of a database with the part `connections`.

    confirm: see `Connection`.
    """

    def __init__(
        self,
        settings: Settings,
        brokers: Brokers,
        rows: SqlConnections,
        clock: Clock,
        *,
        desk: CredentialDesk | None,
        confirm: Confirm,
        audit: AuditQueue,
    ) -> None:
        self.audit = audit
        self.opened_one: Callable[[str, Login], None] = lambda key, login: None
        """Told of each connection that was opened."""
        self.settings = settings
        self.rows = rows
        self.clock = clock
        self._brokers = brokers
        self._desk = None if desk is None else ConnectionDesk(rows=rows, credentials=desk, clock=clock)
        self._confirm = confirm
        self._changing = anyio.Lock()
        self._signed_in_with: dict[tuple[str, str], str | None] = {}
        """Which set of credentials each open one has."""
        if desk is not None:
            desk.changed = self._credentials_changed

    @property
    def of_users(self) -> bool:
        """Each user has connections of their own, and nobody that of the settings."""
        return self._desk is not None

    @property
    def record(self) -> SqlConnections:
        """Where the looks are kept: in the database, but for the mock, whose record ends with it."""
        there = self._brokers.opened.get(self._brokers.default)
        return there.book.store if isinstance(there, Connection) and not self.of_users else self.rows

    async def connection(self, who: Principal, connection_id: str | None, *, address: str = "local") -> Connection:
        """Theirs of that name, or their default; opened where need be, not signed in.

        NotFound for one that is not theirs, as for one that is not there; ConfigError (E-NOT-CONFIGURED).
        """
        if self.of_users:
            found = await self.login(who, connection_id, address=address)
        else:
            if connection_id not in (None, OF_SETTINGS):
                raise no_such_connection()
            there = self._brokers.opened.get(self._brokers.default)
            if there is None:
                raise ConfigError(code="E-NOT-CONFIGURED")
            found = there
        if not isinstance(found, Connection):
            raise no_such_connection()
        found.used()
        return found

    async def login(self, who: Principal, connection_id: str | None, *, address: str = "local") -> Login:
        """As `connection`, with ENABLE_MULTI_USER alone."""
        name = connection_id or await self._theirs.default_of(who.user_id)
        key = key_of(who.user_id, name)
        login = self._brokers.opened.get(key)
        if login is None:
            login = await self._opened(Asker(user_id=who.user_id, actor=who.user_id, address=address), name)
        if isinstance(login, Connection):
            login.used()
        return login

    @property
    def _theirs(self) -> ConnectionDesk:
        assert self._desk is not None, "there are connections of users"
        return self._desk

    async def _opened(self, asker: Asker, name: str) -> Login:
        used = (await self._theirs.credentials.credentials.in_use()).get((asker.user_id, name))
        settings, row = await self._theirs.login(asker, name)

        def open_it() -> AbstractAsyncContextManager[Login]:
            return open_connection(settings, confirm=self._confirm, row=row)

        key = key_of(asker.user_id, name)
        new = key not in self._brokers.opened
        login = await self._brokers.open(key, open_it)
        if new:
            self._signed_in_with[asker.user_id, name] = used
            self.opened_one(key, login)
        return login

    async def open_of(self, who: Principal) -> None:
        """Those of theirs that are ready to be used; one that cannot be opened is left out."""
        for row in await self._theirs.of_user(who.user_id):
            if key_of(who.user_id, row.connection_id) in self._brokers.opened:
                continue
            try:
                await self._opened(Asker(user_id=who.user_id, actor="service"), row.connection_id)
            except IbkitError as error:
                log.info("a connection is left out", extra={"code": error.code})

    async def listed(self, who: Principal) -> tuple[ConnectionRow, ...]:
        """Their default first. With ENABLE_MULTI_USER=false the one of the settings."""
        if not self.of_users:
            there = self._brokers.opened.get(self._brokers.default)
            return (there.book.row_now(),) if isinstance(there, Connection) else ()
        rows = await self._theirs.of_user(who.user_id)
        return tuple(self._as_it_stands(row) for row in rows)

    async def accounts_of(self, who: Principal) -> frozenset[AccountId] | None:
        """Whose records are theirs: of their connections as last seen, as far as their token goes; None: every one.

        With ENABLE_MULTI_USER=false those of the one login are everybody's.
        """
        if not self.of_users:
            return who.accounts
        theirs = frozenset(AccountId(each) for row in await self.listed(who) for each in row.accounts)
        return theirs if who.accounts is None else theirs & who.accounts

    def _as_it_stands(self, row: ConnectionRow) -> ConnectionRow:
        there = self._brokers.opened.get(key_of(row.user_id, row.connection_id))
        if not isinstance(there, Connection):
            return row
        return dataclasses.replace(there.book.row_now(), is_default=row.is_default, label=row.label)

    async def create(
        self,
        who: Principal,
        connection_id: str,
        *,
        method: AuthMethod,
        environment: Environment,
        label: str,
        address: str,
        username: str,
    ) -> ConnectionRow:
        """As `ConnectionDesk.create`; E-NOT-FOUND with ENABLE_MULTI_USER=false."""
        self._need_users()
        return await self._theirs.create(
            who.user_id,
            connection_id,
            method=method,
            environment=environment,
            label=label,
            address=address,
            username=username,
        )

    async def set_default(self, who: Principal, connection_id: str) -> None:
        self._need_users()
        await self.rows.set_default(who.user_id, connection_id)

    async def delete(self, who: Principal, connection_id: str, *, address: str) -> None:
        """Logged out, closed, and gone with its history and its credentials. NotFound."""
        self._need_users()
        if await self.rows.get(who.user_id, connection_id) is None:
            raise no_such_connection()
        key = key_of(who.user_id, connection_id)
        there = self._brokers.opened.get(key)
        if isinstance(there, Connection):
            await there.log_out()
            await self._brokers.close(key)
        await self._theirs.delete(Asker(user_id=who.user_id, actor=who.user_id, address=address), connection_id)

    async def _credentials_changed(self, user_id: str, connection_id: str) -> None:
        """Let go of a login of the former ones, and sign in with those that are in use now, if any. TM-42."""
        async with self._changing:
            await self._let_go(user_id, connection_id)

    async def _let_go(self, user_id: str, connection_id: str) -> None:
        key = key_of(user_id, connection_id)
        self._signed_in_with.pop((user_id, connection_id), None)
        there = self._brokers.opened.get(key)
        if there is None:
            return
        if isinstance(there, Connection):
            await there.let_go()
        await self._brokers.close(key)
        if (await self._theirs.credentials.of_connection(user_id, connection_id)).in_use is None:
            return
        try:
            await self._opened(Asker(user_id=user_id, actor="service"), connection_id)
        except IbkitError as error:  # it is opened when it is asked for
            log.warning("a connection waits for its next use", extra={"code": error.code})

    async def keep(self, stopping: Callable[[], bool]) -> None:
        """Open what was connected when the service ended; then, every 5 s, follow what commands change."""
        if self._desk is None:
            return
        await self._open_all(self._desk, stopping)
        while edges().keep_alive and not stopping():
            await self.clock.sleep(FOLLOW_EVERY_S)
            try:
                await self.follow()
            except IbkitError as error:  # looked at again in a moment
                log.warning("changed credentials could not be looked for", extra={"code": error.code})

    async def follow(self) -> None:
        """Let go of what has been deleted, or has other credentials now, by a command or another service."""
        in_use = await self._theirs.credentials.credentials.in_use()
        for place, known in tuple(self._signed_in_with.items()):
            if in_use.get(place) == known:
                continue
            async with self._changing:
                if self._signed_in_with.get(place) == known:
                    log.info("a connection has other credentials now")
                    await self._let_go(*place)

    async def _open_all(self, desk: ConnectionDesk, stopping: Callable[[], bool]) -> None:
        """One after the other."""
        try:
            there = desk.credentials
            in_use = await there.credentials.older_than(there.vault.clock.now())
            for user_id in dict.fromkeys(each.user_id for each in in_use):
                await desk.of_user(user_id)
            rows = await self.rows.all()
        except IbkitError as error:  # each is opened when it is asked for
            log.warning("the users' connections could not be opened", extra={"code": error.code})
            return
        for row in rows:
            if stopping():
                return
            if not row.user_id or not row.wanted or row.state is ConnectionState.NOT_CONFIGURED:
                continue
            try:
                await self._opened(Asker(user_id=row.user_id, actor="service"), row.connection_id)
            except IbkitError as error:  # of one user; the others' are opened all the same
                log.warning("a user's connection could not be opened", extra={"code": error.code})

    def _need_users(self) -> None:
        if not self.of_users:
            raise needs_users()
