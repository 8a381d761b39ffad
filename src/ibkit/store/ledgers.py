"""Ledgers of accounts in SQL: what statements, live executions and people told, each once, and what was told before.

A payload is kept as it came, under its SHA-256, and never changed. What a newer one corrects stays among the
corrections. Each call is one transaction, and of one portfolio only one of them runs at a time.
Source: requirements FUT-08, SYN-06; docs/facts/accounts-and-portfolio.md §6.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from ibkit.clock import Clock
from ibkit.portfolio.book import Link
from ibkit.portfolio.fills import trades_of
from ibkit.portfolio.ledger import Opening, Rules
from ibkit.portfolio.lots import LotOrder
from ibkit.portfolio.merging import Correction, merge
from ibkit.portfolio.picking import check_picks
from ibkit.portfolio.picture import Picture, RawPayload
from ibkit.portfolio.statements import StatementTold, flow_span, flows_of, opening_of
from ibkit.portfolio.transactions import Listed, Origin, Transaction
from ibkit.store.database import Database
from ibkit.store.ledger_rows import (
    CORRECTIONS,
    LEDGERS,
    STATEMENTS,
    TRANSACTIONS,
    pack_transaction,
    statement_of,
    statement_values,
    transaction_of,
    transaction_values,
)
from ibkit.store.migrating import for_engine
from ibkit.store.payloads import payload_of, points_to, put_payload
from ibkit.store.portfolio_days import put_flows
from ibkit.store.portfolio_links import connect_account
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

__all__ = [
    "FLEX",
    "Kept",
    "KeptCorrection",
    "SqlLedgers",
    "ToldLedger",
    "put_executions",
    "put_transactions",
]

FLEX: Final = "flex statement"
"""`what` of a payload that is a file of Flex statements."""
_AROUND: Final = timedelta(days=4)
"""So far apart two tellings of one execution may be."""
_CACHED: Final = 8
"""Ledgers whose transactions are kept in memory."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was new. statements: how many that were not there. known: transactions that were there, told as well."""

    digest: str
    statements: int = 0
    added: tuple[Transaction, ...] = ()
    corrected: tuple[Correction, ...] = ()
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCorrection:
    """digest: of the payload that told otherwise."""

    number: int
    noted_at: datetime
    digest: str
    correction: Correction


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldLedger:
    """What a ledger is folded from. account_id: at IBKR, "" where nothing was told of any."""

    account_id: str
    transactions: tuple[Transaction, ...]
    opening: Opening
    rules: Rules
    revision: int = 0


