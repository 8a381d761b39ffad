"""All benchmarks in one run: `make bench`. `--write` puts the figures into docs/benchmarks.md.

The machines are noisy: figures are medians, comparisons are medians of ratios of runs taken in turn within the same
minutes, in a shuffled order, each run a process of its own. Client and server have a core each, where there are two
cores: the HTTP library's thread and the loop's share one interpreter lock, and on two cores what a call costs depends
on who runs where, twice as much at times. The row "not pinned" shows it.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import (
    audit,
    days,
    handshake,
    journal,
    ledgers,
    orders,
    recovery,
    risk,
    schedules,
    service,
    simulator,
    startup,
    vault,
)

ROUNDS = 7
COUNTS = {"one": 1500, "hundred": 8000}
CLIENTS = ("ibind", "ibkit", "transport", "raw")
ROOT = Path(__file__).resolve().parent.parent
TWO_CORES = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1

Figures = dict[str, list[float]]
"""Client → one figure a round."""


def on_core(core: int, *, pinned: bool) -> Callable[[], None] | None:
    """What a child does first to stay on the first or second core."""
    if not pinned or not TWO_CORES:
        return None
    return partial(os.sched_setaffinity, 0, {sorted(os.sched_getaffinity(0))[core]})


@contextmanager
def served(*, pinned: bool) -> Iterator[tuple[str, str]]:
    """The address and the authority's file of a server with one fixed answer."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", folder],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=on_core(1, pinned=pinned),
        )
        try:
            assert server.stdout is not None
            yield f"https://localhost:{server.stdout.readline().strip()}", f"{folder}/ca.pem"
        finally:
            server.terminate()
            server.wait()


def signed_gets(mode: str, clients: Iterable[str] = CLIENTS, *, pinned: bool = True) -> tuple[Figures, Figures]:
    """CPU microseconds a call, and peak megabytes of the process."""
    cpu: Figures = {name: [] for name in clients}
    memory: Figures = {name: [] for name in clients}
    with served(pinned=pinned) as (url, ca):
        for _ in range(ROUNDS):
            for client in random.sample(list(cpu), len(cpu)):
                count = COUNTS[mode] // (4 if client == "ibind" else 1)
                command = [sys.executable, "-m", "benchmarks.clients", client, mode, url, ca, str(count)]
                done = subprocess.run(
                    command,
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=ROOT,
                    preexec_fn=on_core(0, pinned=pinned),
                )
                result = json.loads(done.stdout.splitlines()[-1])
                cpu[client].append(result["cpu"] / result["n"] * 1e6)
                memory[client].append(result["rss_mb"])
    return cpu, memory


def ratios(cpu: Figures, one: str, other: str) -> list[float]:
    """Of each round, sorted."""
    return sorted(a / b for a, b in zip(cpu[one], cpu[other], strict=True))


def row(name: str, figure: str, goal: str = "", *, met: bool | None = None) -> str:
    return f"| {name} | {figure} | {goal} | {'' if met is None else 'yes' if met else '**no**'} |"


def spread(found: list[float]) -> str:
    """The quarters of a sorted list."""
    return f"{found[len(found) // 4]:.2f} to {found[-1 - len(found) // 4]:.2f}"


