"""An account as IBKR shows it now, for whoever looks at it: its figures, and what it holds at which price.

Positions come from the list that IBKR does not cache, which knows prices but no terms of a contract. The terms are read
from the other list where a contract is new; of one that is not told there, once in half a minute. Figures are of IBKR's
portfolio cache, and say of when they are. Source: docs/facts/accounts-and-portfolio.md §2.3, §2.4, §3.2, §3.3.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.model import AccountId, AccountSummary, Conid, Position
from ibkit.wire.accounts import LEDGER, LedgerRow

if TYPE_CHECKING:
    from ibkit.client.client import Client

__all__ = ["AccountFigures", "AccountReads", "Holdings"]

TERMS_ONCE_IN_S: Final = 30.0
_MILLISECONDS_FROM: Final = 10**11
"""Above it a time stamp counts milliseconds. Source: §2.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFigures:
    """Amounts in `currency`, None where IBKR did not say. as_of: when IBKR made up the summary."""

    summary: AccountSummary
    currency: str | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Every position that is not flat. at: when IBKR was asked."""

    positions: tuple[Position, ...]
    at: datetime


class AccountReads:
    """Of one open client; it keeps nothing but the terms of contracts."""

    def __init__(self, ib: Client) -> None:
        self._ib = ib
        self._terms: dict[tuple[AccountId, Conid], Position] = {}
        self._untold: dict[tuple[AccountId, Conid], float] = {}
        """Contracts whose terms IBKR did not tell, and when it is asked for them again."""

    async def figures(self, account_id: AccountId) -> AccountFigures:
        """Two calls."""
        asked_at = self._ib.clock.now()
        summary = await self._ib.summary(account_id)
        rows: dict[str, LedgerRow] = await self._ib.request(LEDGER, path={"account_id": account_id})
        base = rows.get("BASE", LedgerRow())
        return AccountFigures(
            summary=summary,
            currency=summary.currency,
            unrealized_pnl=base.unrealizedpnl,
            realized_pnl=base.realizedpnl,
            as_of=_told_at(summary) or asked_at,
        )

    async def holdings(self, account_id: AccountId) -> Holdings:
        """One call; three or more where a contract is new."""
        asked_at = self._ib.clock.now()
        now = await self._ib.positions_now(account_id)
        held = {(account_id, each.contract.conid) for each in now}
        at = self._ib.clock.monotonic()
        if any(at >= self._untold.get(key, at) for key in held - self._terms.keys()):
            await self._read_terms(account_id)
            again = self._ib.clock.monotonic() + TERMS_ONCE_IN_S
            self._untold |= dict.fromkeys(held - self._terms.keys(), again)
        for known in (self._terms, self._untold):
            for key in [key for key in known if key[0] == account_id and key not in held]:
                del known[key]
        return Holdings(positions=tuple(self._with_terms(each) for each in now), at=asked_at)

    async def _read_terms(self, account_id: AccountId) -> None:
        for told in await self._ib.positions(account_id, zero=True, fresh=True):
            if told.contract.currency:  # a sparse row knows no more than the list of prices
                self._terms[account_id, told.contract.conid] = told

    def _with_terms(self, position: Position) -> Position:
        known = self._terms.get((position.account_id, position.contract.conid))
        if known is None:
            return position
        return dataclasses.replace(
            position,
            contract=known.contract,
            asset_class=known.asset_class or position.asset_class,
            kind=known.kind,
            name=known.name,
            ticker=known.ticker,
            terms=known.terms or position.terms,
            exchange=known.exchange,
            sector=known.sector or position.sector,
        )


def _told_at(summary: AccountSummary) -> datetime | None:
    """The time stamp of the net liquidation, else of the cash."""
    raw: Any = summary.raw
    for name in ("netliquidation", "totalcashvalue"):
        stamp = raw.get(name, {}).get("timestamp")
        if isinstance(stamp, Decimal):
            stamp = int(stamp)
        if isinstance(stamp, int) and not isinstance(stamp, bool) and stamp > 0:
            try:
                return datetime.fromtimestamp(stamp / 1000 if stamp > _MILLISECONDS_FROM else stamp, UTC)
            except (ValueError, OverflowError, OSError) as error:
                why = f"a time stamp that cannot be read: {stamp}"
                raise UnexpectedAnswer(why, effect=Effect.NONE) from error
    return None
