"""Portfolios in SQL. Each change is one transaction; of one portfolio only one of them runs at a time.

Source: requirements SYN-01, SYN-04, SYN-06, SYN-13, SYN-14, SYN-15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from ibkit.clock import Clock
from ibkit.portfolio.book import (
    Holding,
    HoldingSource,
    Link,
    LinkedAccount,
    Portfolio,
    PortfolioAccount,
    PortfolioSummary,
    check_portfolio,
)
from ibkit.store.database import Database
from ibkit.store.ledger_rows import LEDGER_TABLES
from ibkit.store.migrating import for_engine
from ibkit.store.payloads import digests_of, drop_unused
from ibkit.store.portfolio_days import DAY_TABLES
from ibkit.store.portfolio_links import connect_account, touch_portfolio
from ibkit.store.portfolio_rows import (
    ACCOUNTS,
    HOLDINGS,
    NO_LINK,
    PORTFOLIOS,
    RUNS,
    SECURITIES,
    USES,
    AccountRow,
    account_rows,
    accounts_of,
    changed_meanwhile,
    conflict,
    found_in,
    holdings_by_account,
    holdings_from_json,
    link_of,
    link_values,
    lock_portfolio,
    no_such,
    now_of,
    portfolio_of,
    put_holdings,
    put_securities,
    remove_holdings,
    update_account,
)

__all__ = ["MOST_PORTFOLIOS", "NOBODY", "SqlPortfolios"]

NOBODY = ""
"""Whose portfolios are those of an installation that has no users."""
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
            now = now_of(connection, self._clock)
            return tuple(portfolio_of(connection, row, now) for row in connection.execute(query).all())

        return await self._reading(work)

    async def account(self, user_id: str, portfolio_id: str, name: str) -> PortfolioAccount:
        """One account with its holdings, and no more of the portfolio. NotFound."""
        return await self._reading(lambda connection: self._one(connection, user_id, portfolio_id, name))

    async def summaries(self, user_id: str) -> tuple[PortfolioSummary, ...]:
        """What there is, by name, without what is in it."""
        accounts = select(func.count()).where(ACCOUNTS.c.portfolio_id == PORTFOLIOS.c.portfolio_id)
        held = select(func.count()).select_from(
            ACCOUNTS.join(HOLDINGS, HOLDINGS.c.account_key == ACCOUNTS.c.account_key)
        )
        held = held.where(ACCOUNTS.c.portfolio_id == PORTFOLIOS.c.portfolio_id)
        query = select(PORTFOLIOS, accounts.scalar_subquery().label("accounts"), held.scalar_subquery().label("held"))
        query = query.where(PORTFOLIOS.c.user_id == user_id).order_by(PORTFOLIOS.c.name, PORTFOLIOS.c.portfolio_id)

        def work(connection: Connection) -> tuple[PortfolioSummary, ...]:
            return tuple(
                PortfolioSummary(
                    portfolio_id=row.portfolio_id,
                    name=row.name,
                    currency=row.currency,
                    accounts=row.accounts,
                    holdings=row.held,
                    version=row.version,
                    updated_at=row.updated_at,
                )
                for row in connection.execute(query)
            )

        return await self._reading(work)

    async def change(
        self,
        user_id: str,
        portfolio_id: str,
        edit: Callable[[Portfolio], Portfolio],
        *,
        seen: int | None = None,
        rename: tuple[str, str] | None = None,
    ) -> Portfolio:
        """What `edit` makes of it, written whole.

        edit:   may be called twice. Accounts keep what connects them; they are told apart by their names.
        seen:   the version that the caller changed; ConfigError (E-CONFLICT) where there is a newer one.
        rename: an account of it afterwards, from one name to another.

        NotFound; ConfigError (E-VALIDATION; E-CONFLICT for synced holdings that were edited, and names there are).
        """

        def work(connection: Connection) -> Portfolio:
            lock_portfolio(connection, portfolio_id)
            before = self._read(connection, user_id, portfolio_id)
            if seen is not None and seen != before.version:
                raise changed_meanwhile(seen, before.version)
            after = check_portfolio(edit(before))
            self._bring(connection, before, after)
            if rename is not None:
                self._rename(connection, user_id, portfolio_id, *rename)
            return self._touched(connection, user_id, portfolio_id)

        return await self._write(work)

    async def rename_account(self, user_id: str, portfolio_id: str, name: str, new_name: str) -> Portfolio:
        """See `change`."""
        return await self.change(user_id, portfolio_id, lambda there: there, rename=(name, new_name))

    async def delete(self, user_id: str, portfolio_id: str) -> None:
        """With its accounts, holdings, securities and the record of its syncs. NotFound."""

        def work(connection: Connection) -> None:
            lock_portfolio(connection, portfolio_id)
            self._check_owner(connection, user_id, portfolio_id)
            _delete(connection, portfolio_id)

        await self._write(work)

    async def adopt(self, user_id: str) -> int:
        """What was kept before there was a user becomes theirs: how many."""
        this = update(PORTFOLIOS).where(PORTFOLIOS.c.user_id == NOBODY).values(user_id=user_id)

        def work(connection: Connection) -> int:
            return int(connection.execute(this).rowcount)

        return await self._write(work)

    async def delete_of_user(self, user_id: str) -> int:
        """All of who was removed: how many."""

        def work(connection: Connection) -> int:
            query = select(PORTFOLIOS.c.portfolio_id).where(PORTFOLIOS.c.user_id == user_id)
            found = connection.execute(query).scalars().all()
            for portfolio_id in found:
                lock_portfolio(connection, portfolio_id)
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
            lock_portfolio(connection, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            connect_account(connection, row, link, at=at, now=now_of(connection, self._clock))
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def disconnect(self, user_id: str, portfolio_id: str, account_name: str, *, at: datetime) -> PortfolioAccount:
        """Manual again; what was synced last stays as it is, to be edited. TradingError (E-NOT-CONNECTED). SYN-13."""

        def work(connection: Connection) -> PortfolioAccount:
            lock_portfolio(connection, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            link_of(row)
            # A sync that runs meanwhile finds another fence, and writes nothing.
            update_account(connection, row, {**NO_LINK, "fence": row.fence + 1, "claimed_until": None})
            connection.execute(
                update(HOLDINGS)
                .where(HOLDINGS.c.account_key == row.account_key)
                .values(source=HoldingSource.MANUAL.value)
            )
            self._touch(connection, portfolio_id, at)
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
            lock_portfolio(connection, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            if row.link is not None:
                raise conflict(f"account {account_name} is connected to IBKR", "Disconnect it, then restore.")
            if row.set_aside is None:
                raise conflict(f"of account {account_name} no earlier holdings are kept", "Nothing was changed.")
            connection.execute(delete(HOLDINGS).where(HOLDINGS.c.account_key == row.account_key))
            put_holdings(connection, row.account_key, holdings_from_json(row.set_aside))
            update_account(connection, row, {"set_aside": None})
            self._touch(connection, portfolio_id, at)
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def configure(
        self, user_id: str, portfolio_id: str, account_name: str, settings: dict[str, Any], *, at: datetime
    ) -> PortfolioAccount:
        """settings: `sync_enabled`, `read_only`, `keep_manual`, `username`. TradingError (E-NOT-CONNECTED)."""

        def work(connection: Connection) -> PortfolioAccount:
            lock_portfolio(connection, portfolio_id)
            row = self._account(connection, user_id, portfolio_id, account_name)
            link_of(row)
            update_account(connection, row, settings)
            self._touch(connection, portfolio_id, at)
            return self._one(connection, user_id, portfolio_id, account_name)

        return await self._write(work)

    async def linked(self, user_id: str | None = None) -> tuple[LinkedAccount, ...]:
        """Every connected account, of a user or of all."""

        def work(connection: Connection) -> tuple[LinkedAccount, ...]:
            theirs = select(PORTFOLIOS)
            query = select(ACCOUNTS).where(ACCOUNTS.c.account_id.is_not(None))
            if user_id is not None:
                theirs = theirs.where(PORTFOLIOS.c.user_id == user_id)
                query = query.where(ACCOUNTS.c.portfolio_id.in_(theirs.with_only_columns(PORTFOLIOS.c.portfolio_id)))
            owners = {each.portfolio_id: each for each in connection.execute(theirs)}
            query = query.order_by(ACCOUNTS.c.portfolio_id, ACCOUNTS.c.place)
            rows = account_rows(connection, query, now_of(connection, self._clock))
            return tuple(
                LinkedAccount(
                    user_id=owners[row.portfolio_id].user_id,
                    portfolio_id=row.portfolio_id,
                    portfolio=owners[row.portfolio_id].name,
                    account=row.name,
                    link=row.link,
                )
                for row in rows
                if row.link is not None and row.portfolio_id in owners  # one that was made this moment has none yet
            )

        return await self._reading(work)

    # -- rows -----------------------------------------------------------------------------------------------------

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(lambda connection: work(for_engine(connection)))

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(lambda connection: work(for_engine(connection)))

    def _read(self, connection: Connection, user_id: str, portfolio_id: str) -> Portfolio:
        query = select(PORTFOLIOS).where(PORTFOLIOS.c.portfolio_id == portfolio_id, PORTFOLIOS.c.user_id == user_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise no_such("portfolio")
        return portfolio_of(connection, row, now_of(connection, self._clock))

    def _check_owner(self, connection: Connection, user_id: str, portfolio_id: str) -> None:
        query = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
        if connection.execute(query).scalar() != user_id:
            raise no_such("portfolio")

    def _account(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> AccountRow:
        self._check_owner(connection, user_id, portfolio_id)
        return found_in(accounts_of(connection, portfolio_id, now_of(connection, self._clock), name))

    def _one(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> PortfolioAccount:
        row = self._account(connection, user_id, portfolio_id, name)
        held = holdings_by_account(connection, [row.account_key]).get(row.account_key, ())
        return PortfolioAccount(name=row.name, holdings=tuple(held), link=row.link, set_aside=bool(row.set_aside))

    def _touch(self, connection: Connection, portfolio_id: str, at: datetime | None = None) -> None:
        touch_portfolio(connection, portfolio_id, at or self._clock.now())

    def _touched(self, connection: Connection, user_id: str, portfolio_id: str) -> Portfolio:
        self._touch(connection, portfolio_id)
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
        rows = {row.name: row for row in accounts_of(connection, before.portfolio_id, now_of(connection, self._clock))}
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
            lock_portfolio(connection, portfolio_id)
            before = self._read(connection, user_id, portfolio_id)
            if seen is not None and seen != before.version:
                raise changed_meanwhile(seen, before.version)
            self._remove_account(connection, self._account(connection, user_id, portfolio_id, name))
            return self._touched(connection, user_id, portfolio_id)

        return await self._write(work)

    def _rename(self, connection: Connection, user_id: str, portfolio_id: str, name: str, new_name: str) -> None:
        row = self._account(connection, user_id, portfolio_id, name)
        if new_name != name and accounts_of(connection, portfolio_id, now_of(connection, self._clock), new_name):
            raise conflict(f"there is an account {new_name} already", "Choose another name.")
        update_account(connection, row, {"name": new_name})

    def _remove_account(self, connection: Connection, row: AccountRow) -> None:
        read_from = digests_of(connection, [row.account_key])
        for table in (HOLDINGS, *DAY_TABLES, *LEDGER_TABLES, USES, RUNS, ACCOUNTS):
            connection.execute(delete(table).where(table.c.account_key == row.account_key))
        drop_unused(connection, read_from)


def _delete(connection: Connection, portfolio_id: str) -> None:
    query = select(ACCOUNTS.c.account_key).where(ACCOUNTS.c.portfolio_id == portfolio_id)
    keys = connection.execute(query).scalars().all()
    read_from = digests_of(connection, keys)
    for table in (HOLDINGS, *DAY_TABLES, *LEDGER_TABLES, USES):
        connection.execute(delete(table).where(table.c.account_key.in_(keys)))
    for table in (RUNS, ACCOUNTS, SECURITIES, PORTFOLIOS):
        connection.execute(delete(table).where(table.c.portfolio_id == portfolio_id))
    drop_unused(connection, read_from)
