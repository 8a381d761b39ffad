"""A process that changes the vault's key and may be killed at it: database, batch, keys with the newest first."""

from __future__ import annotations

import os
import sys
import time

import anyio

from ibkit.clock import SystemClock
from ibkit.model import Secret
from ibkit.store.records import open_records
from ibkit.store.rotation import rotate
from ibkit.store.vault import SqlVault
from ibkit.vault import KeyRing

PAUSE_S = 0.03
"""After each batch: else it has ended before whoever kills it, on a busy machine, has read how far it is."""


def tell(done: int) -> None:
    print(done, flush=True)
    time.sleep(PAUSE_S)


async def main(url: str, batch: str, *keys: str) -> None:
    ring = KeyRing.from_hex(Secret(keys[0]), [Secret(key) for key in keys[1:]])
    database = open_records(Secret(url), parts=("vault",))
    async with SqlVault(database, lambda: ring, clock=SystemClock(), random=os.urandom) as vault:
        print("begins", flush=True)
        await rotate(vault, batch=int(batch), tell=tell)
    print("ended", flush=True)
    await database.close()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
