"""Ten calls in a row that nobody answers: the eleventh is not asked, and after 30 s one tries. E-CIRCUIT."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import anyio
import pytest

from clients import make_client, permit
from ibkit.client.broker import IbkrBroker
from ibkit.client.circuit import Circuit
from ibkit.clock import ManualClock
from ibkit.errors import Effect, IbkitError, InvalidRequest, OutcomeUnknown, UnexpectedAnswer, Unreachable
from ibkit.model import AuthMethod, OrderId, OrderTicket, OrderType, Ref, Side
from ibkit.wire import LEDGER, LIVE_ORDERS, PLACE_ORDERS, TICKLE, Needs
from ibkit.wire.orders import CANCEL_ORDER, MODIFY_ORDER, REPLY
from simulators import make_simulator

pytestmark = pytest.mark.requirement("LIM-08")
CALLS = 10
FRIDAY = date(2026, 11, 20)


def fault(simulator, endpoint: str, *, status: int = 503) -> None:
    simulator.control(
        "POST", "faults", {"fault": "status", "endpoint": endpoint, "times": 1000, "params": {"status": status}}
    )


def mend(simulator) -> None:
    simulator.control("DELETE", "faults")


def sent(simulator, endpoint: str) -> int:
    return sum(entry.endpoint == endpoint for entry in simulator.requests)


async def fails(ib, code: str, call=None) -> IbkitError:
    with pytest.raises(IbkitError) as caught:
        await (ib.ledger() if call is None else call())
    assert caught.value.code == code, caught.value
    return caught.value


async def trip(ib) -> None:
    for _ in range(CALLS):
        await fails(ib, "E-UPSTREAM")


@pytest.mark.parametrize("method", [AuthMethod.OAUTH1A, AuthMethod.GATEWAY])
def test_after_ten_failures_in_a_row_nothing_is_asked_for_half_a_minute_and_then_once(method) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            await ib.accounts()
            fault(simulator, "LEDGER")
            await trip(ib)
            asked = sent(simulator, "LEDGER")
            error = await fails(ib, "E-CIRCUIT")
            assert isinstance(error, Unreachable)
            assert error.effect is Effect.NONE
            assert "last error E-UPSTREAM" in error.message
            assert sent(simulator, "LEDGER") == asked

            simulator.advance(29)
            await fails(ib, "E-CIRCUIT")
            simulator.advance(1.5)
            await fails(ib, "E-UPSTREAM")  # it tries, as often as any read, and fails
            tried = sent(simulator, "LEDGER")
            assert tried > asked
            await fails(ib, "E-CIRCUIT")
            assert sent(simulator, "LEDGER") == tried

            mend(simulator)
            simulator.advance(31)
            await ib.ledger()
            await ib.ledger()

    anyio.run(run)


def test_while_one_call_tries_the_others_are_refused_and_one_that_is_given_up_leaves_it_to_the_next() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.accounts()
            fault(simulator, "LEDGER")
            await trip(ib)
            simulator.advance(31)
            carried, entered = ib._transport.send, anyio.Event()

            async def hangs(request, *, timeout_s):
                entered.set()
                await anyio.sleep_forever()

            ib._transport.send = hangs
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ib.ledger)
                await entered.wait()
                await fails(ib, "E-CIRCUIT")
                tasks.cancel_scope.cancel()
            ib._transport.send = carried
            mend(simulator)
            await ib.ledger()

    anyio.run(run)


def test_an_answer_in_between_begins_the_count_anew_whatever_it_says() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.accounts()
            for status in (400, 500):
                fault(simulator, "LEDGER")
                for _ in range(CALLS - 1):
                    await fails(ib, "E-UPSTREAM")
                mend(simulator)
                fault(simulator, "LEDGER", status=status)
                with pytest.raises((InvalidRequest, UnexpectedAnswer)):
                    await ib.ledger()
                mend(simulator)
            fault(simulator, "LEDGER")
            await fails(ib, "E-UPSTREAM")

    anyio.run(run)


def test_what_keeps_the_session_goes_on_and_its_answer_ends_the_pause() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.accounts()
            fault(simulator, "LEDGER")
            await trip(ib)
            mend(simulator)
            await fails(ib, "E-CIRCUIT")
            await ib.keeper.beat()
            await ib.ledger()

    anyio.run(run)


def test_an_order_is_not_what_is_tried_out_and_a_cancel_is_never_held_up() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            (account,) = await broker.accounts()
            ticket = OrderTicket(
                account_id=account.account_id,
                contract=await broker.underlying("SPY"),
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                limit_price=Decimal(1),
                quantity=Decimal(1),
            )
            fault(simulator, "LEDGER")
            fault(simulator, "CANCEL_ORDER")
            fault(simulator, "SNAPSHOT")  # looked at before an order goes, so it tries first
            await trip(ib)

            async def place():
                await broker.place(ticket, ref=Ref("ib-circuit-0123456789"), permit=permit(ib))

            for wait in (0, 31):
                simulator.advance(wait)
                error = await fails(ib, "E-CIRCUIT", place)
                assert error.details["unsent"]
                assert error.effect is Effect.NONE
            assert sent(simulator, "PLACE_ORDERS") == 0
            before = sent(simulator, "CANCEL_ORDER")
            with pytest.raises(OutcomeUnknown):
                await broker.cancel(account.account_id, OrderId("1"), permit=permit(ib))
            assert sent(simulator, "CANCEL_ORDER") == before + 1

            mend(simulator)
            simulator.advance(31)
            await ib.ledger()
            await place()
            assert sent(simulator, "PLACE_ORDERS") == 1

    anyio.run(run)


def test_which_calls_it_holds_up_and_which_may_try() -> None:
    clock = ManualClock(datetime(2026, 11, 20, 15, 30, tzinfo=UTC))
    circuit = Circuit(clock, lambda error: error)
    for _ in range(CALLS):
        circuit.failed(Unreachable("refused"))
    circuit.failed(Unreachable("held back by us", details={"late": True}))
    for endpoint in (LEDGER, LIVE_ORDERS, PLACE_ORDERS):
        with pytest.raises(Unreachable, match="IBKR calls paused until 15:30:30 UTC after 10 failures in a row"):
            circuit.gate(endpoint)
    assert not circuit.gate(TICKLE)
    assert not circuit.gate(CANCEL_ORDER)

    clock.advance(30)
    for endpoint in (PLACE_ORDERS, REPLY, MODIFY_ORDER):
        with pytest.raises(Unreachable):
            circuit.gate(endpoint)
    assert circuit.gate(LIVE_ORDERS)
    with pytest.raises(Unreachable):
        circuit.gate(LEDGER)
    circuit.answered(200)
    assert not circuit.tripped


def test_a_gateway_that_is_gone_stays_named_and_its_return_is_noticed() -> None:
    """Requirement GWY-05: programs look for 'not running' in the text."""
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.GATEWAY) as ib:
            await ib.accounts()
            simulator.up = False
            for _ in range(CALLS):
                await fails(ib, "E-GW-DOWN")
            assert "not running" in (await fails(ib, "E-CIRCUIT")).message
            simulator.up = True
            simulator.advance(31)
            await ib.ledger()

    anyio.run(run)


def test_in_the_reset_window_it_is_maintenance_and_so_is_whatever_does_not_answer() -> None:
    simulator = make_simulator(start=datetime(2026, 11, 20, 6, 6, tzinfo=UTC))  # 1:06 in New York

    async def run() -> None:
        async with make_client(simulator, open_to=Needs.OUTER_SESSION) as ib:
            await ib.accounts()
            fault(simulator, "LEDGER")
            for _ in range(CALLS):
                await fails(ib, "E-MAINT")
            error = await fails(ib, "E-MAINT")
            assert isinstance(error, Unreachable)
            assert "IBKR calls paused" in error.message
            mend(simulator)
            simulator.advance(31)
            simulator.up = False
            error = await fails(ib, "E-MAINT")
            assert isinstance(error, Unreachable)
            simulator.up = True
            simulator.clock.advance(timedelta(hours=9).total_seconds())
            simulator.up = False
            await fails(ib, "E-API-CONNECT")

    anyio.run(run)
