"""What a statement says that an account held at its end, as the picture that a sync writes: holdings without a session.

Source: requirement FUT-08; docs/facts/accounts-and-portfolio.md §6.4 (OpenPositions, CashReport).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.model import AccountId, CashBalance, Conid, Contract, Position, Right, SecType, portion
from ibkit.portfolio.days import NEW_YORK
from ibkit.portfolio.picture import Picture, RawPayload
from ibkit.portfolio.statements import PositionTold, StatementTold

__all__ = ["newest_told", "picture_of"]

_ZERO = Decimal(0)


def newest_told(statements: Iterable[StatementTold]) -> StatementTold | None:
    """The one that tells the newest holdings; of one day that which was made last."""
    told = [each for each in statements if each.tells_holdings]
    return max(told, key=lambda each: (each.last, each.made_at or datetime.min.replace(tzinfo=UTC)), default=None)


def picture_of(told: StatementTold, raw: bytes) -> Picture:
    """raw: the file. UnexpectedAnswer (E-SYNC-FAILED) for one that does not tell all holdings."""
    if not told.tells_holdings:
        raise UnexpectedAnswer(
            "Sync failed: the statement does not tell positions and cash",
            code="E-SYNC-FAILED",
            remedy="Switch on the sections Open Positions and Cash Report in the Flex query, and import it again.",
            effect=Effect.NONE,
        )
    base = told.base
    values = [each.value for each in told.positions]
    return Picture(
        account_id=AccountId(told.account_id),
        currency=base,
        positions=tuple(_position(told.account_id, each) for each in told.positions),
        cash=tuple(
            CashBalance(
                currency=row.currency,
                cash=row.ending,
                settled=None,
                exchange_rate=Decimal(1) if row.currency == base else told.closing_rates.get(row.currency),
            )
            for row in told.cash
        ),
        net_liquidation=told.worth,
        position_value=None if None in values else sum((each or _ZERO for each in values), _ZERO),
        taken_at=_taken_at(told),
        incomplete=tuple(each.listed.conid for each in told.positions if not each.listed.currency),
        raw=(RawPayload(what="flex statement", part=told.number, body=raw),),
    )


def _taken_at(told: StatementTold) -> datetime:
    """The end of its last day in New York, or when it was made, if that was before."""
    end = datetime.combine(told.last, time(23, 59, 59), NEW_YORK).astimezone(UTC)
    return end if told.made_at is None else min(end, told.made_at)


def _position(account_id: str, told: PositionTold) -> Position:
    listed = told.listed
    contract = Contract(
        Conid(listed.conid),
        listed.symbol,
        _sec_type(listed.asset_class),
        currency=listed.currency,
        multiplier=listed.multiplier,
        description=listed.description,
        expiry=listed.expiry,
        strike=listed.strike,
        right=Right(listed.right) if listed.right in ("C", "P") else None,
        underlying_conid=None if listed.underlying_conid is None else Conid(listed.underlying_conid),
    )
    unrealized = None if told.value is None or told.cost is None else told.value - told.cost
    average = None
    if told.cost is not None and told.quantity:
        average = portion(told.cost, Decimal(1), told.quantity * listed.multiplier)
    return Position(
        account_id=AccountId(account_id),
        contract=contract,
        quantity=told.quantity,
        average_price=average,
        market_price=told.price,
        market_value=told.value,
        realized_pnl=None,
        unrealized_pnl=unrealized,
        asset_class=listed.asset_class,
        kind=told.kind,
        name=told.name,
        ticker=listed.symbol,
        terms=listed.symbol,
        exchange=told.exchange,
    )


def _sec_type(asset_class: str) -> SecType:
    try:
        return SecType(asset_class)
    except ValueError:
        return SecType.OTHER
