"""How long the audit log keeps its entries: 400 days, then a signed anchor stands for them. Source: MON-10.

An entry that is gone cannot be had back, so nothing goes where something is not as it should be:

    anchor   the one the chain begins with is signed by a key that is not trusted here: whoever put it there may have
             taken away what stood before it, and our anchor on top would make that good
    chain    what would go is not whole: the anchor would hide it
    clock    the newest entry, but for those of the last week, is more than a month old: the clock may have jumped
    most     all but a tenth of the log, or less, would go

The last two can be right (an installation that lay still for months): a person may say so. The week is there because
whoever asks has just written entries by the very clock that is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from ibkit.errors import StorageError
from ibkit.store.audit_rows import anchor_of, append, chunks, doubt, end_of, lock, one_snapshot, tables
from ibkit.store.columns import instant_text
from ibkit.vault.act import Act
from ibkit.vault.chain import START, Break, Link, LinkKind, SignedLink, follow

__all__ = ["ASK_A_PERSON", "KEPT", "due", "take_away"]

KEPT = timedelta(days=400)
ASK_A_PERSON = ("clock", "most")
"""What of the reasons above a person may put aside."""
_AT_ONCE = 5_000
"""Entries taken away in one transaction: a longer one would hold up those who write."""
_SETTLED, _STILL = timedelta(days=7), timedelta(days=31)
_STAYS = 10
"""A tenth of the entries is to stay."""


def due(
    connection: Connection, now: datetime, *, trusted: Callable[[], Collection[str]], confirmed: bool = False
) -> Link | None:
    """The last entry of the oldest ones that are due, once they are seen to be whole; None where none is due.

    trusted: public keys (hex) whose anchors count. confirmed: a person has said that clock and extent are right.
    StorageError, with `details["withheld"]` one of the four words above.
    """
    one_snapshot(connection)
    entries, anchors = tables(connection)
    anchor, end = anchor_of(connection, anchors), end_of(connection, entries, anchors)
    link = START if anchor is None else anchor.link
    first = connection.execute(
        text(f"SELECT number FROM {entries} WHERE at >= :cutoff ORDER BY number LIMIT 1"),  # noqa: S608
        {"cutoff": instant_text(now - KEPT)},
    ).scalar()
    last = end.number if first is None else first - 1
    if last <= link.number:
        return None
    if anchor is not None and (problem := doubt(anchor, trusted())):
        raise _withheld(
            "anchor",
            problem,
            "Run `ibkit audit verify`. If another machine of yours signed it, copy the audit/public_key.pem of its"
            " state directory into audit/trusted/ of this one; if none did, somebody changed the database.",
        )
    if not confirmed:
        _plausible(connection, entries, now, going=last - link.number, all_=end.number - link.number)
    for rows in chunks(connection, entries, after=link.number, up_to=min(last, link.number + _AT_ONCE)):
        found = follow(rows, link)
        if isinstance(found, Break):
            remedy = "Run `ibkit audit verify`, and find out who changed the database."
            raise _withheld("chain", str(found), remedy, entry=found.number)
        link = found
    return link


def _plausible(connection: Connection, entries: str, now: datetime, *, going: int, all_: int) -> None:
    how = "Correct the clock. If it is right, and these entries may go: `ibkit audit purge`."
    newest = connection.execute(
        text(f"SELECT max(at) FROM {entries} WHERE at < :settled"),  # noqa: S608
        {"settled": instant_text(now - _SETTLED)},
    ).scalar()
    if newest is not None and newest < instant_text(now - _STILL):
        why = f"{going} are due by a clock of {now:%Y-%m-%d}, and before this week the newest was of {newest[:10]}"
        raise _withheld("clock", why, how)
    if (all_ - going) * _STAYS < all_:
        raise _withheld("most", f"{going} of {all_} entries would go by a clock of {now:%Y-%m-%d}", how)


def _withheld(reason: str, why: str, remedy: str, **details: object) -> StorageError:
    return StorageError(
        f"Nothing of the audit log was taken away: {why}", remedy=remedy, details={"withheld": reason, **details}
    )


def take_away(connection: Connection, anchor: SignedLink, act: Act) -> int:
    """The anchor in the place of all entries up to its own, in one transaction; 0 where another process was quicker."""
    entries, anchors = tables(connection)
    lock(connection)
    newest = anchor_of(connection, anchors)
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
