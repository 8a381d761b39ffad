"""What the portfolio needs of the world: a broker that tells what is held, and books that keep it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ibkit.model import Account, AccountId
from ibkit.portfolio.book import Link, SyncError
from ibkit.portfolio.picture import Picture

__all__ = ["Books", "Claim", "Claims", "LinkedAccount", "Source", "SyncOutcome"]


class Source(Protocol):
    """A login at a broker, which is only asked. Errors as in `ibkit.errors`."""

    async def logged_in_as(self) -> str:
        """The user name of the login, "" where it cannot be told."""
        ...

    async def accounts(self) -> tuple[Account, ...]: ...

    async def picture(self, account_id: AccountId) -> Picture:
        """The whole of the account. UnexpectedAnswer (E-SYNC-FAILED) where it cannot be told whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """Counts of what a sync changed. total_value: of the account in `currency`, None where IBKR did not say.

    unbooked: live executions that the ledger does not have, in words.
    """

    holdings_count: int
    added: int
    changed: int
    removed: int
    new_securities: int
    total_value: Decimal | None
    currency: str
    last_sync: datetime
    incomplete: tuple[int, ...] = ()
    unbooked: tuple[str, ...] = ()
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to sync one account. fence: who comes later has a higher one, and what has a lower writes no more."""

    account_key: str
    portfolio_id: str
    account_name: str
    fence: int
    link: Link
    user_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedAccount:
    """An account of `user_id` that is connected to one at IBKR. account_key: its own, whatever it is called."""

    account_key: str
    user_id: str
    link: Link


class Claims(Protocol):
    """Of one account at a time one, over all processes. One that is not prolonged for half a minute ends by itself."""

    async def claim(self, portfolio_id: str, account_name: str) -> Claim:
        """NotFound; TradingError (E-NOT-CONNECTED, E-SYNC-BUSY)."""
        ...

    async def claim_due(self, account_key: str, since: datetime) -> Claim | None:
        """None for one that a good sync of `since` or later has, and for one that is not synced by the clock.

        TradingError (E-SYNC-BUSY).
        """
        ...

    async def prolong(self, claim: Claim) -> None: ...

    async def let_go(self, claim: Claim) -> None: ...


class Books(Protocol):
    """What a sync writes into."""

    async def synced(self, claim: Claim, picture: Picture, *, with_cash: bool) -> SyncOutcome:
        """All of the picture in one transaction, or nothing. TradingError (E-SYNC-BUSY) for a claim that was lost."""
        ...

    async def sync_failed(self, claim: Claim, error: SyncError, *, at: datetime) -> int:
        """Nothing but the account's status changes: how many syncs in a row have failed now.

        0 where the claim is lost, or the account is connected no more.
        """
        ...
