"""How long `ibkit --help`, `ibkit --version` and `import ibkit` take as whole processes, beside a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
IBKIT = str(Path(sys.executable).with_name("ibkit"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import ibkit": [sys.executable, "-c", "import ibkit"],
    "ibkit --help": [IBKIT, "--help"],
    "ibkit --version": [IBKIT, "--version"],
}


def measure() -> dict[str, float]:
    """Median wall milliseconds of each, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(RUNS + 1):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if round_:  # the first fills the file cache
                taken[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}
