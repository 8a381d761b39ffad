"""Answers, files and bookings as they came: each once under its SHA-256, as long as something is read from it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from ibkit.errors import StorageError
from ibkit.portfolio.picture import RawPayload
from ibkit.store.ledger_rows import CORRECTIONS, STATEMENTS, TRANSACTIONS
from ibkit.store.portfolio_rows import RAW, USES, no_such

__all__ = ["digests_of", "drop_unused", "payload_of", "points_to", "put_payload", "put_uses"]

_TOLD = (USES, STATEMENTS, TRANSACTIONS, CORRECTIONS)
_AT_ONCE = 500
"""Parameters of one question."""


def put_payload(connection: Connection, payload: RawPayload, at: datetime) -> str:
    """Kept once, compressed: its SHA-256."""
    digest = hashlib.sha256(payload.body).hexdigest()
    if connection.execute(select(RAW.c.digest).where(RAW.c.digest == digest)).scalar() is None:
        values = {"digest": digest, "what": payload.what, "received_at": at, "size": len(payload.body)}
        connection.execute(insert(RAW).values(**values, body=zlib.compress(payload.body)))
    return digest


def payload_of(connection: Connection, digest: str) -> RawPayload:
    """NotFound. StorageError where it is not what it was."""
    row = connection.execute(select(RAW).where(RAW.c.digest == digest)).one_or_none()
    if row is None:
        raise no_such("payload")
    body = zlib.decompress(row.body)
    if hashlib.sha256(body).hexdigest() != digest:
        raise StorageError(f"Database problem: the payload {digest[:12]} is not what was kept")
    return RawPayload(what=row.what, body=body)


def put_uses(connection: Connection, account_key: str, run_id: str, digests: Iterable[str]) -> None:
    """A sync was read from these."""
    rows = [{"run_id": run_id, "digest": each, "account_key": account_key} for each in sorted(set(digests))]
    if rows:
        connection.execute(insert(USES), rows)


def points_to(connection: Connection, account_keys: Sequence[str], digest: str) -> bool:
    """Whether something of these accounts was read from it."""
    for table in _TOLD:
        query = select(table.c.digest).where(table.c.account_key.in_(account_keys), table.c.digest == digest)
        if connection.execute(query.limit(1)).scalar() is not None:
            return True
    return False


def digests_of(connection: Connection, account_keys: Sequence[str]) -> set[str]:
    """All that something of these accounts was read from."""
    found: set[str] = set()
    for table in _TOLD:
        query = select(table.c.digest).where(table.c.account_key.in_(account_keys)).distinct()
        found |= set(connection.execute(query).scalars())
    return found


def drop_unused(connection: Connection, digests: Collection[str]) -> None:
    """Those of them from which nothing of anybody is read any more: two accounts may have had the same answer.

    Each table finds them by an index of its own: it costs what these digests cost, whatever others keep.
    """
    left = sorted(digests)
    for table in _TOLD:
        used: set[str] = set()
        for at in range(0, len(left), _AT_ONCE):
            query = select(table.c.digest).where(table.c.digest.in_(left[at : at + _AT_ONCE])).distinct()
            used |= set(connection.execute(query).scalars())
        left = [each for each in left if each not in used]
    for at in range(0, len(left), _AT_ONCE):
        connection.execute(delete(RAW).where(RAW.c.digest.in_(left[at : at + _AT_ONCE])))
