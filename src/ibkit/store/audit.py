"""The audit log in the database: what was done, chained so that nothing of it can be taken away unseen.

    append     in the caller's transaction, so that an action and its entry are one
    AuditLog   the same by itself; reads, exports, verifies, and takes away what is older than 400 days

Chain and signatures are those of `vault/chain.py`. One writer at a time: SQLite has one anyway, on PostgreSQL a lock is
held from the first entry of a transaction to its end, so append last where a transaction does other work.
Source: requirements MON-09, MON-10; reliability rules, threat TM-21.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import cast

import anyio.to_thread
from sqlalchemy import Connection, text

from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.model import Secret
from ibkit.store.columns import instant_text
from ibkit.store.database import SCHEMA, Database
from ibkit.store.records import open_records
from ibkit.store.transactions import driver_of
from ibkit.vault.act import HERE, Act, Result, fields_of
from ibkit.vault.chain import (
    START,
    Break,
    BreakKind,
    Entry,
    Link,
    LinkKind,
    Row,
    SignedLink,
    Signer,
    append_to,
    follow,
)

__all__ = ["KEPT", "MANY", "PART", "SIGN_INS", "WITHIN", "AuditLog", "Failures", "Verdict", "append"]

PART = "audit"
KEPT = timedelta(days=400)
_NAME = "audit log"
_CHUNK, _BATCH = 20_000, 1_000
"""Entries asked for at a time, and taken up at a time: what lies in the processor's cache is checked faster."""
_AT_ONCE = 5_000
"""Entries taken away in one transaction: a longer one would hold up those who write."""
_MOST_LISTED = 1000
_COLUMNS = "number, at, actor, address, action, object, result, details, previous, hash"
SIGN_INS = "auth."
"""Actions that begin so are sign-ins; MON-11 counts those that did not succeed."""
MANY, WITHIN = 10, timedelta(minutes=15)
"""So many failures in such a time are a finding (MON-11)."""

SignerOf = Callable[[], Signer]


