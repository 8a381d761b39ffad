"""The inbox of an account: what differs now, and how it is settled: a statement fetched, or a row booked by hand.

What a person books is a payload like any other: who, when, why and what, kept as it was said, and never changed.
Source: requirement FUT-08.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from ibkit.errors import InvalidRequest
from ibkit.portfolio.picture import RawPayload
from ibkit.portfolio.reconciling import Difference, Figure, Fix, live_of, reconcile
from ibkit.portfolio.reconciling_costs import reconcile_costs
from ibkit.portfolio.transactions import Origin, RowSource, Transferred
from ibkit.store.inbox import InboxItem
from ibkit.store.ledgers import ToldLedger
from ibkit.store.portfolio_rows import conflict

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk

__all__ = ["ADJUSTMENT", "Fetch", "accept_difference", "fix_difference", "inbox_of", "inbox_shown"]

ADJUSTMENT: Final = "adjustment"
"""`what` of a payload that a person booked, and the section of its row."""
LONGEST_FETCH: Final = timedelta(days=364)
"""A year, the longest period that is given with a request (wire/flex/answers.py)."""

Fetch = Callable[[date, date], Awaitable[object]]
"""Imports the statement of these days."""


async def inbox_of(desk: PortfolioDesk, user_id: str, portfolio_id: str, account_name: str) -> tuple[InboxItem, ...]:
    """Brought up to what differs now. An account by hand of which nothing was told has none. NotFound."""
    return (await _looked(desk, user_id, portfolio_id, account_name))[1]


async def inbox_shown(desk: PortfolioDesk, user_id: str, portfolio_id: str, account_name: str) -> tuple[InboxItem, ...]:
    """The same without writing anything: for whoever only looks. NotFound."""
    _, differences = await _differing(desk, user_id, portfolio_id, account_name)
    return await desk.inbox.shown(user_id, portfolio_id, account_name, differences)


async def _looked(
    desk: PortfolioDesk, user_id: str, portfolio_id: str, account_name: str
) -> tuple[ToldLedger, tuple[InboxItem, ...]]:
    """The ledger that was looked at, and what of it differs."""
    told, differences = await _differing(desk, user_id, portfolio_id, account_name)
    return told, await desk.inbox.bring_up(user_id, portfolio_id, account_name, differences)


async def _differing(
    desk: PortfolioDesk, user_id: str, portfolio_id: str, account_name: str
) -> tuple[ToldLedger, tuple[Difference, ...]]:
    account = await desk.books.account(user_id, portfolio_id, account_name)
    told = await desk.ledgers.told(user_id, portfolio_id, account_name)
    statements = await desk.ledgers.statements(user_id, portfolio_id, account_name)
    live = None
    link = account.link
    if link is not None and link.last_sync is not None and not desk.is_without_session(link):
        live = live_of(account.holdings, link.last_sync, with_cash=desk.with_cash)
    if not told.transactions and not statements and live is None:
        return told, ()

    def differences() -> tuple[Difference, ...]:
        found = reconcile(statements, told.transactions, told.opening, live)
        return found + reconcile_costs(statements, told.transactions, told.opening, told.rules, known=found)

    return told, await anyio.to_thread.run_sync(differences)


async def accept_difference(
    desk: PortfolioDesk, user_id: str, portfolio_id: str, account_name: str, item_id: str, *, by: str, note: str = ""
) -> InboxItem:
    """It stays as it is. NotFound; ConfigError (E-CONFLICT) where it is none any more."""
    await inbox_of(desk, user_id, portfolio_id, account_name)
    return await desk.inbox.accept(user_id, portfolio_id, account_name, item_id, by=by, note=note)


async def fix_difference(
    desk: PortfolioDesk,
    user_id: str,
    portfolio_id: str,
    account_name: str,
    item_id: str,
    *,
    by: str,
    note: str = "",
    adjust: bool = False,
    cost: Decimal | None = None,
    fetch: Fetch | None = None,
) -> tuple[InboxItem, ...]:
    """Do what is proposed, and look again: what is left.

    adjust: book it by hand whatever is proposed. cost: of what is booked, in its currency, all of it; that of the
    statement by default. fetch: how a statement is got. NotFound; ConfigError (E-CONFLICT) where nothing of it can be
    done from here; errors of `fetch`.
    """
    told, items = await _looked(desk, user_id, portfolio_id, account_name)
    there = {each.item_id: each for each in items}
    item = there.get(item_id) or await desk.inbox.one(user_id, portfolio_id, account_name, item_id)
    if item_id not in there:
        raise conflict("that difference is none any more", "Nothing was changed.")
    found = item.difference
    if found.fix is Fix.ACCEPT:
        raise conflict(f"{found.why}: nothing can be booked for it", "Accept the difference.")
    if adjust or found.fix is Fix.BOOK:
        await _book(desk, user_id, portfolio_id, account_name, told, found, by=by, note=note, cost=cost)
    elif found.fix is Fix.FETCH and fetch is not None:
        last = found.last or found.day
        first = found.first or last - LONGEST_FETCH
        await fetch(max(first, last - LONGEST_FETCH), last)
    elif found.fix is Fix.ADJUST:
        raise conflict(
            f"the proposal is a booking by hand of {found.amount:f}", "Say so (adjust), or accept the difference."
        )
    else:
        raise conflict(f"{found.why}: it is not mended from here", _REMEDIES[found.fix])
    return await inbox_of(desk, user_id, portfolio_id, account_name)


_REMEDIES: Final = {
    Fix.SWITCH_ON: "Switch the section on: Client Portal, Performance & Reports, Flex Queries; then import the "
    "statement of these days again.",
    Fix.WAIT: "The next statement tells it. Look again then, or book it by hand (adjust).",
    Fix.FETCH: "Import the statement of these days as a file, or set FLEX_TOKEN and FLEX_QUERY_ID.",
    Fix.BOOK: "",
    Fix.ADJUST: "",
    Fix.ACCEPT: "",
}


async def _book(
    desk: PortfolioDesk,
    user_id: str,
    portfolio_id: str,
    account_name: str,
    told: ToldLedger,
    found: Difference,
    *,
    by: str,
    note: str,
    cost: Decimal | None,
) -> None:
    """What the ledger lacks, as of the difference's own day; of the ledger as it was when it was looked at."""
    recosts = found.figure is Figure.COST
    worth = found.amount if recosts else _worth(found, cost)
    said = {
        "account": told.account_id,
        "booked_by": by,
        "booked_at": desk.clock.now().isoformat(),
        "why": note or found.why,
        "cause": found.cause.value,
        "against": found.against.value,
        "told": f"{found.told:f}",
        "ours": f"{found.ours:f}",
        "amount": f"{found.amount:f}",
        "figure": found.figure.value,
        "currency": found.currency,
        "conid": None if found.listed is None else found.listed.conid,
        "cost": None if worth is None else f"{worth:f}",
        "day": found.day.isoformat(),
    }
    payload = RawPayload(what=ADJUSTMENT, body=json.dumps(said, indent=1, ensure_ascii=False).encode())

    def booking(digest: str) -> list[Transferred]:
        return [
            Transferred(
                account_id=told.account_id,
                ids=(f"booked:{digest}",),
                at=found.at,
                day=found.day,
                booked_on=found.day,
                origin=Origin.PERSON,
                source=RowSource(digest=digest, section=ADJUSTMENT),
                listed=found.listed,
                quantity=found.amount if found.listed is not None and not recosts else Decimal(0),
                cost=worth or Decimal(0) if found.listed is not None else Decimal(0),
                currency=found.currency,
                cash=Decimal(0) if found.listed is not None else found.amount,
                description=note or found.why,
            )
        ]

    await desk.ledgers.book(user_id, portfolio_id, account_name, payload, booking, revision=told.revision)


def _worth(found: Difference, cost: Decimal | None) -> Decimal | None:
    """What is booked cost, signed as its quantity. None for cash, and for what takes away: that has its own lots.

    InvalidRequest (E-VALIDATION) where nobody says it: for nothing it would be sold with a gain that never was.
    """
    if found.listed is None or found.amount * found.ours < 0:
        return None
    given = cost if cost is not None else found.cost
    if given is None:
        why = f"what {found.amount.normalize():f} {found.listed.symbol} cost is not known"
        raise InvalidRequest(
            f"Invalid request: cost: {why}",
            code="E-VALIDATION",
            remedy="Say what all of it cost in its currency (--cost, or `cost` over HTTP); 0 if it was given.",
            details={"errors": [{"field": "cost", "message": why}]},
        )
    return abs(given).copy_sign(found.amount)
