"""One suite for every implementation of the trade records' port, on a real server for PostgreSQL."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal

import anyio
import pytest

from fakes import ACCOUNT, START, MemoryTrades, option
from ibkit.clock import ManualClock, SystemClock
from ibkit.errors import StorageError
from ibkit.model import AccountId, Environment, Fill, Key, OrderId, Ref, Right, Side, Trail, TrailKind
from ibkit.store import import_json_lines, open_json_lines, open_trades, upgrade_database
from ibkit.trading.selling.exits import ExitPlan, OnMissing
from ibkit.trading.selling.trade import ExitReason, OrderLink, OrderRole, RecordState, Trade, TradeLeg, TradeStatus

pytestmark = pytest.mark.anyio

TRADE = Trade(
    trade_id="0b8f9a52-0000-5000-8000-000000000001",
    account_id=ACCOUNT,
    environment=Environment.PAPER,
    symbol="SPY",
    conid=option().conid,
    multiplier=Decimal(100),
    strike_price=Decimal("629"),
    right=Right.PUT,
    expiration=date(2026, 11, 20),
    quantity=Decimal(3),
    created_at=START,
    updated_at=START,
    market_snapshot={"bid": "0.62", "availability": "R"},
    links=(OrderLink(role=OrderRole.ENTRY, key=Key("sale-0123456789abcdef"), ref=Ref("ib-abc")),),
)
FILL = Fill(
    execution_id="0000e0d5.6a4b1c2d.01.01",
    order_id=OrderId("17437897932"),
    account_id=ACCOUNT,
    conid=option().conid,
    side=Side.SELL,
    quantity=Decimal(3),
    price=Decimal("0.62"),
    fee=Decimal("1.95"),
    at=START,
    ref=Ref("ib-abc"),
)


@asynccontextmanager
async def _opened(kind, request, tmp_path):
    if kind == "memory":
        yield MemoryTrades()
    elif kind == "json lines":
        async with open_json_lines(tmp_path / "trades.jsonl", clock=SystemClock()) as trades:
            yield trades
    else:
        sqlite = kind == "sqlite"
        url = f"sqlite:///{tmp_path}/state/trades.sqlite" if sqlite else request.getfixturevalue("postgres_database")
        async with open_trades(url) as trades:
            yield trades


@pytest.fixture(params=["memory", "sqlite", "json lines", "postgresql"])
async def trades(request, tmp_path):
    async with _opened(request.param, request, tmp_path) as opened:
        yield opened


@pytest.mark.requirement("OPT-07")
async def test_a_record_comes_back_exactly(trades):
    whole = dataclasses.replace(
        TRADE,
        record_state=RecordState.COMPLETE,
        status=TradeStatus.CLOSED,
        ibkr_order_id=OrderId("17437897932"),
        ibkr_exec_id=FILL.execution_id,
        entry_time=START,
        entry_price=Decimal("0.6200000001"),
        entry_commission=Decimal("1.95"),
        exit_time=START + timedelta(microseconds=1),
        exit_price=Decimal("3.10"),
        exit_commission=Decimal("1.95"),
        exit_reason=ExitReason.STOPPED_OUT,
        stop_loss_order_id=OrderId("17437897933"),
        stop_loss_price=Decimal("3.10"),
        realized_pnl=Decimal("-747.90"),
        fills=(FILL,),
        links=(*TRADE.links, OrderLink(role=OrderRole.STOP, key=Key("sale-0123456789abcdef:stop-1"), ref=Ref("ib-d"))),
    )
    await trades.check()
    await trades.put(TRADE)
    await trades.put(whole)
    await trades.put(whole)

    assert await trades.get(TRADE.trade_id) == whole
    assert await trades.trades() == (whole,)
    assert await trades.get("nothing") is None


@pytest.mark.requirement("OPT-07")
@pytest.mark.parametrize(
    "plan",
    [
        ExitPlan(stop_multiple=Decimal("5.0"), take_profit=Decimal("0.25"), exit_at=START + timedelta(hours=2)),
        ExitPlan(trail=Trail(Decimal("0.50")), on_missing=OnMissing.ALERT),
        ExitPlan(trail=Trail(Decimal(50), TrailKind.PERCENT)),
    ],
)
async def test_a_plan_of_exits_and_the_legs_of_a_spread_come_back_exactly(trades, plan):
    spread = dataclasses.replace(
        TRADE,
        exit_plan=plan,
        legs=(
            TradeLeg(conid=option("629").conid, strike=Decimal("629"), right=Right.PUT, ratio=1),
            TradeLeg(conid=option("624").conid, strike=Decimal("624.5"), right=Right.PUT, ratio=-1),
        ),
        take_profit_order_id=OrderId("17437897934"),
        take_profit_price=Decimal("0.15"),
    )
    await trades.put(spread)

    assert await trades.get(TRADE.trade_id) == spread


@pytest.mark.requirement("OPT-07")
async def test_a_database_from_before_plans_is_upgraded_with_its_trades(tmp_path):
    """The released first step, with a row in it: what it has not, is not known."""
    from sqlalchemy import text

    from ibkit.store.database import to_engine
    from ibkit.store.migrating import migrate
    from ibkit.store.migrations import TRADES

    url = f"sqlite:///{tmp_path}/t.sqlite"
    engine = to_engine(url)
    with engine.begin() as connection:
        assert migrate(connection, "trades", TRADES[:1]) == (0, 1)
        connection.execute(
            text(
                "INSERT INTO trades (trade_id, symbol, strike_price, option_type, expiration, quantity, status, "
                "record_state, market_snapshot, account_id, environment, conid, multiplier, created_at, updated_at) "
                "VALUES ('old', 'SPY', '629', 'PUT', '2026-11-20', 3, 'open', 'complete', '{}', 'DU1', 'paper', 7, "
                "'100', '2026-11-20T15:30:00.000000+00:00', '2026-11-20T15:30:00.000000+00:00')"
            )
        )
    engine.dispose()
    assert upgrade_database(url)["trades"] == (1, TRADES[-1].version)

    async with open_trades(url) as opened:
        old = await opened.get("old")

        assert (old.exit_plan, old.legs, old.strike_price) == (None, (), Decimal(629))
        await opened.put(dataclasses.replace(old, exit_plan=ExitPlan(stop_multiple=Decimal(5))))
        assert (await opened.get("old")).exit_plan == ExitPlan(stop_multiple=Decimal(5))


@pytest.mark.requirement("OPT-07", "OPT-10")
async def test_records_are_found_by_what_they_are(trades):
    call = dataclasses.replace(
        TRADE,
        trade_id="0b8f9a52-0000-5000-8000-000000000002",
        symbol="QQQ",
        right=Right.CALL,
        status=TradeStatus.CLOSED,
        account_id=AccountId("DU7654321"),
        created_at=START + timedelta(days=1),
        links=(),
    )
    await trades.put(TRADE)
    await trades.put(call)

    assert await trades.trades() == (call, TRADE)
    assert await trades.trades(status=TradeStatus.OPEN) == (TRADE,)
    assert await trades.trades(symbol="QQQ") == (call,)
    assert await trades.trades(account_id=ACCOUNT) == (TRADE,)
    assert await trades.trades(since=START + timedelta(hours=1)) == (call,)
    assert await trades.trades(until=START + timedelta(hours=1)) == (TRADE,)


@pytest.mark.requirement("OPT-07")
async def test_json_lines_are_imported_once(tmp_path):
    clock = ManualClock(START)
    path = tmp_path / "trades.jsonl"
    async with open_json_lines(path, clock=clock) as lines, open_trades(f"sqlite:///{tmp_path}/t.sqlite") as database:
        for number in (1, 2):
            trade = dataclasses.replace(TRADE, trade_id=f"0b8f9a52-0000-5000-8000-00000000000{number}", links=())
            await lines.put(trade)
            await lines.put(dataclasses.replace(trade, record_state=RecordState.COMPLETE))

        assert len(path.read_text().splitlines()) == 2
        assert await import_json_lines(path, database) == 2
        assert await import_json_lines(path, database) == 0
        assert len(await database.trades()) == 2
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.requirement("OPT-07")
def test_an_upgrade_of_a_new_database_makes_it_and_a_second_one_changes_nothing(tmp_path):
    url = f"sqlite:///{tmp_path}/t.sqlite"

    assert upgrade_database(url)["trades"] == (0, 2)
    assert upgrade_database(url)["trades"] == (2, 2)


@pytest.mark.requirement("OPT-07")
def test_the_table_has_the_stated_columns_and_exact_values(tmp_path):
    """A stranger's SQL finds what OPT-07 says."""
    import sqlite3

    import anyio

    async def write():
        async with open_trades(f"sqlite:///{tmp_path}/t.sqlite") as trades:
            await trades.put(dataclasses.replace(TRADE, entry_price=Decimal("0.10")))

    anyio.run(write)
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    try:
        assert connection.execute("SELECT option_type, quantity, status FROM trades").fetchall() == [("PUT", 3, "open")]
        assert connection.execute("SELECT entry_price, typeof(entry_price) FROM trades").fetchall() == [
            ("0.10", "text")
        ]
    finally:
        connection.close()


@pytest.mark.requirement("OPT-07")
async def test_many_records_at_once_are_all_stored_and_a_broken_one_alone_is_not(trades):
    """On a database they share a transaction, each in a savepoint of its own."""
    ids = [f"0b8f9a52-0000-5000-8000-0000000001{number:02}" for number in range(20)]
    failed = []

    async def put(trade):
        try:
            await trades.put(trade)
        except (StorageError, AssertionError):
            failed.append(trade.trade_id)

    async with anyio.create_task_group() as tasks:
        for number, name in enumerate(ids):
            twice = (dataclasses.replace(FILL, execution_id=name),) * (2 if number == 7 else 1)
            tasks.start_soon(put, dataclasses.replace(TRADE, trade_id=name, fills=twice))

    stored = {trade.trade_id for trade in await trades.trades()}
    assert stored == set(ids) - set(failed)
    assert set(failed) <= {ids[7]}
