"""Syncs by the clock: what is due, who does it, when it is left alone, and what people are told of failures."""

from __future__ import annotations

import dataclasses
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from clients import make_client
from gateway_service import at_the_gateway
from ibkit.bootstrap.automatic_syncs import AutomaticSyncs, KeptLogin
from ibkit.bootstrap.jobs import JobEngine
from ibkit.bootstrap.portfolios import PortfolioDesk, open_portfolios
from ibkit.client.client import Client
from ibkit.clock import ManualClock
from ibkit.notify.metrics import Metrics
from ibkit.portfolio.book import Link, PortfolioAccount, SyncStatus
from ibkit.portfolio.schedule import due_since, next_sync
from ibkit.sim.serving.inprocess import Simulator
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening
from ibkit.wire import maintenance_until
from ibkit.wire.accounts import LEDGER, PORTFOLIO_SUMMARY, POSITIONS, POSITIONS_NOW
from ibkit.wire.endpoint import Lane
from portfolio_room import ACCOUNT, make_portfolio
from running import until
from service_desks import Served, settings_of
from simulators import make_simulator
from sync_process import BASE
from test_jobs import lines, process_of

EVERY = timedelta(minutes=15)
LINK = Link(account_id="DU1", connection_id="default")


class Queue(JobEngine):
    """The engine without its threads: what is put is carried out at once."""

    def __init__(self, settings: Any, clock: ManualClock) -> None:
        super().__init__(settings, clock)
        self.keys: list[str] = []

    async def put(self, name: str, argument: str, *, key: str, partition: str) -> None:
        if key not in self.keys:
            self.keys.append(key)
            await self._carried_out(name, argument)


@dataclasses.dataclass
class Room:
    simulator: Simulator
    desk: PortfolioDesk
    syncs: AutomaticSyncs
    login: dict[str, Any]
    told: list[Happening]
    metrics: Metrics

    async def link(self) -> Link:
        (portfolio,) = await self.desk.books.of_user("ada")
        found = portfolio.accounts[0].link
        assert found is not None
        return found

    async def next_try(self) -> datetime:
        """When it began. A sync takes time there, and one that fails its repetitions, too."""
        for _ in range(20):
            began = self.simulator.clock.now() + timedelta(minutes=1)
            if await self.passes(minutes=1):
                return began
        raise AssertionError("nothing was tried in twenty minutes")

    async def passes(self, **given: float) -> int:
        self.simulator.clock.advance(timedelta(**given).total_seconds())
        self.syncs._came_back()
        return await self.syncs.look()


@asynccontextmanager
async def room_of(folder: Path, **flags: str) -> AsyncIterator[Room]:
    settings = settings_of(folder, **{"SYNC_INTERVAL_MINUTES": "15", **flags})
    simulator, told, login, metrics = make_simulator(), list[Happening](), {"up": True}, Metrics()

    async def tell(happening: Happening) -> None:
        told.append(happening)

    async with make_client(simulator) as ib, open_portfolios(settings, simulator.clock, tell=tell) as desk:
        await connected(desk, simulator.clock.now())

        def logins() -> tuple[KeptLogin, ...]:
            return (kept(ib, metrics, **login),)

        queue = Queue(settings, simulator.clock)
        syncs = AutomaticSyncs(settings, desk, simulator.clock, logins, of_users=False, engine=queue)
        yield Room(simulator, desk, syncs, login, told, metrics)


def kept(ib: Client, metrics: Metrics, *, up: bool) -> KeptLogin:
    return KeptLogin(user_id="", connection_id="default", client=ib, up=up, metrics=metrics, name="paper oauth1a")


async def connected(desk: PortfolioDesk, at: datetime) -> str:
    there = await desk.books.add(make_portfolio(PortfolioAccount(name="Broker"), portfolio_id=uuid.uuid4().hex))
    link = Link(account_id=str(ACCOUNT), connection_id="default")
    await desk.books.connect("ada", there.portfolio_id, "Broker", link, at=at)
    return there.portfolio_id


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SYN-12")
def test_accounts_have_moments_of_their_own_spread_over_the_interval() -> None:
    now = datetime(2026, 11, 20, 15, tzinfo=UTC)
    began = [due_since(dataclasses.replace(LINK, account_id=f"DU{n}"), now, EVERY) for n in range(1000)]
    assert all(now - EVERY < each <= now for each in began)
    by_minute = [
        sum(now - timedelta(minutes=n + 1) < each <= now - timedelta(minutes=n) for each in began) for n in range(15)
    ]
    assert min(by_minute) > 30
    assert max(by_minute) < 120
    later = [due_since(LINK, now + EVERY * n, EVERY) for n in range(3)]
    assert later == [later[0] + EVERY * n for n in range(3)]


