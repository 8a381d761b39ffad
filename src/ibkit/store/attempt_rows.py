"""Failed sign-ins as rows, and what `users.attempts` asks of them. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from ibkit.store.user_rows import FAILURES, NETWORKS, attempt_of, attempt_row
from ibkit.users.attempts import KEPT, MEMORY, MOST_ROWS, WINDOW, Attempt, Begun, History, Kind, waits_until

__all__ = ["begin", "failures", "withdraw"]

_COUNTING = [kind.value for kind in Kind if kind.counts]
_MOST_READ = 1000


def begin(connection: Connection, attempt: Attempt) -> Begun:
    until = waits_until(_history(connection, attempt)) if attempt.kind.counts else None
    waits = until is not None and until > attempt.at
    connection.execute(delete(FAILURES).where(FAILURES.c.at < attempt.at - KEPT))
    # A guess is always written down: there are never many of these, for they wait.
    flood = _count(connection, attempt, FAILURES.c.network == attempt.network) >= MOST_ROWS
    if flood and (waits or not attempt.kind.counts):
        return Begun(waits_until=until if waits else None)
    row = attempt_row(attempt, Kind.WAITING if waits else attempt.kind)
    connection.execute(insert(FAILURES).values(row))
    return Begun(
        waits_until=until if waits else None,
        of_user=_count(connection, attempt, FAILURES.c.user_id == attempt.user_id) if attempt.user_id else 0,
        of_address=_count(connection, attempt, FAILURES.c.address == attempt.address),
    )


def withdraw(connection: Connection, attempt: Attempt, *, succeeded: bool) -> bool:
    """Whether the account has signed in before, and from this network for the first time."""
    connection.execute(delete(FAILURES).where(FAILURES.c.attempt_id == attempt.attempt_id))
    if not succeeded:
        return False
    here = (FAILURES.c.account == attempt.account, FAILURES.c.network == attempt.network)
    connection.execute(update(FAILURES).where(*here).values(forgiven=True))
    place = (NETWORKS.c.account == attempt.account, NETWORKS.c.network == attempt.network)
    if connection.execute(update(NETWORKS).where(*place).values(seen_at=attempt.at)).rowcount:
        return False
    others = connection.execute(select(NETWORKS.c.network).where(NETWORKS.c.account == attempt.account)).first()
    row = {"account": attempt.account, "network": attempt.network, "seen_at": attempt.at}
    connection.execute(insert(NETWORKS).values(row))
    return others is not None


def failures(connection: Connection, *, since: datetime, most: int) -> Sequence[Attempt]:
    query = select(FAILURES).where(FAILURES.c.at >= since).order_by(FAILURES.c.at.desc(), FAILURES.c.attempt_id)
    return [attempt_of(row) for row in connection.execute(query.limit(most)).mappings()]


def _count(connection: Connection, attempt: Attempt, condition: ColumnElement[bool]) -> int:
    recent = (condition, FAILURES.c.at > attempt.at - WINDOW)
    found: int = connection.execute(select(func.count()).select_from(FAILURES).where(*recent)).scalar_one()
    return found


def _history(connection: Connection, attempt: Attempt) -> History:
    mine, here = FAILURES.c.account == attempt.account, FAILURES.c.network == attempt.network
    known = select(NETWORKS.c.network).where(NETWORKS.c.account == attempt.account)
    elsewhere = _times(connection, mine, FAILURES.c.network.not_in(known), since=attempt.at - WINDOW)
    return History(
        here=_times(connection, mine, here, since=attempt.at - MEMORY),
        elsewhere=elsewhere if attempt.account else [],  # a link: those before it are of nobody, not of this one
        network=_times(connection, here, since=attempt.at - WINDOW),
        known=connection.execute(known.where(NETWORKS.c.network == attempt.network)).first() is not None,
    )


def _times(connection: Connection, *conditions: Any, since: datetime) -> list[datetime]:
    """Oldest first, of the latest ones."""
    counting = (FAILURES.c.kind.in_(_COUNTING), FAILURES.c.forgiven.is_(False), FAILURES.c.at > since)
    query = select(FAILURES.c.at).where(*conditions, *counting).order_by(FAILURES.c.at.desc()).limit(_MOST_READ)
    return [at for (at,) in connection.execute(query)][::-1]