def append(connection: Connection, *acts: Act) -> tuple[Entry, ...]:
    """Write `acts` in the caller's transaction, one after the other: they stand if it commits, else nothing does."""
    entries, anchors = _tables(connection)
    _lock(connection)
    link = _end(connection, entries, anchors)
    rows: list[Row] = []
    for act in acts:
        rows.append(append_to(link, fields_of(act)))
        link = Link(rows[-1][0], rows[-1][-1])
    if rows:
        names = _COLUMNS.split(", ")
        values = ", ".join(f":{name}" for name in names)
        statement = text(f"INSERT INTO {entries} ({_COLUMNS}) VALUES ({values})")  # noqa: S608  # names of ours
        connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])
    return tuple(Entry.of(row) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a look at the whole chain has found.

    first, last: the numbers of the entries that are there (0, 0 for none). checked: how many were looked at.
    broken: the first that is not what it was, None where all is well. notes: what could not be looked at.
    """

    first: int
    last: int
    checked: int
    broken: Break | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Sign-ins that failed, of one account from one address (MON-11). Instants as entries have them."""

    account: str
    address: str
    count: int
    first_at: str
    last_at: str


class AuditLog:
    """Fits `vault.Auditor`. Opening makes the tables where there are none.

    signer: called when something is to be signed for the first time, for it may have to make the key.
    """

    def __init__(self, url: Secret[str], *, clock: Clock, signer: SignerOf | None = None) -> None:
        self._url = url
        self._clock = clock
        self._signer_of = signer
        self._opened: Database | None = None

    async def __aenter__(self) -> AuditLog:
        self._opened = await anyio.to_thread.run_sync(lambda: open_records(self._url, parts=(PART,), name=_NAME))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            database, self._opened = self._opened, None
            await database.close()

    @property
    def _database(self) -> Database:
        assert self._opened is not None, "the audit log is open only inside `async with`"
        return self._opened

    async def record(self, *acts: Act) -> None:
        await self._database.write(lambda connection: append(connection, *acts))

    async def entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        object_: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[Entry, ...]:
        """The newest first. action: one, or with a dot at its end all that begin so (`orders.`).

        until: not included. before: only older ones than this number, for the next page.
        """
        asked = {
            "actor = :actor": ("actor", actor),
            "object = :object": ("object", object_),
            "at >= :since": ("since", None if since is None else instant_text(since)),
            "at < :until": ("until", None if until is None else instant_text(until)),
            "number < :before": ("before", before),
        }
        if action is not None and action.endswith("."):
            # The dot's own end: `orders/` is the first text after all that begin with `orders.`.
            asked["action >= :action"] = ("action", action)
            asked["action < :beyond"] = ("beyond", f"{action[:-1]}/")
        else:
            asked["action = :action"] = ("action", action)
        given = {condition: pair for condition, pair in asked.items() if pair[1] is not None}
        where = f"WHERE {' AND '.join(given)} " if given else ""
        values = {**dict(given.values()), "most": max(1, min(limit, _MOST_LISTED))}

        def work(connection: Connection) -> tuple[Entry, ...]:
            entries, _ = _tables(connection)
            query = f"SELECT {_COLUMNS} FROM {entries} {where}ORDER BY number DESC LIMIT :most"  # noqa: S608
            return tuple(Entry.of(_row(row)) for row in connection.execute(text(query), values))

        return await self._database.read(work)

    async def failures(
        self, *, since: datetime, at_least: int = 1, by_account: bool = True, by_address: bool = True
    ) -> tuple[Failures, ...]:
        """Sign-ins that did not succeed, the most first; of those that have `at_least` so many.

        by_account, by_address: False to take all accounts, or all addresses, together; the field is "" then.
        """
        account, address = "object" if by_account else "''", "address" if by_address else "''"

        def work(connection: Connection) -> tuple[Failures, ...]:
            entries, _ = _tables(connection)
            query = text(
                f"SELECT {account}, {address}, count(*), min(at), max(at) FROM {entries}"  # noqa: S608
                " WHERE at >= :since AND action LIKE :sign_ins AND result <> :ok"
                " GROUP BY 1, 2 HAVING count(*) >= :least ORDER BY 3 DESC, 1, 2"
            )
            values = {"since": instant_text(since), "sign_ins": f"{SIGN_INS}%", "ok": Result.OK.value}
            return tuple(
                Failures(account=account, address=address, count=count, first_at=first, last_at=last)
                for account, address, count, first, last in connection.execute(query, {**values, "least": at_least})
            )

        return await self._database.read(work)

    async def suspicious(self) -> tuple[Failures, ...]:
        """Who failed to sign in 10 times within 15 minutes: accounts from all addresses, then addresses for all."""
        since = self._clock.now() - WITHIN
        accounts = await self.failures(since=since, at_least=MANY, by_address=False)
        return (*accounts, *await self.failures(since=since, at_least=MANY, by_account=False))

    async def head(self) -> SignedLink:
        """How far the chain has come, signed: to be kept where nobody who writes the database can reach it."""
        link = await self._database.read(lambda connection: _end(connection, *_tables(connection)))
        return self._sign(link, LinkKind.HEAD)

    async def export(self, write: Callable[[dict[str, object] | Entry], None], *, after: int = 0) -> SignedLink:
        """Give `write` the anchor (where one is), each entry after the number `after`, and the head, which is returned.

        All of it as it stood at one moment; `write` is called in a thread.
        """

        def work(connection: Connection) -> Link:
            _one_snapshot(connection)
            entries, anchors = _tables(connection)
            anchor = _anchor(connection, anchors)
            link = START if anchor is None else anchor.link
            if anchor is not None:
                write(anchor.document)
            for rows in _chunks(connection, entries, after=link.number):
                for row in rows:
                    if row[0] > after:
                        write(Entry.of(row))
                link = Link(rows[-1][0], rows[-1][-1])
            return link

        head = self._sign(await self._database.read(work), LinkKind.HEAD)
        write(head.document)
        return head

    async def verify(
        self, *, trusted: Collection[str] = (), head: SignedLink | None = None, only_after_head: bool = False
    ) -> Verdict:
        """Look at every entry, from the anchor or the first one on; and whether `head` is among them.

        trusted: public keys (hex) whose anchors and heads count. only_after_head: trust what stands up to the head.
        """
        if head is not None and (problem := _doubt(head, trusted)):
            return Verdict(first=0, last=0, checked=0, broken=Break(head.number, BreakKind.FORGED, problem))
        return await self._database.read(
            lambda connection: _verified(connection, trusted, head, only_after_head=only_after_head)
        )

    async def purge(self) -> int:
        """Take away what is older than 400 days, behind a signed anchor: how many entries went.

        StorageError where what would go is not whole: the anchor would hide it.
        """
        cutoff = instant_text(self._clock.now() - KEPT)
        gone = 0
        while True:
            due = await self._database.read(lambda connection: _due(connection, cutoff))
            if due is None:
                return gone
            signed = self._sign(due, LinkKind.ANCHOR)
            act = Act(
                at=self._clock.now(),
                actor="ibkit",
                action="audit.purge",
                object=f"entries up to {due.number}",
                address=HERE,
                details={"older_than": cutoff},
            )
            gone += await self._database.write(lambda connection: _take_away(connection, signed, act))  # noqa: B023

    def _sign(self, link: Link, kind: LinkKind) -> SignedLink:
        if self._signer_of is None:
            raise StorageError("The audit log was opened without a key to sign with", remedy="Open it with a signer.")
        return self._signer_of().sign(link, kind=kind, at=instant_text(self._clock.now()))


def _tables(connection: Connection) -> tuple[str, str]:
    prefix = f"{SCHEMA}." if connection.dialect.name == "postgresql" else ""
    return f"{prefix}audit_entries", f"{prefix}audit_anchors"


def _lock(connection: Connection) -> None:
    """No other process appends until this transaction has ended; on SQLite it is the writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ibkit audit'))"))


def _one_snapshot(connection: Connection) -> None:
    """Read everything as of one moment; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _end(connection: Connection, entries: str, anchors: str) -> Link:
    last = connection.exec_driver_sql(
        f"SELECT number, hash FROM {entries} ORDER BY number DESC LIMIT 1"  # noqa: S608
    ).one_or_none()
    if last is not None:
        return Link(last[0], bytes(last[1]))
    anchor = _anchor(connection, anchors)
    return START if anchor is None else anchor.link


def _anchor(connection: Connection, anchors: str) -> SignedLink | None:
    """The newest."""
    found = connection.exec_driver_sql(
        f"SELECT number, hash, at, public_key, signature FROM {anchors} ORDER BY number DESC LIMIT 1"  # noqa: S608
    ).one_or_none()
    if found is None:
        return None
    number, hash_, at, public_key, signature = found
    return SignedLink(
        kind=LinkKind.ANCHOR, number=number, hash=hash_, at=at, public_key=public_key, signature=signature
    )


def _chunks(connection: Connection, entries: str, *, after: int, up_to: int | None = None) -> Iterator[list[Row]]:
    """All entries after a number in their order. By the driver itself: a million rows in two seconds."""
    driver = driver_of(connection)
    end = "" if up_to is None else f" AND number <= {up_to:d}"
    while True:
        cursor = driver.execute(
            f"SELECT {_COLUMNS} FROM {entries} WHERE number > {after:d}{end}"  # noqa: S608  # names and whole numbers
            f" ORDER BY number LIMIT {_CHUNK}"
        )
        before = after
        while rows := cast("list[Row]", cursor.fetchmany(_BATCH)):
            yield rows
            after = rows[-1][0]
        cursor.close()
        if after == before:
            return


def _row(row: object) -> Row:
    return cast("Row", tuple(cast("Sequence[object]", row)))


def _doubt(signed: SignedLink, trusted: Collection[str]) -> str:
    """Why a signature does not count; "" where it does."""
    if not signed.holds():
        return f"the signature of the {signed.kind.value} does not fit it"
    if signed.public_key not in trusted:
        return f"the {signed.kind.value} is signed by {signed.public_key[:16]}…, a key that is not trusted here"
    return ""


def _verified(
    connection: Connection, trusted: Collection[str], head: SignedLink | None, *, only_after_head: bool
) -> Verdict:
    _one_snapshot(connection)
    entries, anchors = _tables(connection)
    anchor, end = _anchor(connection, anchors), _end(connection, entries, anchors)
    link = START if anchor is None else anchor.link
    notes: list[str] = []

    def verdict(link: Link, broken: Break | None = None) -> Verdict:
        checked = link.number - begin
        return Verdict(
            first=begin + 1 if end.number > begin else 0,
            last=end.number,
            checked=checked,
            broken=broken,
            notes=tuple(notes),
        )

    begin = link.number
    if anchor is not None and (problem := _doubt(anchor, trusted)):
        return verdict(link, Break(anchor.number, BreakKind.FORGED, problem))
    if head is not None and head.number <= begin:
        if head.number < begin:
            notes.append(f"the head of {head.at} is older than what is kept: entries up to {begin} were taken away")
        elif head.link != link:
            return verdict(link, _not_signed(head))
        head = None
    if head is not None and only_after_head:
        broken = _at_head(connection, entries, head, end)
        if broken is not None:
            return verdict(link, broken)
        link, begin, head = head.link, head.number, None
    for rows in _chunks(connection, entries, after=link.number):
        cut = len(rows) if head is None else _place_of(rows, head.number)
        for part in (rows[:cut], rows[cut:]):
            found = follow(part, link)
            if isinstance(found, Break):
                return verdict(Link(max(begin, found.number - 1), b""), found)
            link = found
            if head is not None and link.number == head.number:
                if link != head.link:
                    return verdict(link, _not_signed(head))
                head = None
    if head is not None:
        return verdict(link, Break(link.number + 1, BreakKind.MISSING, f"signed on {head.at} up to {head.number}"))
    return verdict(link)


def _place_of(rows: list[Row], number: int) -> int:
    """How many of `rows` there are up to the entry `number`."""
    return bisect_right(rows, number, key=lambda row: row[0])


def _at_head(connection: Connection, entries: str, head: SignedLink, end: Link) -> Break | None:
    """What is wrong about the very entry that was signed."""
    if end.number < head.number:
        return Break(end.number + 1, BreakKind.MISSING, f"signed on {head.at} up to {head.number}")
    rows = next(_chunks(connection, entries, after=head.number - 1, up_to=head.number), None)
    if rows is None:
        return Break(head.number, BreakKind.MISSING)
    found = follow(rows, Link(head.number - 1, rows[0][8]))
    if isinstance(found, Break):
        return found
    return None if found == head.link else _not_signed(head)


def _not_signed(head: SignedLink) -> Break:
    """The chain is whole, but not the one of the head: it was written anew, at this entry or before it."""
    why = f"the head of {head.at} has another hash: it or one before it was written anew"
    return Break(head.number, BreakKind.NOT_SIGNED, why)


def _due(connection: Connection, cutoff: str) -> Link | None:
    """The last entry of the oldest ones that are due, once they are seen to be whole; None where none is due."""
    _one_snapshot(connection)
    entries, anchors = _tables(connection)
    anchor = _anchor(connection, anchors)
    link = START if anchor is None else anchor.link
    first = connection.execute(
        text(f"SELECT number FROM {entries} WHERE at >= :cutoff ORDER BY number LIMIT 1"),  # noqa: S608
        {"cutoff": cutoff},
    ).scalar()
    last = _end(connection, entries, anchors).number if first is None else first - 1
    up_to = min(last, link.number + _AT_ONCE)
    if up_to <= link.number:
        return None
    for rows in _chunks(connection, entries, after=link.number, up_to=up_to):
        found = follow(rows, link)
        if isinstance(found, Break):
            raise StorageError(
                f"Nothing of the audit log was taken away: {found}",
                remedy="Run `ibkit audit verify`, and find out who changed the database.",
                details={"entry": found.number},
            )
        link = found
    return link


def _take_away(connection: Connection, anchor: SignedLink, act: Act) -> int:
    """The anchor in the place of all entries up to its own, in one transaction; 0 where another process was quicker."""
    entries, anchors = _tables(connection)
    _lock(connection)
    newest = _anchor(connection, anchors)
    if newest is not None and newest.number >= anchor.number:
        return 0
    connection.execute(
        text(
            f"INSERT INTO {anchors} (number, hash, at, public_key, signature)"  # noqa: S608
            " VALUES (:number, :hash, :at, :public_key, :signature)"
        ),
        anchor.document[LinkKind.ANCHOR.value],
    )
    append(connection, act)
    gone = connection.execute(text(f"DELETE FROM {entries} WHERE number <= :last"), {"last": anchor.number})  # noqa: S608
    return gone.rowcount
