"""A login as the source of a portfolio: one account at a time, whole, with the answers as they came.

Fits `portfolio.ports.Source`. An account is read by five calls and a page for each hundred positions, and one for its
executions; the list is read again where IBKR's uncached list tells another one.
Source: docs/facts/accounts-and-portfolio.md §2.3, §2.4, §3; docs/facts/orders.md §11.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ibkit.client.api.accounts import accounts
from ibkit.client.api.portfolio import POSITIONS_SORT, all_pages, read_positions
from ibkit.errors import IbkitError, NotPermitted
from ibkit.model import Account, AccountId, CashBalance, Fill
from ibkit.portfolio.mapping import DERIVED
from ibkit.portfolio.picture import Execution, Picture, RawPayload, sizes_of, told_alike, torn
from ibkit.wire.accounts import (
    INVALIDATE_POSITIONS,
    LEDGER,
    PORTFOLIO_SUMMARY,
    POSITIONS,
    POSITIONS_NOW,
    PositionRow,
    ledger_from_wire,
    summary_from_wire,
)
from ibkit.wire.codec import decode
from ibkit.wire.endpoint import Lane, Needs
from ibkit.wire.executions import TRADES, TradeRow, fill_from_wire
from ibkit.wire.numbers import figure

if TYPE_CHECKING:
    from ibkit.client.core import Core
    from ibkit.wire.endpoint import Endpoint

__all__ = ["IbkrSource"]

TRIES: Final = 4
"""Reads of the whole list until two of IBKR's lists agree."""
_AGAIN_AFTER_S: Final = 1.0
LONGEST_DAYS: Final = 7
"""Of the list of trades. Source: docs/facts/orders.md §11."""
_EXECUTIONS: Final = replace(TRADES, lane=Lane.DATA)
"""For a sync: whoever trades goes first."""

log = logging.getLogger(__name__)


