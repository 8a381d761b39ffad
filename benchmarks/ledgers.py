"""Ten years of an account's transactions: how large they are, and how long a ledger as of a past moment takes.

python -m benchmarks.ledgers [YEARS [TRANSACTIONS_A_YEAR]]
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

from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.portfolio.book import Link, Portfolio, PortfolioAccount
from ibkit.portfolio.ledger import fold_ledger
from ibkit.portfolio.picture import RawPayload
from ibkit.portfolio.transactions import Listed, Paid, PaymentKind, RowSource, Traded, Transaction
from ibkit.store.ledgers import SqlLedgers
from ibkit.store.portfolios import SqlPortfolios
from ibkit.store.records import open_records

NOW = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
ACCOUNT = "DU1"
RUNS = 20
_LISTINGS = [
    Listed(conid=100_000 + number, symbol=f"S{number:03}", asset_class="STK", currency="USD") for number in range(200)
]


def happened(number: int, at: datetime, digest: str, chance: random.Random) -> Transaction:
    """A trade, or each tenth time a dividend."""
    listed = chance.choice(_LISTINGS)
    source = RowSource(digest=digest, section="Trades", row=number)
    day = at.date()
    if number % 10 == 0:
        return Paid(
            account_id=ACCOUNT,
            ids=(f"cash-tx:{number}",),
            at=at,
            day=day,
            booked_on=day,
            source=source,
            kind=PaymentKind.DIVIDEND,
            currency="USD",
            amount=Decimal(chance.randint(1, 9000)) / 100,
            listed=listed,
        )
    quantity, price = (
        Decimal(chance.choice((-1, 1, 1)) * chance.randint(1, 300)),
        Decimal(chance.randint(100, 90_000)) / 100,
    )
    return Traded(
        account_id=ACCOUNT,
        ids=(f"exec:{number}", f"trade:{number}"),
        at=at,
        day=day,
        booked_on=day,
        sequence=number,
        source=source,
        listed=listed,
        quantity=quantity,
        price=price,
        proceeds=-quantity * price,
        commission=Decimal("-1.05"),
        commission_currency="USD",
    )


async def measured(years: int = 10, a_year: int = 500) -> dict[str, float]:
    """Seconds, rows a second, megabytes."""
    chance = random.Random(17)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        database = open_records(Secret(f"sqlite:///{file}"), parts=("portfolio",))
        clock = ManualClock(NOW)
        ids = iter(f"{number:032x}" for number in range(1, 100))
        books, ledgers = SqlPortfolios(database, clock, lambda: next(ids)), SqlLedgers(database, clock)
        portfolio_id = next(ids)
        accounts = (PortfolioAccount(name="A"),)
        head = {"user_id": "ada", "name": "A", "currency": "USD", "created_at": NOW, "updated_at": NOW}
        await books.add(Portfolio(portfolio_id=portfolio_id, accounts=accounts, **head))  # type: ignore[arg-type]
        await books.connect("ada", portfolio_id, "A", Link(account_id=ACCOUNT, connection_id="@flex"), at=NOW)
        count, first = years * a_year, NOW - timedelta(days=365 * years)
        step = (NOW - first) / count

        def all_of(digest: str) -> list[Transaction]:
            return [happened(number, first + number * step, digest, chance) for number in range(1, count)]

        began = time.perf_counter()
        await ledgers.book("ada", portfolio_id, "A", RawPayload(what="benchmark", body=b"[]"), all_of, revision=0)
        written = time.perf_counter() - began
        size = file.stat().st_size / 1e6

        async def as_of(ledgers: SqlLedgers, day: date) -> float:
            until = datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC)
            began = time.perf_counter()
            told = await ledgers.told("ada", portfolio_id, "A", until=until)
            fold_ledger(told.account_id, told.transactions, opening=told.opening, rules=told.rules, until=until)
            return time.perf_counter() - began

        days = [first.date() + timedelta(days=chance.randint(0, 365 * years)) for _ in range(RUNS)]
        cold = [await as_of(SqlLedgers(database, clock), day) for day in days[:5]]
        warm = [await as_of(ledgers, day) for day in days]
        await database.close()
    return {
        "transactions": count,
        "rows": count / written,
        "megabytes": size,
        "first": statistics.median(cold),
        "first_worst": max(cold),
        "further": statistics.median(warm),
        "further_worst": max(warm),
    }


def measure() -> dict[str, float]:
    return anyio.run(measured)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    first, second = given + [10, 500][len(given) :]
    for name, figure in anyio.run(measured, first, second).items():
        print(f"{name:16} {figure:,.4f}")
