"""`ibkit serve` killed under load; `make chaos-service` does it a hundred times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = 2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="SIGKILL")]


def campaign(*words: str) -> subprocess.CompletedProcess[str]:
    # A process of its own: a client that hangs must not hold up the other tests.
    command = [sys.executable, "-m", "tests.chaos", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540, check=False)


@pytest.mark.requirement("GWY-03", "GWY-06", "TRD-22")
def test_a_service_killed_under_load_doubles_no_order_and_loses_none() -> None:
    ran = campaign("--service-kills", str(KILLS), "--first", "1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{KILLS} kills" in ran.stdout
    assert "0 duplicate, 0 lost, 0 odd answers" in ran.stdout


@pytest.mark.requirement("GWY-03")
def test_a_service_that_forgets_its_keys_when_it_dies_is_found_out() -> None:
    """The judge can tell: a planted mistake."""
    ran = campaign("--service-kills", "1", "--first", "5", "--bug", "forgetful")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert " lost," in ran.stdout
    assert " 0 lost," not in ran.stdout
