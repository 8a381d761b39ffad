"""An intent whose answer was lost, step by step, and what the broker's reads could show of it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

from fakes import ACCOUNT, START, USER, stock_ticket
from ibkit.model import Environment, Fill, Key, Order, OrderId, OrderStatus, OrderTicket, OrderType, Ref, Side
from ibkit.trading.events import Acknowledged, Claimed, Doubted, Event, IntentId, Operation, Planned, Sending
from ibkit.trading.intent import Intent, fold_all
from ibkit.trading.ports import FillsRead, OrdersRead, SessionMark
from ibkit.trading.ref import derive_ref

KEY = Key("doubt-0123456789abcdef")
REF = derive_ref(tenant="", environment=Environment.PAPER, key=KEY)
LIMIT = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("629.00"))
MARK = SessionMark("1", START.date())
LATER = SessionMark("1", START.date() + timedelta(days=3))


def planned(ticket: OrderTicket | None = LIMIT, **changes: object) -> Planned:
    plan = Planned(
        at=START,
        intent_id=IntentId(REF),
        operation=Operation.PLACE,
        tenant="",
        environment=Environment.PAPER,
        username=USER,
        key=KEY,
        ref=REF,
        account_id=ACCOUNT,
        ticket=ticket,
        target=None,
        terms={},
        fingerprint="",
        expires_at=START + timedelta(seconds=30),
        purpose="order",
    )
    return dataclasses.replace(plan, **changes)  # type: ignore[arg-type]


def sent(**doubt: object) -> tuple[Event, ...]:
    """What is written down of one send and of the doubt about it."""
    return (
        Claimed(at=START, owner="me", epoch=0),
        Sending(at=START, deadline_s=2.0, session=MARK.session, trading_day=MARK.trading_day),
        Doubted(**{"at": START, "reason": "no answer", **doubt}),  # type: ignore[arg-type]
    )


def doubted(plan: Planned | None = None, **doubt: object) -> Intent:
    return fold_all((plan or planned(), *sent(**doubt)))


def acknowledged(plan: Planned | None = None, order_id: str = "1001", **changes: object) -> Intent:
    """An intent whose order is known, as it stands with `changes`."""
    answer = Acknowledged(at=START, order_id=OrderId(order_id), status=OrderStatus.SUBMITTED, evidence="answer")
    intent = fold_all((plan or planned(), *sent()[:2], answer))
    return dataclasses.replace(intent, **changes)  # type: ignore[arg-type]


def row(ticket: OrderTicket = LIMIT, order_id: str = "1001", **changes: object) -> Order:
    """One row of the list; its ref is ours."""
    shown = Order(
        order_id=OrderId(order_id),
        account_id=ticket.account_id,
        conid=ticket.contract.conid,
        side=ticket.side,
        order_type=ticket.order_type.value,
        status=OrderStatus.SUBMITTED,
        raw_status="Submitted",
        total=ticket.quantity,
        filled=Decimal(0),
        remaining=ticket.quantity,
        limit_price=ticket.limit_price,
        stop_price=ticket.stop_price,
        tif=ticket.tif.value,
        ref=REF,
    )
    return dataclasses.replace(shown, **changes)  # type: ignore[arg-type]


def fill(order_id: str | None = "1001", **changes: object) -> Fill:
    """One execution; its ref is ours."""
    shown = Fill(
        execution_id="0000e0d5.00000001.01.01",
        order_id=None if order_id is None else OrderId(order_id),
        account_id=ACCOUNT,
        conid=LIMIT.contract.conid,
        side=Side.BUY,
        quantity=Decimal(10),
        price=Decimal(629),
        fee=None,
        at=START,
        ref=REF,
    )
    return dataclasses.replace(shown, **changes)  # type: ignore[arg-type]


def listed(*rows: Order, complete: bool = True, first: bool = False, mark: SessionMark = MARK) -> OrdersRead:
    return OrdersRead(rows, complete=complete, first=first, mark=mark)


def executed(*fills: Fill, first: bool = False, mark: SessionMark = MARK) -> FillsRead:
    return FillsRead(fills, first=first, mark=mark)


def cut(ref: Ref = REF, by: int = 5) -> Ref:
    return Ref(ref[:-by])
