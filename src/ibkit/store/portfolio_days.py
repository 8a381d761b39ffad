"""Daily snapshots of accounts in SQL, and the flows between them: written by each good sync, asked as of a day.

Source: requirement FUT-05.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Date,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from ibkit.clock import Clock
from ibkit.errors import ConfigError
from ibkit.portfolio.book import Holding, HoldingSource
from ibkit.portfolio.days import AccountDay, Flows, Worth, replaces, spans_with
from ibkit.portfolio.kinds import SecurityKind
from ibkit.store.columns import Exact, Instant
from ibkit.store.database import SCHEMA, Database
from ibkit.store.migrating import for_engine
from ibkit.store.portfolio_rows import PORTFOLIOS, AccountRow, accounts_of, found_in, lock_portfolio, no_such, now_of

__all__ = ["DAY_TABLES", "SqlDays", "put_day", "put_flows"]

_METADATA = MetaData(schema=SCHEMA)
_DAYS = Table(
    "portfolio_days",
    _METADATA,
    Column("account_key", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("account_id", String),
    Column("taken_at", Instant),
    Column("currency", String),
    Column("net_liquidation", Exact),
    Column("rates", JSON),
    Column("cash", JSON),
    Column("body", LargeBinary),
)
_FLOWS = Table(
    "portfolio_flows",
    _METADATA,
    Column("account_key", String, primary_key=True),
    Column("account_id", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("amount", Exact),
)
_SPANS = Table(
    "portfolio_flow_spans",
    _METADATA,
    Column("account_key", String, primary_key=True),
    Column("account_id", String, primary_key=True),
    Column("since", Date, primary_key=True),
    Column("until", Date),
)
DAY_TABLES: Final = (_DAYS, _FLOWS, _SPANS)
"""What goes with an account that is deleted."""
_NUMBERS: Final = (
    "units",
    "average_cost",
    "market_price",
    "market_value",
    "unrealized_pnl",
    "realized_pnl",
    "multiplier",
    "strike",
)
_TEXTS: Final = ("symbol", "currency", "asset_class", "exchange", "right", "model")

T = TypeVar("T")


class SqlDays:
    """database: with the part `portfolio`. What is not `user_id`'s is not found. StorageError."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def as_of(self, user_id: str, portfolio_id: str, day: date) -> Mapping[str, AccountDay | None]:
        """By account's name: its newest snapshot of `day` or before, None where there is none. NotFound."""

        def work(connection: Connection) -> Mapping[str, AccountDay | None]:
            found: dict[str, AccountDay | None] = {}
            for row in self._accounts(connection, user_id, portfolio_id):
                query = select(_DAYS).where(_DAYS.c.account_key == row.account_key, _DAYS.c.day <= day)
                there = connection.execute(query.order_by(_DAYS.c.day.desc()).limit(1)).one_or_none()
                found[row.name] = None if there is None else _day(there)
            return found

        return await self._reading(work)

    async def worths(
        self, user_id: str, portfolio_id: str, since: date, until: date
    ) -> Mapping[str, tuple[Sequence[Worth], Flows]]:
        """By account's name: its days from `since` to `until`, both included, and all that is known of its flows.

        Days of another account of IBKR's than that of the last one are left out: their worth is another's. NotFound.
        """

        def work(connection: Connection) -> Mapping[str, tuple[Sequence[Worth], Flows]]:
            found = {}
            for row in self._accounts(connection, user_id, portfolio_id):
                worths = _worths(connection, row.account_key, since, until)
                account_id = worths[-1].account_id if worths else _account_id(connection, row)
                found[row.name] = worths, _flows(connection, row.account_key, account_id)
            return found

        return await self._reading(work)

    async def put_flows(
        self,
        user_id: str,
        portfolio_id: str,
        account_name: str,
        *,
        since: date,
        until: date,
        amounts: Mapping[date, Decimal],
    ) -> Flows:
        """From `since` to `until` these, in the account's base currency, and no others came or went.

        What was known of these days is replaced. NotFound; ConfigError (E-VALIDATION) for a day outside them.
        """
        if since > until:
            raise _invalid("from", f"{since} comes after {until}")
        for day, amount in amounts.items():
            if not since <= day <= until:
                raise _invalid("flows", f"{day} is not between {since} and {until}")
            if not amount.is_finite():
                raise _invalid("flows", f"of {day}: it is a number")

        def work(connection: Connection) -> Flows:
            lock_portfolio(connection, portfolio_id)
            accounts = self._accounts(connection, user_id, portfolio_id)
            row = found_in([row for row in accounts if row.name == account_name])
            return put_flows(
                connection, row.account_key, _account_id(connection, row), since=since, until=until, amounts=amounts
            )

        return await self._database.write(lambda connection: work(for_engine(connection)))

    def _accounts(self, connection: Connection, user_id: str, portfolio_id: str) -> list[AccountRow]:
        owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
        if connection.execute(owner).scalar() != user_id:
            raise no_such("portfolio")
        return accounts_of(connection, portfolio_id, now_of(connection, self._clock))

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(lambda connection: work(for_engine(connection)))


