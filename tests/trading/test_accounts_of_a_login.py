"""Several accounts of one login: each has its own day and its own limits, and one of them is selected."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import anyio
import pytest

from fakes import ACCOUNT, SPY, FakeBroker, Plan, stock_ticket
from ibkit.errors import NotFound, Unreachable
from ibkit.model import Account, AccountId, AccountSummary, Key, OrderTicket
from ibkit.trading.intent import IntentState
from ibkit.trading.questions import QuestionPolicy
from ibkit.trading.risk import DailyPnl, HaltMode, Layer, LimitChange, State
from trading_room import Room, make_room

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("CFG-09", "GWY-09")]
OTHER = AccountId("DU7654321")


def of(account_id: AccountId, quantity: str = "1") -> OrderTicket:
    return stock_ticket(quantity, account_id=account_id)


def key(name: str) -> Key:
    return Key(f"key-of-accounts-{name}")


class TwoAccounts(FakeBroker):
    """Tells the day of the selected account alone; whoever selects another holds the conversation.

    days: profit and loss by account. worth: net liquidation by account, as their summaries tell it.
    """

    def __init__(self, room: Room) -> None:
        super().__init__(room.clock, plans=room.broker.plans)
        self.room = room
        self.selected = ACCOUNT
        self.days = {ACCOUNT: Decimal(0), OTHER: Decimal(0)}
        self.summaries: dict[AccountId, Decimal] = {}
        self.selections: list[AccountId] = []
        self.stubborn = False

    async def accounts(self) -> tuple[Account, ...]:
        (only,) = await super().accounts()
        return (only, dataclasses.replace(only, account_id=OTHER))

    async def daily_pnl(self, account_id: AccountId, *, select: bool = False) -> DailyPnl | None:
        if select and self.selected != account_id:
            assert self.username in self.room.journal._busy
            assert self.questions == {}, "an order of the other account is being asked about"
            if self.stubborn:
                raise Unreachable("IBKR did not answer")
            self.selected = account_id
            self.selections.append(account_id)
        if self.selected != account_id:
            return None
        return DailyPnl(daily=self.days[account_id], net_liquidation=self.net_liquidation, at=self.clock.now())

    async def summary(self, account_id: AccountId) -> AccountSummary:
        if account_id not in self.summaries:
            raise NotFound("no summary")
        return AccountSummary(
            account_id=account_id,
            currency="USD",
            net_liquidation=self.summaries[account_id],
            total_cash_value=None,
            available_funds=None,
            buying_power=None,
            initial_margin=None,
            maintenance_margin=None,
            raw={},
        )


@pytest.fixture
async def room() -> Room:
    room = make_room(questions=QuestionPolicy(frozenset({"o163"})))
    room.broker = TwoAccounts(room)
    room.restart()
    await room.gateway.recover(ACCOUNT, OTHER)
    return room


async def test_orders_of_each_account_leave_under_its_own_figures(room: Room) -> None:
    for name, account_id in (("one", ACCOUNT), ("two", OTHER), ("three", ACCOUNT)):
        outcome = await room.gateway.submit(of(account_id), key=key(name))
        assert outcome.state is IntentState.ACKED or outcome.state is IntentState.FILLED
    assert [held.ticket.account_id for held in room.broker.accepted] == [ACCOUNT, OTHER, ACCOUNT]
    assert room.broker.selections == [OTHER, ACCOUNT]


async def test_the_loss_of_one_account_stops_that_account_alone(room: Room) -> None:
    room.broker.days[OTHER] = Decimal(-200_000)  # 20 % of its worth; 10 % is the limit on paper
    refused = await room.gateway.submit(of(OTHER), key=key("loses"))
    assert refused.error.details["control"] == "RC-16"
    (halt,) = room.journal.risk.halted
    assert (halt.account_id, halt.mode) == (OTHER, HaltMode.REDUCE_ONLY)

    assert (await room.gateway.submit(of(ACCOUNT), key=key("trades"))).error is None
    assert (await room.gateway.submit(of(OTHER), key=key("again"))).error is not None
    assert [held.ticket.account_id for held in room.broker.accepted] == [ACCOUNT]


async def test_limits_of_an_account_are_its_own(room: Room) -> None:
    await room.journal.risk.change(
        LimitChange(
            environment=room.gateway.environment,
            layer=Layer.ACCOUNT,
            whose=OTHER,
            name="max_shares",
            new="2",
            by="test",
            note="smaller",
            at=room.clock.now(),
        )
    )
    assert (await room.gateway.submit(of(OTHER, "3"), key=key("large"))).error.details["control"] == "RC-07"
    assert (await room.gateway.submit(of(ACCOUNT, "3"), key=key("fine"))).error is None


async def test_no_account_is_selected_while_an_order_of_another_is_asked_about(room: Room) -> None:
    """The assertions stand in the broker: each selection comes in the conversation, and in no question's time."""
    room.broker.plans.append(Plan(asks=(("o163",), ("o163",)), delay_s=1.0))
    names = [(f"{name}-{n}", account) for n in range(3) for name, account in (("a", ACCOUNT), ("b", OTHER))]
    outcomes = []

    async def submit(name: str, account: AccountId) -> None:
        outcomes.append(await room.gateway.submit(of(account), key=key(name)))

    async with anyio.create_task_group() as tasks:
        for name, account in names:
            tasks.start_soon(submit, name, account)

    assert [outcome.error for outcome in outcomes] == [None] * 6
    assert len(room.broker.accepted) == 6
    assert OTHER in room.broker.selections


