"""Selling an option with its stop: the numbers, the failures, and that nothing stands unprotected in silence."""

from __future__ import annotations

import dataclasses
import inspect
from decimal import Decimal

import anyio
import pytest

from fakes import ACCOUNT, SPY, Plan, quote
from ibkit.errors import ConfigError
from ibkit.model import Availability, OrderStatus, OrderType, Side
from ibkit.trading.alert import AlertKind
from ibkit.trading.selling.seller import OptionSeller
from ibkit.trading.selling.trade import ExitReason, RecordState, TradeStatus
from ibkit.trading.timeline import StepKind

KEY = "sale-0123456789abcdef"

pytestmark = pytest.mark.anyio


async def sell(room, **changes):
    asked = {"stop_multiple": 5, "quantity": 3, "expiry": "20261120", "key": KEY, **changes}
    return await room.seller.sell_option_with_stop("SPY", 629.0, "P", **asked)


def orders(room):
    return [(held.ticket.side, held.ticket.order_type, held.ticket.quantity) for held in room.broker.accepted]


@pytest.mark.requirement("TRD-13")
def test_the_signature_is_the_stated_one():
    parameters = list(inspect.signature(OptionSeller.sell_option_with_stop).parameters.values())[1:]

    assert [(p.name, p.default) for p in parameters[:6]] == [
        ("symbol", inspect.Parameter.empty),
        ("strike", inspect.Parameter.empty),
        ("right", inspect.Parameter.empty),
        ("stop_multiple", 3.0),
        ("quantity", 1),
        ("expiry", None),
    ]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[6:])


@pytest.mark.requirement("TRD-13", "TRD-15", "OPT-07")
async def test_a_sale_at_0_62_with_multiple_5_is_protected_at_3_10(room):
    result = await sell(room)

    assert result.success, result.message
    assert (result.entry_price, result.stop_loss) == (Decimal("0.62"), Decimal("3.10"))
    assert (result.credit, result.max_risk) == (Decimal("186.00"), Decimal("744.00"))
    assert all(part in result.message for part in ("3", "SPY 20261120 629 P", "0.62"))
    assert orders(room) == [
        (Side.SELL, OrderType.MARKET, Decimal(3)),
        (Side.BUY, OrderType.STOP, Decimal(3)),
    ]
    stop = room.broker.accepted[1]
    assert stop.order_id == result.stop_order_id
    assert stop.ticket.tif.value == "GTC"
    (trade,) = room.trades.rows.values()
    assert (trade.record_state, trade.status, trade.option_type) == (RecordState.COMPLETE, TradeStatus.OPEN, "PUT")
    assert (trade.entry_price, trade.stop_loss_price, trade.entry_commission) == (
        Decimal("0.62"),
        Decimal("3.10"),
        Decimal("1.95"),
    )
    assert StepKind.STOP_WORKING in [step.kind for step in room.steps]


@pytest.mark.requirement("OPT-01", "TRD-22")
async def test_the_same_key_again_sells_nothing_and_says_the_same(room):
    first = await sell(room)
    room.restart()
    again = await sell(room)

    assert again.success
    assert (again.order_id, again.stop_order_id, again.message) == (
        first.order_id,
        first.stop_order_id,
        first.message,
    )
    assert len(room.broker.accepted) == 2


@pytest.mark.requirement("TRD-13")
async def test_a_partial_fill_cancels_the_rest_and_protects_what_was_sold(room):
    room.broker.fill_part = Decimal(2)

    result = await sell(room)

    assert result.success
    assert result.filled_quantity == 2
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED
    assert orders(room)[1] == (Side.BUY, OrderType.STOP, Decimal(2))
    assert result.credit == Decimal("124.00")


@pytest.mark.requirement("TRD-13")
async def test_without_a_fill_the_entry_is_cancelled_and_nothing_is_sold(room):
    room.broker.fills = False

    result = await sell(room)

    assert (result.success, result.code, result.sold) == (False, "E-ORD-TIMEOUT", False)
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED
    assert len(room.broker.accepted) == 1
    (trade,) = room.trades.rows.values()
    assert trade.record_state is RecordState.FAILED


@pytest.mark.requirement("TRD-14")
async def test_a_refused_stop_is_tried_three_times_and_then_the_position_is_bought_back(room):
    room.broker.reject_stops = 3

    result = await sell(room)

    assert not result.success
    assert result.message.startswith("CRITICAL")
    assert (result.code, result.closed) == ("E-STOP-FAILED", True)
    sent = [call.split()[1] + " " + call.split()[-2] for call in room.broker.calls if call.startswith("place")]
    assert [text.split()[0] for text in sent] == ["SELL", "BUY", "BUY", "BUY", "BUY"]
    assert orders(room)[-1] == (Side.BUY, OrderType.MARKET, Decimal(3))
    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
    assert [alert.kind for alert in await room.journal.alerts.open()] == [AlertKind.UNPROTECTED]


