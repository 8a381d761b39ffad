"""Portfolios and their syncs, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, IbkitError, NotFound, TradingError
from ibkit.model import Secret
from ibkit.portfolio.book import (
    Holding,
    HoldingSource,
    Link,
    Portfolio,
    PortfolioAccount,
    Security,
    SyncError,
    SyncStatus,
)
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.picture import RawPayload
from ibkit.portfolio.ports import Claim
from ibkit.store.database import SCHEMA, Database
from ibkit.store.portfolio_syncs import CLAIM_S, SqlSyncs
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records
from portfolio_room import ACCOUNT, NOW, make_cash, make_picture, make_portfolio, make_position

pytestmark = pytest.mark.anyio
LINK = Link(account_id=str(ACCOUNT), connection_id="default")
BY_HAND = PortfolioAccount(
    name="My IRA/1 \u00e9\U0001f680",
    holdings=(Holding(symbol="AAPL", units=Decimal(10)), Holding(symbol="GOLD", units=Decimal("1.5"))),
)
NAME = BY_HAND.name


def new_id() -> str:
    return uuid.uuid4().hex


class Room:
    def __init__(self, database: Database, clock: ManualClock, url: Secret[str], *, on_server: bool) -> None:
        self.database = database
        self.url = url
        self.clock = clock
        self.on_server = on_server
        self.books = SqlPortfolios(database, clock, new_id)
        self.syncs = SqlSyncs(database, clock, new_id)

    @asynccontextmanager
    async def held(self, portfolio_id: str, account_name: str) -> AsyncIterator[Claim]:
        claim = await self.syncs.claim(portfolio_id, account_name)
        try:
            yield claim
        finally:
            await self.syncs.let_go(claim)

    async def age_claims(self) -> None:
        """As if the holder of every claim had been silent for longer than it may."""
        prefix = f"{SCHEMA}." if self.on_server else ""
        if self.on_server:
            statement = f"UPDATE {prefix}portfolio_accounts SET claimed_until = claimed_until - interval '1 minute'"
            await self.database.write(lambda connection: connection.execute(text(statement)))
        else:
            self.clock.advance(CLAIM_S + 1)


@pytest.fixture(params=["sqlite", "postgresql"])
async def room(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Room]:
    on_server = request.param == "postgresql"
    url = request.getfixturevalue("postgres_database") if on_server else f"sqlite:///{tmp_path}/a.db"
    database = open_records(Secret(url), parts=("portfolio",))
    yield Room(database, ManualClock(NOW), Secret(url), on_server=on_server)
    await database.close()


async def made(room: Room, *accounts: PortfolioAccount, link: Link | None = None) -> Portfolio:
    there = await room.books.add(make_portfolio(*(accounts or (BY_HAND,)), portfolio_id=uuid.uuid4().hex))
    if link is not None:
        await room.books.connect("ada", there.portfolio_id, NAME, link, at=NOW)
    return await room.books.get("ada", there.portfolio_id)


async def fails(code: str, wanted: object) -> IbkitError:
    with pytest.raises(IbkitError) as caught:
        await wanted  # type: ignore[misc]
    assert caught.value.code == code, caught.value
    return caught.value


@pytest.mark.requirement("SYN-01")
async def test_what_is_written_is_read_back_and_is_nobody_elses(room: Room) -> None:
    securities = (
        Security(
            symbol="GOLD", name="Gold bar", kind=SecurityKind.COMMODITY, tags=("metal",), unit_price=Decimal("2000.10")
        ),
    )
    given = make_portfolio(BY_HAND, PortfolioAccount(name="Empty"), securities=securities)
    assert await room.books.add(given) == given
    assert await room.books.get("ada", given.portfolio_id) == given
    assert await room.books.of_user("ada") == (given,)
    assert await room.books.of_user("bob") == ()
    for wanted in (
        room.books.get("bob", given.portfolio_id),
        room.books.change("bob", given.portfolio_id, lambda there: there),
        room.books.delete("bob", given.portfolio_id),
        room.books.connect("bob", given.portfolio_id, NAME, LINK, at=NOW),
        room.books.disconnect("bob", given.portfolio_id, NAME, at=NOW),
        room.books.set_aside("bob", given.portfolio_id, NAME),
        room.books.get("ada", "f" * 32),
    ):
        with pytest.raises(NotFound):
            await wanted
    await room.books.delete("ada", given.portfolio_id)
    assert await room.books.of_user("ada") == ()
    await made(room)
    assert (await room.books.delete_of_user("bob"), await room.books.delete_of_user("ada")) == (0, 1)
    assert await room.books.of_user("ada") == ()


@pytest.mark.requirement("SYN-01")
async def test_an_edit_is_kept_whole_or_not_at_all_and_of_two_only_the_first_counts(room: Room) -> None:
    there = await made(room)

    def edit(portfolio: Portfolio) -> Portfolio:
        more = replace(BY_HAND, holdings=(Holding(symbol="AAPL", units=Decimal("0.000001")),))
        return replace(portfolio, name="Old age", currency="EUR", accounts=(PortfolioAccount(name="New"), more))

    after = await room.books.change("ada", there.portfolio_id, edit, seen=1)
    assert (after.name, after.currency, after.version) == ("Old age", "EUR", 2)
    assert [account.name for account in after.accounts] == ["New", NAME]
    assert [(each.symbol, each.units) for each in after.accounts[1].holdings] == [("AAPL", Decimal("0.000001"))]
    await fails("E-CONFLICT", room.books.change("ada", there.portfolio_id, edit, seen=1))

    def twins(portfolio: Portfolio) -> Portfolio:
        return replace(portfolio, name="X", accounts=(PortfolioAccount(name="T"), PortfolioAccount(name="T")))

    await fails("E-VALIDATION", room.books.change("ada", there.portfolio_id, twins))
    assert await room.books.get("ada", there.portfolio_id) == after


@pytest.mark.requirement("SYN-01")
async def test_an_account_is_renamed_and_deleted(room: Room) -> None:
    there = await made(room, BY_HAND, PortfolioAccount(name="B"), link=LINK)
    await fails("E-CONFLICT", room.books.rename_account("ada", there.portfolio_id, NAME, "B"))
    renamed = await room.books.rename_account("ada", there.portfolio_id, NAME, "A")
    account = renamed.account("A")
    assert account is not None
    assert account.link == LINK
    assert len(account.holdings) == 2
    await fails("E-NOT-FOUND", room.books.rename_account("ada", there.portfolio_id, NAME, "C"))
    left = await room.books.delete_account("ada", there.portfolio_id, "A")
    assert [each.name for each in left.accounts] == ["B"]


@pytest.mark.requirement("SYN-04")
async def test_an_account_is_linked_once(room: Room) -> None:
    there = await made(room, BY_HAND, PortfolioAccount(name="B"), link=LINK)
    error = await fails("E-CONFLICT", room.books.connect("ada", there.portfolio_id, NAME, LINK, at=NOW))
    assert error.http_status == 409
    error = await fails("E-CONFLICT", room.books.connect("ada", there.portfolio_id, "B", LINK, at=NOW))
    assert "DU1000001 is linked to account" in error.message
    await room.books.connect("ada", there.portfolio_id, "B", replace(LINK, account_id="DU2"), at=NOW)
    expected = [(NAME, LINK), ("B", replace(LINK, account_id="DU2"))]
    assert [(each.account, each.link) for each in await room.books.linked("ada")] == expected
    assert await room.books.linked("bob") == ()
    (summary,) = await room.books.summaries("ada")
    assert (summary.accounts, summary.holdings) == (2, 2)


@pytest.mark.requirement("SYN-06")
@pytest.mark.requirement("SYN-08")
async def test_a_sync_is_written_at_once_and_a_second_one_writes_nothing(room: Room) -> None:
    there = await made(room, link=LINK)
    picture = make_picture(
        make_position(quantity="12"),
        make_position("ABC", "5", conid=2),
        cash=(make_cash(),),
        raw=(RawPayload(what="/positions", part=0, body=b"[1]"), RawPayload(what="/ledger", body=b"{}")),
    )
    async with room.held(there.portfolio_id, NAME) as claim:
        running = await room.books.get("ada", there.portfolio_id)
        assert running.accounts[0].link is not None
        assert running.accounts[0].link.status is SyncStatus.SYNCING
        first = await room.syncs.synced(claim, picture, with_cash=True)
    assert (first.holdings_count, first.added, first.changed, first.removed) == (3, 3, 0, 1)
    assert (first.new_securities, first.total_value, first.currency) == (3, Decimal("2102.5"), "USD")
    after = await room.books.get("ada", there.portfolio_id)
    assert [(each.symbol, each.units) for each in after.accounts[0].holdings] == [
        ("AAPL", Decimal(12)),
        ("ABC", Decimal(5)),
        ("USD", Decimal(1000)),
    ]
    link = after.accounts[0].link
    assert link is not None
    assert (link.status, link.last_sync, link.total_value) == (SyncStatus.SUCCESS, NOW, Decimal("2102.5"))
    raw = await room.syncs.raw_of("ada", there.portfolio_id, first.run_id)
    assert [(each.what, each.body) for each in raw] == [("/positions", b"[1]"), ("/ledger", b"{}")]

    later = replace(picture, taken_at=NOW + timedelta(minutes=15))
    async with room.held(there.portfolio_id, NAME) as claim:
        second = await room.syncs.synced(claim, later, with_cash=True)
    assert (second.added, second.changed, second.removed, second.new_securities) == (0, 0, 0, 0)
    again = await room.books.get("ada", there.portfolio_id)
    assert again.accounts[0].holdings == after.accounts[0].holdings
    assert again.securities == after.securities
    await fails("E-NOT-FOUND", room.syncs.raw_of("ada", there.portfolio_id, second.run_id))
    await fails("E-NOT-FOUND", room.syncs.raw_of("bob", there.portfolio_id, first.run_id))


async def test_an_answer_is_kept_as_it_came(room: Room) -> None:
    there = await made(room, link=LINK)
    async with room.held(there.portfolio_id, NAME) as claim:
        picture = make_picture(make_position(), raw=(RawPayload(what="/p", body=b"x" * 9),))
        await room.syncs.synced(claim, picture, with_cash=True)
    prefix = f"{SCHEMA}." if room.on_server else ""

    def forge(connection) -> None:
        connection.execute(text(f"UPDATE {prefix}raw_payloads SET what = 'forged'"))

    with pytest.raises((SQLAlchemyError, IbkitError)):
        await room.database.write(forge)


@pytest.mark.requirement("SYN-15")
async def test_of_two_syncs_of_an_account_one_is_busy(room: Room) -> None:
    there = await made(room, BY_HAND, PortfolioAccount(name="B"), link=LINK)
    await room.books.connect("ada", there.portfolio_id, "B", replace(LINK, account_id="DU2"), at=NOW)
    async with room.held(there.portfolio_id, NAME):
        with pytest.raises(TradingError) as caught:
            async with room.held(there.portfolio_id, NAME):
                pass
        assert caught.value.code == "E-SYNC-BUSY"
        async with room.held(there.portfolio_id, "B"):
            pass
    async with room.held(there.portfolio_id, NAME):
        pass
    with pytest.raises(TradingError) as caught:
        async with room.held((await made(room)).portfolio_id, NAME):
            pass
    assert caught.value.code == "E-NOT-CONNECTED"


@pytest.mark.requirement("SYN-15")
async def test_of_many_claims_of_many_processes_one_is_granted_and_of_many_edits_none_is_lost(room: Room) -> None:
    """Each process has a connection of its own, as two services on one server do."""
    there = await made(room, link=LINK)
    databases = [open_records(room.url, parts=("portfolio",)) for _ in range(4)]
    granted: list[Claim] = []

    async def claims(database: Database) -> None:
        with contextlib.suppress(TradingError):  # busy
            granted.append(await SqlSyncs(database, room.clock, new_id).claim(there.portfolio_id, NAME))

    async def adds(database: Database, number: int) -> None:
        books = SqlPortfolios(database, room.clock, new_id)

        def edit(portfolio: Portfolio) -> Portfolio:
            return replace(portfolio, accounts=(*portfolio.accounts, PortfolioAccount(name=f"No {number}")))

        await books.change("ada", there.portfolio_id, edit)

    async with anyio.create_task_group() as tasks:
        for number, database in enumerate(databases * 3):
            tasks.start_soon(claims, database)
            tasks.start_soon(adds, database, number)
    for database in databases:
        await database.close()
    assert len(granted) == 1
    after = await room.books.get("ada", there.portfolio_id)
    assert {each.name for each in after.accounts} == {NAME, *(f"No {number}" for number in range(12))}
    assert after.version == there.version + 12


@pytest.mark.requirement("SYN-15")
async def test_a_sync_that_was_overtaken_writes_nothing(room: Room) -> None:
    """As after a SIGKILL, or a machine that slept: the other one's fence is higher (faults F105, F112)."""
    there = await made(room, link=LINK)
    async with room.held(there.portfolio_id, NAME) as slow:
        await room.age_claims()
        stopped = (await room.books.get("ada", there.portfolio_id)).accounts[0].link
        assert stopped is not None
        assert (stopped.status, stopped.error is not None) == (SyncStatus.ERROR, True)
        await room.syncs.prolong(slow)
        await room.age_claims()
        async with room.held(there.portfolio_id, NAME) as quick:
            await room.syncs.prolong(slow)
            await fails("E-SYNC-BUSY", room.syncs.synced(slow, make_picture(make_position()), with_cash=True))
            error = SyncError(code="E-SYNC-FAILED", message="late", remedy="")
            assert await room.syncs.sync_failed(slow, error, at=NOW) == 0
            await room.syncs.synced(quick, make_picture(make_position(quantity="3")), with_cash=True)
    after = await room.books.get("ada", there.portfolio_id)
    assert [(each.symbol, each.units) for each in after.accounts[0].holdings] == [("AAPL", Decimal(3))]


