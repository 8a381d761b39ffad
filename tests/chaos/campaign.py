"""Many runs: counts, coverage by sometimes-counters, the seeds that failed, and the report."""

from __future__ import annotations

import gc
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from . import coverage, model
from .bugs import BUGS, WHERE, planted
from .crashes import POINTS
from .findings import OPEN, finding_of
from .results import Result
from .schedule import run
from .shrink import shrink
from .stream_schedule import StreamResult, run_stream
from .watch import Stopwatch

__all__ = ["SEEDS", "Tally", "campaign", "caught_by", "hashes", "known_seeds", "replay", "run_all", "shrunk"]

S = TypeVar("S")
T = TypeVar("T")

SEEDS = Path(__file__).with_name("seeds.txt")
"""Seeds that failed once; they are run for ever."""
_STALE = ("X: TypeError", "X: AttributeError", "X: NameError", "X: KeyError")
_SHRUNK = 3
"""So many failures of a run are told in short at once."""
_PORTION = 2_000
_COVERAGE_FROM = 2_000
"""A smaller run need not have met everything."""


Case = int | tuple[int, str]
"""A seed, or a seed and the kind of schedule that it shall be whatever the seed itself says."""


def known_seeds() -> list[tuple[int, str]]:
    """Seeds that failed once, each as the kind of schedule that it was."""
    lines = SEEDS.read_text(encoding="utf-8").splitlines() if SEEDS.exists() else []
    words = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return [(int(seed), mode) for seed, mode, *_ in words]


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
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    """Breaches that an open finding explains."""
    failed: dict[int, list[str]] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    """The kind of each schedule that failed."""

    def add(self, result: Result) -> None:
        self.runs += 1
        self.intents += result.intents
        self.crashes += result.crashes
        self.slowest_heal_s = max(self.slowest_heal_s, result.heal_s)
        self.modes[result.mode] += 1
        self.methods[result.method] += 1
        for mine, theirs in (
            (self.deaths, result.deaths),
            (self.fired, result.fired),
            (self.pairs, result.pairs),
            (self.seen, result.seen),
            (self.ends, result.ends),
        ):
            mine.update(theirs)
        news = []
        for breach in result.breaches:
            name = finding_of(breach, result.seed)
            self.known[name] += bool(name)
            if not name:
                news.append(breach)
        if news:
            self.failed[result.seed] = news
            self.kinds[result.seed] = result.mode

    def merge(self, other: Tally) -> None:
        """The sum of two runs of different seeds."""
        self.slowest_heal_s = max(self.slowest_heal_s, other.slowest_heal_s)
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, dict):  # a Counter adds up
                mine.update(theirs)
            elif each.name != "slowest_heal_s":
                setattr(self, each.name, mine + theirs)

    @property
    def met(self) -> Counter[str]:
        """Everything that `coverage.wanted` asks for, by its name there."""
        crashes = Counter({f"crash at {name}": 0 for name in POINTS})
        for at, times in self.deaths.items():
            crashes[f"crash at {at.split()[0]}"] += times
        return self.fired + self.seen + crashes + Counter({f"end {name}": times for name, times in self.ends.items()})

    def unmet(self) -> list[str]:
        """What this run has seen too seldom."""
        return coverage.gaps(self.met, self.pairs, self.runs)


@cache
def _settle_memory() -> None:
    """What is loaded by now stays for good: the collector need not look at it again after each schedule."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _run(case: Case) -> Result:
    _settle_memory()
    seed, mode = case if isinstance(case, tuple) else (case, "")
    result = run(seed, mode=mode)
    # The trace of a good run is of no use to anybody.
    result.trace = []
    return result


def run_all(seeds: Iterable[Case], *, jobs: int = 1) -> Tally:
    tally, watch = Tally(), Stopwatch()
    for result in _results(_run, list(seeds), jobs):
        tally.add(result)
    tally.seconds = watch.seconds
    return tally


def run_in_portions(seeds: Sequence[Case], kept: Path, *, jobs: int = 1) -> Tally:
    """As `run_all`, begun anew at the portion where an earlier call of the same seeds and code was ended.

    kept: where what is done by then stands, after each portion. It is pickled: for a file of one's own.
    """
    done, tally = 0, Tally()
    if kept.exists():
        first, done, tally = pickle.loads(kept.read_bytes())  # written here, by an earlier call
        assert first == seeds[0], f"{kept} is of a run from seed {first}: move it aside"
    while done < len(seeds):
        tally.merge(run_all(seeds[done : done + _PORTION], jobs=jobs))
        done = min(done + _PORTION, len(seeds))
        new = kept.with_suffix(".new")
        new.write_bytes(pickle.dumps((seeds[0], done, tally)))
        new.replace(kept)
        _tell(tally)
    return tally


def _results(work: Callable[[S], T], seeds: list[S], jobs: int) -> Iterator[T]:
    if jobs <= 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, seeds, chunksize=20)


def caught_by(bug: str, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first of `seeds` whose schedule shows the planted bug, and what it broke."""
    known: list[Case] = [WHERE[bug]] if bug in WHERE else []
    for case in (*known, *seeds):
        seed, mode = case if isinstance(case, tuple) else (case, "")
        with planted(bug):
            result = run(seed, mode=mode)
        new = [breach for breach in result.breaches if not finding_of(breach, result.seed)]
        # A patch that no longer fits the code it patches is not the mistake that it stands for.
        assert not any(breach.startswith(_STALE) for breach in new), (bug, new)
        if new:
            return seed, new[0]
    return None


