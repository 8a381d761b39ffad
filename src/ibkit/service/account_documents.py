"""What the routes of accounts and positions give: values as IBKR told them, null where it did not, with their age.

Source: requirement SYN-17.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from ibkit.bootstrap.account_reader import FiguresTold, HeldTold, PositionTold
from ibkit.bootstrap.connections import Connection
from ibkit.errors import IbkitError
from ibkit.service.connection_documents import shown_id
from ibkit.service.connection_status import LastError

__all__ = [
    "AccountFiguresInfo",
    "AccountNow",
    "HeldContract",
    "HeldPosition",
    "PositionProtection",
    "PositionsAnswer",
    "account_answer",
    "positions_answer",
]

_TENTH = Decimal("0.1")
_MICROSECOND = timedelta(microseconds=1)


class AccountFiguresInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts in `currency`; null: IBKR did not say. initial_margin, maintenance_margin: what is required.

    as_of: when IBKR made the figures up, age_seconds: how long ago that was. The day's result has a time of its own;
    it is null where IBKR tells it of another account of the login. problem: why it could not be read anew just now.
    """

    account_id: str
    connection_id: str
    environment: str
    currency: str | None
    net_liquidation: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    available_funds: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    day_pnl: Decimal | None
    day_pnl_as_of: datetime | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    as_of: datetime
    age_seconds: Decimal
    problem: LastError | None


class AccountNow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: AccountFiguresInfo


class HeldContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """kind: IBKR's word (STK, OPT, FUT, …). expiry, strike, right: of derivatives. name: in words, "" if not told."""

    conid: int
    symbol: str
    kind: str
    expiry: date | None
    strike: Decimal | None
    right: Literal["P", "C"] | None
    multiplier: Decimal
    currency: str | None
    name: str


class PositionProtection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """state: see the guide. stop_price, order_id: of the order that protects it, as far as they are known."""

    state: Literal["protected", "unprotected", "not needed", "unknown"]
    stop_price: Decimal | None
    order_id: str | None


class HeldPosition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """quantity: signed. average_cost, market_price: per unit, in the contract's currency, without its multiplier.

    day_pnl: null, IBKR's lists of positions do not tell it. price_as_of: of when market_price is.
    """

    contract: HeldContract
    quantity: Decimal
    average_cost: Decimal | None
    market_price: Decimal | None
    market_value: Decimal | None
    unrealized_pnl: Decimal | None
    day_pnl: Decimal | None
    price_as_of: datetime
    protection: PositionProtection


class PositionsAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """as_of: when IBKR was asked what is held, age_seconds: how long ago. problem: why it could not be asked since."""

    data: list[HeldPosition]
    account_id: str
    connection_id: str
    environment: str
    as_of: datetime
    age_seconds: Decimal
    problem: LastError | None


def account_answer(connection: Connection, told: FiguresTold) -> AccountNow:
    figures, summary = told.figures, told.figures.summary
    day = told.day_pnl
    return AccountNow(
        data=AccountFiguresInfo(
            account_id=told.account_id,
            connection_id=shown_id(connection.book.row),
            environment=connection.environment.value,
            currency=figures.currency,
            net_liquidation=summary.net_liquidation,
            cash=summary.total_cash_value,
            buying_power=summary.buying_power,
            available_funds=summary.available_funds,
            initial_margin=summary.initial_margin,
            maintenance_margin=summary.maintenance_margin,
            day_pnl=None if day is None else day.daily,
            day_pnl_as_of=None if day is None or day.daily is None else day.at,
            unrealized_pnl=figures.unrealized_pnl,
            realized_pnl=figures.realized_pnl,
            as_of=figures.as_of,
            age_seconds=_age_s(figures.as_of, connection.clock.now()),
            problem=_problem(told.problem),
        )
    )


def positions_answer(connection: Connection, told: HeldTold) -> PositionsAnswer:
    return PositionsAnswer(
        data=[_position(each) for each in told.positions],
        account_id=told.account_id,
        connection_id=shown_id(connection.book.row),
        environment=connection.environment.value,
        as_of=told.at,
        age_seconds=_age_s(told.at, connection.clock.now()),
        problem=_problem(told.problem),
    )


def _position(told: PositionTold) -> HeldPosition:
    position, contract, guard = told.position, told.position.contract, told.guard
    return HeldPosition(
        contract=HeldContract(
            conid=contract.conid,
            symbol=contract.symbol,
            kind=position.asset_class or contract.sec_type.value,
            expiry=contract.expiry,
            strike=contract.strike,
            right=None if contract.right is None else contract.right.value,
            multiplier=contract.multiplier,
            currency=contract.currency or None,
            name=position.name,
        ),
        quantity=position.quantity,
        average_cost=position.average_price,
        market_price=position.market_price,
        market_value=position.market_value,
        unrealized_pnl=position.unrealized_pnl,
        day_pnl=None,
        price_as_of=told.price_at,
        protection=PositionProtection(state=guard.state.value, stop_price=guard.stop_price, order_id=guard.order_id),
    )


def _age_s(at: datetime, now: datetime) -> Decimal:
    """Never below zero: IBKR's clock may be ahead of ours."""
    return max(Decimal((now - at) // _MICROSECOND) / 1_000_000, Decimal(0)).quantize(_TENTH)


def _problem(error: IbkitError | None) -> LastError | None:
    return None if error is None else LastError(code=error.code, message=error.message, remedy=error.remedy)
