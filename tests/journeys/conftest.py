"""Simulators as processes of their own, several, so that journeys that mostly wait can be made side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from running import RunningSimulator, running_simulator

HOW_MANY = 3


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningSimulator]]:
    """Each on a Friday, 10:30 in New York. Reset one before use."""
    with ExitStack() as stack, ThreadPoolExecutor(HOW_MANY) as pool:
        folders = [tmp_path_factory.mktemp(f"world{number}") / "sim" for number in range(HOW_MANY)]
        starting = [running_simulator(folder, "--start", "2026-11-20T15:30:00Z") for folder in folders]
        yield list(pool.map(stack.enter_context, starting))
