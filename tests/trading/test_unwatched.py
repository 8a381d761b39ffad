"""Orders that ended, or came up, while no process of the same name looked."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT, START, Plan, option, stock_ticket
from ibkit.model import (
    AccountId,
    Fill,
    GroupKind,
    Key,
    OrderType,
    Side,
    TimeInForce,
    Username,
    combo_of,
)
from ibkit.trading.alert import AlertKind
from ibkit.trading.day_end import ended_unwatched
from ibkit.trading.events import Operation
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import FillsRead, OrdersRead, SessionMark

pytestmark = pytest.mark.anyio

KEY = Key("unwatched-0123456789abcdef")
OTHER = Key("fedcba9876543210-unwatched")
ENTRY = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("629.00"))
PROFIT = stock_ticket(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=Decimal("640.00"))
STOP = stock_ticket(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"))


def next_day(room):
    """IBKR tells neither a row nor a status of what ended yesterday, only executions."""
    room.broker.accepted.clear()
    room.clock.advance(86_400)
    room.broker.new_session()
    room.restart()


# -- ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-20", "TRD-22")
@pytest.mark.parametrize("group", GroupKind)
async def test_the_other_day_orders_of_a_group_end_with_their_day_too(room, group):
    """They were not sent by themselves; left open they would forbid to close what they protected."""
    first = stock_ticket() if group is GroupKind.BRACKET else PROFIT
    others = (STOP, PROFIT) if group is GroupKind.BRACKET else (STOP,)
    placed = await room.gateway.submit(first, key=KEY, others=others, group=group)
    next_day(room)

    await room.gateway.recover(ACCOUNT)

    legs = await room.journal.legs(placed.intent.intent_id)
    assert [leg.state for leg in legs] == [IntentState.CANCELLED] * len(others)


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_what_a_bracket_protected_can_be_closed_when_its_day_orders_have_ended(room):
    placed = await room.gateway.submit(stock_ticket(), key=KEY, others=(STOP,), group=GroupKind.BRACKET)
    await room.gateway.refreshed(placed.intent)
    next_day(room)
    await room.gateway.recover(ACCOUNT)

    closed = await room.gateway.submit(
        stock_ticket(side=Side.SELL), key=OTHER, purpose="close", reduces=placed.intent.intent_id
    )

    assert closed.accepted


@pytest.mark.requirement("TRD-20", "TRD-22")
async def test_a_good_till_cancelled_order_whose_executions_are_told_is_filled(room):
    stop = await room.gateway.submit(dataclasses.replace(STOP, tif=TimeInForce.GTC), key=KEY)
    room.broker.fill(stop.order_id, Decimal(10), Decimal("619.00"))
    next_day(room)

    await room.gateway.recover(ACCOUNT)

    intent = await room.gateway.find(KEY)
    assert (intent.state, intent.filled, intent.average_price) == (IntentState.FILLED, 10, Decimal("619.00"))


@pytest.mark.requirement("TRD-20")
async def test_an_order_of_somebody_else_that_is_not_listed_any_more_is_over(room):
    room.broker._accept(dataclasses.replace(ENTRY, tif=TimeInForce.GTC), None, Plan())
    await room.gateway.recover(ACCOUNT)
    next_day(room)

    await room.gateway.recover(ACCOUNT)

    (external,) = [i for i in room.journal.intents.values() if i.operation is Operation.EXTERNAL]
    assert external.final


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize(
    ("executed", "state"),
    [({629: 2, 620: 1}, IntentState.CANCELLED), ({629: 2, 620: 2}, IntentState.FILLED)],
    ids=["half", "whole"],
)
async def test_of_a_combination_only_what_all_legs_have_is_filled(room, executed, state):
    spread = combo_of([(option(str(strike)), ratio) for strike, ratio in ((629, -1), (620, 1))])
    ticket = dataclasses.replace(
        ENTRY, contract=spread, quantity=Decimal(2), limit_price=Decimal("-0.50"), account_id=AccountId(ACCOUNT)
    )
    placed = await room.gateway.submit(ENTRY, key=KEY)
    intent = dataclasses.replace(
        placed.intent, planned=dataclasses.replace(placed.intent.planned, ticket=ticket), filled=Decimal(0)
    )
    mark = SessionMark("2", (START + timedelta(days=1)).date())
    fills = tuple(
        Fill(
            execution_id=f"e-{strike}",
            order_id=placed.order_id,
            account_id=ACCOUNT,
            conid=option(str(strike)).conid,
            side=Side.BUY,
            quantity=Decimal(quantity),
            price=Decimal(1),
            fee=None,
            at=START,
            ref=intent.ref,
        )
        for strike, quantity in executed.items()
    )

    ended = ended_unwatched(
        intent,
        OrdersRead((), complete=True, first=False, mark=mark),
        FillsRead(fills, first=False, mark=mark),
        now=START + timedelta(days=1),
    )

    assert ended.filled == min(executed.values())
    assert ended.status.value.lower() == state.value


# -- another name of the login -------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-20")
async def test_what_works_under_another_name_of_the_login_is_followed(room):
    """IBKR did not always tell the name; an order that nobody follows would count as open for ever."""
    placed = await room.gateway.submit(ENTRY, key=KEY)
    room.broker.username = Username("edge1234-other")
    room.restart()
    room.broker.fill(placed.order_id, Decimal(10), Decimal("629.00"))

    await room.gateway.recover(ACCOUNT)

    assert (await room.gateway.find(KEY)).state is IntentState.FILLED


@pytest.mark.requirement("TRD-22")
async def test_a_late_order_of_another_name_of_the_login_is_adopted(room):
    room.plan("lost_before")
    denied = await room.gateway.submit(ENTRY, key=KEY)
    assert denied.state is IntentState.NOT_PLACED
    room.broker._accept(ENTRY, denied.intent.ref, Plan())
    room.broker.username = Username("edge1234-other")
    room.restart()

    await room.gateway.recover(ACCOUNT)

    assert (await room.gateway.find(KEY)).state is IntentState.ACKED
    assert await room.journal.alerts.open(kind=AlertKind.LATE_ORDER)