def call_rows() -> list[str]:
    rows, peaks = [], {}
    for mode, words, goal in (("hundred", "100 in flight", 12), ("one", "one by one", 4)):
        cpu, peaks[mode] = signed_gets(mode)
        middle = {name: statistics.median(found) for name, found in cpu.items()}
        gain = statistics.median(ratios(cpu, "ibind", "ibkit"))
        figure = f"1/{gain:.1f} ({middle['ibkit']:.0f} µs of {middle['ibind']:.0f} µs)"
        rows.append(row(f"CPU of a signed GET against ibind 0.2.2, {words}", figure, f"≤ 1/{goal}", met=gain >= goal))
        over = ratios(cpu, "ibkit", "transport")
        figure = f"{statistics.median(over):.2f}x (quarters {spread(over)}; {middle['transport']:.0f} µs bare)"
        name = f"the same against our transport without ibkit, {words}"
        rows.append(row(name, figure, "≤ 1.5x", met=statistics.median(over) <= 1.5))
        over = ratios(cpu, "ibkit", "raw")
        figure = f"{statistics.median(over):.2f}x ({middle['raw']:.0f} µs raw)"
        rows.append(row(f"the same against raw pyreqwest, no limits, {words}", figure))
    cpu, _ = signed_gets("hundred", ("ibkit", "transport"), pinned=False)
    over = ratios(cpu, "ibkit", "transport")
    figure = f"{statistics.median(over):.2f}x (quarters {spread(over)})"
    rows.append(row("against our transport, 100 in flight, not pinned to cores", figure))
    ours, theirs = (statistics.median(peaks["hundred"][name]) for name in ("ibkit", "ibind"))
    rows.append(row("peak memory of the process, 100 in flight", f"{ours:.0f} MB (ibind {theirs:.0f} MB)"))
    return rows


def handshake_row() -> str:
    hands = handshake.measure()
    figure = f"{hands['ratio']:.2f}x ({hands['handshake'] * 1e3:.2f} ms of {hands['floor'] * 1e3:.2f} ms)"
    name = "live session token handshake against two powers, RSA decrypt, RSA sign"
    return row(name, figure, "≤ 1.3x", met=hands["ratio"] <= 1.3)


def startup_rows() -> list[str]:
    start = startup.measure()
    bare_ms = start.pop("python -c pass")
    limits = {"ibkit --help": 200, "import ibkit": 150}
    rows = []
    for name, ms in start.items():
        figure = f"{ms:.0f} ms ({ms / bare_ms:.1f}x of an empty interpreter's {bare_ms:.0f} ms)"
        limit = limits.get(name)
        goal, met = (f"≤ {limit} ms", ms <= limit) if limit else ("", None)
        rows.append(row(f"`{name}`, whole process", figure, goal, met=met))
    return rows


def simulator_rows() -> list[str]:
    found = simulator.measure()
    words = "over OAuth 1.0a from the simulator, sign-in included"
    return [
        row(f"`ibkit status` {words}", f"{found['status'] * 1e3:.0f} ms, {found['status_cpu'] * 1e3:.0f} ms of CPU"),
        row(f"`ibkit sell-option --dry-run` {words}", f"{found['dry']:.1f} s, {found['dry_cpu'] * 1e3:.0f} ms of CPU"),
        row("simulator: account lists through the gateway's face", f"{found['requests']:.0f} a second of one core"),
    ]


def journal_rows() -> list[str]:
    found = journal.measure()
    ms = {name: f"{found[name] * 1e3:.2f} ms" for name in ("raw", "commit", "order", "order_p99")}
    share, p99 = found["share"], found["order_p99"]
    rows = [
        row("disk: 4 KB written and synced; one commit of bare sqlite3, synced", f"{ms['raw']}; {ms['commit']}"),
        row(
            f"journal of one order, {journal.COMMITS} commits in a row, against as many of bare sqlite3",
            f"{share:.2f}x ({ms['order']})",
            "≤ 3x",
            met=share <= 3,
        ),
        row("the same, slowest of a hundred", ms["order_p99"], "p99 ≤ 15 ms", met=p99 <= 0.015),
        row("durable intake, one by one", f"{found['intake_1']:.0f} a second"),
    ]
    for tasks in (32, 128):
        rate = found[f"intake_{tasks}"]
        rows.append(row(f"durable intake, {tasks} at once", f"{rate:.0f} a second", "≥ 1000", met=rate >= 1000))
    p50, p99, loading = found["paced_p50"], found["paced_p99"], found["loading"]
    figure = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
    rows.append(row(f"durable intake at {journal.PACE} a second", figure, "p99 ≤ 50 ms", met=p99 <= 0.05))
    rows.append(row(f"loading {journal.OPEN} open intents", f"{loading:.2f} s", "≤ 2 s", met=loading <= 2))
    return rows


