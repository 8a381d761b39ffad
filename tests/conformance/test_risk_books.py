"""One suite for every implementation of the risk book's port."""

from __future__ import annotations

import dataclasses
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT, START, USER, MemoryJournal, option, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, NotFound, StorageError, TradingError
from ibkit.model import (
    AccountId,
    Environment,
    GroupKind,
    Key,
    OrderId,
    OrderStatus,
    OrderTicket,
    Ref,
    Side,
)
from ibkit.store import open_journal
from ibkit.trading.events import (
    Acknowledged,
    Attached,
    Claimed,
    Decided,
    Doubted,
    GaveUp,
    IntentId,
    Looked,
    Operation,
    Planned,
    Progressed,
    RefusedByBroker,
    Resolved,
    Sending,
    Stage,
    UnknownReason,
)
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.ports import lane_of
from ibkit.trading.risk import Halt, HaltMode, Layer, LimitChange, Scope
from risk_cases import limit_order, spread, spread_order

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]
PAPER, LIVE = Environment.PAPER, Environment.LIVE
SCOPE = Scope(environment=PAPER, account_id=ACCOUNT, symbol="SPY")
LIVE_SCOPE = Scope(environment=LIVE, account_id=AccountId("U1234567"), symbol="SPY")
OTHER = AccountId("DU7654321")


@dataclasses.dataclass
class Shelf:
    """A journal and the book on it."""

    journal: object
    book: object
    reopen: object
    count: int = 0
    epoch: int = 0

    async def send(
        self,
        ticket: OrderTicket | None = None,
        *,
        at: datetime = START,
        value: str | None = "1000",
        account: AccountId = ACCOUNT,
        **changes: object,
    ):
        """One intent up to its bytes, as the conversation stores it."""
        self.count += 1
        ticket = dataclasses.replace(ticket or stock_ticket("10"), account_id=account)
        intent, _ = await self.journal.plan(_planned(self.count, ticket, at, **changes))
        state = await self.book.state(dataclasses.replace(SCOPE, account_id=account), at)
        decided = {"at": at, "passed": True, "version": "v", "generation": state.generation, "serial": state.serial}
        return await self.journal.append(
            intent,
            Decided(stage=Stage.INTAKE, **decided),
            Claimed(at=at, owner="test", epoch=self.epoch),
            Decided(stage=Stage.SEND, value=None if value is None else Decimal(value), **decided),
            Sending(at=at, deadline_s=2.0, session="1", trading_day=at.date()),
        )

    async def acked(self, intent, *, at: datetime = START, order_id: str = "1"):
        status = OrderStatus.SUBMITTED
        return await self.journal.append(
            intent, Acknowledged(at=at, order_id=OrderId(order_id), status=status, evidence="answer")
        )

    async def unknown(self, intent, *, at: datetime = START):
        doubted = await self.journal.append(intent, Doubted(at=at, reason="no answer"))
        return await self.journal.append(doubted, GaveUp(at=at, reason="unproven", unknown=UnknownReason.UNPROVEN))


def _planned(number: int, ticket: OrderTicket, at: datetime, **changes: object) -> Planned:
    terms = ticket_terms(ticket)
    ref = f"ib-{number}"
    fields = {
        "at": at,
        "intent_id": IntentId(ref),
        "operation": Operation.PLACE,
        "tenant": "local",
        "environment": PAPER,
        "username": USER,
        "key": Key(f"key-{number:016d}"),
        "ref": Ref(ref),
        "account_id": ticket.account_id,
        "ticket": ticket,
        "target": None,
        "terms": terms,
        "fingerprint": fingerprint(terms),
        "expires_at": at + timedelta(seconds=30),
        "purpose": "order",
    }
    return Planned(**{**fields, **changes})


