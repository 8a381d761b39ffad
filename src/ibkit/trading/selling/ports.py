"""What selling needs of the world besides what every order needs: a place for the records, which `store/` has."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from ibkit.model import AccountId
from ibkit.trading.selling.trade import Trade, TradeStatus

__all__ = ["Trades"]


class Trades(Protocol):
    """The records of sold options. Errors: StorageError (E-DB)."""

    async def check(self) -> None:
        """Proves that a record can be written, without writing one."""
        ...

    async def put(self, trade: Trade) -> None:
        """Stores the whole record (fills and links with it), new or again; the same record twice is one."""
        ...

    async def get(self, trade_id: str) -> Trade | None: ...

    async def trades(
        self,
        *,
        account_id: AccountId | None = None,
        symbol: str | None = None,
        status: TradeStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Trade, ...]:
        """Newest first; `since` and `until` (exclusive) are of their creation."""
        ...
