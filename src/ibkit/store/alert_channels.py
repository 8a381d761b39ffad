"""The channels that users chose, in SQL. Addresses and signing secrets are sealed; only their use opens them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection, delete, insert, select, update

from ibkit.errors import ConfigError, NotFound, StorageError
from ibkit.model import Secret
from ibkit.store.alert_rows import CHANNELS, channel_of
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.trading.alerting import Channel
from ibkit.vault import Place, Sealer
from ibkit.vault.seal import key_id_of

__all__ = ["FixedChannel", "SqlChannels"]

FixedChannel = tuple[Channel, Secret[str], Secret[str] | None]
"""A channel of the settings: with its address, and the secret that signs."""


class SqlChannels:
    """Fits `trading.alerting.Channels`.

    fixed: channels of the settings, by name; a stored one cannot take their names.
    sealer: without ENCRYPTION_KEY nothing can be stored.
    """

    def __init__(
        self,
        database: Database,
        *,
        fixed: Mapping[str, FixedChannel],
        sealer: Sealer,
    ) -> None:
        self._database = database
        self._fixed = dict(fixed)
        self._sealer = sealer

    @property
    def fixed(self) -> tuple[Channel, ...]:
        return tuple(channel for channel, _, _ in self._fixed.values())

    async def all(self) -> tuple[Channel, ...]:
        statement = select(CHANNELS).order_by(CHANNELS.c.user_id, CHANNELS.c.name)
        rows = await self._database.read(lambda c: list(for_engine(c).execute(statement).mappings()))
        return (*self.fixed, *(channel_of(row) for row in rows))

    async def address(self, channel: Channel) -> tuple[Secret[str], Secret[str] | None]:
        fixed = self._fixed.get(channel.name)
        if channel.by_operator and fixed is not None:
            return fixed[1], fixed[2]
        statement = select(CHANNELS.c.sealed_address, CHANNELS.c.sealed_secret).where(_is(channel.user, channel.name))
        row = await self._database.read(lambda c: for_engine(c).execute(statement).one_or_none())
        if row is None:
            raise _missing(channel.name)
        address = await self._opened(row.sealed_address, _place(channel.user, channel.name, "address"))
        if not row.sealed_secret:
            return address, None
        return address, await self._opened(row.sealed_secret, _place(channel.user, channel.name, "secret"))

    async def put(self, channel: Channel, address: Secret[str], secret: Secret[str] | None) -> None:
        """Store it, or change the stored one of that user and name."""
        if channel.name in self._fixed:
            raise ConfigError(
                f"Invalid request: {channel.name} is a channel of the settings",
                code="E-VALIDATION",
                remedy="Choose another name.",
            )
        values: dict[str, Any] = {
            "kind": channel.kind.value,
            "severities": sorted(each.value for each in channel.severities),
            "level": channel.level,
            "enabled": channel.enabled,
            "shown": channel.shown[:120],
            "sealed_address": await self._sealed(address, _place(channel.user, channel.name, "address")),
            "sealed_secret": (
                await self._sealed(secret, _place(channel.user, channel.name, "secret")) if secret is not None else ""
            ),
            "created_at": channel.created_at,
        }

        def work(connection: Connection) -> None:
            connection = for_engine(connection)
            mine = _is(channel.user, channel.name)
            if connection.execute(update(CHANNELS).where(mine).values(values)).rowcount == 0:
                connection.execute(insert(CHANNELS).values(user_id=channel.user, name=channel.name, **values))

        await self._database.write(work)

    async def switch(self, user: str, name: str, *, enabled: bool) -> None:
        """NotFound where there is none of that name."""
        statement = update(CHANNELS).where(_is(user, name)).values(enabled=enabled)
        if await self._database.write(lambda c: for_engine(c).execute(statement).rowcount) == 0:
            raise _missing(name)

    async def remove(self, user: str, name: str) -> None:
        statement = delete(CHANNELS).where(_is(user, name))
        if await self._database.write(lambda c: for_engine(c).execute(statement).rowcount) == 0:
            raise _missing(name)

    async def remove_of(self, user: str) -> int:
        """Every stored one of that user: how many there were."""
        statement = delete(CHANNELS).where(CHANNELS.c.user_id == user)
        return await self._database.write(lambda c: for_engine(c).execute(statement).rowcount)

    async def reseal(self) -> tuple[int, tuple[str, ...]]:
        """Seal everything with the vault's present key: how many channels were, and what opens with no key.

        A break in between does no harm; what has the present key stays as it is.
        """
        columns = (CHANNELS.c.user_id, CHANNELS.c.name, CHANNELS.c.sealed_address, CHANNELS.c.sealed_secret)
        rows = await self._database.read(lambda c: for_engine(c).execute(select(*columns)).all())
        done, unreadable = 0, []
        for row in rows:
            anew = {}
            for field, sealed in (("address", row.sealed_address), ("secret", row.sealed_secret)):
                place = _place(row.user_id, row.name, field)
                if not sealed:
                    continue
                try:
                    opened = await self._opened(sealed, place)
                except StorageError:
                    unreadable.append(f"{place.record} {field}")
                    continue
                if not self._sealer.is_current(sealed):
                    anew[f"sealed_{field}"] = await self._sealed(opened, place)
            if anew:
                await self._database.write(lambda c, row=row, anew=anew: _replace(for_engine(c), row, anew))  # type: ignore[misc]
                done += 1
        return done, tuple(unreadable)

    async def by_key(self) -> Counter[str]:
        """Key id → how many channels need that key to be opened; "" for what names none."""
        columns = (CHANNELS.c.sealed_address, CHANNELS.c.sealed_secret)
        rows = await self._database.read(lambda c: for_engine(c).execute(select(*columns)).all())
        return Counter(key for row in rows for key in {key_id_of(sealed) for sealed in row if sealed})

    # In threads: where a key is not known, a command or a key service may be asked for it.
    async def _sealed(self, value: Secret[str], place: Place) -> str:
        return await anyio.to_thread.run_sync(self._sealer.seal, Secret(value.reveal().encode()), place)

    async def _opened(self, sealed: str, place: Place) -> Secret[str]:
        return Secret((await anyio.to_thread.run_sync(self._sealer.open, sealed, place)).reveal().decode())


def _replace(connection: Connection, row: Any, anew: Mapping[str, str]) -> None:
    """Only what was read: somebody may have given the channel another address meanwhile."""
    same = (CHANNELS.c.sealed_address == row.sealed_address) & (CHANNELS.c.sealed_secret == row.sealed_secret)
    connection.execute(update(CHANNELS).where(_is(row.user_id, row.name) & same).values(**anew))


def _place(user: str, name: str, field: str) -> Place:
    return Place(user=user, record=f"alert channel {name}", field=field)


def _is(user: str, name: str) -> Any:
    return (CHANNELS.c.user_id == user) & (CHANNELS.c.name == name)


def _missing(name: str) -> NotFound:
    return NotFound(
        f"Alert channel {name} not found",
        code="E-NOT-FOUND",
        remedy="`ibkit alerts channels` lists those that there are.",
    )