def order_rows() -> list[str]:
    found = orders.measure()
    share, p99 = found["path_share"], found["path_p99"]
    figure = f"{share:.2f}x ({found['path'] * 1e3:.2f} ms of {found['path_floor'] * 1e3:.2f} ms)"
    words = f"an order through the gateway, {orders.STANDING} others open, against {journal.COMMITS} bare commits"
    cancelled, kill = found["cancelled"], found["kill"]
    return [
        row(words, figure, "≤ 3x", met=share <= 3),
        row(
            f"the same, of {orders.ORDERS}",
            f"p99 {p99 * 1e3:.1f} ms; {found['path_cpu'] * 1e3:.1f} ms of CPU each",
            "p99 ≤ 15 ms",
            met=p99 <= 0.015,
        ),
        row(
            f"kill switch: last order that begins to leave after it is pressed, {orders.SENDERS} tasks sending",
            f"{kill * 1e3:.0f} ms ({found['kill_sent']:.0f} sent in the second before; pressing takes "
            f"{found['kill_press'] * 1e3:.1f} ms)",
            "≤ 100 ms",
            met=kill <= 0.1,
        ),
        row(
            f"kill switch: {orders.CANCELLED} open orders cancelled, {orders.CALLS_PER_S:.0f} calls a virtual second",
            f"{cancelled:.1f} s ({found['proven']:.0f} s until three lists show nothing)",
            "≤ 15 s",
            met=cancelled <= 15,
        ),
    ]


def recovery_row() -> str:
    found = recovery.measure()
    took = found["recovery"]
    name = (
        f"recovery of {recovery.NAMES * recovery.OF_EACH} open intents, {recovery.NAMES} user names, one list in 5 s; "
        f"{recovery.DOUBTED} of each in doubt (5 s more for each)"
    )
    return row(name, f"{took:.1f} s, {found['recovery_cpu']:.1f} s of CPU", "≤ 60 s", met=took <= 60)


def risk_row() -> str:
    found = risk.measure()
    p99 = found["check"][1] + found["book"][1]
    name = "risk: all controls and the book's state, busy account, p99 together"
    over = found["check"][0] / found["floor"][0]
    figure = f"{p99 / 1e3:.2f} ms (controls {over:.0f}x thirty sums of Decimals)"
    return row(name, figure, "≤ 1 ms", met=p99 <= 1_000)


def vault_rows() -> list[str]:
    found = vault.measure()
    p99, took = found["use_p99"], found["rotation"]
    figure = f"p50 {found['use_p50'] * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, {found['use_cpu'] * 1e3:.2f} ms of CPU"
    others = f"{found['reads']:.0f} reads by {vault.READERS} others, p99 {found['read_p99'] * 1e3:.0f} ms"
    reads = f"{took:.1f} s, {found['rotation_cpu']:.1f} s of CPU with that of the readers ({others})"
    name = f"vault: a new key for {vault.RECORDS} secrets of {len(vault.TEXT.reveal())} bytes, verified, readers on"
    return [
        row("vault: OAuth 1.0a credentials opened for use", figure, "p99 ≤ 5 ms", met=p99 <= 0.005),
        row(name, reads, "≤ 60 s", met=took <= 60),
    ]


def audit_rows() -> list[str]:
    found = audit.measure()
    took, p99 = found["verify"], found["append_p99"]
    over = f"p50 {found['append_p50'] * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
    bare = f"bare sqlite3 p50 {found['bare_p50'] * 1e3:.1f} ms, p99 {found['bare_p99'] * 1e3:.1f} ms"
    return [
        row(
            f"audit: {audit.ENTRIES // 1_000_000} million entries verified, each of them",
            f"{took:.1f} s, {found['verify_cpu']:.1f} s of CPU",
            "≤ 5 s",
            met=took <= 5,
        ),
        row("audit: one more entry, on disk", f"{over} ({bare})", "p99 ≤ 2 ms", met=p99 <= 0.002),
    ]


