"""What a schedule of the harness's tier D costs: the whole order path, client and simulator on virtual time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COUNT = 120
_WARM_UP = 4


def _measure() -> dict[str, float]:
    from tests.chaos.schedule import run

    taken = []
    for seed in range(_WARM_UP + COUNT):
        began = time.process_time()
        found = run(seed)
        taken.append(time.process_time() - began)
        assert not found.breaches, found.breaches
    return {"mean": statistics.fmean(taken[_WARM_UP:]), "median": statistics.median(taken[_WARM_UP:])}


def measure() -> dict[str, float]:
    """Seconds of the processor for a schedule, from a process of its own: mean (as a run pays it) and median."""
    command = [sys.executable, "-m", "benchmarks.schedules"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}  # as pytest has it
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=env)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(_measure()))