@pytest.fixture(params=["memory", "sqlite"])
async def shelf(request, tmp_path):
    clock = ManualClock(START)

    @asynccontextmanager
    async def opened():
        if request.param == "memory":
            journal, reopen = MemoryJournal(clock), None
            async with journal.conversation(USER, wait_s=1.0) as lane:
                yield Shelf(journal, journal.risk, reopen, epoch=lane.epoch)
        else:
            async with open_journal(tmp_path / "journal.db", clock=clock) as journal:
                async with journal.conversation(USER, wait_s=1.0) as lane:
                    epoch = lane.epoch
                yield Shelf(journal, journal.risk, opened, epoch=epoch)

    async with opened() as found:
        yield found


def wish(value: str | None, name: str = "max_shares", layer=Layer.ACCOUNT, whose=ACCOUNT, **more) -> LimitChange:
    fields = {"environment": PAPER, "by": "ada", "note": "why not", "at": START}
    return LimitChange(**{"layer": layer, "whose": whose, "name": name, "new": value, **fields, **more})


def stop(mode=HaltMode.BLOCK_NEW, **changes) -> Halt:
    return Halt(**{"environment": PAPER, "mode": mode, "by": "ada", "note": "too hot", "at": START, **changes})


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_an_empty_book_has_the_defaults(shelf):
    state = await shelf.book.state(SCOPE, START)

    assert (state.limits.version, state.limits.max_shares) == ("paper-default-1", 10_000)
    assert (state.halts, state.generation, state.serial, state.sources) == ((), 0, 0, ())
    assert (state.usage.sent, state.usage.sent_today, state.usage.value_today) == ((), 0, 0)
    assert (await shelf.book.state(LIVE_SCOPE, START)).limits.version == "live-default-1"


async def test_a_change_holds_at_once_and_raises_the_generation(shelf):
    stored = await shelf.book.change(wish("20"))
    state = await shelf.book.state(SCOPE, START)

    assert (stored.number, stored.old, stored.new, stored.needs_second) == (1, "10000", "20", False)
    assert (state.limits.max_shares, state.limits.version, state.generation) == (20, "paper-default-1+1", 1)
    assert state.sources == (("max_shares", f"account {ACCOUNT}, change 1"),)
    other = await shelf.book.state(dataclasses.replace(SCOPE, account_id=OTHER), START)
    assert (other.limits.max_shares, other.generation) == (10_000, 1)


async def test_the_generation_alone_is_that_of_the_state(shelf):
    before = await shelf.book.generation()
    halt = Halt(environment=PAPER, mode=HaltMode.BLOCK_NEW, by="ann", note="", at=START)
    await shelf.book.halt(halt)

    assert await shelf.book.generation() == (await shelf.book.state(SCOPE, START)).generation > before


async def test_the_limits_alone_are_those_of_the_state(shelf):
    for symbol, value in (("", "300"), ("SPY", "200")):
        layer, whose = (Layer.SYMBOL, symbol) if symbol else (Layer.ACCOUNT, ACCOUNT)
        await shelf.book.change(
            LimitChange(
                environment=PAPER, layer=layer, whose=whose, name="max_shares", new=value, by="ann", note="", at=START
            )
        )
        for scope in (SCOPE, dataclasses.replace(SCOPE, symbol="QQQ"), dataclasses.replace(SCOPE, account_id=OTHER)):
            assert await shelf.book.limits(scope) == (await shelf.book.state(scope, START)).limits

    assert (await shelf.book.limits(SCOPE)).max_shares == 200


async def test_a_send_leaves_the_minute_without_another_send(shelf):
    """The book keeps what it read of a minute: it must slide all the same, and back where the clock goes back."""
    await shelf.send(at=START)
    for seconds, count in ((1, 1), (61, 0), (30, 1), (-30, 1), (61, 0)):
        assert len((await shelf.book.state(SCOPE, START + timedelta(seconds=seconds))).usage.sent) == count


async def test_what_is_no_limit_is_not_stored(shelf):
    for bad in (wish("20", "no_such_limit"), wish("lots")):
        with pytest.raises(ConfigError):
            await shelf.book.change(bad)

    assert await shelf.book.history() == ()
    assert (await shelf.book.state(SCOPE, START)).generation == 0


