"""What the stored risk book says where it refuses, and how much of its past it tells."""

from __future__ import annotations

from datetime import timedelta

import pytest

from doubts import planned, sent
from fakes import ACCOUNT, START, USER
from ibkit.clock import ManualClock
from ibkit.errors import NotFound, TradingError
from ibkit.model import Environment
from ibkit.store import open_journal, risk_book
from ibkit.trading.events import Claimed, Doubted, GaveUp, UnknownReason
from ibkit.trading.risk import Halt, HaltMode, Layer, LimitChange, Scope

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]


@pytest.fixture
async def journal(tmp_path):
    async with open_journal(tmp_path / "journal.sqlite", clock=ManualClock(START)) as opened:
        yield opened


def stop(**changes):
    return Halt(
        **{
            "environment": Environment.PAPER,
            "mode": HaltMode.BLOCK_NEW,
            "by": "ada",
            "note": "",
            "at": START,
            **changes,
        }
    )


async def test_a_halt_that_there_is_not_is_told_with_where_they_are_listed(journal):
    with pytest.raises(NotFound) as caught:
        await journal.risk.release(7, by="ada", note="", at=START)

    assert caught.value.message == "There is no halt 7 to release"
    assert caught.value.remedy == "`ibkit kill --status` lists them."


async def test_a_halt_stays_while_an_order_is_in_unknown_state_and_says_of_whom(journal):
    intent, _ = await journal.plan(planned())
    async with journal.conversation(USER, wait_s=0) as lane:
        lost = (Doubted(at=START, reason="lost"), GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="lost"))
        await journal.append(intent, Claimed(at=START, owner="me", epoch=lane.epoch), sent()[1], *lost)
    await journal.risk.halt(stop(account_id=ACCOUNT))

    with pytest.raises(TradingError) as caught:
        await journal.risk.release(1, by="ada", note="", at=START)

    assert caught.value.code == "E-ORD-UNKNOWN"
    assert caught.value.message == f"Halt 1 stays: 1 order(s) of account {ACCOUNT} are in unknown state"
    settle = "Look them up at IBKR, settle them with `ibkit intents resolve`, then release again."
    assert caught.value.remedy == settle


async def test_one_person_of_two_names_is_one_person(journal):
    await journal.risk.halt(stop(environment=Environment.LIVE))
    for name in ("Ada Lovelace", "ada lovelace "):
        released = await journal.risk.release(1, by=name, note="", at=START)
        assert (released.ended, len(released.waiting)) == ((), 1)

    assert (await journal.risk.release(1, by="Bob", note="", at=START)).ended[0].released_by == "Ada Lovelace\nBob"


async def test_the_latest_hundred_are_told_unless_more_are_asked_for(journal):
    await journal.risk.halt(*(stop(at=START + timedelta(seconds=number)) for number in range(101)))

    assert [halt.number for halt in await journal.risk.history()] == list(range(101, 1, -1))
    assert len(await journal.risk.history(limit=101)) == 101


async def test_a_change_that_nobody_confirmed_names_nobody(journal):
    wish = LimitChange(
        environment=Environment.LIVE,
        layer=Layer.ACCOUNT,
        whose="U1234567",
        name="max_shares",
        new="900",
        by="ada",
        note="",
        at=START,
    )
    await journal.risk.change(wish)

    (told,) = await journal.risk.history()
    assert (told.needs_second, told.confirmed_by, told.confirmed_at) == (True, "", None)


async def test_the_limits_of_a_scope_are_laid_over_each_other_once_for_all_decisions(journal, monkeypatch):
    """A decision has 0.3 ms; only a change makes them anew."""
    made = []
    layered = risk_book.layered
    monkeypatch.setattr(risk_book, "layered", lambda *given: (made.append(given[-1]), layered(*given))[1])
    scopes = [Scope(environment=Environment.PAPER, account_id=ACCOUNT, symbol=symbol) for symbol in ("SPY", "QQQ")]

    for _ in range(2):
        for scope in scopes:
            assert (await journal.risk.state(scope, START)).limits == await journal.risk.limits(scope)
    assert made == scopes

    await journal.risk.halt(stop())
    assert (await journal.risk.state(scopes[0], START)).halts
    assert made == [*scopes, scopes[0]]
