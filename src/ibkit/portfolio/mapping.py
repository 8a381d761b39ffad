"""IBKR's positions and cash as holdings and securities of ours. Source: requirements SYN-07 to SYN-10."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from ibkit.model import CashBalance, Position
from ibkit.portfolio.book import LONGEST_NAME, LONGEST_SYMBOL, Holding, HoldingSource, Security, seen_of
from ibkit.portfolio.kinds import SecurityKind, kind_of

__all__ = ["CASH_CLASS", "DERIVED", "holdings_of", "securities_with", "symbol_of"]

CASH_CLASS: Final = "CASH-BALANCE"
"""In place of IBKR's class, of cash of the ledger, which is no position there."""
DERIVED: Final = frozenset({"OPT", "FUT", "FOP", "WAR", "IOPT"})


def symbol_of(position: Position) -> str:
    """The ticker; of a derivative the full local description; the conid where IBKR named neither (SYN-07)."""
    contract = position.contract
    named = position.terms if position.asset_class in DERIVED else position.ticker or contract.symbol
    return " ".join(seen_of(named).split())[:LONGEST_SYMBOL] or str(contract.conid)


def holdings_of(
    positions: Iterable[Position], cash: Iterable[CashBalance], *, at: datetime, with_cash: bool = True
) -> tuple[Holding, ...]:
    """By symbol. Positions of zero and cash of exactly nothing are left out."""
    found = [_holding(position, at) for position in positions if position.quantity != 0]
    if with_cash:
        found += [_cash(balance, at) for balance in cash if balance.cash != 0]
    return tuple(sorted(found, key=lambda holding: holding.key))


def _holding(position: Position, at: datetime) -> Holding:
    contract = position.contract
    cost = position.average_price
    return Holding(
        symbol=symbol_of(position),
        units=position.quantity,
        conid=int(contract.conid),
        source=HoldingSource.IBKR,
        currency=contract.currency,
        kind=kind_of(position.asset_class, position.kind),
        average_cost=None if cost is None else cost * contract.multiplier,
        market_price=position.market_price,
        market_value=position.market_value,
        unrealized_pnl=position.unrealized_pnl,
        realized_pnl=position.realized_pnl,
        asset_class=position.asset_class[:16],
        exchange=position.exchange[:32],
        multiplier=contract.multiplier,
        expiry=contract.expiry,
        strike=contract.strike,
        right="" if contract.right is None else contract.right.value,
        underlying_conid=None if contract.underlying_conid is None else int(contract.underlying_conid),
        model=position.model[:64],
        synced_at=at,
    )


def _cash(balance: CashBalance, at: datetime) -> Holding:
    return Holding(
        symbol=balance.currency,
        units=balance.cash,
        source=HoldingSource.IBKR,
        currency=balance.currency,
        kind=SecurityKind.CASH,
        market_price=Decimal(1),
        market_value=balance.cash,
        asset_class=CASH_CLASS,
        synced_at=at,
    )


def securities_with(
    known: Sequence[Security], positions: Iterable[Position], cash: Iterable[CashBalance], *, with_cash: bool = True
) -> tuple[tuple[Security, ...], int]:
    """The securities after a sync, and how many are new.

    One that is there keeps the user's own name, type and tags; its price is the newest. One that the user made by hand
    under the ticker becomes the first listing of it that IBKR tells (SYN-08).
    """
    kept = {security.key: security for security in known}
    new = 0
    for position in sorted(positions, key=lambda each: int(each.contract.conid)):
        if position.quantity == 0:
            continue
        told = _security(position)
        there = kept.get(told.key)
        if there is None and (by_hand := kept.pop((told.symbol, 0), None)) is not None:
            there = replace(by_hand, conid=told.conid)
        if there is None:
            new += 1
            kept[told.key] = told
            continue
        kept[told.key] = replace(
            there,
            name=there.name or told.name,
            unit_price=told.unit_price if told.unit_price is not None else there.unit_price,
            identifier=there.identifier or told.identifier,
            exchange=told.exchange or there.exchange,
            sector=told.sector or there.sector,
        )
    for balance in cash if with_cash else ():
        if balance.cash != 0 and (balance.currency, 0) not in kept:
            new += 1
            kept[balance.currency, 0] = _currency(balance.currency)
    return tuple(sorted(kept.values(), key=lambda security: security.key)), new


def _security(position: Position) -> Security:
    contract = position.contract
    return Security(
        symbol=symbol_of(position),
        name=seen_of(position.name)[:LONGEST_NAME],
        kind=kind_of(position.asset_class, position.kind),
        currency=contract.currency,
        unit_price=position.market_price,
        conid=int(contract.conid),
        identifier=contract.description[:300] if position.asset_class in DERIVED else "",
        exchange=position.exchange[:32],
        sector=position.sector[:100],
    )


def _currency(currency: str) -> Security:
    return Security(symbol=currency, name=currency, kind=SecurityKind.CASH, currency=currency, unit_price=Decimal(1))
