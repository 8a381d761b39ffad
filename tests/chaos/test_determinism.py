"""A seed is a run: nothing of a schedule may come from the machine's clock, chance, or the order of a set."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPLAYS = int(os.environ.get("CHAOS_REPLAYS", "10"))
HASH_SEEDS = ("0", "1", "4242")

PURE_ROOMS = ("src/ibkit/trading", "src/ibkit/wire", "src/ibkit/model")
OWN_CLOCK = {
    "kill.py": "tier K lives in the real world",
    "service_kills.py": "so does the service that is killed",
    "watch.py": "measures how long runs take, and decides nothing in them",
    "test_determinism.py": "names what it forbids",
}
"""Modules of the harness that may ask the machine, and why."""
ALLOWED = {
    "src/ibkit/trading/selling/hurry.py: anyio.current_time": "a cancel scope's deadline is in the loop's own time",
}
FORBIDDEN = {
    "time": None,
    "random": frozenset({"Random"}),
    "uuid": frozenset({"UUID", "uuid5", "uuid3"}),
    "secrets": frozenset({"compare_digest"}),
}
"""Module → names of it that are harmless (None: none is)."""
FORBIDDEN_CALLS = frozenset(
    {
        ("asyncio", "sleep"),
        ("anyio", "sleep"),
        ("anyio", "sleep_until"),
        ("anyio", "current_time"),
        ("datetime", "now"),
        ("datetime", "utcnow"),
        ("datetime", "today"),
        ("date", "today"),
        ("os", "urandom"),
        ("os", "getrandom"),
    }
)


def _offences(source: str) -> list[str]:
    """`line: name` of each use of a clock or of chance that is nobody's argument."""
    found, modules = [], {}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                for alias in node.names:
                    modules[alias.asname or alias.name] = alias.name
            case ast.ImportFrom(module=str(module)) if module in FORBIDDEN:
                harmless = FORBIDDEN[module] or frozenset()
                bad = [alias.name for alias in node.names if alias.name not in harmless]
                found += [f"{node.lineno}: from {module} import {name}" for name in bad]
            case ast.ImportFrom(module="asyncio" | "anyio" | "os" as module):
                bad = [alias.name for alias in node.names if (module, alias.name) in FORBIDDEN_CALLS]
                found += [f"{node.lineno}: from {module} import {name}" for name in bad]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
        module = modules.get(owner, owner)
        asks = owner in modules and module in FORBIDDEN and node.attr not in (FORBIDDEN[module] or frozenset())
        if asks or (module, node.attr) in FORBIDDEN_CALLS:
            found.append(f"{node.lineno}: {module}.{node.attr}")
    return found


@pytest.mark.requirement("TRD-22")
def test_no_module_of_the_order_path_asks_the_machine_for_time_or_chance() -> None:
    files = [file for room in PURE_ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    files += [file for file in sorted((ROOT / "tests/chaos").glob("*.py")) if file.name not in OWN_CLOCK]
    assert len(files) > 60

    found = [
        f"{file.relative_to(ROOT)}:{offence}"
        for file in files
        for offence in _offences(file.read_text(encoding="utf-8"))
    ]

    assert [each for each in found if re.sub(r":\d+: ", ": ", each) not in ALLOWED] == []


@pytest.mark.parametrize(
    "line",
    [
        "import time\ntime.monotonic()",
        "import time as t\nt.sleep(1)",
        "from time import perf_counter",
        "import random\nrandom.random()",
        "import random\npick = random.choice",
        "from random import shuffle",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid4",
        "import anyio\nawait_ = anyio.sleep",
        "from asyncio import sleep",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now()",
        "import os\nos.urandom(8)",
    ],
)
@pytest.mark.requirement("TRD-22")
def test_the_lint_sees_each_way_to_ask(line: str) -> None:
    assert _offences(line)


@pytest.mark.requirement("TRD-22")
def test_the_lint_lets_seeded_chance_and_given_clocks_pass() -> None:
    source = "import random\nfrom uuid import UUID\ndice = random.Random('7/x')\ndice.random()\nself.clock.now()"
    assert not _offences(source)


@pytest.mark.requirement("TRD-22")
def test_seeds_give_the_same_trace_in_three_processes_with_different_hash_seeds() -> None:
    words = [sys.executable, "-m", "tests.chaos", "--hashes", str(REPLAYS)]
    told = []
    for hash_seed in HASH_SEEDS:
        ran = subprocess.run(
            words,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        told.append(ran.stdout.splitlines())

    assert len(told[0]) == REPLAYS
    assert told[0] == told[1] == told[2]
