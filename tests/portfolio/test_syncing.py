"""Syncs of an account at the simulator: whole or not at all, whatever fails at whichever request."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from clients import make_client
from ibkit.client.api import portfolio
from ibkit.client.holdings import IbkrSource
from ibkit.errors import IbkitError, UnexpectedAnswer
from ibkit.model import AuthMethod, Secret
from ibkit.portfolio.book import Link, Portfolio, PortfolioAccount, SyncError, SyncStatus
from ibkit.portfolio.ports import SyncOutcome
from ibkit.portfolio.syncing import Syncer
from ibkit.sim.exchange import holdings as sim_holdings
from ibkit.sim.handlers import portfolio as sim_portfolio
from ibkit.sim.serving.inprocess import Simulator
from ibkit.store.portfolio_syncs import SqlSyncs
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records
from portfolio_room import ACCOUNT, make_portfolio
from simulators import make_simulator

NAME = "Broker"
PAGE = "POSITIONS"
POINTS = ("PORTFOLIO_SUMMARY", "POSITIONS", "POSITIONS_NOW", "LEDGER")
"""Every request of a sync; of the pages each is tried."""
TROUBLES: dict[str, dict[str, Any]] = {
    "html": {"fault": "html", "params": {"status": 200}},
    "500": {"fault": "status", "params": {"status": 500, "body": '{"error":"internal"}'}},
    "503": {"fault": "status", "params": {"status": 503}},
    "404": {"fault": "status", "params": {"status": 404}},
    "401": {"fault": "status", "params": {"status": 401}},
    "429": {"fault": "status", "params": {"status": 429}},
    "half": {"fault": "truncate"},
    "empty": {"fault": "empty-200"},
    "lost": {"fault": "drop-answer"},
    "never": {"fault": "drop-request"},
    "redirect": {"fault": "redirect", "params": {"location": "https://login.example.com/"}},
    "null": {"fault": "status", "params": {"status": 200, "body": "null"}},
    "other shape": {"fault": "status", "params": {"status": 200, "body": '[{"conid":"x","position":"many"}]'}},
    "no rows": {"fault": "status", "params": {"status": 200, "body": "[]"}},
}


class Room:
    def __init__(self, simulator: Simulator, books: SqlPortfolios, syncs: SqlSyncs, source: IbkrSource) -> None:
        self.simulator = simulator
        self.books = books
        self.syncs = syncs
        self.source = source
        self.failed: list[tuple[SyncError, int]] = []
        self.syncer = Syncer(
            books=syncs,
            claims=syncs,
            clock=simulator.clock,
            failed=self._note,
        )
        self.portfolio_id = ""

    async def _note(self, claim: object, error: SyncError, in_a_row: int) -> None:
        self.failed.append((error, in_a_row))

    async def connect(self, **link: Any) -> None:
        there = await self.books.add(make_portfolio(PortfolioAccount(name=NAME), portfolio_id=uuid.uuid4().hex))
        self.portfolio_id = there.portfolio_id
        wanted = Link(**({"account_id": str(ACCOUNT), "connection_id": "default"} | link))
        await self.books.connect("ada", self.portfolio_id, NAME, wanted, at=self.simulator.clock.now())

    async def sync(self, source: Any = None) -> SyncOutcome:
        return await self.syncer.sync(self.portfolio_id, NAME, lambda link: source or self.source)

    async def portfolio(self) -> Portfolio:
        return await self.books.get("ada", self.portfolio_id)

    async def link(self) -> Link:
        found = (await self.portfolio()).accounts[0].link
        assert found is not None
        return found

    def fault(self, endpoint: str, trouble: dict[str, Any], *, after: int = 0, times: int = 1000) -> None:
        self.simulator.control("POST", "faults", {"endpoint": endpoint, "times": times, "after": after, **trouble})

    def mend(self) -> None:
        self.simulator.control("DELETE", "faults")

    def asked(self, endpoint: str) -> int:
        return sum(entry.endpoint == endpoint for entry in self.simulator.requests)


@asynccontextmanager
async def room_of(folder: Path, *scenarios: str, **given: Any) -> AsyncIterator[Room]:
    simulator = make_simulator(*scenarios)
    database = open_records(Secret(f"sqlite:///{folder}/{uuid.uuid4().hex}.db"), parts=("portfolio",))
    try:
        async with make_client(simulator, **given) as ib:
            books = SqlPortfolios(database, simulator.clock, lambda: uuid.uuid4().hex)
            syncs = SqlSyncs(database, simulator.clock, lambda: uuid.uuid4().hex)
            room = Room(simulator, books, syncs, IbkrSource(ib))
            await room.connect()
            yield room
    finally:
        await database.close()


@pytest.mark.requirement("SYN-06")
@pytest.mark.parametrize("method", list(AuthMethod))
def test_all_pages_are_synced_and_again_nothing_changes(tmp_path: Path, method: AuthMethod) -> None:
    async def run() -> None:
        async with room_of(tmp_path, "many-positions", method=method) as room:
            first = await room.sync()
            assert (first.holdings_count, first.added, first.changed, first.removed) == (231, 231, 0, 0)
            assert first.total_value is not None
            assert room.asked(PAGE) >= 3
            before = await room.portfolio()
            second = await room.sync()
            assert (second.added, second.changed, second.removed, second.new_securities) == (0, 0, 0, 0)
            after = await room.portfolio()
            assert [(each.key, each.units) for each in after.accounts[0].holdings] == [
                (each.key, each.units) for each in before.accounts[0].holdings
            ]

    anyio.run(run)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pages of two rows in place of a hundred, at the simulator and here: to quote 230 contracts takes long."""
    monkeypatch.setattr(portfolio, "POSITIONS_PAGE_ROWS", 2)
    monkeypatch.setattr(sim_portfolio, "PAGE", 2)
    monkeypatch.setattr(sim_holdings, "MANY", 5)


