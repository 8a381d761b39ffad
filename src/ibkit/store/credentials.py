"""Credentials of each user's connections, sealed in the database: written, masked, used, never shown (VLT-02, VLT-08).

A connection has at most one set in use, and at most one that waits for its test or has failed it. Only the test that
passes takes the place of the set in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from ibkit.errors import ConfigError, NotFound, StorageError
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.store.migrating import for_engine
from ibkit.store.vault import SealedText, SqlVault, delete_sealed, put_sealed, sealed_of
from ibkit.store.vault_tables import CREDENTIALS
from ibkit.vault.credential import FIELDS, Draft, Kind, MaskedCredential, OpenCredential, Status, shown
from ibkit.vault.seal import KeyRing, Place

__all__ = ["SqlCredentials"]

_USE_EVERY = timedelta(minutes=1)
"""Between two notes of a use, none of which it waits for: a sign-in must not fail because a note of it does."""
_IN_USE = select(CREDENTIALS).where(
    CREDENTIALS.c.user_id == bindparam("user"),
    CREDENTIALS.c.connection_id == bindparam("connection"),
    CREDENTIALS.c.status == bindparam("status"),
)
_LONGEST_REASON = 500
_SHORTEST_SECRET = 4
"""Characters; anything shorter stands in a reason by chance."""


@dataclass(frozen=True, slots=True)
class _Kept:
    row: Mapping[str, Any]
    texts: list[SealedText]


class SqlCredentials:
    """For as long as `vault` is open. StorageError (E-DB, E-ENC)."""

    def __init__(self, vault: SqlVault) -> None:
        self._vault = vault

    async def put(self, draft: Draft) -> MaskedCredential:
        """Keep new credentials, inactive until their test passed; those in use stay as they are.

        They take the place of earlier ones of the connection that are not in use. The very same ones given again are
        those that are there already: nothing changes, and they grow no younger.
        """
        fresh_id = self._vault.random(16).hex()
        now = self._vault.clock.now()

        def work(connection: Connection, ring: KeyRing) -> str:
            here = _of(draft.user_id, draft.connection_id)
            there = _kept(connection, select(CREDENTIALS).where(*here))
            same = next((each for each in there if self._is_same(each, draft, ring)), None)
            if same is not None:
                in_use = same.row["status"] == Status.ACTIVE.value
                if in_use:  # what waited was meant to take its place, and is not wanted any more
                    _remove(connection, select(CREDENTIALS).where(*here, CREDENTIALS.c.status != Status.ACTIVE.value))
                return str(same.row["credential_id"])
            version, created_at = connection.execute(
                select(func.max(CREDENTIALS.c.version), func.min(CREDENTIALS.c.created_at)).where(*here)
            ).one()
            _remove(connection, select(CREDENTIALS).where(*here, CREDENTIALS.c.status != Status.ACTIVE.value))
            row = {
                "credential_id": fresh_id,
                "user_id": draft.user_id,
                "connection_id": draft.connection_id,
                "method": draft.method.value,
                "environment": draft.environment.value,
                "label": draft.label,
                "status": Status.INACTIVE.value,
                "created_at": created_at or now,
                "changed_at": now,
                "version": (version or 0) + 1,
                "fingerprints": dict(draft.fingerprints),
            }
            connection.execute(insert(CREDENTIALS).values(row))
            for name, text in draft.fields.items():
                put_sealed(connection, _place(row, name), text, ring, self._vault.random)
            return fresh_id

        return await self.get(await self._vault.write(work))

    def _is_same(self, kept: _Kept, draft: Draft, ring: KeyRing) -> bool:
        row = kept.row
        if (row["method"], row["environment"], row["label"]) != (
            draft.method.value,
            draft.environment.value,
            draft.label,
        ) or {each.place.field for each in kept.texts} != set(draft.fields):
            return False
        try:
            return all(self._vault.text_of(each, ring) == draft.fields[each.place.field] for each in kept.texts)
        except StorageError:  # sealed with a key that is gone: whatever it was, it is of no use
            return False

    async def activate(self, credential_id: str) -> None:
        """Their test passed: they are in use from now on, and the set that was is gone. Twice does no harm.

        NotFound where newer ones took their place while they were tested.
        """
        now = self._vault.clock.now()

        def work(connection: Connection, ring: KeyRing) -> None:
            row = _row(connection, credential_id)
            if row["status"] != Status.ACTIVE.value:
                _remove(
                    connection,
                    select(CREDENTIALS).where(
                        CREDENTIALS.c.user_id == row["user_id"],
                        CREDENTIALS.c.connection_id == row["connection_id"],
                        CREDENTIALS.c.status == Status.ACTIVE.value,
                    ),
                )
            connection.execute(
                update(CREDENTIALS)
                .where(CREDENTIALS.c.credential_id == credential_id)
                .values(status=Status.ACTIVE.value, last_error=None, last_connected_at=now)
            )

        await self._vault.write(work)

    async def fail(self, credential_id: str, reason: str) -> None:
        """Their test failed: kept with the reason, not used. Those that are in use stay in use, with the reason."""
        kept = await self._kept(credential_id)
        masked = reason
        for name, secret in (await self._opened(kept)).items():
            if _is_secret(kept.row, name) and len(secret.reveal()) >= _SHORTEST_SECRET:
                masked = masked.replace(secret.reveal(), "****")

        def work(connection: Connection, ring: KeyRing) -> None:
            in_use = _row(connection, credential_id)["status"] == Status.ACTIVE.value
            status = Status.ACTIVE if in_use else Status.ERROR
            connection.execute(
                update(CREDENTIALS)
                .where(CREDENTIALS.c.credential_id == credential_id)
                .values(status=status.value, last_error=masked[:_LONGEST_REASON])
            )

        await self._vault.write(work)

    async def delete(self, *, user_id: str, connection_id: str) -> int:
        """All that is kept of a connection: how many sets there were."""

        def work(connection: Connection, ring: KeyRing) -> int:
            return _remove(connection, select(CREDENTIALS).where(*_of(user_id, connection_id)))

        return await self._vault.write(work)

    async def get(self, credential_id: str) -> MaskedCredential:
        return await self._masked(await self._kept(credential_id))

    async def of_user(self, user_id: str) -> tuple[MaskedCredential, ...]:
        """Everything of one user, by connection, the set in use first."""
        return await self._select(CREDENTIALS.c.user_id == user_id)

    async def of_connection(self, user_id: str, connection_id: str) -> tuple[MaskedCredential, ...]:
        """The set in use and the one that waits, in this order, as far as there are such."""
        return await self._select(*_of(user_id, connection_id))

    async def in_use(self) -> dict[tuple[str, str], str]:
        """Which set is in use, by user and connection; nothing is opened for it."""
        query = select(CREDENTIALS.c.user_id, CREDENTIALS.c.connection_id, CREDENTIALS.c.credential_id).where(
            CREDENTIALS.c.status == Status.ACTIVE.value
        )

        def work(connection: Connection) -> dict[tuple[str, str], str]:
            rows = for_engine(connection).execute(query).mappings()
            return {(row["user_id"], row["connection_id"]): row["credential_id"] for row in rows}

        return await self._vault.database.read(work)

    async def due_for_reminder(
        self, *, changed_before: datetime, reminded_before: datetime
    ) -> tuple[MaskedCredential, ...]:
        """Sets in use that are that old, and of which nobody was reminded since then (VLT-14)."""
        reminded = CREDENTIALS.c.reminded_at
        return await self._select(
            CREDENTIALS.c.status == Status.ACTIVE.value,
            CREDENTIALS.c.changed_at < changed_before,
            or_(reminded.is_(None), reminded < reminded_before),
        )

    async def reminded(self, credential_id: str, at: datetime) -> None:
        note = update(CREDENTIALS).where(CREDENTIALS.c.credential_id == credential_id).values(reminded_at=at)
        await self._vault.database.write(lambda connection: for_engine(connection).execute(note))

    async def older_than(self, instant: datetime) -> tuple[MaskedCredential, ...]:
        """Sets in use that were last changed before `instant`, of all users: for CREDENTIAL_MAX_AGE_DAYS (VLT-14)."""
        return await self._select(CREDENTIALS.c.status == Status.ACTIVE.value, CREDENTIALS.c.changed_at < instant)

    async def use(self, *, user_id: str, connection_id: str) -> OpenCredential:
        """The set in use of this connection of this user, opened; the use is noted, once a minute at most.

        ConfigError (E-NOT-CONFIGURED) where there is none: nobody else's credentials take their place (VLT-09).
        """

        def work(connection: Connection) -> _Kept | None:
            here = {"user": user_id, "connection": connection_id, "status": Status.ACTIVE.value}
            return next(iter(_kept(for_engine(connection), _IN_USE, here)), None)

        kept = await self._vault.database.read(work, quick=True)
        if kept is None:
            raise ConfigError(
                f"Not Configured: the connection {connection_id} has no active credentials",
                code="E-NOT-CONFIGURED",
                remedy="Store credentials for this connection and test them; a test that passes makes them active.",
            )
        opened = await self._open(kept)
        self._note_use(kept.row)
        return opened

    async def open_for_test(self, credential_id: str) -> OpenCredential:
        """Credentials in any state, opened for their test. NotFound."""
        return await self._open(await self._kept(credential_id))

    async def _open(self, kept: _Kept) -> OpenCredential:
        row = kept.row
        return OpenCredential(
            credential_id=row["credential_id"],
            user_id=row["user_id"],
            connection_id=row["connection_id"],
            method=AuthMethod(row["method"]),
            environment=Environment(row["environment"]),
            version=row["version"],
            fields=await self._opened(kept),
        )

    async def _opened(self, kept: _Kept) -> dict[str, Secret[str]]:
        there = {each.place.field for each in kept.texts}
        needed = FIELDS[AuthMethod(kept.row["method"])].items()
        if any(field.required and name not in there for name, field in needed):
            # Their record is named by user, environment and connection: one of those was changed, or texts are gone.
            raise StorageError(
                "Encryption failed: the sealed fields of these credentials are not those of their record",
                code="E-ENC",
                remedy="Store the credentials of this connection anew.",
            )
        return await self._vault.open(kept.texts)

    def _note_use(self, row: Mapping[str, Any]) -> None:
        now, last = self._vault.clock.now(), row["last_used_at"]
        if last is not None and last <= now < last + _USE_EVERY:
            return
        note = update(CREDENTIALS).where(CREDENTIALS.c.credential_id == row["credential_id"]).values(last_used_at=now)
        self._vault.database.post(lambda connection: for_engine(connection).execute(note))

    async def _kept(self, credential_id: str) -> _Kept:
        query = select(CREDENTIALS).where(CREDENTIALS.c.credential_id == credential_id)
        found = await self._vault.database.read(lambda connection: _kept(for_engine(connection), query))
        if not found:
            raise _not_found()
        return found[0]

    async def _select(self, *conditions: Any) -> tuple[MaskedCredential, ...]:
        query = (
            select(CREDENTIALS)
            .where(*conditions)
            .order_by(CREDENTIALS.c.user_id, CREDENTIALS.c.connection_id, CREDENTIALS.c.status)
        )
        found = await self._vault.database.read(lambda connection: _kept(for_engine(connection), query))
        return tuple([await self._masked(each) for each in found])

    async def _masked(self, kept: _Kept) -> MaskedCredential:
        row, method = kept.row, AuthMethod(kept.row["method"])
        fields: dict[str, str | None] = {}
        try:
            fields.update((name, shown(method, name, text)) for name, text in (await self._opened(kept)).items())
        except StorageError as error:
            if error.code != "E-ENC":
                raise
            # One set that cannot be opened must not hide the others from whoever comes to mend it.
            fields.update((each.place.field, None) for each in kept.texts)
        return MaskedCredential(
            credential_id=row["credential_id"],
            user_id=row["user_id"],
            connection_id=row["connection_id"],
            method=method,
            environment=Environment(row["environment"]),
            label=row["label"],
            status=Status(row["status"]),
            last_error=row["last_error"],
            created_at=row["created_at"],
            changed_at=row["changed_at"],
            last_used_at=row["last_used_at"],
            last_connected_at=row["last_connected_at"],
            version=row["version"],
            fields=fields,
            fingerprints=row["fingerprints"] or {},
        )


def _of(user_id: str, connection_id: str) -> tuple[Any, Any]:
    return CREDENTIALS.c.user_id == user_id, CREDENTIALS.c.connection_id == connection_id


def _is_secret(row: Mapping[str, Any], name: str) -> bool:
    return FIELDS[AuthMethod(row["method"])][name].kind is not Kind.PLAIN


def _place(row: Mapping[str, Any], name: str) -> Place:
    """What the sealed text of a field is bound to."""
    record = f"credentials/{row['credential_id']}/{row['environment']}/{row['connection_id']}"
    return Place(user=row["user_id"], record=record, field=name)


def _kept(connection: Connection, query: Any, values: Mapping[str, str] | None = None) -> list[_Kept]:
    rows = [dict(row) for row in connection.execute(query, values or {}).mappings()]
    return [_Kept(row, sealed_of(connection, row["user_id"], _place(row, "").record)) for row in rows]


def _row(connection: Connection, credential_id: str) -> Mapping[str, Any]:
    query = select(CREDENTIALS).where(CREDENTIALS.c.credential_id == credential_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise _not_found()
    return dict(row)


def _remove(connection: Connection, query: Any) -> int:
    """The credentials of a query with all their sealed fields: how many there were."""
    rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        delete_sealed(connection, row["user_id"], _place(row, "").record)
        connection.execute(delete(CREDENTIALS).where(CREDENTIALS.c.credential_id == row["credential_id"]))
    return len(rows)


def _not_found() -> NotFound:
    return NotFound(
        "Credentials not found",
        code="E-NOT-FOUND",
        remedy="Newer ones may have taken their place: look at the connection again.",
    )
