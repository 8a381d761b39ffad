"""Keys that several processes want at once, against one file. Source: reliability, G17 and F104."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from fakes import USER
from ibkit.clock import SystemClock
from ibkit.store import open_journal
from journal_words import other_key, planned

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).resolve().parent.parent
PROCESSES, KEYS = 4, 2_000
TWINS, TWIN_KEYS = 50, 200
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ibkit.clock import SystemClock
from ibkit.store import open_journal
from journal_words import other_key, planned

async def main(path, keys):
    won = []
    wishes = iter([planned(other_key(number)) for number in range(keys)])
    async with open_journal(path, clock=SystemClock()) as journal:
        print("ready", flush=True)
        sys.stdin.readline()
        async def plan():
            for wish in wishes:
                _, new = await journal.plan(wish)
                won.extend([wish.key] * new)
        await asyncio.gather(*(plan() for _ in range(64)))
    print(json.dumps(won))

asyncio.run(main(Path(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.mark.requirement("GWY-03")
async def test_of_four_processes_that_plan_the_same_keys_one_wins_each(tmp_path):
    path = tmp_path / "journal.sqlite"
    async with open_journal(path, clock=SystemClock()):
        pass
    command = [sys.executable, "-c", PROGRAM, str(TESTS), str(path), str(KEYS)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        for _ in range(PROCESSES)
    ]
    try:
        assert [process.stdout.readline() for process in started] == ["ready\n"] * PROCESSES
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        won = [json.loads(process.stdout.readline()) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    winners = [key for keys in won for key in keys]
    assert sorted(winners) == [other_key(number) for number in range(KEYS)]
    async with open_journal(path, clock=SystemClock()) as journal:
        assert len(await journal.unfinished(USER)) == KEYS
        assert not journal.restored


@pytest.mark.requirement("GWY-03")
async def test_of_fifty_twins_one_is_new_and_all_see_the_same(tmp_path):
    found = {}
    async with open_journal(tmp_path / "journal.sqlite", clock=SystemClock()) as journal:

        async def twin():
            for number in range(TWIN_KEYS):
                intent, new = await journal.plan(planned(other_key(number)))
                found.setdefault(intent.key, []).append((intent, new))

        async with anyio.create_task_group() as tasks:
            for _ in range(TWINS):
                tasks.start_soon(twin)
        stored = {intent.key: intent for intent in await journal.unfinished(USER)}

    assert len(stored) == len(found) == TWIN_KEYS
    for key, answers in found.items():
        assert [new for _, new in answers].count(True) == 1
        assert len(answers) == TWINS
        assert all(intent == stored[key] for intent, _ in answers)
