"""What is remembered, for how long, and what takes it away. Asked over the simulator, counted at its door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import anyio
import pytest

from clients import make_client, permit
from ibkit.client.broker import IbkrBroker
from ibkit.client.caches import Caches, Shelf
from ibkit.client.client import Client
from ibkit.client.holdings import IbkrSource
from ibkit.errors import IbkitError
from ibkit.model import OrderTicket, OrderType, Ref, Side
from ibkit.sim.serving.inprocess import Simulator
from simulators import make_simulator

pytestmark = pytest.mark.requirement("LIM-06")


def calls(simulator: Simulator, endpoint: str) -> int:
    return sum(entry.endpoint == endpoint for entry in simulator.requests)


def on(simulator: Simulator, work: Callable[[Client], Awaitable[None]], *, cache: bool = True) -> None:
    async def main() -> None:
        async with make_client(simulator, cache=cache) as ib:
            await work(ib)

    anyio.run(main)


async def buy(ib: Client, *, account: str, ref: str = "ref-of-a-test") -> None:
    broker = IbkrBroker(ib)
    ticket = OrderTicket(
        account_id=account,
        contract=await ib.underlying("SPY"),
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(1),
    )
    await broker.place(ticket, ref=Ref(ref), permit=permit(ib))


def test_a_second_search_in_a_brokerage_session_asks_nothing() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        first = await ib.search("SPY")
        assert await ib.search("spy") == first
        assert calls(simulator, "SECDEF_SEARCH") == 1
        await simulator.clock.sleep(86_401)
        await ib.connect()
        await ib.search("SPY")
        assert calls(simulator, "SECDEF_SEARCH") == 2

    on(simulator, work)


def test_positions_are_kept_for_five_seconds_and_asked_anew_after_an_order() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        (account,) = await ib.accounts()
        await buy(ib, account=account.account_id, ref="the-first")
        await ib.positions(fresh=True)  # sparse, as a session's first read is
        await ib.positions(fresh=True)
        before = calls(simulator, "POSITIONS")
        held = await ib.positions()
        assert calls(simulator, "POSITIONS") == before
        await buy(ib, account=account.account_id, ref="the-second")
        simulator.clock.advance(0.5)
        await ib.positions()
        assert calls(simulator, "POSITIONS") == before + 1
        await simulator.clock.sleep(4.9)
        await ib.positions()
        assert calls(simulator, "POSITIONS") == before + 1
        await simulator.clock.sleep(0.2)
        await ib.positions()
        assert calls(simulator, "POSITIONS") == before + 2
        assert held

    on(simulator, work)


def test_what_the_risk_controls_ask_passes_by_every_shelf() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        broker = IbkrBroker(ib)
        (account,) = await broker.accounts()
        spy = (await ib.underlying("SPY")).conid
        for name, ask in (
            ("POSITIONS", lambda: broker.positions(account.account_id)),
            ("SNAPSHOT", lambda: broker.quote(spy)),
            ("LIVE_ORDERS", lambda: broker.read_orders(account.account_id)),
            ("TRADES", lambda: broker.read_fills(account.account_id)),
            ("AUTH_STATUS", ib.status),
        ):
            await ask()
            before = calls(simulator, name)
            await ask()
            assert calls(simulator, name) > before, name

    on(simulator, work)


def test_a_quote_is_kept_for_a_second_where_that_will_do() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        spy, qqq = [(await ib.underlying(symbol)).conid for symbol in ("SPY", "QQQ")]
        first = await ib.quote(spy)
        before = calls(simulator, "SNAPSHOT")
        assert await ib.quote(spy, kept=True) == first
        assert calls(simulator, "SNAPSHOT") == before
        both = await ib.quotes((qqq, spy), kept=True)
        assert [quote.conid for quote in both] == [qqq, spy]
        await simulator.clock.sleep(1.1)
        before = calls(simulator, "SNAPSHOT")
        await ib.quote(spy, kept=True)
        assert calls(simulator, "SNAPSHOT") > before

    on(simulator, work)


def test_the_status_is_kept_for_half_a_minute_and_never_over_a_new_session() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        await ib.status()
        before = calls(simulator, "AUTH_STATUS")
        await simulator.clock.sleep(29)
        await ib.status(kept=True)
        assert calls(simulator, "AUTH_STATUS") == before
        ib.caches.new_session()
        await ib.status(kept=True)
        assert calls(simulator, "AUTH_STATUS") == before + 1

    on(simulator, work)


def test_after_another_login_at_the_gateway_positions_are_read_as_the_accounts_are_asked_first() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        await ib.positions()
        simulator.control("POST", "scenario", {"scenario": ["not-authenticated"]})
        simulator.control("POST", "scenario", {"scenario": ["ok"]})
        await ib.keeper.answered_by("another")
        await simulator.clock.sleep(6)
        before = calls(simulator, "PORTFOLIO_ACCOUNTS")
        await ib.positions()
        assert calls(simulator, "PORTFOLIO_ACCOUNTS") == before + 1

    on(simulator, work)


def test_a_failed_read_is_not_kept() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        await ib.accounts()
        simulator.control("POST", "faults", {"fault": "status", "endpoint": "POSITIONS", "params": {"status": 500}})
        with pytest.raises(IbkitError):
            await ib.positions()
        assert await ib.positions() == ()

    on(simulator, work)


def test_a_sync_takes_the_positions_away() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        (account,) = await ib.accounts()
        await ib.positions()
        assert len(ib.caches.positions) == 1
        await IbkrSource(ib).picture(account.account_id)
        assert len(ib.caches.positions) == 0

    on(simulator, work)


def test_without_a_cache_everything_is_asked_again() -> None:
    simulator = make_simulator("ok")

    async def work(ib: Client) -> None:
        for name, ask in (
            ("SECDEF_SEARCH", lambda: ib.search("SPY")),
            ("POSITIONS", ib.positions),
            ("AUTH_STATUS", lambda: ib.status(kept=True)),
        ):
            await ask()
            before = calls(simulator, name)
            await ask()
            assert calls(simulator, name) == before + 1, name
        await simulator.clock.sleep(5.1)
        before = calls(simulator, "PORTFOLIO_ACCOUNTS")
        await ib.accounts()
        assert calls(simulator, "PORTFOLIO_ACCOUNTS") == before + 1

    on(simulator, work, cache=False)


def test_what_was_asked_before_an_order_is_not_put_after_it() -> None:
    caches = Caches()
    turn = caches.positions.turn
    with caches.changing():
        during = caches.positions.turn
        caches.positions.put("DU1", (), 0.0, asked_in=turn)
        assert len(caches.positions) == 0
    caches.positions.put("DU1", (), 0.0, asked_in=during)
    assert len(caches.positions) == 0


def test_a_shelf_keeps_so_many_values_and_no_longer_than_said() -> None:
    shelf: Shelf[int] = Shelf(life_s=5.0, most=2)
    for number in range(3):
        shelf.put(number, number, 10.0)
    assert [shelf.get(number, 14.9) for number in range(3)] == [None, 1, 2]
    assert shelf.get(2, 15.0) is None
