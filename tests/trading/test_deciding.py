"""What is written of a decision, and what is looked at once more right before the first byte."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from doubts import acknowledged, planned
from fakes import SPY, START, MemoryJournal, quote, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import LimitExceeded
from ibkit.model import Environment
from ibkit.trading.deciding import Decisions
from ibkit.trading.events import Decided, Stage
from ibkit.trading.risk import Halt, HaltMode, Scope, default_limits
from risk_cases import GOOD, HEALTH

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]

ORDER = acknowledged(planned(stock_ticket(), user="u", api_key="k", expires_at=START + timedelta(seconds=30)))
STOPPED = Halt(environment=Environment.PAPER, mode=HaltMode.BLOCK_NEW, at=START, by="me", note="enough for today")


class Desk:
    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.journal = MemoryJournal(self.clock)
        self.book = self.journal.risk
        self.asked = []
        state = self.book.state

        async def asked(scope, at, *, read_at=None):
            self.asked.append((scope, at, read_at))
            return await state(scope, at, read_at=read_at)

        self.book.state = asked
        self.decisions = Decisions(self.book, self.clock)

    def limited(self, **changes):
        self.book.base = lambda environment: dataclasses.replace(default_limits(environment), **changes)


@pytest.fixture
def desk():
    return Desk()


async def test_a_passed_decision_says_on_what_it_rests(desk):
    desk.journal.generation, desk.journal.serials[ORDER.planned.account_id] = 7, 4
    decision = await desk.decisions.decide(ORDER, GOOD, Stage.SEND)

    assert decision.objection is None
    assert decision.event == Decided(
        at=START,
        stage=Stage.SEND,
        passed=True,
        version=default_limits(Environment.PAPER).version,
        control="",
        note="",
        generation=7,
        serial=4,
        warnings=decision.event.warnings,
        value=Decimal("1000.00"),
    )


async def test_the_book_is_asked_for_its_scope_at_the_moment_and_the_age_of_the_positions(desk):
    facts = dataclasses.replace(GOOD, read_at=START - timedelta(seconds=2))
    await desk.decisions.decide(ORDER, facts, Stage.INTAKE)

    assert desk.asked == [
        (
            Scope(
                environment=Environment.PAPER,
                account_id=ORDER.planned.account_id,
                tenant="",
                user="u",
                api_key="k",
                symbol="SPY",
            ),
            START,
            facts.read_at,
        )
    ]


async def test_a_refusal_says_which_control_and_why(desk):
    desk.limited(max_shares=Decimal(9))
    decision = await desk.decisions.decide(ORDER, GOOD, Stage.INTAKE)

    assert decision.objection is not None
    assert (decision.event.passed, decision.event.stage) == (False, Stage.INTAKE)
    assert decision.event.control == decision.objection.control == "RC-07"
    assert decision.event.note == decision.objection.text != ""
    assert decision.event.value is None


async def test_a_control_that_only_warns_is_written_down(desk):
    """A market order into a wide market: paper warns (RC-11)."""
    wide = dataclasses.replace(GOOD, quote=quote(SPY.conid, "90.00", "100.00"))
    decision = await desk.decisions.decide(ORDER, wide, Stage.SEND)

    assert decision.event.passed
    assert [warning.split(":")[0] for warning in decision.event.warnings] == ["RC-11"]


async def test_a_halt_that_a_control_asks_for_is_in_the_book_before_anybody_is_told(desk):
    lost = dataclasses.replace(GOOD, daily_pnl=Decimal(-900_000))
    decision = await desk.decisions.decide(ORDER, lost, Stage.SEND)

    assert decision.event.control == "RC-16"
    assert len(desk.book.halted) == 1


async def test_what_a_question_asks_about_is_judged_with_the_order(desk):
    """RC-28: a question is confirmed only where a control of ours covers what it asks about."""
    decision = await desk.decisions.decide(ORDER, GOOD, Stage.CONFIRM, ("RC-99",))

    assert (decision.event.stage, decision.event.control) == (Stage.CONFIRM, "RC-28")


async def test_an_order_too_old_is_refused_by_the_clock_of_the_decision(desk):
    desk.clock.advance(31)
    decision = await desk.decisions.decide(ORDER, dataclasses.replace(GOOD, quote_at=desk.clock.now()), Stage.SEND)

    assert decision.event.control == "RC-26"
    assert decision.event.at == desk.clock.now()


async def test_an_old_order_may_be_confirmed_that_was_sent_in_time(desk):
    """A question takes its time; the age binds what is not sent yet."""
    desk.clock.advance(31)
    fresh = dataclasses.replace(
        GOOD,
        quote_at=desk.clock.now(),
        read_at=desk.clock.now(),
        pnl_at=desk.clock.now(),
        health=dataclasses.replace(HEALTH, at=desk.clock.now()),
    )
    decision = await desk.decisions.decide(ORDER, fresh, Stage.CONFIRM)
    assert decision.objection is None

    desk.journal.generation += 1
    await desk.decisions.permit(ORDER, fresh, Stage.CONFIRM, decision.event, 99.0).check()


# -- right before the first byte ----------------------------------------------------------------------------------


async def permit(desk):
    decision = await desk.decisions.decide(ORDER, GOOD, Stage.SEND)
    assert decision.objection is None
    desk.asked.clear()
    return desk.decisions.permit(ORDER, GOOD, Stage.SEND, decision.event, 12.5)


async def test_nothing_is_judged_again_where_nothing_was_changed(desk):
    allowed = await permit(desk)
    await allowed.check()

    assert allowed.send_by == 12.5
    assert not desk.asked


async def test_a_change_that_concerns_it_not_lets_it_go(desk):
    allowed = await permit(desk)
    desk.journal.generation += 1

    await allowed.check()

    assert len(desk.asked) == 1


async def test_a_kill_switch_pressed_after_the_decision_holds_the_first_byte(desk):
    allowed = await permit(desk)
    await desk.book.halt(STOPPED)

    with pytest.raises(LimitExceeded, match="enough for today") as caught:
        await allowed.check()

    assert caught.value.details == {"control": "RC-02"}
    assert caught.value.code == "E-RISK"


async def test_a_limit_lowered_after_the_decision_holds_the_first_byte(desk):
    allowed = await permit(desk)
    desk.limited(max_shares=Decimal(9))
    desk.journal.generation += 1

    with pytest.raises(LimitExceeded) as caught:
        await allowed.check()

    assert caught.value.details == {"control": "RC-07"}


async def test_the_code_of_a_refusal_before_the_first_byte_is_its_controls(desk):
    allowed = await permit(desk)
    desk.limited(confirm_above=Decimal(10))
    desk.journal.generation += 1

    with pytest.raises(LimitExceeded) as caught:
        await allowed.check()

    assert (caught.value.code, caught.value.details) == ("E-LIVE", {"control": "RC-29"})
