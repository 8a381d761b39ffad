"""Portfolios in SQL. Each change is one transaction, of which only one runs at a time.

Source: requirements SYN-01, SYN-04, SYN-06, SYN-13, SYN-14, SYN-15.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import anyio
from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from ibkit.clock import Clock
from ibkit.errors import ConfigError, NotFound, StorageError, TradingError
from ibkit.portfolio.book import (
    Holding,
    HoldingSource,
    Link,
    Portfolio,
    PortfolioAccount,
    SyncError,
    SyncStatus,
    check_portfolio,
)
from ibkit.portfolio.changes import Changes, changes_between
from ibkit.portfolio.mapping import holdings_of, securities_with
from ibkit.portfolio.picture import Picture, RawPayload
from ibkit.portfolio.ports import Claim, SyncOutcome
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.store.portfolio_rows import (
    ACCOUNTS,
    HOLDINGS,
    LONGEST_TEXT,
    NO_LINK,
    PORTFOLIOS,
    RAW,
    RUNS,
    SECURITIES,
    AccountRow,
    account_rows,
    holdings_by_account,
    holdings_from_json,
    holdings_to_json,
    link_values,
    portfolio_of,
    put_holdings,
    put_securities,
    remove_holdings,
    securities_of,
)

__all__ = ["CLAIM_S", "MOST_PORTFOLIOS", "SqlPortfolios", "changed_meanwhile", "no_such"]

CLAIM_S = 30.0
"""So long a sync may be silent before another takes its place."""
PROLONG_EVERY_S = 10.0
MOST_PORTFOLIOS = 1_000
"""Of one user."""

T = TypeVar("T")


class SqlPortfolios:
    """database: with the part `portfolio`. new_id: 32 hexadecimal digits, never twice the same. StorageError."""

    def __init__(self, database: Database, clock: Clock, new_id: Callable[[], str]) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id

    # -- portfolios -----------------------------------------------------------------------------------------------

    async def add(self, portfolio: Portfolio) -> Portfolio:
        """A new one, as it is given. ConfigError (E-VALIDATION, E-CONFLICT)."""
        check_portfolio(portfolio)

        def work(connection: Connection) -> Portfolio:
            of_user = select(func.count()).where(PORTFOLIOS.c.user_id == portfolio.user_id)
            if connection.execute(of_user).scalar_one() >= MOST_PORTFOLIOS:
                raise conflict(f"a user has at most {MOST_PORTFOLIOS} portfolios", "Delete one first.")
            values = {column.name: getattr(portfolio, column.name) for column in PORTFOLIOS.c}
            connection.execute(insert(PORTFOLIOS).values(values))
            for place, account in enumerate(portfolio.accounts):
                self._put_account(connection, portfolio.portfolio_id, account, place)
            put_securities(connection, portfolio.portfolio_id, portfolio.securities)
            return self._read(connection, portfolio.user_id, portfolio.portfolio_id)

        return await self._write(work)

    async def get(self, user_id: str, portfolio_id: str) -> Portfolio:
        return await self._reading(lambda connection: self._read(connection, user_id, portfolio_id))

    async def of_user(self, user_id: str) -> tuple[Portfolio, ...]:
        """By name."""
        query = select(PORTFOLIOS).where(PORTFOLIOS.c.user_id == user_id)
        query = query.order_by(PORTFOLIOS.c.name, PORTFOLIOS.c.portfolio_id)

        def work(connection: Connection) -> tuple[Portfolio, ...]:
            now = self._now(connection)
            return tuple(portfolio_of(connection, row, now) for row in connection.execute(query).all())

        return await self._reading(work)

    async def change(
        self, user_id: str, portfolio_id: str, edit: Callable[[Portfolio], Portfolio], *, seen: int | None = None
    ) -> Portfolio:
        """What `edit` makes of it, written whole.

        edit: may be called twice. Accounts keep what connects them; they are told apart by their names.
        seen: the version that the caller changed; ConfigError (E-CONFLICT) where there is a newer one.

        NotFound; ConfigError (E-VALIDATION; E-CONFLICT for synced holdings that were edited).
        """

        def work(connection: Connection) -> Portfolio:
            before = self._read(connection, user_id, portfolio_id)
            if seen is not None and seen != before.version:
                raise changed_meanwhile(seen, before.version)
            after = check_portfolio(edit(before))
            self._bring(connection, before, after)
            return self._touched(connection, user_id, portfolio_id)

        return await self._write(work)

    async def rename_account(
        self, user_id: str, portfolio_id: str, name: str, new_name: str, *, seen: int | None = None
    ) -> Portfolio:
        """It keeps its holdings and what connects it. NotFound; ConfigError (E-CONFLICT) where one has that name."""

        def work(connection: Connection) -> Portfolio:
            before = self._read(connection, user_id, portfolio_id)
            if seen is not None and seen != before.version:
                raise changed_meanwhile(seen, before.version)
            row = self._account(connection, user_id, portfolio_id, name)
            if new_name != name and before.account(new_name) is not None:
                raise conflict(f"there is an account {new_name} already", "Choose another name.")
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.account_key == row.account_key).values(name=new_name))
            return self._touched(connection, user_id, portfolio_id)

        return await self._write(work)

    async def delete(self, user_id: str, portfolio_id: str) -> None:
        """With its accounts, holdings, securities and the record of its syncs. NotFound."""

        def work(connection: Connection) -> None:
            self._row(connection, user_id, portfolio_id)
            _delete(connection, portfolio_id)

        await self._write(work)

    async def delete_of_user(self, user_id: str) -> int:
        """All of who was removed: how many."""

        def work(connection: Connection) -> int:
            query = select(PORTFOLIOS.c.portfolio_id).where(PORTFOLIOS.c.user_id == user_id)
            found = connection.execute(query).scalars().all()
            for portfolio_id in found:
                _delete(connection, portfolio_id)
            return len(found)

        return await self._write(work)

    # -- connecting -----------------------------------------------------------------------------------------------

    async def connect(
        self, user_id: str, portfolio_id: str, account_name: str, link: Link, *, at: datetime
    ) -> PortfolioAccount:
        """Holdings by hand are kept aside; the first sync decides which of them stay. SYN-04, SYN-14.

        NotFound; ConfigError (E-CONFLICT) where it is connected, or the account at IBKR is linked in this portfolio.
        """

        def work(connection: Connection) -> PortfolioAccount:
            portfolio = self._read(connection, user_id, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            if row.link is not None:
                raise conflict(
                    f"account {account_name} is connected to {row.link.account_id} already", "Disconnect it first."
                )
            for other in portfolio.accounts:
                if other.link is not None and other.link.account_id == link.account_id:
                    raise conflict(
                        f"IBKR account {link.account_id} is linked to account {other.name} of this portfolio already",
                        "Disconnect that one first.",
                    )
            held = holdings_by_account(connection, [row.account_key]).get(row.account_key, [])
            values = link_values(link) | {"set_aside": holdings_to_json(held) or None}
            self._update(connection, row, values)
            self._touched(connection, user_id, portfolio_id, at)
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def disconnect(self, user_id: str, portfolio_id: str, account_name: str, *, at: datetime) -> PortfolioAccount:
        """Manual again; what was synced last stays as it is, to be edited. TradingError (E-NOT-CONNECTED). SYN-13."""

        def work(connection: Connection) -> PortfolioAccount:
            row = self._account(connection, user_id, portfolio_id, account_name)
            _linked(row)
            # A sync that runs meanwhile finds another fence, and writes nothing.
            self._update(connection, row, {**NO_LINK, "fence": row.fence + 1, "claimed_until": None})
            connection.execute(
                update(HOLDINGS)
                .where(HOLDINGS.c.account_key == row.account_key)
                .values(source=HoldingSource.MANUAL.value)
            )
            self._touched(connection, user_id, portfolio_id, at)
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def set_aside(self, user_id: str, portfolio_id: str, account_name: str) -> Sequence[Holding]:
        """Holdings by hand of before the connection; none where none were kept. NotFound."""

        def work(connection: Connection) -> Sequence[Holding]:
            row = self._account(connection, user_id, portfolio_id, account_name)
            return holdings_from_json(row.set_aside or ())

        return await self._reading(work)

    async def restore(self, user_id: str, portfolio_id: str, account_name: str, *, at: datetime) -> PortfolioAccount:
        """The holdings of before the connection in place of those there. NotFound; ConfigError (E-CONFLICT)."""

        def work(connection: Connection) -> PortfolioAccount:
            row = self._account(connection, user_id, portfolio_id, account_name)
            if row.link is not None:
                raise conflict(f"account {account_name} is connected to IBKR", "Disconnect it, then restore.")
            if row.set_aside is None:
                raise conflict(f"of account {account_name} no earlier holdings are kept", "Nothing was changed.")
            connection.execute(delete(HOLDINGS).where(HOLDINGS.c.account_key == row.account_key))
            put_holdings(connection, row.account_key, holdings_from_json(row.set_aside))
            self._update(connection, row, {"set_aside": None})
            self._touched(connection, user_id, portfolio_id, at)
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def configure(
        self, user_id: str, portfolio_id: str, account_name: str, settings: dict[str, Any], *, at: datetime
    ) -> PortfolioAccount:
        """settings: `sync_enabled`, `read_only`, `keep_manual`, `username`. TradingError (E-NOT-CONNECTED)."""

        def work(connection: Connection) -> PortfolioAccount:
            row = self._account(connection, user_id, portfolio_id, account_name)
            _linked(row)
            self._update(connection, row, settings)
            self._touched(connection, user_id, portfolio_id, at)
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def linked(self) -> tuple[tuple[str, str, str, Link], ...]:
        """Every connected account of every user: user, portfolio, name and link."""

        def work(connection: Connection) -> tuple[tuple[str, str, str, Link], ...]:
            owners = {each.portfolio_id: each.user_id for each in connection.execute(select(PORTFOLIOS))}
            query = select(ACCOUNTS).where(ACCOUNTS.c.account_id.is_not(None))
            query = query.order_by(ACCOUNTS.c.portfolio_id, ACCOUNTS.c.place)
            rows = account_rows(connection, query, self._now(connection))
            return tuple(
                (owners[row.portfolio_id], row.portfolio_id, row.name, row.link) for row in rows if row.link is not None
            )

        return await self._reading(work)

    # -- syncing --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def held(self, portfolio_id: str, account_name: str) -> AsyncIterator[Claim]:
        """See `Claims`. Lost where the database cannot be reached for half a minute; then nothing is written."""
        claim = await self._write(lambda connection: self._claim(connection, portfolio_id, account_name))
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._prolong_for_ever, claim)
                try:
                    yield claim
                except Exception as error:  # noqa: BLE001  # raised below as itself, not as a group of one
                    failure = error
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write(lambda connection: self._let_go(connection, claim))
        if failure is not None:
            raise failure

    def _claim(self, connection: Connection, portfolio_id: str, account_name: str) -> Claim:
        now = self._now(connection)
        row = _found(_accounts(connection, portfolio_id, now, account_name))
        link = _linked(row)
        if row.claimed_until is not None and row.claimed_until > now:
            raise TradingError(code="E-SYNC-BUSY", details={"account": account_name})
        until = now + timedelta(seconds=CLAIM_S)
        values = {"fence": row.fence + 1, "claimed_until": until, "status": SyncStatus.SYNCING.value}
        self._update(connection, row, values)
        return Claim(
            account_key=row.account_key,
            portfolio_id=portfolio_id,
            account_name=account_name,
            fence=row.fence + 1,
            link=link,
        )

    async def _prolong_for_ever(self, claim: Claim) -> None:
        while True:
            await self._clock.sleep(PROLONG_EVERY_S)
            try:
                await self._write(lambda connection: self._prolong(connection, claim))
            except StorageError:  # the claim ends by itself, and `synced` finds it out
                continue

    def _prolong(self, connection: Connection, claim: Claim) -> None:
        until = self._now(connection) + timedelta(seconds=CLAIM_S)
        connection.execute(update(ACCOUNTS).where(*_claimed(claim)).values(claimed_until=until))

    def _let_go(self, connection: Connection, claim: Claim) -> None:
        connection.execute(update(ACCOUNTS).where(*_claimed(claim)).values(claimed_until=None))

    def _of_claim(self, connection: Connection, claim: Claim) -> AccountRow:
        query = select(ACCOUNTS).where(*_claimed(claim))
        rows = account_rows(connection, query, self._now(connection))
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
        digests = [(raw, hashlib.sha256(raw.body).hexdigest(), zlib.compress(raw.body)) for raw in picture.raw]

        def work(connection: Connection) -> SyncOutcome:
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
            at = picture.taken_at
            self._update(
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
            self._keep_run(connection, row, run_id, picture, changes, new, digests)
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
        digests: Sequence[tuple[RawPayload, str, bytes]],
    ) -> None:
        """A run that changed nothing leaves no row, but for the first one."""
        raw = [[payload.what, payload.part, digest] for payload, digest, _ in digests]
        if not changes.put and not changes.gone and row.link is not None and row.link.last_sync is not None:
            return
        there = set(
            connection.execute(select(RAW.c.digest).where(RAW.c.digest.in_([each for _, each, _ in digests]))).scalars()
        )
        new = {
            digest: {
                "digest": digest,
                "what": payload.what,
                "received_at": picture.taken_at,
                "size": len(payload.body),
                "body": body,
            }
            for payload, digest, body in digests
            if digest not in there
        }
        if new:
            connection.execute(insert(RAW), list(new.values()))
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
            rows = account_rows(connection, select(ACCOUNTS).where(*_claimed(claim)), self._now(connection))
            if not rows or rows[0].link is None:
                return 0
            failures = rows[0].link.failures + 1
            self._update(
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
            self._row(connection, user_id, portfolio_id)
            query = select(RUNS.c.raw).where(RUNS.c.run_id == run_id, RUNS.c.portfolio_id == portfolio_id)
            run = connection.execute(query).scalar()
            if run is None:
                raise no_such("sync")
            these = RAW.c.digest.in_([digest for _, _, digest in run])
            bodies = {each.digest: each.body for each in connection.execute(select(RAW).where(these))}
            return tuple(
                RawPayload(what=what, part=part, body=zlib.decompress(bodies[digest])) for what, part, digest in run
            )

        return await self._reading(work)

    # -- rows -----------------------------------------------------------------------------------------------------

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(lambda connection: work(for_engine(connection)))

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(lambda connection: work(for_engine(connection)))

    def _now(self, connection: Connection) -> datetime:
        """Of the server where processes of several machines meet (fault F103)."""
        if connection.dialect.name == "postgresql":
            found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return found
        return self._clock.now()

    def _row(self, connection: Connection, user_id: str, portfolio_id: str) -> Row[Any]:
        query = select(PORTFOLIOS).where(PORTFOLIOS.c.portfolio_id == portfolio_id, PORTFOLIOS.c.user_id == user_id)
        if connection.dialect.name == "postgresql":
            query = query.with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise no_such("portfolio")
        return row

    def _read(self, connection: Connection, user_id: str, portfolio_id: str) -> Portfolio:
        query = select(PORTFOLIOS).where(PORTFOLIOS.c.portfolio_id == portfolio_id, PORTFOLIOS.c.user_id == user_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise no_such("portfolio")
        return portfolio_of(connection, row, self._now(connection))

    def _account(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> AccountRow:
        query = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
        if connection.execute(query).scalar() != user_id:
            raise no_such("portfolio")
        return _found(_accounts(connection, portfolio_id, self._now(connection), name))

    def _one(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> PortfolioAccount:
        account = self._read(connection, user_id, portfolio_id).account(name)
        assert account is not None, "it was just written"
        return account

    def _update(self, connection: Connection, row: AccountRow, values: dict[str, Any]) -> None:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.account_key == row.account_key).values(values))

    def _touched(
        self, connection: Connection, user_id: str, portfolio_id: str, at: datetime | None = None
    ) -> Portfolio:
        connection.execute(
            update(PORTFOLIOS)
            .where(PORTFOLIOS.c.portfolio_id == portfolio_id)
            .values(version=PORTFOLIOS.c.version + 1, updated_at=at or self._clock.now())
        )
        return self._read(connection, user_id, portfolio_id)

    def _put_account(self, connection: Connection, portfolio_id: str, account: PortfolioAccount, place: int) -> None:
        key = self._new_id()
        link = NO_LINK if account.link is None else link_values(account.link)
        connection.execute(
            insert(ACCOUNTS).values(
                account_key=key, portfolio_id=portfolio_id, name=account.name, place=place, fence=0, **link
            )
        )
        put_holdings(connection, key, account.holdings)

    def _bring(self, connection: Connection, before: Portfolio, after: Portfolio) -> None:
        """The rows from `before` to `after`; what is the same is not written."""
        if (before.name, before.currency) != (after.name, after.currency):
            connection.execute(
                update(PORTFOLIOS)
                .where(PORTFOLIOS.c.portfolio_id == before.portfolio_id)
                .values(name=after.name, currency=after.currency)
            )
        rows = {row.name: row for row in _accounts(connection, before.portfolio_id, self._now(connection))}
        for old in before.accounts:
            if after.account(old.name) is None:
                if old.link is not None:
                    raise conflict(
                        f"account {old.name} is connected to IBKR", "Disconnect it first, or delete it by its name."
                    )
                self._remove_account(connection, rows[old.name])
        for place, account in enumerate(after.accounts):
            there = before.account(account.name)
            if there is None:
                self._put_account(connection, before.portfolio_id, account, place)
                continue
            row = rows[account.name]
            connection.execute(
                update(ACCOUNTS)
                .where(ACCOUNTS.c.account_key == row.account_key, ACCOUNTS.c.place != place)
                .values(place=place)
            )
            self._bring_holdings(connection, row, there, account)
        put_securities(connection, before.portfolio_id, after.securities)

    def _bring_holdings(
        self, connection: Connection, row: AccountRow, before: PortfolioAccount, after: PortfolioAccount
    ) -> None:
        there = {holding.key: holding for holding in before.holdings}
        wanted = {holding.key: holding for holding in after.holdings}
        put = [holding for key, holding in wanted.items() if there.get(key) != holding]
        gone = [key for key in there if key not in wanted]
        if before.link is not None:
            synced = [each.symbol for each in put if each.source is HoldingSource.IBKR or each.key in there]
            synced += [key[0] for key in gone if there[key].source is HoldingSource.IBKR]
            if synced or put:
                raise conflict(
                    f"account {before.name} is connected to IBKR: its holdings come from there",
                    "Disconnect it to edit them by hand.",
                )
        remove_holdings(connection, row.account_key, gone)
        put_holdings(connection, row.account_key, put)

    async def delete_account(self, user_id: str, portfolio_id: str, name: str, *, seen: int | None = None) -> Portfolio:
        """Connected or not: its holdings and the record of its syncs go with it. NotFound."""

        def work(connection: Connection) -> Portfolio:
            before = self._read(connection, user_id, portfolio_id)
            if seen is not None and seen != before.version:
                raise changed_meanwhile(seen, before.version)
            self._remove_account(connection, self._account(connection, user_id, portfolio_id, name))
            return self._touched(connection, user_id, portfolio_id)

        return await self._write(work)

    def _remove_account(self, connection: Connection, row: AccountRow) -> None:
        for table in (HOLDINGS, RUNS, ACCOUNTS):
            connection.execute(delete(table).where(table.c.account_key == row.account_key))


def _delete(connection: Connection, portfolio_id: str) -> None:
    keys = select(ACCOUNTS.c.account_key).where(ACCOUNTS.c.portfolio_id == portfolio_id)
    connection.execute(delete(HOLDINGS).where(HOLDINGS.c.account_key.in_(keys)))
    for table in (RUNS, ACCOUNTS, SECURITIES, PORTFOLIOS):
        connection.execute(delete(table).where(table.c.portfolio_id == portfolio_id))


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


def _accounts(connection: Connection, portfolio_id: str, now: datetime, name: str | None = None) -> list[AccountRow]:
    query = select(ACCOUNTS).where(ACCOUNTS.c.portfolio_id == portfolio_id)
    if name is not None:
        query = query.where(ACCOUNTS.c.name == name)
    return account_rows(connection, query, now)


def _claimed(claim: Claim) -> tuple[Any, ...]:
    """Its account, as long as no other sync, and no disconnecting, came after it."""
    return ACCOUNTS.c.account_key == claim.account_key, ACCOUNTS.c.fence == claim.fence


def _found(rows: Sequence[AccountRow]) -> AccountRow:
    if not rows:
        raise no_such("account")
    return rows[0]


def _linked(row: AccountRow) -> Link:
    """TradingError (E-NOT-CONNECTED)."""
    if row.link is None:
        raise TradingError(code="E-NOT-CONNECTED", details={"account": row.name})
    return row.link
