"""Daily snapshots: made by each good sync, one a day, and asked as of a day."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import event, func, select

from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, NotFound, UnexpectedAnswer
from ibkit.model import Secret, SecType
from ibkit.portfolio.book import Link, PortfolioAccount
from ibkit.portfolio.days import Flows, spans_with, trading_day
from ibkit.portfolio.picture import Picture
from ibkit.store.migrating import for_engine
from ibkit.store.portfolio_days import DAY_TABLES, SqlDays
from ibkit.store.portfolio_syncs import SqlSyncs
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records
from portfolio_room import ACCOUNT, NOW, make_cash, make_picture, make_portfolio, make_position

NAME = "My IRA/1"
FRIDAY = NOW.date()


class Room:
    def __init__(self, database: Any) -> None:
        clock = ManualClock(NOW)
        self.database = database
        self.books = SqlPortfolios(database, clock, lambda: uuid.uuid4().hex)
        self.syncs = SqlSyncs(database, clock, lambda: uuid.uuid4().hex)
        self.days = SqlDays(database, clock)
        self.portfolio_id = "0" * 31 + "1"

    async def connect(self) -> None:
        await self.books.add(make_portfolio(PortfolioAccount(name=NAME), PortfolioAccount(name="By hand")))
        link = Link(account_id=str(ACCOUNT), connection_id="default")
        await self.books.connect("ada", self.portfolio_id, NAME, link, at=NOW)

    async def sync(self, picture: Picture) -> None:
        claim = await self.syncs.claim(self.portfolio_id, NAME)
        try:
            await self.syncs.synced(claim, picture, with_cash=True)
        finally:
            await self.syncs.let_go(claim)

    async def as_of(self, day: date) -> Any:
        return (await self.days.as_of("ada", self.portfolio_id, day))[NAME]

    async def rows(self) -> list[int]:
        def work(connection: Any) -> list[int]:
            there = for_engine(connection)
            return [there.execute(select(func.count()).select_from(table)).scalar_one() for table in DAY_TABLES]

        return await self.database.read(work)  # type: ignore[no-any-return]


@asynccontextmanager
async def room_in(folder: Path) -> AsyncIterator[Room]:
    database = open_records(Secret(f"sqlite:///{folder}/{uuid.uuid4().hex}.db"), parts=("portfolio",))
    try:
        room = Room(database)
        await room.connect()
        yield room
    finally:
        await database.close()


def at(day: int, hour: int = 20) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


def picture(units: str = "10", **given: Any) -> Picture:
    option = make_position(
        "SPY",
        "-1",
        conid=700000101,
        asset_class="OPT",
        terms="SPY    DEC2026 540 P",
        contract_sec_type=SecType.OPTION,
        contract_expiry=date(2026, 12, 18),
        contract_strike=Decimal(540),
        contract_multiplier=Decimal(100),
    )
    euro = replace(make_cash("EUR", "200"), exchange_rate=Decimal("1.25"))
    return make_picture(make_position(quantity=units), option, cash=(make_cash(), euro), **given)


def run(folder: Path, work: Callable[[Room], Any]) -> None:
    async def inside() -> None:
        async with room_in(folder) as room:
            await work(room)

    anyio.run(inside)


@pytest.mark.requirement("FUT-05")
def test_a_good_sync_keeps_the_day_as_the_books_have_it(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        await room.sync(picture())
        day = await room.as_of(FRIDAY)
        held = (await room.books.get("ada", room.portfolio_id)).accounts[0].holdings
        assert day.holdings == held
        assert len(held) == 4
        assert day.cash == {"USD": Decimal(1000), "EUR": Decimal(200)}
        assert (day.worth.day, day.worth.account_id, day.worth.currency) == (FRIDAY, ACCOUNT, "USD")
        assert day.worth.net_liquidation == Decimal("2102.5")
        assert day.worth.table.in_base("EUR") == Decimal("1.25")
        assert day.taken_at == NOW

    run(tmp_path, work)


@pytest.mark.requirement("FUT-05")
def test_as_of_a_day_is_the_newest_snapshot_until_then_and_the_last_sync_of_a_day_wins(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        await room.sync(picture("10", taken_at=at(17)))
        await room.sync(picture("11", taken_at=at(19, 15)))
        await room.sync(picture("12", taken_at=at(19, 20)))
        await room.sync(picture("99", taken_at=at(19, 16)))  # told late: it is the older one
        found = {day: await room.as_of(date(2026, 11, day)) for day in (16, 17, 18, 19, 30)}
        units = {day: None if each is None else each.holdings[0].units for day, each in found.items()}
        assert units == {16: None, 17: 10, 18: 10, 19: 12, 30: 12}
        everything = await room.days.as_of("ada", room.portfolio_id, date(2026, 11, 30))
        assert everything["By hand"] is None
        with pytest.raises(NotFound):
            await room.days.as_of("bob", room.portfolio_id, FRIDAY)

    run(tmp_path, work)


@pytest.mark.requirement("FUT-05")
def test_the_day_is_new_york_s_and_a_weekend_does_not_replace_its_friday(tmp_path: Path) -> None:
    assert trading_day(datetime(2026, 11, 19, 3, tzinfo=UTC)) == date(2026, 11, 18)

    async def work(room: Room) -> None:
        await room.sync(picture("10", taken_at=at(20)))
        await room.sync(picture("11", taken_at=at(22)))  # a Sunday
        assert (await room.as_of(FRIDAY)).holdings[0].units == 10
        await room.sync(picture("12", taken_at=at(28)))  # a Saturday whose Friday has none
        assert (await room.as_of(date(2026, 11, 27))).holdings[0].units == 12
        await room.sync(picture("13", taken_at=at(29)))
        assert (await room.as_of(date(2026, 11, 27))).holdings[0].units == 13
        assert (await room.rows())[0] == 2

    run(tmp_path, work)


@pytest.mark.requirement("FUT-05")
def test_a_second_sync_of_the_same_writes_no_snapshot(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        await room.sync(picture())
        written: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
            if "portfolio_days" in statement and not statement.startswith("SELECT"):
                written.append(statement)

        engine = room.database._engine
        event.listen(engine, "before_cursor_execute", note)
        await room.sync(picture(taken_at=NOW + timedelta(minutes=5)))
        assert written == []
        await room.sync(picture(taken_at=NOW + timedelta(minutes=6), net_liquidation=Decimal(2103)))
        assert len(written) == 1

    run(tmp_path, work)


@pytest.mark.requirement("FUT-05")
def test_a_sync_with_an_absurd_rate_changes_nothing(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        await room.sync(picture())
        before = await room.books.get("ada", room.portfolio_id)
        wrong = replace(make_cash("EUR"), exchange_rate=Decimal("-1.08"))
        with pytest.raises(UnexpectedAnswer, match="rate of exchange of EUR"):
            await room.sync(make_picture(make_position(quantity="99"), cash=(wrong,)))
        after = await room.books.get("ada", room.portfolio_id)
        assert after.accounts[0].holdings == before.accounts[0].holdings
        assert (await room.as_of(FRIDAY)).holdings == before.accounts[0].holdings

    run(tmp_path, work)


@pytest.mark.requirement("FUT-05")
def test_flows_are_known_only_of_the_days_that_somebody_told(tmp_path: Path) -> None:
    first, last = date(2026, 11, 2), date(2026, 11, 20)
    flows = Flows(known=((first, last),), amounts={date(2026, 11, 9): Decimal(500)})
    assert flows.within(date(2026, 11, 1), last) == 500
    assert flows.within(date(2026, 11, 9), last) == 0
    assert flows.within(first, date(2026, 11, 21)) is None
    assert flows.within(date(2026, 10, 30), last) is None
    assert Flows().within(first, last) is None
    gap = spans_with(((first, first),), (date(2026, 11, 4), last))
    assert len(gap) == 2
    assert spans_with(gap, (date(2026, 11, 3), date(2026, 11, 3))) == ((first, last),)

    async def work(room: Room) -> None:
        await room.sync(picture())
        put = room.days.put_flows
        this = ("ada", room.portfolio_id, NAME)
        await put(*this, since=first, until=date(2026, 11, 10), amounts={date(2026, 11, 9): Decimal(500)})
        told = await put(*this, since=date(2026, 11, 9), until=last, amounts={date(2026, 11, 9): Decimal("499.5")})
        assert told == Flows(known=((first, last),), amounts={date(2026, 11, 9): Decimal("499.5")})
        with pytest.raises(ConfigError, match="2026-11-21 is not between"):
            await put(*this, since=first, until=last, amounts={date(2026, 11, 21): Decimal(1)})
        with pytest.raises(ConfigError, match="comes after"):
            await put(*this, since=last, until=first, amounts={})
        with pytest.raises(NotFound):
            await put("bob", room.portfolio_id, NAME, since=first, until=last, amounts={})
        assert (await room.days.worths("ada", room.portfolio_id, first, last))[NAME][1] == told

    run(tmp_path, work)


@pytest.mark.requirement("FUT-05")
def test_days_of_another_account_of_ibkr_s_do_not_count_and_all_go_with_their_account(tmp_path: Path) -> None:
    async def work(room: Room) -> None:
        await room.sync(picture(taken_at=at(17)))
        await room.books.disconnect("ada", room.portfolio_id, NAME, at=NOW)
        other = Link(account_id="DU7654321", connection_id="default")
        await room.books.connect("ada", room.portfolio_id, NAME, other, at=NOW)
        elsewhere = replace(make_position(), account_id="DU7654321")
        await room.sync(make_picture(elsewhere, account_id="DU7654321", taken_at=at(18)))
        worths, _ = (await room.days.worths("ada", room.portfolio_id, date(2026, 11, 1), FRIDAY))[NAME]
        assert [(each.day.day, each.account_id) for each in worths] == [(18, "DU7654321")]
        await room.days.put_flows("ada", room.portfolio_id, NAME, since=FRIDAY, until=FRIDAY, amounts={})
        assert await room.rows() == [2, 0, 1]
        await room.books.delete_account("ada", room.portfolio_id, NAME)
        assert await room.rows() == [0, 0, 0]

    run(tmp_path, work)
