"""The vault: opening credentials for use, and a new key for a hundred thousand secrets while others read them.

python -m benchmarks.vault
"""

from __future__ import annotations

import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from sqlalchemy import insert

from ibkit.clock import SystemClock
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.store.credentials import SqlCredentials
from ibkit.store.migrating import for_engine
from ibkit.store.records import open_records
from ibkit.store.rotation import rotate
from ibkit.store.vault import SqlVault
from ibkit.store.vault_tables import SEALED
from ibkit.vault import Draft, KeyRing, Place, generate_encryption_keys, seal

ROOT = Path(__file__).resolve().parent.parent
USES = 5_000
CONNECTIONS = 50
RECORDS = 100_000
READERS = 3
TEXT = Secret(b"-----BEGIN PRIVATE KEY-----\n" + b"x" * 1_600 + b"\n-----END PRIVATE KEY-----\n")
"""As long as an RSA key of 2048 bits in PEM."""


def ring_of(*keys: Secret[str]) -> KeyRing:
    return KeyRing.from_hex(keys[0], keys[1:])


@asynccontextmanager
async def opened(file: Path, ring: KeyRing) -> AsyncIterator[SqlVault]:
    database = open_records(Secret(f"sqlite:///{file}"), parts=("vault",))
    try:
        async with SqlVault(database, lambda: ring, clock=SystemClock(), random=secrets.token_bytes) as vault:
            yield vault
    finally:
        await database.close()


def draft(number: int) -> Draft:
    pem = Secret(TEXT.reveal().decode())
    fields = {
        "consumer_key": Secret("CONSUMERK"),
        "access_token": Secret("a" * 20),
        "access_token_secret": Secret("s" * 344),
        "signature_key": pem,
        "encryption_key": pem,
        "dh_params": Secret("p" * 400),
    }
    return Draft(
        user_id=f"u{number}",
        connection_id="main",
        method=AuthMethod.OAUTH1A,
        environment=Environment.PAPER,
        fields=fields,
    )


async def uses(vault: SqlVault) -> tuple[list[float], float]:
    """Seconds of each use, and of CPU at the mean: found, opened, made into what the client signs in with.

    The first of each connection is noted in the database: as many as one in a hundred.
    """
    credentials = SqlCredentials(vault)
    for number in range(CONNECTIONS):
        await credentials.activate((await credentials.put(draft(number))).credential_id)
    found = []
    cpu = time.process_time()
    for number in range(USES):
        began = time.perf_counter()
        opened = await credentials.use(user_id=f"u{number % CONNECTIONS}", connection_id="main")
        opened.login()
        found.append(time.perf_counter() - began)
    return found, (time.process_time() - cpu) / USES


async def fill(vault: SqlVault) -> None:
    for start in range(0, RECORDS, 5_000):
        places = [Place("u1", f"record/{number}", "field") for number in range(start, start + 5_000)]
        rows = [
            {"user_id": place.user, "record": place.record, "field": place.field, "text": sealed}
            for place in places
            for sealed in (seal(TEXT, place, vault.ring, secrets.token_bytes),)
        ]
        await vault.database.write(
            lambda connection, rows=rows: for_engine(connection).execute(insert(SEALED), rows)  # type: ignore[misc]
        )


async def rotation(file: Path, ring: KeyRing) -> dict[str, float]:
    """Seconds of all of it, verification included, while readers of the same file read as fast as they can."""
    waits: list[float] = []
    stop = anyio.Event()

    async def read(vault: SqlVault) -> None:
        while not stop.is_set():
            began = time.perf_counter()
            found = await vault.get(Place("u1", f"record/{secrets.randbelow(RECORDS)}", "field"))
            waits.append(time.perf_counter() - began)
            assert found is not None
            await anyio.sleep(0.02)

    async with opened(file, ring) as vault, opened(file, ring) as other, anyio.create_task_group() as group:
        for _ in range(READERS):
            group.start_soon(read, other)
        began, cpu = time.perf_counter(), time.process_time()
        done = await rotate(vault)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        stop.set()
    assert (done.rewrapped, done.verified) == (RECORDS, RECORDS), done
    return {"rotation": took, "rotation_cpu": cpu, "reads": len(waits), "read_p99": percentile(waits, 0.99)}


def percentile(found: list[float], share: float) -> float:
    return sorted(found)[min(len(found) - 1, int(len(found) * share))]


async def _measure() -> dict[str, float]:
    old, new = (Secret(generate_encryption_keys().key) for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        folder = Path(name)
        async with opened(folder / "uses.sqlite", ring_of(old)) as vault:
            found, cpu = await uses(vault)
        async with opened(folder / "many.sqlite", ring_of(old)) as vault:
            await fill(vault)
        turned = await rotation(folder / "many.sqlite", ring_of(new, old))
    return {"use_p50": statistics.median(found), "use_p99": percentile(found, 0.99), "use_cpu": cpu, **turned}


def measure() -> dict[str, float]:
    """All figures, in seconds, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.vault"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(anyio.run(_measure)))
