"""Renewal, kept sign-ins, back-off and states. AUTH-09, AUTH-10, AUTH-20."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import anyio.lowlevel
import pytest

from clients import make_auth, make_client
from ibkit.client.auth.grant import Grant
from ibkit.client.backoff import LoginBackoff
from ibkit.errors import AuthError, CredentialsRejected, SessionTaken, SessionUnavailable
from ibkit.model import AuthMethod
from ibkit.wire import SessionEvent, SessionState, event_of_status, move
from ibkit.wire.session import BrokerageStatus
from simulators import make_simulator

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Drawer:
    """A grant store in memory."""

    def __init__(self) -> None:
        self.grant: Grant | None = None
        self.discarded = 0

    def load(self, now: datetime) -> Grant | None:
        return self.grant

    def save(self, grant: Grant) -> None:
        self.grant = grant

    def discard(self) -> None:
        self.grant = None
        self.discarded += 1


def count(simulator, endpoint: str) -> int:
    return len([entry for entry in simulator.requests if entry.endpoint == endpoint])


@pytest.mark.requirement("AUTH-09")
@pytest.mark.parametrize(
    ("method", "call"), [(AuthMethod.OAUTH1A, "LIVE_SESSION_TOKEN"), (AuthMethod.OAUTH2, "SSO_SESSIONS")]
)
def test_a_second_run_uses_the_kept_sign_in_and_the_open_session(method, call) -> None:
    simulator, drawer = make_simulator(), Drawer()

    async def run() -> None:
        async with make_client(simulator, method, grants=drawer) as ib:
            assert (await ib.accounts())[0].account_id == "DU1000001"

    anyio.run(run)
    simulator.advance(60)
    anyio.run(run)
    assert count(simulator, call) == 1
    assert count(simulator, "SSODH_INIT") == 1


@pytest.mark.requirement("AUTH-09", "AUTH-10")
def test_a_kept_sign_in_that_the_broker_refuses_is_thrown_away_and_made_anew() -> None:
    simulator, drawer = make_simulator(), Drawer()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH2, grants=drawer) as ib:
            await ib.accounts()

    anyio.run(run)
    simulator.control("POST", "faults", {"fault": "status", "endpoint": "AUTH_STATUS", "params": {"status": 401}})
    simulator.advance(120)
    anyio.run(run)
    assert drawer.discarded == 1
    assert drawer.grant is not None
    assert count(simulator, "SSO_SESSIONS") == 2


@pytest.mark.requirement("AUTH-10")
def test_a_renewal_by_hand_replaces_the_grant() -> None:
    simulator, drawer = make_simulator(), Drawer()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A, grants=drawer) as ib:
            first = ib.keeper.grant
            await ib.keeper.renew()
            assert ib.keeper.grant is not first
            assert drawer.grant is ib.keeper.grant
            await ib.search("SPY")

    anyio.run(run)


@pytest.mark.requirement("AUTH-20")
def test_the_pause_doubles_from_one_minute_to_thirty() -> None:
    backoff, now, pauses = LoginBackoff(), 0.0, []
    for _ in range(8):
        for _ in range(3):
            backoff.check(now, NOON)
            backoff.failed(SessionUnavailable("no"), now)
        with pytest.raises(AuthError) as caught:
            backoff.check(now, NOON)
        assert caught.value.code == "E-AUTH-BACKOFF"
        until = datetime.fromisoformat(caught.value.details["until"])
        pauses.append((until - NOON).total_seconds() / 60)
        now += pauses[-1] * 60
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.requirement("AUTH-20")
def test_failures_far_apart_do_not_pause_and_a_success_forgets_them() -> None:
    backoff = LoginBackoff()
    for at in (0.0, 200.0, 400.0, 600.0):
        backoff.failed(SessionUnavailable("no"), at)
        backoff.check(at, NOON)
    for at in (1000.0, 1001.0):
        backoff.failed(SessionUnavailable("no"), at)
    backoff.worked()
    backoff.failed(SessionUnavailable("no"), 1002.0)
    backoff.check(1002.0, NOON)


@pytest.mark.requirement("AUTH-20")
def test_refused_credentials_are_final_and_a_taken_session_is_not_counted() -> None:
    backoff = LoginBackoff()
    for _ in range(5):
        backoff.failed(SessionTaken("taken"), 0.0)
        backoff.check(0.0, NOON)
    refused = CredentialsRejected("wrong key", code="E-OA1-CONSUMER")
    backoff.failed(refused, 0.0)
    with pytest.raises(CredentialsRejected) as caught:
        backoff.check(1e9, NOON)
    assert caught.value is refused
    backoff.reset()
    backoff.check(0.0, NOON)


@pytest.mark.parametrize(
    ("told", "event"),
    [
        ({"authenticated": True, "established": True, "connected": True, "competing": False}, SessionEvent.ESTABLISHED),
        ({"authenticated": True, "connected": True}, SessionEvent.ESTABLISHED),
        ({"authenticated": False, "connected": True, "competing": False}, SessionEvent.BROKERAGE_LOST),
        ({"authenticated": False, "connected": False, "competing": False}, SessionEvent.LINK_LOST),
        ({"authenticated": True, "connected": True, "competing": True}, SessionEvent.TAKEN),
        (
            {"passed": False, "authenticated": False, "fail": "Force compete capability must be used together"},
            SessionEvent.TAKEN,
        ),
    ],
)
def test_each_status_object_is_one_event(told, event) -> None:
    assert event_of_status(BrokerageStatus(**told)) is event


def test_the_states_follow_the_table() -> None:
    state = SessionState.LOGGED_OUT
    for event, expected in (
        (SessionEvent.INIT_SENT, SessionState.LOGGED_OUT),
        (SessionEvent.SIGNED_IN, SessionState.READ_ONLY),
        (SessionEvent.INIT_SENT, SessionState.STARTING),
        (SessionEvent.ESTABLISHED, SessionState.UNPRIMED),
        (SessionEvent.ACCOUNTS_ASKED, SessionState.READY),
        (SessionEvent.TAKEN, SessionState.COMPETED),
        (SessionEvent.INIT_SENT, SessionState.STARTING),
        (SessionEvent.UNAVAILABLE, SessionState.MAINTENANCE),
        (SessionEvent.LOGIN_LOST, SessionState.LOGGED_OUT),
    ):
        state = move(state, event)
        assert state is expected


async def _keep(ib, simulator, *, seconds: float) -> None:
    """Let the keep-alive task run for so long on the shared clock."""
    until = simulator.clock.monotonic() + seconds
    async with anyio.create_task_group() as group:
        group.start_soon(ib.keeper.keep_alive, 30.0)
        while simulator.clock.monotonic() < until:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


@pytest.mark.requirement("AUTH-02", "AUTH-10")
def test_a_kept_alive_session_lives_through_hours_without_a_call() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A) as ib:
            await _keep(ib, simulator, seconds=2 * 3600)
            assert ib.state is SessionState.READY
            await ib.search("SPY")

    anyio.run(run)
    assert count(simulator, "SSODH_INIT") == 1
    assert 200 <= count(simulator, "TICKLE") <= 250


@pytest.mark.requirement("AUTH-20")
def test_an_outage_of_the_network_is_no_lost_session() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A) as ib:
            simulator.up = False
            await _keep(ib, simulator, seconds=120)
            simulator.up = True
            await _keep(ib, simulator, seconds=120)
            assert ib.state is SessionState.READY

    anyio.run(run)
    assert count(simulator, "LIVE_SESSION_TOKEN") == 1
    assert count(simulator, "SSODH_INIT") == 1


@pytest.mark.requirement("AUTH-14")
def test_a_session_that_another_login_took_is_not_taken_back() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A) as ib:
            simulator.control("POST", "competing", {"username": "simpaper1", "on": True})
            await _keep(ib, simulator, seconds=180)
            assert ib.state is SessionState.COMPETED

    anyio.run(run)
    assert count(simulator, "SSODH_INIT") == 1


@pytest.mark.requirement("AUTH-16")
def test_a_gateway_call_carries_no_proof() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.GATEWAY) as ib:
            await ib.accounts()

    anyio.run(run)
    assert make_auth(simulator, AuthMethod.GATEWAY).method is AuthMethod.GATEWAY
    assert all("authorization" not in entry.headers for entry in simulator.requests)
