"""Of a service with several users: who has not used it for a quarter, and which live connections only look. SEC-06."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ibkit.upkeep.audit import Severity, Weakness

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.store.connection_rows import ConnectionRow
    from ibkit.users import User

__all__ = ["audit_users"]


async def audit_users(settings: Settings, *, now: datetime) -> list[Weakness]:
    """Nothing where there is no database yet, or one user. Nothing is made or changed there. StorageError."""
    from ibkit.bootstrap.session_book import open_connection_rows
    from ibkit.bootstrap.users import users_now
    from ibkit.store.database import sqlite_path
    from ibkit.store.journal_look import versions_there

    url = settings.database_url.reveal()
    file = sqlite_path(url)
    if file is not None and not file.exists():
        return []
    there = versions_there(url)
    users = [user for user in await users_now(settings) if user.enabled] if "users" in there else []
    if len(users) < 2:
        return []
    rows: Sequence[ConnectionRow] = ()
    if "connections" in there:
        async with open_connection_rows(settings) as connections:
            rows = await connections.all()
    used = await _last_uses(settings, users) if "audit" in there else {}
    return [*_unused(users, used, now), *_only_looking(settings, {user.user_id: user for user in users}, rows)]


async def _last_uses(settings: Settings, users: Sequence[User]) -> dict[str, datetime]:
    """When each did something last."""
    from ibkit.bootstrap.access import last_use
    from ibkit.bootstrap.auditing import audit_log
    from ibkit.bootstrap.users import user_store

    async with audit_log(settings) as log, user_store(settings) as store:
        found = {user.user_id: await last_use(user.user_id, store, log) for user in users}
    return {user_id: at for user_id, at in found.items() if at is not None}


def _unused(users: Sequence[User], used: Mapping[str, datetime], now: datetime) -> Iterator[Weakness]:
    from ibkit.bootstrap.access import EVERY

    for user in users:
        last = used.get(user.user_id)
        if now - (last or user.created_at) <= EVERY:
            continue
        since = "has never used it" if last is None else f"used it last on {last:%Y-%m-%d}"
        said = f"{user.name} ({user.role.value}) may sign in and {since}"
        yield Weakness("unused users", Severity.LOW, said, f"`ibkit user disable {user.name}`, if nobody objects.")


def _only_looking(settings: Settings, users: Mapping[str, User], rows: Sequence[ConnectionRow]) -> Iterator[Weakness]:
    """Live connections of users who may trade by them, and from whose accounts no order was ever sent."""
    from ibkit.bootstrap.desks import journal_path
    from ibkit.store.journal_look import accounts_with_orders
    from ibkit.users.principal import Scope
    from ibkit.users.user import allowed_scopes

    path = journal_path(settings)
    traded = accounts_with_orders(path) if path.exists() else frozenset()
    for row in rows:
        user = users.get(row.user_id)
        if user is None or row.environment != "live" or Scope.ORDERS_LIVE not in allowed_scopes(user.role):
            continue
        if not traded.intersection(row.accounts):
            said = f"{user.name} may trade live by the connection {row.connection_id}, and no order was ever sent by it"
            remedy = (
                f"`ibkit user role {user.name} viewer`, or at IBKR a user name without trading permission, "
                "while it only looks."
            )
            yield Weakness("permissions of connections", Severity.LOW, said, remedy)
