"""Who may do what here, for the look of each quarter: users, their keys and connections, and when each was last used.

That somebody has looked stands in the audit log (`access.review`), with their name. Requirements OPS-09, SEC-09.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.bootstrap.users import open_users
from ibkit.users import Role

if TYPE_CHECKING:
    from ibkit.clock import Clock
    from ibkit.settings import Settings
    from ibkit.store.audit import AuditLog
    from ibkit.users import ApiKey, User, UserStore

__all__ = [
    "EVERY",
    "REVIEW",
    "Access",
    "Holder",
    "KeyHeld",
    "LoginHeld",
    "Reviewed",
    "access_now",
    "last_review",
    "last_use",
]

REVIEW: Final = "access.review"
EVERY: Final = timedelta(days=90)
"""Access is reviewed every quarter, and who has used nothing for as long is asked about. Source: requirement OPS-09."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHeld:
    label: str
    scopes: tuple[str, ...]
    accounts: tuple[str, ...] | None
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginHeld:
    """A connection to IBKR. succeeded_at: when it last worked."""

    name: str
    method: str
    environment: str
    state: str
    accounts: tuple[str, ...]
    succeeded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """used_at: the newest of what they did, their sessions and their keys; None for never. notes: what to look at."""

    user_id: str
    name: str
    role: str
    enabled: bool
    second_step: bool
    created_at: datetime
    used_at: datetime | None
    keys: tuple[KeyHeld, ...]
    connections: tuple[LoginHeld, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    by: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """last: the newest look that somebody vouched for. due_at: of the next one; None before a first user."""

    holders: tuple[Holder, ...]
    last: Reviewed | None
    due_at: datetime | None


async def access_now(settings: Settings, *, clock: Clock) -> Access:
    """As it stands, by name. StorageError."""
    now = clock.now()
    async with (
        open_users(settings, clock=clock) as users,
        open_connection_rows(settings) as rows,
        audit_log(settings) as log,
    ):
        keys = await users.store.keys()
        holders = []
        for user in await users.store.users():
            theirs = [each for each in keys if each.user_id == user.user_id and _is_good(each, now)]
            logins = tuple(
                LoginHeld(
                    name=row.connection_id,
                    method=row.method,
                    environment=row.environment,
                    state=row.state.value,
                    accounts=row.accounts,
                    succeeded_at=row.succeeded_at,
                )
                for row in await rows.of_user(user.user_id)
            )
            holders.append(_holder(user, theirs, logins, await last_use(user.user_id, users.store, log), now))
        last = await last_review(log)
    first = min((each.created_at for each in holders), default=None)
    begun = first if last is None else last.at
    return Access(holders=tuple(holders), last=last, due_at=None if begun is None else begun + EVERY)


async def last_use(user_id: str, store: UserStore, log: AuditLog) -> datetime | None:
    """The newest of what they did: any act in the audit log, any call with a key, any page looked at."""
    moments = [datetime.fromisoformat(each.at) for each in await log.entries(actor=user_id, limit=1)]
    moments += [key.used_at for key in await store.keys(user_id) if key.used_at is not None]
    moments += [session.seen_at for session in await store.sessions(user_id)]
    return max(moments, default=None)


async def last_review(log: AuditLog) -> Reviewed | None:
    """The newest that somebody vouched for."""
    for entry in await log.entries(action=REVIEW, limit=10):
        if entry.result == "ok":
            details = entry.details
            at = datetime.fromisoformat(entry.at)
            return Reviewed(by=str(details.get("by", entry.actor)), at=at, note=str(details.get("note", "")))
    return None


def _is_good(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and now < key.expires_at


def _holder(
    user: User, keys: Sequence[ApiKey], logins: tuple[LoginHeld, ...], used_at: datetime | None, now: datetime
) -> Holder:
    return Holder(
        user_id=user.user_id,
        name=user.name,
        role=user.role.value,
        enabled=user.enabled,
        second_step=user.needs_code,
        created_at=user.created_at,
        used_at=used_at,
        keys=tuple(
            KeyHeld(
                label=each.label,
                scopes=tuple(sorted(scope.value for scope in each.scopes)),
                accounts=None if each.accounts is None else tuple(sorted(each.accounts)),
                expires_at=each.expires_at,
                used_at=each.used_at,
            )
            for each in keys
        ),
        connections=logins,
        notes=tuple(_notes(user, keys, logins, used_at, now)),
    )


def _notes(
    user: User, keys: Sequence[ApiKey], logins: Sequence[LoginHeld], used_at: datetime | None, now: datetime
) -> Iterator[str]:
    if user.enabled and now - (used_at or user.created_at) > EVERY:
        yield f"nothing done for {(now - (used_at or user.created_at)).days} days: still needed?"
    if user.enabled and user.role in (Role.OWNER, Role.ADMIN) and not user.needs_code:
        yield f"{user.role.value} without a second step"
    if not user.enabled and logins:
        yield "disabled, and connections of theirs are kept"
    for key in keys:
        if now - (key.used_at or key.created_at) > EVERY:
            yield f"key {key.label}: not used for {(now - (key.used_at or key.created_at)).days} days"
