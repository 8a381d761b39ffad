"""Syncs of portfolios in SQL: claims with a fence, pictures written at once, and the answers they were read from.

Source: requirements SYN-06, SYN-11, SYN-15; faults F103, F105, F112.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from ibkit.clock import Clock
from ibkit.errors import TradingError
from ibkit.portfolio.book import Holding, SyncError, SyncStatus
from ibkit.portfolio.changes import Changes, changes_between
from ibkit.portfolio.days import account_day
from ibkit.portfolio.mapping import holdings_of, securities_with, symbol_of
from ibkit.portfolio.picture import Picture, RawPayload
from ibkit.portfolio.ports import Claim, LinkedAccount, SyncOutcome
from ibkit.portfolio.transactions import Listed
from ibkit.store.database import Database
from ibkit.store.ledgers import put_executions
from ibkit.store.migrating import for_engine
from ibkit.store.payloads import drop_unused, payload_of, put_payload, put_uses
from ibkit.store.portfolio_days import put_day
from ibkit.store.portfolio_rows import (
    ACCOUNTS,
    HOLDINGS,
    LONGEST_TEXT,
    PORTFOLIOS,
    RUNS,
    USES,
    AccountRow,
    account_of,
    account_rows,
    accounts_of,
    found_in,
    holdings_by_account,
    link_of,
    lock_portfolio,
    no_such,
    now_of,
    put_holdings,
    put_securities,
    remove_holdings,
    securities_of,
    update_account,
)

__all__ = ["CLAIM_S", "SqlSyncs", "purge_some"]

CLAIM_S = 30.0
"""So long a sync may be silent before another takes its place."""

AT_ONCE = 200
"""Old runs that are deleted in one transaction."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class SqlSyncs:
    """database: with the part `portfolio`. new_id: 32 hexadecimal digits, never twice the same. StorageError.

    keep: so long a sync and the answers that it read are kept. Statements, and what transactions came from, always are.
    """

    def __init__(
        self, database: Database, clock: Clock, new_id: Callable[[], str], *, keep: timedelta = timedelta(days=365)
    ) -> None:
        self._keep = keep
        self._database = database
        self._clock = clock
        self._new_id = new_id

    async def claim(self, portfolio_id: str, account_name: str) -> Claim:
        """See `Claims`."""
        return await self._write(lambda connection: self._claim(connection, portfolio_id, account_name))

    def _claim(self, connection: Connection, portfolio_id: str, account_name: str) -> Claim:
        lock_portfolio(connection, portfolio_id)
        now = now_of(connection, self._clock)
        return self._claimed(connection, found_in(accounts_of(connection, portfolio_id, now, account_name)), now)

    async def claim_due(self, account_key: str, since: datetime) -> Claim | None:
        """See `Claims`."""

        def work(connection: Connection) -> Claim | None:
            now = now_of(connection, self._clock)
            rows = account_rows(connection, select(ACCOUNTS).where(ACCOUNTS.c.account_key == account_key), now)
            link = rows[0].link if rows else None
            if link is None or not link.sync_enabled or (link.last_sync is not None and link.last_sync >= since):
                return None
            return self._claimed(connection, rows[0], now)

        return await self._write(work)

    async def enabled(self) -> tuple[LinkedAccount, ...]:
        """Every account that is to be synced by the clock, of all users."""
        owner = ACCOUNTS.join(PORTFOLIOS, PORTFOLIOS.c.portfolio_id == ACCOUNTS.c.portfolio_id)
        wanted = (ACCOUNTS.c.account_id.is_not(None), ACCOUNTS.c.sync_enabled.is_(True))
        query = select(ACCOUNTS, PORTFOLIOS.c.user_id).select_from(owner).where(*wanted)

        def work(connection: Connection) -> tuple[LinkedAccount, ...]:
            now = now_of(connection, self._clock)
            return tuple(
                LinkedAccount(account_key=row.account_key, user_id=row.user_id, link=link_of(account_of(row, now)))
                for row in connection.execute(query)
            )

        return await self._reading(work)

    def _claimed(self, connection: Connection, row: AccountRow, now: datetime) -> Claim:
        link, account_name = link_of(row), row.name
        if row.claimed_until is not None and row.claimed_until > now:
            raise TradingError(code="E-SYNC-BUSY", details={"account": account_name})
        until = now + timedelta(seconds=CLAIM_S)
        values = {"fence": row.fence + 1, "claimed_until": until, "status": SyncStatus.SYNCING.value}
        update_account(connection, row, values)
        owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == row.portfolio_id)
        return Claim(
            account_key=row.account_key,
            portfolio_id=row.portfolio_id,
            account_name=account_name,
            fence=row.fence + 1,
            link=link,
            user_id=connection.execute(owner).scalar_one(),
        )

    async def prolong(self, claim: Claim) -> None:
        def work(connection: Connection) -> None:
            until = now_of(connection, self._clock) + timedelta(seconds=CLAIM_S)
            connection.execute(update(ACCOUNTS).where(*_claimed(claim)).values(claimed_until=until))

        await self._write(work)

    async def let_go(self, claim: Claim) -> None:
        this = update(ACCOUNTS).where(*_claimed(claim)).values(claimed_until=None)
        await self._write(lambda connection: connection.execute(this))

    def _of_claim(self, connection: Connection, claim: Claim) -> AccountRow:
        query = select(ACCOUNTS).where(*_claimed(claim))
        rows = account_rows(connection, query, now_of(connection, self._clock))
        if not rows:
            raise TradingError(
                "Sync already running: another one took over from this one, or the account was disconnected",
                code="E-SYNC-BUSY",
                details={"account": claim.account_name},
            )
        return rows[0]

    async def synced(self, claim: Claim, picture: Picture, *, with_cash: bool) -> SyncOutcome:
        """See `Books`."""
        run_id = self._new_id()

        def work(connection: Connection) -> SyncOutcome:
            lock_portfolio(connection, claim.portfolio_id)
            row = self._of_claim(connection, claim)
            told = holdings_of(picture.positions, picture.cash, at=picture.taken_at, with_cash=with_cash)
            before = holdings_by_account(connection, [row.account_key]).get(row.account_key, [])
            keep_manual = row.link is not None and row.link.keep_manual
            changes = changes_between(before, told, keep_manual=keep_manual)
            remove_holdings(connection, row.account_key, changes.gone)
            put_holdings(connection, row.account_key, changes.put, run_id)
            known = securities_of(connection, row.portfolio_id)
            securities, new = securities_with(known, picture.positions, picture.cash, with_cash=with_cash)
            put_securities(connection, row.portfolio_id, securities)
            put_day(connection, row.account_key, account_day(picture, changes.after))
            unbooked = put_executions(connection, row.account_key, picture, _listings(before, picture))
            if unbooked:
                log.info("executions are not booked", extra={"listings": len(unbooked)})
            at = picture.taken_at
            update_account(
                connection,
                row,
                {
                    "status": SyncStatus.SUCCESS.value,
                    "last_sync": at,
                    "currency": picture.currency,
                    "total_value": picture.net_liquidation,
                    "error_code": "",
                    "error_message": "",
                    "error_remedy": "",
                    "failures": 0,
                },
            )
            self._keep_run(connection, row, run_id, picture, changes, new)
            return SyncOutcome(
                holdings_count=len(changes.after),
                added=changes.added,
                changed=changes.changed,
                removed=changes.removed,
                new_securities=new,
                total_value=picture.net_liquidation,
                currency=picture.currency,
                last_sync=at,
                incomplete=picture.incomplete,
                unbooked=unbooked,
                run_id=run_id,
            )

        return await self._write(work)

    def _keep_run(
        self,
        connection: Connection,
        row: AccountRow,
        run_id: str,
        picture: Picture,
        changes: Changes,
        new_securities: int,
    ) -> None:
        """A run that changed nothing leaves no row, but for the first one."""
        if not changes.put and not changes.gone and row.link is not None and row.link.last_sync is not None:
            return
        digests = [put_payload(connection, payload, picture.taken_at) for payload in picture.raw]
        raw = [[each.what, each.part, digest] for each, digest in zip(picture.raw, digests, strict=True)]
        put_uses(connection, row.account_key, run_id, digests)
        purge_some(connection, row.account_key, picture.taken_at - self._keep)
        connection.execute(
            insert(RUNS).values(
                run_id=run_id,
                portfolio_id=row.portfolio_id,
                account_key=row.account_key,
                account_id=picture.account_id,
                ended_at=picture.taken_at,
                code="",
                added=changes.added,
                changed=changes.changed,
                removed=changes.removed,
                new_securities=new_securities,
                raw=raw,
            )
        )

    async def sync_failed(self, claim: Claim, error: SyncError, *, at: datetime) -> int:
        """See `Books`. 0 where the claim is lost, or the account is connected no more."""

        def work(connection: Connection) -> int:
            rows = account_rows(connection, select(ACCOUNTS).where(*_claimed(claim)), now_of(connection, self._clock))
            if not rows or rows[0].link is None:
                return 0
            failures = rows[0].link.failures + 1
            update_account(
                connection,
                rows[0],
                {
                    "status": SyncStatus.ERROR.value,
                    "error_code": error.code,
                    "error_message": error.message[:LONGEST_TEXT],
                    "error_remedy": error.remedy[:LONGEST_TEXT],
                    "failures": failures,
                },
            )
            return failures

        return await self._write(work)

    async def raw_of(self, user_id: str, portfolio_id: str, run_id: str) -> tuple[RawPayload, ...]:
        """The answers that a sync read, as they came. NotFound."""

        def work(connection: Connection) -> tuple[RawPayload, ...]:
            owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
            if connection.execute(owner).scalar() != user_id:
                raise no_such("portfolio")
            query = select(RUNS.c.raw).where(RUNS.c.run_id == run_id, RUNS.c.portfolio_id == portfolio_id)
            run = connection.execute(query).scalar()
            if run is None:
                raise no_such("sync")
            return tuple(replace(payload_of(connection, digest), what=what, part=part) for what, part, digest in run)

        return await self._reading(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(lambda connection: work(for_engine(connection)))

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(lambda connection: work(for_engine(connection)))


def _listings(before: Iterable[Holding], picture: Picture) -> dict[int, Listed]:
    """By conid, what was held before and is held now: an execution names its contract by the number alone."""
    found = {
        each.conid: Listed(
            conid=each.conid,
            symbol=each.symbol,
            asset_class=each.asset_class,
            currency=each.currency,
            multiplier=each.multiplier,
            expiry=each.expiry,
            strike=each.strike,
            right=each.right,
            underlying_conid=each.underlying_conid,
        )
        for each in before
        if each.conid is not None
    }
    for position in picture.positions:
        contract = position.contract
        found[int(contract.conid)] = Listed(
            conid=int(contract.conid),
            symbol=symbol_of(position),
            asset_class=position.asset_class,
            currency=contract.currency,
            multiplier=contract.multiplier,
            expiry=contract.expiry,
            strike=contract.strike,
            right="" if contract.right is None else contract.right.value,
            underlying_conid=None if contract.underlying_conid is None else int(contract.underlying_conid),
        )
    return found


def purge_some(connection: Connection, account_key: str, before: datetime) -> int:
    """Runs of an account that ended before, and answers that nothing points to any more: how many runs, at most 200.

    Once a day or less often: it begins when one is a day too old. A run that tells of a holding as it still is stays.
    """
    held = select(HOLDINGS.c.run_id).where(HOLDINGS.c.account_key == account_key)
    old = (RUNS.c.account_key == account_key, RUNS.c.run_id.not_in(held))
    oldest = connection.execute(select(func.min(RUNS.c.ended_at)).where(*old)).scalar()
    if oldest is None or oldest >= before - timedelta(days=1):
        return 0
    query = select(RUNS.c.run_id, RUNS.c.raw).where(*old, RUNS.c.ended_at < before)
    gone = connection.execute(query.order_by(RUNS.c.ended_at).limit(AT_ONCE)).all()
    for table in (RUNS, USES):
        connection.execute(delete(table).where(table.c.run_id.in_([each.run_id for each in gone])))
    drop_unused(connection, {digest for each in gone for _, _, digest in each.raw})
    return len(gone)


def _claimed(claim: Claim) -> tuple[Any, ...]:
    """Its account, as long as no other sync, and no disconnecting, came after it."""
    return ACCOUNTS.c.account_key == claim.account_key, ACCOUNTS.c.fence == claim.fence
