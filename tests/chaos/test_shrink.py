"""A failure is told in short: the fewest misfortunes that still break the rule, and the files to look into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.bugs import planted
from chaos.schedule import run
from chaos.shrink import minimal, rules_of, shrink

pytestmark = pytest.mark.requirement("TRD-22")

SEEDS = range(40)


@pytest.mark.parametrize("needed", [{"a"}, {"a", "z"}, {"c", "d", "e"}, set("abcdefgh")])
def test_what_is_left_is_just_what_is_needed(needed: set[str]) -> None:
    items = [chr(code) for code in range(ord("a"), ord("z") + 1)]

    assert set(minimal(items, lambda only: needed <= set(only))) == needed


def test_the_search_ends_where_it_is_told_to() -> None:
    tried: list[int] = []

    def fails(only: object) -> bool:
        tried.append(len(only))  # type: ignore[arg-type]
        return False

    assert len(minimal([str(number) for number in range(100)], fails, most=10)) == 100
    assert len(tried) == 10


def test_a_run_with_all_its_fates_allowed_is_the_run_itself() -> None:
    for seed in range(6):
        whole = run(seed)
        assert run(seed, only=whole.fates).hash == whole.hash


def test_without_fates_nothing_happens() -> None:
    result = run(2, only=())

    assert (result.crashes, result.intents, result.breaches) == (0, 0, [])
    assert not result.fired


def test_a_failing_schedule_is_shrunk_and_kept(tmp_path: Path) -> None:
    with planted("send before journal"):
        seed = next(seed for seed in SEEDS if rules_of(run(seed)))
        whole = run(seed)
        found = shrink(seed, folder=tmp_path)

    assert found is not None
    assert found.result.breaches
    assert found.fates
    assert len(found.fates) <= max(3, len(whole.fates) // 3)
    assert f"seed {seed}" in found.story()
    assert "BREACH" in found.story()
    assert found.place is not None
    assert {"journal.db", "ledger.json", "seed.json", "trace.txt"} <= {file.name for file in found.place.iterdir()}
    told = json.loads((found.place / "seed.json").read_text())
    assert (told["seed"], told["breaches"]) == (seed, found.result.breaches)


def test_a_schedule_that_does_not_fail_has_no_story() -> None:
    assert shrink(3, folder=None) is None
