"""Many runs: counts, coverage by sometimes-counters, the seeds that failed, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from . import model
from .bugs import BUGS, WHERE, planted
from .crashes import POINTS
from .faults import ORDER_FAULTS, READ_FAULTS, SESSION_FAULTS
from .findings import OPEN, finding_of
from .schedule import Result, run
from .shrink import shrink
from .watch import Stopwatch

__all__ = ["SEEDS", "Tally", "campaign", "caught_by", "hashes", "known_seeds", "replay", "run_all", "shrunk"]

SEEDS = Path(__file__).with_name("seeds.txt")
"""Seeds that failed once; they are run for ever."""
_ENDS = (
    "acked",
    "filled",
    "cancelled",
    "rejected_late",
    "rejected_local",
    "rejected_policy",
    "rejected_broker",
    "expired_local",
    "not_placed",
    "unknown_needs_human",
)
_SEEN = (
    "twins",
    "replay",
    "caller left",
    "other body: KeyReused",
    "external order",
    "recovered acked",
    "error InFlight",
)
_SHRUNK = 3
"""So many failures of a run are told in short at once."""
_COVERAGE_FROM = 2_000
"""A smaller run need not have met everything."""


def known_seeds() -> list[int]:
    lines = SEEDS.read_text(encoding="utf-8").splitlines() if SEEDS.exists() else []
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


@dataclass(slots=True)
class Tally:
    """The sum of many results."""

    runs: int = 0
    intents: int = 0
    crashes: int = 0
    seconds: float = 0.0
    slowest_heal_s: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    """Breaches that an open finding explains."""
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        self.runs += 1
        self.intents += result.intents
        self.crashes += result.crashes
        self.slowest_heal_s = max(self.slowest_heal_s, result.heal_s)
        self.modes[result.mode] += 1
        for mine, theirs in (
            (self.deaths, result.deaths),
            (self.fired, result.fired),
            (self.seen, result.seen),
            (self.ends, result.ends),
        ):
            mine.update(theirs)
        news = []
        for breach in result.breaches:
            name = finding_of(breach, result.fired)
            self.known[name] += bool(name)
            if not name:
                news.append(breach)
        if news:
            self.failed[result.seed] = news

    def unmet(self, least: int = 1) -> list[str]:
        """What this run never saw: each crash point, each fault, each end, each thing a caller can meet."""
        wanted = [
            (f"crash at {name}", sum(n for at, n in self.deaths.items() if at.split()[0] == name)) for name in POINTS
        ]
        wanted += [(fault.name, self.fired[fault.name]) for fault in (*ORDER_FAULTS, *READ_FAULTS)]
        wanted += [(name, self.fired[name]) for name in SESSION_FAULTS]
        wanted += [(f"end {name}", self.ends[name]) for name in _ENDS]
        wanted += [(name, self.seen[name]) for name in _SEEN]
        return [f"{name} ({count})" for name, count in wanted if count < least]


def _run(seed: int) -> Result:
    result = run(seed)
    # The trace of a good run is of no use to anybody.
    result.trace = []
    return result


def run_all(seeds: Iterable[int], *, jobs: int = 1) -> Tally:
    tally, watch = Tally(), Stopwatch()
    for result in _results(list(seeds), jobs):
        tally.add(result)
    tally.seconds = watch.seconds
    return tally


def _results(seeds: list[int], jobs: int) -> Iterator[Result]:
    if jobs <= 1:
        yield from map(_run, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run, seeds, chunksize=20)


def caught_by(bug: str, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first of `seeds` whose schedule shows the planted bug, and what it broke."""
    known = [WHERE[bug]] if bug in WHERE else []
    for seed in (*known, *seeds):
        with planted(bug):
            result = run(seed)
        new = [breach for breach in result.breaches if not finding_of(breach, result.fired)]
        # A patch that no longer fits the code it patches is not the mistake that it stands for.
        assert not any(breach.startswith("X: TypeError") for breach in new), (bug, new)
        if new:
            return seed, new[0]
    return None


def hashes(first: int, count: int) -> None:
    """Seed and trace hash of each schedule, for a comparison between processes."""
    for seed in range(first, first + count):
        print(seed, run(seed).hash)


def replay(seed: int, mode: str = "") -> int:
    first, second = run(seed, mode=mode), run(seed, mode=mode)
    print("\n".join(first.trace))
    print(f"seed {seed} ({first.mode}): {first.crashes} crashes, trace {first.hash}")
    if first.hash != second.hash:
        print(f"NOT THE SAME TWICE: {second.hash}")
        return 1
    return 1 if first.breaches else 0


def shrunk(seed: int, mode: str = "") -> int:
    """Tell the seed's story with as few misfortunes as it needs; 0 where it does not fail."""
    found = shrink(seed, mode=mode)
    if found is None:
        print(f"seed {seed} breaks no rule")
        return 0
    print("\n".join(found.result.trace), found.story(), f"  files: {found.place}", sep="\n")
    return 1


def campaign(
    *,
    first: int,
    schedules: int,
    models: int,
    kills: int,
    bugs: int,
    jobs: int,
    report: Path | None,
    known: bool = True,
) -> int:
    """All tiers, told as they go. 0 where nothing was broken and, in a large run, everything was met."""
    watch = Stopwatch()
    seeds = [*(known_seeds() if known else ()), *range(first, first + schedules)]
    tally = run_all(seeds, jobs=jobs)
    _tell(tally)
    for name, (text, _) in OPEN.items():
        print(f"open finding {name}: {text}: {tally.known[name]} times")
    for seed, breaches in tally.failed.items():
        print(f"seed {seed}: {'; '.join(breaches)}\n  replay: python -m tests.chaos --seed {seed} --shrink")
    for seed in list(tally.failed)[:_SHRUNK]:
        found = shrink(seed)
        print(found.story() if found is not None else f"seed {seed} does not fail again")
    _remember(tally)
    modelled = model.tally(models)
    print(f"model: {models} schedules, {modelled or 'no'} violations")
    found = {name: caught_by(name, range(bugs)) for name in BUGS} if bugs else {}
    for name, hit in found.items():
        print(f"planted: {name}: {f'seed {hit[0]}: {hit[1]}' if hit else 'NOT CAUGHT'}")
    killed = None
    if kills:
        from . import kill

        killed = kill.campaign(kills)
        print(killed.line())
    unmet = tally.unmet() if schedules >= _COVERAGE_FROM else []
    if unmet:
        print("never met:", ", ".join(unmet))
    if report is not None:
        from . import report as pages

        pages.write(report, tally, models, modelled, found, killed, watch.seconds)
    broken = tally.failed or modelled or unmet or (killed and killed.breaches) or not all(found.values())
    return 1 if broken else 0


def _tell(tally: Tally) -> None:
    each = tally.seconds / max(1, tally.runs) * 1000
    print(
        f"{tally.runs} schedules, {tally.intents} intents, {tally.crashes} crashes, {len(tally.failed)} failed,"
        f" {each:.0f} ms each, slowest healing {tally.slowest_heal_s:.0f} s"
    )


def _remember(tally: Tally) -> None:
    new = [seed for seed in tally.failed if seed not in known_seeds()]
    if new:
        with SEEDS.open("a", encoding="utf-8") as file:
            for seed in new:
                file.write(f"{seed}  # {tally.failed[seed][0][:100]}\n")