@pytest.mark.requirement("SYN-06")
@pytest.mark.requirement("SYN-11")
async def test_a_failed_sync_changes_the_status_alone_and_is_counted(room: Room) -> None:
    there = await made(room, link=LINK)
    async with room.held(there.portfolio_id, NAME) as claim:
        await room.syncs.synced(claim, make_picture(make_position()), with_cash=True)
    good = await room.books.get("ada", there.portfolio_id)
    for number in (1, 2, 3):
        async with room.held(there.portfolio_id, NAME) as claim:
            error = SyncError(code="E-SYNC-FAILED", message="x" * 600, remedy="again")
            assert await room.syncs.sync_failed(claim, error, at=NOW) == number
    bad = await room.books.get("ada", there.portfolio_id)
    assert bad.accounts[0].holdings == good.accounts[0].holdings
    link = bad.accounts[0].link
    assert link is not None
    assert (link.status, link.last_sync, link.failures) == (SyncStatus.ERROR, NOW, 3)
    assert link.error == SyncError(code="E-SYNC-FAILED", message="x" * 500, remedy="again")
    async with room.held(there.portfolio_id, NAME) as claim:
        await room.syncs.synced(claim, make_picture(make_position()), with_cash=True)
    healed = (await room.books.get("ada", there.portfolio_id)).accounts[0].link
    assert healed is not None
    assert (healed.status, healed.error, healed.failures) == (SyncStatus.SUCCESS, None, 0)