class IbkrSource:
    """ib: only ever asked; it is opened as far as reading needs, never further."""

    def __init__(self, ib: Core) -> None:
        self._ib = ib

    async def logged_in_as(self) -> str:
        await self._ib.keeper.reach(Needs.OUTER_SESSION)
        return str(self._ib.keeper.opener.told_user or "")

    async def accounts(self) -> tuple[Account, ...]:
        return await accounts(self._ib)

    async def picture(self, account_id: AccountId) -> Picture:
        """See `Source`. NotPermitted (E-ACC-NONE) for an account that this login does not see.

        Of another account than those that are told, IBKR answers as if the login had ended: it is never asked for one.
        Source: §0.
        """
        seen = await accounts(self._ib)
        if account_id not in {account.account_id for account in seen}:
            visible = ", ".join(account.account_id for account in seen)
            raise NotPermitted(
                f"IBKR account {account_id} is not among those of this login ({visible})",
                code="E-ACC-NONE",
                remedy="Sign in as a user who sees it, or connect one of the accounts named.",
            )
        with self._ib.caches.changing():
            return await self._picture(account_id, seen)

    async def _picture(self, account_id: AccountId, seen: tuple[Account, ...]) -> Picture:
        raw: list[RawPayload] = []
        summary = summary_from_wire(account_id, await self._read(PORTFOLIO_SUMMARY, account_id, raw))
        rows = await self._agreed(account_id, raw)
        ledger = ledger_from_wire(await self._read(LEDGER, account_id, raw))
        positions = read_positions(rows, account_id, zero=False)
        executions, told_by = await self._executions(account_id, (sizes_of(positions), _cash_in(ledger)))
        return Picture(
            account_id=account_id,
            currency=summary.currency or next((each.currency for each in seen if each.account_id == account_id), ""),
            positions=positions,
            cash=ledger,
            summary=summary,
            net_liquidation=summary.net_liquidation,
            position_value=_position_value(summary.raw),
            taken_at=self._ib.clock.now(),
            incomplete=tuple(int(position.contract.conid) for position in positions if not position.contract.currency),
            raw=tuple(raw),
            executions=executions,
            told_by=told_by,
        )

    async def _executions(
        self, account_id: AccountId, state: object
    ) -> tuple[tuple[Execution, ...], RawPayload | None]:
        """Of the last week, where the brokerage session is there anyway: for them alone none is opened.

        They are told beside the picture: without them it is as whole, so it waits for no turn of theirs. Rows that
        cannot be read are left to a statement. state: what the account holds.
        """
        turns, clock = self._ib.caches.execution_turns, self._ib.clock
        if self._ib.keeper.level < _EXECUTIONS.needs.value:
            return (), None
        if not turns.take(account_id, state, clock.monotonic()):
            return turns.kept(account_id) or ((), None)
        try:
            query = {"days": LONGEST_DAYS, "accountId": account_id}
            response = await self._ib.exchange(_EXECUTIONS, query=query)
            rows: list[TradeRow] = decode(_EXECUTIONS, response)
        except IbkitError as error:
            log.warning("executions could not be read", extra={"code": error.code})
            return (), None
        found: list[Execution] = []
        for number, row in enumerate(rows):
            try:
                fill = fill_from_wire(row, account_id)
            except ValueError:
                log.warning("an execution could not be read")
                continue
            if fill.account_id == account_id:
                found.append(
                    Execution(
                        fill=fill,
                        row=number,
                        symbol=row.symbol or "",
                        asset_class=row.sec_type or "",
                        multiplier=_multiplier(fill, figure(row.net_amount)),
                    )
                )
        answer = tuple(found), RawPayload(what=TRADES.path, body=response.body)
        whole = len(found) == len(rows) and all(each.fill.fee is not None for each in found)
        turns.told(account_id, state, clock.monotonic(), answer, complete=whole)
        return answer

    async def _agreed(self, account_id: AccountId, raw: list[RawPayload]) -> list[PositionRow]:
        """The rows of every page, as soon as IBKR's uncached list tells the same, and each says what it is a row of."""
        for attempt in range(TRIES):
            if attempt:
                await self._ib.clock.sleep(_AGAIN_AFTER_S)
                await self._ib.request(INVALIDATE_POSITIONS, path={"account_id": account_id}, body={})
            pages: list[RawPayload] = []
            rows = await self._pages(account_id, pages)
            uncached = await self._read(POSITIONS_NOW, account_id, pages)
            alike = told_alike(
                read_positions(rows, account_id, zero=False), read_positions(uncached, account_id, zero=False)
            )
            # A first read of a session names nothing beyond the conid; the next one does. Source: §3.1.
            if alike and (attempt == TRIES - 1 or not any(_is_sparse(row) for row in rows)):
                raw += pages
                return rows
        raise torn("IBKR's two lists of positions do not agree")

    async def _pages(self, account_id: AccountId, raw: list[RawPayload]) -> list[PositionRow]:
        async def page_of(number: int) -> list[PositionRow]:
            rows: list[PositionRow] = await self._read(POSITIONS, account_id, raw, page=number)
            return rows

        return await all_pages(page_of)

    async def _read(self, endpoint: Endpoint, account_id: AccountId, raw: list[RawPayload], page: int = 0) -> Any:
        paged = endpoint is POSITIONS
        path = {"account_id": account_id, "page": page} if paged else {"account_id": account_id}
        response = await self._ib.exchange(endpoint, path=path, query=POSITIONS_SORT if paged else None)
        raw.append(RawPayload(what=endpoint.path, part=page, body=response.body))
        return decode(endpoint, response)


def _cash_in(ledger: Iterable[CashBalance]) -> Mapping[str, Decimal]:
    return {each.currency: each.cash for each in ledger}


def _multiplier(fill: Fill, amount: Decimal | None) -> Decimal | None:
    """net_amount is size x price x multiplier, rounded. Source: docs/facts/orders.md §11."""
    money = fill.quantity * fill.price
    if amount is None or not money:
        return None
    found = abs(amount / money)
    whole = found.quantize(Decimal(1))
    return whole if whole and abs(found - whole) * 100 < whole else None


def _is_sparse(row: PositionRow) -> bool:
    kind = row.assetClass or row.secType or ""
    return not row.contractDesc if kind in DERIVED else not row.ticker and not row.name


def _position_value(raw: Any) -> Decimal | None:
    """grosspositionvalue. Source: §2.3."""
    value = raw.get("grosspositionvalue")
    return None if value is None or value.get("isNull") else figure(value.get("amount"))