async def test_a_raise_of_a_live_limit_holds_once_another_person_confirms(shelf):
    raise_ = wish("900", environment=LIVE, whose=LIVE_SCOPE.account_id)
    stored = await shelf.book.change(raise_)

    assert stored.needs_second
    assert (await shelf.book.state(LIVE_SCOPE, START)).limits.max_shares == 500
    with pytest.raises(TradingError):
        await shelf.book.confirm(stored.number, by="ADA", at=START)
    with pytest.raises(NotFound):
        await shelf.book.confirm(99, by="bob", at=START)
    confirmed = await shelf.book.confirm(stored.number, by="bob", at=START + timedelta(hours=1))
    after = await shelf.book.state(LIVE_SCOPE, START)
    assert (confirmed.confirmed_by, after.limits.max_shares, after.generation) == ("bob", 900, 2)
    assert (await shelf.book.history())[0].confirmed_by == "bob"
    with pytest.raises(TradingError):
        await shelf.book.confirm(stored.number, by="eve", at=START)


async def test_lowering_is_instant_and_can_be_taken_back_on_paper(shelf):
    await shelf.book.change(wish("20"))
    back = await shelf.book.change(wish(None))

    assert (back.old, back.new) == ("20", None)
    state = await shelf.book.state(SCOPE, START)
    assert (state.limits.max_shares, state.limits.version) == (10_000, "paper-default-1+2")


async def test_history_tells_who_when_why_newest_first(shelf):
    await shelf.book.change(wish("20"))
    await shelf.book.halt(stop(at=START + timedelta(seconds=1)))
    await shelf.book.change(wish("30", by="bob", note="more", at=START + timedelta(seconds=2)))

    last, halted, first = await shelf.book.history()
    assert (last.by, last.note, last.old, last.new, last.number) == ("bob", "more", "20", "30", 2)
    assert (halted.by, halted.note, halted.mode) == ("ada", "too hot", HaltMode.BLOCK_NEW)
    assert (first.by, first.note, first.at, first.layer, first.whose) == (
        "ada",
        "why not",
        START,
        Layer.ACCOUNT,
        ACCOUNT,
    )
    assert len(await shelf.book.history(limit=1)) == 1


# -- halts -----------------------------------------------------------------------------------------------------------


async def test_a_halt_stands_until_it_is_released(shelf):
    (stored,) = await shelf.book.halt(stop(account_id=ACCOUNT, symbol="SPY", tenant="local"))
    state = await shelf.book.state(SCOPE, START)

    assert (stored.number, state.halts, state.generation) == (1, (stored,), 1)
    assert state.halts[0].holds(SCOPE, START)
    released = await shelf.book.release(1, by="ada", note="cooled", at=START)
    assert ([halt.number for halt in released.ended], released.waiting) == ([1], ())
    after = await shelf.book.state(SCOPE, START)
    assert (after.halts, after.generation) == ((), 2)
    assert await shelf.book.halts() == ()
    assert (await shelf.book.history())[0].released_at == START


async def test_a_halt_ends_by_itself(shelf):
    await shelf.book.halt(stop(until=START + timedelta(minutes=5)))

    assert (await shelf.book.state(SCOPE, START + timedelta(minutes=5) - timedelta(microseconds=1))).halts
    assert not (await shelf.book.state(SCOPE, START + timedelta(minutes=5))).halts
    assert len(await shelf.book.halts()) == 1


async def test_halts_of_one_environment_leave_the_other_alone(shelf):
    await shelf.book.halt(stop(environment=LIVE))

    assert not (await shelf.book.state(SCOPE, START)).halts
    assert (await shelf.book.state(LIVE_SCOPE, START)).halts


