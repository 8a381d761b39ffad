"""The change of the vault's key under SIGKILL of real processes, while eight readers go on reading.

IBKIT_VAULT_KILLS=200 python -m pytest tests/store/test_rotation_kills.py    for the full number of reliability goal G45
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest
from sqlalchemy import select

from ibkit.model import Secret
from ibkit.store.migrating import for_engine
from ibkit.store.vault_tables import SEALED
from ibkit.vault import Place
from ibkit.vault.seal import key_id_of
from vaults import NEW, OLD, opened, ring_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = int(os.environ.get("IBKIT_VAULT_KILLS", "4"))
RECORDS, BATCH, READERS = 200, 5, 8
LONGEST_S = 0.06
"""After the batch at which it is killed: in another one's reading, writing or commit."""
TURNER = Path(__file__).parents[1] / "vault_turner.py"


def place(number: int) -> Place:
    return Place("u1", f"record/{number}", "field")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ibkit.db"
    return request.getfixturevalue("postgres_database")


def turn(url: str, keys: tuple[str, str], batches: int | None, pause_s: float = 0.0) -> bool:
    """Whether a change of the key ended; it is killed a pause after so many batches."""
    process = subprocess.Popen(
        [sys.executable, str(TURNER), url, str(BATCH), *keys], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    began = process.stdout.readline()
    told = []
    if batches is not None:
        told = [process.stdout.readline() for _ in range(batches)]
        time.sleep(pause_s)
        process.send_signal(signal.SIGKILL)
    said, complaints = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), complaints
    assert began == "begins\n", complaints
    return "ended\n" in (*told, said[-len("ended\n") :])


async def keys_used(vault) -> dict[str, int]:
    texts = await vault.database.read(
        lambda connection: for_engine(connection).execute(select(SEALED.c.text)).scalars().all()
    )
    used: dict[str, int] = {}
    for text in texts:
        used[key_id_of(text)] = used.get(key_id_of(text), 0) + 1
    return used


@pytest.mark.requirement("VLT-05")
async def test_no_kill_leaves_a_secret_unreadable(url):
    chance = random.Random(20261127)
    keys = (NEW, OLD)
    reads, in_the_middle, ended = 0, 0, 0
    async with opened(url, ring_of(OLD)) as vault:
        for number in range(RECORDS):
            await vault.put(place(number), Secret(f"secret {number}"))
    async with opened(url, ring_of(NEW, OLD)) as vault:
        stop = anyio.Event()

        async def read() -> None:
            nonlocal reads
            while not stop.is_set():
                number = chance.randrange(RECORDS)
                found = await vault.get(place(number))
                assert found is not None
                assert found.reveal() == f"secret {number}"
                reads += 1
                await anyio.sleep(0.03)

        async with anyio.create_task_group() as group:
            for _ in range(READERS):
                group.start_soon(read)
            for _ in range(KILLS):
                batches, pause_s = chance.randrange(RECORDS // BATCH + 2), chance.uniform(0, LONGEST_S)
                done = await anyio.to_thread.run_sync(turn, url, keys, batches, pause_s)
                used = await keys_used(vault)
                in_the_middle += len(used) == 2
                if done:  # the other way round from here on
                    assert list(used) == [ring_of(keys[0]).current_id]
                    ended += 1
                    keys = (keys[1], keys[0])
                for number in range(RECORDS):
                    found = await vault.get(place(number))
                    assert found is not None
                    assert found.reveal() == f"secret {number}"
            stop.set()
        assert await anyio.to_thread.run_sync(turn, url, keys, None)
    async with opened(url, ring_of(keys[0])) as vault:
        assert await keys_used(vault) == {ring_of(keys[0]).current_id: RECORDS}
        assert [(await vault.get(place(number))).reveal() for number in range(RECORDS)] == [
            f"secret {number}" for number in range(RECORDS)
        ]
    print(f"{KILLS} runs: {in_the_middle} killed in the middle, {ended} ended, {reads} reads")
    assert in_the_middle > KILLS / 4
    assert reads > KILLS
