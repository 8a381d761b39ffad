"""The tables of ledgers as the present code knows them, and rows to and from values. Decimals are text in them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, Boolean, Column, Date, Integer, LargeBinary, MetaData, String, Table, Text

from ibkit.errors import StorageError
from ibkit.portfolio.statements import CashTold, PositionTold, StatementTold
from ibkit.portfolio.transactions import (
    Converted,
    CorporateAction,
    Origin,
    Paid,
    Traded,
    Transaction,
    Transferred,
)
from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = [
    "CORRECTIONS",
    "DIFFERENCES",
    "LEDGERS",
    "LEDGER_TABLES",
    "STATEMENTS",
    "TRANSACTIONS",
    "pack_transaction",
    "statement_of",
    "statement_values",
    "transaction_of",
    "transaction_values",
]

_METADATA = MetaData(schema=SCHEMA)
LEDGERS = Table(
    "portfolio_ledgers",
    _METADATA,
    Column("account_key", String, primary_key=True),
    Column("revision", Integer),
    Column("lot_order", String),
    Column("premium_into_stock", Boolean),
    Column("picks", JSON),
)
STATEMENTS = Table(
    "portfolio_statements",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("account_key", "digest")),
    Column("number", Integer, primary_key=True),
    Column("account_id", String),
    Column("origin", Integer),
    *(Column(name, Date) for name in ("first", "last")),
    *(Column(name, Instant) for name in ("made_at", "kept_at")),
    Column("base", String),
    *(Column(name, Boolean) for name in ("tells_cash", "tells_holdings")),
    Column("missing", JSON),
    Column("body", LargeBinary),
)
TRANSACTIONS = Table(
    "portfolio_transactions",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("account_key", "account_id", "key")),
    Column("at", Instant),
    Column("booked_on", Date),
    Column("origin", Integer),
    Column("kind", String),
    Column("conid", Integer),
    Column("digest", String),
    Column("body", Text),
)
CORRECTIONS = Table(
    "portfolio_corrections",
    _METADATA,
    Column("account_key", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    *(Column(name, String) for name in ("account_id", "key")),
    Column("noted_at", Instant),
    Column("digest", String),
    *(Column(name, JSON) for name in ("what", "before", "after")),
)
DIFFERENCES = Table(
    "portfolio_differences",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("account_key", "item_id")),
    *(Column(name, String) for name in ("subject", "state")),
    *(Column(name, Instant) for name in ("found_at", "seen_at", "settled_at")),
    *(Column(name, String) for name in ("settled_by", "note")),
    Column("body", Text),
)
LEDGER_TABLES: Final = (TRANSACTIONS, CORRECTIONS, STATEMENTS, DIFFERENCES, LEDGERS)
"""What goes with an account that is deleted."""

_KINDS: Mapping[str, type[Transaction]] = {
    each.__name__: each for each in (Traded, Paid, Converted, Transferred, CorporateAction)
}
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class _StatementBody:
    """What of a statement has no column of its own."""

    cash: tuple[CashTold, ...]
    positions: tuple[PositionTold, ...]
    sections: frozenset[str]
    unbooked: tuple[str, ...]
    rates: Mapping[str, Decimal]
    closing_rates: Mapping[str, Decimal]
    worth: Decimal | None


def pack_transaction(this: Transaction) -> tuple[str, str]:
    """(kind, body)."""
    return type(this).__name__, _ENCODER.encode(this).decode()


def transaction_of(kind: str, body: str) -> Transaction:
    """StorageError for what this version cannot read: half a ledger would be wrong money."""
    try:
        found: Transaction = _decoder(kind).decode(body)
    except (KeyError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"Database problem: a ledger holds a transaction {kind} that this ibkit cannot read",
            remedy="Update ibkit: the ledger was written by another version.",
        ) from error
    return found


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_KINDS[kind])


def transaction_values(account_key: str, this: Transaction) -> dict[str, Any]:
    kind, body = pack_transaction(this)
    listed = getattr(this, "listed", None)
    return {
        "account_key": account_key,
        "account_id": this.account_id,
        "key": this.key,
        "at": this.at,
        "booked_on": this.booked_on,
        "origin": int(this.origin),
        "kind": kind,
        "conid": 0 if listed is None else listed.conid,
        "digest": this.source.digest,
        "body": body,
    }


def statement_values(account_key: str, told: StatementTold) -> dict[str, Any]:
    body = _StatementBody(
        cash=told.cash,
        positions=told.positions,
        sections=told.sections,
        unbooked=told.unbooked,
        rates=told.rates,
        closing_rates=told.closing_rates,
        worth=told.worth,
    )
    return {
        "account_key": account_key,
        "digest": told.digest,
        "number": told.number,
        "account_id": told.account_id,
        "origin": int(told.origin),
        "first": told.first,
        "last": told.last,
        "made_at": told.made_at,
        "base": told.base[:5],
        "tells_cash": bool(told.cash),
        "tells_holdings": told.tells_holdings,
        "missing": list(told.missing),
        "body": zlib.compress(_ENCODER.encode(body)),
    }


def statement_of(row: Any) -> StatementTold:
    """Without its transactions, which stand by themselves. StorageError."""
    try:
        body = msgspec.json.decode(zlib.decompress(row.body), type=_StatementBody)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise StorageError(
            "Database problem: a ledger holds a statement that this ibkit cannot read",
            remedy="Update ibkit: the ledger was written by another version.",
        ) from error
    return StatementTold(
        account_id=row.account_id,
        origin=Origin(row.origin),
        digest=row.digest,
        number=row.number,
        first=row.first,
        last=row.last,
        made_at=row.made_at,
        base=row.base,
        cash=body.cash,
        positions=body.positions,
        sections=body.sections,
        missing=tuple(row.missing),
        unbooked=body.unbooked,
        rates=body.rates,
        closing_rates=body.closing_rates,
        worth=body.worth,
    )