async def test_a_breakers_halt_is_not_doubled(shelf):
    tripped = stop(control="RC-19", account_id=ACCOUNT, symbol="SPY", until=START + timedelta(minutes=5))
    (first,) = await shelf.book.halt(tripped)
    (again,) = await shelf.book.halt(dataclasses.replace(tripped, note="once more"))
    (later,) = await shelf.book.halt(dataclasses.replace(tripped, at=START + timedelta(minutes=5), until=None))
    (other,) = await shelf.book.halt(dataclasses.replace(tripped, symbol="QQQ"))
    pressed = await shelf.book.halt(stop(), stop())

    assert again == first
    assert [later.number, other.number, *(halt.number for halt in pressed)] == [2, 3, 4, 5]
    await shelf.book.release(2, by="ada", note="", at=START)
    (anew,) = await shelf.book.halt(dataclasses.replace(tripped, at=START + timedelta(minutes=9), until=None))
    assert anew.number == 6


async def test_two_people_release_a_live_halt(shelf):
    await shelf.book.halt(stop(environment=LIVE))

    first = await shelf.book.release(1, by="ada", note="", at=START)
    same = await shelf.book.release(1, by=" Ada ", note="", at=START)
    assert [halt.released_by for halt in first.waiting + same.waiting] == ["ada", "ada"]
    assert (await shelf.book.state(LIVE_SCOPE, START)).halts
    second = await shelf.book.release(1, by="bob", note="", at=START + timedelta(seconds=1))
    assert (second.ended[0].released_by, second.ended[0].released_at) == ("ada\nbob", START + timedelta(seconds=1))
    assert not (await shelf.book.state(LIVE_SCOPE, START)).halts


async def test_what_is_no_halt_cannot_be_released(shelf):
    await shelf.book.halt(stop())
    await shelf.book.release(1, by="ada", note="", at=START)

    for number in (1, 7):
        with pytest.raises(NotFound):
            await shelf.book.release(number, by="ada", note="", at=START)


async def test_nothing_is_released_while_an_order_is_in_unknown_state(shelf):
    lost = await shelf.unknown(await shelf.send())
    await shelf.book.halt(stop(), stop(account_id=ACCOUNT), stop(account_id=OTHER), stop(environment=LIVE))

    for number in (1, 2):
        with pytest.raises(TradingError) as caught:
            await shelf.book.release(number, by="ada", note="", at=START)
        assert caught.value.code == "E-ORD-UNKNOWN"
    assert (await shelf.book.release(3, by="ada", note="", at=START)).ended
    assert (await shelf.book.release(4, by="ada", note="", at=START)).waiting
    with pytest.raises(TradingError):
        await shelf.book.release(1, 2, by="ada", note="", at=START)
    await shelf.journal.append(lost, Resolved(at=START, by="ada", note="looked"))
    assert len((await shelf.book.release(1, 2, by="ada", note="", at=START)).ended) == 2


# -- what has left ---------------------------------------------------------------------------------------------------


async def test_sends_are_counted_when_they_are_on_disk(shelf):
    intent = await shelf.send(limit_order("100", "10"), value="1000")
    state = await shelf.book.state(SCOPE, START)

    assert (state.serial, state.usage.sent_today, state.usage.value_today) == (1, 1, 1000)
    (sent,) = state.usage.sent
    assert (sent.intent_id, sent.at, sent.operation, sent.contract) == (
        intent.intent_id,
        START,
        Operation.PLACE,
        "756733",
    )
    assert (sent.side, sent.quantity, sent.price, sent.value_usd) == (Side.BUY, 10, 100, 1000)
    other = await shelf.book.state(dataclasses.replace(SCOPE, account_id=OTHER), START)
    assert (other.serial, other.usage.sent_today) == (0, 0)


async def test_a_value_that_is_not_known_makes_the_days_unknown(shelf):
    await shelf.send(value="1")
    assert (await shelf.book.state(SCOPE, START)).usage.value_today == 1
    await shelf.send(value=None)
    await shelf.send(value="2")

    usage = (await shelf.book.state(SCOPE, START)).usage
    assert (usage.sent_today, usage.value_today) == (3, None)


