"""What a user's connection signs in with, for programs and commands on the machine that has the vault's key. SES-15.

No sign-in of the user is asked for: whoever can open the vault could read the credentials themselves. The use of them
stands in the audit log.
"""

from __future__ import annotations

import dataclasses

from ibkit.bootstrap.connection_desk import needs_users, open_connection_desk
from ibkit.bootstrap.credential_desk import Asker
from ibkit.bootstrap.multi_user import check_licence, without_own_login
from ibkit.bootstrap.users import trading_user
from ibkit.errors import ConfigError, NotFound
from ibkit.model import AccountId
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.users.user import User

__all__ = ["login_of_user", "settings_of_user"]


async def login_of_user(
    settings: Settings, user: str, connection_id: str | None
) -> tuple[User, Settings, ConnectionRow]:
    """Of the user with that id or name; without a connection_id their default one.

    NotFound for a user or connection that is not there, NotPermitted (E-FORBIDDEN) for a user who may not trade,
    ConfigError (E-LICENCE, E-NOT-CONFIGURED), StorageError.
    """
    await check_licence(settings)
    found = await trading_user(settings, user)
    async with open_connection_desk(without_own_login(settings)) as desk:
        name = connection_id or await desk.default_of(found.user_id)
        own, row = await desk.login(Asker.here(found.user_id), name)
    return found, own, row


async def settings_of_user(
    settings: Settings, user: str, connection_id: str | None, *, account_id: str | None, environment: str | None
) -> tuple[User, Settings, ConnectionRow]:
    """As `login_of_user`, for one run that may name an account of the login, and the environment it expects.

    NotFound (E-NOT-FOUND) where the connection is of another account, ConfigError (E-CONFIG-CONFLICT) where it is of
    the other environment.
    """
    if not settings.general.multi_user or settings.mock:
        raise needs_users()
    found, own, row = await login_of_user(settings, user, connection_id)
    if environment is not None and environment.casefold() != own.environment.value:
        raise ConfigError(
            f"Settings conflict: {row.connection_id} of {found.name} is a {own.environment.value} connection",
            code="E-CONFIG-CONFLICT",
            remedy="Leave out --env, or name a connection of that environment.",
        )
    if account_id is not None and own.account_id not in (None, account_id):
        raise NotFound(code="E-NOT-FOUND", details={"thing": "account"})
    if account_id is not None:
        own = dataclasses.replace(own, general=dataclasses.replace(own.general, account_id=AccountId(account_id)))
    return found, own, row
