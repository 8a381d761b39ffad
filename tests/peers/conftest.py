"""One simulator for all the strangers: a process of its own, as they would meet it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from running import RunningSimulator, running_simulator


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    with running_simulator(tmp_path_factory.mktemp("peers") / "sim", "--clock", "real") as running:
        yield running
