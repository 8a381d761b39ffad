"""The tables of portfolios as the present code knows them, and rows to and from values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)

from ibkit.clock import Clock
from ibkit.errors import ConfigError, NotFound, TradingError
from ibkit.portfolio.book import (
    Holding,
    HoldingSource,
    Link,
    Portfolio,
    PortfolioAccount,
    Security,
    SyncError,
    SyncStatus,
)
from ibkit.portfolio.kinds import SecurityKind
from ibkit.store.columns import Exact, Instant
from ibkit.store.database import SCHEMA

__all__ = [
    "ACCOUNTS",
    "HOLDINGS",
    "LONGEST_TEXT",
    "NO_LINK",
    "PORTFOLIOS",
    "RAW",
    "RUNS",
    "SECURITIES",
    "USES",
    "AccountRow",
    "account_of",
    "account_rows",
    "accounts_of",
    "changed_meanwhile",
    "conflict",
    "found_in",
    "holding_values",
    "holdings_by_account",
    "holdings_from_json",
    "holdings_to_json",
    "link_of",
    "link_values",
    "lock_portfolio",
    "no_such",
    "now_of",
    "portfolio_of",
    "put_holdings",
    "put_securities",
    "remove_holdings",
    "securities_of",
    "update_account",
]

LONGEST_TEXT = 500
_METADATA = MetaData(schema=SCHEMA)
PORTFOLIOS = Table(
    "portfolios",
    _METADATA,
    Column("portfolio_id", String, primary_key=True),
    *(Column(name, String) for name in ("user_id", "name", "currency")),
    Column("version", Integer),
    *(Column(name, Instant) for name in ("created_at", "updated_at")),
)
ACCOUNTS = Table(
    "portfolio_accounts",
    _METADATA,
    Column("account_key", String, primary_key=True),
    *(Column(name, String) for name in ("portfolio_id", "name")),
    Column("place", Integer),
    Column("set_aside", JSON(none_as_null=True)),
    *(Column(name, String) for name in ("account_id", "connection_id", "username")),
    *(Column(name, Boolean) for name in ("sync_enabled", "read_only", "keep_manual")),
    Column("currency", String),
    Column("total_value", Exact),
    Column("status", String),
    Column("last_sync", Instant),
    *(Column(name, String) for name in ("error_code", "error_message", "error_remedy")),
    *(Column(name, Integer) for name in ("failures", "fence")),
    Column("claimed_until", Instant),
)
HOLDINGS = Table(
    "portfolio_holdings",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("account_key", "symbol")),
    Column("conid", Integer, primary_key=True),
    Column("model", String, primary_key=True),
    Column("units", Exact),
    *(Column(name, String) for name in ("source", "currency", "kind")),
    *(
        Column(name, Exact)
        for name in ("average_cost", "market_price", "market_value", "unrealized_pnl", "realized_pnl")
    ),
    *(Column(name, String) for name in ("asset_class", "exchange")),
    Column("multiplier", Exact),
    Column("expiry", Date),
    Column("strike", Exact),
    Column("right", String),
    Column("underlying_conid", Integer),
    Column("synced_at", Instant),
    Column("run_id", String),
)
SECURITIES = Table(
    "portfolio_securities",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("portfolio_id", "symbol")),
    Column("conid", Integer, primary_key=True),
    *(Column(name, String) for name in ("name", "kind", "currency")),
    Column("tags", JSON),
    Column("unit_price", Exact),
    *(Column(name, String) for name in ("identifier", "exchange", "sector")),
)
RUNS = Table(
    "portfolio_sync_runs",
    _METADATA,
    Column("run_id", String, primary_key=True),
    *(Column(name, String) for name in ("portfolio_id", "account_key", "account_id")),
    Column("ended_at", Instant),
    Column("code", String),
    *(Column(name, Integer) for name in ("added", "changed", "removed", "new_securities")),
    Column("raw", JSON),
)
USES = Table(
    "portfolio_payload_uses",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("run_id", "digest")),
    Column("account_key", String),
)
RAW = Table(
    "raw_payloads",
    _METADATA,
    Column("digest", String, primary_key=True),
    Column("what", String),
    Column("received_at", Instant),
    Column("size", Integer),
    Column("body", LargeBinary),
)

NO_LINK: Mapping[str, Any] = {
    "account_id": None,
    "connection_id": "",
    "username": "",
    "sync_enabled": False,
    "read_only": True,
    "keep_manual": False,
    "currency": "",
    "total_value": None,
    "status": SyncStatus.IDLE.value,
    "last_sync": None,
    "error_code": "",
    "error_message": "",
    "error_remedy": "",
    "failures": 0,
}
_STOPPED = SyncError(
    code="E-SYNC-FAILED",
    message="Sync failed: the process that ran it ended",
    remedy="Holdings were left unchanged. Sync it again.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    account_key: str
    portfolio_id: str
    name: str
    link: Link | None
    set_aside: list[dict[str, Any]] | None
    fence: int
    claimed_until: datetime | None


def link_values(link: Link) -> dict[str, Any]:
    """The columns of what a person decides; those of the last sync begin anew."""
    return {
        **NO_LINK,
        "account_id": link.account_id,
        "connection_id": link.connection_id,
        "username": link.username,
        "sync_enabled": link.sync_enabled,
        "read_only": link.read_only,
        "keep_manual": link.keep_manual,
    }


def account_rows(connection: Connection, query: Any, now: datetime) -> list[AccountRow]:
    """now: a sync that has not been prolonged until then runs no more, whatever its row says."""
    return [account_of(row, now) for row in connection.execute(query)]


def account_of(row: Row[Any], now: datetime) -> AccountRow:
    return AccountRow(
        account_key=row.account_key,
        portfolio_id=row.portfolio_id,
        name=row.name,
        link=None if row.account_id is None else _link(row, now),
        set_aside=row.set_aside,
        fence=row.fence,
        claimed_until=row.claimed_until,
    )


def _link(row: Row[Any], now: datetime) -> Link:
    status = SyncStatus(row.status)
    error = None
    if row.error_code:
        error = SyncError(code=row.error_code, message=row.error_message, remedy=row.error_remedy)
    if status is SyncStatus.SYNCING and (row.claimed_until is None or row.claimed_until <= now):
        status, error = SyncStatus.ERROR, _STOPPED
    return Link(
        account_id=row.account_id,
        connection_id=row.connection_id,
        username=row.username,
        sync_enabled=row.sync_enabled,
        read_only=row.read_only,
        keep_manual=row.keep_manual,
        currency=row.currency,
        total_value=row.total_value,
        status=status,
        last_sync=row.last_sync,
        error=error,
        failures=row.failures,
    )


def holding_values(account_key: str, holding: Holding, run_id: str) -> dict[str, Any]:
    return {
        "account_key": account_key,
        "symbol": holding.symbol,
        "conid": holding.conid or 0,
        "model": holding.model,
        "units": holding.units,
        "source": holding.source.value,
        "currency": holding.currency,
        "kind": "" if holding.kind is None else holding.kind.value,
        "average_cost": holding.average_cost,
        "market_price": holding.market_price,
        "market_value": holding.market_value,
        "unrealized_pnl": holding.unrealized_pnl,
        "realized_pnl": holding.realized_pnl,
        "asset_class": holding.asset_class,
        "exchange": holding.exchange,
        "multiplier": holding.multiplier,
        "expiry": holding.expiry,
        "strike": holding.strike,
        "right": holding.right,
        "underlying_conid": holding.underlying_conid,
        "synced_at": holding.synced_at,
        "run_id": run_id,
    }


def _holding(row: Any) -> Holding:
    return Holding(
        symbol=row.symbol,
        units=row.units,
        conid=row.conid or None,
        source=HoldingSource(row.source),
        currency=row.currency,
        kind=SecurityKind(row.kind) if row.kind else None,
        average_cost=row.average_cost,
        market_price=row.market_price,
        market_value=row.market_value,
        unrealized_pnl=row.unrealized_pnl,
        realized_pnl=row.realized_pnl,
        asset_class=row.asset_class,
        exchange=row.exchange,
        multiplier=row.multiplier,
        expiry=row.expiry,
        strike=row.strike,
        right=row.right,
        underlying_conid=row.underlying_conid,
        model=row.model,
        synced_at=row.synced_at,
    )


def holdings_by_account(connection: Connection, account_keys: Iterable[str]) -> dict[str, list[Holding]]:
    """By symbol."""
    found: dict[str, list[Holding]] = {}
    order = (HOLDINGS.c.symbol, HOLDINGS.c.conid, HOLDINGS.c.model)
    query = select(HOLDINGS).where(HOLDINGS.c.account_key.in_(list(account_keys))).order_by(*order)
    for row in connection.execute(query):
        found.setdefault(row.account_key, []).append(_holding(row))
    return found


def put_holdings(connection: Connection, account_key: str, holdings: Iterable[Holding], run_id: str = "") -> None:
    """Written in place of those of the same keys."""
    rows = [holding_values(account_key, holding, run_id) for holding in holdings]
    if rows:
        remove_holdings(connection, account_key, ((row["symbol"], row["conid"], row["model"]) for row in rows))
        connection.execute(insert(HOLDINGS), rows)


def remove_holdings(connection: Connection, account_key: str, keys: Iterable[tuple[str, int, str]]) -> None:
    rows = [{"k": account_key, "s": symbol, "c": conid, "m": model} for symbol, conid, model in keys]
    if rows:
        these = (
            HOLDINGS.c.account_key == bindparam("k"),
            HOLDINGS.c.symbol == bindparam("s"),
            HOLDINGS.c.conid == bindparam("c"),
            HOLDINGS.c.model == bindparam("m"),
        )
        connection.execute(delete(HOLDINGS).where(*these), rows)


def securities_of(connection: Connection, portfolio_id: str) -> tuple[Security, ...]:
    query = select(SECURITIES).where(SECURITIES.c.portfolio_id == portfolio_id)
    rows = connection.execute(query.order_by(SECURITIES.c.symbol, SECURITIES.c.conid))
    return tuple(
        Security(
            symbol=row.symbol,
            name=row.name,
            kind=SecurityKind(row.kind),
            currency=row.currency,
            tags=tuple(row.tags),
            unit_price=row.unit_price,
            conid=row.conid or None,
            identifier=row.identifier,
            exchange=row.exchange,
            sector=row.sector,
        )
        for row in rows
    )


def put_securities(connection: Connection, portfolio_id: str, after: Iterable[Security]) -> None:
    """Bring the rows to `after`: what is the same is not written."""
    before = {security.key: security for security in securities_of(connection, portfolio_id)}
    wanted = {security.key: security for security in after}
    put = [security for key, security in wanted.items() if before.get(key) != security]
    gone = [key for key in before if key not in wanted or before[key] != wanted[key]]
    if gone:
        these = (
            SECURITIES.c.portfolio_id == bindparam("p"),
            SECURITIES.c.symbol == bindparam("s"),
            SECURITIES.c.conid == bindparam("c"),
        )
        rows = [{"p": portfolio_id, "s": symbol, "c": conid} for symbol, conid in gone]
        connection.execute(delete(SECURITIES).where(*these), rows)
    if put:
        connection.execute(insert(SECURITIES), [_security_values(portfolio_id, security) for security in put])


def _security_values(portfolio_id: str, security: Security) -> dict[str, Any]:
    return {
        "portfolio_id": portfolio_id,
        "symbol": security.symbol,
        "conid": security.conid or 0,
        "name": security.name,
        "kind": security.kind.value,
        "currency": security.currency,
        "tags": list(security.tags),
        "unit_price": security.unit_price,
        "identifier": security.identifier,
        "exchange": security.exchange,
        "sector": security.sector,
    }


def portfolio_of(connection: Connection, row: Row[Any], now: datetime) -> Portfolio:
    """All of it."""
    query = select(ACCOUNTS).where(ACCOUNTS.c.portfolio_id == row.portfolio_id)
    accounts = account_rows(connection, query.order_by(ACCOUNTS.c.place, ACCOUNTS.c.name), now)
    held = holdings_by_account(connection, (each.account_key for each in accounts))
    return Portfolio(
        portfolio_id=row.portfolio_id,
        user_id=row.user_id,
        name=row.name,
        currency=row.currency,
        accounts=tuple(
            PortfolioAccount(
                name=each.name,
                holdings=tuple(held.get(each.account_key, ())),
                link=each.link,
                set_aside=bool(each.set_aside),
            )
            for each in accounts
        ),
        securities=securities_of(connection, row.portfolio_id),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def holdings_to_json(holdings: Iterable[Holding]) -> list[dict[str, Any]]:
    """Those made by hand, which have a symbol, units and perhaps a currency, and no more."""
    return [
        {"symbol": each.symbol, "units": f"{each.units:f}", "currency": each.currency, "conid": each.conid}
        for each in holdings
    ]


def holdings_from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Holding, ...]:
    return tuple(
        Holding(symbol=row["symbol"], units=Decimal(row["units"]), currency=row["currency"], conid=row["conid"])
        for row in rows
    )


def update_account(connection: Connection, row: AccountRow, values: Mapping[str, Any]) -> None:
    connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.account_key == row.account_key).values(dict(values)))


def lock_portfolio(connection: Connection, portfolio_id: str) -> None:
    """Whoever else changes it waits. A file has one writer anyway; on a server this holds processes apart."""
    this = select(PORTFOLIOS.c.portfolio_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
    connection.execute(this.with_for_update())


def now_of(connection: Connection, clock: Clock) -> datetime:
    """Of the server where processes of several machines meet (fault F103)."""
    if connection.dialect.name == "postgresql":
        found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return found
    return clock.now()


def no_such(thing: str) -> NotFound:
    """E-NOT-FOUND, in the same words for what is another user's."""
    return NotFound(f"{thing} not found", code="E-NOT-FOUND", details={"thing": thing})


def conflict(why: str, remedy: str) -> ConfigError:
    return ConfigError(f"Not possible as it stands: {why}", code="E-CONFLICT", remedy=remedy)


def changed_meanwhile(seen: int, there: int) -> ConfigError:
    return conflict(
        f"somebody changed the portfolio meanwhile (version {there}, you saw {seen})",
        "Read it again, and make your change on what it is now.",
    )


def accounts_of(connection: Connection, portfolio_id: str, now: datetime, name: str | None = None) -> list[AccountRow]:
    query = select(ACCOUNTS).where(ACCOUNTS.c.portfolio_id == portfolio_id)
    if name is not None:
        query = query.where(ACCOUNTS.c.name == name)
    return account_rows(connection, query, now)


def found_in(rows: Sequence[AccountRow]) -> AccountRow:
    if not rows:
        raise no_such("account")
    return rows[0]


def link_of(row: AccountRow) -> Link:
    """TradingError (E-NOT-CONNECTED)."""
    if row.link is None:
        raise TradingError(code="E-NOT-CONNECTED", details={"account": row.name})
    return row.link