def portfolio_rows() -> list[str]:
    told, kept = days.measure(), ledgers.measure()
    named = "portfolio, ten years of 500 positions"
    ledger = f"ledger of {kept['transactions']:,.0f} transactions"
    written = f"{told['days'] * 500 / told['written']:,.0f} a second ({told['bytes'] / 1e3:.0f} kB a day)"
    return [
        row("portfolio: holdings written", f"{told['rows']:,.0f} a second", "≥ 5,000", met=told["rows"] >= 5_000),
        row("portfolio: positions of daily snapshots written", written),
        row(f"{ledger}: written", f"{kept['rows']:,.0f} a second", "≥ 5,000", met=kept["rows"] >= 5_000),
        row(
            f"{named}: what was held on a day",
            f"{told['as_of'] * 1e3:.1f} ms, worst {told['as_of_worst'] * 1e3:.1f} ms",
            "≤ 100 ms",
            met=told["as_of"] <= 0.1,
        ),
        row(
            f"{named}: all figures",
            f"{told['analytics']:.2f} s, worst {told['analytics_worst']:.2f} s",
            "≤ 1 s",
            met=told["analytics"] <= 1,
        ),
        row(
            f"{ledger}: as of a day, first question; further ones",
            f"{kept['first'] * 1e3:.0f} ms; {kept['further'] * 1e3:.0f} ms, worst {kept['further_worst'] * 1e3:.0f} ms",
            "≤ 100 ms",
            met=kept["further"] <= 0.1,
        ),
    ]


def schedule_row() -> str:
    found = schedules.measure()
    figure = f"{found['mean'] * 1e3:.0f} ms of CPU (median {found['median'] * 1e3:.0f} ms)"
    return row(f"a schedule of tier D, mean of {schedules.COUNT}", figure, "≤ 40 ms", met=found["mean"] <= 0.04)


def service_rows() -> list[str]:
    found = service.measure()
    added, cpu = found["added"] * 1e3, found["added_cpu"] * 1e3
    beside = f"{added:.2f} ms beside {found['direct'] * 1e3:.2f} ms ({cpu:.2f} ms of CPU)"
    posted, given = found["turn_posted_cpu"] * 1e3, found["turn_direct_cpu"] * 1e3
    turn = f"{found['turn_ratio']:.2f} times ({posted:.2f} beside {given:.2f} ms)"
    looks, memory = found["status_per_s"], found["memory_start"]
    return [
        row("service: POST /broker-order, over the gateway itself, p50", beside, "≤ 1.5 ms", met=added <= 1.5),
        row("service: CPU of POST /broker-order by that of the gateway itself, no socket", turn, ""),
        row("service: status of the login, from what is held", f"{looks:,.0f} a second", "≥ 2,000", met=looks >= 2_000),
        row("service: memory of the process at its start", f"{memory:.0f} MB", "≤ 120 MB", met=memory <= 120),
    ]


def report() -> str:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as on a user's machine: modules are compiled once
    rows = [
        *call_rows(),
        handshake_row(),
        *startup_rows(),
        *simulator_rows(),
        *journal_rows(),
        *order_rows(),
        recovery_row(),
        risk_row(),
        *vault_rows(),
        *audit_rows(),
        *portfolio_rows(),
        schedule_row(),
        *service_rows(),
    ]
    how = "client and server pinned to a core each" if TWO_CORES else "nothing pinned to cores"
    return "\n".join(
        [
            "# Benchmarks\n",
            (
                f"Taken {datetime.now(UTC):%Y-%m-%d} with `make bench` on {os.cpu_count()} cores, Python "
                f"{platform.python_version()}, {how}. The machine is shared and noisy: each figure is a median, each "
                "ratio the median of pairs taken in turn; quarters are the middle half of the pairs. A row without a "
                "goal is there to be known.\n"
            ),
            (
                "Our transport without ibkit: the bytes on the wire with time limit and cap, no client, signing, "
                "pacing or decoding. Unpinned, the HTTP library's thread and the loop's compete for the lock "
                "on two cores, and the busier loop of the whole client pays for it in thread changes, not in work of "
                "its own.\n"
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
