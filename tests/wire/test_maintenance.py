"""IBKR's reset windows. LIM-08."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ibkit.wire import maintenance_until


@pytest.mark.requirement("LIM-08")
@pytest.mark.parametrize(
    ("now", "region", "until"),
    [
        ("2026-11-20T06:05", "us", "2026-11-20T06:15"),
        ("2026-11-20T06:15", "us", None),
        ("2026-11-20T20:00", "us", None),
        ("2026-07-20T05:05", "us", "2026-07-20T05:15"),
        ("2026-11-20T00:05", "eu", "2026-11-20T00:15"),
        ("2026-11-20T17:05", "asia", "2026-11-20T17:15"),
        ("2026-11-22T02:30", "us", "2026-11-22T04:00"),
    ],
)
def test_the_window_is_local_to_the_region(now, region, until) -> None:
    found = maintenance_until(datetime.fromisoformat(now).replace(tzinfo=UTC), region)
    assert (found and found.strftime("%Y-%m-%dT%H:%M")) == until