@pytest.mark.requirement("SYN-06")
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failure_at_any_request_leaves_every_holding_as_it_was(tmp_path: Path, trouble: str) -> None:
    """All requests of a sync, each of the three pages too: nothing but the status changes, and the next one works."""

    async def run() -> None:
        async with room_of(tmp_path, "many-positions") as room:
            good = await room.sync()
            before = await room.portfolio()
            places = [(endpoint, 0) for endpoint in POINTS] + [(PAGE, 1), (PAGE, 2)]
            failures = 0
            for endpoint, after in places:
                room.fault(endpoint, TROUBLES[trouble], after=after)
                with pytest.raises(IbkitError) as caught:
                    await room.sync()
                room.mend()
                room.simulator.advance(700)  # of a 429 the login keeps out for ten minutes
                failures += 1
                there = await room.portfolio()
                where = f"{trouble} at {endpoint} {after}: {caught.value}"
                assert there.accounts[0].holdings == before.accounts[0].holdings, where
                assert there.securities == before.securities, where
                link = await room.link()
                assert (link.status, link.failures) == (SyncStatus.ERROR, failures), where
                assert link.last_sync == good.last_sync, where
                assert link.error is not None, where
                assert link.error.code == caught.value.code, where
                assert caught.value.remedy, where
            assert [in_a_row for _, in_a_row in room.failed] == list(range(1, failures + 1))
            assert (await room.sync()).holdings_count == good.holdings_count
            assert (await room.link()).failures == 0

    anyio.run(run)


@pytest.mark.requirement("SYN-06")
@pytest.mark.usefixtures("small_pages")
def test_an_error_of_the_second_page_is_a_failed_sync_with_its_reason(tmp_path: Path) -> None:
    async def run() -> None:
        async with room_of(tmp_path, "many-positions") as room:
            await room.sync()
            room.fault(PAGE, TROUBLES["html"], after=1)
            with pytest.raises(UnexpectedAnswer) as caught:
                await room.sync()
            assert caught.value.code == "E-SYNC-FAILED"
            assert caught.value.http_status == 502
            assert "HTML" in caught.value.message
            assert "left unchanged" in str(caught.value.remedy)

    anyio.run(run)


@pytest.mark.requirement("SYN-06")
@pytest.mark.usefixtures("small_pages")
def test_a_position_that_was_sold_is_removed_and_only_by_a_whole_list(tmp_path: Path) -> None:
    async def run() -> None:
        async with room_of(tmp_path, "many-positions") as room:
            await room.sync()
            book = room.simulator.world.books[str(ACCOUNT)]
            conid, held = next((conid, each) for conid, each in book.holdings.items() if each.quantity == 1)
            book.transfer(held.instrument, Decimal(-1), held.cost / held.instrument.multiplier)
            room.simulator.world.books.invalidate(str(ACCOUNT))
            found = await room.sync()
            assert (found.added, found.changed, found.removed) == (0, 0, 1)
            assert all(each.conid != conid for each in (await room.portfolio()).accounts[0].holdings)

    anyio.run(run)


