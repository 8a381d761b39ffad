"""What a send leaves in the tables, and what somebody who was overtaken is told."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from doubts import LIMIT, REF, planned, sent
from fakes import ACCOUNT, START, USER, option, stock_ticket
from ibkit.clock import ManualClock
from ibkit.model import Key, OrderId, OrderType, Ref, Side
from ibkit.store import open_journal
from ibkit.store.columns import instant_text
from ibkit.trading.events import Claimed, Decided, IntentId, Operation, Stage
from ibkit.trading.ports import ControlsMoved, Fenced

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18", "GWY-03")]
COLUMNS = (
    "intent_id, number, at, tenant, account_id, user, api_key, symbol, conid, side, quantity, price, value_usd,"
    " operation, strategy"
)
SENDING = sent()[1]
STOP = stock_ticket("2.50", side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"))


@asynccontextmanager
async def opened(tmp_path):
    async with open_journal(tmp_path / "journal.db", clock=ManualClock(START)) as journal:
        async with journal.conversation(USER, wait_s=1.0) as lane:
            epoch = lane.epoch
        yield journal, epoch


def decided(value=None, stage=Stage.SEND, **rests):
    return Decided(at=START, stage=stage, passed=True, version="v", value=value, **rests)


async def rows(journal):
    text = f"SELECT {COLUMNS} FROM sends ORDER BY number"
    return await journal._database.read(lambda c: [tuple(row) for row in c.exec_driver_sql(text)])


async def test_a_send_is_recorded_with_all_that_limits_are_counted_by(tmp_path):
    async with opened(tmp_path) as (journal, epoch):
        plan = planned(LIMIT, tenant="t", user="u", api_key="k", strategy="s")
        intent, _ = await journal.plan(plan)
        await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch), decided(Decimal("6290.00")), SENDING)

        assert await rows(journal) == [
            (
                REF,
                4,
                instant_text(START),
                "t",
                ACCOUNT,
                "u",
                "k",
                "SPY",
                LIMIT.contract.conid,
                "BUY",
                "10",
                "629.00",
                "6290.00",
                "place",
                "s",
            )
        ]
        assert await journal.controls(ACCOUNT) == (0, 1)


@pytest.mark.parametrize(
    ("ticket", "price"),
    [(STOP, "620.00"), (stock_ticket(contract=option()), None)],
    ids=["a stop by its trigger", "a market order without"],
)
async def test_a_send_is_recorded_with_the_price_it_has(tmp_path, ticket, price):
    async with opened(tmp_path) as (journal, epoch):
        intent, _ = await journal.plan(planned(ticket))
        await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch), SENDING)

        ((*_, conid, side, quantity, shown, value, operation, _),) = await rows(journal)
        assert (conid, side, quantity) == (ticket.contract.conid, ticket.side.value, f"{ticket.quantity:f}")
        assert (shown, value, operation) == (price, None, "place")


async def test_the_value_is_that_of_the_decision_before_the_send(tmp_path):
    async with opened(tmp_path) as (journal, epoch):
        intent, _ = await journal.plan(planned())
        claimed = Claimed(at=START, owner="me", epoch=epoch)
        await journal.append(intent, decided(Decimal(1), Stage.INTAKE), claimed, decided(Decimal(2)), SENDING)

        assert [row[-3] for row in await rows(journal)] == ["2"]


@pytest.mark.parametrize(("operation", "counted"), [(Operation.MODIFY, 1), (Operation.CANCEL, 0)])
async def test_a_change_counts_and_a_cancel_does_not(tmp_path, operation, counted):
    async with opened(tmp_path) as (journal, epoch):
        ticket = None if operation is Operation.CANCEL else LIMIT
        intent, _ = await journal.plan(planned(ticket, operation=operation, target=OrderId("17")))
        await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch), SENDING)

        assert [row[-2] for row in await rows(journal)] == [operation.value] * counted
        assert await journal.controls(ACCOUNT) == (0, counted)


async def test_each_account_counts_its_own_sends(tmp_path):
    async with opened(tmp_path) as (journal, epoch):
        for number in range(3):
            name = f"ib-{number}"
            account = ACCOUNT if number else "DU7654321"
            ticket = dataclasses.replace(LIMIT, account_id=account)
            plan = planned(ticket, intent_id=IntentId(name), ref=Ref(name), key=Key(f"key-{number:016d}"))
            intent, _ = await journal.plan(dataclasses.replace(plan, account_id=account))
            await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch), SENDING)

        assert await journal.controls(ACCOUNT) == (0, 2)
        assert await journal.controls("DU7654321") == (0, 1)
        assert await journal.controls("DU3") == (0, 0)


async def test_who_was_overtaken_is_told_by_whom_and_sends_nothing(tmp_path):
    async with opened(tmp_path) as (journal, epoch):
        intent, _ = await journal.plan(planned())
        claimed = await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch))
        async with journal.conversation(USER, wait_s=1.0) as lane:
            assert lane.epoch == epoch + 1

        with pytest.raises(Fenced) as caught:
            await journal.append(claimed, SENDING)

        assert caught.value.details == {"intent": REF, "epoch": str(epoch), "newest": str(epoch + 1)}
        assert caught.value.message == (f"Order {REF}: another process has taken over the orders of IBKR user {USER}")
        assert await rows(journal) == []


async def test_a_lane_that_nobody_took_has_no_epoch_but_none(tmp_path):
    async with opened(tmp_path) as (journal, epoch):
        intent, _ = await journal.plan(planned(username="somebody"))
        assert (await journal.append(intent, Claimed(at=START, owner="me", epoch=0))).epoch == 0

        other = planned(
            username="somebody", intent_id=IntentId("ib-2"), ref=Ref("ib-2"), key=Key("key-0123456789abcdef")
        )
        intent, _ = await journal.plan(other)
        with pytest.raises(Fenced) as caught:
            await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch))
        assert caught.value.details["newest"] == "0"


@pytest.mark.parametrize("stage", [Stage.SEND, Stage.CONFIRM])
@pytest.mark.parametrize("rests", [{"generation": 1, "serial": 1}, {"serial": 0}, {"serial": 2}])
async def test_a_decision_on_what_is_past_is_told_what_is_now(tmp_path, stage, rests):
    async with opened(tmp_path) as (journal, epoch):
        claimed = Claimed(at=START, owner="me", epoch=epoch)
        earlier = planned(intent_id=IntentId("ib-1"), ref=Ref("ib-1"), key=Key("key-0123456789abcdef"))
        await journal.append((await journal.plan(earlier))[0], claimed, SENDING)
        intent, _ = await journal.plan(planned())

        with pytest.raises(ControlsMoved) as caught:
            await journal.append(intent, claimed, decided(stage=stage, **rests))

        assert caught.value.details == {"intent": REF, "generation": "0", "serial": "1"}
        assert caught.value.message == (f"Order {REF}: limits, kill switches or sends changed since it was judged")
        stale = decided(stage=stage, **rests)
        for harmless in (decided(stage=Stage.INTAKE, **rests), dataclasses.replace(stale, passed=False)):
            intent = await journal.append(intent, harmless)
        with pytest.raises(ControlsMoved):
            await journal.append(intent, claimed, decided(stage=stage, serial=1), stale)
