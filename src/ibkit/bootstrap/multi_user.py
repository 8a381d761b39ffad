"""ENABLE_MULTI_USER: what has to be there before a service may act for several users, and what is then left aside.

Source: requirements CFG-08, VLT-12, VLT-13.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import anyio.to_thread
from sqlalchemy import Connection, func, select

from ibkit.bootstrap.credential_desk import Asker, ConnectionCredentials, CredentialDesk
from ibkit.bootstrap.vault_logins import fields_of
from ibkit.errors import ConfigError
from ibkit.settings import Settings, load_defaults
from ibkit.settings.problems import Problem
from ibkit.store.database import Database
from ibkit.store.earlier_owner import SqlEarlierOwner
from ibkit.store.licences import Licence, SqlLicences
from ibkit.store.migrating import for_engine
from ibkit.store.records import open_records
from ibkit.store.vault_tables import CREDENTIALS, SEALED

__all__ = [
    "Moved",
    "accept_licence",
    "check_licence",
    "earlier_owner_of",
    "let_go_of_earlier_orders",
    "licence_of",
    "owns_earlier_orders",
    "sealed_sets_of",
    "to_one_user",
    "to_several_users",
    "without_own_login",
]

log = logging.getLogger(__name__)

DEFAULT = "default"
_USERS = (CREDENTIALS, SEALED)
_LABEL = "from the settings"
"""Of credentials that were copied, so that undoing it takes away nothing else."""


async def licence_of(settings: Settings) -> Licence | None:
    """IBKR's approval as it was recorded in the database of these settings; no key is needed. StorageError."""
    async with _database(settings) as database:
        return await SqlLicences(database).accepted()


async def accept_licence(settings: Settings, reference: str, *, by: str, at: datetime) -> Licence:
    """Record it. ConfigError (E-VALIDATION) for a reference that says nothing; StorageError."""
    async with _database(settings) as database:
        return await SqlLicences(database).accept(reference, by=by, at=at)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("vault",)))
    try:
        yield database
    finally:
        await database.close()


async def check_licence(settings: Settings) -> None:
    """ConfigError (E-LICENCE) where several users would be served without a recorded approval of IBKR's.

    Not for the simulated broker, which is nobody's.
    """
    if settings.general.multi_user and not settings.mock and await licence_of(settings) is None:
        raise ConfigError(code="E-LICENCE")


async def earlier_owner_of(settings: Settings) -> str:
    """Id of the user whose the orders of before are; "" with ENABLE_MULTI_USER=false, or where they are nobody's."""
    if not settings.general.multi_user:
        return ""
    async with _database(settings) as database:
        return await SqlEarlierOwner(database).user_id()


async def owns_earlier_orders(settings: Settings, user_id: str) -> bool:
    """Whether the orders of before there were users are theirs, with ENABLE_MULTI_USER=false, too."""
    async with _database(settings) as database:
        return await SqlEarlierOwner(database).user_id() == user_id


async def let_go_of_earlier_orders(settings: Settings, *, by: str, at: datetime) -> None:
    """They are nobody's again."""
    async with _database(settings) as database:
        await SqlEarlierOwner(database).attach("", by=by, at=at)


