"""What every test may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import postgres

pytest_plugins = ["canary_watch"]

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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a real PostgreSQL: the one that IBKIT_TEST_POSTGRES or DATABASE_URL names, else one of our own.

    Each worker process that needs one starts one (about a second); a run by files needs one or two.
    """
    given = postgres.given_server()
    if given is not None:
        yield given
    elif sys.platform == "win32":
        pytest.skip("IBKIT_TEST_POSTGRES names no server, and none comes along on Windows")
    else:
        with postgres.server() as address:
            yield address


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The address of an empty database of its own."""
    with postgres.fresh_database(postgres_server) as address:
        yield address
