"""Sealed text in the database of DATABASE_URL, and which keys it needs.

    key of the settings      known, or the first ever        in use: what is written is sealed with it
                             new, and the ring opens the     kept as the newest; the others stay readable
                             check values of all the others
                             anything else                   E-ENC, and nothing is written (VLT-04)

Keys come from `read_keys` at the start, and once more where text names a key that is not known yet: a rotation by
another process needs no restart of this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from ibkit.clock import Clock
from ibkit.errors import StorageError, discreet
from ibkit.model import Secret
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.store.vault_tables import KEYS, SEALED, one_at_a_time
from ibkit.vault.fixed_iv import is_fixed_iv, open_fixed_iv
from ibkit.vault.seal import KeyRing, Place, check_value, open_check, open_sealed, prefix_of, seal

__all__ = ["KeyUse", "SealedText", "SqlVault", "delete_sealed", "put_sealed", "sealed_of"]

Random = Callable[[int], bytes]
T = TypeVar("T")
_OF_RECORD = (
    select(SEALED.c.sealed_id, SEALED.c.field, SEALED.c.text)
    .where(SEALED.c.user_id == bindparam("user"), SEALED.c.record == bindparam("record"))
    .order_by(SEALED.c.sealed_id)
)
"""Built once: for each use of credentials, building it would take as long as opening what it finds."""
_READ_AGAIN_S = 2.0
"""Between two readings of the keys for an unknown one: a damaged row must not call a command at will."""


@dataclass(frozen=True, slots=True)
class SealedText:
    sealed_id: int
    place: Place
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """A key of the database. since: first seen. texts: sealed with it. superseded_at: rotated away since then."""

    key_id: str
    current: bool
    since: datetime
    superseded_at: datetime | None
    texts: int


class SqlVault:
    """Entering proves the keys, or raises StorageError (E-ENC) without a change; `database` stays its owner's.

    read_keys: blocks; ConfigError (E-ENC-KEY). old_iv: opens text of the old fixed-IV format.
    """

    def __init__(
        self,
        database: Database,
        read_keys: Callable[[], KeyRing],
        *,
        clock: Clock,
        random: Random,
        old_iv: Secret[bytes] | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.random = random
        self.old_iv = old_iv
        self._read_keys = read_keys
        self._ring: KeyRing | None = None
        self._read_again_at = -math.inf
        self._reading_again = anyio.Lock()

    async def __aenter__(self) -> SqlVault:
        ring = await self._keys()
        known = await self.database.read(lambda connection: _known(connection, ring))
        if not known:
            now = self.clock.now()
            await self.database.write(lambda connection: self._register(connection, ring, now))
        self._ring = ring
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ring = None

    @property
    def ring(self) -> KeyRing:
        assert self._ring is not None, "the vault is open only inside `async with`"
        return self._ring

    async def with_keys(self, work: Callable[[KeyRing], T]) -> T:
        """The result of `work`; where it meets an unknown key, once more with the keys as they are now."""
        ring = self.ring
        try:
            return work(ring)
        except StorageError as error:
            if not await self._read_again(ring, error):
                raise
        return work(self.ring)

    async def write(self, work: Callable[[Connection, KeyRing], T]) -> T:
        """The result of `work` in a transaction, which nothing of the vault overtakes and no outdated key gets into."""

        def by(ring: KeyRing) -> Callable[[Connection], T]:
            def fenced(connection: Connection) -> T:
                connection = for_engine(connection)
                one_at_a_time(connection)
                _fence(connection, ring)
                return work(connection, ring)

            return fenced

        ring = self.ring
        try:
            return await self.database.write(by(ring))
        except StorageError as error:
            if not await self._read_again(ring, error):
                raise
        return await self.database.write(by(self.ring))

    async def prove(self) -> None:
        """StorageError where a key is lacking that the database needs (E-ENC), or there is no database (E-DB)."""
        ring = self.ring
        try:
            await self.database.read(lambda connection: _known(connection, ring))
        except StorageError as error:
            if not await self._read_again(ring, error):
                raise
            fresh = self.ring
            await self.database.read(lambda connection: _known(connection, fresh))

    async def put(self, place: Place, text: Secret[str]) -> None:
        """Keep one secret at its place, instead of what was there."""
        await self.write(lambda connection, ring: put_sealed(connection, place, text, ring, self.random))

    async def get(self, place: Place) -> Secret[str] | None:
        """The secret of a place. StorageError (E-ENC)."""

        def work(connection: Connection) -> list[SealedText]:
            return [each for each in sealed_of(connection, place.user, place.record) if each.place == place]

        found = await self.open(await self.database.read(work))
        return found.get(place.field)

    async def forget(self, *, user: str, record: str) -> int:
        """Delete every secret of a record: how many there were."""
        return await self.write(lambda connection, ring: delete_sealed(connection, user, record))

    async def open(self, texts: Sequence[SealedText]) -> dict[str, Secret[str]]:
        """Field → secret of one record. What has the old fixed-IV format is sealed anew at once (VLT-03)."""
        opened = {
            each.place.field: await self.with_keys(lambda ring, each=each: self.text_of(each, ring))  # type: ignore[misc]
            for each in texts
        }
        for each in texts:
            if is_fixed_iv(each.text):
                await self._reseal(each, opened[each.place.field])
        return opened

    def text_of(self, sealed: SealedText, ring: KeyRing) -> Secret[str]:
        if is_fixed_iv(sealed.text):
            return _as_text(open_fixed_iv(sealed.text, ring, self.old_iv))
        return _as_text(open_sealed(sealed.text, sealed.place, ring))

    async def looked_through(self) -> tuple[int, int]:
        """How many texts there are, and how many of them no key of ours opens. Nothing is changed."""

        def work(connection: Connection) -> tuple[int, int]:
            rows = list(for_engine(connection).execute(select(SEALED)))
            closed = 0
            for row in rows:
                place = Place(row.user_id, row.record, row.field)
                try:
                    self.text_of(SealedText(row.sealed_id, place, row.text), self.ring)
                except StorageError:
                    closed += 1
            return len(rows), closed

        return await self.database.read(work)

    async def keys(self) -> tuple[KeyUse, ...]:
        """The keys that the database needs, newest first."""
        current = self.ring.current_id

        def work(connection: Connection) -> tuple[KeyUse, ...]:
            connection = for_engine(connection)
            rows = connection.execute(select(KEYS).order_by(KEYS.c.since.desc(), KEYS.c.key_id)).mappings().all()
            return tuple(
                KeyUse(
                    key_id=row["key_id"],
                    current=row["key_id"] == current,
                    since=row["since"],
                    superseded_at=row["superseded_at"],
                    texts=_count(connection, row["key_id"]),
                )
                for row in rows
            )

        return await self.database.read(work)

    async def pending(self) -> int:
        """Texts that are not sealed with the current key, those of the old fixed-IV format among them."""
        prefix = prefix_of(self.ring.current_id)
        others = select(func.count()).select_from(SEALED).where(~SEALED.c.text.startswith(prefix, autoescape=True))
        return await self.database.read(lambda connection: for_engine(connection).execute(others).scalar_one())

    async def in_old_format(self) -> int:
        """Texts of the old fixed-IV format: while there are none, ENCRYPTION_IV is needed no more."""
        old = select(func.count()).select_from(SEALED).where(~SEALED.c.text.startswith(prefix_of("")[:-1]))
        return await self.database.read(lambda connection: for_engine(connection).execute(old).scalar_one())

    async def keys_older_than(self, instant: datetime) -> tuple[KeyUse, ...]:
        """Keys still sealed with that were first seen before `instant`: for the reminder of KEY_ROTATION_DAYS."""
        return tuple(key for key in await self.keys() if key.since < instant and (key.current or key.texts))

    async def keys_due_for_reminder(self, *, since_before: datetime, reminded_before: datetime) -> tuple[str, ...]:
        """Ids of the keys that are that old, and of which nobody was reminded since then."""
        old = {key.key_id for key in await self.keys_older_than(since_before)}
        reminded = KEYS.c.reminded_at
        query = select(KEYS.c.key_id).where(or_(reminded.is_(None), reminded < reminded_before))
        rows = await self.database.read(lambda connection: for_engine(connection).execute(query).scalars().all())
        return tuple(sorted(old.intersection(rows)))

    async def key_reminded(self, key_id: str, at: datetime) -> None:
        note = update(KEYS).where(KEYS.c.key_id == key_id).values(reminded_at=at)
        await self.database.write(lambda connection: for_engine(connection).execute(note))

    async def _reseal(self, old: SealedText, text: Secret[str]) -> None:
        def work(connection: Connection, ring: KeyRing) -> None:
            fresh = seal(Secret(text.reveal().encode()), old.place, ring, self.random)
            # Only what was read: another may have put a new secret there meanwhile.
            connection.execute(
                update(SEALED).where(SEALED.c.sealed_id == old.sealed_id, SEALED.c.text == old.text).values(text=fresh)
            )

        await self.write(work)

    def _register(self, connection: Connection, ring: KeyRing, now: datetime) -> None:
        connection = for_engine(connection)
        one_at_a_time(connection)
        if _known(connection, ring):  # another process was first
            return
        id_ = ring.current_id
        connection.execute(delete(KEYS).where(KEYS.c.key_id == id_))  # superseded once, and now chosen again
        connection.execute(insert(KEYS).values(key_id=id_, check_value=check_value(ring, self.random), since=now))

    async def _keys(self) -> KeyRing:
        return await anyio.to_thread.run_sync(self._read_keys)

    async def _read_again(self, ring: KeyRing, error: StorageError) -> bool:
        """Whether there are other keys now than `ring`, for which an unknown key was met."""
        if "key_id" not in error.details:
            return False
        async with self._reading_again:
            if self.ring is not ring:  # another task has read them meanwhile
                return True
            if self.clock.monotonic() - self._read_again_at < _READ_AGAIN_S:
                return False
            self._read_again_at = self.clock.monotonic()
            fresh = await self._keys()
            if fresh.current_id == ring.current_id and fresh.ids() == ring.ids():
                return False
            self._ring = fresh
            return True


def put_sealed(connection: Connection, place: Place, text: Secret[str], ring: KeyRing, random: Random) -> None:
    """In the caller's transaction (`SqlVault.write`)."""
    sealed = seal(Secret(text.reveal().encode()), place, ring, random)
    here = (SEALED.c.user_id == place.user, SEALED.c.record == place.record, SEALED.c.field == place.field)
    if connection.execute(update(SEALED).where(*here).values(text=sealed)).rowcount == 0:
        connection.execute(
            insert(SEALED).values(user_id=place.user, record=place.record, field=place.field, text=sealed)
        )


