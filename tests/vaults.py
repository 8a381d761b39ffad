"""A vault on a real database, with keys and credentials that tests may search for."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fakes import START
from ibkit.clock import Clock, ManualClock
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.store.records import open_records
from ibkit.store.vault import SqlVault
from ibkit.vault import Draft, KeyRing, Sealer

__all__ = ["IV", "NEW", "OLD", "OTHER", "PEM", "VALUES", "draft", "opened", "ring_of", "sealer"]

OLD, NEW, OTHER = (letter * 2 + "0123456789abcdef" * 3 + "00112233445566" for letter in "abc")
IV = "0102030405060708090a0b0c"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEcanary{}canarycanarycanarycanarycanary\n-----END PRIVATE KEY-----\n"
VALUES = {
    "consumer_key": "TESTCONSU",
    "access_token": "accesstokencanary01",
    "access_token_secret": "c2VjcmV0Y2FuYXJ5c2VjcmV0Y2FuYXJ5",
    "signature_key": PEM.format("signature"),
    "encryption_key": PEM.format("encryption"),
    "dh_params": "-----BEGIN DH PARAMETERS-----\nMIIBCAKCAQEAcanarydhcanarydh\n-----END DH PARAMETERS-----\n",
    "key_passphrase": "passphrase canary",
}


def ring_of(current: str, *previous: str) -> KeyRing:
    return KeyRing.from_hex(Secret(current), [Secret(key) for key in previous])


def sealer(ring: KeyRing | None, *, random: Callable[[int], bytes] = secrets.token_bytes) -> Sealer:
    return Sealer(lambda: ring, random=random, clock=ManualClock(START), what="a secret of the tests")


def draft(connection_id: str = "main", *, user_id: str = "u1", label: str = "", **changed: str) -> Draft:
    return Draft(
        user_id=user_id,
        connection_id=connection_id,
        method=AuthMethod.OAUTH1A,
        environment=Environment.PAPER,
        label=label,
        fields={name: Secret(value) for name, value in (VALUES | changed).items()},
    )


@asynccontextmanager
async def opened(
    url: str,
    keys: KeyRing | Callable[[], KeyRing],
    *,
    clock: Clock | None = None,
    old_iv: str | None = None,
) -> AsyncIterator[SqlVault]:
    database = open_records(Secret(url), parts=("vault",))
    try:
        read = keys if callable(keys) else lambda: keys
        iv = None if old_iv is None else Secret(bytes.fromhex(old_iv))
        vault = SqlVault(database, read, clock=clock or ManualClock(START), random=secrets.token_bytes, old_iv=iv)
        async with vault:
            yield vault
    finally:
        await database.close()
