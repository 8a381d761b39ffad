"""The permit of an order call: nothing that changes an order leaves without one, and it is looked at last of all."""

from __future__ import annotations

import contextlib
from datetime import date
from decimal import Decimal

import anyio
import pytest

from clients import make_client, permit
from ibkit.client.broker import IbkrBroker
from ibkit.errors import Effect, IbkitError, LimitExceeded, TradingError, Unreachable
from ibkit.model import AuthMethod, OrderTicket, OrderType, Ref, Right, SendPermit, Side, combo_of
from ibkit.wire import LIVE_ORDERS, PLACE_ORDERS, PORTFOLIO_META, Endpoint, Request
from ibkit.wire.orders import ANSWER_PROMPT, CANCEL_ORDER, MODIFY_ORDER, REPLY
from ibkit.wire.session import SUPPRESS_QUESTIONS
from simulators import make_simulator

FRIDAY = date(2026, 11, 20)
ORDER_CALLS = {"place": PLACE_ORDERS, "reply": REPLY, "modify": MODIFY_ORDER, "cancel": CANCEL_ORDER}
ORDER_NAMES = ("PLACE_ORDERS", "REPLY", "MODIFY_ORDER", "CANCEL_ORDER", "ANSWER_PROMPT")


def sent(simulator, endpoint: str) -> list:
    return [entry for entry in simulator.requests if entry.endpoint == endpoint]


async def ticket(broker: IbkrBroker) -> OrderTicket:
    (account,) = await broker.accounts()
    return OrderTicket(
        account_id=account.account_id,
        contract=await broker.underlying("SPY"),
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(1),
    )


@pytest.mark.requirement("TRD-10", "TRD-17")
@pytest.mark.parametrize("verb", list(ORDER_CALLS))
def test_a_permit_that_was_withdrawn_while_the_order_waited_keeps_every_byte_back(verb) -> None:
    """A kill switch pressed while the pacer held the order: it is looked at after all waiting (RC-02)."""
    simulator = make_simulator("ok")
    looked: list[float] = []

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)
            began = ib.clock.monotonic()

            async def check() -> None:
                looked.append(ib.clock.monotonic() - began)
                raise LimitExceeded("the kill switch is pressed")

            withdrawn = SendPermit(began + 60, check)
            calls = {
                "place": lambda: broker.place(ordered, ref=Ref("ib-kill-0123456789"), permit=withdrawn),
                "reply": lambda: broker.reply("q", confirmed=True, permit=withdrawn),
                "modify": lambda: broker.modify("1", ordered, permit=withdrawn),
                "cancel": lambda: broker.cancel(ordered.account_id, "1", permit=withdrawn),
            }
            ib._lanes.slow_down(ORDER_CALLS[verb], "5")
            with pytest.raises(LimitExceeded) as caught:
                await calls[verb]()
            assert caught.value.details["unsent"]
            assert caught.value.effect is Effect.NONE

    anyio.run(run)
    assert len(looked) == 1
    assert looked[0] >= 5, "it was looked at after the pacer, not before"
    assert not [entry for entry in simulator.requests if entry.endpoint in ORDER_NAMES]


@pytest.mark.requirement("TRD-10", "SES-03")
@pytest.mark.parametrize("method", [AuthMethod.OAUTH1A, AuthMethod.OAUTH2])
def test_an_order_whose_login_ended_while_it_waited_is_not_sent_without_proof(method) -> None:
    """Another call met a 401 and signs in anew; what waits for its turn meanwhile has nothing to sign with."""
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)
            ib._lanes.slow_down(PLACE_ORDERS, "5")
            outcomes: list[IbkitError] = []

            async def place() -> None:
                with pytest.raises(Unreachable, match="the login ended while the call waited") as caught:
                    await broker.place(ordered, ref=Ref("ib-late-0123456789"), permit=permit(ib))
                outcomes.append(caught.value)

            async with anyio.create_task_group() as group:
                group.start_soon(place)
                await anyio.lowlevel.checkpoint()
                ib.keeper._drop_grant()
            (error,) = outcomes
            assert error.effect is Effect.NONE
            assert error.remedy

    anyio.run(run)
    assert not sent(simulator, "PLACE_ORDERS")