async def test_the_minute_slides_and_the_day_is_new_yorks(shelf):
    midnight = datetime(2026, 11, 21, 5, tzinfo=UTC)
    for at in (midnight - timedelta(seconds=61), midnight - timedelta(seconds=1), midnight):
        await shelf.send(at=at)

    before = (await shelf.book.state(SCOPE, midnight - timedelta(microseconds=1))).usage
    after = (await shelf.book.state(SCOPE, midnight)).usage
    assert (before.sent_today, before.value_today) == (3, 3000)  # the last is dated later: the clock went back
    assert (after.sent_today, after.value_today, len(after.sent)) == (1, 1000, 2)
    assert len((await shelf.book.state(SCOPE, midnight + timedelta(seconds=59))).usage.sent) == 1
    assert len((await shelf.book.state(SCOPE, midnight + timedelta(seconds=60))).usage.sent) == 0
    assert (await shelf.book.state(SCOPE, midnight + timedelta(days=1))).usage.sent_today == 0


@pytest.mark.parametrize("dice", range(8))
async def test_looking_in_between_changes_nothing_of_what_was_sent_in_the_last_minute(shelf, dice):
    """Whoever has looked all the time knows what one knows who looks now for the first time; the clock jumps about."""
    chance = random.Random(dice)
    now = START
    everything = []
    for _ in range(40):
        now += timedelta(seconds=chance.choice([0, 0, 0.5, 3, 20, 70, -4, -90]))
        everything.append((await shelf.send(at=now, account=chance.choice([ACCOUNT, ACCOUNT, OTHER]))).planned)
        if chance.random() < 0.7:
            at = now + timedelta(seconds=chance.choice([0, 0, 10, 61, -30]))
            sent = (await shelf.book.state(SCOPE, at)).usage.sent
            after = [p.intent_id for p in everything if p.account_id == ACCOUNT and p.at > at - timedelta(seconds=60)]
            assert sorted(each.intent_id for each in sent) == sorted(after)


async def test_a_clock_that_jumps_back_loses_no_send(shelf):
    await shelf.send(at=START)
    assert (await shelf.book.state(SCOPE, START)).usage.sent_today == 1
    back = START - timedelta(hours=2)
    await shelf.send(at=back)
    usage = (await shelf.book.state(SCOPE, back)).usage

    assert (usage.sent_today, usage.value_today, len(usage.sent)) == (2, 2000, 2)
    await shelf.send(at=START + timedelta(hours=1))
    await shelf.send(at=back)
    assert (await shelf.book.state(SCOPE, START)).usage.value_today == 4000
    assert (await shelf.book.state(SCOPE, START - timedelta(days=1))).usage.sent_today == 4


async def test_counters_of_the_day_and_halts_outlive_a_restart(shelf):
    if shelf.reopen is None:
        pytest.skip("memory does not last")
    await shelf.send()
    await shelf.book.halt(stop())
    await shelf.book.change(wish("20"))
    before = await shelf.book.state(SCOPE, START)
    async with shelf.reopen() as again:
        assert await again.book.state(SCOPE, START) == before
        again.count = shelf.count
        await again.send(value="5")
        assert (await again.book.state(SCOPE, START)).usage.value_today == 1005
        assert (await shelf.book.state(SCOPE, START)).usage.value_today == 1005


async def test_combinations_are_told_apart_by_their_legs(shelf):
    legs = spread(("629", 1, option().right), ("624", -1, option().right))
    await shelf.unknown(await shelf.send(spread_order(legs, "1")))
    usage = (await shelf.book.state(SCOPE, START)).usage

    assert usage.sent[0].contract == legs.conidex
    assert usage.unknown == {legs.conidex, *(leg.contract.conidex for leg in legs.legs)}