def put_day(connection: Connection, account_key: str, day: AccountDay) -> bool:
    """In place of what the day was before, see `replaces`; whether anything was written."""
    worth = day.worth
    values = {
        "account_id": worth.account_id,
        "currency": worth.currency,
        "net_liquidation": worth.net_liquidation,
        "rates": _texts(worth.rates),
        "cash": _texts(day.cash),
        "body": zlib.compress(json.dumps([_packed(each) for each in day.holdings], separators=(",", ":")).encode()),
    }
    this = (_DAYS.c.account_key == account_key, _DAYS.c.day == worth.day)
    there = connection.execute(select(_DAYS).where(*this)).one_or_none()
    if there is None:
        new = {"account_key": account_key, "day": worth.day, "taken_at": day.taken_at}
        connection.execute(insert(_DAYS).values(**new, **values))
        return True
    if not replaces(day.taken_at, there.taken_at):
        return False
    if all(getattr(there, name) == value for name, value in values.items()):
        return False
    connection.execute(update(_DAYS).where(*this).values(taken_at=day.taken_at, **values))
    return True


def put_flows(
    connection: Connection,
    account_key: str,
    account_id: str,
    *,
    since: date,
    until: date,
    amounts: Mapping[date, Decimal],
) -> Flows:
    """In place of what was known of these days; of an account whose portfolio is locked. account_id: at IBKR."""
    own = (_FLOWS.c.account_key == account_key, _FLOWS.c.account_id == account_id)
    connection.execute(delete(_FLOWS).where(*own, _FLOWS.c.day >= since, _FLOWS.c.day <= until))
    head = {"account_key": account_key, "account_id": account_id}
    rows = [{**head, "day": day, "amount": amount} for day, amount in amounts.items() if amount]
    if rows:
        connection.execute(insert(_FLOWS), rows)
    spans = spans_with(_flows(connection, account_key, account_id).known, (since, until))
    connection.execute(delete(_SPANS).where(_SPANS.c.account_key == account_key, _SPANS.c.account_id == account_id))
    connection.execute(insert(_SPANS), [{**head, "since": first, "until": last} for first, last in spans])
    return _flows(connection, account_key, account_id)


def _account_id(connection: Connection, row: AccountRow) -> str:
    """At IBKR: that of the link, else of the newest snapshot; "" where it never had one."""
    if row.link is not None:
        return row.link.account_id
    query = select(_DAYS.c.account_id).where(_DAYS.c.account_key == row.account_key)
    return connection.execute(query.order_by(_DAYS.c.day.desc()).limit(1)).scalar() or ""


def _worths(connection: Connection, account_key: str, since: date, until: date) -> tuple[Worth, ...]:
    columns = (_DAYS.c.day, _DAYS.c.account_id, _DAYS.c.currency, _DAYS.c.net_liquidation, _DAYS.c.rates)
    these = (_DAYS.c.account_key == account_key, _DAYS.c.day >= since, _DAYS.c.day <= until)
    found = [_worth(row) for row in connection.execute(select(*columns).where(*these).order_by(_DAYS.c.day))]
    return tuple(each for each in found if each.account_id == found[-1].account_id)


def _flows(connection: Connection, account_key: str, account_id: str) -> Flows:
    """What is known of one account of IBKR's says nothing of another one that is linked later."""
    spans, days = (
        connection.execute(select(table).where(table.c.account_key == account_key, table.c.account_id == account_id))
        for table in (_SPANS, _FLOWS)
    )
    return Flows(
        known=tuple(sorted((row.since, row.until) for row in spans)),
        amounts={row.day: row.amount for row in sorted(days, key=lambda row: row.day)},
    )


def _worth(row: Any) -> Worth:
    return Worth(
        day=row.day,
        account_id=row.account_id,
        currency=row.currency,
        net_liquidation=row.net_liquidation,
        rates={currency: Decimal(rate) for currency, rate in row.rates.items()},
    )


def _day(row: Any) -> AccountDay:
    return AccountDay(
        worth=_worth(row),
        taken_at=row.taken_at,
        cash={currency: Decimal(cash) for currency, cash in row.cash.items()},
        holdings=tuple(_unpacked(each, row.taken_at) for each in json.loads(zlib.decompress(row.body))),
    )


def _texts(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: f"{amount:f}" for currency, amount in sorted(amounts.items())}


def _packed(holding: Holding) -> dict[str, Any]:
    """What is there, by name; a figure as its digits. When it was synced is the snapshot's own instant."""
    found: dict[str, Any] = {name: getattr(holding, name) for name in _TEXTS if getattr(holding, name)}
    for name in _NUMBERS:
        value = getattr(holding, name)
        if value is not None:
            found[name] = f"{value:f}"
    if holding.source is HoldingSource.MANUAL:
        found["manual"] = 1
    if holding.kind is not None:
        found["kind"] = holding.kind.value
    if holding.expiry is not None:
        found["expiry"] = holding.expiry.isoformat()
    if holding.conid is not None:
        found["conid"] = holding.conid
    if holding.underlying_conid is not None:
        found["underlying_conid"] = holding.underlying_conid
    return found


def _unpacked(row: Mapping[str, Any], at: datetime) -> Holding:
    numbers: dict[str, Any] = {name: Decimal(row[name]) for name in _NUMBERS if name in row}
    manual = "manual" in row
    return Holding(
        **{name: row[name] for name in _TEXTS if name in row},
        **numbers,
        source=HoldingSource.MANUAL if manual else HoldingSource.IBKR,
        kind=SecurityKind(row["kind"]) if "kind" in row else None,
        expiry=date.fromisoformat(row["expiry"]) if "expiry" in row else None,
        conid=row.get("conid"),
        underlying_conid=row.get("underlying_conid"),
        synced_at=None if manual else at,
    )


def _invalid(field: str, why: str) -> ConfigError:
    return ConfigError(
        f"Invalid request: {field}: {why}",
        code="E-VALIDATION",
        remedy="Correct the field named; nothing was changed.",
        details={"errors": [{"field": field, "message": why}]},
    )