@pytest.mark.requirement("TRD-10")
def test_a_check_that_took_too_long_is_too_late() -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)

            async def check() -> None:
                await ib.clock.sleep(3)

            with pytest.raises(Unreachable) as caught:
                await broker.place(
                    ordered, ref=Ref("ib-slow-0123456789"), permit=SendPermit(ib.clock.monotonic() + 2, check)
                )
            assert caught.value.details["late"]

    anyio.run(run)
    assert not sent(simulator, "PLACE_ORDERS")


@pytest.mark.requirement("TRD-17")
def test_no_call_that_changes_an_order_leaves_without_a_permit_however_it_is_made() -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)
            body = {"orders": []}
            account = {"account_id": ordered.account_id}
            mine = Endpoint("POST", "/iserver/account/{account_id}/orders", "test")
            spelled = Endpoint("POST", "/iserver/account/{account_id}/%6Frders", "test")
            attempts = (
                lambda: ib.request(PLACE_ORDERS, path=account, body=body),
                lambda: ib.exchange(PLACE_ORDERS, path=account, body=body, errors=False),
                lambda: ib.request(mine, path=account, body=body),
                lambda: ib.request(spelled, path=account, body=body),
                lambda: ib.request(LIVE_ORDERS, method="POST", body=body),
                lambda: ib.request(REPLY, path={"question_id": "q"}, body={"confirmed": True}),
                lambda: ib.request(MODIFY_ORDER, path={**account, "order_id": "1"}, body={}),
                lambda: ib.request(CANCEL_ORDER, path={**account, "order_id": "1"}),
                lambda: ib.request(ANSWER_PROMPT, body={"text": "Yes"}),
                lambda: ib.request(SUPPRESS_QUESTIONS, body={"messageIds": ["o163"]}),
                lambda: ib.send(PLACE_ORDERS, Request("POST", ib.url(PLACE_ORDERS, account), {}, b"{}")),
                lambda: ib.send_unsigned(
                    Request("POST", ib.url(PLACE_ORDERS, account), {}, b"{}"), endpoint=PORTFOLIO_META
                ),
                lambda: broker.place(ordered, ref=Ref("ib-free-0123456789")),
                lambda: broker.cancel(ordered.account_id, "1"),
            )
            for attempt in attempts:
                with pytest.raises(TradingError) as caught:
                    await attempt()
                assert caught.value.details["unsent"]
                assert "ib.place" in (caught.value.remedy or "")

    anyio.run(run)
    assert not [entry for entry in simulator.requests if entry.endpoint in (*ORDER_NAMES, "SUPPRESS_QUESTIONS")]


@pytest.mark.requirement("TRD-09")
def test_a_combination_has_the_streams_of_its_legs_opened_before_its_order() -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            legs = [
                await broker.option("SPY", expiry=FRIDAY, strike=Decimal(strike), right=Right.PUT)
                for strike in (620, 615)
            ]
            spread = combo_of(((legs[0], -1), (legs[1], 1)))
            (account,) = await broker.accounts()
            ordered = OrderTicket(
                account_id=account.account_id,
                contract=spread,
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                quantity=Decimal(1),
                limit_price=Decimal("-0.85"),
            )
            with contextlib.suppress(IbkitError):
                await broker.place(ordered, ref=Ref("ib-legs-0123456789"), permit=permit(ib))
            assert {leg.conid for leg in legs} <= ib.caches.lines
            assert spread.conid not in ib.caches.lines

    anyio.run(run)
    (call,) = sent(simulator, "PLACE_ORDERS")
    (body,) = call.body["orders"]
    assert body["conidex"].startswith("28812380;;;")
    assert "conid" not in body