async def test_what_cannot_be_had_refuses_and_says_what_and_of_whom(room: Room) -> None:
    room.broker.stubborn = True
    refused = await room.gateway.submit(of(OTHER), key=key("unknown"))
    assert refused.error.details["control"] == "RC-14"
    assert "net liquidation missing" in refused.error.message
    assert OTHER in refused.error.message

    room.broker.summaries[OTHER] = Decimal(500_000)
    refused = await room.gateway.submit(of(OTHER), key=key("loss-unknown"))
    assert refused.error.details["control"] == "RC-16"
    assert "The day's profit and loss is not known" in refused.error.message
    assert OTHER in refused.error.message
    assert room.broker.accepted == []

    # Exposure is known by the account's own summary, so without a limit of the day's loss it may trade.
    room.limits = dataclasses.replace(room.limits, max_daily_loss_pct=None)
    assert (await room.gateway.submit(of(OTHER), key=key("no-loss-limit"))).error is None


async def test_a_preview_finds_what_an_order_would(room: Room) -> None:
    readings = {reading.name: reading.state for reading in await room.gateway.assess(of(OTHER))}
    assert (readings["daily_loss"], readings["max_exposure"]) == (State.OK, State.OK)
    assert room.broker.selections == [OTHER]

    async with room.journal.conversation(room.broker.username, wait_s=0):  # another order is being talked about
        readings = {reading.name: reading.state for reading in await room.gateway.assess(of(ACCOUNT))}
    assert readings["daily_loss"] is State.NOT_KNOWN
    assert room.broker.selections == [OTHER]


async def test_what_closes_a_position_asks_for_no_account_to_be_selected(room: Room) -> None:
    opened = await room.gateway.submit(of(OTHER), key=key("opens"))
    await room.gateway.wait_for_fill(opened.intent, within_s=5.0)
    await room.gateway.submit(of(ACCOUNT), key=key("back"))
    selections = list(room.broker.selections)
    closing = dataclasses.replace(of(OTHER), side=of(OTHER).side.opposite, contract=SPY)
    outcome = await room.gateway.submit(closing, key=key("closes"), reduces=opened.intent.intent_id)
    assert outcome.error is None
    assert room.broker.selections == selections
