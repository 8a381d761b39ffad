"""Ten years of daily snapshots of 500 positions: how large they are, and how long a question as of a day takes.

python -m benchmarks.days [YEARS [POSITIONS]]
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio

from ibkit.bootstrap.portfolio_figures import figures_now
from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.portfolio.book import Holding, HoldingSource, Portfolio, PortfolioAccount
from ibkit.portfolio.days import AccountDay, Worth
from ibkit.portfolio.kinds import SecurityKind
from ibkit.store.ledgers import SqlLedgers
from ibkit.store.migrating import for_engine
from ibkit.store.portfolio_days import SqlDays, put_day
from ibkit.store.portfolio_rows import ACCOUNTS
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records

NOW = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
RUNS = 50


def holdings(positions: int, chance: random.Random) -> tuple[Holding, ...]:
    found = []
    for number in range(positions):
        units, price = Decimal(chance.randint(1, 900)), Decimal(chance.randint(100, 90_000)) / 100
        found.append(
            Holding(
                symbol=f"S{number:04}",
                units=units,
                conid=100_000 + number,
                source=HoldingSource.IBKR,
                currency="USD",
                kind=SecurityKind.STOCK,
                average_cost=price * Decimal("0.9"),
                market_price=price,
                market_value=price * units,
                unrealized_pnl=price * units * Decimal("0.1"),
                realized_pnl=Decimal(0),
                asset_class="STK",
                exchange="NASDAQ",
            )
        )
    return tuple(found)


async def measured(years: int = 10, positions: int = 500) -> dict[str, float]:
    """Seconds, rows a second, bytes a day."""
    chance = random.Random(17)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "days.db"
        database = open_records(Secret(f"sqlite:///{file}"), parts=("portfolio",))
        clock = ManualClock(NOW)
        ids = iter(f"{number:032x}" for number in range(1, 100))
        books, days = SqlPortfolios(database, clock, lambda: next(ids)), SqlDays(database, clock)
        portfolio_id = next(ids)
        book = Portfolio(
            portfolio_id=portfolio_id,
            user_id="ada",
            name="A",
            currency="USD",
            accounts=(PortfolioAccount(name="A", holdings=holdings(positions, chance)),),
            created_at=NOW,
            updated_at=NOW,
        )
        began = time.perf_counter()
        await books.add(book)
        rows = positions / (time.perf_counter() - began)
        first = NOW.date() - timedelta(days=365 * years)
        every = [first + timedelta(days=number) for number in range(365 * years + 1)]
        weekdays = [day for day in every if day.weekday() < 5]

        def write(connection: object) -> None:
            there = for_engine(connection)  # type: ignore[arg-type]
            key = there.execute(ACCOUNTS.select()).one().account_key
            for day in weekdays:
                worth = Worth(
                    day=day,
                    account_id="DU1",
                    currency="USD",
                    net_liquidation=Decimal(chance.randint(9_000_000, 11_000_000)) / 100,
                    rates={"EUR": Decimal("1.08")},
                )
                put_day(there, key, AccountDay(worth=worth, taken_at=NOW, holdings=holdings(positions, chance)))

        began = time.perf_counter()
        await database.write(write)
        written = time.perf_counter() - began
        await days.put_flows("ada", portfolio_id, "A", since=first, until=NOW.date(), amounts={})
        size = file.stat().st_size / len(weekdays)
        as_of = []
        for _ in range(RUNS):
            day: date = chance.choice(weekdays)
            began = time.perf_counter()
            found = await days.as_of("ada", portfolio_id, day)
            as_of.append(time.perf_counter() - began)
            assert found["A"] is not None
            assert len(found["A"].holdings) == positions
        figures = []
        for _ in range(5):
            began = time.perf_counter()
            await figures_now(books, days, SqlLedgers(database, clock), clock, "ada", portfolio_id, as_of=NOW.date())
            figures.append(time.perf_counter() - began)
        await database.close()
    return {
        "days": len(weekdays),
        "written": written,
        "rows": rows,
        "bytes": size,
        "as_of": statistics.median(as_of),
        "as_of_worst": max(as_of),
        "analytics": statistics.median(figures),
        "analytics_worst": max(figures),
    }


def measure() -> dict[str, float]:
    return anyio.run(measured)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    first, second = given + [10, 500][len(given) :]
    for name, figure in anyio.run(measured, first, second).items():
        print(f"{name:16} {figure:,.4f}")
