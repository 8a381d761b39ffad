"""The vault of these settings: where its keys come from, the keys, and the sealed part of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ibkit.bootstrap.edge import edges
from ibkit.clock import Clock
from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.settings import Settings, load
from ibkit.vault import KeyRing, Sealer
from ibkit.vault.fixed_iv import iv_from_hex

if TYPE_CHECKING:
    from ibkit.store.key_sources import KeySource
    from ibkit.store.vault import SqlVault

__all__ = ["key_source_of", "open_vault", "ring_of", "sealer_of"]


def key_source_of(settings: Settings) -> KeySource:
    """By ENCRYPTION_KEY_PROVIDER; what each needs is checked with the settings. Asks nobody yet."""
    vault = settings.vault
    match vault.provider:
        case "file":
            from ibkit.store.key_sources.key_file import FileKeys

            assert vault.file is not None, "checked with the settings"
            return FileKeys(vault.file)
        case "keyring":
            from ibkit.store.key_sources.os_keyring import KeyringKeys

            return KeyringKeys(vault.keyring_name)
        case "command":
            from ibkit.store.key_sources.command import CommandKeys

            assert vault.command is not None, "checked with the settings"
            return CommandKeys(vault.command)
        case "aws-kms":
            from ibkit.store.key_sources.aws_kms import KmsKeys

            assert vault.file is not None, "checked with the settings"
            assert vault.kms_key_id is not None, "checked with the settings"
            return KmsKeys(vault.file, key_id=vault.kms_key_id, region=vault.kms_region, endpoint=vault.kms_endpoint)
        case _:
            from ibkit.store.key_sources.settings_file import SettingsKeys

            in_file = settings.source("ENCRYPTION_KEY") == "file"
            return SettingsKeys(vault.key, settings.file if in_file else None)


def ring_of(settings: Settings) -> KeyRing | None:
    """The keys that seal what is kept on disk; None where none is configured. ConfigError (E-ENC-KEY). May block."""
    if not settings.vault.has_key:
        return None
    source = key_source_of(settings)
    keys = source.read()
    if not keys:
        raise ConfigError(
            f"Encryption failed: there is no key in {source.name}",
            code="E-ENC-KEY",
            remedy="Put one there: `ibkit vault generate-keys --write`, or by hand, 64 hex digits.",
        )
    listed = settings.vault.previous.reveal().split(",") if settings.vault.previous else []
    return KeyRing.from_hex(keys[0], [*keys[1:], *(Secret(key.strip()) for key in listed if key.strip())])


def sealer_of(settings: Settings, *, clock: Clock, what: str) -> Sealer:
    """For secrets outside of the vault's table. what: they are, for a message. ConfigError (E-ENC-KEY). May block."""
    return Sealer(_keys_now(settings, ring_of(settings)), random=edges().random, clock=clock, what=what)


def _keys_now(settings: Settings, ring: KeyRing | None) -> Callable[[], KeyRing | None]:
    """At first `ring`; asked again, the keys as the file of the settings says by then."""
    first = [ring]

    def read() -> KeyRing | None:
        if first:
            return first.pop()
        return ring_of(settings if settings.file is None else load(env_file=settings.file, require_method=False))

    return read


def _keys_of(settings: Settings, ring: KeyRing) -> Callable[[], KeyRing]:
    read = _keys_now(settings, ring)
    return lambda: _needed(read())


def _needed(ring: KeyRing | None) -> KeyRing:
    if ring is None:
        raise ConfigError("Encryption failed: no encryption key is set", code="E-ENC-KEY")
    return ring


@asynccontextmanager
async def open_vault(settings: Settings) -> AsyncIterator[SqlVault]:
    """The vault in the database of the settings. ConfigError (E-ENC-KEY), StorageError (E-ENC, E-DB)."""
    import anyio.to_thread

    from ibkit.bootstrap.clients import clock_of
    from ibkit.store.records import open_records
    from ibkit.store.vault import SqlVault

    # Before the database is made: without a key there is nothing to keep in it.
    ring = _needed(await anyio.to_thread.run_sync(ring_of, settings))
    old_iv = None if settings.vault.iv is None else iv_from_hex(settings.vault.iv)
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("vault",)))
    try:
        async with SqlVault(
            database, _keys_of(settings, ring), clock=clock_of(settings), random=edges().random, old_iv=old_iv
        ) as vault:
            yield vault
    finally:
        await database.close()
