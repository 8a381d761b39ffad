"""The connections of users as they keep them: listed, made, one of them the default, deleted; what each signs in with.

Commands and `IBKRSessionAuth` use it as it stands; a service adds the logins that it has open
(`service/own_connections.py`). Source: requirements SES-15, SES-16, VLT-09.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ibkit.bootstrap.clients import clock_of
from ibkit.bootstrap.credential_desk import Asker, CredentialDesk, open_credential_desk
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.bootstrap.vault_logins import check_gateway
from ibkit.clock import Clock
from ibkit.errors import ConfigError, NotFound
from ibkit.model import AuthMethod, Environment, GatewayLogin
from ibkit.settings import Settings
from ibkit.settings.addresses import parse_address
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.trading.connection import ConnectionState

__all__ = ["ConnectionDesk", "needs_users", "no_such_connection", "open_connection_desk"]

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDesk:
    """rows: of a database with the part `connections`. credentials: of the users."""

    rows: SqlConnections
    credentials: CredentialDesk
    clock: Clock

    @property
    def settings(self) -> Settings:
        return self.credentials.settings

    async def of_user(self, user_id: str) -> tuple[ConnectionRow, ...]:
        """Theirs, the default first, with those of which only credentials are there yet."""
        rows = await self.rows.of_user(user_id)
        known = {row.connection_id for row in rows}
        kept = await self.credentials.of_user(user_id)
        new = [each for each in kept if each.in_use and each.connection_id not in known]
        for each in new:
            try:
                await self.login(Asker(user_id=user_id, actor="service"), each.connection_id)
            except ConfigError as error:
                log.warning("a connection is left out", extra={"code": error.code})
        return await self.rows.of_user(user_id) if new else rows

    async def default_of(self, user_id: str) -> str:
        """ConfigError (E-NOT-CONFIGURED) for a user without any."""
        rows = await self.of_user(user_id)
        if not rows:
            raise ConfigError(
                "Not Configured: this user has no connection",
                code="E-NOT-CONFIGURED",
                remedy="Store credentials for a connection and test them.",
            )
        return next((row.connection_id for row in rows if row.is_default), rows[0].connection_id)

    async def login(self, who: Asker, connection_id: str) -> tuple[Settings, ConnectionRow]:
        """What it signs in with, and the row it is kept as; made where only credentials are there yet.

        NotFound for one that is not theirs, as for one that is not there; ConfigError (E-NOT-CONFIGURED,
        E-CONFIG-CONFLICT), StorageError.
        """
        row = await self.rows.get(who.user_id, connection_id)
        if row is None:
            kept = await self.credentials.of_connection(who.user_id, connection_id)
            if kept.in_use is None and kept.waiting is None:
                raise no_such_connection()
        settings = await self.credentials.use(who, connection_id)
        wanted = row_of_user(settings, who.user_id, connection_id, self.clock)
        if row is None:
            await self.rows.add(wanted)
        return settings, wanted

    async def create(
        self,
        user_id: str,
        connection_id: str,
        *,
        method: AuthMethod,
        environment: Environment,
        label: str = "",
        address: str = "",
        username: str = "",
    ) -> ConnectionRow:
        """One more of theirs, to be given credentials. address, username: of a gateway, which holds one login.

        ConfigError: E-VALIDATION, E-GW-REMOTE, E-CONFIG-CONFLICT (the name, or the gateway of another user name).
        """
        allowed, gateway = self.settings.general.methods_allowed, method is AuthMethod.GATEWAY
        if not _NAME.fullmatch(connection_id):
            raise _invalid("connection_id", "it has 1 to 64 letters, digits and . _ -, and does not begin with a sign")
        if method.value not in allowed:
            raise _invalid("method", f"it is one of {', '.join(allowed)}")
        if gateway != bool(address):
            raise _invalid("address", "a gateway needs it" if gateway else "it is for a gateway only")
        if gateway:
            check_gateway(self.settings, address)
        now = self.clock.now()
        row = ConnectionRow(
            user_id=user_id,
            connection_id=connection_id,
            label=label,
            method=method.value,
            environment=environment.value,
            address=parse_address(address).base if gateway else "",
            username=username,
            created_at=now,
            state=ConnectionState.NOT_CONFIGURED,
            since=now,
        )
        return await self.rows.add(row)

    async def delete(self, who: Asker, connection_id: str) -> None:
        """Gone with its history and its credentials; whoever has it open lets go of it. NotFound."""
        if await self.rows.get(who.user_id, connection_id) is None:
            raise no_such_connection()
        kept = await self.credentials.of_connection(who.user_id, connection_id)
        if kept.in_use is not None or kept.waiting is not None:
            await self.credentials.delete(who, connection_id)
        await self.rows.delete(who.user_id, connection_id)


@asynccontextmanager
async def open_connection_desk(settings: Settings) -> AsyncIterator[ConnectionDesk]:
    """The desk over the database and the vault of these settings.

    ConfigError (E-ENC-KEY), StorageError; NotFound with ENABLE_MULTI_USER=false.
    """
    if not settings.general.multi_user:
        raise needs_users()
    async with open_connection_rows(settings) as rows, open_credential_desk(settings) as credentials:
        yield ConnectionDesk(rows=rows, credentials=credentials, clock=clock_of(settings))


def row_of_user(settings: Settings, user_id: str, connection_id: str, clock: Clock) -> ConnectionRow:
    """A user's connection as its credentials say."""
    now = clock.now()
    gateway = settings.method is AuthMethod.GATEWAY
    login = settings.credentials()
    return ConnectionRow(
        user_id=user_id,
        connection_id=connection_id,
        method=settings.method.value,
        environment=settings.environment.value,
        address=settings.gateway_address.base if gateway else "",
        username=(login.username or "") if isinstance(login, GatewayLogin) else "",
        created_at=now,
        state=ConnectionState.CONFIGURED,
        since=now,
    )


def needs_users() -> NotFound:
    return NotFound(
        "Connections of users are not there: ENABLE_MULTI_USER is false",
        code="E-NOT-FOUND",
        remedy="The connection is that of the settings.",
    )


def no_such_connection() -> NotFound:
    return NotFound(code="E-NOT-FOUND", details={"thing": "connection"})


def _invalid(field: str, why: str) -> ConfigError:
    return ConfigError(
        f"Invalid request: {field}: {why}",
        code="E-VALIDATION",
        remedy="Correct it; nothing was stored.",
        details={"errors": [{"field": field, "message": why}]},
    )
