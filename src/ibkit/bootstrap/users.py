"""Settings → the users of this installation: their store, their sign-ins, and the key that signs their tokens."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import anyio.to_thread

from ibkit.bootstrap import edges
from ibkit.bootstrap.vaults import sealer_of
from ibkit.clock import Clock
from ibkit.errors import ConfigError, NotFound, NotPermitted, StorageError, discreet
from ibkit.model import Secret
from ibkit.settings import Settings
from ibkit.store.database import Database
from ibkit.store.records import open_records
from ibkit.store.users import SqlUsers
from ibkit.users import Authenticator, Cost, Hasher, SignIns, TokenSigner, UserKeeper, UserStore
from ibkit.users.digests import Random
from ibkit.users.ports import Sealing, TellFinding, untold
from ibkit.users.principal import Role, Scope
from ibkit.users.user import User, allowed_scopes, kept_name
from ibkit.vault import Place, Sealer
from ibkit.vault.seal import key_id_of

__all__ = [
    "JWT_FILE",
    "UserDesk",
    "VaultSealing",
    "jwt_secret_of",
    "open_users",
    "reseal_second_steps",
    "second_steps_by_key",
    "trading_user",
    "user_called",
    "user_store",
    "users_now",
    "users_of",
]

JWT_FILE = "jwt-secret"
_MUST_HAVE_CODE = {
    "none": frozenset[Role](),
    "administrators": frozenset({Role.OWNER, Role.ADMIN}),
    "everybody": frozenset(Role),
}
_PART = "users"
_SHORTEST, _LONGEST = 32, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDesk:
    """sign_ins: who is it. keeper: who may there be."""

    sign_ins: SignIns
    keeper: UserKeeper
    store: UserStore
    clock: Clock

    @property
    def authenticator(self) -> Authenticator:
        """For whoever only has to know who asks."""
        return self.sign_ins


class VaultSealing:
    """Fits `users.ports.Sealing`: with the vault's keys, bound to the user."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, user_id: str, secret: Secret[bytes]) -> str:
        return self._sealer.seal(secret, _place(user_id))

    def open(self, user_id: str, sealed: str) -> Secret[bytes]:
        return self._sealer.open(sealed, _place(user_id))


@asynccontextmanager
async def open_users(
    settings: Settings, *, clock: Clock, tell: TellFinding = untold, cost: Cost | None = None
) -> AsyncIterator[UserDesk]:
    """The users in a database of their own opening, for a command. A service has one already: `users_of`.

    clock: the machine's (`edge.machine_clock`), by which a phone makes its codes, whatever clock orders follow.
    """

    def opened() -> Database:
        return open_records(settings.database_url, parts=(_PART,))

    database = await anyio.to_thread.run_sync(opened)
    try:
        yield users_of(settings, database, clock=clock, tell=tell, cost=cost)
    finally:
        await database.close()


def users_of(
    settings: Settings, database: Database, *, clock: Clock, tell: TellFinding = untold, cost: Cost | None = None
) -> UserDesk:
    """The users in `database`, which has the part `users`.

    tell: told of ten failed sign-ins within 15 minutes. cost: of a password's hash, None for OWASP's.
    ConfigError where JWT_SECRET is too short or the extra `service` is not installed.
    """
    _check_installed()
    random = edges().random
    store, hasher = SqlUsers(database), Hasher(random, cost)
    sealing: Sealing = _sealing_of(settings, clock)
    sign_ins = SignIns(
        store,
        TokenSigner(jwt_secret_of(settings, random=random)),
        hasher,
        sealing,
        clock=clock,
        random=random,
        tell=tell,
        idle=timedelta(minutes=settings.session.app_idle_minutes),
        must_have_code=_MUST_HAVE_CODE[settings.web.second_step],
    )
    keeper = UserKeeper(store, hasher, sealing, clock=clock, random=random)
    return UserDesk(sign_ins=sign_ins, keeper=keeper, store=store, clock=clock)


async def user_called(settings: Settings, user: str) -> User:
    """The user of that id or name; neither a password's hash nor JWT_SECRET is needed. NotFound, StorageError."""
    name = kept_name(user)
    async with user_store(settings) as store:
        found = await store.get(user) or (None if name is None else await store.named(name))
    if found is None:
        raise NotFound(
            f"User {user[:64]} not found", code="E-NOT-FOUND", remedy="`ibkit user list` shows who there is."
        )
    return found


