"""What the simulator and the commands cost: requests a second of one core, a dry run of the sale, `ibkit status`.

Starts `ibkit sim` with keys of its own (some seconds) and IBKR's pacing off, as otherwise the pacing is measured.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.clients import IN_FLIGHT
from benchmarks.startup import IBKIT

CALLS = 3000
RUNS = 5
SLOT_S = 5.5
START_S = 60.0


@contextmanager
def simulator() -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """Process id, folder and the contents of simulator.json."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["sim", "--gateway-port", "0", "--cloud-port", "0", "--dir", name, "--quirk", "pacing=false"]
        process = subprocess.Popen([IBKIT, *words], stdout=subprocess.DEVNULL)
        try:
            facts = folder / "simulator.json"
            give_up_at = time.monotonic() + START_S
            while not facts.exists():
                if process.poll() is not None or time.monotonic() > give_up_at:
                    raise RuntimeError("the simulator did not start")
                time.sleep(0.05)
            yield process.pid, folder, json.loads(facts.read_text())
        finally:
            process.terminate()
            process.wait()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that the process has used. Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(url: str, ca: bytes, calls: int) -> None:
    """`calls` GETs of the accounts through the gateway's face, 100 in flight."""
    import anyio

    from ibkit.client.transports.pyreqwest import PyreqwestTransport
    from ibkit.wire.http import Request

    transport = PyreqwestTransport(ca=ca, pool_size=IN_FLIGHT)
    request = Request("GET", f"{url.removesuffix('/v1/api')}/v1/api/iserver/accounts", {"User-Agent": "benchmark"})

    async def lane() -> None:
        for _ in range(calls // IN_FLIGHT):
            answer = await transport.send(request, timeout_s=15.0)
            if answer.status != 200:
                raise RuntimeError(f"the simulator answered {answer.status}")

    async with anyio.create_task_group() as group:
        for _ in range(IN_FLIGHT):
            group.start_soon(lane)
    await transport.aclose()


def command(words: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run of ibkit."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([IBKIT, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> dict[str, float]:
    """Simulator: requests per second of its own CPU. Commands: seconds, medians."""
    import uvloop

    with simulator() as (pid, folder, facts):
        ca = (folder / facts["ca"]).read_bytes()
        uvloop.run(ask(facts["gateway_url"], ca, IN_FLIGHT * 2))
        before = cpu_of(pid)
        uvloop.run(ask(facts["gateway_url"], ca, CALLS))
        found = {"requests": CALLS / (cpu_of(pid) - before)}
        env = str(folder / facts["users"][0]["env"]["oauth1a"])
        for name, words in (("status", ["status"]), ("dry", ["sell-option", "--dry-run"])):
            runs = []
            for _ in range(RUNS):
                time.sleep(SLOT_S)  # commands of one login share its slots: this one would wait for the one before
                runs.append(command(["--env-file", env, *words]))
            found[name], found[f"{name}_cpu"] = (statistics.median(column) for column in zip(*runs, strict=True))
    return found


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
