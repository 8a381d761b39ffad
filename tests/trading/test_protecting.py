"""What is told of each position's protection: what the watch knows, without a call and without an order."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, SPY, option
from ibkit.model import OrderStatus, OrderType, Position, Side
from ibkit.trading.selling.coverage import judge
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.watching.protecting import Guard, GuardState, guards, unknown_guards
from watching import PUT, Watch, sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-20", "SYN-17")]


@pytest.fixture
async def watch() -> Watch:
    return await sold()


async def told(watch: Watch, *more: Position) -> dict[int, Guard]:
    room = watch.room
    known = await room.watchdog().known()
    positions = [*await room.broker.positions(ACCOUNT), *more]
    rows = (await room.broker.read_orders(ACCOUNT)).orders
    return dict(guards(positions, judge(known, positions, rows, now=room.clock.now()), rows))


def held(contract, quantity: str) -> Position:
    return Position(
        account_id=ACCOUNT,
        contract=contract,
        quantity=Decimal(quantity),
        average_price=None,
        market_price=None,
        market_value=None,
        realized_pnl=None,
        unrealized_pnl=None,
    )


async def test_a_sold_option_with_its_stop_is_protected_by_that_order(watch: Watch) -> None:
    (stop,) = watch.stops
    found = (await told(watch))[PUT.conid]
    assert found == Guard(state=GuardState.PROTECTED, stop_price=Decimal("1.86"), order_id=stop.order_id)


async def test_without_its_stop_it_is_unprotected(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    await watch.room.watchdog(acts=False).round()  # the journal hears of it
    assert (await told(watch))[PUT.conid] == Guard(state=GuardState.UNPROTECTED)


async def test_a_sale_whose_plan_has_no_stop_needs_none(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    await watch.room.watchdog(acts=False).round()
    watch.plan(ExitPlan(take_profit=Decimal("0.5")))
    assert (await told(watch))[PUT.conid].state is GuardState.NOT_NEEDED


async def test_what_was_sold_beside_our_records_is_unprotected_and_what_was_bought_needs_nothing(watch: Watch) -> None:
    other = option(strike="600")
    found = await told(watch, held(other, "-1"), held(SPY, "100"))
    assert found[other.conid].state is GuardState.UNPROTECTED
    assert found[SPY.conid].state is GuardState.NOT_NEEDED


async def test_a_part_that_no_record_knows_makes_the_whole_unprotected(watch: Watch) -> None:
    room = watch.room
    known = await room.watchdog().known()
    (position,) = await room.broker.positions(ACCOUNT)
    rows = (await room.broker.read_orders(ACCOUNT)).orders
    verdicts = judge(known, [position], rows, now=room.clock.now())
    more = dataclasses.replace(position, quantity=position.quantity - 2)  # just sold: nobody has judged it yet
    assert guards([more], verdicts, rows)[PUT.conid].state is GuardState.UNPROTECTED


async def test_a_stop_typed_in_by_hand_protects_what_was_bought(watch: Watch) -> None:
    room = watch.room
    rows = (await room.broker.read_orders(ACCOUNT)).orders
    stop = dataclasses.replace(
        next(row for row in rows if row.order_type == OrderType.STOP.value),
        order_id="999",
        conid=SPY.conid,
        conidex="",
        side=Side.SELL,
        status=OrderStatus.SUBMITTED,
        total=Decimal(100),
        filled=Decimal(0),
        stop_price=Decimal(600),
    )
    assert guards([held(SPY, "100")], (), [stop])[SPY.conid] == Guard(
        state=GuardState.PROTECTED, stop_price=Decimal(600), order_id="999"
    )
    assert guards([held(SPY, "101")], (), [stop])[SPY.conid].state is GuardState.NOT_NEEDED


def test_without_the_orders_only_what_may_need_one_is_unknown() -> None:
    found = unknown_guards([held(PUT, "-1"), held(SPY, "100")])
    assert (found[PUT.conid].state, found[SPY.conid].state) == (GuardState.UNKNOWN, GuardState.NOT_NEEDED)
