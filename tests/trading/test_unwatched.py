"""Orders that ended, or came up, while no process of the same name looked."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from doubts import LATER, LIMIT, MARK, acknowledged, executed, fill, listed, planned, row
from fakes import ACCOUNT, START, Plan, option, stock_ticket
from ibkit.model import (
    AccountId,
    Fill,
    GroupKind,
    Key,
    OrderStatus,
    OrderType,
    Ref,
    Side,
    TimeInForce,
    Username,
    combo_of,
)
from ibkit.trading.alert import AlertKind
from ibkit.trading.day_end import ended_unwatched, of_an_earlier_day
from ibkit.trading.events import Operation, Progressed
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


# -- what proves an end ------------------------------------------------------------------------------------------

NEXT = START + timedelta(days=3)
DAY = acknowledged()
GTC = acknowledged(planned(dataclasses.replace(LIMIT, tif=TimeInForce.GTC)))
THEIRS = acknowledged(planned(None, operation=Operation.EXTERNAL))


def end(intent=DAY, *, orders=None, fills=None):
    return ended_unwatched(
        intent, listed(mark=LATER) if orders is None else orders, executed() if fills is None else fills, now=NEXT
    )


@pytest.mark.requirement("TRD-20")
@pytest.mark.parametrize(
    ("intent", "today", "earlier"),
    [
        (DAY, LATER.trading_day, True),
        (DAY, MARK.trading_day, False),
        (THEIRS, LATER.trading_day, True),
        (dataclasses.replace(DAY, state=IntentState.FILLED), LATER.trading_day, False),
        (acknowledged(planned(operation=Operation.CANCEL)), LATER.trading_day, False),
        (acknowledged(planned(operation=Operation.MODIFY)), LATER.trading_day, False),
    ],
    ids=["later", "the same day", "of somebody else", "over", "a cancel", "a change"],
)
def test_only_an_acknowledged_order_is_of_an_earlier_day(intent, today, earlier):
    assert of_an_earlier_day(intent, today) is earlier


@pytest.mark.requirement("TRD-20")
@pytest.mark.parametrize(("hour", "earlier"), [(4, True), (6, False)])
def test_what_was_not_sent_by_itself_is_as_old_as_its_row_by_the_day_of_new_york(hour, earlier):
    """04:00 UTC in November is yesterday in New York."""
    leg = acknowledged(planned(at=START.replace(day=23, hour=hour)), trading_day=None)

    assert of_an_earlier_day(leg, LATER.trading_day) is earlier


@pytest.mark.requirement("TRD-20")
@pytest.mark.parametrize(
    "orders",
    [
        listed(),
        listed(mark=LATER, complete=False),
        listed(mark=LATER, first=True),
        listed(row(ref=None), mark=LATER),
        listed(row(order_id="7"), mark=LATER),
    ],
    ids=["of its day", "cut", "first", "shown by number", "shown by ref"],
)
def test_a_list_that_could_show_it_yet_proves_no_end(orders):
    assert end(orders=orders) is None


@pytest.mark.requirement("TRD-20")
def test_a_first_read_of_the_executions_proves_no_end():
    assert end(fills=executed(first=True)) is None


@pytest.mark.requirement("TRD-20")
def test_a_day_order_without_executions_was_cancelled_with_its_day():
    rows = row(order_id="7", ref=Ref("cs1-0001"))
    others = executed(fill("7", ref=Ref("cs1-0001")))

    assert end(orders=listed(rows, mark=LATER), fills=others) == Progressed(
        at=NEXT,
        status=OrderStatus.CANCELLED,
        filled=Decimal(0),
        average_price=None,
        refused=False,
        reason="ended with its trading day",
    )


@pytest.mark.requirement("TRD-20")
def test_executions_count_by_number_or_ref_and_make_up_the_price():
    found = end(
        fills=executed(
            fill(ref=None, quantity=Decimal(4), price=Decimal(620)),
            fill("7", quantity=Decimal(6), price=Decimal(630)),
            fill(conid=7, quantity=Decimal(100)),
        )
    )

    assert (found.status, found.filled, found.average_price) == (OrderStatus.FILLED, 10, 626)


@pytest.mark.requirement("TRD-20")
def test_what_was_known_to_be_filled_stays_filled_where_executions_tell_less():
    known = dataclasses.replace(DAY, filled=Decimal(6), average_price=Decimal(625))

    found = end(known)
    assert (found.status, found.filled, found.average_price) == (OrderStatus.CANCELLED, 6, 625)
    found = end(known, fills=executed(fill(quantity=Decimal(4))))
    assert (found.filled, found.average_price) == (6, 629)


@pytest.mark.requirement("TRD-20")
@pytest.mark.parametrize(("quantity", "status"), [(9, None), (10, OrderStatus.FILLED), (11, OrderStatus.FILLED)])
def test_a_good_till_cancelled_order_ends_only_by_executions_of_all_of_it(quantity, status):
    found = end(GTC, fills=executed(fill(quantity=Decimal(quantity))))

    assert (found and found.status) is status
    assert found is None or found.reason == ""


@pytest.mark.requirement("TRD-20")
@pytest.mark.parametrize("fills", [(), (fill(quantity=Decimal(3), conid=7),)])
def test_an_order_of_somebody_else_is_over_with_whatever_was_executed(fills):
    found = end(THEIRS, fills=executed(*fills))

    assert (found.status, found.filled) == (OrderStatus.CANCELLED, 3 if fills else 0)
    assert found.reason == "ended with its trading day"


@pytest.mark.requirement("TRD-20")
def test_of_a_combination_with_a_ratio_a_leg_counts_by_its_ratio():
    spread = combo_of([(option("629"), -1), (option("620"), 2)])
    ticket = dataclasses.replace(LIMIT, contract=spread, quantity=Decimal(3))
    legs = (
        fill(conid=option("629").conid, quantity=Decimal(3)),
        fill(conid=option("620").conid, quantity=Decimal(4)),
    )

    found = end(acknowledged(planned(ticket), average_price=Decimal(1)), fills=executed(*legs))
    assert (found.status, found.filled, found.average_price) == (OrderStatus.CANCELLED, 2, 1)

    whole = executed(fill(conid=spread.conid, quantity=Decimal(3), price=Decimal("-0.5")), *legs)
    found = end(acknowledged(planned(ticket)), fills=whole)
    assert (found.status, found.filled, found.average_price) == (OrderStatus.FILLED, 3, Decimal("-0.5"))


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