@pytest.mark.requirement("TRD-14")
async def test_with_alert_a_refused_stop_leaves_the_position_and_says_so(room):
    room.broker.reject_stops = 3

    result = await sell(room, on_stop_failure="alert")

    assert result.message.startswith("CRITICAL")
    assert (result.code, result.unsure, result.closed) == ("E-STOP-FAILED", True, False)
    assert len(room.broker.accepted) == 1
    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.stop_loss_order_id) == (TradeStatus.OPEN, None)


@pytest.mark.requirement("TRD-14")
async def test_a_stop_refused_twice_and_taken_the_third_time_protects(room):
    room.broker.reject_stops = 2

    result = await sell(room)

    assert result.success
    assert orders(room)[-1] == (Side.BUY, OrderType.STOP, Decimal(3))


@pytest.mark.requirement("TRD-14")
async def test_a_failed_sale_repeated_does_not_place_another_stop_or_buy_back_again(room):
    room.broker.reject_stops = 3
    await sell(room)

    again = await sell(room)

    assert again.message.startswith("CRITICAL")
    assert orders(room) == [(Side.SELL, OrderType.MARKET, Decimal(3)), (Side.BUY, OrderType.MARKET, Decimal(3))]


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_stop_whose_answer_was_lost_is_looked_for_before_anything_else(room):
    room.plan("ok", "lost_after")

    result = await sell(room)

    assert result.success
    assert orders(room) == [(Side.SELL, OrderType.MARKET, Decimal(3)), (Side.BUY, OrderType.STOP, Decimal(3))]


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_stop_in_unknown_state_is_neither_repeated_nor_bought_back(room):
    await room.started()
    room.plan("ok", "lost_after")
    room.broker.read_faults.extend([True] * 500)

    result = await sell(room)

    assert (result.code, result.unsure) == ("E-ORD-UNKNOWN", True)
    assert result.message.startswith("CRITICAL")
    assert len(room.broker.accepted) == 2


@pytest.mark.requirement("TRD-14")
async def test_a_stop_that_is_never_seen_working_is_not_called_protection(room):
    room.broker.stop_status = OrderStatus.PENDING_SUBMIT

    result = await sell(room)

    assert (result.success, result.unsure) == (False, True)
    assert len(room.broker.accepted) == 2


@pytest.mark.requirement("TRD-22")
async def test_an_entry_in_unknown_state_is_told_and_nothing_else_is_sent(room):
    await room.started()
    room.plan("lost_after")
    room.broker.read_faults.extend([True] * 500)

    result = await sell(room)

    assert (result.code, result.unsure) == ("E-ORD-UNKNOWN", True)
    assert len(room.broker.accepted) == 1
    (trade,) = room.trades.rows.values()
    assert trade.record_state is RecordState.PENDING


@pytest.mark.requirement("TRD-22")
async def test_a_lost_entry_is_found_and_protected(room):
    room.plan("lost_after")

    result = await sell(room)

    assert result.success
    assert len(room.broker.accepted) == 2


@pytest.mark.requirement("OPT-07")
async def test_a_database_that_is_down_refuses_before_the_order(room):
    room.trades.fail = True

    result = await sell(room)

    assert (result.success, result.code) == (False, "E-DB")
    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-14", "OPT-07")
async def test_a_database_that_fails_after_the_fill_does_not_cost_the_stop(room):
    place = room.broker.place

    async def then_fail(ticket, *, ref, **rest):
        room.trades.fail = True
        return await place(ticket, ref=ref, **rest)

    room.broker.place = then_fail

    result = await sell(room)

    assert result.success
    assert "record could not be written" in result.warnings[-1]
    assert len(room.broker.accepted) == 2


@pytest.mark.requirement("OPT-03")
@pytest.mark.parametrize(("right", "suggested"), [("P", "699, 698, 697"), ("C", "701, 702, 703")])
async def test_a_stale_strike_is_refused_with_the_nearest_out_of_the_money(room, right, suggested):
    room.broker.quote_of = lambda conid: (
        quote(conid, "700", "700.02") if conid == SPY.conid else quote(conid, "1", "1.1")
    )

    result = await room.seller.sell_option_with_stop("SPY", 629, right, expiry="20261120")

    assert result.code == "E-STRIKE-GUARD"
    assert suggested in result.remedy
    assert room.broker.sent("place") == 0
    forced = await room.seller.sell_option_with_stop("SPY", 629, right, expiry="20261120", force=True)
    assert forced.success