async def sealed_sets_of(settings: Settings, user_id: str) -> int:
    """How many sets of credentials, and sealed texts, are kept of a user; no key is needed to know."""

    def work(connection: Connection) -> int:
        connection = for_engine(connection)
        counts = [select(func.count()).select_from(each).where(each.c.user_id == user_id) for each in _USERS]
        return sum(int(connection.execute(count).scalar_one()) for count in counts)

    async with _database(settings) as database:
        return await database.read(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """copied: the settings' credentials, in this run. attached: the earlier orders, in this run.

    removable: settings that a service of several users ignores, by name.
    """

    copied: bool
    attached: bool
    connection: ConnectionCredentials
    removable: tuple[str, ...]


async def to_several_users(settings: Settings, desk: CredentialDesk, who: Asker) -> Moved:
    """Make the settings' login and the orders of before those of one user; what was moved already is left as it is.

    ConfigError (E-CONFIG-CONFLICT) where the orders are another's by now; or whatever the credentials are refused by.
    """
    earlier = SqlEarlierOwner(desk.vault.database)
    owner = await earlier.user_id()
    if owner not in ("", who.user_id):
        raise ConfigError(
            "The orders of before are those of another user already",
            code="E-CONFIG-CONFLICT",
            remedy="Undo that first: `ibkit migrate multi-user --undo --owner NAME`.",
        )
    kept = await desk.of_connection(who.user_id, DEFAULT)
    copied = kept.in_use is None and kept.waiting is None
    if copied:
        fields = fields_of(settings)
        kept = await desk.put(
            who, DEFAULT, method=settings.method, environment=settings.environment, fields=fields, label=_LABEL
        )
    if not owner:
        await earlier.attach(who.user_id, by=who.actor, at=desk.audit_clock.now())
    return Moved(copied=copied, attached=not owner, connection=kept, removable=_own_credentials(settings))


async def to_one_user(desk: CredentialDesk, who: Asker) -> Moved:
    """Undo `to_several_users`: nothing else of the user's is touched, nor anything of the settings."""
    earlier = SqlEarlierOwner(desk.vault.database)
    attached = await earlier.user_id() == who.user_id
    if attached:
        await earlier.attach("", by=who.actor, at=desk.audit_clock.now())
    kept = await desk.of_connection(who.user_id, DEFAULT)
    copied = any(each is not None and each.label == _LABEL for each in (kept.in_use, kept.waiting))
    if copied:
        await desk.delete(who, DEFAULT)
    return Moved(copied=copied, attached=attached, connection=kept, removable=())


def _own_credentials(settings: Settings) -> tuple[str, ...]:
    """Settings that are there and hold the installation's own login, as they are spelt."""
    return tuple(sorted(found.name for name, found in settings.sources.items() if name in _CREDENTIALS))


def without_own_login(settings: Settings) -> Settings:
    """The settings of a service of several users: their own credentials are ignored, which is said in the log."""
    if not settings.general.multi_user:
        return settings
    ignored = _own_credentials(settings)
    if ignored:
        log.warning(
            "ENABLE_MULTI_USER: the credentials of the settings are ignored; each user's are in the vault",
            extra={"ignored": ", ".join(ignored)},
        )
    bare = load_defaults({})
    return dataclasses.replace(
        settings,
        general=dataclasses.replace(settings.general, account_id=None),
        oauth1=dataclasses.replace(bare.oauth1, rotation_hours=settings.oauth1.rotation_hours),
        oauth2=dataclasses.replace(
            bare.oauth2,
            base_url=settings.oauth2.base_url,
            base_ca=settings.oauth2.base_ca,
            settle_seconds=settings.oauth2.settle_seconds,
            frontend_url=settings.oauth2.frontend_url,
        ),
        choice=None,
        method_problems=(
            Problem(
                "E-NOT-CONFIGURED",
                "Not Configured: each user signs in with credentials of their own",
                "Store credentials with POST /api/settings/ibkr and test them.",
                ("credentials of the user",),
            ),
        ),
    )


_CREDENTIALS = frozenset(
    {
        *("IB_CONSUMER_KEY", "IB_ACCESS_TOKEN", "IB_ACCESS_TOKEN_SECRET", "IB_KEY_PASSPHRASE"),
        *("IB_SIGNATURE_KEY_PATH", "IB_ENCRYPTION_KEY_PATH", "IB_DH_PARAM_PATH", "IB_REALM", "IBKR_SCOPE"),
        *("IBKR_CLIENT_ID", "IBKR_CLIENT_KEY_ID", "IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PATH", "IBKR_ALLOWED_IP"),
        *("IBKR_PRIVATE_KEY_PASSPHRASE", "IBKR_CREDENTIAL", "IBKR_CLIENT_SECRET", "IBKR_ACCOUNT_ID"),
    }
)
