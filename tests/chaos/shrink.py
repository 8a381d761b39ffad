"""A failing schedule with as few misfortunes as it needs, and its story on disk.

Delta debugging over the fates of the run (wishes are among them): leave out ever smaller parts as long as a rule that
was broken is broken still. A run with fewer fates takes another way after the first that is missing; whether it still
breaks the rule is all that counts, and that is the same each time.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from .results import Result, place_of_files, quiet
from .schedule import Schedule, run

__all__ = ["FAILURES", "Shrunk", "minimal", "shrink"]

FAILURES = Path(__file__).with_name("failures")
MOST_RUNS = 400


@dataclass(frozen=True, slots=True)
class Shrunk:
    """result: of the last run that still failed. fates: those it needs, each with what it did. place: its files."""

    result: Result
    fates: dict[str, str]
    runs: int
    place: Path | None

    def story(self) -> str:
        kind = f"{self.result.mode}, {self.result.method}"
        lines = [
            f"seed {self.result.seed} ({kind}): {len(self.fates)} of its fates are enough ({self.runs} runs):",
            *(f"  [{fate}] {what or 'an order of the workload'}" for fate, what in self.fates.items()),
            *(f"  BREACH {breach}" for breach in self.result.breaches),
        ]
        return "\n".join(lines)


def rules_of(result: Result) -> frozenset[str]:
    """The rules that were broken, open findings apart: `S1`, `L3`, …"""
    return frozenset(breach.split(":")[0] for breach in result.breaches)


def minimal(items: Sequence[str], fails: Callable[[Collection[str]], bool], *, most: int = MOST_RUNS) -> list[str]:
    """A part of `items` that still fails and from which nothing can be left out, as far as `most` trials go."""
    kept, parts, trials = list(items), 2, 0
    while len(kept) > 1 and trials < most:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            trials += 1
            if fails(fewer):
                kept, parts = fewer, max(parts - 1, 2)
                break
            if trials >= most:
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return kept


def shrink(seed: int, *, mode: str = "", folder: Path | None = FAILURES) -> Shrunk | None:
    """None where the seed does not fail. folder: where seed, trace, ledger and journal are left; None for nowhere."""
    whole = run(seed, mode=mode)
    wanted = rules_of(whole)
    if not wanted:
        return None
    runs = 0

    def fails(only: Collection[str]) -> bool:
        nonlocal runs
        runs += 1
        return bool(rules_of(run(seed, mode=mode, only=only)) & wanted)

    kept = minimal(list(whole.fates), fails)
    result, place = _kept(seed, mode, kept, folder)
    return Shrunk(result, {fate: result.fates.get(fate, "") for fate in kept}, runs, place)


def _kept(seed: int, mode: str, only: Collection[str], folder: Path | None) -> tuple[Result, Path | None]:
    """The smallest run once more, with its files kept."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as made, quiet():
        schedule = Schedule(seed, Path(made), mode=mode, only=only)
        result = anyio.run(schedule.run)
        if folder is None:
            return result, None
        place = folder / f"seed-{seed}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(made, place)
        ledger = schedule.simulator.world.exchange.ledger_rows()
        (place / "ledger.json").write_text(json.dumps(ledger, default=str, indent=1), encoding="utf-8")
        (place / "trace.txt").write_text("\n".join(result.trace) + "\n", encoding="utf-8")
        told = {"seed": seed, "mode": result.mode, "fates": result.fates, "breaches": result.breaches}
        (place / "seed.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        return result, place
