"""Verbs of the portfolio: what is held, and what it is worth.

Source: docs/facts/accounts-and-portfolio.md §2.3, §2.4, §3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from ibkit.client.api.accounts import accounts, selected_account
from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.model import AccountId, AccountSummary, CashBalance, Position
from ibkit.wire.accounts import (
    INVALIDATE_POSITIONS,
    LEDGER,
    PORTFOLIO_SUMMARY,
    POSITIONS,
    POSITIONS_NOW,
    POSITIONS_PAGE_ROWS,
    PositionRow,
    ledger_from_wire,
    position_from_wire,
    summary_from_wire,
)

if TYPE_CHECKING:
    from ibkit.client.core import Core

MOST_PAGES: Final = 1000
POSITIONS_SORT: Final = {"sort": "position", "direction": "a", "waitForSecDef": "true"}
"""Paging is stable only with an explicit sort. Source: §3.1."""


async def summary(ib: Core, account_id: AccountId | None = None) -> AccountSummary:
    """Balances and margins, exact; what IBKR did not say is None."""
    account = await _opened(ib, account_id)
    return summary_from_wire(account, await ib.request(PORTFOLIO_SUMMARY, path={"account_id": account}))


async def ledger(ib: Core, account_id: AccountId | None = None) -> tuple[CashBalance, ...]:
    """Cash by currency."""
    account = await _opened(ib, account_id)
    return ledger_from_wire(await ib.request(LEDGER, path={"account_id": account}))


async def positions(
    ib: Core, account_id: AccountId | None = None, *, zero: bool = False, fresh: bool = False
) -> tuple[Position, ...]:
    """All positions or an error, never a part. Kept for 5 s, or until an order of ours is sent.

    zero:  rows of size zero too, which IBKR's portfolio cache keeps for a while after a close.
    fresh: empty that cache first, and pass by our own, so that a fill of this moment counts.
    """
    account = await _opened(ib, account_id)
    kept = ib.caches.positions
    known = None if fresh else kept.get(account, ib.clock.monotonic())
    if known is not None:
        return _held(known, zero=zero)
    turn = kept.turn
    if fresh:
        await ib.request(INVALIDATE_POSITIONS, path={"account_id": account}, body={})

    async def page_of(number: int) -> list[PositionRow]:
        path = {"account_id": account, "page": number}
        rows: list[PositionRow] = await ib.request(POSITIONS, path=path, query=POSITIONS_SORT)
        return rows

    found = read_positions(await all_pages(page_of), account, zero=True)
    # Sparse rows, of a session's first read, are not kept: the next one is whole. Source: §3.1.
    if all(position.contract.currency for position in found):
        kept.put(account, found, ib.clock.monotonic(), asked_in=turn)
    return _held(found, zero=zero)


async def all_pages(page_of: Callable[[int], Awaitable[list[PositionRow]]]) -> list[PositionRow]:
    """The rows of every page, to the first one that is not full. UnexpectedAnswer above `MOST_PAGES`."""
    rows: list[PositionRow] = []
    for number in range(MOST_PAGES):
        found = await page_of(number)
        rows += found
        if len(found) < POSITIONS_PAGE_ROWS:
            return rows
    raise UnexpectedAnswer(f"more than {MOST_PAGES} pages of positions", effect=Effect.NONE)


async def positions_now(ib: Core, account_id: AccountId | None = None, *, zero: bool = False) -> tuple[Position, ...]:
    """Positions from the uncached call: no pages, but no terms of a contract beyond its description."""
    account = await _opened(ib, account_id)
    return read_positions(await ib.request(POSITIONS_NOW, path={"account_id": account}), account, zero=zero)


async def _opened(ib: Core, account_id: AccountId | None) -> AccountId:
    # IBKR wants /portfolio/accounts asked before any other portfolio call; the answer is kept. Source: §2.1.
    await accounts(ib)
    return await selected_account(ib, account_id)


def read_positions(rows: Iterable[PositionRow], account: AccountId, *, zero: bool) -> tuple[Position, ...]:
    try:
        found = tuple(position_from_wire(row, account) for row in rows)
    except ValueError as error:
        raise UnexpectedAnswer(f"a position that cannot be read: {error}", effect=Effect.NONE) from error
    return _held(found, zero=zero)


def _held(found: tuple[Position, ...], *, zero: bool) -> tuple[Position, ...]:
    return found if zero else tuple(position for position in found if position.quantity != 0)
