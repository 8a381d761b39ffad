"""A new vault key for everything that is sealed, while others read and write (VLT-05).

    the ring has the new key as its current one and still opens with the old ones
    1  supersede   nothing more is sealed with another key (`SqlVault.write` refuses it)
    2  rewrap      a batch at a time, each in a transaction of its own: opened, sealed anew, proven, written
    3  verify      every text opens with the new key alone
    4  forget      the check values of keys that nothing needs any more

It may be killed between any two statements: a text has its old form or its new one, both open, and the next run goes on
with those that have the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, update

from ibkit.errors import StorageError
from ibkit.model import Secret
from ibkit.store.migrating import for_engine
from ibkit.store.vault import SealedText, SqlVault
from ibkit.store.vault_tables import KEYS, SEALED
from ibkit.vault.fixed_iv import is_fixed_iv
from ibkit.vault.seal import KeyRing, Place, open_sealed, prefix_of, rewrap, seal

__all__ = ["BATCH", "Rotated", "rotate"]

T = TypeVar("T")
BATCH = 1_000
"""Texts in one transaction at most: a long write lock would hold up the journal's neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """rewrapped: in this run. verified: all that open with the new key. forgotten: keys that nothing needs any more.

    unreadable: places whose text opens with no key that is configured; they stay as they are.
    """

    key_id: str
    rewrapped: int
    verified: int
    forgotten: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Anew:
    old: SealedText
    text: str


async def rotate(vault: SqlVault, *, batch: int = BATCH, tell: Callable[[int], None] = lambda _: None) -> Rotated:
    """Seal everything anew under the current key of the open vault.

    tell: after each batch, how many were done. StorageError (E-ENC) where another rotation takes over.
    """
    assert 0 < batch <= BATCH, f"a batch has 1 to {BATCH} texts"
    key_id = vault.ring.current_id
    await _write(vault, key_id, _supersede(vault))
    rewrapped = await _rewrap_all(vault, key_id, batch, tell)
    verified, unreadable = await _verify_all(vault, batch)
    forgotten = await _write(vault, key_id, _keep if unreadable else _forget)
    return Rotated(
        key_id=key_id, rewrapped=rewrapped, verified=verified, forgotten=forgotten, unreadable=tuple(unreadable)
    )


def _supersede(vault: SqlVault) -> Callable[[Connection, KeyRing], None]:
    now = vault.clock.now()

    def work(connection: Connection, ring: KeyRing) -> None:
        others = (KEYS.c.key_id != ring.current_id, KEYS.c.superseded_at.is_(None))
        connection.execute(update(KEYS).where(*others).values(superseded_at=now))

    return work


async def _rewrap_all(vault: SqlVault, key_id: str, batch: int, tell: Callable[[int], None]) -> int:
    done, after = 0, 0
    while True:
        last, found = await vault.database.read(lambda connection, after=after: _read(connection, vault, after, batch))  # type: ignore[misc]
        if last is None:
            return done
        if found:
            done += await _write(vault, key_id, lambda connection, _, found=found: _put(connection, found))  # type: ignore[misc]
            tell(done)
        after = last


def _read(connection: Connection, vault: SqlVault, after: int, batch: int) -> tuple[int | None, list[_Anew]]:
    """The next texts of another key, sealed anew, and the number of the last one; those that do not open are left."""
    ring = vault.ring
    others = ~SEALED.c.text.startswith(prefix_of(ring.current_id), autoescape=True)
    last, found = None, []
    for each in _texts(connection, after, batch, others):
        last = each.sealed_id
        with suppress(StorageError):
            found.append(_Anew(each, _anew(vault, each, ring)))
    return last, found


def _anew(vault: SqlVault, each: SealedText, ring: KeyRing) -> str:
    if is_fixed_iv(each.text):
        return seal(Secret(vault.text_of(each, ring).reveal().encode()), each.place, ring, vault.random)
    return rewrap(each.text, each.place, ring, vault.random)


def _put(connection: Connection, found: list[_Anew]) -> int:
    """How many were written and read back: not those that somebody else has changed or deleted since they were read."""
    anew = (
        update(SEALED)
        .where(SEALED.c.sealed_id == bindparam("id_"), SEALED.c.text == bindparam("old"))
        .values(text=bindparam("anew"))
    )
    rows = [{"id_": each.old.sealed_id, "old": each.old.text, "anew": each.text} for each in found]
    connection.execute(anew, rows)
    there = SEALED.c.sealed_id.between(found[0].old.sealed_id, found[-1].old.sealed_id)
    now = {
        row.sealed_id: row.text for row in connection.execute(select(SEALED.c.sealed_id, SEALED.c.text).where(there))
    }
    return sum(now.get(each.old.sealed_id) == each.text for each in found)


async def _verify_all(vault: SqlVault, batch: int) -> tuple[int, list[str]]:
    """How many texts open with the current key alone, and the places of the others."""
    ring, after, verified = vault.ring.alone(), 0, 0
    unreadable: list[str] = []

    def work(connection: Connection) -> tuple[int | None, int, list[str]]:
        last, good, bad = None, 0, []
        for each in _texts(connection, after, batch):
            last = each.sealed_id
            try:
                open_sealed(each.text, each.place, ring)
                good += 1
            except StorageError:
                bad.append(f"{each.place.record} {each.place.field}")
        return last, good, bad

    while True:
        last, good, bad = await vault.database.read(work)
        verified += good
        unreadable += bad
        if last is None:
            return verified, unreadable
        after = last


def _forget(connection: Connection, ring: KeyRing) -> tuple[str, ...]:
    mine = SEALED.c.text.startswith(prefix_of(ring.current_id), autoescape=True)
    if connection.execute(select(func.count()).select_from(SEALED).where(~mine)).scalar_one():
        return ()
    others = KEYS.c.key_id != ring.current_id
    gone = connection.execute(select(KEYS.c.key_id).where(others).order_by(KEYS.c.key_id)).scalars().all()
    connection.execute(delete(KEYS).where(others))
    return tuple(gone)


def _keep(connection: Connection, ring: KeyRing) -> tuple[str, ...]:
    """Nothing is forgotten; that this can be written at all says that no other rotation has taken over."""
    return ()


def _texts(connection: Connection, after: int, batch: int, *conditions: ColumnElement[bool]) -> list[SealedText]:
    query = select(SEALED).where(SEALED.c.sealed_id > after, *conditions).order_by(SEALED.c.sealed_id).limit(batch)
    return [
        SealedText(row.sealed_id, Place(row.user_id, row.record, row.field), row.text)
        for row in for_engine(connection).execute(query)
    ]


async def _write(vault: SqlVault, key_id: str, work: Callable[[Connection, KeyRing], T]) -> T:
    def same(connection: Connection, ring: KeyRing) -> T:
        if ring.current_id != key_id:  # read anew, because ours was superseded
            raise StorageError(
                f"Encryption failed: another rotation, to the key {ring.current_id}, has taken over",
                code="E-ENC",
                remedy="Wait until it has ended, then look with `ibkit vault status`.",
            )
        return work(connection, ring)

    return await vault.write(same)
