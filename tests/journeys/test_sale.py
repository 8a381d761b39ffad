"""The main job end to end in one process: client, simulator, trading room, stores; no sockets, the test's own clock."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest

from ibkit.model import AuthMethod
from ibkit.trading import StepKind
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from sale_desks import desk
from simulators import make_simulator

KEY = "sale-0123456789abcdef"


def posts(simulator, endpoint):
    return [entry for entry in simulator.requests if entry.endpoint == endpoint]


@pytest.mark.requirement("TRD-13", "OPT-02", "OPT-07")
@pytest.mark.parametrize("method", [AuthMethod.GATEWAY, AuthMethod.OAUTH1A, AuthMethod.OAUTH2])
def test_a_put_and_a_call_are_sold_and_both_stops_work(tmp_path, method):
    simulator = make_simulator("ok")

    async def run():
        async with desk(simulator, tmp_path, method) as room:
            for strike, right in ((629, "P"), (631, "C")):
                result = await room.seller.sell_option_with_stop(
                    "SPY", strike, right, 5, 3, "20261120", key=f"{KEY}-{right}"
                )
                assert result.success, (result, [step.text for step in room.steps])
                stop = await room.broker.order(result.stop_order_id)
                assert stop.status.value == "PreSubmitted"
                assert stop.stop_price == result.stop_loss >= result.entry_price * 5
            rows = await room.trades.trades()
            assert sorted((t.option_type, t.quantity, t.status) for t in rows) == [
                ("CALL", Decimal(3), TradeStatus.OPEN),
                ("PUT", Decimal(3), TradeStatus.OPEN),
            ]
            assert all(t.entry_commission for t in rows)
            positions = await room.broker.positions(rows[0].account_id)
            assert sorted(p.quantity for p in positions if p.contract.symbol == "SPY") == [-3, -3]
            assert await room.guard.check() == ()

    anyio.run(run)
    assert len(posts(simulator, "PLACE_ORDERS")) == 4


@pytest.mark.requirement("TRD-22", "OPT-01")
def test_a_lost_answer_gives_one_order_and_the_key_again_the_same(tmp_path):
    simulator = make_simulator("lost-order-reply")

    async def run():
        async with desk(simulator, tmp_path) as room:
            first = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY)
            assert first.success, (first, [step.text for step in room.steps])
        async with desk(simulator, tmp_path) as room:
            again = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY)
            assert (again.order_id, again.stop_order_id) == (first.order_id, first.stop_order_id)

    anyio.run(run)
    assert len(posts(simulator, "PLACE_ORDERS")) == 2


@pytest.mark.requirement("TRD-10")
def test_a_question_is_answered_and_told(tmp_path):
    simulator = make_simulator("order-question")

    async def run():
        async with desk(simulator, tmp_path) as room:
            result = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY)
            assert result.success, (result, [step.text for step in room.steps])
            kinds = [step.kind for step in room.steps]
            assert StepKind.QUESTION in kinds
            assert kinds.index(StepKind.ANSWER) == kinds.index(StepKind.QUESTION) + 1

    anyio.run(run)


@pytest.mark.requirement("TRD-14")
def test_a_refused_stop_ends_with_the_position_bought_back(tmp_path):
    simulator = make_simulator("stop-reject")

    async def run():
        async with desk(simulator, tmp_path) as room:
            result = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY)
            assert result.message.startswith("CRITICAL"), result
            assert result.closed
            (trade,) = await room.trades.trades()
            assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
            assert not [p for p in await room.broker.positions(trade.account_id) if p.quantity]

    anyio.run(run)
    assert len(posts(simulator, "PLACE_ORDERS")) == 5


@pytest.mark.requirement("TRD-13")
def test_a_partial_fill_is_protected_for_what_was_sold(tmp_path):
    simulator = make_simulator("partial-fill")

    async def run():
        async with desk(simulator, tmp_path) as room:
            result = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY)
            assert result.success, (result, [step.text for step in room.steps])
            assert result.filled_quantity == 2
            assert (await room.broker.order(result.stop_order_id)).total == 2

    anyio.run(run)


@pytest.mark.requirement("TST-04", "TRD-19")
def test_a_position_is_closed_with_its_stop_cancelled_first(tmp_path):
    simulator = make_simulator("ok")

    async def run():
        async with desk(simulator, tmp_path) as room:
            sold = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 1, "20261120", key=KEY)
            result = await room.closer.close_position(sold.contract_id, key="close-0123456789abcdef")
            assert result.success, (result, [step.text for step in room.steps])
            (trade,) = await room.trades.trades()
            assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
            assert trade.realized_pnl == result.realized_pnl

    anyio.run(run)


@pytest.mark.requirement("TRD-16")
def test_a_dry_run_posts_only_the_preview(tmp_path):
    simulator = make_simulator("ok")

    async def run():
        async with desk(simulator, tmp_path) as room:
            result = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY, dry_run=True)
            assert result.success, result
            assert result.details["initial_margin_change"]

    anyio.run(run)
    assert not posts(simulator, "PLACE_ORDERS")
    assert posts(simulator, "PREVIEW_ORDERS")
