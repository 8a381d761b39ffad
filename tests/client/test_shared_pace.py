"""One pace for all processes of a login: never more calls in a second than IBKR allows the user name."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import make_client
from ibkit.client.client import Client
from ibkit.client.shared_pace import SharedPace
from ibkit.client.shared_slots import SharedSlots
from ibkit.errors import RateLimited
from ibkit.model import AuthMethod
from ibkit.sim.serving.inprocess import Simulator
from ibkit.wire.accounts import ACCOUNT_SUMMARY
from ibkit.wire.endpoint import Lane
from simulators import make_simulator

pytestmark = pytest.mark.requirement("LIM-01")

START = 5000.0
ACCOUNT = {"account_id": "DU1000001"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pace" / "login.calls.json"


def most_in_a_second(sent: list[float]) -> int:
    return max(sum(at <= other < at + 1.0 for other in sent) for at in sent)


def burst(pace: SharedPace, now: float, *, lane: Lane = Lane.DATA, calls: int = 100) -> int:
    """How many calls may go at once."""
    gone = 0
    while gone < calls and pace.take(lane, now) == 0.0:
        gone += 1
    return gone


ASKS = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 0.25), st.sampled_from(Lane)), min_size=1, max_size=200)


@pytest.mark.parametrize("limit", [1, 10, 50])
@given(asks=ASKS)
@settings(max_examples=40, deadline=None)
def test_no_second_ever_holds_more_calls_of_all_than_allowed(tmp_path_factory, limit: int, asks) -> None:
    """Three processes that ask in any order, each again once it has waited as it was told."""
    path = tmp_path_factory.mktemp("pace") / "login.calls.json"
    paces = [SharedPace(path, calls_per_s=limit) for _ in range(3)]
    now, sent = START, []
    asked = [[now, who, lane] for who, _, lane in asks]
    for ask, (_, gap, _) in zip(asked, asks, strict=True):
        ask[0] = now = now + gap
    while asked:
        asked.sort(key=lambda ask: ask[0])
        at, who, lane = asked[0]
        wait = paces[who].take(lane, at)
        if wait:
            asked[0][0] = at + wait
        else:
            sent.append(asked.pop(0)[0])
    assert most_in_a_second(sent) <= limit


def test_the_first_instant_is_one_like_others(path: Path) -> None:
    pace = SharedPace(path, calls_per_s=10)
    assert burst(pace, 0.0) == 10
    assert burst(SharedPace(path, calls_per_s=10), 0.0) == 0


@pytest.mark.parametrize("limit", [10, 50])
def test_one_alone_reaches_the_full_rate(path: Path, limit: int) -> None:
    pace, now, gone = SharedPace(path, calls_per_s=limit), START, 0
    while now < START + 10:
        wait = pace.take(Lane.DATA, now)
        gone += not wait
        now += wait
    assert gone >= limit * 9.7


def test_one_alone_seldom_looks_at_the_file(path: Path) -> None:
    pace = SharedPace(path, calls_per_s=50)
    pace.take(Lane.DATA, START)
    path.unlink()
    assert burst(pace, START, calls=10) == 10
    assert not path.exists()
    pace.take(Lane.DATA, START)
    assert path.exists()


def test_what_was_claimed_and_not_spent_is_given_back(path: Path) -> None:
    pace = SharedPace(path, calls_per_s=50)
    now = START
    for _ in range(10):
        assert pace.take(Lane.DATA, now) == 0.0
        now += 1.1  # longer than a claim is held: the rest of each is lost to nobody
    assert burst(pace, now) == 50


def test_reads_of_several_leave_a_fifth_to_orders_and_session(path: Path) -> None:
    reader, other = SharedPace(path, calls_per_s=10), SharedPace(path, calls_per_s=10)
    assert other.take(Lane.SESSION, START) == 0.0
    now = START + 5
    assert burst(reader, now) == 8
    assert other.take(Lane.DATA, now) > 0.5
    assert other.take(Lane.SESSION, now) == 0.0
    assert other.take(Lane.ORDERS, now) == 0.0
    assert other.take(Lane.ORDERS, now) > 0.5


def test_two_that_read_without_end_both_get_on(path: Path) -> None:
    """Whoever wakes first does not take the whole second."""
    paces = [SharedPace(path, calls_per_s=10) for _ in range(2)]
    due, gone = [START, START], [0, 0]
    while min(due) < START + 60:
        who = due.index(min(due))  # the first is asked first whenever both are due
        wait = paces[who].take(Lane.DATA, due[who])
        gone[who] += not wait
        due[who] += wait
    assert min(gone) > 200
    assert sum(gone) > 420


def test_what_a_killed_one_had_claimed_comes_back(path: Path) -> None:
    killed, other = SharedPace(path, calls_per_s=50), SharedPace(path, calls_per_s=50)
    assert burst(killed, START, calls=3) == 3  # and holds eight more
    assert burst(other, START, lane=Lane.ORDERS) == 50 - 11
    assert burst(other, START + 2.2, lane=Lane.ORDERS) == 50
    assert burst(other, START + 5) == 40, "room is kept for the one that was there"
    assert burst(other, START + 61) == 50


def test_one_that_closed_is_counted_on_no_more(path: Path) -> None:
    closed, other = SharedPace(path, calls_per_s=50), SharedPace(path, calls_per_s=50)
    assert burst(closed, START, calls=3) == 3
    closed.close(START)
    assert burst(other, START) == 47


def test_after_a_restart_of_the_machine_the_seconds_begin_anew(path: Path) -> None:
    before = SharedPace(path, calls_per_s=10)
    burst(before, START)
    before.refused(START, slow_s=60, box_s=600)
    assert burst(SharedPace(path, calls_per_s=10), 30.0) == 10
    assert burst(SharedPace(path, calls_per_s=10), START) > 0, "the box of the other days is not remembered"


@pytest.mark.parametrize("content", [b"not json", b"[1]", b'{"calls": [[1, 2]]}', b"\xff\xfe", b"{" * 9000])
def test_a_file_that_cannot_be_read_holds_nobody_up(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    pace = SharedPace(path, calls_per_s=10)
    assert burst(pace, START) == 10
    assert burst(SharedPace(path, calls_per_s=10), START) == 0


def test_a_place_that_cannot_be_written_holds_nobody_up(path: Path) -> None:
    path.parent.write_text("a file, no folder")
    pace = SharedPace(path, calls_per_s=10)
    assert burst(pace, START, calls=30) == 30, "the process's own pacer stands before it"
    pace.close(START)


def test_one_that_was_stopped_with_the_file_locked_holds_nobody_up_for_long(path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    SharedPace(path, calls_per_s=10).take(Lane.DATA, START)
    pace, now = SharedPace(path, calls_per_s=10), START
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        while wait := pace.take(Lane.DATA, now):
            now += wait
    assert START < now < START + 1


@pytest.mark.requirement("LIM-03")
def test_the_others_are_told_of_the_box_and_of_a_429(path: Path) -> None:
    one, other = SharedPace(path, calls_per_s=10), SharedPace(path, calls_per_s=10)
    one.refused(START, slow_s=60.0, box_s=0.0)
    assert burst(other, START + 1) == 8
    one.refused(START + 2, slow_s=60.0, box_s=600.0)
    assert other.take(Lane.ORDERS, START + 3) == pytest.approx(599)
    assert other.boxed_for(START + 3) == pytest.approx(599)
    assert burst(other, START + 603) == 10


def shared(simulator: Simulator, folder: Path) -> SharedSlots:
    return SharedSlots(folder / "pace" / "login.json", simulator.clock)


def refusals(simulator: Simulator) -> list[str]:
    """Which addresses were answered 429, but for the one that may be asked once a minute."""
    rows = simulator.control("GET", "requests")
    return [row["path"] for row in rows if row["status"] == 429 and row["path"] != "/v1/api/sso/validate"]


async def many(ib: Client, calls: int) -> None:
    for _ in range(calls):
        await ib.request(ACCOUNT_SUMMARY, path=ACCOUNT)


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "calls"), [(AuthMethod.GATEWAY, 75), (AuthMethod.OAUTH1A, 150)])
async def test_two_clients_of_one_login_never_exceed_the_rate(tmp_path: Path, method: AuthMethod, calls: int) -> None:
    simulator = make_simulator()
    async with (
        make_client(simulator, method, shared=shared(simulator, tmp_path)) as one,
        make_client(simulator, method, shared=shared(simulator, tmp_path)) as other,
        anyio.create_task_group() as group,
    ):
        for ib in (one, other) * 6:
            group.start_soon(many, ib, calls // 6)
    assert refusals(simulator) == []


@pytest.mark.anyio
@pytest.mark.requirement("LIM-03")
async def test_the_box_that_one_met_stops_the_others(tmp_path: Path) -> None:
    simulator = make_simulator()
    async with (
        make_client(simulator, AuthMethod.GATEWAY, shared=shared(simulator, tmp_path)) as one,
        make_client(simulator, AuthMethod.GATEWAY, shared=shared(simulator, tmp_path)) as other,
    ):
        one._lanes._pace.refused(simulator.clock.monotonic(), slow_s=60.0, box_s=600.0)  # type: ignore[union-attr]
        before = len(simulator.control("GET", "requests"))
        simulator.advance(2)
        with pytest.raises(RateLimited) as told:
            await other.request(ACCOUNT_SUMMARY, path=ACCOUNT)
        assert told.value.code == "E-PENALTY"
        assert told.value.retry_at is not None
        assert other.paused_until is not None, "the status says until when (F23)"
        assert len(simulator.control("GET", "requests")) == before