@pytest.mark.requirement("SYN-13")
@pytest.mark.requirement("SYN-14")
@pytest.mark.parametrize("keep_manual", [False, True])
async def test_manual_holdings_come_back_after_it_was_connected(room: Room, keep_manual: bool) -> None:
    by_hand = (Holding(symbol="AAPL", units=Decimal(10)), Holding(symbol="GOLD", units=Decimal(3)))
    there = await made(room, replace(BY_HAND, holdings=by_hand), link=replace(LINK, keep_manual=keep_manual))
    portfolio_id = there.portfolio_id

    def held(portfolio: Portfolio) -> dict[str, Decimal]:
        return {each.symbol: each.units for each in portfolio.accounts[0].holdings}

    async with room.held(portfolio_id, NAME) as claim:
        await room.syncs.synced(claim, make_picture(make_position(quantity="12")), with_cash=True)
    synced = await room.books.get("ada", portfolio_id)
    assert held(synced) == {"AAPL": Decimal(12)} | ({"GOLD": Decimal(3)} if keep_manual else {})

    def edit(portfolio: Portfolio) -> Portfolio:
        account = replace(portfolio.accounts[0], holdings=(Holding(symbol="AAPL", units=Decimal(1)),))
        return replace(portfolio, accounts=(account,))

    await fails("E-CONFLICT", room.books.change("ada", portfolio_id, edit))
    await fails("E-CONFLICT", room.books.change("ada", portfolio_id, lambda there: replace(there, accounts=())))
    await fails("E-CONFLICT", room.books.restore("ada", portfolio_id, NAME, at=NOW))

    await room.books.disconnect("ada", portfolio_id, NAME, at=NOW)
    alone = await room.books.get("ada", portfolio_id)
    assert alone.accounts[0].link is None
    assert [
        replace(each, source=HoldingSource.IBKR) for each in alone.accounts[0].holdings if each.symbol == "AAPL"
    ] == [each for each in synced.accounts[0].holdings if each.symbol == "AAPL"]
    await fails("E-NOT-CONNECTED", room.books.disconnect("ada", portfolio_id, NAME, at=NOW))
    assert held(await room.books.change("ada", portfolio_id, edit)) == {"AAPL": Decimal(1)}

    assert [each.symbol for each in await room.books.set_aside("ada", portfolio_id, NAME)] == ["AAPL", "GOLD"]
    await room.books.restore("ada", portfolio_id, NAME, at=NOW)
    assert held(await room.books.get("ada", portfolio_id)) == {"AAPL": Decimal(10), "GOLD": Decimal(3)}
    await fails("E-CONFLICT", room.books.restore("ada", portfolio_id, NAME, at=NOW))


