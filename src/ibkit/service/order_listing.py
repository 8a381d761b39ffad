"""Which orders a list tells: what is asked for, and whether an order is of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ibkit.service.order_answer import status_of
from ibkit.trading.intent import Intent

__all__ = ["LONGEST_PAGE", "OPEN", "Page", "wanted"]

LONGEST_PAGE = 200
OPEN = "open"
"""In place of a status: all that have not ended or whose outcome is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which of a user's orders. since: created then or later. cursor: `next` of the page before."""

    broker: str | None = None
    status: str | None = None
    symbol: str | None = None
    since: datetime | None = None
    connection_id: str | None = None
    limit: int = 50
    cursor: str | None = None


def wanted(intent: Intent, page: Page) -> bool:
    if page.since is not None and intent.planned.at < page.since:
        return False
    if page.symbol is not None and intent.ticket.contract.symbol != page.symbol:
        return False
    return page.status in (None, OPEN) or status_of(intent) == page.status