async def test_refusals_of_the_last_six_minutes_are_told(shelf):
    refused = await shelf.send()
    await shelf.journal.append(refused, RefusedByBroker(at=START, code="E-ORD-REJECT", reason="margin"))
    late = await shelf.acked(await shelf.send(), order_id="2")
    progressed = Progressed(
        at=START, status=OrderStatus.INACTIVE, filled=Decimal(0), average_price=None, reason="margin", refused=True
    )
    await shelf.journal.append(late, progressed)
    minutes = timedelta(minutes=6)

    assert (await shelf.book.state(SCOPE, START)).usage.rejects == (START, START)
    assert len((await shelf.book.state(SCOPE, START + minutes - timedelta(microseconds=1))).usage.rejects) == 2
    assert (await shelf.book.state(SCOPE, START + minutes)).usage.rejects == ()
    other = await shelf.book.state(dataclasses.replace(SCOPE, account_id=OTHER), START)
    assert other.usage.rejects == ()


# -- what is open ----------------------------------------------------------------------------------------------------


async def test_an_order_is_open_from_its_bytes_to_its_end(shelf):
    planned = await shelf.journal.plan(_planned(99, stock_ticket("5"), START))
    assert (await shelf.book.state(SCOPE, START)).usage.open == ()
    intent = await shelf.send(limit_order("100", "10"), value="1000")
    (order,) = (await shelf.book.state(SCOPE, START)).usage.open
    assert (order.intent_id, order.ticket, order.sent, order.value_usd) == (intent.intent_id, intent.ticket, 10, 1000)
    assert (order.group, order.reduces, order.changes, order.ended) == ("", False, False, False)
    intent = await shelf.acked(intent, order_id="77")
    assert (await shelf.book.state(SCOPE, START)).usage.open[0].group == "order 77"
    ended = Progressed(at=START, status=OrderStatus.FILLED, filled=Decimal(10), average_price=Decimal(1), refused=False)
    await shelf.journal.append(intent, ended)
    assert planned[1]
    later = START + timedelta(seconds=1)
    assert (await shelf.book.state(SCOPE, later)).usage.open == ()
    (counted,) = (await shelf.book.state(SCOPE, later, read_at=START)).usage.open
    assert counted.ended


async def test_an_order_of_which_nobody_knows_the_value_counts_with_what_left_of_it(shelf):
    await shelf.send(limit_order("100", "10"), value=None)

    (order,) = (await shelf.book.state(SCOPE, START)).usage.open
    assert (order.sent, order.value_usd) == (10, None)


async def test_an_order_in_unknown_state_may_fill_until_it_is_settled(shelf):
    lost = await shelf.unknown(await shelf.send())
    usage = (await shelf.book.state(SCOPE, START)).usage

    assert (len(usage.open), usage.open[0].ended, usage.unknown) == (1, False, {"756733"})
    await shelf.journal.append(lost, Resolved(at=START, by="ada", note="it never was there"))
    usage = (await shelf.book.state(SCOPE, START + timedelta(seconds=1))).usage
    assert (usage.open, usage.unknown) == ((), frozenset())


async def test_the_orders_of_a_group_count_before_and_after_they_have_numbers(shelf):
    others = (limit_order("90", "20"), limit_order("80", "30"))
    sent = await shelf.send(limit_order("100", "10"), value="3000", group=GroupKind.OCA, others=others)
    before = (await shelf.book.state(SCOPE, START)).usage.open

    assert sorted(order.ticket.quantity for order in before) == [10, 20, 30]
    assert {order.group for order in before} == {sent.intent_id}
    assert [order.value_usd for order in before] == [3000] * 3
    await shelf.acked(sent)
    for number, ticket in enumerate(others, start=1):
        planned = _planned(50 + number, ticket, START, leg_of=sent.intent_id)
        leg, _ = await shelf.journal.plan(planned)
        await shelf.journal.append(
            leg, Attached(at=START, order_id=OrderId(f"9{number}"), status=OrderStatus.SUBMITTED)
        )
    after = (await shelf.book.state(SCOPE, START)).usage.open
    assert sorted(order.ticket.quantity for order in after) == [10, 20, 30]
    assert {order.group for order in after} == {sent.intent_id}
    assert [order.value_usd for order in after] == [3000] * 3
    assert sorted(order.sent for order in after) == [10, 20, 30]