@pytest.mark.requirement("SYN-06")
@pytest.mark.usefixtures("small_pages")
def test_lists_that_do_not_agree_are_read_again_and_then_given_up(tmp_path: Path) -> None:
    """The portfolio cache lags behind a fill; the uncached list does not (§3.3)."""

    async def run() -> None:
        async with room_of(tmp_path, "many-positions") as room:
            await room.sync()
            book = room.simulator.world.books[str(ACCOUNT)]
            held = next(each for each in book.holdings.values() if each.quantity == 1)
            book.transfer(held.instrument, Decimal(2), held.cost / held.instrument.multiplier)  # not told to the cache
            before = room.asked("INVALIDATE_POSITIONS")
            found = await room.sync()
            assert found.changed == 1
            assert room.asked("INVALIDATE_POSITIONS") > before

            row = '[{"conid":"1","position":5,"currency":"USD","assetClass":"STK"}]'
            room.fault("POSITIONS_NOW", {"fault": "status", "params": {"status": 200, "body": row}})
            with pytest.raises(UnexpectedAnswer, match="do not agree"):
                await room.sync()

    anyio.run(run)


@pytest.mark.requirement("SYN-04")
def test_an_account_that_the_login_does_not_see_is_never_asked_for(tmp_path: Path) -> None:
    """IBKR answers as if the login had ended, and a client would sign in for ever. Source: §0."""

    async def run() -> None:
        async with room_of(tmp_path) as room:
            await room.connect(account_id="U7777777")
            with pytest.raises(IbkitError) as caught:
                await room.sync()
            assert caught.value.code == "E-ACC-NONE"
            assert "DU1000001" in caught.value.message
            assert room.asked("PORTFOLIO_SUMMARY") == 0

    anyio.run(run)


@pytest.mark.requirement("SYN-05")
def test_a_gateway_of_another_user_is_not_synced_from(tmp_path: Path) -> None:
    async def run() -> None:
        async with room_of(tmp_path, method=AuthMethod.GATEWAY) as room:
            mine = await room.source.logged_in_as()
            assert mine
            await room.connect(username=mine.upper())
            await room.sync()
            await room.connect(username="somebody-else")
            with pytest.raises(IbkitError) as caught:
                await room.sync()
            assert (caught.value.code, caught.value.http_status) == ("E-SES-USER", 424)
            assert mine in caught.value.message
            assert "somebody-else" in caught.value.message
            assert (await room.link()).status is SyncStatus.ERROR

    anyio.run(run)


@pytest.mark.requirement("SYN-15")
@pytest.mark.usefixtures("small_pages")
def test_of_ten_syncs_at_once_one_works_and_nothing_is_there_twice(tmp_path: Path) -> None:
    async def run() -> None:
        async with room_of(tmp_path, "many-positions") as room:
            results: list[str] = []

            async def one() -> None:
                try:
                    await room.sync()
                    results.append("done")
                except IbkitError as error:
                    results.append(error.code)

            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(one)
            assert sorted(results) == ["E-SYNC-BUSY"] * 9 + ["done"]
            assert len((await room.portfolio()).accounts[0].holdings) == 6
            assert (await room.link()).status is SyncStatus.SUCCESS

    anyio.run(run)


@pytest.mark.requirement("SYN-06")
def test_a_sync_that_is_cancelled_says_so_and_lets_the_account_go(tmp_path: Path) -> None:
    class Hanging(IbkrSource):
        def __init__(self) -> None:
            self.reached = anyio.Event()

        async def picture(self, account_id: Any) -> Any:
            self.reached.set()
            await anyio.sleep_forever()

    async def run() -> None:
        async with room_of(tmp_path) as room:
            source = Hanging()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(room.sync, source)
                await source.reached.wait()
                tasks.cancel_scope.cancel()
            link = await room.link()
            assert (link.status, link.error is not None) == (SyncStatus.ERROR, True)
            await room.sync()
            assert (await room.link()).status is SyncStatus.SUCCESS

    anyio.run(run)


@pytest.mark.requirement("SYN-10")
def test_cash_is_left_out_where_it_is_not_wanted(tmp_path: Path) -> None:
    async def run(with_cash: bool) -> None:
        async with room_of(tmp_path) as room:
            room.syncer = Syncer(books=room.syncs, claims=room.syncs, clock=room.simulator.clock, with_cash=with_cash)
            await room.sync()
            symbols = [each.symbol for each in (await room.portfolio()).accounts[0].holdings]
            assert symbols == (["USD"] if with_cash else [])

    for each in (True, False):
        anyio.run(run, each)
