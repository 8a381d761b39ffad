"""ENABLE_MULTI_USER: what has to be there before a service may act for several users, and what is then left aside.

Source: requirements CFG-08, VLT-12.
"""

from __future__ import annotations

import dataclasses
import logging
from datetime import datetime

import anyio.to_thread

from ibkit.errors import ConfigError
from ibkit.settings import Settings, load_defaults
from ibkit.settings.problems import Problem
from ibkit.store.licences import Licence, SqlLicences
from ibkit.store.records import open_records

__all__ = ["accept_licence", "check_licence", "licence_of", "without_own_login"]

log = logging.getLogger(__name__)


async def licence_of(settings: Settings) -> Licence | None:
    """IBKR's approval as it was recorded in the database of these settings; no key is needed. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("vault",)))
    try:
        return await SqlLicences(database).accepted()
    finally:
        await database.close()


async def accept_licence(settings: Settings, reference: str, *, by: str, at: datetime) -> Licence:
    """Record it. ConfigError (E-VALIDATION) for a reference that says nothing; StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("vault",)))
    try:
        return await SqlLicences(database).accept(reference, by=by, at=at)
    finally:
        await database.close()


async def check_licence(settings: Settings) -> None:
    """ConfigError (E-LICENCE) where several users would be served without a recorded approval of IBKR's.

    Not for the simulated broker, which is nobody's.
    """
    if settings.general.multi_user and not settings.mock and await licence_of(settings) is None:
        raise ConfigError(code="E-LICENCE")


def without_own_login(settings: Settings) -> Settings:
    """The settings of a service of several users: their own credentials are ignored, which is said in the log."""
    if not settings.general.multi_user:
        return settings
    ignored = sorted(name for name in settings.sources if name in _CREDENTIALS)
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
        *("IBKR_CLIENT_ID", "IBKR_CLIENT_KEY_ID", "IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PATH"),
        *("IBKR_PRIVATE_KEY_PASSPHRASE", "IBKR_CREDENTIAL", "IBKR_CLIENT_SECRET", "IBKR_ACCOUNT_ID"),
    }
)
