"""Differences of accounts in SQL: found, settled by a person, or gone by themselves. None is ever deleted.

    open ── accepted by a person ──▶ accepted ── it differs by another amount ──▶ open
      └──── it differs no more ─────▶ resolved  (from accepted, too); found again later it is a new one

Source: requirement FUT-08.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.portfolio.reconciling import Difference
from ibkit.store.database import Database
from ibkit.store.ledger_rows import DIFFERENCES
from ibkit.store.migrating import for_engine
from ibkit.store.portfolio_rows import (
    PORTFOLIOS,
    AccountRow,
    accounts_of,
    conflict,
    found_in,
    lock_portfolio,
    no_such,
    now_of,
)

__all__ = ["InboxItem", "InboxState", "SqlInbox"]

LONGEST_NOTE = 500

T = TypeVar("T")


class InboxState(enum.Enum):
    OPEN = "open"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """seen_at: when it differed last. settled_by: who accepted it, "" where it went away by itself."""

    item_id: str
    state: InboxState
    found_at: datetime
    seen_at: datetime
    settled_at: datetime | None
    settled_by: str
    note: str
    difference: Difference


class SqlInbox:
    """database: with the part `portfolio`. What is another's is NotFound.

    A difference has the same id before and after it is written down: made of its account, its subject, and how many of
    that subject there were before. So it can be shown without writing, and settled by the id that was shown.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def bring_up(
        self, user_id: str, portfolio_id: str, account_name: str, differences: Sequence[Difference]
    ) -> tuple[InboxItem, ...]:
        """Make the items what differs now; those that are open or accepted, the oldest first."""

        def work(connection: Connection) -> tuple[InboxItem, ...]:
            lock_portfolio(connection, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            now = now_of(connection, self._clock)
            standing = {each.difference.subject: each for each in _items(connection, row, resolved=False)}
            for each in differences:
                there = standing.pop(each.subject, None)
                if there is None:
                    _found(connection, row, _new_item(connection, row, each, now, now))
                else:
                    _seen(connection, row, there, each, now)
            for gone in standing.values():
                _settle(connection, row, gone.item_id, {"state": InboxState.RESOLVED.value, "settled_at": now})
            return _items(connection, row, resolved=False)

        return await self._write(work)

    async def shown(
        self, user_id: str, portfolio_id: str, account_name: str, differences: Sequence[Difference]
    ) -> tuple[InboxItem, ...]:
        """What `bring_up` would make of them, without writing anything. One that is new was found when it differed."""

        def work(connection: Connection) -> tuple[InboxItem, ...]:
            row = self._account(connection, user_id, portfolio_id, account_name)
            now = now_of(connection, self._clock)
            standing = {each.difference.subject: each for each in _items(connection, row, resolved=False)}
            found = []
            for each in differences:
                there = standing.get(each.subject)
                if there is None:
                    found.append(_new_item(connection, row, each, min(each.at, now), now))
                    continue
                item = replace(there, seen_at=now, difference=each)
                if _reopens(there, each):
                    item = replace(item, state=InboxState.OPEN, settled_at=None, settled_by="")
                found.append(item)
            return tuple(sorted(found, key=lambda item: (item.found_at, item.difference.subject, item.item_id)))

        return await self._database.read(lambda connection: work(for_engine(connection)))

    async def items(
        self, user_id: str, portfolio_id: str, account_name: str, *, resolved: bool = False
    ) -> tuple[InboxItem, ...]:
        """As they were brought up last. resolved: those that are over as well."""

        def work(connection: Connection) -> tuple[InboxItem, ...]:
            row = self._account(connection, user_id, portfolio_id, account_name)
            return _items(connection, row, resolved=resolved)

        return await self._database.read(lambda connection: work(for_engine(connection)))

    async def accept(
        self, user_id: str, portfolio_id: str, account_name: str, item_id: str, *, by: str, note: str = ""
    ) -> InboxItem:
        """It is known, and stays as it is until it differs by another amount. ConfigError (E-CONFLICT)."""

        def work(connection: Connection) -> InboxItem:
            lock_portfolio(connection, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            there = _one(connection, row, item_id)
            if there.state is InboxState.RESOLVED:
                raise conflict("that difference is none any more", "Nothing was changed.")
            values = {
                "state": InboxState.ACCEPTED.value,
                "settled_at": now_of(connection, self._clock),
                "settled_by": by,
                "note": note[:LONGEST_NOTE],
            }
            _settle(connection, row, item_id, values)
            return _one(connection, row, item_id)

        return await self._write(work)

    async def one(self, user_id: str, portfolio_id: str, account_name: str, item_id: str) -> InboxItem:
        def work(connection: Connection) -> InboxItem:
            return _one(connection, self._account(connection, user_id, portfolio_id, account_name), item_id)

        return await self._database.read(lambda connection: work(for_engine(connection)))

    def _account(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> AccountRow:
        owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
        if connection.execute(owner).scalar() != user_id:
            raise no_such("portfolio")
        return found_in(accounts_of(connection, portfolio_id, now_of(connection, self._clock), name))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(lambda connection: work(for_engine(connection)))


def _new_item(
    connection: Connection, row: AccountRow, difference: Difference, found_at: datetime, now: datetime
) -> InboxItem:
    subject = difference.subject
    these = (DIFFERENCES.c.account_key == row.account_key, DIFFERENCES.c.subject == subject)
    before = connection.execute(select(func.count()).select_from(DIFFERENCES).where(*these)).scalar()
    return InboxItem(
        item_id=hashlib.sha256(f"{row.account_key}\n{subject}\n{before}".encode()).hexdigest()[:32],
        state=InboxState.OPEN,
        found_at=found_at,
        seen_at=now,
        settled_at=None,
        settled_by="",
        note="",
        difference=difference,
    )


def _found(connection: Connection, row: AccountRow, new: InboxItem) -> None:
    values = {
        "account_key": row.account_key,
        "item_id": new.item_id,
        "subject": new.difference.subject,
        "state": new.state.value,
        "found_at": new.found_at,
        "seen_at": new.seen_at,
        "settled_by": new.settled_by,
        "note": new.note,
        "body": _packed(new.difference),
    }
    connection.execute(insert(DIFFERENCES).values(values))


def _reopens(there: InboxItem, new: Difference) -> bool:
    return there.state is InboxState.ACCEPTED and there.difference.amount != new.amount


def _seen(connection: Connection, row: AccountRow, there: InboxItem, new: Difference, now: datetime) -> None:
    values: dict[str, Any] = {"seen_at": now, "body": _packed(new)}
    if _reopens(there, new):
        values |= {"state": InboxState.OPEN.value, "settled_at": None, "settled_by": ""}
    _settle(connection, row, there.item_id, values)


def _settle(connection: Connection, row: AccountRow, item_id: str, values: dict[str, Any]) -> None:
    these = (DIFFERENCES.c.account_key == row.account_key, DIFFERENCES.c.item_id == item_id)
    connection.execute(update(DIFFERENCES).where(*these).values(values))


def _items(connection: Connection, row: AccountRow, *, resolved: bool) -> tuple[InboxItem, ...]:
    query = select(DIFFERENCES).where(DIFFERENCES.c.account_key == row.account_key)
    if not resolved:
        query = query.where(DIFFERENCES.c.state != InboxState.RESOLVED.value)
    query = query.order_by(DIFFERENCES.c.found_at, DIFFERENCES.c.subject, DIFFERENCES.c.item_id)
    return tuple(_item(each) for each in connection.execute(query))


def _one(connection: Connection, row: AccountRow, item_id: str) -> InboxItem:
    query = select(DIFFERENCES).where(DIFFERENCES.c.account_key == row.account_key, DIFFERENCES.c.item_id == item_id)
    found = connection.execute(query).one_or_none()
    if found is None:
        raise no_such("difference")
    return _item(found)


def _packed(difference: Difference) -> str:
    return msgspec.json.encode(difference).decode()


def _item(row: Any) -> InboxItem:
    try:
        difference = msgspec.json.decode(row.body, type=Difference)
    except msgspec.MsgspecError as error:
        raise StorageError(
            "Database problem: an inbox holds a difference that this ibkit cannot read",
            remedy="Update ibkit: it was written by another version.",
        ) from error
    return InboxItem(
        item_id=row.item_id,
        state=InboxState(row.state),
        found_at=row.found_at,
        seen_at=row.seen_at,
        settled_at=row.settled_at,
        settled_by=row.settled_by,
        note=row.note,
        difference=difference,
    )