async def test_children_of_a_bracket_and_exits_only_reduce(shelf):
    children = (limit_order("110", "10", side=Side.SELL), limit_order("90", "11", side=Side.SELL))
    await shelf.send(limit_order("100", "10"), group=GroupKind.BRACKET, others=children)
    await shelf.send(stock_ticket("10", side=Side.SELL), reduces=IntentId("ib-1"))
    opened = sorted((await shelf.book.state(SCOPE, START)).usage.open, key=lambda order: order.intent_id)

    assert [order.reduces for order in opened] == [False, True, False, True]
    assert [order.value_usd for order in opened] == [1000, 0, 0, 1000]


async def test_a_change_and_what_it_changes_are_one_group(shelf):
    first = await shelf.acked(await shelf.send(limit_order("100", "10")), order_id="7")
    await shelf.send(limit_order("100", "20"), operation=Operation.MODIFY, target=OrderId("7"))
    opened = (await shelf.book.state(SCOPE, START)).usage.open

    assert first.order_id == "7"
    assert {(order.group, order.changes) for order in opened} == {("order 7", False), ("order 7", True)}
    assert (await shelf.book.state(SCOPE, START)).serial == 2


async def test_a_cancel_counts_against_nothing(shelf):
    shelf.count += 1
    asked = _planned(shelf.count, stock_ticket("1"), START)
    cancel = dataclasses.replace(asked, operation=Operation.CANCEL, ticket=None, target=OrderId("7"))
    intent, _ = await shelf.journal.plan(cancel)
    async with shelf.journal.conversation(lane_of(cancel), wait_s=1.0) as lane:
        epoch = lane.epoch
    intent = await shelf.journal.append(
        intent,
        Claimed(at=START, owner="test", epoch=epoch),
        Sending(at=START, deadline_s=2.0, session="1", trading_day=START.date()),
    )
    await shelf.unknown(intent)
    state = await shelf.book.state(SCOPE, START)

    assert (state.serial, state.usage.sent, state.usage.open, state.usage.unknown) == (0, (), (), frozenset())


async def test_looks_change_nothing_of_what_counts(shelf):
    doubted = await shelf.journal.append(await shelf.send(), Doubted(at=START, reason="no answer"))
    before = await shelf.book.state(SCOPE, START)
    looked = Looked(at=START, list_absent=True, fills_absent=True, parked=False, note="")
    await shelf.journal.append(doubted, looked)

    assert await shelf.book.state(SCOPE, START) == before


# -- the database itself ---------------------------------------------------------------------------------------------


async def test_the_tables_take_no_change_and_no_deletion(shelf):
    if shelf.reopen is None:
        pytest.skip("memory keeps no tables")
    await shelf.book.halt(stop(environment=LIVE))
    await shelf.book.change(wish("900", environment=LIVE))
    await shelf.book.confirm(1, by="bob", at=START)
    await shelf.book.release(1, by="bob", note="", at=START)
    tables = {"limit_changes": "by", "limit_confirmations": "by", "halts": "by", "halt_releases": "note"}
    for table, column in tables.items():
        for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
            with pytest.raises(StorageError, match="append-only"):
                await shelf.journal._database.write(lambda c, text=statement: c.exec_driver_sql(text))
    assert (await shelf.book.state(SCOPE, START)).generation == 4


async def test_more_scopes_than_are_kept_have_their_limits_all_the_same(shelf):
    """Another tenant each: what is remembered of limits is bounded."""
    await shelf.book.change(wish("20"))

    for number in range(1026):
        scope = dataclasses.replace(SCOPE, tenant=f"t-{number}")
        assert (await shelf.book.state(scope, START)).limits == (await shelf.book.state(SCOPE, START)).limits