def sealed_of(connection: Connection, user: str, record: str) -> list[SealedText]:
    """Every sealed field of a record."""
    rows = for_engine(connection).execute(_OF_RECORD, {"user": user, "record": record})
    return [SealedText(sealed_id, Place(user, record, name), text) for sealed_id, name, text in rows]


def delete_sealed(connection: Connection, user: str, record: str) -> int:
    return connection.execute(delete(SEALED).where(SEALED.c.user_id == user, SEALED.c.record == record)).rowcount


def _known(connection: Connection, ring: KeyRing) -> bool:
    """Whether the current key is in use here. StorageError (E-ENC) where the ring lacks any key that is needed."""
    rows = for_engine(connection).execute(select(KEYS.c.key_id, KEYS.c.check_value, KEYS.c.superseded_at)).all()
    for row in rows:
        open_check(row.check_value, row.key_id, ring)
    return any(row.key_id == ring.current_id and row.superseded_at is None for row in rows)


def _fence(connection: Connection, ring: KeyRing) -> None:
    """StorageError where the ring's key was rotated away: what it sealed now would be found by no rotation."""
    row = connection.execute(select(KEYS.c.superseded_at).where(KEYS.c.key_id == ring.current_id)).one_or_none()
    if row is None or row.superseded_at is not None:
        raise StorageError(
            f"Encryption failed: the key {ring.current_id} was replaced by another one",
            code="E-ENC",
            remedy="Start this process again, with the new key as ENCRYPTION_KEY.",
            details={"key_id": ring.current_id},
        )


def _count(connection: Connection, key_id: str) -> int:
    mine = SEALED.c.text.startswith(prefix_of(key_id), autoescape=True)
    return connection.execute(select(func.count()).select_from(SEALED).where(mine)).scalar_one()


@discreet
def _as_text(raw: Secret[bytes]) -> Secret[str]:
    try:
        return Secret(raw.reveal().decode())
    except UnicodeDecodeError:  # it holds the bytes, and shows them
        raise StorageError("Encryption failed: the stored secret is no text", code="E-ENC") from None
