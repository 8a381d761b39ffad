"""Ledgers in the store, alike on SQLite and PostgreSQL: kept once, folded as of any moment, corrected with history."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from desks import Desk
from ibkit.client.flex_statements import statements_of
from ibkit.clock import ManualClock
from ibkit.errors import IbkitError, StorageError
from ibkit.model import Secret
from ibkit.portfolio.book import Link, PortfolioAccount
from ibkit.portfolio.days import Flows
from ibkit.portfolio.ledger import Ledger, fold_ledger
from ibkit.portfolio.lots import LotOrder
from ibkit.portfolio.picture import RawPayload
from ibkit.portfolio.transactions import Origin, Paid, Traded, Transaction
from ibkit.store.database import SCHEMA, Database
from ibkit.store.ledgers import Kept, SqlLedgers
from ibkit.store.portfolio_days import SqlDays
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records
from ledger_lives import CONFIRMS, agrees, body_of, event, live, trade
from portfolio_room import NOW, make_portfolio

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-08")]
NAME = "IRA"


class Room:
    def __init__(self, database: Database, *, on_server: bool) -> None:
        clock = ManualClock(NOW)
        self.database = database
        self.prefix = f"{SCHEMA}." if on_server else ""
        self.books = SqlPortfolios(database, clock, lambda: uuid.uuid4().hex)
        self.ledgers = SqlLedgers(database, clock)
        self.portfolio_id = uuid.uuid4().hex

    async def begin(self, account_id: str) -> None:
        await self.books.add(make_portfolio(PortfolioAccount(name=NAME), portfolio_id=self.portfolio_id))
        link = Link(account_id=account_id, connection_id="flex")
        await self.books.connect("ada", self.portfolio_id, NAME, link, at=NOW)

    async def keep(self, body: bytes) -> Kept:
        return await self.ledgers.keep("ada", self.portfolio_id, NAME, body, statements_of(body))

    async def ledger(self, ledgers: SqlLedgers | None = None) -> Ledger:
        told = await (ledgers or self.ledgers).told("ada", self.portfolio_id, NAME)
        rules = replace(told.rules, premium_into_stock=False)
        return fold_ledger(told.account_id, told.transactions, opening=told.opening, rules=rules)

    async def rows(self) -> list[object]:
        tables = ("raw_payloads", "portfolio_statements", "portfolio_transactions", "portfolio_corrections")
        found: list[object] = []
        for table in tables:
            these = text(f"SELECT * FROM {self.prefix}{table}")
            found += await self.database.read(
                lambda connection, these=these: sorted(map(repr, connection.execute(these)))
            )
        return found


@pytest.fixture(params=["sqlite", "postgresql"])
async def room(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Room]:
    on_server = request.param == "postgresql"
    url = request.getfixturevalue("postgres_database") if on_server else f"sqlite:///{tmp_path}/a.db"
    database = open_records(Secret(url), parts=("portfolio",))
    yield Room(database, on_server=on_server)
    await database.close()


@pytest.mark.parametrize("seed", [3, 11, 29])
async def test_what_is_kept_folds_to_what_the_statement_tells(room: Room, seed: int) -> None:
    desk = live(seed).desk
    whole = body_of(desk)
    await room.begin(desk.account)
    for body in (body_of(desk, query=CONFIRMS), whole):
        await room.keep(body)
    (told,) = statements_of(whole)
    agrees(desk, await room.ledger(), told)
    # Another process reads the same out of the rows.
    agrees(desk, await room.ledger(SqlLedgers(room.database, ManualClock(NOW))), told)
    kept = [each for each in await room.ledgers.statements("ada", room.portfolio_id, NAME) if each.cash]
    assert kept == [replace(told, transactions=())]


async def test_a_file_is_kept_once_and_as_it_came(room: Room) -> None:
    desk = Desk()
    trade(desk, 100)
    await room.begin(desk.account)
    body = body_of(desk)
    first = await room.keep(body)
    assert (first.statements, len(first.added), first.digest) == (1, 1, hashlib.sha256(body).hexdigest())
    before = await room.rows()
    again = await room.keep(body)
    assert (again.statements, again.added, again.known) == (0, (), 1)
    assert await room.rows() == before
    assert (await room.ledgers.raw("ada", room.portfolio_id, first.digest)).body == body
    for user, digest in (("bob", first.digest), ("ada", "0" * 64)):
        with pytest.raises(IbkitError) as caught:
            await room.ledgers.raw(user, room.portfolio_id, digest)
        assert caught.value.code == "E-NOT-FOUND"
    these = text(f"UPDATE {room.prefix}raw_payloads SET size = 0")
    with pytest.raises(StorageError):
        await room.database.write(lambda connection: connection.execute(these))


async def test_a_live_execution_is_replaced_by_the_statement_and_stays_in_the_history(room: Room) -> None:
    desk = Desk()
    trade(desk, 100)
    await room.begin(desk.account)
    body = body_of(desk)
    (told,) = statements_of(body)
    (traded,) = told.transactions
    assert isinstance(traded, Traded)

    def live_of(digest: str) -> list[Traded]:
        source = replace(traded.source, digest=digest, section="executions", told_at=None)
        guess = replace(traded, ids=traded.ids[:1], commission=None, origin=Origin.LIVE, source=source)
        return [guess]

    booked = await room.ledgers.book(
        "ada", room.portfolio_id, NAME, RawPayload(what="trades", body=b"[]"), live_of, revision=0
    )
    assert [each.origin for each in booked.added] == [Origin.LIVE]
    kept = await room.keep(body)
    assert (kept.added, len(kept.corrected)) == ((), 1)
    (there,) = (await room.ledger()).transactions
    assert (there.origin, there.source.digest, there.key) == (Origin.ACTIVITY, kept.digest, booked.added[0].key)
    (history,) = await room.ledgers.corrections("ada", room.portfolio_id, NAME)
    assert (history.digest, history.correction) == (kept.digest, kept.corrected[0])
    assert history.correction.before.source.digest == booked.digest
    # The same execution told again live, later, changes nothing.
    again = await room.ledgers.book(
        "ada", room.portfolio_id, NAME, RawPayload(what="trades", body=b"[1]"), live_of, revision=2
    )
    assert (again.added, again.corrected) == ((), ())


async def test_cash_before_the_first_statement_is_such_that_it_agrees(room: Room) -> None:
    """A statement of later days first, then the earlier ones: at no time does a trade count twice."""
    desk = Desk()
    trade(desk, 100)
    desk.simulator.advance(timedelta(days=3).total_seconds())
    trade(desk, -50, "610.00")
    event(desk, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
    await room.begin(desk.account)
    start = desk.world.config.start.date()
    late = body_of(desk, first=start + timedelta(days=2))
    await room.keep(late)
    assert (await room.ledger()).cash["USD"] == desk.book.cash
    await room.keep(body_of(desk, last=start + timedelta(days=1)))
    ledger = await room.ledger()
    assert ledger.cash["USD"] == desk.book.cash
    assert {conid: held.quantity for conid, held in ledger.held.items()} == {756733: 50}
    early = await room.ledgers.told("ada", room.portfolio_id, NAME, until=desk.world.config.start - timedelta(days=9))
    assert (early.transactions, dict(early.opening.cash)) == ((), {})


async def test_rules_are_of_the_account_and_what_is_of_another_account_is_refused(room: Room) -> None:
    desk = Desk()
    trade(desk, 100)
    await room.begin("U7654321")
    with pytest.raises(IbkitError) as caught:
        await room.keep(body_of(desk))
    assert caught.value.code == "E-CONFLICT"
    assert await room.rows() == []
    rules = await room.ledgers.set_rules("ada", room.portfolio_id, NAME, order=LotOrder.LIFO)
    told = await room.ledgers.told("ada", room.portfolio_id, NAME)
    assert (told.rules, told.account_id, told.transactions) == (rules, "U7654321", ())
    await room.books.delete("ada", room.portfolio_id)
    assert await room.rows() == []


async def test_lots_are_picked_among_those_there_are(room: Room) -> None:
    """One that is not there would be passed over, and another one closed in its place."""
    desk = Desk()
    trade(desk, 100)
    trade(desk, 50, "610.00")
    trade(desk, -50, "620.00")
    await room.begin(desk.account)
    await room.keep(body_of(desk))
    first, second, closing = (
        each.key for each in (await room.ledgers.told("ada", room.portfolio_id, NAME)).transactions
    )
    for picks in ({closing: [("exec:nobody", Decimal(1))]}, {"nobody": []}, {closing: [(first, Decimal(0))]}):
        with pytest.raises(IbkitError) as caught:
            await room.ledgers.set_rules("ada", room.portfolio_id, NAME, picks=picks)
        assert caught.value.code == "E-VALIDATION"
    rules = await room.ledgers.set_rules(
        "ada", room.portfolio_id, NAME, order=LotOrder.SPECIFIC, picks={closing: [(second, Decimal(50))]}
    )
    assert rules.picks == {closing: [(second, Decimal(50))]}
    (closed,) = (await room.ledger()).closed
    assert closed.opened_by == second
    assert (await room.ledgers.set_rules("ada", room.portfolio_id, NAME, picks={closing: []})).picks == {}


async def test_flows_are_known_over_a_weekend_by_what_is_believed_and_of_one_account_alone(room: Room) -> None:
    """Statements of single days join; an older file that comes in later does not bring back what was corrected."""
    desk = Desk()
    await room.begin(desk.account)
    start = desk.world.config.start.date()
    friday = start + timedelta(days=(4 - start.weekday()) % 7)
    event(desk, event="deposit", account=desk.account, amount=1000)
    desk.simulator.advance(timedelta(days=14).total_seconds())
    (whole,) = statements_of(body_of(desk))
    (paid,) = (each for each in whole.transactions if each.booked_on == start)
    days = SqlDays(room.database, ManualClock(NOW))

    async def keep(name: str, first: date, last: date, *transactions: Transaction, made: int) -> None:
        told_at = NOW + timedelta(days=made)
        these = tuple(replace(each, source=replace(each.source, told_at=told_at)) for each in transactions)
        digest = hashlib.sha256(name.encode()).hexdigest()
        told = replace(whole, digest=digest, first=first, last=last, transactions=these, made_at=told_at)
        await room.ledgers.keep("ada", room.portfolio_id, NAME, name.encode(), [told])

    async def flows() -> Flows:
        return (await days.worths("ada", room.portfolio_id, date.min, date.max))[NAME][1]

    await keep("friday", friday, friday, made=1)
    await keep("monday", friday + timedelta(days=3), friday + timedelta(days=3), made=1)
    assert (await flows()).within(friday, friday + timedelta(days=3)) == 0
    assert isinstance(paid, Paid)
    await keep("corrected", start, start, replace(paid, amount=Decimal(900)), made=9)
    await keep("older", start, start, paid, made=2)
    assert (await flows()).amounts[start] == 900
    await room.books.disconnect("ada", room.portfolio_id, NAME, at=NOW)
    other = Link(account_id="U7654321", connection_id="flex")
    await room.books.connect("ada", room.portfolio_id, NAME, other, at=NOW)
    assert (await flows()).known == ()