@pytest.mark.requirement("SYN-14")
async def test_what_was_put_aside_outlives_a_second_connection(room: Room) -> None:
    """Connected, disconnected and connected again without bringing it back: it is still there, with what came since."""
    there = await made(room, link=LINK)
    portfolio_id = there.portfolio_id
    async with room.held(portfolio_id, NAME) as claim:
        await room.syncs.synced(claim, make_picture(make_position(quantity="12")), with_cash=True)
    await room.books.disconnect("ada", portfolio_id, NAME, at=NOW)

    def edit(portfolio: Portfolio) -> Portfolio:
        account = portfolio.accounts[0]
        more = Holding(symbol="SILVER", units=Decimal(7))
        return replace(portfolio, accounts=(replace(account, holdings=(*account.holdings, more)),))

    await room.books.change("ada", portfolio_id, edit)
    await room.books.connect("ada", portfolio_id, NAME, LINK, at=NOW)
    kept = {each.symbol: each.units for each in await room.books.set_aside("ada", portfolio_id, NAME)}
    assert kept == {"AAPL": Decimal(10), "GOLD": Decimal("1.5"), "SILVER": Decimal(7)}


@pytest.mark.requirement("SYN-01")
async def test_a_new_name_that_is_taken_leaves_the_holdings_as_they_were(room: Room) -> None:
    there = await made(room, BY_HAND, PortfolioAccount(name="B"))

    def edit(portfolio: Portfolio) -> Portfolio:
        return replace(portfolio, accounts=(PortfolioAccount(name=NAME), portfolio.accounts[1]))

    await fails("E-CONFLICT", room.books.change("ada", there.portfolio_id, edit, rename=(NAME, "B")))
    assert await room.books.get("ada", there.portfolio_id) == there


