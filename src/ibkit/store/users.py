"""Users in SQL: SQLite by default, PostgreSQL where it is set. Fits `users.ports.UserStore`.

Whatever decides by what it reads (a code used once, the last owner, the fifth failure) does so in one transaction that
no other of these runs beside: SQLite has one writer, on PostgreSQL they take one lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, text, update

from ibkit.errors import ConfigError, NotFound
from ibkit.store.attempt_rows import begin, failures, withdraw
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.store.user_rows import (
    API_KEYS,
    NETWORKS,
    REQUESTS,
    REVOCATIONS,
    SESSIONS,
    USERS,
    key_of,
    key_row,
    session_of,
    session_row,
    user_of,
    user_row,
)
from ibkit.users.api_keys import ApiKey
from ibkit.users.attempts import Attempt, Begun, account_key
from ibkit.users.browser import ABSOLUTE, BrowserSession
from ibkit.users.ports import Change
from ibkit.users.principal import Role
from ibkit.users.user import User

__all__ = ["SqlUsers", "end_sign_ins"]

T = TypeVar("T")
_SPARE = timedelta(minutes=5)
"""Kept so much longer than the token lives, for clocks that are apart."""

# Asked for with each request: one statement, made once, for making one costs more than running it.
_STANDING = (
    select(USERS, REVOCATIONS.c.token_id)
    .select_from(USERS.outerjoin(REVOCATIONS, REVOCATIONS.c.token_id == bindparam("token")))
    .where(USERS.c.user_id == bindparam("user"))
)
_KEY = (
    select(API_KEYS, USERS)
    .select_from(API_KEYS.join(USERS, USERS.c.user_id == API_KEYS.c.user_id))
    .where(API_KEYS.c.key_id == bindparam("key"))
)
_SESSION = (
    select(SESSIONS, USERS)
    .select_from(SESSIONS.join(USERS, USERS.c.user_id == SESSIONS.c.user_id))
    .where(SESSIONS.c.id_hash == bindparam("id"))
)


class SqlUsers:
    """Over the database of DATABASE_URL, opened with the part `users`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User, *, only_if_first: bool = False) -> bool:
        def work(connection: Connection) -> bool:
            if only_if_first and connection.execute(select(func.count()).select_from(USERS)).scalar_one():
                return False
            if _one(connection, USERS.c.name == user.name) is not None:
                raise ConfigError(
                    f"Invalid request: name: there is a user {user.name} already",
                    code="E-VALIDATION",
                    remedy="Use another name; a disabled user comes back with `ibkit user enable`.",
                )
            connection.execute(insert(USERS).values(user_row(user)))
            return True

        return await self._write(work)

    async def get(self, user_id: str) -> User | None:
        return await self._read(lambda connection: _one(connection, USERS.c.user_id == user_id))

    async def named(self, name: str) -> User | None:
        return await self._read(lambda connection: _one(connection, USERS.c.name == name))

    async def with_link(self, link_hash: str) -> User | None:
        if not link_hash:  # that of all who have none
            return None
        return await self._read(lambda connection: _one(connection, USERS.c.link_hash == link_hash))

    async def users(self) -> Sequence[User]:
        query = select(USERS).order_by(USERS.c.name)
        return await self._read(lambda connection: [user_of(row) for row in connection.execute(query).mappings()])

    async def change(self, user_id: str, change: Change, *, at: datetime) -> User:
        def work(connection: Connection) -> User:
            before = _one(connection, USERS.c.user_id == user_id)
            if before is None:
                raise _unknown()
            after = change(before)
            assert after.user_id == user_id, "a change keeps the id"
            if after != before:
                connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(user_row(after)))
                _check_owner(connection, before)
            if after.generation != before.generation:
                connection.execute(delete(SESSIONS).where(SESSIONS.c.user_id == user_id))
            if before.enabled and not after.enabled:
                theirs = (API_KEYS.c.user_id == user_id, API_KEYS.c.revoked_at.is_(None))
                connection.execute(update(API_KEYS).where(*theirs).values(revoked_at=at))
            return after

        return await self._write(work)

    async def remove(self, user_id: str, *, allowed: Callable[[User], None]) -> User:
        def work(connection: Connection) -> User:
            user = _one(connection, USERS.c.user_id == user_id)
            if user is None:
                raise _unknown()
            allowed(user)
            for table in (API_KEYS, SESSIONS):
                connection.execute(delete(table).where(table.c.user_id == user_id))
            # Else one who takes the name later would come from networks that are known already.
            connection.execute(delete(NETWORKS).where(NETWORKS.c.account == account_key(user.name)))
            connection.execute(delete(USERS).where(USERS.c.user_id == user_id))
            _check_owner(connection, user)
            return user

        return await self._write(work)

    async def standing(self, user_id: str, token_id: str) -> User | None:
        def work(connection: Connection) -> User | None:
            row = connection.execute(_STANDING, {"user": user_id, "token": token_id}).mappings().first()
            return None if row is None or row[REVOCATIONS.c.token_id] is not None else user_of(row)

        return await self._read(work, quick=True)

    async def revoke_token(self, token_id: str, *, user_id: str, expires_at: datetime, at: datetime) -> bool:
        def work(connection: Connection) -> bool:
            there = select(REVOCATIONS.c.token_id).where(REVOCATIONS.c.token_id == token_id)
            if connection.execute(there).first() is not None:
                return False
            connection.execute(delete(REVOCATIONS).where(REVOCATIONS.c.expires_at < at - _SPARE))
            row = {"token_id": token_id, "user_id": user_id, "revoked_at": at, "expires_at": expires_at}
            connection.execute(insert(REVOCATIONS).values(row))
            return True

        return await self._write(work)

    async def add_key(self, key: ApiKey) -> None:
        def work(connection: Connection) -> None:
            user = _one(connection, USERS.c.user_id == key.user_id)
            if user is None or not user.enabled:
                raise NotFound(
                    "The user is disabled, or gone", code="E-NOT-FOUND", remedy="Enable them: `ibkit user enable NAME`."
                )
            connection.execute(insert(API_KEYS).values(key_row(key)))

        await self._write(work)

    async def key(self, key_id: str) -> tuple[ApiKey, User] | None:
        def work(connection: Connection) -> tuple[ApiKey, User] | None:
            row = connection.execute(_KEY, {"key": key_id}).mappings().first()
            return None if row is None else (key_of(row), user_of(row))

        return await self._read(work, quick=True)

    async def keys(self, user_id: str | None = None) -> Sequence[ApiKey]:
        query = select(API_KEYS).order_by(API_KEYS.c.created_at.desc(), API_KEYS.c.key_id)
        if user_id is not None:
            query = query.where(API_KEYS.c.user_id == user_id)
        return await self._read(lambda connection: [key_of(row) for row in connection.execute(query).mappings()])

    async def revoke_key(self, key_id: str, *, at: datetime) -> bool:
        standing = (API_KEYS.c.key_id == key_id, API_KEYS.c.revoked_at.is_(None))
        statement = update(API_KEYS).where(*standing).values(revoked_at=at)
        return await self._write(lambda connection: connection.execute(statement).rowcount > 0)

    async def key_used(self, key_id: str, *, at: datetime) -> None:
        statement = update(API_KEYS).where(API_KEYS.c.key_id == key_id).values(used_at=at)
        await self._write(lambda connection: connection.execute(statement))

    async def put_session(self, session: BrowserSession, *, replaces: str = "") -> None:
        def work(connection: Connection) -> None:
            over = session.created_at - ABSOLUTE
            connection.execute(delete(SESSIONS).where(SESSIONS.c.created_at < over))
            connection.execute(delete(SESSIONS).where(SESSIONS.c.id_hash == replaces))
            connection.execute(insert(SESSIONS).values(session_row(session)))

        await self._write(work)

    async def session(self, id_hash: str) -> tuple[BrowserSession, User] | None:
        def work(connection: Connection) -> tuple[BrowserSession, User] | None:
            row = connection.execute(_SESSION, {"id": id_hash}).mappings().first()
            return None if row is None else (session_of(row), user_of(row))

        return await self._read(work, quick=True)

    async def sessions(self, user_id: str) -> Sequence[BrowserSession]:
        query = select(SESSIONS).where(SESSIONS.c.user_id == user_id).order_by(SESSIONS.c.created_at.desc())
        return await self._read(lambda connection: [session_of(row) for row in connection.execute(query).mappings()])

    async def session_seen(self, id_hash: str, *, at: datetime) -> None:
        # Never back: of two requests at once the earlier may come later.
        older = (SESSIONS.c.id_hash == id_hash, SESSIONS.c.seen_at < at)
        statement = update(SESSIONS).where(*older).values(seen_at=at)
        await self._write(lambda connection: connection.execute(statement))

    async def end_session(self, id_hash: str) -> None:
        statement = delete(SESSIONS).where(SESSIONS.c.id_hash == id_hash)
        await self._write(lambda connection: connection.execute(statement))

    async def begin(self, attempt: Attempt) -> Begun:
        return await self._write(lambda connection: begin(connection, attempt))

    async def withdraw(self, attempt: Attempt, *, succeeded: bool) -> bool:
        return await self._write(lambda connection: withdraw(connection, attempt, succeeded=succeeded))

    async def failures(self, *, since: datetime, most: int = 500) -> Sequence[Attempt]:
        return await self._read(lambda connection: failures(connection, since=since, most=most))

    async def requested(self, user_id: str, *, at: datetime, most: int, within: timedelta) -> datetime | None:
        def work(connection: Connection) -> datetime | None:
            # Later than now by more than clocks are apart: written before a clock was set back.
            over = (REQUESTS.c.at <= at - within, REQUESTS.c.at > at + within)
            connection.execute(delete(REQUESTS).where(or_(*over)))
            mine = select(REQUESTS.c.at).where(REQUESTS.c.user_id == user_id).order_by(REQUESTS.c.at.desc())
            counted: list[datetime] = list(connection.execute(mine.limit(most)).scalars())
            if len(counted) >= most:
                return min(counted[-1], at) + within
            connection.execute(insert(REQUESTS).values(user_id=user_id, at=at))
            return None

        return await self._write(work)

    async def _read(self, work: Callable[[Connection], T], *, quick: bool = False) -> T:
        return await self._database.read(lambda connection: work(for_engine(connection)), quick=quick)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        def alone(connection: Connection) -> T:
            connection = for_engine(connection)
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ibkit users'))"))
            return work(connection)

        return await self._database.write(alone)


