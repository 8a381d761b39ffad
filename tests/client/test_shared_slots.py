"""Two processes of one login keep IBKR's pace together, by a small file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clients import make_client
from ibkit.client.shared_slots import SharedSlots
from ibkit.clock import ManualClock
from ibkit.model import AccountId, AuthMethod
from ibkit.sim.serving.inprocess import Simulator
from ibkit.wire.accounts import PNL_PARTITIONED
from ibkit.wire.executions import TRADES
from ibkit.wire.marketdata import SNAPSHOT
from ibkit.wire.orders import LIVE_ORDERS
from ibkit.wire.session import SSO_VALIDATE
from simulators import make_simulator

pytestmark = pytest.mark.requirement("LIM-02")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 25, 15, 30, tzinfo=UTC))


def slots(path: Path, clock: ManualClock) -> SharedSlots:
    return SharedSlots(path / "pace" / "login.json", clock)


def test_the_second_process_waits_for_the_slot_that_the_first_took(tmp_path: Path, clock: ManualClock) -> None:
    one, other = slots(tmp_path, clock), slots(tmp_path, clock)
    assert one.reserve(LIVE_ORDERS, 0.0, longest_s=30) == 0.0
    assert other.reserve(LIVE_ORDERS, 0.0, longest_s=30) == pytest.approx(5.0, abs=0.1)
    assert one.reserve(LIVE_ORDERS, 0.0, longest_s=30) == pytest.approx(10.0, abs=0.2)
    clock.advance(16)
    assert other.reserve(LIVE_ORDERS, 0.0, longest_s=30) == 0.0


def test_one_that_wakes_early_meets_no_429_either(tmp_path: Path, clock: ManualClock) -> None:
    """Two processes' calls arrive earlier or later than they were meant to, by some milliseconds each."""
    one, other = slots(tmp_path, clock), slots(tmp_path, clock)
    assert one.reserve(LIVE_ORDERS, 0.0, longest_s=30) == 0.0
    late_s, early_s = 0.03, 0.02  # as seen on a busy machine
    assert other.reserve(LIVE_ORDERS, 0.0, longest_s=30) - early_s > 5.0 + late_s


def test_each_endpoint_has_slots_of_its_own_and_some_have_none(tmp_path: Path, clock: ManualClock) -> None:
    one, other = slots(tmp_path, clock), slots(tmp_path, clock)
    one.reserve(LIVE_ORDERS, 0.0, longest_s=30)
    assert other.reserve(TRADES, 0.0, longest_s=30) == 0.0
    assert other.reserve(PNL_PARTITIONED, 0.0, longest_s=30) == 0.0
    one.reserve(SSO_VALIDATE, 0.0, longest_s=30)
    assert other.reserve(SSO_VALIDATE, 0.0, longest_s=30) == 0.0, "once a minute: not waited for"
    one.reserve(SNAPSHOT, 0.0, longest_s=30)
    assert other.reserve(SNAPSHOT, 0.0, longest_s=30) == 0.0, "several at once: each process by itself"


def test_a_wait_of_ones_own_is_not_made_shorter(tmp_path: Path, clock: ManualClock) -> None:
    assert slots(tmp_path, clock).reserve(LIVE_ORDERS, 3.0, longest_s=30) == 3.0


def test_a_slot_beyond_any_queue_counts_for_nothing(tmp_path: Path, clock: ManualClock) -> None:
    one = slots(tmp_path, clock)
    one.reserve(LIVE_ORDERS, 0.0, longest_s=30)
    assert one.reserve(LIVE_ORDERS, 0.0, longest_s=2) == 0.0


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"/iserver/account/orders": "x"}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_holds_nobody_up(tmp_path: Path, clock: ManualClock, content: bytes) -> None:
    (tmp_path / "pace").mkdir()
    (tmp_path / "pace" / "login.json").write_bytes(content)
    assert slots(tmp_path, clock).reserve(LIVE_ORDERS, 0.0, longest_s=30) == 0.0
    assert slots(tmp_path, clock).reserve(LIVE_ORDERS, 0.0, longest_s=30) > 0.0


def test_a_clock_that_was_set_back_holds_nobody_up(tmp_path: Path, clock: ManualClock) -> None:
    slots(tmp_path, clock).reserve(LIVE_ORDERS, 0.0, longest_s=30)
    earlier = ManualClock(clock.now() - timedelta(hours=1))
    assert slots(tmp_path, earlier).reserve(LIVE_ORDERS, 0.0, longest_s=30) == 0.0


def test_a_place_that_cannot_be_written_holds_nobody_up(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "pace").write_text("a file, no folder")
    assert slots(tmp_path, clock).reserve(LIVE_ORDERS, 0.0, longest_s=30) == 0.0


def refusals(simulator: Simulator) -> list[str]:
    """Which addresses were answered 429, but for the one that may be asked once a minute."""
    rows = simulator.control("GET", "requests")
    return [row["path"] for row in rows if row["status"] == 429 and row["path"] != "/v1/api/sso/validate"]


@pytest.mark.anyio
async def test_two_clients_of_one_login_meet_no_429(tmp_path: Path) -> None:
    """A worker and a command beside it, as they were: the third refusal in a minute shuts the address out."""
    simulator = make_simulator()
    account = AccountId("DU1000001")
    async with (
        make_client(simulator, AuthMethod.GATEWAY, shared=slots(tmp_path, simulator.clock)) as one,
        make_client(simulator, AuthMethod.GATEWAY, shared=slots(tmp_path, simulator.clock)) as other,
    ):
        for _ in range(4):
            await one.orders(account)
            await other.orders(account)
    assert refusals(simulator) == []


@pytest.mark.anyio
async def test_without_the_file_they_do_meet_it() -> None:
    simulator = make_simulator()
    account = AccountId("DU1000001")
    async with make_client(simulator, AuthMethod.GATEWAY) as one, make_client(simulator, AuthMethod.GATEWAY) as other:
        await one.orders(account)
        await other.orders(account)  # refused once, and asked again by itself
    assert "/v1/api/iserver/account/orders" in refusals(simulator)
