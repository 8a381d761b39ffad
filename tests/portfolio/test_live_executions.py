"""Executions of IBKR's list of trades at a sync: in the ledger until a statement tells them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from clients import make_client
from desks import Desk
from ibkit.client.flex_statements import statements_of
from ibkit.client.holdings import IbkrSource
from ibkit.model import AccountId, Conid, Fill, Secret, Side
from ibkit.portfolio.book import Link, PortfolioAccount
from ibkit.portfolio.fills import trades_of
from ibkit.portfolio.ledger import Ledger, fold_ledger
from ibkit.portfolio.picture import Execution
from ibkit.portfolio.syncing import Syncer
from ibkit.portfolio.transactions import Listed, Origin, Traded
from ibkit.store.ledgers import SqlLedgers
from ibkit.store.portfolio_syncs import SqlSyncs
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records
from ledger_lives import agrees, body_of, put, trade
from portfolio_room import NOW, make_portfolio

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-08")]
NAME, SPY = "IRA", 756733


async def test_a_sync_books_them_and_a_statement_takes_their_place(tmp_path: Path) -> None:
    sim = Desk()
    clock = sim.simulator.clock
    database = open_records(Secret(f"sqlite:///{tmp_path}/a.db"), parts=("portfolio",))
    books = SqlPortfolios(database, clock, lambda: uuid.uuid4().hex)
    syncs = SqlSyncs(database, clock, lambda: uuid.uuid4().hex)
    ledgers = SqlLedgers(database, clock)
    syncer = Syncer(books=syncs, claims=syncs, clock=clock)
    portfolio_id = uuid.uuid4().hex
    await books.add(make_portfolio(PortfolioAccount(name=NAME), portfolio_id=portfolio_id))
    link = Link(account_id=sim.account, connection_id="default")
    await books.connect("ada", portfolio_id, NAME, link, at=clock.now())

    async def ledger() -> Ledger:
        told = await ledgers.told("ada", portfolio_id, NAME)
        rules = replace(told.rules, premium_into_stock=False)
        return fold_ledger(told.account_id, told.transactions, opening=told.opening, rules=rules)

    async with make_client(sim.simulator) as ib:
        trade(sim, 100)
        option = put(sim)
        trade(sim, -2, "3.15", option)
        await syncer.sync(portfolio_id, NAME, lambda link: IbkrSource(ib))
        assert (await ledger()).transactions == (), "for executions alone no brokerage session is opened"
        await ib.connect()
        await syncer.sync(portfolio_id, NAME, lambda link: IbkrSource(ib))  # the first list of a session is empty
        clock.advance(10)
        await syncer.sync(portfolio_id, NAME, lambda link: IbkrSource(ib))
        trade(sim, -100, "610.00")  # what is held no more was held before
        clock.advance(10)
        await syncer.sync(portfolio_id, NAME, lambda link: IbkrSource(ib))
        found = await ledger()
        assert {(each.listed.conid, each.quantity) for each in found.transactions if isinstance(each, Traded)} == {
            (SPY, 100),
            (option, -2),
            (SPY, -100),
        }
        assert {each.origin for each in found.transactions} == {Origin.LIVE}
        assert {conid: held.quantity for conid, held in found.held.items()} == {option: -2}
        for each in found.transactions:
            raw = await ledgers.raw("ada", portfolio_id, each.source.digest)
            assert each.ids[0].removeprefix("exec:").encode() in raw.body
        before = found.transactions
        clock.advance(10)
        await syncer.sync(portfolio_id, NAME, lambda link: IbkrSource(ib))
        assert (await ledger()).transactions == before
    sim.simulator.advance(timedelta(days=1).total_seconds())
    body = body_of(sim)
    kept = await ledgers.keep("ada", portfolio_id, NAME, body, statements_of(body))
    assert (len(kept.added), len(kept.corrected)) == (0, 3)
    assert all(not each.what for each in kept.corrected), "nothing moved otherwise than the live list told"
    (told,) = statements_of(body)
    agrees(sim, await ledger(), told)
    await database.close()


def execution(
    execution_id: str,
    price: str,
    *,
    conid: int = SPY,
    multiplier: str | None = "1",
    asset_class: str = "",
    symbol: str = "",
) -> Execution:
    fill = Fill(
        execution_id=execution_id,
        order_id=None,
        account_id=AccountId("DU1"),
        conid=Conid(conid),
        side=Side.SELL,
        quantity=Decimal(5),
        price=Decimal(price),
        fee=None,
        at=NOW,
    )
    size = None if multiplier is None else Decimal(multiplier)
    return Execution(fill=fill, row=3, multiplier=size, asset_class=asset_class, symbol=symbol)


def test_a_corrected_execution_counts_once_and_what_is_not_known_is_left_out() -> None:
    known = {SPY: Listed(conid=SPY, symbol="SPY", currency="USD"), 7: Listed(conid=7)}
    told = [
        execution("a.b.01.01", "600"),
        execution("a.b.01.02", "601"),
        execution("c.d.01.01", "1", conid=7),  # nobody knows its currency
        execution("e.f.01.01", "1", conid=8),
        execution("e.f.02.01", "1", conid=8),
        execution("g.h.01.01", "2.5", multiplier="100"),  # its money is not that of what is known
        execution("i.j", "602", multiplier=None),
    ]
    found = trades_of(told, known, digest="d" * 64)
    assert [(each.ids, each.price, each.quantity, each.commission) for each in found.trades] == [
        (("exec:a.b.01.02", "exec:a.b.01.01"), 601, -5, None),
        (("exec:i.j",), 602, -5, None),
    ]
    assert found.unbooked == (
        "conid 7: 1 execution, of a listing that is not known, until a statement tells it",
        "conid 8: 2 executions, of a listing that is not known, until a statement tells it",
        "SPY: 1 execution, of another size than is known of it, until a statement tells it",
    )
    source = found.trades[0].source
    assert (source.row, source.digest, source.section) == (3, "d" * 64, "executions")


def test_nobody_pays_size_by_price_for_a_future_a_cfd_a_pair_or_a_bond() -> None:
    """One ES at 5,000 is no payment of 250,000: what settles daily is left out, and told."""
    known = {
        1: Listed(conid=1, symbol="ESZ6", asset_class="FUT", currency="USD", multiplier=Decimal(50)),
        2: Listed(conid=2, symbol="AAPL", currency="USD"),
        3: Listed(conid=3, symbol="EUR.USD", currency="USD"),
        4: Listed(conid=4, symbol="IBKR 3 01/28", asset_class="BOND", currency="USD"),
    }
    told = [
        execution("a.01", "5000", conid=1, multiplier="50"),
        execution("b.01", "5001", conid=1, multiplier="50", asset_class="FUT"),
        execution("c.01", "200", conid=2, asset_class="CFD"),
        execution("d.01", "1.1", conid=3, asset_class="CASH"),
        execution("e.01", "98.5", conid=4, multiplier=None),
    ]
    found = trades_of(told, known, digest="d" * 64)
    assert found.trades == ()
    assert found.unbooked == (
        "ESZ6: 2 executions, FUT settle daily, which no ledger keeps yet",
        "AAPL: 1 execution, CFD settle daily, which no ledger keeps yet",
        "EUR.USD: 1 execution, a conversion, which a statement tells",
        "IBKR 3 01/28: 1 execution, BOND are priced in per cent of their face, until a statement tells what was paid",
    )