def end_sign_ins(run: Callable[[str], int], *, jump: int, schema: str = "") -> int:
    """Tokens, browser sessions and links of all users are over: how many users there are. For a database put back.

    It has forgotten what was ended after it, and no token tells. jump: by chance and large, so that no generation of
    the forgotten ones comes again. run: executes a statement, gives how many rows it concerned. schema: with its dot.
    """
    run(f"DELETE FROM {schema}browser_sessions")  # noqa: S608  # names and a number of ours
    return run(
        f"UPDATE {schema}users SET generation = generation + {jump:d}, link_hash = '', link_expires_at = NULL"  # noqa: S608
    )


def _one(connection: Connection, condition: Any) -> User | None:
    row = connection.execute(select(USERS).where(condition)).mappings().first()
    return None if row is None else user_of(row)


def _unknown() -> NotFound:
    return NotFound("User not found", code="E-NOT-FOUND", remedy="`ibkit user list` shows who there is.")


def _check_owner(connection: Connection, before: User) -> None:
    """Where an owner was changed: one that is enabled has to be left."""
    owners = select(func.count()).select_from(USERS).where(USERS.c.role == Role.OWNER.value, USERS.c.enabled)
    if before.role is Role.OWNER and before.enabled and connection.execute(owners).scalar_one() == 0:
        raise ConfigError(
            f"Forbidden: {before.name} is the last enabled owner",
            code="E-FORBIDDEN",
            remedy="Make another user owner first: `ibkit user role NAME owner`.",
        )
