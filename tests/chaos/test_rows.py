"""The table of the fault model is whole and true: every row is somebody's, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos import coverage
from chaos.campaign import run_all
from chaos.crashes import POINTS
from chaos.faults import DISK_FAULTS, ORDER_FAULTS, READ_FAULTS, SESSION_FAULTS
from chaos.rows import ROWS
from chaos.stream_schedule import LINE_FAULTS
from chaos.stream_schedule import SESSION_FAULTS as STREAM_SESSION_FAULTS

pytestmark = pytest.mark.requirement("TRD-22")

TESTS = Path(__file__).resolve().parents[1]
STREAM_SEEN = {"slow listener", "late greeting", "Live"}
"""Counters of the stream tier that a row names."""


def test_every_row_of_the_fault_model_is_somebodys() -> None:
    assert list(ROWS) == sorted((f"F{number:02}" for number in range(1, 132)), key=lambda row: int(row[1:]))
    assert not [name for name, row in ROWS.items() if not (row.here or row.tests or row.later)]


def test_what_the_rows_name_exists() -> None:
    here = {fault.name for fault in (*ORDER_FAULTS, *READ_FAULTS)} | {*SESSION_FAULTS, *LINE_FAULTS, *POINTS}
    here |= {f"disk {name}" for name in DISK_FAULTS} | {what for what, _ in coverage.wanted(coverage.FULL_RUN)}
    here |= set(STREAM_SESSION_FAULTS) | STREAM_SEEN
    assert {name for row in ROWS.values() for name in row.here} <= here

    for file, test in {tuple(each.split("::")) for row in ROWS.values() for each in row.tests}:
        assert re.search(rf"def {test}\(", (TESTS / file).read_text(encoding="utf-8")), f"{file} has no {test}"


def test_each_fault_is_named_by_the_row_it_claims() -> None:
    for fault in (*ORDER_FAULTS, *READ_FAULTS):
        assert fault.name in ROWS[fault.row].here, f"{fault.row} does not name {fault.name}"
    for name, (row, _) in LINE_FAULTS.items():
        assert name in ROWS[row].here or row in ("F79", "F80", "F81", "F82", "F83", "F127"), name


def test_a_run_that_meets_too_little_is_told_so() -> None:
    tally = run_all(range(5))
    assert len(tally.unmet()) > 10

    met = dict(coverage.wanted(coverage.FULL_RUN))
    pairs = dict.fromkeys(coverage.pairs_wanted(), coverage.LEAST_PAIRED)
    assert coverage.gaps(met, pairs, coverage.FULL_RUN) == []
    pairs["answer lost", "cancel after Sending"] -= 1
    met["answer lost"] -= 1
    assert coverage.gaps(met, pairs, coverage.FULL_RUN) == [
        "answer lost (49 of 50)",
        "answer lost × cancel after Sending (9 of 10)",
    ]
    assert coverage.never(met) == []
    met["answer lost"] = 0
    assert coverage.never(met) == ["answer lost"]