@pytest.mark.requirement("SYN-11")
@pytest.mark.requirement("SYN-12")
def test_the_next_sync_is_told_as_it_will_be() -> None:
    now = datetime(2026, 11, 20, 15, tzinfo=UTC)
    began = due_since(LINK, now, EVERY)

    def of(**given: Any) -> datetime | None:
        return next_sync(dataclasses.replace(LINK, **given), now, EVERY, maintenance_until)

    assert of() == now, "it was never synced"
    assert of(last_sync=began) == began + EVERY
    assert of(last_sync=began - timedelta(seconds=1)) == now
    assert of(last_sync=began - EVERY, status=SyncStatus.ERROR) == began + EVERY, "it was tried in this stretch"
    assert of(sync_enabled=False) is None
    night = datetime(2026, 11, 20, 6, 5, tzinfo=UTC)  # 01:05 in New York
    assert next_sync(LINK, night, EVERY, maintenance_until) == datetime(2026, 11, 20, 6, 15, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.requirement("SYN-12")
async def test_an_account_is_synced_once_in_each_stretch_and_not_where_that_is_off(tmp_path: Path) -> None:
    async with room_of(tmp_path) as room:
        assert await room.syncs.look() == 1
        first = (await room.link()).last_sync
        assert first is not None
        assert timedelta(0) <= room.simulator.clock.now() - first < timedelta(minutes=1)
        assert await room.syncs.look() == 0
        assert sum([await room.passes(minutes=1) for _ in range(30)]) == 2
        assert (await room.link()).last_sync > first
        assert room.metrics.value("ibkit_syncs_total", "paper oauth1a", "worked") == 3
        assert 0 <= room.metrics.value("ibkit_oldest_sync_age_seconds", "paper oauth1a") <= 15 * 60
        ((portfolio),) = await room.desk.books.of_user("ada")
        await room.desk.books.disconnect("ada", portfolio.portfolio_id, "Broker", at=room.simulator.clock.now())
        assert await room.passes(minutes=20) == 0


@pytest.mark.anyio
@pytest.mark.requirement("SYN-12")
async def test_not_within_the_reset_window_and_not_while_the_login_is_down(tmp_path: Path) -> None:
    async with room_of(tmp_path) as room:
        room.login["up"] = False
        assert await room.syncs.look() == 0
        room.login["up"] = True
        assert await room.passes(minutes=0) == 1
        one_at_night = datetime(2026, 11, 21, 6, 0, 30, tzinfo=UTC)
        await room.passes(seconds=(one_at_night - timedelta(minutes=2) - room.simulator.clock.now()).total_seconds())
        assert await room.passes(minutes=2) == 0
        assert sum([await room.passes(minutes=1) for _ in range(13)]) == 0
        assert sum([await room.passes(minutes=1) for _ in range(3)]) == 1


@pytest.mark.anyio
@pytest.mark.requirement("SYN-12")
async def test_at_once_when_a_session_comes_back(tmp_path: Path) -> None:
    async with room_of(tmp_path) as room:
        await room.passes(minutes=0)
        began = due_since(await room.link(), room.simulator.clock.now(), EVERY)
        await room.passes(seconds=(began + EVERY - room.simulator.clock.now()).total_seconds())
        first = (await room.link()).last_sync
        assert await room.passes(minutes=3) == 0
        room.login["up"] = False
        assert await room.passes(minutes=2) == 0
        room.login["up"] = True
        assert await room.passes(minutes=1) == 1, "long before its next stretch"
        assert (await room.link()).last_sync > first
        assert await room.passes(minutes=1) == 0


@pytest.mark.anyio
@pytest.mark.requirement("SYN-12")
async def test_three_failures_in_a_row_are_told_once_and_the_next_good_sync_ends_it(tmp_path: Path) -> None:
    async with room_of(tmp_path) as room:
        fault = {"endpoint": "POSITIONS", "times": 1000, "fault": "html", "params": {"status": 200}}
        room.simulator.control("POST", "faults", fault)
        tried = []
        for count in range(1, 6):
            tried.append(due_since(await room.link(), await room.next_try(), EVERY))
            assert (await room.link()).failures == count
            assert len(room.told) == (count >= 3)
        told = room.told[0]
        assert (told.event, told.user) == (EventKind.SYNC_FAILED, "")
        assert tried == [tried[0] + EVERY * n for n in range(5)], "one try in each stretch"
        assert "E-SYNC-FAILED" in told.message
        assert str(ACCOUNT) not in f"{told}"
        assert room.metrics.value("ibkit_syncs_total", "paper oauth1a", "failed") == 5
        room.simulator.control("DELETE", "faults")
        await room.next_try()
        ends = room.told[1]
        assert (ends.event, ends.subject, ends.only_ends) == (EventKind.SYNC_RESTORED, told.subject, True)
        await room.passes(minutes=15)
        assert len(room.told) == 2


@pytest.mark.requirement("SYN-12")
def test_every_call_of_a_sync_waits_behind_orders() -> None:
    """Fault F115: they share IBKR's limits, and the pacer lets the lanes before it go first."""
    assert {each.lane for each in (PORTFOLIO_SUMMARY, POSITIONS, POSITIONS_NOW, LEDGER)} == {Lane.DATA}


# -- the service ------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    """Twenty seconds there are one here."""
    with at_the_gateway(tmp_path, pace=20.0, SYNC_INTERVAL_MINUTES="1") as found:
        yield found


@pytest.mark.requirement("SYN-12")
def test_by_the_minute_there_are_two_syncs_in_130_seconds_and_one_alert_after_three_failures(service: Served) -> None:
    portfolio = service.ask(
        "POST", "/portfolio", {"name": "Savings", "currency": "USD", "accounts": [{"name": "A"}]}
    ).json
    path = f"/portfolio/{portfolio['id']}/accounts/A"
    assert service.world is not None
    form = {"account_id": str(ACCOUNT), "sync_now": False}
    began = service.world.clock.now()
    assert service.ask("POST", f"{path}/connect/ibkr", form).status == 200

    def link() -> dict[str, Any]:
        return service.ask("GET", f"{path}/sync-status").json["connection"]  # type: ignore[no-any-return]

    first = until(lambda: link()["last_sync"], what="the first sync")
    second = until(lambda: link()["last_sync"] != first and link()["last_sync"], what="the second sync")
    # The engine itself is started for the first account; that takes a second or more, twenty and more there.
    assert datetime.fromisoformat(second) - datetime.fromisoformat(first) < timedelta(seconds=130)
    assert datetime.fromisoformat(second) - began < timedelta(seconds=400)
    planned = datetime.fromisoformat(link()["next_sync"])
    assert planned - service.world.clock.now() < timedelta(seconds=60)

    fault = {"endpoint": "POSITIONS", "times": 1000, "fault": "html", "params": {"status": 200}}
    service.world.control("POST", "faults", fault)
    until(lambda: link()["failures"] >= 4, within_s=60, what="four failures")
    assert link()["sync_status"] == "error"
    until(lambda: alerts(service, "sync.failed"), what="the alert")
    assert alerts(service, "sync.failed") == [(1, False)]
    service.world.control("DELETE", "faults")
    until(lambda: link()["sync_status"] == "success", what="a good sync")
    until(lambda: alerts(service, "sync.failed") == [(1, True)], what="the end of the alert")


def alerts(service: Served, event: str) -> list[tuple[int, bool]]:
    """How often each happened, and whether it is over."""
    assert service.settings is not None
    with sqlite3.connect(service.settings.state_dir / "ibkit.db") as connection:
        query = "SELECT count, closed_at FROM alert_incidents WHERE event = ?"
        return [(count, closed is not None) for count, closed in connection.execute(query, (event,))]


# -- processes --------------------------------------------------------------------------------------------------------


async def accounts_in(folder: Path, count: int) -> None:
    async with open_portfolios(settings_of(folder), ManualClock(BASE)) as desk:
        for _ in range(count):
            await connected(desk, BASE)


async def standing(folder: Path) -> list[tuple[Link, list[str]]]:
    async with open_portfolios(settings_of(folder), ManualClock(datetime.now(UTC) + timedelta(days=9))) as desk:
        return [
            (account.link, [holding.symbol for holding in account.holdings])
            for portfolio in await desk.books.of_user("ada")
            for account in portfolio.accounts
            if account.link is not None
        ]


@pytest.mark.slow
@pytest.mark.requirement("SYN-12")
def test_two_processes_sync_each_account_once_in_each_stretch(tmp_path: Path) -> None:
    anyio.run(accounts_in, tmp_path, 5)
    began = str(datetime.now(UTC).timestamp())
    with process_of(tmp_path, "go", began, "syncs") as (_, one), process_of(tmp_path, "go", began, "syncs") as (_, two):
        until(lambda: len(lines(one) + lines(two)) >= 20 and lines(one) and lines(two), within_s=90, what="20 syncs")
    minute, link = timedelta(minutes=1), Link(account_id=str(ACCOUNT), connection_id="default")
    found = [each.split() for each in lines(one) + lines(two)]
    stretches = [(key, due_since(link, datetime.fromisoformat(at), minute)) for _, key, at in found]
    assert len({key for key, _ in stretches}) == 5
    assert len(stretches) == len(set(stretches))


@pytest.mark.slow
@pytest.mark.requirement("SYN-12")
@pytest.mark.requirement("SYN-15")
def test_a_sync_whose_process_is_killed_is_done_again_by_the_next_and_leaves_no_row_twice(tmp_path: Path) -> None:
    anyio.run(accounts_in, tmp_path, 1)
    began = str(datetime.now(UTC).timestamp())
    with process_of(tmp_path, "hang", began, "syncs") as (process, log):
        until(lambda: lines(log) or process.poll() is not None, what="the middle of a sync")
        process.kill()
    assert anyio.run(standing, tmp_path)[0][0].last_sync is None
    with process_of(tmp_path, "go", began, "syncs") as (process, log):
        until(lambda: lines(log) or process.poll() is not None, within_s=60, what="the sync")
        ((link, symbols),) = anyio.run(standing, tmp_path)
    assert (link.status, link.failures) == (SyncStatus.SUCCESS, 0)
    assert symbols
    assert len(symbols) == len(set(symbols))
