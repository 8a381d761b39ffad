"""Several processes of one login, with real sockets and a real clock: together they keep IBKR's rate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from running import RunningSimulator, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="SIGKILL")]

READER = """
import sys
import anyio
from pathlib import Path
from ibkit.bootstrap import open_client, read_settings
from ibkit.wire.accounts import ACCOUNT_SUMMARY

async def read(ib, calls):
    for _ in range(calls):
        await ib.request(ACCOUNT_SUMMARY, path={"account_id": "DU1000001"})
        print("read", flush=True)

async def main():
    async with open_client(read_settings(env_file=Path(sys.argv[1])), keep_alive=False) as ib:
        print("open", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(read, ib, int(sys.argv[2]) // 6)

anyio.run(main)
"""


def reader(env_file: Path, home: Path, calls: int) -> subprocess.Popen[str]:
    """A process that signed in and waits for a line to read so many times, six at once."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "IBKIT_STATE_DIR": str(home / "state")}
    words = [sys.executable, "-c", READER, str(env_file), str(calls)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n", process.communicate(timeout=20)
    return process


@pytest.mark.requirement("LIM-01")
@pytest.mark.parametrize(("method", "calls"), [("gateway", 48), ("oauth2", 150)])
def test_processes_of_a_login_keep_the_rate_together(
    worlds: list[RunningSimulator], tmp_path: Path, method: str, calls: int
) -> None:
    """Two read on; a third is killed in the midst of it, with calls claimed and not sent."""
    world = worlds[0]
    world.reset()
    before = len(world.requests())
    processes = [reader(world.env(method), tmp_path, calls) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert processes[2].stdout is not None
        until(processes[2].stdout.readline, what="a first answer")
        processes[2].kill()
        for process in processes[:2]:
            out, err = process.communicate(timeout=120)
            assert (process.returncode, out.count("read")) == (0, calls // 6 * 6), err
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    rows = [row for row in world.requests()[before:] if not row["path"].endswith("/sso/validate")]
    assert sum(row["path"].endswith("/summary") for row in rows) >= 2 * (calls // 6 * 6)
    assert [row for row in rows if row["status"] == 429] == []
