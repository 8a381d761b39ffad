"""The audit log in the database: what was done, chained so that nothing of it can be taken away unseen.

    append     in the caller's transaction, so that an action and its entry are one
    AuditLog   the same by itself; reads, exports, verifies, and takes away what is older than 400 days

Chain and signatures are those of `vault/chain.py`. One writer at a time: SQLite has one anyway, on PostgreSQL a lock is
held from the first entry of a transaction to its end, so append last where a transaction does other work.
Source: requirements MON-09, MON-10; reliability rules, threat TM-21.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType

import anyio.to_thread
from sqlalchemy import Connection, text

from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.model import Secret
from ibkit.store.audit_retention import KEPT, due, take_away
from ibkit.store.audit_rows import COLUMNS, anchor_of, append, chunks, doubt, end_of, one_snapshot, row_of, tables
from ibkit.store.columns import instant_text
from ibkit.store.database import Database
from ibkit.store.records import open_records
from ibkit.vault.act import HERE, Act, Result
from ibkit.vault.chain import START, Break, BreakKind, Entry, Link, LinkKind, Row, SignedLink, Signer, follow

__all__ = ["KEPT", "MANY", "PART", "SIGN_INS", "WITHIN", "AuditLog", "Failures", "Verdict", "append"]

PART = "audit"
_NAME = "audit log"
_MOST_LISTED = 1000
SIGN_INS = "auth."
"""Actions that begin so are sign-ins; MON-11 counts those that did not succeed."""
MANY, WITHIN = 10, timedelta(minutes=15)
"""So many failures in such a time are a finding (MON-11)."""

SignerOf = Callable[[], Signer]
Keys = Callable[[], Collection[str]]
"""Public keys in hex."""


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
    trusted: keys of others besides, whose anchors count when entries are taken away.
    """

    def __init__(
        self, url: Secret[str], *, clock: Clock, signer: SignerOf | None = None, trusted: Keys = frozenset
    ) -> None:
        self._url = url
        self._clock = clock
        self._signer_of = signer
        self._trusted = trusted
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
            entries, _ = tables(connection)
            query = f"SELECT {COLUMNS} FROM {entries} {where}ORDER BY number DESC LIMIT :most"  # noqa: S608
            return tuple(Entry.of(row_of(row)) for row in connection.execute(text(query), values))

        return await self._database.read(work)

    async def failures(
        self, *, since: datetime, at_least: int = 1, by_account: bool = True, by_address: bool = True
    ) -> tuple[Failures, ...]:
        """Sign-ins that did not succeed, the most first; of those that have `at_least` so many.

        by_account, by_address: False to take all accounts, or all addresses, together; the field is "" then.
        """
        account, address = "object" if by_account else "''", "address" if by_address else "''"

        def work(connection: Connection) -> tuple[Failures, ...]:
            entries, _ = tables(connection)
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
        link = await self._database.read(lambda connection: end_of(connection, *tables(connection)))
        return self._sign(link, LinkKind.HEAD)

    async def export(self, write: Callable[[dict[str, object] | Entry], None], *, after: int = 0) -> SignedLink:
        """Give `write` the anchor (where one is), each entry after the number `after`, and the head, which is returned.

        All of it as it stood at one moment; `write` is called in a thread.
        """

        def work(connection: Connection) -> Link:
            one_snapshot(connection)
            entries, anchors = tables(connection)
            anchor = anchor_of(connection, anchors)
            link = START if anchor is None else anchor.link
            if anchor is not None:
                write(anchor.document)
            for rows in chunks(connection, entries, after=link.number):
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
        if head is not None and (problem := doubt(head, trusted)):
            return Verdict(first=0, last=0, checked=0, broken=Break(head.number, BreakKind.FORGED, problem))
        return await self._database.read(
            lambda connection: _verified(connection, trusted, head, only_after_head=only_after_head)
        )

    async def purge(self, *, actor: str = "ibkit", confirmed: bool = False) -> int:
        """Take away what is older than 400 days, behind a signed anchor: how many entries went.

        actor: who asked for it. confirmed: a person has said that the clock is right, and that so many may go.
        StorageError where something is not as it should be (`audit_retention.py`); what that concerns stays.
        """
        now = self._clock.now()
        gone = 0
        while True:
            last = await self._database.read(
                lambda connection: due(connection, now, trusted=self._anchor_keys, confirmed=confirmed)  # noqa: B023
            )
            if last is None:
                return gone
            confirmed = True  # what is judged is the whole of it, once; not what one transaction leaves
            signed = self._sign(last, LinkKind.ANCHOR)
            act = Act(
                at=self._clock.now(),
                actor=actor,
                action="audit.purge",
                object=f"entries up to {last.number}",
                address=HERE,
                details={"older_than": instant_text(now - KEPT)},
            )
            gone += await self._database.write(lambda connection: take_away(connection, signed, act))  # noqa: B023

    def _anchor_keys(self) -> Collection[str]:
        own = () if self._signer_of is None else (self._signer_of().public_key,)
        return (*own, *self._trusted())

    def _sign(self, link: Link, kind: LinkKind) -> SignedLink:
        if self._signer_of is None:
            raise StorageError("The audit log was opened without a key to sign with", remedy="Open it with a signer.")
        return self._signer_of().sign(link, kind=kind, at=instant_text(self._clock.now()))


def _verified(
    connection: Connection, trusted: Collection[str], head: SignedLink | None, *, only_after_head: bool
) -> Verdict:
    one_snapshot(connection)
    entries, anchors = tables(connection)
    anchor, end = anchor_of(connection, anchors), end_of(connection, entries, anchors)
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
    if anchor is not None and (problem := doubt(anchor, trusted)):
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
    for rows in chunks(connection, entries, after=link.number):
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
    rows = next(chunks(connection, entries, after=head.number - 1, up_to=head.number), None)
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
