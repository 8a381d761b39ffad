"""`ibkit maintenance`: planned outside market hours and a day ahead, listed, called off; each in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.maintenance import session_within
from ibkit.clock import ManualClock

pytestmark = pytest.mark.requirement("OPS-06")
Run = Callable[..., Any]
NOW = datetime(2026, 12, 3, 15, 0, tzinfo=UTC)  # a Thursday
SATURDAY = "2026-12-05T22:00Z", "2026-12-05T23:00Z"


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    found = ManualClock(NOW)
    with using(Edges(clock=found)):
        yield found


def plan(ibkit: Run, start: str, end: str, *more: str, text: str = "A new version") -> Any:
    return ibkit("maintenance", "plan", "--start", start, "--end", end, "--text", text, *more)


def test_a_window_is_planned_listed_held_over_and_called_off(ibkit: Run, clock: ManualClock) -> None:
    assert ibkit("maintenance", "list").out == "Nothing is planned.\n"
    done = plan(ibkit, *SATURDAY)
    assert done.code == 0, done.err
    name = done.out.split()[1].rstrip(",")
    assert "2026-12-05 22:00 to 2026-12-05 23:00 UTC" in done.out
    plan(ibkit, "2026-12-06T22:00Z", "2026-12-06T23:00+01:00", "--force")
    assert plan(ibkit, "2026-12-06T22:00+01:00", "2026-12-07T00:30+01:00", text="Disks").code == 0

    def states() -> list[str]:
        return [line.split("Z")[-1].split()[0] for line in ibkit("maintenance", "list").out.splitlines()[1:]]

    assert states() == ["planned", "planned"]
    (entry, _) = ibkit("audit", "list", "--action", "maintenance.plan", "--json").json[::-1][:2]
    assert (entry["object"], entry["details"]["text"]) == (name, "A new version")
    clock.advance(timedelta(days=2, hours=7, minutes=30).total_seconds())
    assert states() == ["NOW", "planned"]
    clock.advance(3600)
    assert states() == ["over", "planned"]
    other = ibkit("maintenance", "list", "--json").json[1]["window_id"]
    assert ibkit("maintenance", "cancel", other).out == f"Called off: {other}.\n"
    assert states() == ["over", "called"]
    for gone in (other, name, "none"):
        refused = ibkit("maintenance", "cancel", gone, "--json")
        assert (refused.code, refused.error["code"]) == (2, "E-VALIDATION")


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2026-12-07T15:00Z", "2026-12-07T16:00Z", "market hours (from 2026-12-07 14:30 UTC on)"),
        ("2026-12-07T20:59Z", "2026-12-07T22:00Z", "market hours"),
        ("2026-12-04T22:00Z", "2026-12-04T21:00Z", "not after --start"),
        ("2026-12-04T02:00Z", "2026-12-04T03:00Z", "a day ahead"),
        ("2026-12-05T00:00Z", "2026-12-06T01:00Z", "at most 24 hours"),
        ("2026-12-01T00:00Z", "2026-12-01T01:00Z", "over already"),
        ("2026-12-05T22:00", "2026-12-05T23:00Z", "it has no zone"),
        ("tomorrow", "2026-12-05T23:00Z", "write it as 2026-12-05T22:00Z"),
    ],
)
def test_what_cannot_be_planned_is_exit_code_2_with_the_flag(
    ibkit: Run, clock: ManualClock, start: str, end: str, says: str
) -> None:
    refused = plan(ibkit, start, end)
    assert refused.code == 2
    assert says in refused.err
    assert ibkit("maintenance", "list", "--json").json == []


def test_force_plans_it_sooner_and_in_market_hours(ibkit: Run, clock: ManualClock) -> None:
    assert plan(ibkit, "2026-12-03T15:30Z", "2026-12-03T16:00Z", "--force").code == 0
    assert plan(ibkit, *SATURDAY, text=" ").code == 2


def test_a_session_is_found_whatever_the_season_and_the_zone() -> None:
    def touches(start: str, end: str) -> bool:
        return session_within(datetime.fromisoformat(start), datetime.fromisoformat(end)) is not None

    assert touches("2026-07-06T13:31Z", "2026-07-06T13:45Z")  # summer: 13:30 UTC
    assert not touches("2026-12-07T13:31Z", "2026-12-07T14:30Z")
    assert touches("2026-12-07T13:31Z", "2026-12-07T14:31Z")
    assert not touches("2026-12-05T00:00Z", "2026-12-05T23:59Z"), "a Saturday"
    assert touches("2026-12-06T15:00+09:00", "2026-12-08T00:00+09:00")
