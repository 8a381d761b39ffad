"""The three clocks of a session. SES-06."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ibkit.wire.maintenance import next_reset
from ibkit.wire.session_clocks import SessionClocks, session_clocks

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def clocks(*, idle_s: float = 10, left_s: float = 80_000, **more: object) -> SessionClocks:
    return session_clocks(
        NOW,
        last_activity_at=NOW - timedelta(seconds=idle_s),
        expires_at=NOW + timedelta(seconds=left_s),
        region="us",
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.requirement("SES-06")
@pytest.mark.parametrize(
    ("now", "region", "at"),
    [
        ("2026-11-20T15:30", "us", "2026-11-21T06:00"),
        ("2026-11-20T05:59", "us", "2026-11-20T06:00"),
        ("2026-11-20T06:00", "us", "2026-11-21T06:00"),
        ("2026-11-20T15:30", "eu", "2026-11-21T00:00"),
        ("2026-11-20T15:30", "asia", "2026-11-20T17:00"),
        ("2026-03-08T05:00", "us", "2026-03-08T06:00"),
        ("2026-03-08T12:00", "us", "2026-03-09T05:00"),  # summer time began in between
    ],
)
def test_the_next_reset_is_at_one_in_the_region(now: str, region: str, at: str) -> None:
    told = next_reset(datetime.fromisoformat(now).replace(tzinfo=UTC), region)
    assert told == datetime.fromisoformat(at).replace(tzinfo=UTC)


@pytest.mark.requirement("SES-06")
def test_each_clock_counts_down_and_the_first_is_named() -> None:
    told = clocks()
    assert (told.idle_seconds_left, told.age_seconds_left, told.ends_first) == (350, 80_000, "idle")
    assert told.next_reset == datetime(2026, 11, 21, 6, tzinfo=UTC)
    assert clocks(left_s=100).ends_first == "age"
    assert clocks(idle_s=1000).idle_seconds_left == 0


@pytest.mark.requirement("SES-06")
def test_what_a_tickle_tells_changes_none_of_the_three() -> None:
    told = clocks(sso_expires=(NOW - timedelta(seconds=4), 460_311))
    assert told.sso_renews_in == 456
    plain = clocks()
    assert plain.sso_renews_in is None
    assert (told.idle_seconds_left, told.age_seconds_left, told.next_reset, told.ends_first) == (
        plain.idle_seconds_left,
        plain.age_seconds_left,
        plain.next_reset,
        plain.ends_first,
    )
