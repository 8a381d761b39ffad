"""All benchmarks in one run: `make bench`. `--write` puts the figures into docs/benchmarks.md.

The machines are noisy: figures are medians, comparisons are ratios of runs taken in turn in the same minutes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import handshake, startup

ROUNDS = 7
COUNTS = {"one": 1000, "hundred": 4000}
ROOT = Path(__file__).resolve().parent.parent


def signed_gets() -> dict[str, dict[str, list[float]]]:
    """mode → client → CPU microseconds per call, one figure a round."""
    found: dict[str, dict[str, list[float]]] = {mode: {} for mode in COUNTS}
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", folder], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert server.stdout is not None
            url = f"https://localhost:{server.stdout.readline().strip()}"
            for _ in range(ROUNDS):
                for mode, count in COUNTS.items():
                    for client in ("ibind", "ibkit", "bare"):
                        words = [client, mode, url, f"{folder}/ca.pem", str(count if client != "ibind" else count // 4)]
                        command = [sys.executable, "-m", "benchmarks.clients", *words]
                        out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
                        result = json.loads(out.splitlines()[-1])
                        found[mode].setdefault(client, []).append(result["cpu"] / result["n"] * 1e6)
        finally:
            server.terminate()
            server.wait()
    return found


def row(name: str, figure: str, goal: str, *, met: bool) -> str:
    return f"| {name} | {figure} | {goal} | {'yes' if met else '**no**'} |"


def report() -> str:
    rows = []
    cpu = signed_gets()
    for mode, words, goal in (("hundred", "100 in flight", 12), ("one", "one by one", 4)):
        ours, theirs, bare = (cpu[mode][name] for name in ("ibkit", "ibind", "bare"))
        gain = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        over = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
        figure = f"1/{gain:.1f} ({statistics.median(ours):.0f} µs of {statistics.median(theirs):.0f} µs)"
        rows.append(row(f"CPU of a signed GET against ibind 0.2.2, {words}", figure, f"≤ 1/{goal}", met=gain >= goal))
        figure = f"{over:.2f}x ({statistics.median(bare):.0f} µs bare)"
        rows.append(row(f"the same against the bare transport, {words}", figure, "≤ 1.5x", met=over <= 1.5))
    hands = handshake.measure()
    figure = f"{hands['ratio']:.2f}x ({hands['handshake'] * 1e3:.2f} ms of {hands['floor'] * 1e3:.2f} ms)"
    rows.append(
        row(
            "live session token handshake against two powers, RSA decrypt, RSA sign",
            figure,
            "≤ 1.3x",
            met=hands["ratio"] <= 1.3,
        )
    )
    start = startup.measure()
    bare_ms = start.pop("python -c pass")
    for name, limit in (("ibkit --help", 200), ("import ibkit", 150)):
        figure = f"{start[name]:.0f} ms ({start[name] / bare_ms:.1f}x of an empty interpreter's {bare_ms:.0f} ms)"
        rows.append(row(f"`{name}`, whole process", figure, f"≤ {limit} ms", met=start[name] <= limit))
    return "\n".join(
        [
            "# Benchmarks\n",
            (
                f"Taken {datetime.now(UTC):%Y-%m-%d} with `make bench` on {os.cpu_count()} cores, Python "
                f"{platform.python_version()}. The machine is shared and noisy: each figure is a median, each ratio the "
                "median of pairs taken in turn.\n"
            ),
            "| What | Figure | Goal | Met |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    page = report()
    print(page)
    if "--write" in sys.argv[1:]:
        (ROOT / "docs" / "benchmarks.md").write_text(page, encoding="utf-8")
