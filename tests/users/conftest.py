"""Users on a SQLite file of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from user_desks import Users, opened, sqlite


@pytest.fixture
async def users(tmp_path: Path) -> AsyncIterator[Users]:
    async with opened(sqlite(tmp_path)) as found:
        yield found
