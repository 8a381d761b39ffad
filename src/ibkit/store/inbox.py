"""Differences of accounts in SQL: found, settled by a person, or gone by themselves. None is ever deleted.

    open ── accepted by a person ──▶ accepted ── it differs by another amount ──▶ open
      └──── it differs no more ─────▶ resolved  (from accepted, too); found again later it is a new one

Source: requirement FUT-08.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, insert, select, update

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
    """database: with the part `portfolio`. new_id: as of `SqlPortfolios`. What is another's is NotFound."""

    def __init__(self, database: Database, clock: Clock, new_id: Callable[[], str]) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id

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
                    self._found(connection, row, each, now)
                else:
                    _seen(connection, row, there, each, now)
            for gone in standing.values():
                _settle(connection, row, gone.item_id, {"state": InboxState.RESOLVED.value, "settled_at": now})
            return _items(connection, row, resolved=False)

        return await self._write(work)

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

    def _found(self, connection: Connection, row: AccountRow, difference: Difference, now: datetime) -> None:
        values = {
            "account_key": row.account_key,
            "item_id": self._new_id(),
            "subject": difference.subject,
            "state": InboxState.OPEN.value,
            "found_at": now,
            "seen_at": now,
            "settled_by": "",
            "note": "",
            "body": _packed(difference),
        }
        connection.execute(insert(DIFFERENCES).values(values))

    def _account(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> AccountRow:
        owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
        if connection.execute(owner).scalar() != user_id:
            raise no_such("portfolio")
        return found_in(accounts_of(connection, portfolio_id, now_of(connection, self._clock), name))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(lambda connection: work(for_engine(connection)))


def _seen(connection: Connection, row: AccountRow, there: InboxItem, new: Difference, now: datetime) -> None:
    values: dict[str, Any] = {"seen_at": now, "body": _packed(new)}
    if there.state is InboxState.ACCEPTED and there.difference.amount != new.amount:
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
