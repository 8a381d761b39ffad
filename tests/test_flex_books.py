"""Flex statements into the books: imported, fetched, every day; what is bad changes nothing."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from desks import Desk
from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.flex_books import FlexDesk
from ibkit.bootstrap.flex_tokens import FlexAccess, FlexTokens
from ibkit.bootstrap.portfolios import STATEMENTS_ONLY, PortfolioDesk, open_portfolios
from ibkit.bootstrap.vaults import open_vault
from ibkit.client.flex import FlexPending
from ibkit.client.flex_statements import statements_of
from ibkit.errors import IbkitError, StorageError
from ibkit.model import Secret
from ibkit.portfolio.book import HoldingSource, Link, PortfolioAccount, SyncStatus
from ibkit.portfolio.statements import flows_of
from ibkit.portfolio.transactions import Origin, Transferred
from ibkit.sim.flex.service import FLEX_PATH
from ibkit.sim.serving.inprocess import CLOUD_URL
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening
from ledger_lives import ACTIVITY, body_of, event, put, trade
from portfolio_room import make_portfolio
from service_desks import settings_of
from sim.test_flex import Moving
from vaults import OLD

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-08")]
NAME = "IRA"


@dataclass
class Room:
    desk: PortfolioDesk
    flex: FlexDesk
    sim: Desk
    folder: Path
    portfolio_id: str
    told: list[Happening]
    tokens: FlexTokens | None = None

    def access(self, username: str, query_id: str, **given: Any) -> FlexAccess:
        return FlexAccess(token=Secret(self.sim.world.flex.token_of(username)), query_id=query_id, **given)

    async def take(self, body: bytes) -> Any:
        return await self.flex.take("ada", self.portfolio_id, NAME, body)

    async def ledger(self, **given: Any) -> Any:
        return await self.desk.ledger_of("ada", self.portfolio_id, NAME, **given)

    def dump(self) -> list[str]:
        """All of the database as statements."""
        with closing(sqlite3.connect(next(self.folder.glob("**/*.db")))) as database:
            return list(database.iterdump())


@asynccontextmanager
async def room(folder: Path, **flags: str) -> AsyncIterator[Room]:
    sim, told = Desk(), list[Happening]()
    given = {
        "FLEX_TOKEN": sim.world.flex.token_of("simpaper1"),
        "FLEX_QUERY_ID": ACTIVITY,
        "FLEX_URL": CLOUD_URL + FLEX_PATH,
        **flags,
    }
    settings = settings_of(folder, **given)
    clock = Moving(sim.simulator)

    async def tell(happening: Happening) -> None:
        told.append(happening)

    with using(Edges(flex=lambda _: sim.simulator.transport("cloud"))):
        async with open_portfolios(settings, clock) as desk, AsyncExitStack() as stack:
            portfolio_id = uuid.uuid4().hex
            await desk.books.add(make_portfolio(PortfolioAccount(name=NAME), portfolio_id=portfolio_id))
            tokens = None
            if settings.general.multi_user:
                tokens = FlexTokens(await stack.enter_async_context(open_vault(settings)))
            flex = FlexDesk(settings, desk, clock, tell=tell, tokens=tokens)
            yield Room(desk, flex, sim, folder, portfolio_id, told, tokens)


async def test_an_account_without_a_session_holds_what_its_statements_tell(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        option = put(sim)
        trade(sim, -1, "3.15", option)
        taken = await found.take(body_of(sim))
        assert (taken.account_id, taken.kept.statements, taken.missing) == (sim.account, 1, ())
        account = await found.desk.books.account("ada", found.portfolio_id, NAME)
        assert account.link is not None
        assert (account.link.connection_id, account.link.status) == (STATEMENTS_ONLY, SyncStatus.SUCCESS)
        held = {each.conid: each for each in account.holdings}
        assert {conid: each.units for conid, each in held.items() if conid} == {756733: 100, option: -1}
        assert all(each.source is HoldingSource.IBKR for each in account.holdings)
        assert held[None].units == sim.book.cash
        assert held[option].multiplier == 100
        assert account.link.total_value is not None
        # An older file later does not bring back what was held then.
        sim.simulator.advance(timedelta(days=3).total_seconds())
        trade(sim, -100, "610.00")
        await found.take(body_of(sim))
        await found.take(body_of(sim, last=sim.world.config.start.date()))
        account = await found.desk.books.account("ada", found.portfolio_id, NAME)
        assert 756733 not in {each.conid for each in account.holdings}
        # `sync` reads the same again, without any login.
        await found.desk.sync("ada", found.portfolio_id, NAME, lambda link: pytest.fail("no login"))  # type: ignore[arg-type,return-value]


async def test_as_of_a_past_moment(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        first, day = sim.now, sim.now.date()
        sim.simulator.advance(timedelta(days=4).total_seconds())
        trade(sim, -40, "650.00")
        event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
        await found.take(body_of(sim))
        for as_of, shares in (
            (None, 60),
            (first, 100),
            (day, 100),
            (first - timedelta(seconds=1), None),
            (sim.now, 60),
        ):
            ledger = await found.ledger(as_of=as_of)
            assert (ledger.held[756733].quantity if ledger.held else None) == shares, as_of
        assert (await found.ledger(as_of=day)).realized() == {}
        now = await found.ledger()
        assert now.cash["USD"] == sim.book.cash
        assert all(each.origin is Origin.ACTIVITY and each.source.digest for each in now.transactions)


def cut(body: bytes) -> bytes:
    return body[: len(body) // 2]


def of_another(body: bytes, account: str) -> bytes:
    return body.replace(account.encode(), b"U7654321")


@pytest.mark.parametrize("linked", ["by hand", "statements", "session"])
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("cut", "E-FLEX-STATEMENT"),
        ("empty", "E-FLEX-STATEMENT"),
        ("another", "E-FLEX-ACCOUNT"),
        ("no figure", "E-FLEX-STATEMENT"),
    ],
)
async def test_what_is_bad_changes_nothing(tmp_path: Path, linked: str, bad: str, code: str) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        if linked == "statements":
            await found.take(body_of(sim))
        elif linked == "session":
            link = Link(account_id=sim.account, connection_id="default")
            await found.desk.books.connect("ada", found.portfolio_id, NAME, link, at=sim.now)
        elif bad == "another":
            return  # an account by hand is nobody's yet
        trade(sim, -50, "601.00")
        body = body_of(sim)
        wrong = {
            "cut": cut(body),
            "empty": b"",
            "another": of_another(body, sim.account),
            "no figure": body.replace(b'quantity="100"', b'quantity=""'),
        }[bad]
        assert wrong != body
        before = found.dump()
        with pytest.raises(IbkitError) as caught:
            await found.take(wrong)
        assert caught.value.code == code
        assert found.dump() == before
        assert (await found.take(body)).kept.added  # the good one is taken afterwards


async def test_an_import_that_fails_leaves_the_account_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting it and keeping the statement are one transaction."""
    async with room(tmp_path) as found:
        trade(found.sim, 100)
        found.sim.simulator.advance(timedelta(days=1).total_seconds())
        before = found.dump()

        def full(*given: Any, **more: Any) -> Any:
            raise StorageError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr("ibkit.store.ledgers.put_transactions", full)
            with pytest.raises(StorageError):
                await found.take(body_of(found.sim))
        assert found.dump() == before
        assert (await found.take(body_of(found.sim))).kept.statements == 1
        assert (await found.desk.books.account("ada", found.portfolio_id, NAME)).link is not None


