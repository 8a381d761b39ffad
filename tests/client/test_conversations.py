"""What an order conversation must not be misled by: a session without its suppressions, a question of another order."""

from __future__ import annotations

import json
from decimal import Decimal

import anyio
import pytest

from clients import make_client, permit
from ibkit.client.broker import IbkrBroker
from ibkit.errors import Effect, IbkitError, OutcomeUnknown
from ibkit.model import AccountId, Asked, AuthMethod, Conid, Contract, OrderTicket, OrderType, Ref, SecType, Side
from ibkit.wire.http import Request, Response
from simulators import make_simulator

SPY = Contract(conid=Conid(756733), symbol="SPY", sec_type=SecType.STOCK, currency="USD")


def stop(quantity: int) -> OrderTicket:
    return OrderTicket(
        account_id=AccountId("DU1000001"),
        contract=SPY,
        side=Side.BUY,
        quantity=Decimal(quantity),
        order_type=OrderType.STOP,
        stop_price=Decimal(700),
    )


@pytest.mark.requirement("TRD-10")
@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "status", "params": {"status": 503}},
        {"fault": "status", "params": {"status": 401}},
        {"fault": "status", "params": {"status": 500}},
        {"fault": "html"},
        {"fault": "empty-200"},
    ],
)
def test_a_session_whose_suppressions_failed_is_not_ready_for_orders(fault: dict[str, object]) -> None:
    async def run() -> None:
        simulator = make_simulator()
        simulator.control("POST", "faults", {"endpoint": "SUPPRESS_QUESTIONS", **fault})
        client = make_client(simulator, AuthMethod.GATEWAY, suppress=("o10331",), open_to=None)
        async with client as ib:
            with pytest.raises(IbkitError):
                await ib.connect()
            await ib.connect()
            brokerage = simulator.world.logins.gateway.brokerage
            assert brokerage.suppressed == {"o10331"}

    anyio.run(run)


class _Repeating:
    """Answers a placement with the question of an earlier one, as a connection that was used again after a time-out."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self._first: Response | None = None

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        response = await self._inner.send(request, timeout_s=timeout_s)  # type: ignore[attr-defined]
        if request.method == "POST" and request.url.endswith("/orders"):
            assert "messageIds" in json.loads(response.body)[0]
            self._first = self._first or response
            return self._first
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()  # type: ignore[attr-defined]


@pytest.mark.requirement("TRD-10", "TRD-22")
def test_a_question_that_was_asked_before_is_an_answer_to_nobody() -> None:
    async def run() -> None:
        simulator = make_simulator(no_data_question=False)
        line = _Repeating(simulator.transport("gateway"))
        async with make_client(simulator, AuthMethod.GATEWAY, transport=line) as ib:
            broker = IbkrBroker(ib)
            asked = await broker.place(stop(1), ref=Ref("first"), permit=permit(ib))
            assert isinstance(asked, Asked)
            await broker.reply(asked.question.question_id, confirmed=True, permit=permit(ib))

            with pytest.raises(OutcomeUnknown) as caught:
                await broker.place(stop(2), ref=Ref("second"), permit=permit(ib))

            assert caught.value.effect is Effect.UNKNOWN
            assert ib.keeper.conversations == 0

    anyio.run(run)