@dataclass(slots=True)
class StreamTally:
    """The sum of many runs of the stream."""

    runs: int = 0
    seconds: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, result: StreamResult) -> None:
        self.runs += 1
        self.fired.update(result.fired)
        self.seen.update(result.seen)
        if result.breaches:
            self.failed[result.seed] = result.breaches


def run_streams(seeds: Iterable[int], *, jobs: int = 1) -> StreamTally:
    tally, watch = StreamTally(), Stopwatch()
    for result in _results(run_stream, list(seeds), jobs):
        tally.add(result)
    tally.seconds = watch.seconds
    return tally


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


def replay_stream(seed: int) -> int:
    """One run of the stream, told; 0 where it breaks no rule."""
    result = run_stream(seed)
    print("\n".join(result.trace))
    print(f"stream seed {seed}: trace {result.hash}")
    return 1 if result.breaches else 0


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
    seeds: Sequence[int],
    models: int,
    kills: int,
    streams: Sequence[int],
    bugs: int,
    jobs: int,
    report: Path | None,
    known: bool = True,
    complete: bool = False,
    kept: Path | None = None,
) -> int:
    """All tiers, told as they go. 0 where nothing was broken and, in a large run, everything was met.

    complete: met as often as `coverage` asks for. Else once is enough and the rest is only told: the counts of seeds
              that nobody has seen scatter.
    kept:     where a long run of schedules keeps what is done, to be gone on with.
    """
    watch = Stopwatch()
    tally = run_all(known_seeds(), jobs=jobs) if known else Tally()
    tally.merge(run_all(seeds, jobs=jobs) if kept is None else run_in_portions(seeds, kept, jobs=jobs))
    _tell(tally)
    for name, (text, *_) in OPEN.items():
        print(f"open finding {name}: {text}: {tally.known[name]} times")
    for seed, breaches in tally.failed.items():
        print(
            f"seed {seed}: {'; '.join(breaches)}\n  replay: python -m tests.chaos --seed {seed}"
            f" --mode {tally.kinds[seed]} --shrink"
        )
    for seed in list(tally.failed)[:_SHRUNK]:
        found = shrink(seed, mode=tally.kinds[seed])
        print(found.story() if found is not None else f"seed {seed} does not fail again")
    _remember(tally)
    streamed = run_streams(streams, jobs=jobs)
    print(f"stream: {streamed.runs} schedules, {len(streamed.failed)} failed")
    for seed, breaches in streamed.failed.items():
        print(f"stream seed {seed}: {'; '.join(breaches)}\n  replay: python -m tests.chaos --stream-seed {seed}")
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
    unmet = tally.unmet() if len(seeds) >= _COVERAGE_FROM else []
    if unmet:
        print(f"met too seldom: {len(unmet)}", *unmet, sep="\n  ")
    if report is not None:
        from . import report as pages

        pages.write(report, tally, streamed, models, modelled, found, killed, watch.seconds)
    missed = unmet if complete else coverage.never(tally.met) if unmet else []
    if missed and not complete:
        print("never met:", *missed, sep="\n  ")
    broken = (
        tally.failed or streamed.failed or modelled or missed or (killed and killed.breaches) or not all(found.values())
    )
    return 1 if broken else 0


def _tell(tally: Tally) -> None:
    each = tally.seconds / max(1, tally.runs) * 1000
    print(
        f"{tally.runs} schedules, {tally.intents} intents, {tally.crashes} crashes, {len(tally.failed)} failed,"
        f" {each:.0f} ms each, slowest healing {tally.slowest_heal_s:.0f} s"
    )


def _remember(tally: Tally) -> None:
    known = {seed for seed, _ in known_seeds()}
    new = [seed for seed in tally.failed if seed not in known]
    if new:
        with SEEDS.open("a", encoding="utf-8") as file:
            for seed in new:
                file.write(f"{seed} {tally.kinds[seed]}  # {tally.failed[seed][0][:100]}\n")
