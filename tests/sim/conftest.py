"""What the simulator's own tests use."""

from __future__ import annotations

import pytest

from ibkit.sim.serving.inprocess import Simulator
from simulators import make_simulator


@pytest.fixture
def simulator() -> Simulator:
    """Scenario ok, a Friday morning, nobody in the penalty box."""
    return make_simulator()
