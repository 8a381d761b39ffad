"""The guide names everything the simulator can do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ibkit.sim.faults import FAULTS, SCENARIOS
from ibkit.sim.logins.users import DEFAULT_USERS
from ibkit.sim.serving.control import Control
from ibkit.sim.serving.inprocess import Simulator

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "simulator.md"


@pytest.mark.requirement("TST-01", "DOC-02")
def test_every_scenario_fault_control_and_user_stands_in_the_guide(simulator: Simulator) -> None:
    text = GUIDE.read_text()
    status, answer = Control(simulator.server).handle("GET", "/__sim/no-such-control", b"")
    assert status == 404
    controls = {f"/__sim/{name}" for name in json.loads(answer)["known"]}
    assert len(controls) >= 12
    users = {user.username for user in DEFAULT_USERS}
    missing = [name for name in (*SCENARIOS, *FAULTS, *controls, *users) if name not in text]
    assert missing == []


@pytest.mark.requirement("TST-01", "DOC-02")
def test_every_option_of_the_command_stands_in_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    from ibkit.cli import run

    run(["sim", "--help"])
    options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help", "--version"}
    text = GUIDE.read_text()
    assert len(options) >= 10
    assert [option for option in options if option not in text] == []
