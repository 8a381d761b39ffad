"""The channels that users chose, in SQL. Addresses and signing secrets are sealed; only their use opens them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from ibkit.errors import ConfigError, NotFound
from ibkit.model import Secret
from ibkit.store.alert_rows import CHANNELS, channel_of
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.trading.alerting import Channel
from ibkit.vault import KeyRing, Place, open_sealed, seal

__all__ = ["FixedChannel", "SqlChannels"]

FixedChannel = tuple[Channel, Secret[str], Secret[str] | None]
"""A channel of the settings: with its address, and the secret that signs."""


class SqlChannels:
    """Fits `trading.alerting.Channels`.

    fixed: channels of the settings, by name; a stored one cannot take their names.
    ring:  seals and opens; None: there is no ENCRYPTION_KEY, so nothing can be stored.
    random: n → n bytes from a cryptographic source.
    """

    def __init__(
        self,
        database: Database,
        *,
        fixed: Mapping[str, FixedChannel],
        ring: KeyRing | None,
        random: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._fixed = dict(fixed)
        self._ring = ring
        self._random = random

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
        address = self._opened(row.sealed_address, channel, "address")
        return address, self._opened(row.sealed_secret, channel, "secret") if row.sealed_secret else None

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
            "sealed_address": self._sealed(address, channel, "address"),
            "sealed_secret": self._sealed(secret, channel, "secret") if secret is not None else "",
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

    def _sealed(self, value: Secret[str], channel: Channel, field: str) -> str:
        if self._ring is None:
            raise ConfigError(
                "The channel's address is a secret, and there is no key to seal it with",
                code="E-ENC-KEY",
            )
        return seal(Secret(value.reveal().encode()), _place(channel, field), self._ring, self._random)

    def _opened(self, sealed: str, channel: Channel, field: str) -> Secret[str]:
        if self._ring is None:
            raise ConfigError(f"Channel {channel.name} cannot be read without its key", code="E-ENC-KEY")
        return Secret(open_sealed(sealed, _place(channel, field), self._ring).reveal().decode())


def _place(channel: Channel, field: str) -> Place:
    return Place(user=channel.user, record=f"alert channel {channel.name}", field=field)


def _is(user: str, name: str) -> Any:
    return (CHANNELS.c.user_id == user) & (CHANNELS.c.name == name)


def _missing(name: str) -> NotFound:
    return NotFound(
        f"Alert channel {name} not found",
        code="E-NOT-FOUND",
        remedy="`ibkit alerts channels` lists those that there are.",
    )
