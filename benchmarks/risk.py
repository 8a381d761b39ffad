"""How long the thirty controls take for one order, and one look at the book, beside a floor of plain Decimal work.

python -m benchmarks.risk
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Connection

from ibkit.clock import SystemClock
from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Environment,
    Increments,
    OrderTicket,
    OrderType,
    Quote,
    SecType,
    Side,
)
from ibkit.store import open_journal
from ibkit.trading.events import IntentId, Operation, Stage
from ibkit.trading.risk import (
    PAPER_LIMITS,
    Case,
    Facts,
    Holding,
    OpenOrder,
    Scope,
    Sent,
    SessionHealth,
    Usage,
    assess,
    check,
)

RUNS = 5_000
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
ACCOUNT = AccountId("DU1234567")
SCOPE = Scope(environment=Environment.PAPER, account_id=ACCOUNT, symbol="SPY")
SPY = Contract(Conid(756733), "SPY", SecType.STOCK)


def busy_case() -> Case:
    """An account with fifty positions, fifteen open orders and a full minute behind it."""
    ticket = OrderTicket(
        account_id=ACCOUNT,
        contract=SPY,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(10),
        limit_price=Decimal("100.00"),
    )
    other = OrderTicket(
        account_id=ACCOUNT, contract=SPY, side=Side.SELL, order_type=OrderType.MARKET, quantity=Decimal(1)
    )
    sent = tuple(
        Sent(
            intent_id=IntentId(f"ib-{n}"),
            at=NOW - timedelta(seconds=2 + n / 2),
            operation=Operation.PLACE,
            contract=str(n),
            side=Side.BUY,
            quantity=Decimal(1),
            price=None,
            value_usd=Decimal(100),
        )
        for n in range(110)
    )
    opened = tuple(
        OpenOrder(intent_id=IntentId(f"ib-{n}"), ticket=other, sent=Decimal(1), value_usd=Decimal(100))
        for n in range(15)
    )
    return Case(
        operation=Operation.PLACE,
        scope=SCOPE,
        tickets=(ticket,),
        facts=Facts(
            broker_is_paper=True,
            quote=Quote(conid=SPY.conid, bid=Decimal("99.9"), ask=Decimal(100)),
            quote_at=NOW,
            increments=Increments(((Decimal(0), Decimal("0.01")),)),
            positions={Conid(n): Holding(quantity=Decimal(1), value_usd=Decimal(1000)) for n in range(50)},
            open_short_options=Decimal(0),
            others=(),
            net_liquidation=Decimal(1_000_000),
            daily_pnl=Decimal(0),
            pnl_at=NOW,
            health=SessionHealth(authenticated=True, competing=False, at=NOW),
        ),
        limits=PAPER_LIMITS,
        usage=Usage(sent=sent, sent_today=110, value_today=Decimal(11_000), open=opened),
        halts=(),
        stage=Stage.SEND,
        now=NOW,
        made_at=NOW,
        expires_at=NOW,
    )


def taken(work: Callable[[], object], runs: int = RUNS) -> tuple[float, float]:
    """Median and 99th percentile in microseconds of the thread's own time: others may use the machine as well."""
    times = []
    for _ in range(runs):
        began = time.thread_time()
        work()
        times.append((time.thread_time() - began) * 1e6)
    times.sort()
    return statistics.median(times), times[int(runs * 0.99)]


def floor() -> Decimal:
    """Thirty times what the smallest control costs at least: a product, a sum and a comparison of Decimals."""
    total = Decimal(0)
    for _ in range(30):
        total += Decimal("100.00") * 10
        if total > 1_000_000:
            break
    return total


def measure() -> dict[str, tuple[float, float]]:
    """A new case each time, as in an order: nothing that one check has worked out helps the next."""
    assert check(busy_case()).objection is None
    cases = iter([busy_case() for _ in range(2 * RUNS)])
    return {
        "floor": taken(floor),
        "check": taken(lambda: check(next(cases))),
        "assess": taken(lambda: assess(next(cases))),
        "book": asyncio.run(_book()),
    }


async def _book() -> tuple[float, float]:
    """One look at a book with 10,000 sends of the day, inside its transaction."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        async with open_journal(Path(folder) / "journal.db", clock=SystemClock()) as journal:

            def fill(connection: Connection) -> None:
                rows = [
                    (f"ib-{n}", 4, (now - timedelta(seconds=61 + n / 100)).isoformat(timespec="microseconds"), ACCOUNT)
                    for n in range(10_000)
                ]
                connection.connection.driver_connection.executemany(  # type: ignore[union-attr]
                    "INSERT INTO sends VALUES (?, ?, ?, 'local', ?, '', '', 'SPY', 756733, 'BUY', '10', '100', '1000',"
                    " 'place', '')",
                    rows,
                )
                connection.exec_driver_sql("INSERT INTO send_serials VALUES (?, 10000)", (ACCOUNT,))

            await journal._database.write(fill)
            return await journal._database.read(
                lambda c: taken(lambda: journal.risk.read_state(c, SCOPE, now, now), 2_000)
            )


if __name__ == "__main__":
    found = measure()
    least = found["floor"][0]
    for name, (median, p99) in found.items():
        sys.stdout.write(f"{name:7} median {median:7.1f} us ({median / least:4.1f}x the floor), p99 {p99:7.1f} us\n")