async def users_now(settings: Settings) -> tuple[User, ...]:
    """All of them, by name. StorageError."""
    async with user_store(settings) as store:
        return tuple(await store.users())


@asynccontextmanager
async def user_store(settings: Settings) -> AsyncIterator[SqlUsers]:
    """The users in the database of the settings, to look at; no password is checked with it. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=(_PART,)))
    try:
        yield SqlUsers(database)
    finally:
        await database.close()


async def trading_user(settings: Settings, user: str) -> User:
    """As `user_called`, one who may trade. No sign-in is asked for: who runs this program has the vault's key.

    NotPermitted (E-FORBIDDEN) for one who is disabled, or whose role may only look.
    """
    found = await user_called(settings, user)
    if not found.enabled:
        raise NotPermitted("Forbidden: this user is disabled", code="E-FORBIDDEN")
    if Scope.ORDERS_PAPER not in allowed_scopes(found.role):
        raise NotPermitted(f"Forbidden: a {found.role.value} may not connect or order", code="E-FORBIDDEN")
    return found


async def reseal_second_steps(settings: Settings, *, clock: Clock) -> tuple[int, tuple[str, ...]]:
    """Seal the users' TOTP secrets with the vault's present key: how many, and what opens with no key.

    JWT_SECRET is not needed.
    """
    random = edges().random
    async with user_store(settings) as store:
        sealing = _sealing_of(settings, clock)
        keeper = UserKeeper(store, Hasher(random, None), sealing, clock=clock, random=random)
        return await keeper.reseal()


async def second_steps_by_key(settings: Settings) -> Counter[str]:
    """Key id of the vault → how many second steps are sealed with it. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=(_PART,)))
    try:
        users = await SqlUsers(database).users()
    finally:
        await database.close()
    return Counter(key_id_of(user.totp_secret) for user in users if user.totp_secret)


@discreet
def jwt_secret_of(settings: Settings, *, random: Random) -> Secret[str]:
    """JWT_SECRET; where it is not set, a key made once and kept in the state directory, for its owner alone.

    ConfigError in production, where several processes have to share one; StorageError where the file is no good.
    """
    if settings.web.jwt_secret is not None:
        return settings.web.jwt_secret
    if settings.general.app_env == "production":
        raise ConfigError(
            "Setting invalid: JWT_SECRET: it has to be set with APP_ENV=production",
            remedy="Put one of at least 32 characters into .env; `openssl rand -base64 48` makes one.",
        )
    path = settings.state_dir / JWT_FILE
    try:
        kept = _kept(path)
        return kept if kept is not None else _made(path, random)
    except OSError as error:
        raise StorageError(
            f"State directory problem: {path}: {error.strerror or error}",
            remedy=f"Make {path.parent} writable for you, or set JWT_SECRET, or choose another IBKIT_STATE_DIR.",
        ) from error


def _kept(path: Path) -> Secret[str] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        foreign = os.name == "posix" and (about.st_mode & 0o077 or about.st_uid != os.geteuid())
        if foreign or not stat.S_ISREG(about.st_mode):
            raise StorageError(
                f"State directory problem: {path}: other users can read or replace it",
                remedy=f"Others may know it, so delete it: rm {path}. A new one is made; everybody signs in again.",
            )
        text = file.read(_LONGEST).decode("ascii", "replace").strip()
    if len(text) < _SHORTEST:
        raise StorageError(
            f"State directory problem: {path}: it is cut short",
            remedy=f"Delete it: rm {path}. A new one is made; everybody signs in again.",
        )
    return Secret(text)


def _made(path: Path, random: Random) -> Secret[str]:
    """Written whole under another name first: of two processes that start at once, both use the one that was linked."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{random(6).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(random(48).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
    kept = _kept(path)
    assert kept is not None, "it was linked, by us or by another"
    return kept


def _sealing_of(settings: Settings, clock: Clock) -> VaultSealing:
    return VaultSealing(sealer_of(settings, clock=clock, what="the second step of a sign-in"))


def _place(user_id: str) -> Place:
    return Place(user=user_id, record="users", field="totp_secret")


def _check_installed() -> None:
    missing = [name for name in ("argon2", "joserfc", "zxcvbn") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Users need {' and '.join(missing)}, which is not installed",
            remedy="Install it with `pip install 'ibkit[service]'`.",
        )