@pytest.mark.requirement("TRD-07", "TRD-08")
@pytest.mark.parametrize(
    ("bid", "ask", "availability", "code"),
    [
        ("0.62", "0.63", Availability.DELAYED, "E-QUOTE"),
        ("0.62", "0.63", Availability.FROZEN, "E-QUOTE"),
        (None, None, Availability.NOT_SUBSCRIBED, "E-MD-NONE"),
        (None, None, Availability.NO_ACKNOWLEDGEMENT, "E-MD-ACK"),
        ("0", "0.05", Availability.REAL_TIME, "E-QUOTE"),
        ("0.70", "0.60", Availability.REAL_TIME, "E-QUOTE"),
    ],
)
async def test_a_quote_that_is_no_base_for_an_order_refuses(room, bid, ask, availability, code):
    room.broker.quote_of = lambda conid: (
        quote(conid, "630", "630.02") if conid == SPY.conid else quote(conid, bid, ask, availability)
    )

    result = await sell(room)

    assert result.code == code
    assert not room.journal.intents


@pytest.mark.requirement("TRD-08")
async def test_delayed_quotes_may_be_allowed(room):
    room.broker.quote_of = lambda conid: (
        quote(conid, "630", "630.02") if conid == SPY.conid else quote(conid, "0.62", "0.63", Availability.DELAYED)
    )

    assert (await sell(room, allow_delayed=True)).success


@pytest.mark.requirement("TRD-16")
async def test_a_dry_run_sends_nothing_but_the_preview(room):
    result = await sell(room, dry_run=True)

    assert result.success
    assert (result.entry_price, result.stop_loss, result.credit) == (
        Decimal("0.62"),
        Decimal("3.10"),
        Decimal("186.00"),
    )
    assert result.details["initial_margin_change"] == "12000"
    assert room.broker.calls == ["preview"]
    assert not room.journal.intents
    assert not room.trades.rows


@pytest.mark.requirement("OPT-04")
async def test_the_default_expiry_is_today_in_new_york(room):
    room.clock.advance(10 * 3600)  # 20:30 in New York, already the next day in UTC

    result = await room.seller.sell_option_with_stop("SPY", 629, "P", force=True)

    assert result.expiry.isoformat() == "2026-11-20"


@pytest.mark.requirement("OPT-04")
async def test_late_same_day_sales_need_force(room):
    room.clock.advance(5 * 3600 + 26 * 60)  # 15:56

    refused = await sell(room)

    assert refused.code == "E-EXPIRY"
    assert (await sell(room, force=True)).success


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 0},
        {"quantity": 1.5},
        {"stop_multiple": 1},
        {"expiry": "tomorrow"},
        {"order_type": "stop"},
        {"order_type": "limit"},
        {"limit_price": 1},
        {"on_stop_failure": "pray"},
        {"key": "short"},
    ],
)
async def test_wrong_arguments_are_named_and_nothing_is_read(room, wrong):
    with pytest.raises(ConfigError) as caught:
        await sell(room, **wrong)

    assert caught.value.code == "E-VALIDATION"


@pytest.mark.requirement("TRD-13", "TRD-15")
async def test_a_limit_sale_rounds_its_price_down_and_waits(room):
    room.broker.fills = False
    result = await sell(room, order_type="limit", limit_price="3.12")

    assert room.broker.accepted[0].ticket.limit_price == Decimal("3.10")
    assert result.code == "E-ORD-TIMEOUT"


@pytest.mark.requirement("TRD-10")
async def test_a_question_that_is_not_allowed_is_told_with_its_id(room):
    room.broker.plans.append(Plan(asks=(("o99999",),)))

    result = await sell(room)

    assert result.code == "E-ORD-QUESTION"
    assert "o99999" in result.message
    assert not room.broker.accepted


@pytest.mark.requirement("TRD-14")
async def test_an_interrupted_sale_still_places_its_stop_and_tells(room):
    """Ctrl-C while waiting for the fill: the rest is cancelled, what was sold is protected, the result is told."""
    room.broker.fills = False
    sleep = room.clock.sleep
    naps = 0

    async def interrupted(seconds):
        nonlocal naps
        naps += 1
        if naps == 3:
            room.broker.fill(room.broker.accepted[0].order_id, Decimal(2), Decimal("0.62"))
            scope.cancel()
        await sleep(seconds)

    room.clock.sleep = interrupted
    with anyio.CancelScope() as scope:
        await sell(room)

    assert scope.cancelled_caught
    assert orders(room)[-1] == (Side.BUY, OrderType.STOP, Decimal(2))
    assert "stop 3.10 is working" in room.steps[-1].text


