"""The arithmetic of the circuit breaker: ten failures in a row, half a minute, one that tries."""

from __future__ import annotations

import pytest

from ibkit.wire.breaker import FAILURES, PAUSE_S, Breaker

pytestmark = pytest.mark.requirement("LIM-08")


def tripped(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admit(at)
        breaker.failed(at)
    return breaker


def test_it_opens_at_the_tenth_failure_in_a_row_and_no_earlier() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert breaker.admit(0.0)
    breaker.worked()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert not breaker.tripped  # an answer in between began anew
    breaker.failed(5.0)
    assert breaker.tripped
    assert not breaker.admit(5.0)
    assert breaker.opens_in(5.0) == PAUSE_S


def test_after_the_pause_one_call_tries_and_the_others_wait_for_it() -> None:
    breaker = tripped()
    assert not breaker.admit(PAUSE_S - 0.001)
    assert not breaker.admit(PAUSE_S, may_try=False)
    assert breaker.admit(PAUSE_S)
    assert not breaker.admit(PAUSE_S + 100)
    breaker.worked()
    assert breaker.admit(PAUSE_S)
    assert breaker.admit(PAUSE_S, may_try=False)
    assert breaker.opens_in(PAUSE_S) == 0.0


def test_one_that_fails_begins_the_pause_anew_and_one_that_gives_up_lets_the_next_try() -> None:
    breaker = tripped()
    assert breaker.admit(PAUSE_S)
    breaker.failed(PAUSE_S)
    assert not breaker.admit(2 * PAUSE_S - 0.001)
    assert breaker.admit(2 * PAUSE_S)
    breaker.gave_up()
    assert breaker.admit(2 * PAUSE_S)
