"""Following an order: another process that looks too, a journal that is full, an answer that leaves things out."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from doubts import REF, acknowledged, planned, row
from fakes import START, FakeBroker, MemoryJournal, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import OutcomeUnknown, StorageError
from ibkit.model import Key, OrderId, OrderStatus
from ibkit.trading.events import Operation, Progressed
from ibkit.trading.intent import IntentState
from ibkit.trading.reconcile import progressed
from ibkit.trading.tracking import POLL_S, Tracker

KEY = Key("key-0123456789abcdef")

pytestmark = pytest.mark.anyio


async def acked(room):
    room.broker.fills = False
    return (await room.gateway.submit(stock_ticket(), key=KEY)).intent


@pytest.mark.requirement("TRD-13", "TRD-14")
async def test_another_process_that_follows_the_same_order_does_not_disturb(room):
    """Its start looks at every open order; ours must go on from what it wrote."""
    intent = await acked(room)
    room.broker.fill(intent.order_id, Decimal(4), Decimal(630))
    await room.gateway.tracker.refresh(intent)  # the other's look, from the same version

    ours = await room.gateway.tracker.refresh(intent)
    assert ours.filled == 4
    room.broker.fill(intent.order_id, Decimal(6), Decimal(630))
    done = await room.gateway.wait_for_fill(ours, within_s=5)
    assert (done.state, done.filled) == (IntentState.FILLED, 10)


@pytest.mark.requirement("TRD-14", "OPT-07")
async def test_a_fill_that_cannot_be_written_down_is_known_all_the_same(room):
    intent = await acked(room)
    room.broker.fill(intent.order_id, Decimal(4), Decimal(630))
    room.journal.fail = lambda events: any(isinstance(event, Progressed) for event in events)
    seen = await room.gateway.tracker.refresh(intent)
    assert (seen.filled, seen.version) == (4, intent.version)

    room.journal.fail = lambda events: False
    room.broker.fill(intent.order_id, Decimal(6), Decimal(630))
    done = await room.gateway.wait_for_fill(seen, within_s=5)
    assert done.state is IntentState.FILLED
    assert (await room.journal.get(intent.intent_id)).filled == 10


@pytest.mark.requirement("TRD-13")
async def test_a_filled_order_without_figures_is_filled_as_asked(room):
    """ "A client must tolerate any field missing": what is filled is filled whole."""
    intent = await acked(room)
    held = room.broker._held(intent.order_id)
    held.status, held.filled = OrderStatus.FILLED, Decimal(0)

    done = await room.gateway.tracker.refresh(intent)

    assert (done.state, done.filled) == (IntentState.FILLED, 10)


# -- by itself ----------------------------------------------------------------------------------------------------


class Desk:
    """A tracker over a broker that answers by number what a test says, look after look (the last again and again)."""

    def __init__(self, *shown) -> None:
        self.clock = ManualClock(START)
        self.journal = MemoryJournal(self.clock)
        self.shown, self.looks = list(shown), []
        broker = FakeBroker(self.clock)
        broker.order = self._order
        self.tracker = Tracker(broker, self.journal, self.clock)

    def put(self, **changes):
        intent = dataclasses.replace(acknowledged(changes.pop("plan", None)), **changes)
        self.journal.intents[intent.intent_id], self.journal.log[intent.intent_id] = intent, []
        return intent

    @property
    def log(self):
        return self.journal.log[REF]

    async def _order(self, order_id):
        self.looks.append((order_id, (self.clock.now() - START).total_seconds()))
        answer = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


WORKS = row(status=OrderStatus.SUBMITTED)
PART = row(filled=Decimal(4), average_price=Decimal(629))
DONE = row(status=OrderStatus.FILLED, filled=Decimal(10), average_price=Decimal(629))


@pytest.mark.requirement("TRD-13")
@pytest.mark.parametrize("changes", [{"state": IntentState.CANCELLED}, {"order_id": None}, {"order_id": OrderId("")}])
async def test_what_has_ended_or_has_no_number_is_not_asked_for(changes):
    desk = Desk(DONE)
    intent = desk.put(**changes)

    assert await desk.tracker.refresh(intent) is intent
    assert not desk.looks


@pytest.mark.requirement("TRD-13")
@pytest.mark.parametrize("shown", [OutcomeUnknown("no answer"), None, WORKS], ids=["failed", "unknown", "no news"])
async def test_without_news_nothing_is_written(shown):
    desk = Desk(shown)
    intent = desk.put()

    assert await desk.tracker.refresh(intent) is intent
    assert desk.looks == [("1001", 0)]
    assert not desk.log


@pytest.mark.requirement("TRD-13")
@pytest.mark.parametrize(
    "news",
    [PART, row(status=OrderStatus.PRE_SUBMITTED), DONE],
    ids=["a fill", "another status", "both"],
)
async def test_news_is_written_with_its_figures(news):
    desk = Desk(news)
    desk.clock.advance(2)
    seen = await desk.tracker.refresh(desk.put())

    assert desk.log == [progressed(news, at=desk.clock.now())]
    assert (seen.filled, seen.order_status) == (news.filled, news.status)


@pytest.mark.requirement("TRD-13")
async def test_an_older_answer_takes_no_fill_back():
    desk = Desk(row(status=OrderStatus.PRE_SUBMITTED, filled=Decimal(3)))
    intent = desk.put(filled=Decimal(4))

    assert await desk.tracker.refresh(intent) is intent
    assert not desk.log


@pytest.mark.requirement("TRD-13")
async def test_what_is_seen_of_an_order_that_has_ended_is_no_news():
    desk = Desk(None)
    intent = desk.put(state=IntentState.FILLED)

    assert await desk.tracker.seen(intent, row(status=OrderStatus.CANCELLED)) is intent


@pytest.mark.requirement("TRD-13")
@pytest.mark.parametrize(("parked", "state"), [(False, IntentState.REJECTED_LATE), (True, IntentState.ACKED)])
async def test_inactive_is_a_late_refusal_even_where_a_list_has_said_it_before(parked, state):
    desk = Desk(row(status=OrderStatus.INACTIVE, reason="margin", parked=parked))
    seen = await desk.tracker.refresh(desk.put(order_status=OrderStatus.INACTIVE))

    assert seen.state is state
    assert len(desk.log) == (0 if parked else 1)


@pytest.mark.requirement("TRD-13")
@pytest.mark.parametrize(
    ("shown", "filled"),
    [
        (row(status=OrderStatus.FILLED, filled=Decimal(9)), 9),
        (row(status=OrderStatus.CANCELLED), 0),
    ],
    ids=["told", "not filled"],
)
async def test_figures_that_are_told_are_taken_as_they_are(shown, filled):
    desk = Desk(shown)

    assert (await desk.tracker.refresh(desk.put())).filled == filled


@pytest.mark.requirement("TRD-13")
async def test_an_order_of_somebody_else_that_is_filled_without_figures_has_none():
    shown = row(status=OrderStatus.FILLED)
    desk = Desk(shown)
    seen = await desk.tracker.refresh(desk.put(plan=planned(None, operation=Operation.EXTERNAL)))

    assert (seen.state, seen.filled) == (IntentState.FILLED, 0)


@pytest.mark.requirement("TRD-13")
@pytest.mark.parametrize("lost", ["gone", "unreadable"])
async def test_an_order_moved_by_another_whose_row_cannot_be_read_stays_as_it_was(lost):
    desk = Desk(DONE)
    intent = desk.put()
    desk.journal.intents[REF] = dataclasses.replace(intent, version=9)

    async def get(_intent_id):
        if lost == "unreadable":
            raise StorageError("Database problem: locked")

    desk.journal.get = get

    assert await desk.tracker.refresh(intent) is intent


@pytest.mark.requirement("TRD-13")
async def test_an_order_is_looked_at_twice_a_second_until_it_is_over():
    desk = Desk(WORKS, PART, DONE)
    done = await desk.tracker.wait_for_fill(desk.put(), within_s=20)

    assert done.state is IntentState.FILLED
    assert [at for _, at in desk.looks] == [0, POLL_S, 2 * POLL_S]


@pytest.mark.requirement("TRD-13")
async def test_the_wait_ends_at_its_end_with_a_last_look():
    desk = Desk(WORKS)
    left = await desk.tracker.wait_for_fill(desk.put(), within_s=1.2)

    assert left.state is IntentState.ACKED
    assert [at for _, at in desk.looks] == pytest.approx([0, 0.5, 1.0, 1.2])


@pytest.mark.requirement("TRD-13")
async def test_a_wait_without_time_is_one_look():
    desk = Desk(WORKS)
    await desk.tracker.wait_for_fill(desk.put(), within_s=0)

    assert len(desk.looks) == 1


@pytest.mark.requirement("TRD-13")
async def test_a_wait_that_is_hurried_ends_after_the_look_that_is_under_way():
    desk = Desk(WORKS)
    await desk.tracker.wait_for_fill(desk.put(), within_s=20, hurried=lambda: len(desk.looks) >= 3)

    assert len(desk.looks) == 3


@pytest.mark.requirement("TRD-13")
async def test_a_wait_ends_with_an_order_that_is_not_followed():
    desk = Desk(WORKS)
    intent = desk.put(state=IntentState.AMBIGUOUS)

    assert await desk.tracker.wait_for_fill(intent, within_s=20) is intent
    assert desk.clock.now() == START


@pytest.mark.requirement("TRD-13")
async def test_a_change_that_was_taken_is_not_waited_for():
    """Its order is followed by itself."""
    desk = Desk(WORKS)
    await desk.tracker.wait_for_fill(desk.put(plan=planned(operation=Operation.MODIFY)), within_s=20)

    assert desk.clock.now() == START


@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize("status", [OrderStatus.PRE_SUBMITTED, OrderStatus.SUBMITTED])
async def test_a_stop_is_there_once_the_broker_works_it(status):
    pending = row(status=OrderStatus.PENDING_SUBMIT)
    desk = Desk(pending, row(status=status))
    there = await desk.tracker.confirm_working(desk.put(order_status=OrderStatus.PENDING_SUBMIT), within_s=20)

    assert there.order_status is status
    assert len(desk.looks) == 2


@pytest.mark.requirement("TRD-14")
async def test_a_stop_that_is_over_is_not_waited_for():
    desk = Desk(row(status=OrderStatus.CANCELLED))
    over = await desk.tracker.confirm_working(desk.put(order_status=OrderStatus.PENDING_SUBMIT), within_s=20)

    assert over.state is IntentState.CANCELLED


@pytest.mark.requirement("TRD-14")
async def test_a_stop_that_does_not_come_up_is_waited_for_to_the_end():
    desk = Desk(row(status=OrderStatus.PENDING_SUBMIT))
    await desk.tracker.confirm_working(desk.put(order_status=OrderStatus.PENDING_SUBMIT), within_s=0.7)

    assert [at for _, at in desk.looks] == pytest.approx([0, 0.5, 0.7])


@pytest.mark.requirement("TRD-13", "TRD-20")
async def test_an_order_that_was_cancelled_already_when_it_was_found_has_ended(room):
    """Nothing of it changes any more, so it must not wait for a change to be written down as ended."""
    room.plan("lost_after")
    room.broker.fills = False
    original = room.broker.read_orders

    async def read_orders(account_id):
        for held in room.broker.accepted:
            held.status = OrderStatus.CANCELLED
        return await original(account_id)

    room.broker.read_orders = read_orders
    intent = (await room.gateway.submit(stock_ticket(), key=KEY)).intent
    assert intent.order_status is OrderStatus.CANCELLED

    assert (await room.gateway.tracker.refresh(intent)).state is IntentState.CANCELLED