@pytest.mark.requirement("TRD-14")
async def test_a_ctrl_c_as_asyncio_delivers_it_is_survived_too(room):
    """`asyncio.run` cancels the task itself, which shielded scopes alone do not hold off."""
    import asyncio

    room.broker.fills = False
    sleep = room.clock.sleep
    naps = 0

    async def interrupted(seconds):
        nonlocal naps
        naps += 1
        if naps == 3:
            room.broker.fill(room.broker.accepted[0].order_id, Decimal(3), Decimal("0.62"))
            task.cancel()
        await sleep(seconds)

    room.clock.sleep = interrupted
    task = asyncio.ensure_future(sell(room))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert orders(room)[-1] == (Side.BUY, OrderType.STOP, Decimal(3))


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_a_short_option_without_a_stop_is_found_at_the_next_start(room):
    """The process died between fill and stop."""

    class Died(BaseException):
        pass

    place = room.broker.place

    async def dies_at_the_stop(ticket, *, ref, **rest):
        if ticket.order_type is OrderType.STOP:
            raise Died
        return await place(ticket, ref=ref, **rest)

    room.broker.place = dies_at_the_stop
    with pytest.raises(BaseException):  # noqa: B017
        await sell(room)
    room.broker.place = place
    room.restart()

    await room.gateway.recover()
    (alert,) = await room.guard.check()

    assert alert.message.startswith("CRITICAL")
    resumed = await sell(room)
    assert resumed.success
    assert orders(room) == [(Side.SELL, OrderType.MARKET, Decimal(3)), (Side.BUY, OrderType.STOP, Decimal(3))]
    assert await room.guard.check() == ()
    assert not [a for a in await room.journal.alerts.open() if a.kind is AlertKind.UNPROTECTED]


@pytest.mark.requirement("TRD-20")
async def test_a_filled_stop_closes_the_record_at_the_next_look(room):
    result = await sell(room)
    room.broker.fill(result.stop_order_id, Decimal(3), Decimal("3.20"))

    assert await room.guard.check() == ()

    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.STOPPED_OUT)
    assert trade.realized_pnl == (Decimal("0.62") - Decimal("3.20")) * 300 - Decimal("3.90")


@pytest.mark.requirement("TRD-18")
async def test_more_contracts_than_the_limit_are_refused(room):
    result = await sell(room, quantity=11)

    assert (result.code, result.details["control"]) == ("E-RISK", "RC-07")
    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-18", "CFG-05")
async def test_a_live_login_behind_a_paper_setting_sends_nothing(room):
    room.broker.paper = False

    result = await sell(room)

    assert result.code == "E-ACC-ENV"
    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-19", "TST-04")
async def test_close_cancels_the_stop_and_buys_back(room):
    sold = await sell(room)

    result = await room.closer.close_position(sold.contract_id, key="close-0123456789abcdef")

    assert result.success, result.message
    assert room.broker.accepted[1].status is OrderStatus.CANCELLED
    assert orders(room)[-1] == (Side.BUY, OrderType.MARKET, Decimal(3))
    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
    assert trade.exit_price == Decimal("0.62")
    assert result.realized_pnl == Decimal("-3.90")
    again = await sell(room)
    assert again.closed
    assert len(room.broker.accepted) == 3


@pytest.mark.requirement("TRD-19")
async def test_a_failed_close_places_the_stop_again(room):
    sold = await sell(room)
    room.plan("reject")

    result = await room.closer.close_position(sold.contract_id, key="close-0123456789abcdef")

    assert (result.success, result.stop_restored) == (False, True)
    assert orders(room)[-1] == (Side.BUY, OrderType.STOP, Decimal(3))
    (trade,) = room.trades.rows.values()
    assert trade.stop_loss_order_id == room.broker.accepted[-1].order_id
    assert await room.guard.check() == ()


@pytest.mark.requirement("TRD-19")
async def test_closing_what_is_not_held_says_so(room):
    result = await room.closer.close_position(SPY.conid, key="close-0123456789abcdef")

    assert result.code == "E-NOT-FOUND"


@pytest.mark.requirement("TRD-14")
async def test_a_second_stop_beside_a_live_one_is_refused(room):
    """Our own books say how much is left to protect: an order beyond it would turn the position round."""
    await sell(room)
    entry = await room.gateway.find(KEY)
    stop = dataclasses.replace(room.broker.accepted[1].ticket, quantity=Decimal(3))

    from ibkit.errors import LimitExceeded

    with pytest.raises(LimitExceeded):
        await room.gateway.submit(stop, key="another-stop-0123456", reduces=entry.intent_id)
    assert stop.account_id == ACCOUNT