async def test_a_file_may_tell_of_accounts_that_are_linked_and_of_no_others(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        body = body_of(sim)
        start, end = body.index(b"<FlexStatement "), body.index(b"</FlexStatements>")
        two = body[:end] + of_another(body[start:end], sim.account) + body[end:]
        two = two.replace(b'count="1"', b'count="2"')
        with pytest.raises(IbkitError) as caught:
            await found.take(two)
        assert caught.value.code == "E-CONFLICT"
        await found.take(body)
        before = found.dump()
        with pytest.raises(IbkitError) as caught:
            await found.take(two)
        assert caught.value.code == "E-FLEX-ACCOUNT"
        assert found.dump() == before
        await found.desk.books.change(
            "ada",
            found.portfolio_id,
            lambda there: make_portfolio(
                *there.accounts, PortfolioAccount(name="Other"), portfolio_id=there.portfolio_id
            ),
        )
        link = Link(account_id="U7654321", connection_id=STATEMENTS_ONLY, sync_enabled=False)
        await found.desk.books.connect("ada", found.portfolio_id, "Other", link, at=sim.now)
        taken = await found.take(two)
        assert (taken.account_id, taken.kept.known) == (sim.account, 1)
        other = await found.flex.take("ada", found.portfolio_id, "Other", two)
        assert (other.account_id, len(other.kept.added)) == ("U7654321", 1)


async def test_what_the_query_leaves_out_is_named_with_its_place(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        trade(found.sim, 100)
        section = rb"(?s)<CorporateActions */>|<CorporateActions>.*?</CorporateActions>"
        taken = await found.take(re.sub(section, b"", body_of(found.sim)))
        (line,) = taken.missing
        assert line.startswith("CorporateActions (Client Portal, ")


async def test_it_is_fetched_with_the_token_of_the_settings(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        trade(found.sim, 100)
        found.sim.simulator.advance(timedelta(days=1).total_seconds())
        taken = await found.flex.fetch("ada", found.portfolio_id, NAME)
        assert taken.kept.added
        # By the clock what another day tells is taken, too.
        found.sim.simulator.advance(timedelta(days=2).total_seconds())
        trade(found.sim, -100, "610.00")
        found.sim.simulator.advance(timedelta(days=1).total_seconds())
        await found.flex.daily(found.sim.now)
        assert {each.quantity for each in (await found.ledger()).transactions} == {Decimal(100), Decimal(-100)}
        assert [(each.event, each.only_ends) for each in found.told] == [(EventKind.SYNC_RESTORED, True)]


async def test_a_day_whose_statement_is_not_taken_is_told(tmp_path: Path) -> None:
    """A query that tells of other accounts alone, and one that IBKR refuses."""
    async with room(tmp_path) as found:
        sim = found.sim
        link = Link(account_id="U7654321", connection_id=STATEMENTS_ONLY, sync_enabled=False)
        await found.desk.books.connect("ada", found.portfolio_id, NAME, link, at=sim.now)
        trade(sim, 100)
        sim.simulator.advance(timedelta(days=1).total_seconds())
        before = found.dump()
        await found.flex.daily(sim.now)
        assert found.dump() == before
        sim.world.flex.queries.clear()
        await found.flex.daily(sim.now)
        assert [each.event for each in found.told] == [EventKind.SYNC_FAILED] * 2
        first, second = found.told
        assert first.subject == second.subject
        assert "E-FLEX-ACCOUNT" in first.message
        assert "E-FLEX-QUERY" in second.message
        assert second.remedy
        assert "U7654321" not in repr(found.told)


async def test_what_a_statement_takes_too_long_for_is_said_and_what_came_is_taken_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as found:
        trade(found.sim, 100)
        body = body_of(found.sim)

        async def slow(user_id: str, first: object, last: object) -> bytes:
            await anyio.sleep_forever()
            raise AssertionError

        async def just_in_time(user_id: str, first: object, last: object) -> bytes:
            return body

        monkeypatch.setattr(found.flex, "_fetched", slow)
        with pytest.raises(FlexPending):
            await found.flex.fetch("ada", found.portfolio_id, NAME, within_s=0.01)
        monkeypatch.setattr(found.flex, "_fetched", just_in_time)
        assert (await found.flex.fetch("ada", found.portfolio_id, NAME, within_s=0.01)).outcome is not None


async def test_people_are_told_of_a_token_that_ends_or_is_refused(tmp_path: Path) -> None:
    async with room(tmp_path, FLEX_TOKEN_EXPIRES="2099-01-01") as found:
        assert not await found.flex.remind()
    for index, (day, words) in enumerate((("2026-11-30", "ends on"), ("2020-01-01", "ended on"))):
        async with room(tmp_path / str(index), FLEX_TOKEN_EXPIRES=day) as found:
            assert await found.flex.remind()
            (told,) = found.told
            assert (told.event, words in told.message) == (EventKind.CREDENTIAL_OLD, True)
    async with room(tmp_path / "refused", FLEX_TOKEN="1234567890123456789012") as found:
        with pytest.raises(IbkitError) as caught:
            await found.flex.fetch("ada", found.portfolio_id, NAME)
        assert caught.value.code == "E-FLEX-TOKEN"
        assert [each.event for each in found.told] == [EventKind.CREDENTIAL_OLD]
        assert "1234567890123456789012" not in repr(found.told) + repr(caught.value)


async def test_without_a_token_or_a_query_it_says_what_to_set(tmp_path: Path) -> None:
    for flags, code in (
        ({"FLEX_TOKEN": ""}, "E-FLEX-TOKEN"),
        ({"FLEX_QUERY_ID": ""}, "E-CONFIG"),
    ):
        async with room(tmp_path / code, **flags) as found:
            with pytest.raises(IbkitError) as caught:
                await found.flex.fetch("ada", found.portfolio_id, NAME)
            assert caught.value.code == code
            await found.flex.daily(found.sim.now)  # nothing to do, and no error


SEVERAL = {"ENABLE_MULTI_USER": "true", "ENCRYPTION_KEY": OLD}
BOBS = "10000000201"


@pytest.mark.requirement("VLT-07")
async def test_each_of_several_users_has_a_token_of_their_own(tmp_path: Path) -> None:
    """That of the settings is nobody's then; what fails of one is told to them and stops nobody else's day."""
    async with room(tmp_path, **SEVERAL) as found:
        sim, flex, tokens = found.sim, found.flex, found.tokens
        assert tokens is not None
        bobs = uuid.uuid4().hex
        await found.desk.books.add(make_portfolio(PortfolioAccount(name=NAME), portfolio_id=bobs, user_id="bob"))
        queries = sim.world.flex.queries
        queries[BOBS] = replace(queries[BOBS], accounts=queries[BOBS].accounts[:1])
        assert not await flex.can_fetch("ada")
        with pytest.raises(IbkitError, match="none of yours is kept") as caught:
            await flex.fetch("ada", found.portfolio_id, NAME)
        assert caught.value.code == "E-FLEX-TOKEN"
        await tokens.put("ada", found.access("simpaper1", ACTIVITY))
        await tokens.put("bob", found.access("simpaper2", BOBS))
        assert await flex.can_fetch("ada")
        trade(sim, 100)
        sim.simulator.advance(timedelta(days=1).total_seconds())
        mine = await flex.fetch("ada", found.portfolio_id, NAME)
        theirs = await flex.fetch("bob", bobs, NAME)
        assert mine.account_id == sim.account != theirs.account_id
        assert (mine.kept.added != (), theirs.kept.added) == (True, ())

        sim.simulator.advance(timedelta(days=2).total_seconds())
        trade(sim, -100, "610.00")
        sim.simulator.advance(timedelta(days=1).total_seconds())
        await tokens.put("bob", FlexAccess(token=Secret("1234567890123456789012"), query_id=BOBS))
        expires = (sim.now + timedelta(days=3)).date()
        await tokens.put("ada", found.access("simpaper1", ACTIVITY, expires_on=expires))
        await flex.daily(sim.now)
        assert {each.quantity for each in (await found.ledger()).transactions} == {Decimal(100), Decimal(-100)}
        assert {(each.event, each.user) for each in found.told} == {
            (EventKind.CREDENTIAL_OLD, "ada"),
            (EventKind.SYNC_RESTORED, "ada"),
            (EventKind.CREDENTIAL_OLD, "bob"),
        }
        assert len({each.subject for each in found.told}) == 3
        assert all("/api/settings/flex" in each.remedy for each in found.told if each.remedy)
        await flex.aclose()
        assert sim.world.flex.token_of("simpaper1") not in "".join(found.dump())
        assert await tokens.forget("ada")
        assert not await tokens.forget("ada")
        assert not await flex.can_fetch("ada")
        await flex.daily(sim.now)


async def test_without_a_key_no_users_token_is_kept_and_a_file_is_taken(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        settings = settings_of(tmp_path, ENABLE_MULTI_USER="true", FLEX_TOKEN="1234567890", FLEX_QUERY_ID=ACTIVITY)
        flex = FlexDesk(settings, found.desk, Moving(found.sim.simulator))
        assert not await flex.can_fetch("ada")
        with pytest.raises(IbkitError, match="nobody's, and without ENCRYPTION_KEY none is kept"):
            await flex.fetch("ada", found.portfolio_id, NAME)
        assert (await flex.take("ada", found.portfolio_id, NAME, body_of(found.sim))).outcome is not None


@pytest.mark.requirement("FUT-05")
async def test_income_and_payments_of_the_figures_come_from_statements(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        start = sim.now.date()
        trade(sim, 100)
        event(sim, event="deposit", account=sim.account, amount=5000)
        sim.simulator.advance(timedelta(days=3).total_seconds())
        event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
        event(sim, event="deposit", account=sim.account, amount=-200)
        event(sim, event="fee", account=sim.account, amount=-10)

        async def figures(**given: Any) -> Any:
            return await found.desk.figures("ada", found.portfolio_id, **given)

        assert (await figures()).income is None
        await found.take(body_of(sim))
        assert (await figures()).income == {"dividend": 100, "withholding tax": -15}
        assert (await figures(since=start, until=start)).income == {}
        assert (await figures(since=start - timedelta(days=9))).income is None, "of these days nothing is told"
        flows = (await found.desk.days.worths("ada", found.portfolio_id, start, sim.now.date()))[NAME][1]
        assert flows.known == ((start, sim.now.date()),)
        assert sorted(flows.amounts.values()) == [-200, 5000]


@pytest.mark.requirement("FUT-05")
async def test_what_a_transferred_holding_was_worth_is_not_guessed(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        (told,) = statements_of(body_of(sim))
        assert flows_of(told) == {}
        moved = Transferred(
            account_id=sim.account,
            ids=("transfer-tx:1",),
            at=sim.now,
            day=told.last,
            booked_on=told.last,
            source=told.transactions[0].source,
            currency="USD",
            cash=Decimal(50),
        )
        assert flows_of(replace(told, transactions=(moved,))) == {told.last: 50}
        assert flows_of(replace(told, transactions=(replace(moved, quantity=Decimal(5)),))) is None
        assert flows_of(replace(told, transactions=(replace(moved, currency="EUR"),))) is None
        assert flows_of(replace(told, sections=told.sections - {"Transfers"})) is None
