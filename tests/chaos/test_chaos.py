"""The harness in small: what every change must pass. `make chaos` runs more of the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import campaign, model
from chaos.bugs import BUGS, WHERE
from chaos.campaign import caught_by, known_seeds, run_all, run_in_portions
from chaos.findings import finding_of
from chaos.schedule import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file locks and signals of POSIX")

SCHEDULES = int(os.environ.get("CHAOS_SCHEDULES", "300"))
KILLS = int(os.environ.get("CHAOS_KILLS", "28"))
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.requirement("TRD-22", "GWY-03", "GWY-06")
def test_no_schedule_of_faults_and_crashes_breaks_a_rule() -> None:
    tally = run_all(range(SCHEDULES), jobs=2)

    assert not tally.failed, {seed: breaches[:2] for seed, breaches in tally.failed.items()}
    assert tally.crashes > SCHEDULES / 2
    for end in ("acked", "filled", "cancelled", "not_placed", "rejected_policy", "unknown_needs_human"):
        assert tally.ends[end] or SCHEDULES < 300, f"never met: {end}"


@pytest.mark.requirement("TRD-22")
def test_schedules_that_failed_once_do_not_fail_again() -> None:
    tally = run_all(known_seeds())

    assert not tally.failed


def test_a_long_run_that_was_ended_goes_on_where_it_was_and_says_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(campaign, "_PORTION", 4)
    whole, kept = run_all(range(10)), tmp_path / "kept.json"

    run_in_portions(range(4), kept)
    halves = run_in_portions(range(10), kept)

    whole.seconds = halves.seconds = 0.0
    assert halves == whole
    assert run_in_portions(range(10), kept).runs == 10
    with pytest.raises(AssertionError, match="of a run from seed 0"):
        run_in_portions(range(1, 10), kept)


@pytest.mark.requirement("TRD-22")
def test_a_seed_gives_the_same_run_byte_for_byte() -> None:
    for seed in range(6):
        first, second = run(seed), run(seed)
        assert first.hash == second.hash
        assert first.trace == second.trace


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("bug", BUGS)
def test_a_mistake_put_in_on_purpose_is_seen(bug: str) -> None:
    """By a schedule that is known to show it, else by one of the first."""
    assert caught_by(bug, range(100)) is not None


@pytest.mark.requirement("TRD-22")
def test_the_thirteen_mistakes_of_the_rules_are_planted() -> None:
    assert list(BUGS)[:13] == [
        "send before journal",
        "retry the POST on a time-out",
        "resend after a crash",
        "an empty list is absence",
        "a time-out means rejected",
        "ignore the session of a read",
        "journal not durable",
        "parked is absent",
        "early reads count",
        "new client order id on a retry",
        "registered means rejected",
        "kill switch checked only at intake",
        "lane without fencing",
    ]
    assert set(BUGS) == set(WHERE), "each has a schedule that is known to show it"


@pytest.mark.requirement("TRD-22")
def test_with_an_honest_broker_only_a_lost_question_leaves_an_order_unknown() -> None:
    """Crashes of our own are the only fault: what cannot be known is a question whose answer was not yet stored."""
    for seed in range(60):
        result = run(seed, crash_only=True)
        news = [breach for breach in result.breaches if not finding_of(breach, result.seed)]
        assert not news, (seed, news)
        questions = sum(
            n for at, n in result.deaths.items() if at.split()[0] in ("K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12")
        )
        assert questions or not result.ends["unknown_needs_human"], seed


@pytest.mark.requirement("TRD-22")
def test_the_model_breaks_no_rule_and_its_planted_mistakes_do() -> None:
    assert model.tally(3_000) == {}
    assert model.tally(300, model.Shape(bug="retry_post_on_timeout"))["S1 duplicate"] > 0
    assert model.tally(300, model.Shape(bug="timeout_means_rejected"))["S7 false negative"] > 0
    late = model.Shape(adversarial=True, resend=True)
    assert model.tally(2_000, late)["S1 duplicate"] > 0, "two assumptions broken at once make a duplicate"
    assert "S1 duplicate" not in model.tally(2_000, model.Shape(adversarial=True))


@pytest.mark.slow
@pytest.mark.requirement("TRD-22", "GWY-06")
def test_real_processes_killed_at_the_crash_points_lose_and_double_nothing() -> None:
    # A process of its own: the victims are forked, and pytest's workers have threads.
    words = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--schedules",
        "0",
        "--models",
        "0",
        "--kills",
        str(KILLS),
        "--known",
        "0",
    ]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 violations" in ran.stdout
