"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The founders' folder of facts beside the repository; tests that only add a witness skip without it."""
    place = Path(os.environ.get("IBKIT_SHARED", ROOT.parent / "shared"))
    if not (place / "ibkr").is_dir():
        pytest.skip("the folder of recorded answers and vectors is not here")
    return place