@dataclass(slots=True)
class _Memory:
    """Of the last accounts that were asked for: their transactions at one revision. Several threads read."""

    found: dict[tuple[str, str], tuple[int, tuple[Transaction, ...]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: tuple[str, str], revision: int) -> tuple[Transaction, ...] | None:
        there = self.found.get(key)
        return there[1] if there is not None and there[0] == revision else None

    def put(self, key: tuple[str, str], revision: int, these: tuple[Transaction, ...]) -> None:
        with self.lock:
            self.found.pop(key, None)
            self.found[key] = revision, these
            while len(self.found) > _CACHED:
                self.found.pop(next(iter(self.found)))


class SqlLedgers:
    """database: with the part `portfolio`. What is not `user_id`'s is NotFound. StorageError."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._memory = _Memory()

    async def keep(
        self,
        user_id: str,
        portfolio_id: str,
        account_name: str,
        body: bytes,
        statements: Sequence[StatementTold],
        *,
        link: Link | None = None,
    ) -> Kept:
        """A file of statements, as it came, and what it tells, merged with what is there; payments in and out as well.

        statements: read from `body`, all of the IBKR account that ours is connected to. link: connects one that is by
        hand, in the same transaction. ConfigError (E-CONFLICT) where it was connected otherwise meanwhile.
        """

        def work(connection: Connection) -> Kept:
            row = self._locked(connection, user_id, portfolio_id, account_name)
            if link is not None:
                now = now_of(connection, self._clock)
                connect_account(connection, row, link, at=self._clock.now(), now=now)
                row = self._account(connection, user_id, portfolio_id, account_name)
            told = {each.account_id for each in statements}
            if row.link is None or told != {row.link.account_id}:
                raise conflict(f"account {account_name} is connected otherwise now", "Import it again.")
            digest = put_payload(connection, RawPayload(what=FLEX, body=body), now_of(connection, self._clock))
            there = select(STATEMENTS.c.number).where(
                STATEMENTS.c.account_key == row.account_key, STATEMENTS.c.digest == digest
            )
            known = set(connection.execute(there).scalars())
            new = [each for each in statements if each.number not in known]
            if not new:
                return Kept(digest=digest, known=sum(len(each.transactions) for each in statements))
            kept_at = now_of(connection, self._clock)
            rows = [{**statement_values(row.account_key, each), "kept_at": kept_at} for each in new]
            connection.execute(insert(STATEMENTS), rows)
            transactions = [each for told in new for each in told.transactions]
            added, corrected, known_too = put_transactions(
                connection, row.account_key, row.link.account_id, transactions, digest=digest, at=kept_at
            )
            _put_flows(connection, row.account_key, row.link.account_id, new)
            return Kept(digest=digest, statements=len(new), added=added, corrected=corrected, known=known_too)

        return await self._write(work)

    async def book(
        self,
        user_id: str,
        portfolio_id: str,
        account_name: str,
        payload: RawPayload,
        transactions_of: Callable[[str], Sequence[Transaction]],
        *,
        revision: int,
    ) -> Kept:
        """Transactions of another source than statements. transactions_of: by the digest of `payload`.

        revision: of the ledger that they were made for. ConfigError (E-CONFLICT) where it is another one by now.
        """

        def work(connection: Connection) -> Kept:
            row = self._locked(connection, user_id, portfolio_id, account_name)
            at = now_of(connection, self._clock)
            if _rules(connection, row, _account_id(connection, row))[0] != revision:
                raise conflict("the ledger has changed meanwhile", "Look at what differs now.")
            digest = put_payload(connection, payload, at)
            transactions = transactions_of(digest)
            account_id = _account_id(connection, row)
            if any(each.account_id != account_id for each in transactions):
                raise conflict(f"account {account_name} is connected otherwise now", "Read it again.")
            added, corrected, known = put_transactions(
                connection, row.account_key, account_id, transactions, digest=digest, at=at
            )
            return Kept(digest=digest, added=added, corrected=corrected, known=known)

        return await self._write(work)

    async def told(
        self, user_id: str, portfolio_id: str, account_name: str, *, until: datetime | None = None
    ) -> ToldLedger:
        """All that is known of the account at IBKR that ours is connected to, or was last. until: inclusive.

        Before the first day that a statement tells of, cash is not known: there is no opening then.
        """

        def work(connection: Connection) -> ToldLedger:
            row = self._account(connection, user_id, portfolio_id, account_name)
            account_id = _account_id(connection, row)
            revision, rules = _rules(connection, row, account_id)
            key = (row.account_key, account_id)
            these = self._memory.get(key, revision)
            if these is None:
                these = _transactions(connection, row.account_key, account_id)
                self._memory.put(key, revision, these)
            own = (STATEMENTS.c.account_key == row.account_key, STATEMENTS.c.account_id == account_id)
            first = select(STATEMENTS).where(*own, STATEMENTS.c.tells_cash.is_(True))
            first = first.order_by(STATEMENTS.c.first, STATEMENTS.c.last).limit(1)
            begun = [statement_of(each) for each in connection.execute(first)]
            opening = opening_of(begun, these)
            if until is not None and begun and until.date() < begun[0].first:
                opening = Opening()
            return ToldLedger(
                account_id=account_id,
                transactions=these if until is None else tuple(each for each in these if each.at <= until),
                opening=opening,
                rules=rules,
                revision=revision,
            )

        return await self._reading(work)

    async def statements(self, user_id: str, portfolio_id: str, account_name: str) -> tuple[StatementTold, ...]:
        """Of the account at IBKR, by their days; without their transactions, which `told` has."""

        def work(connection: Connection) -> tuple[StatementTold, ...]:
            row = self._account(connection, user_id, portfolio_id, account_name)
            query = select(STATEMENTS).where(
                STATEMENTS.c.account_key == row.account_key,
                STATEMENTS.c.account_id == _account_id(connection, row),
            )
            query = query.order_by(STATEMENTS.c.first, STATEMENTS.c.last, STATEMENTS.c.made_at, STATEMENTS.c.digest)
            return tuple(statement_of(each) for each in connection.execute(query))

        return await self._reading(work)

    async def corrections(self, user_id: str, portfolio_id: str, account_name: str) -> tuple[KeptCorrection, ...]:
        """What was told otherwise before, oldest first."""

        def work(connection: Connection) -> tuple[KeptCorrection, ...]:
            row = self._account(connection, user_id, portfolio_id, account_name)
            own = CORRECTIONS.c.account_key == row.account_key
            query = select(CORRECTIONS).where(own, CORRECTIONS.c.account_id == _account_id(connection, row))
            return tuple(_correction(each) for each in connection.execute(query.order_by(CORRECTIONS.c.number)))

        return await self._reading(work)

    async def raw(self, user_id: str, portfolio_id: str, digest: str) -> RawPayload:
        """A payload that something in this portfolio was read from. StorageError where it is not what it was."""

        def work(connection: Connection) -> RawPayload:
            owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
            if connection.execute(owner).scalar() != user_id:
                raise no_such("portfolio")
            keys = [each.account_key for each in accounts_of(connection, portfolio_id, now_of(connection, self._clock))]
            if not points_to(connection, keys, digest):
                raise no_such("payload")
            return payload_of(connection, digest)

        return await self._reading(work)

    async def set_rules(
        self,
        user_id: str,
        portfolio_id: str,
        account_name: str,
        *,
        order: LotOrder | None = None,
        premium_into_stock: bool | None = None,
        picks: Mapping[str, Sequence[tuple[str, Decimal]]] | None = None,
    ) -> Rules:
        """What is None stays as it is. picks: take the place of those of the same closing trades, none takes them away.

        ConfigError (E-VALIDATION) for a pick of what is no transaction of the ledger, or of another listing.
        """

        def work(connection: Connection) -> Rules:
            row = self._locked(connection, user_id, portfolio_id, account_name)
            account_id = _account_id(connection, row)
            _touch(connection, row.account_key)
            _, rules = _rules(connection, row, account_id)
            if picks:
                check_picks(picks, _transactions(connection, row.account_key, account_id))
            picked = {key: parts for key, parts in {**rules.picks, **(picks or {})}.items() if parts}
            values = {
                "lot_order": (order or rules.order).value,
                "premium_into_stock": rules.premium_into_stock if premium_into_stock is None else premium_into_stock,
                "picks": {key: [[each, f"{size:f}"] for each, size in parts] for key, parts in picked.items()},
            }
            connection.execute(update(LEDGERS).where(LEDGERS.c.account_key == row.account_key).values(values))
            return _rules(connection, row, account_id)[1]

        return await self._write(work)

    # -- rows -----------------------------------------------------------------------------------------------------

    def _locked(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> AccountRow:
        lock_portfolio(connection, portfolio_id)
        return self._account(connection, user_id, portfolio_id, name)

    def _account(self, connection: Connection, user_id: str, portfolio_id: str, name: str) -> AccountRow:
        owner = select(PORTFOLIOS.c.user_id).where(PORTFOLIOS.c.portfolio_id == portfolio_id)
        if connection.execute(owner).scalar() != user_id:
            raise no_such("portfolio")
        return found_in(accounts_of(connection, portfolio_id, now_of(connection, self._clock), name))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(lambda connection: work(for_engine(connection)))

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(lambda connection: work(for_engine(connection)))


def put_transactions(
    connection: Connection,
    account_key: str,
    account_id: str,
    told: Sequence[Transaction],
    *,
    digest: str,
    at: datetime,
) -> tuple[tuple[Transaction, ...], tuple[Correction, ...], int]:
    """Merged with what is there: added, corrected, and how many were known. Of one account, whose portfolio is locked.

    digest: of the payload that tells of them. at: now.
    """
    if not told:
        return (), (), 0
    since = None
    if all(each.origin is Origin.LIVE for each in told):
        since = min(each.at for each in told) - _AROUND
    merged = merge(_transactions(connection, account_key, account_id, since), told)
    gone = [each for correction in merged.corrected for each in (correction.before, *correction.also)]
    for each in gone:
        these = (TRANSACTIONS.c.account_key == account_key, TRANSACTIONS.c.account_id == account_id)
        connection.execute(delete(TRANSACTIONS).where(*these, TRANSACTIONS.c.key == each.key))
    new = [*merged.added, *(correction.after for correction in merged.corrected)]
    if new:
        connection.execute(insert(TRANSACTIONS), [transaction_values(account_key, each) for each in new])
    if merged.corrected:
        highest = select(func.max(CORRECTIONS.c.number)).where(CORRECTIONS.c.account_key == account_key)
        number = connection.execute(highest).scalar() or 0
        rows = [
            {
                "account_key": account_key,
                "number": number + index,
                "account_id": account_id,
                "key": each.before.key,
                "noted_at": at,
                "digest": digest,
                "what": list(each.what),
                "before": [pack_transaction(old) for old in (each.before, *each.also)],
                "after": pack_transaction(each.after),
            }
            for index, each in enumerate(merged.corrected, start=1)
        ]
        connection.execute(insert(CORRECTIONS), rows)
    if new:
        _touch(connection, account_key)
    return tuple(merged.added), tuple(merged.corrected), merged.known


def _put_flows(connection: Connection, account_key: str, account_id: str, new: Sequence[StatementTold]) -> None:
    """By what is believed now: an older file that comes in later does not bring back what was corrected."""
    told = [each for each in new if flows_of(each) is not None]
    if not told:
        return
    believed = [each for each in _transactions(connection, account_key, account_id) if each.origin is Origin.ACTIVITY]
    for statement in told:
        since, until = flow_span(statement)
        within = tuple(each for each in believed if statement.first <= each.booked_on <= statement.last)
        flows = flows_of(dataclasses.replace(statement, transactions=within))
        if flows is not None:
            put_flows(connection, account_key, account_id, since=since, until=until, amounts=flows)


def put_executions(
    connection: Connection, account_key: str, picture: Picture, listings: Mapping[int, Listed]
) -> tuple[str, ...]:
    """What a sync was told of live executions; in words what of them is not booked.

    listings: by conid, of what is or was held. A listing that the ledger knows already counts as well.
    """
    if picture.told_by is None or not picture.executions:
        return ()
    account_id, digest = str(picture.account_id), hashlib.sha256(picture.told_by.body).hexdigest()
    wanted = {int(each.fill.conid) for each in picture.executions} - {
        conid for conid, each in listings.items() if each.currency
    }
    known = dict(listings)
    if wanted:
        query = select(TRANSACTIONS.c.kind, TRANSACTIONS.c.body).where(
            TRANSACTIONS.c.account_key == account_key,
            TRANSACTIONS.c.account_id == account_id,
            TRANSACTIONS.c.conid.in_(wanted),
        )
        for kind, body in connection.execute(query):
            listed = getattr(transaction_of(kind, body), "listed", None)
            if listed is not None and listed.currency:
                known[listed.conid] = listed
    told = trades_of(picture.executions, known, digest=digest)
    added, corrected, _ = put_transactions(
        connection, account_key, account_id, told.trades, digest=digest, at=picture.taken_at
    )
    if added or corrected:
        put_payload(connection, picture.told_by, picture.taken_at)
    return told.unbooked


def _touch(connection: Connection, account_key: str) -> None:
    """One more change of what is told."""
    this = update(LEDGERS).where(LEDGERS.c.account_key == account_key).values(revision=LEDGERS.c.revision + 1)
    if not connection.execute(this).rowcount:
        values = {"account_key": account_key, "revision": 1, "picks": {}}
        rules = Rules()
        values |= {"lot_order": rules.order.value, "premium_into_stock": rules.premium_into_stock}
        connection.execute(insert(LEDGERS).values(values))


def _account_id(connection: Connection, row: AccountRow) -> str:
    """At IBKR: that of the link, else of the newest statement, else of the newest transaction."""
    if row.link is not None:
        return row.link.account_id
    newest = select(STATEMENTS.c.account_id).where(STATEMENTS.c.account_key == row.account_key)
    found = connection.execute(newest.order_by(STATEMENTS.c.kept_at.desc()).limit(1)).scalar()
    if found is None:
        last = select(TRANSACTIONS.c.account_id).where(TRANSACTIONS.c.account_key == row.account_key)
        found = connection.execute(last.order_by(TRANSACTIONS.c.at.desc()).limit(1)).scalar()
    return found or ""


def _rules(connection: Connection, row: AccountRow, account_id: str) -> tuple[int, Rules]:
    """With the base currency that the newest statement tells, else the link's."""
    own = (STATEMENTS.c.account_key == row.account_key, STATEMENTS.c.account_id == account_id)
    newest = select(STATEMENTS.c.base).where(*own, STATEMENTS.c.base != "")
    told = connection.execute(newest.order_by(STATEMENTS.c.last.desc()).limit(1)).scalar()
    base = told or (row.link.currency if row.link is not None else "") or Rules().base
    there = connection.execute(select(LEDGERS).where(LEDGERS.c.account_key == row.account_key)).one_or_none()
    if there is None:
        return 0, Rules(base=base)
    picks = {key: [(each, Decimal(size)) for each, size in parts] for key, parts in there.picks.items()}
    order = LotOrder(there.lot_order)
    return there.revision, Rules(order=order, picks=picks, premium_into_stock=there.premium_into_stock, base=base)


def _transactions(
    connection: Connection, account_key: str, account_id: str, since: datetime | None = None
) -> tuple[Transaction, ...]:
    query = select(TRANSACTIONS.c.kind, TRANSACTIONS.c.body).where(
        TRANSACTIONS.c.account_key == account_key, TRANSACTIONS.c.account_id == account_id
    )
    if since is not None:
        query = query.where(TRANSACTIONS.c.at >= since)
    return tuple(transaction_of(kind, body) for kind, body in connection.execute(query))


def _correction(row: Any) -> KeptCorrection:
    first, *others = (transaction_of(kind, body) for kind, body in row.before)
    return KeptCorrection(
        number=row.number,
        noted_at=row.noted_at,
        digest=row.digest,
        correction=Correction(before=first, also=tuple(others), after=transaction_of(*row.after), what=tuple(row.what)),
    )
