"""Sales that meet trouble half-way, over the simulator in process, on the test's own clock: minutes take no time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest

from ibkit.sim.logins.sessions import lose_brokerage
from ibkit.trading import StepKind
from sale_desks import desk
from simulators import make_simulator

KEY = "trouble-0123456789abcdef"
SALE = ("SPY", 629, "P", 5, 3, "20261120")


def when(kind: StepKind, act: Any) -> Any:
    """`act` the first time that a step of this kind is told."""
    left = [act]

    def on_step(step: Any) -> None:
        if step.kind is kind and left:
            left.pop()()

    return on_step


def ledger(simulator: Any) -> list[tuple[str, str, str, int]]:
    rows = simulator.control("GET", "ledger")
    return [(row["side"], row["order_type"], row["state"], int(row["quantity"])) for row in rows if row["accepted"]]


def story(room: Any) -> str:
    return "\n".join(f"{step.kind.value}: {step.text}" for step in room.steps)


def lose_sessions(simulator: Any) -> None:
    for session in simulator.world.logins.sessions:
        lose_brokerage(session)


@pytest.mark.requirement("TRD-13", "TRD-14", "SES-07")
def test_a_partial_fill_and_a_lost_session_end_with_a_stop_for_what_was_sold(tmp_path: Any) -> None:
    """Logged in, placed, filled in part, the brokerage session lost: opened again, what was sold is found, stopped."""
    simulator = make_simulator("partial-fill")

    async def run() -> None:
        strike = when(StepKind.ACCEPTED, lambda: lose_sessions(simulator))
        async with desk(simulator, tmp_path, on_step=strike) as room:
            result = await room.seller.sell_option_with_stop(*SALE, key=KEY)
            assert result.success, story(room)
            assert result.filled_quantity == 2
            stop = await room.broker.order(result.stop_order_id)
            assert (stop.status.working, stop.total) == (True, Decimal(2))
            assert await room.guard.check() == ()

    anyio.run(run)
    assert [row for row in ledger(simulator) if row[1] == "STP"] == [("BUY", "STP", "live", 2)]
    assert sum(row[0] == "SELL" for row in ledger(simulator)) == 1
    assert sum(entry.endpoint == "SSODH_INIT" for entry in simulator.requests) == 2


@pytest.mark.requirement("TRD-14", "TRD-22")
def test_a_session_lost_just_as_the_stop_leaves_is_told_and_nothing_is_sent_twice(tmp_path: Any) -> None:
    """Over the end of a session absence cannot be shown, so a 401 to the stop leaves it to a person."""
    simulator = make_simulator("ok")

    async def run() -> None:
        async with desk(simulator, tmp_path, on_step=when(StepKind.STOP, lambda: lose_sessions(simulator))) as room:
            result = await room.seller.sell_option_with_stop(*SALE, key=KEY)
            assert result.critical
            assert result.code == "E-ORD-UNKNOWN", story(room)
            assert "the state of its stop or buy-back is not known" in result.message

    anyio.run(run)
    assert ledger(simulator) == [("SELL", "MKT", "filled", 3)]
    assert sum(entry.endpoint == "PLACE_ORDERS" for entry in simulator.requests) == 2


@pytest.mark.requirement("TRD-14", "SES-08")
def test_a_session_taken_between_fill_and_stop_is_named_and_the_position_is_told_as_critical(tmp_path: Any) -> None:
    simulator = make_simulator("ok")

    def take() -> None:
        simulator.control("POST", "competing", {})

    async def run() -> None:
        async with desk(simulator, tmp_path, on_step=when(StepKind.STOP, take)) as room:
            result = await room.seller.sell_option_with_stop(*SALE, key=KEY)
            assert not result.success
            assert result.critical
            assert result.message.startswith("CRITICAL"), story(room)
            assert "E-SES-COMPETING" in story(room)
            told = [step.text for step in room.steps if "could not be read" in step.text]
            assert len(told) == len(set(told)), "a read that goes on failing is told once"
        simulator.control("POST", "competing", {"on": False})
        async with desk(simulator, tmp_path) as room:
            (alert,) = await room.guard.check()
            assert "has no working stop" in alert.message

    anyio.run(run)
    assert ledger(simulator) == [("SELL", "MKT", "filled", 3)], "no stop, and above all no second sale"


@pytest.mark.requirement("TRD-10", "TRD-22")
def test_an_order_whose_question_was_lost_is_left_to_a_person_and_never_sent_again(tmp_path: Any) -> None:
    simulator = make_simulator("order-question")
    simulator.control("POST", "faults", {"endpoint": "PLACE_ORDERS", "fault": "drop-answer"})

    async def run() -> None:
        for _ in range(2):
            async with desk(simulator, tmp_path) as room:
                result = await room.seller.sell_option_with_stop(*SALE, key=KEY)
                assert result.critical, story(room)
                assert result.code == "E-ORD-UNKNOWN"

    anyio.run(run)
    assert [row["state"] for row in simulator.control("GET", "ledger")] == ["parked"]
    assert sum(entry.endpoint == "PLACE_ORDERS" for entry in simulator.requests) == 1


@pytest.mark.requirement("TRD-22", "SES-07")
@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_an_error_after_the_order_was_taken_gives_one_order(tmp_path: Any, status: int) -> None:
    simulator = make_simulator("ok")
    fault = {"endpoint": "PLACE_ORDERS", "fault": "status-after", "params": {"status": status, "body": {"error": "x"}}}
    simulator.control("POST", "faults", fault)

    async def run() -> None:
        async with desk(simulator, tmp_path) as room:
            result = await room.seller.sell_option_with_stop(*SALE, key=KEY)
            assert result.success, story(room)

    anyio.run(run)
    assert sorted(ledger(simulator)) == [("BUY", "STP", "live", 3), ("SELL", "MKT", "filled", 3)]