@pytest.mark.requirement("SYN-13")
async def test_disconnecting_while_a_sync_runs_ends_it_without_a_trace(room: Room) -> None:
    there = await made(room, link=LINK)
    async with room.held(there.portfolio_id, NAME) as claim:
        await room.books.disconnect("ada", there.portfolio_id, NAME, at=NOW)
        await fails("E-SYNC-BUSY", room.syncs.synced(claim, make_picture(make_position()), with_cash=True))
    after = await room.books.get("ada", there.portfolio_id)
    assert after.accounts[0].holdings == there.accounts[0].holdings


async def test_settings_of_a_link_are_changed_and_an_account_by_hand_has_none(room: Room) -> None:
    there = await made(room, link=LINK)
    found = await room.books.configure("ada", there.portfolio_id, NAME, {"sync_enabled": False}, at=NOW)
    assert found.link == replace(LINK, sync_enabled=False)
    await room.books.disconnect("ada", there.portfolio_id, NAME, at=NOW)
    with pytest.raises((TradingError, ConfigError)) as caught:
        await room.books.configure("ada", there.portfolio_id, NAME, {"sync_enabled": True}, at=NOW)
    assert caught.value.code == "E-NOT-CONNECTED"


@pytest.mark.requirement("SYN-06")
async def test_old_syncs_and_their_answers_go_and_what_is_pointed_to_stays(room: Room) -> None:
    there = await made(room, link=LINK)
    syncs = SqlSyncs(room.database, room.clock, new_id, keep=timedelta(days=30))

    async def sync(day: int, quantity: str, body: bytes, other: str = "5") -> str:
        async with room.held(there.portfolio_id, NAME) as claim:
            raw = (RawPayload(what="positions", body=body), RawPayload(what="ledger", body=b"always the same"))
            held = (make_position("A", quantity, conid=1), make_position("B", other, conid=2))
            picture = make_picture(*held, taken_at=NOW + timedelta(days=day), raw=raw)
            return (await syncs.synced(claim, picture, with_cash=False)).run_id

    async def kept(run_id: str) -> bool:
        try:
            return bool(await syncs.raw_of("ada", there.portfolio_id, run_id))
        except NotFound:
            return False

    bodies = text(f"SELECT count(*) FROM {SCHEMA + '.' if room.on_server else ''}raw_payloads")

    async def answers() -> int:
        return int(await room.database.read(lambda connection: connection.execute(bodies).scalar_one()))

    first = await sync(0, "1", b"one")
    second = await sync(1, "2", b"two")
    third = await sync(30, "3", b"three")
    assert [await kept(each) for each in (first, second, third)] == [True, True, True]
    assert await answers() == 4
    fourth = await sync(33, "4", b"four")
    # The first told of B as it still is: it stays.
    assert [await kept(each) for each in (first, second, third, fourth)] == [True, False, True, True]
    assert await answers() == 4, "the answer that later syncs read as well is kept"
    await sync(34, "4", b"five", other="6")
    assert [await kept(each) for each in (first, third, fourth)] == [False, True, True]
    assert await answers() == 4
