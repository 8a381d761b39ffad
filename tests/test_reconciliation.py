"""The inbox of differences: each has its cause and what to do, and goes when there is none any more."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest

from ibkit.bootstrap.reconciliation import accept_difference, fix_difference, inbox_of, inbox_shown
from ibkit.errors import IbkitError
from ibkit.portfolio.ledger import Opening, movements
from ibkit.portfolio.lots import LotOrder
from ibkit.portfolio.picture import RawPayload
from ibkit.portfolio.reconciling import Against, Cause, Figure, Fix, Live, reconcile
from ibkit.portfolio.statements import CashTold, PositionTold, StatementTold
from ibkit.portfolio.transactions import Listed, Origin, RowSource, Traded
from ibkit.store.inbox import InboxItem, InboxState
from ledger_lives import body_of, event, trade
from test_flex_books import NAME, Room, room

SPY = 756733
DAY = timedelta(days=1)


async def inbox(found: Room) -> tuple[InboxItem, ...]:
    return await inbox_of(found.desk, "ada", found.portfolio_id, NAME)


async def fix(found: Room, item: InboxItem, **given: Any) -> tuple[InboxItem, ...]:
    return await fix_difference(found.desk, "ada", found.portfolio_id, NAME, item.item_id, by="ada", **given)


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_what_was_held_before_the_first_statement_is_booked_with_its_cost(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        assert await inbox(found) == ()
        trade(sim, 100)
        sim.simulator.advance((3 * DAY).total_seconds())
        event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
        first = sim.now.date()
        await found.take(body_of(sim, first=first))
        (item,) = await inbox(found)
        told = item.difference
        assert (told.cause, told.fix, told.amount) == (Cause.UNKNOWN_OPENING, Fix.BOOK, 100)
        assert told.day == first - DAY
        assert await fix(found, item, note="bought elsewhere") == ()
        ledger = await found.ledger()
        assert (ledger.held[SPY].quantity, ledger.held[SPY].cost) == (100, told.cost)
        assert ledger.cash["USD"] == sim.book.cash
        (booked,) = (each for each in ledger.transactions if each.origin is Origin.PERSON)
        raw = await found.desk.ledgers.raw("ada", found.portfolio_id, booked.source.digest)
        said = json.loads(raw.body)
        assert (said["booked_by"], said["why"], said["amount"]) == ("ada", "bought elsewhere", "100")
        (over,) = await found.desk.inbox.items("ada", found.portfolio_id, NAME, resolved=True)
        assert (over.item_id, over.state) == (item.item_id, InboxState.RESOLVED)
        with pytest.raises(IbkitError) as caught:
            await fix(found, item)
        assert caught.value.code == "E-CONFLICT"


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_a_difference_is_booked_once_however_many_ask_for_it_at_once(tmp_path: Path) -> None:
    """The clock of each goes on, so that the two bookings are not one payload."""
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        sim.simulator.advance((3 * DAY).total_seconds())
        await found.take(body_of(sim, first=sim.now.date()))
        (item,) = await inbox(found)
        codes: list[str] = []

        async def fixed() -> None:
            try:
                await fix(found, item, note=f"try {len(codes)}")
            except IbkitError as error:
                codes.append(error.code)
            else:
                codes.append("")

        put = found.desk.ledgers.book
        waiting = anyio.Event()

        async def together(*given: Any, **more: Any) -> Any:
            if not waiting.is_set():
                waiting.set()
                await anyio.sleep(0.2)
            sim.simulator.advance(1)
            return await put(*given, **more)

        object.__setattr__(found.desk.ledgers, "book", together)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fixed)
            await waiting.wait()
            tasks.start_soon(fixed)
        assert sorted(codes) == ["", "E-CONFLICT"]
        assert (await found.ledger()).held[SPY].quantity == 100
        assert await inbox(found) == ()


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_what_is_booked_without_a_cost_that_anybody_knows_is_asked_for_it(tmp_path: Path) -> None:
    """Else it would be sold with a gain that never was. For cash, and for what goes, none is needed."""
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        sim.simulator.advance((3 * DAY).total_seconds())
        trade(sim, 10, "610.00")
        await found.take(body_of(sim, first=sim.now.date()))
        (item,) = await inbox(found)
        assert (item.difference.amount, item.difference.cost) == (100, None)
        with pytest.raises(IbkitError) as caught:
            await fix(found, item)
        assert (caught.value.code, "--cost" in caught.value.remedy) == ("E-VALIDATION", True)
        assert await fix(found, item, cost=Decimal("63000")) == ()
        assert (await found.ledger()).held[SPY].quantity == 110


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_a_gap_is_named_and_its_statement_fetched(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        start = sim.now.date()
        trade(sim, 100)
        sim.simulator.advance((3 * DAY).total_seconds())
        trade(sim, -40, "610.00")
        middle = sim.now.date()
        sim.simulator.advance((2 * DAY).total_seconds())
        await found.take(body_of(sim, last=start))
        await found.take(body_of(sim, first=sim.now.date()))
        items = await inbox(found)
        assert {each.difference.cause for each in items} == {Cause.GAP}
        assert {each.difference.subject for each in items} == {"statement cash USD", f"statement position {SPY}"}
        told = items[0].difference
        assert told.first is not None
        assert told.last is not None
        assert told.first <= middle <= told.last

        async def fetch(first: date, last: date) -> None:
            await found.take(body_of(sim, first=first, last=last))

        with pytest.raises(IbkitError) as caught:
            await fix(found, items[0])  # there is nothing to fetch with
        assert "Import the statement" in str(caught.value.remedy)
        assert await fix(found, items[0], fetch=fetch) == ()


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_a_missing_section_is_named_until_it_is_told(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
        body = body_of(sim)
        await found.take(re.sub(rb"(?s)<CashTransactions>.*?</CashTransactions>", b"", body))
        (item,) = await inbox(found)
        told = item.difference
        assert (told.cause, told.fix, told.amount) == (Cause.MISSING_SECTION, Fix.SWITCH_ON, 85)
        assert "CashTransactions" in told.why
        with pytest.raises(IbkitError) as caught:
            await fix(found, item)
        assert "Switch the section on" in str(caught.value.remedy)
        await found.take(body)
        assert await inbox(found) == ()


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_what_is_accepted_stays_so_until_it_differs_by_another_amount(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        event(sim, event="fee", account=sim.account, amount=-10)

        def without(body: bytes) -> bytes:
            return re.sub(rb'<CashTransaction [^>]*type="Other Fees"[^>]*/>\s*', b"", body)

        await found.take(without(body_of(sim)))
        (item,) = await inbox(found)
        assert (item.difference.cause, item.difference.fix, item.difference.amount) == (Cause.UNKNOWN, Fix.ADJUST, -10)
        with pytest.raises(IbkitError) as caught:
            await fix(found, item)
        assert "adjust" in str(caught.value.remedy)
        done = await accept_difference(found.desk, "ada", found.portfolio_id, NAME, item.item_id, by="ada", note="old")
        assert (done.state, done.settled_by, done.note) == (InboxState.ACCEPTED, "ada", "old")
        assert [each.state for each in await inbox(found)] == [InboxState.ACCEPTED]
        sim.simulator.advance(DAY.total_seconds())
        event(sim, event="fee", account=sim.account, amount=-5)
        await found.take(without(body_of(sim)))
        (item,) = await inbox(found)
        assert (item.state, item.difference.amount) == (InboxState.OPEN, -15)
        assert await fix(found, item, adjust=True) == ()
        assert (await found.ledger()).cash["USD"] == sim.book.cash


# -- causes of what is held live ----------------------------------------------------------------------------------

STOCK = Listed(conid=1, symbol="X", asset_class="STK", currency="USD")
LAST = date(2026, 11, 19)
AT = datetime(2026, 11, 19, 15, 0, tzinfo=ZoneInfo("America/New_York"))
WHOLE = frozenset(
    {"OpenPositions", "CashReport", "Trades", "CashTransactions", "CorporateActions", "OptionEAE", "Transfers"}
)


def told(*, quantity: str = "10", cash: str = "100", currency: str = "USD") -> StatementTold:
    return StatementTold(
        account_id="U1",
        origin=Origin.ACTIVITY,
        digest="d",
        number=0,
        first=LAST,
        last=LAST,
        cash=(CashTold(currency=currency, starting=Decimal(1100), ending=Decimal(cash)),),
        positions=(PositionTold(listed=STOCK, quantity=Decimal(quantity)),),
        sections=WHOLE,
    )


def bought(commission: str | None = "0", *, day: date = LAST) -> Traded:
    return Traded(
        account_id="U1",
        ids=(f"exec:{day}",),
        at=AT,
        day=day,
        booked_on=day,
        source=RowSource(digest="d"),
        listed=STOCK,
        quantity=Decimal(10),
        price=Decimal(100),
        proceeds=Decimal(-1000),
        commission=None if commission is None else Decimal(commission),
        origin=Origin.LIVE if commission is None else Origin.ACTIVITY,
    )


OPENING = Opening(cash={"USD": Decimal(1100)})


def causes(live: Live, *trades: Traded, opening: Opening = OPENING) -> list[tuple[str, Cause, Fix]]:
    found = reconcile([told()], trades or [bought()], opening, live)
    assert all(each.against is Against.LIVE for each in found)
    return [(each.subject, each.cause, each.fix) for each in found]


def live(quantity: str = "10", *, days: int = 0, **cash: str) -> Live:
    amounts = {currency: Decimal(amount) for currency, amount in ({"USD": "100"} | cash).items()}
    return Live(at=AT + days * DAY, quantities={1: Decimal(quantity)}, cash=amounts, listed={1: STOCK})


@pytest.mark.requirement("FUT-08")
def test_causes_of_what_differs_from_what_is_held_live() -> None:
    assert causes(live()) == []
    assert causes(live(USD="100.004")) == [], "less than half a cent"
    assert causes(live("12", days=1)) == [("live position 1", Cause.TIMING, Fix.FETCH)]
    assert causes(live("12")) == [("live position 1", Cause.UNKNOWN, Fix.ADJUST)]
    assert causes(live("20", days=1)) == [("live position 1", Cause.CORPORATE_ACTION, Fix.ADJUST)]
    assert causes(live(USD="90", days=1)) == [("live cash USD", Cause.TIMING, Fix.FETCH)]
    swapped = causes(live(USD="90", EUR="9", days=1))
    assert swapped == [("live cash EUR", Cause.CONVERSION, Fix.FETCH), ("live cash USD", Cause.CONVERSION, Fix.FETCH)]
    later = bought(None, day=LAST + DAY)
    waiting = causes(live("20", USD="-901", days=1), bought(), later)
    assert waiting == [("live cash USD", Cause.COMMISSION, Fix.WAIT)]
    without = Live(at=AT, quantities={1: Decimal(10)}, cash=None)
    assert causes(without) == [], "cash is not among the holdings"


@pytest.mark.requirement("FUT-08")
def test_without_any_statement_the_opening_is_not_known() -> None:
    found = reconcile([], [], Opening(), live())
    assert [(each.subject, each.cause, each.fix, each.last) for each in found] == [
        ("live position 1", Cause.UNKNOWN_OPENING, Fix.FETCH, LAST),
        ("live cash USD", Cause.UNKNOWN_OPENING, Fix.FETCH, LAST),
    ]


@pytest.mark.requirement("FUT-08")
def test_cash_of_a_currency_that_no_statement_opens() -> None:
    (found,) = reconcile([told(currency="EUR", cash="7", quantity="0")], [], Opening(), None)
    assert (found.cause, found.fix, found.amount) == (Cause.UNKNOWN_OPENING, Fix.ADJUST, 7)


@pytest.mark.requirement("FUT-08")
def test_a_future_that_is_held_is_named_as_not_booked() -> None:
    """Whatever else could explain it: a booking by hand would be of the whole price, which nobody paid."""
    future = replace(STOCK, conid=2, symbol="ESZ6", asset_class="FUT", multiplier=Decimal(50))
    held = replace(live(days=1), quantities={1: Decimal(10), 2: Decimal(1)}, listed={1: STOCK, 2: future})
    (found,) = reconcile([told()], [bought()], OPENING, held)
    assert (found.subject, found.cause, found.fix) == ("live position 2", Cause.UNBOOKED, Fix.ACCEPT)
    assert found.why == "FUT settle daily, which no ledger keeps yet"
    statement = replace(told(), positions=(*told().positions, PositionTold(listed=future, quantity=Decimal(1))))
    (found,) = reconcile([statement], [bought()], OPENING, None)
    assert (found.subject, found.cause, found.fix) == ("statement position 2", Cause.UNBOOKED, Fix.ACCEPT)


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_a_future_is_not_booked_by_hand_either(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 1)
        sim.simulator.advance((1 * DAY).total_seconds())
        row = (
            f'<OpenPosition accountId="{sim.account}" assetCategory="FUT" symbol="ESZ6" conid="2" currency="USD" '
            'multiplier="50" position="1" costBasisMoney="250000" levelOfDetail="SUMMARY"/></OpenPositions>'
        )
        await found.take(body_of(sim).replace(b"</OpenPositions>", row.encode()))
        (item,) = await inbox(found)
        assert item.difference.cause is Cause.UNBOOKED
        with pytest.raises(IbkitError) as caught:
            await fix(found, item, adjust=True)
        assert (caught.value.code, "Accept" in caught.value.remedy) == ("E-CONFLICT", True)
        assert 2 not in (await found.ledger()).held


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_a_transfer_whose_cost_is_told_later_is_booked_and_sold_for_what_it_is(tmp_path: Path) -> None:
    """A row of Transfers may tell what a holding was worth; the position of the statement tells what it cost."""
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        trade(sim, 10, "610.00")
        sim.simulator.advance(DAY.total_seconds())
        row = (
            f'<Transfers><Transfer accountId="{sim.account}" assetCategory="STK" symbol="OLD" conid="77" '
            'currency="USD" '
            'dateTime="20261120;100000" date="20261120" reportDate="20261120" direction="IN" quantity="10" '
            'positionAmount="900" transactionID="99" levelOfDetail="TRANSFER"/></Transfers>'
        )
        held = (
            f'<OpenPosition accountId="{sim.account}" assetCategory="STK" symbol="OLD" conid="77" currency="USD" '
            'multiplier="1" position="10" costBasisMoney="500" levelOfDetail="SUMMARY"/></OpenPositions>'
        )
        body = re.sub(rb"<Transfers ?/>|<Transfers>\s*</Transfers>", row.encode(), body_of(sim))
        await found.take(body.replace(b"</OpenPositions>", held.encode()))
        (item,) = await inbox(found)
        told = item.difference
        assert (told.subject, told.told, told.ours) == ("statement cost 77", 500, 900)
        assert (told.figure, told.cause, told.fix) == (Figure.COST, Cause.LOTS, Fix.BOOK)
        assert await fix(found, item) == ()
        ledger = await found.ledger()
        assert (ledger.held[77].quantity, ledger.held[77].cost, ledger.transferred) == (10, 500, {"USD": 500})
        assert ledger.cash["USD"] == sim.book.cash
        assert any(each.lots for each in movements(ledger) if each.transactions[0].origin is Origin.PERSON)


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_what_the_statement_says_was_realized_is_compared(tmp_path: Path) -> None:
    """A ledger that closes other lots than IBKR would be right in quantity and cash."""
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        trade(sim, -50, "610.00")
        sim.simulator.advance(DAY.total_seconds())
        body = body_of(sim)
        (said,) = {each for each in re.findall(rb'fifoPnlRealized="([^"]*)"', body) if float(each)}
        await found.take(body.replace(b'fifoPnlRealized="' + said, b'fifoPnlRealized="1234.5'))
        (item,) = await inbox(found)
        told = item.difference
        assert (told.subject, told.told, told.ours) == (
            f"statement realized {SPY}",
            Decimal("1234.5"),
            Decimal(said.decode()),
        )
        with pytest.raises(IbkitError) as caught:
            await fix(found, item, adjust=True)
        assert caught.value.remedy == "Accept the difference."
        await found.desk.ledgers.set_rules("ada", found.portfolio_id, NAME, order=LotOrder.LIFO)
        assert await inbox(found) == (), "whoever chose other lots knows"


@pytest.mark.anyio
@pytest.mark.requirement("FUT-08")
async def test_who_only_looks_writes_nothing_and_settles_by_what_was_shown(tmp_path: Path) -> None:
    async with room(tmp_path) as found:
        sim = found.sim
        trade(sim, 100)
        sim.simulator.advance((3 * DAY).total_seconds())
        at = ("ada", found.portfolio_id, NAME)

        async def shown() -> tuple[InboxItem, ...]:
            before = found.dump()
            items = await inbox_shown(found.desk, *at)
            assert found.dump() == before
            return items

        assert await shown() == ()
        await found.take(body_of(sim, first=sim.now.date()))
        (stored,) = await found.desk.inbox.items(*at)
        assert [(each.item_id, each.found_at) for each in await shown()] == [(stored.item_id, stored.found_at)]
        await accept_difference(found.desk, *at, stored.item_id, by="ada", note="known")
        assert [each.state for each in await shown()] == [InboxState.ACCEPTED]
        await fix(found, stored, cost=Decimal(60000))
        assert await shown() == ()
        # Nobody has looked since: it is settled by the id that was shown, and that is no older one's.
        await found.desk.ledgers.set_rules(*at, order=LotOrder.LIFO)
        told = await found.desk.ledgers.told(*at)
        booked = next(each for each in told.transactions if each.origin is Origin.PERSON)

        def back(digest: str) -> list[Any]:
            source = RowSource(digest=digest)
            return [replace(booked, ids=("booked:back",), quantity=Decimal(-100), cost=Decimal(0), source=source)]

        payload = RawPayload(what="adjustment", body=b"{}")
        await found.desk.ledgers.book(*at, payload, back, revision=told.revision)
        (again,) = await shown()
        assert again.item_id != stored.item_id
        done = await accept_difference(found.desk, *at, again.item_id, by="ada")
        assert (done.item_id, done.state) == (again.item_id, InboxState.ACCEPTED)
