"""Each thing told once: rows of the stream, replays and reads in any order and number."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.client.order_view import OrderView
from ibkit.model import AccountId, Conid, Fill, Order, OrderId, OrderStatus, Side, Source

pytestmark = pytest.mark.requirement("FUT-02")

ROW: dict[str, Any] = {
    "acct": "DU1",
    "account": "DU1",
    "orderId": 7,
    "conid": 756733,
    "side": "BUY",
    "origOrderType": "LIMIT",
    "price": "100.00",
    "timeInForce": "CLOSE",
    "totalSize": Decimal(3),
    "filledQuantity": Decimal(0),
    "remainingQuantity": Decimal(3),
    "status": "Inactive",
    "order_ccp_status": "Pending Submit",
}
SUBMITTED = {"acct": "DU1", "orderId": 7, "status": "Submitted", "order_ccp_status": "Submitted"}
PART = {
    "acct": "DU1",
    "orderId": 7,
    "filledQuantity": Decimal(1),
    "remainingQuantity": Decimal(2),
    "sizeAndFills": "1/2",
}
FILLED = {
    **ROW,
    "status": "Filled",
    "order_ccp_status": "Filled",
    "filledQuantity": Decimal(3),
    "remainingQuantity": Decimal(0),
}


def fill(execution_id: str = "e1", **changes: Any) -> Fill:
    given = Fill(
        execution_id=execution_id,
        order_id=None,
        account_id=AccountId("DU1"),
        conid=Conid(756733),
        side=Side.BUY,
        quantity=Decimal(1),
        price=Decimal(100),
        fee=None,
        at=datetime(2026, 11, 20, tzinfo=UTC),
    )
    return replace(given, **changes)


def order(status: OrderStatus, filled: int) -> Order:
    return Order(
        order_id=OrderId("7"),
        account_id=AccountId("DU1"),
        conid=Conid(756733),
        side=Side.BUY,
        order_type="LMT",
        status=status,
        raw_status=status.value,
        total=Decimal(3),
        filled=Decimal(filled),
        remaining=Decimal(3 - filled),
        limit_price=Decimal(100),
    )


def test_deltas_are_laid_over_the_full_row() -> None:
    view = OrderView()
    first = view.hear_row(ROW)
    assert first is not None
    assert first.before is None
    assert first.order.parked
    second = view.hear_row(SUBMITTED)
    assert second is not None
    assert (second.order.status, second.order.limit_price, second.before) == (
        OrderStatus.SUBMITTED,
        Decimal("100.00"),
        first.order,
    )
    assert view.hear_row(SUBMITTED) is None, "the same again is no news"
    assert view.hear_row({"orderId": 7, "conid": 756733, "isEventTrading": "0"}) is None


def test_an_ended_order_stays_ended_and_fills_do_not_fall() -> None:
    view = OrderView()
    view.hear_row(ROW)
    view.hear_row(PART)
    assert view.read_order(order(OrderStatus.SUBMITTED, 0)) is None, "an older read"
    ended = view.hear_row(FILLED)
    assert ended is not None
    assert ended.ended
    assert view.hear_row(SUBMITTED) is None
    assert view.read_order(order(OrderStatus.SUBMITTED, 1)) is None
    assert view.read_order(order(OrderStatus.CANCELLED, 3)) is None
    assert view.read_order(order(OrderStatus.FILLED, 3)) is None


def test_a_delta_without_its_row_waits_for_a_read() -> None:
    view = OrderView()
    assert view.hear_row(SUBMITTED) is None
    assert view.lacking
    assert view.read_order(order(OrderStatus.SUBMITTED, 0)) is not None
    view.settle()
    assert not view.doubts
    update = view.hear_row({"orderId": 7, "status": "PendingCancel"})
    assert update is not None
    assert update.order.limit_price == Decimal(100)


def test_an_execution_is_told_once_and_once_more_with_its_fee() -> None:
    view = OrderView()
    first = view.see_fill(fill(), Source.STREAM)
    assert first is not None
    assert first.is_new
    assert view.see_fill(fill(), Source.READ) is None
    complete = view.see_fill(fill(fee=Decimal(1), order_id=OrderId("7")), Source.STREAM)
    assert complete is not None
    assert (complete.is_new, complete.fill.fee) == (False, Decimal(1))
    assert view.see_fill(fill(), Source.STREAM) is None, "what was known is not forgotten"


def test_a_fill_that_only_one_topic_told_of_is_a_doubt_until_the_other_does() -> None:
    view = OrderView()
    view.hear_row(ROW)
    view.hear_row(PART)
    assert view.lacking
    view.see_fill(fill(order_id=OrderId("7")), Source.STREAM)
    assert not view.lacking
    view.see_fill(fill("e2", order_id=OrderId("7")), Source.STREAM)
    assert view.lacking


_heard = st.sampled_from([ROW, SUBMITTED, PART, FILLED, "read 0", "read 1", "read 3"])


@given(st.lists(_heard, max_size=12))
def test_whatever_comes_in_whatever_order_the_end_is_told_once(heard: list[Any]) -> None:
    view = OrderView()
    reads = {
        "read 0": order(OrderStatus.SUBMITTED, 0),
        "read 1": order(OrderStatus.SUBMITTED, 1),
        "read 3": order(OrderStatus.FILLED, 3),
    }
    found = [view.read_order(reads[each]) if isinstance(each, str) else view.hear_row(each) for each in heard]
    updates = [update for update in found if update is not None]
    assert sum(update.before is None for update in updates) == bool(updates)
    assert sum(update.ended for update in updates) <= 1
    filled = [update.order.filled for update in updates]
    assert filled == sorted(filled)
    for earlier, later in itertools.pairwise(updates):
        assert later.before == earlier.order


def test_an_order_read_as_parked_stays_so_until_its_state_is_told() -> None:
    """A marker row without a state (docs/facts/websocket.md §5.4) must not make it look refused."""
    view = OrderView()
    view.read_order(replace(order(OrderStatus.INACTIVE, 0), parked=True))
    assert view.hear_row({"orderId": 7, "conid": 756733, "isEventTrading": "0"}) is None
    assert view.orders[0].parked
    update = view.hear_row(SUBMITTED)
    assert update is not None
    assert not update.order.parked


def test_an_order_that_was_live_and_is_then_refused_is_not_parked_again() -> None:
    view = OrderView()
    view.hear_row(ROW)
    assert view.orders[0].parked
    view.hear_row({"orderId": 7, "status": "PendingSubmit", "order_ccp_status": "Pending Submit"})
    view.hear_row({"orderId": 7, "status": "PreSubmitted"})
    update = view.hear_row({"orderId": 7, "status": "Inactive"})
    assert update is not None
    assert (update.order.status, update.order.parked) == (OrderStatus.INACTIVE, False)


@pytest.mark.requirement("TRD-12")
def test_what_only_a_read_tells_of_an_order_is_told_once_and_kept_through_deltas() -> None:
    view = OrderView()
    view.hear_row({**ROW, "status": "PreSubmitted", "order_ccp_status": "Submitted"})
    kin = replace(
        order(OrderStatus.PRE_SUBMITTED, 0),
        parent_id=OrderId("6"),
        group="6",
        conidex="28812380;;;700000101/-1,700000102/1",
    )
    update = view.read_order(kin)
    assert update is not None
    assert (update.order.parent_id, update.order.group) == ("6", "6")
    assert view.read_order(kin) is None
    after = view.hear_row(SUBMITTED)
    assert after is not None
    assert (after.order.parent_id, after.order.group, after.order.conidex) == ("6", "6", kin.conidex)


@pytest.mark.requirement("TRD-12")
def test_a_trailing_combination_is_heard_as_what_it_is() -> None:
    view = OrderView()
    conidex = "28812380;;;700000101/-1,700000102/1"
    update = view.hear_row(
        {**ROW, "conid": None, "conidex": conidex, "origOrderType": "TRAIL", "price": "", "stop_price": "-0.85"}
    )
    assert update is not None
    told = update.order
    assert (told.conid, told.conidex, told.order_type, told.stop_price) == (
        28812380,
        conidex,
        "TRAIL",
        Decimal("-0.85"),
    )


def test_what_a_read_finds_on_a_standing_line_is_unheard_until_its_topic_tells_it() -> None:
    view = OrderView()
    view.read_order(order(OrderStatus.SUBMITTED, 1), standing=True)
    view.see_fill(fill(), Source.READ, standing=True)
    assert view.unheard == ("sor", "str")
    view.hear_row({**ROW, **SUBMITTED, **PART})
    assert view.unheard == ("str",)
    view.see_fill(fill(), Source.STREAM)
    assert view.unheard == ()
    view.read_order(order(OrderStatus.FILLED, 3))
    assert view.unheard == (), "a gap is no silence"
