"""Users as an owner or administrator keeps them: added, changed, disabled, given keys and a second step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import anyio.to_thread

from ibkit.clock import Clock
from ibkit.errors import ConfigError, NotFound, StorageError
from ibkit.model import AccountId, Secret
from ibkit.users.api_keys import ApiKey, new_api_key
from ibkit.users.digests import Random, new_id, new_secret
from ibkit.users.passwords import Hasher, check_password
from ibkit.users.ports import Change, Sealing, UserStore
from ibkit.users.principal import Principal, Role, Scope
from ibkit.users.totp import (
    SECRET_BYTES,
    enrolment_address,
    new_recovery_codes,
    with_totp,
    with_totp_confirmed,
    without_totp,
)
from ibkit.users.user import (
    LINK_LIFE,
    User,
    check_name,
    kept_name,
    may_manage,
    with_disabled,
    with_enabled,
    with_link,
    with_nothing_open,
    with_password,
    with_role,
)

__all__ = ["FirstLink", "NewKey", "UserKeeper"]

FIRST_OWNER = "owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLink:
    """The token of the one-time link of `user`, seen this once; good until `expires_at`. It chooses a password."""

    user: User
    token: Secret[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """`key` is seen this once."""

    record: ApiKey
    key: Secret[str]


class UserKeeper:
    """by: who asks; None for who runs this machine, and could change the database as well."""

    def __init__(self, store: UserStore, hasher: Hasher, sealing: Sealing, *, clock: Clock, random: Random) -> None:
        self._store = store
        self._hasher = hasher
        self._sealing = sealing
        self._clock = clock
        self._random = random

    async def first_link(self) -> FirstLink | None:
        """A link for the first owner: where there is no user yet, or only an owner whose link ran out unused."""
        now, token = self._clock.now(), new_secret(self._random)
        owner = with_link(self._new(FIRST_OWNER, Role.OWNER, now), token, now)
        if not await self._store.add(owner, only_if_first=True):
            users = await self._store.users()
            if len(users) != 1 or not _waits_for_link(users[0], now):
                return None

            def renewed(found: User) -> User:
                # Looked at once more inside: of two starts at once one prints a link, and that one is good.
                return with_link(found, token, now) if _waits_for_link(found, now) else found

            owner = await self._store.change(users[0].user_id, renewed, at=now)
            if owner.link_hash != with_link(owner, token, now).link_hash:
                return None
        return FirstLink(user=owner, token=token, expires_at=now + LINK_LIFE)

    async def users(self) -> tuple[User, ...]:
        return tuple(await self._store.users())

    async def named(self, name: str) -> User:
        """NotFound."""
        plain = kept_name(name)
        user = await self._store.named(plain) if plain is not None else None
        if user is None:
            raise NotFound(
                f"User {name[:64]} not found", code="E-NOT-FOUND", remedy="`ibkit user list` shows who there is."
            )
        return user

    async def add(self, name: str, role: Role, password: Secret[str], *, by: Principal | None = None) -> User:
        """ConfigError for a name that is taken or none, or a poor password."""
        plain = check_name(name)
        _check_may(by, role)
        await anyio.to_thread.run_sync(partial(check_password, password, name=plain))
        hashed = await anyio.to_thread.run_sync(self._hasher.hash, password)
        now = self._clock.now()
        user = with_password(self._new(plain, role, now), hashed, now)
        await self._store.add(user)
        return user

    async def invite(self, name: str, role: Role, *, by: Principal | None = None) -> FirstLink:
        """A user without a password, and the one-time link with which they choose it. ConfigError as for `add`."""
        plain = check_name(name)
        _check_may(by, role)
        now, token = self._clock.now(), new_secret(self._random)
        user = with_link(self._new(plain, role, now), token, now)
        await self._store.add(user)
        return FirstLink(user=user, token=token, expires_at=now + LINK_LIFE)

    async def new_link(self, name: str, *, by: Principal | None = None) -> FirstLink:
        """Another link for a user whose password is forgotten; the password stays good until the link is used.

        ConfigError (E-VALIDATION) for one who is disabled.
        """
        now, token = self._clock.now(), new_secret(self._random)

        def linked(found: User) -> User:
            if not found.enabled:
                raise ConfigError(
                    f"Invalid request: {found.name} is disabled", code="E-VALIDATION", remedy="Enable the user first."
                )
            return with_link(found, token, now)

        return FirstLink(user=await self._changed(name, linked, by=by), token=token, expires_at=now + LINK_LIFE)

    async def remove(self, name: str, *, by: Principal | None = None) -> User:
        """Gone for good, with keys, tokens and sessions. One who takes the name later is somebody else.

        What they did stays: orders and the audit log keep the id. ConfigError (E-FORBIDDEN) for the last owner.
        """
        user = await self.named(name)
        return await self._store.remove(user.user_id, allowed=lambda found: _check_may(by, found.role))

    async def set_password(self, name: str, password: Secret[str], *, by: Principal | None = None) -> User:
        """Ends every token and browser session of theirs. Their keys stay: machines do not know the password."""
        user = await self.named(name)
        _check_may(by, user.role, own=user.user_id)
        await anyio.to_thread.run_sync(partial(check_password, password, name=user.name))
        hashed = await anyio.to_thread.run_sync(self._hasher.hash, password)
        now = self._clock.now()
        change = _by(by, lambda found: with_password(found, hashed, now))
        return await self._store.change(user.user_id, change, at=now)

    async def disable(self, name: str, *, by: Principal | None = None) -> User:
        """Tokens, sessions and keys of theirs are over at once, and stay so when the user is enabled again."""
        return await self._changed(name, with_disabled, by=by)

    async def enable(self, name: str, *, by: Principal | None = None) -> User:
        return await self._changed(name, with_enabled, by=by)

    async def sign_out(self, name: str, *, by: Principal | None = None) -> User:
        """Everywhere: tokens and browser sessions of theirs are over at once."""
        user = await self.named(name)
        _check_may(by, user.role, own=user.user_id)
        return await self._store.change(user.user_id, _by(by, with_nothing_open), at=self._clock.now())

    async def set_role(self, name: str, role: Role, *, by: Principal | None = None) -> User:
        """Takes effect for the tokens that there are, too."""
        _check_may(by, role)
        return await self._changed(name, lambda found: with_role(found, role), by=by)

    async def add_key(
        self,
        name: str,
        *,
        label: str,
        scopes: frozenset[Scope],
        life: timedelta,
        accounts: frozenset[AccountId] | None = None,
        by: Principal | None = None,
    ) -> NewKey:
        """by: a person; their key may do no more than what they asked with may do itself."""
        user = await self.named(name)
        _check_may(by, user.role, own=user.user_id)
        if by is not None and (by.api_key_id or not scopes <= by.scopes or by.accounts is not None):
            raise ConfigError(
                "Forbidden: a key is made by a person, with the scopes of their own token at most",
                code="E-FORBIDDEN",
                remedy="Sign in with the scopes that the key is to have.",
            )
        record, key = new_api_key(
            user,
            label=label,
            scopes=scopes,
            life=life,
            accounts=accounts,
            now=self._clock.now(),
            random=self._random,
        )
        await self._store.add_key(record)
        return NewKey(record=record, key=key)

    async def keys(self, name: str | None = None) -> tuple[tuple[ApiKey, User], ...]:
        """With whose they are. NotFound for a name that is none's."""
        user_id = (await self.named(name)).user_id if name is not None else None
        users = {user.user_id: user for user in await self._store.users()}
        return tuple((key, users[key.user_id]) for key in await self._store.keys(user_id) if key.user_id in users)

    async def revoke_key(self, key_id: str, *, by: Principal | None = None) -> None:
        """NotFound where there is none, or it was revoked before, or it is somebody's whom `by` does not manage."""
        plain = key_id.removeprefix("ibk_").split("_")[0]
        found = await self._store.key(plain)
        mine = found is not None and _may(by, found[1].role, own=found[1].user_id)
        if not mine or not await self._store.revoke_key(plain, at=self._clock.now()):
            raise NotFound(
                "There is no such key that could be revoked",
                code="E-NOT-FOUND",
                remedy="`ibkit user key list` shows the ids.",
            )

    async def begin_totp(self, name: str, *, by: Principal | None = None) -> Secret[str]:
        """`otpauth://…` for the authenticator app; in force with `confirm_totp`. ConfigError without a vault key."""
        user = await self.named(name)
        _check_may(by, user.role, own=user.user_id)
        secret = Secret(self._random(SECRET_BYTES))
        # In a thread: a command or a key service may be asked for the vault's newest key.
        sealed = await anyio.to_thread.run_sync(self._sealing.seal, user.user_id, secret)
        change = _by(by, lambda found: with_totp(found, sealed))
        await self._store.change(user.user_id, change, at=self._clock.now())
        return enrolment_address(user.name, secret)

    async def confirm_totp(self, name: str, code: str, *, by: Principal | None = None) -> tuple[Secret[str], ...]:
        """The recovery codes, seen this once. AuthError for a wrong code."""
        user, now = await self.named(name), self._clock.now()
        _check_may(by, user.role, own=user.user_id)
        codes = new_recovery_codes(self._random)

        def confirmed(found: User) -> User:
            return with_totp_confirmed(found, code, codes, self._sealing, now)

        await self._store.change(user.user_id, _by(by, confirmed), at=now)
        return codes

    async def remove_totp(self, name: str, *, by: Principal | None = None) -> User:
        user = await self.named(name)
        _check_may(by, user.role, own=user.user_id)
        return await self._store.change(user.user_id, _by(by, without_totp), at=self._clock.now())

    async def reseal(self) -> tuple[int, tuple[str, ...]]:
        """Seal every second step's secret with the vault's present key: how many, and what opens with no key.

        A break in between does no harm.
        """
        done, unreadable = 0, []
        for user in await self._store.users():
            if user.totp_secret:
                try:
                    await self._store.change(user.user_id, self._resealed, at=self._clock.now())
                    done += 1
                except NotFound:  # gone meanwhile
                    continue
                except StorageError as error:
                    if error.code != "E-ENC":
                        raise
                    unreadable.append(f"second step of {user.name}")
        return done, tuple(unreadable)

    def _resealed(self, user: User) -> User:
        if not user.totp_secret:  # taken away meanwhile
            return user
        secret = self._sealing.open(user.user_id, user.totp_secret)
        return replace(user, totp_secret=self._sealing.seal(user.user_id, secret))

    async def _changed(self, name: str, change: Change, *, by: Principal | None) -> User:
        user = await self.named(name)

        def checked(found: User) -> User:
            _check_may(by, found.role)  # the role as it is when it is changed
            return change(found)

        return await self._store.change(user.user_id, checked, at=self._clock.now())

    def _new(self, name: str, role: Role, now: datetime) -> User:
        return User(user_id=new_id(self._random), name=name, role=role, created_at=now)


def _waits_for_link(user: User, now: datetime) -> bool:
    over = user.link_expires_at is None or user.link_expires_at <= now
    return user.enabled and user.role is Role.OWNER and not user.password_hash and over


def _may(by: Principal | None, subject: Role, *, own: str = "") -> bool:
    """own: the id of the user whom it is about, where everybody may do it to themselves."""
    if by is None or (own and by.user_id == own and not by.api_key_id):
        return True
    return Scope.ADMIN in by.scopes and may_manage(by.role, subject)


def _by(by: Principal | None, change: Change) -> Change:
    """`change`, refused where `by` may not make it of the user as they are when it is made: roles change meanwhile."""

    def checked(found: User) -> User:
        _check_may(by, found.role, own=found.user_id)
        return change(found)

    return checked


def _check_may(by: Principal | None, subject: Role, *, own: str = "") -> None:
    if by is not None and not _may(by, subject, own=own):
        raise ConfigError(
            f"Forbidden: {by.name} may not manage users with the role {subject}",
            code="E-FORBIDDEN",
            remedy="Ask an owner.",
        )
