"""What the controls ask of IBKR, against the simulator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from clients import make_client
from ibkit.client import IbkrBroker
from ibkit.errors import IbkitError
from ibkit.model import AccountId, AuthMethod, Conid, Contract, SecType
from ibkit.wire.maintenance import nearest_window
from simulators import make_simulator

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]
SPY = Contract(Conid(756733), "SPY", SecType.STOCK)


@pytest.fixture
async def broker():
    simulator = make_simulator()
    async with make_client(simulator, AuthMethod.OAUTH1A) as ib:
        yield IbkrBroker(ib)


async def test_profit_and_loss_is_asked_twice_at_first_and_then_kept(broker):
    account = (await broker.accounts())[0].account_id

    told = await broker.daily_pnl(account)

    assert told.net_liquidation > 0
    assert told.daily == 0
    assert await broker.daily_pnl(account) is told
    assert await broker.daily_pnl(AccountId("DU9999999")) is None


async def test_trading_hours_of_the_coming_days(broker):
    hours = await broker.trading_hours(SPY)

    assert hours.open_at(datetime(2026, 11, 20, 15, 30, tzinfo=UTC), outside_rth=False)
    assert not hours.open_at(datetime(2026, 11, 20, 21, 30, tzinfo=UTC), outside_rth=False)
    assert hours.open_at(datetime(2026, 11, 20, 21, 30, tzinfo=UTC), outside_rth=True)
    assert await broker.trading_hours(SPY) is hours
    assert await broker.trading_hours(Contract(Conid(1), "NONE", SecType.STOCK)) is None


async def test_rates_against_the_dollar(broker):
    rate = await broker.exchange_rate("EUR")

    assert await broker.exchange_rate("USD") == 1
    assert Decimal("0.5") < rate < 2
    assert await broker.exchange_rate("EUR") is rate


async def test_the_health_of_the_session(broker):
    health = await broker.session_health()

    assert (health.authenticated, health.competing) == (True, False)
    assert health.skew_s is None or abs(health.skew_s) < 60
    assert health.reset_from < health.reset_until
    assert await broker.session_health() is health


async def test_a_list_that_was_complete_serves_for_a_while(broker):
    account = (await broker.accounts())[0].account_id
    await broker.read_orders(account)
    read = await broker.read_orders(account)

    assert read.complete
    assert await broker.recent_orders(account, within_s=30) is read
    assert await broker.recent_orders(account, within_s=-1) is not read


@pytest.mark.requirement("LIM-02")
async def test_lists_that_others_asked_for_are_shared_from_a_moment_on(broker):
    account = (await broker.accounts())[0].account_id
    clock = broker._ib.clock
    assert broker.orders_read_since(account, 0.0) == ()
    await broker.read_orders(account)
    since = clock.monotonic()
    read = [await broker.read_orders(account) for _ in range(2)]

    assert all(mine is known for mine, known in zip(read, broker.orders_read_since(account, since), strict=True))
    assert broker.orders_read_since(account, clock.monotonic() + 0.001) == ()


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        ("2026-11-20T06:05", "2026-11-20T06:00"),  # 1:05 in New York
        ("2026-11-20T05:30", "2026-11-20T06:00"),
        ("2026-11-20T07:00", "2026-11-20T06:00"),
        ("2026-11-20T23:00", "2026-11-21T06:00"),
        ("2026-11-22T01:30", "2026-11-22T02:00"),  # Saturday evening
        ("2026-11-22T03:59", "2026-11-22T02:00"),
        ("2026-07-01T05:10", "2026-07-01T05:00"),
    ],
)
async def test_the_nearest_reset_window(now, begins):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    start, end = nearest_window(moment)

    assert start == datetime.fromisoformat(begins).replace(tzinfo=UTC)
    assert timedelta(0) < end - start <= timedelta(hours=2)


FIRST, SECOND = AccountId("DU1000001"), AccountId("DU1000002")


@pytest.fixture
async def several():
    """A login of two accounts, of which each has its own day: the second lost 250 USD."""
    simulator = make_simulator("multi-account")
    simulator.world.books[SECOND].day_start += 250
    async with make_client(simulator, AuthMethod.GATEWAY) as ib:
        yield simulator, IbkrBroker(ib)


def switches(simulator):
    found = [each for each in simulator.requests if (each.method, each.path) == ("POST", "/v1/api/iserver/account")]
    return len(found)


def brokerage(simulator):
    return simulator.world.logins.gateway.brokerage


@pytest.mark.requirement("CFG-09")
async def test_profit_and_loss_of_another_account_needs_it_to_be_selected(several):
    simulator, broker = several

    assert (await broker.daily_pnl(FIRST)).daily == 0
    assert await broker.daily_pnl(SECOND) is None
    assert switches(simulator) == 0

    told = await broker.daily_pnl(SECOND, select=True)
    assert told.daily == -250
    assert brokerage(simulator).selected_account == SECOND
    assert switches(simulator) == 1

    assert (await broker.daily_pnl(FIRST, select=True)).daily == 0  # of half a minute ago
    assert switches(simulator) == 1
    simulator.advance(31)
    assert (await broker.daily_pnl(FIRST, select=True)).daily == 0
    assert switches(simulator) == 2


@pytest.mark.requirement("CFG-09")
async def test_an_account_that_another_process_deselected_is_selected_again(several):
    simulator, broker = several
    await broker.daily_pnl(FIRST)
    simulator.advance(31)
    brokerage(simulator).selected_account = SECOND

    assert await broker.daily_pnl(FIRST) is None
    assert (await broker.daily_pnl(FIRST, select=True)).daily == 0
    assert brokerage(simulator).selected_account == FIRST


@pytest.mark.requirement("CFG-09")
async def test_an_account_of_nobody_is_not_selected(several):
    simulator, broker = several

    assert await broker.daily_pnl(AccountId("DU9999999"), select=True) is None
    assert switches(simulator) == 0


@pytest.mark.requirement("CFG-09")
async def test_a_selection_that_fails_tells_no_figure_of_the_other_account(several):
    simulator, broker = several
    simulator.control("POST", "faults", {"endpoint": "SWITCH_ACCOUNT", "fault": "status", "params": {"status": 500}})

    with pytest.raises(IbkitError):
        await broker.daily_pnl(SECOND, select=True)
    assert await broker.daily_pnl(SECOND) is None


@pytest.mark.requirement("CFG-09", "TRD-10")
@pytest.mark.parametrize("first_list", ["unprimed", "empty", "kept"])
async def test_lists_prove_nothing_at_first_after_another_account_was_selected(first_list):
    simulator = make_simulator("multi-account", after_switch=first_list)
    async with make_client(simulator, AuthMethod.GATEWAY) as ib:
        broker = IbkrBroker(ib)
        reads = [await broker.read_orders(FIRST) for _ in range(2)]
        fills = [await broker.read_fills(FIRST) for _ in range(2)]
        assert [(read.complete, read.first) for read in reads] == [(False, True), (True, False)]
        assert [read.first for read in fills] == [True, False]

        await broker.daily_pnl(SECOND, select=True)
        reads = [await broker.read_orders(FIRST) for _ in range(2)]
        fills = [await broker.read_fills(FIRST) for _ in range(2)]
        assert [(read.complete, read.first) for read in reads] == [(False, True), (True, False)]
        assert [read.first for read in fills] == [True, False]

        # Another process, or another program of the same session.
        brokerage(simulator).selected_account = FIRST
        read = await broker.read_orders(FIRST)
        assert (read.complete, read.first) == (False, True)
