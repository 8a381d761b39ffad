"""RC-02: what a halt stops, and what it lets through."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from fakes import SPY, option, stock_ticket
from ibkit.model import Conid, Environment, Side
from ibkit.trading.events import Operation, Stage
from ibkit.trading.risk import HaltMode, State, check
from risk_cases import LIVE, NOW, bracket, case, foreign, halt, holding, limit_order, oca, read, spread, spread_order

pytestmark = pytest.mark.requirement("TRD-18")
MODES = list(HaltMode)


def kill(given):
    return read("RC-02", given).state


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stage", list(Stage))
def test_every_mode_refuses_a_new_order_at_every_stage(mode, stage):
    given = case(halts=(halt(mode),), stage=stage)
    verdict = check(given)

    assert (verdict.objection.control, verdict.objection.name) == ("RC-02", "kill_switch")
    assert verdict.objection.text == f"Trading is halted ({mode.value}, everything)"


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_lets_through_what_only_closes(mode):
    given = case(stock_ticket("10", side=Side.SELL), positions=holding("10"), halts=(halt(mode),))

    assert check(given).objection is None
    assert kill(case(stock_ticket("10", side=Side.SELL), reduces=True, halts=(halt(mode),))) is State.OK


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_lets_a_cancel_through(mode):
    given = case(operation=Operation.CANCEL, halts=(halt(mode),))

    assert check(given).objection is None


@pytest.mark.parametrize(
    ("quantity", "side", "mode", "state"),
    [
        ("9", Side.BUY, HaltMode.BLOCK_NEW, State.OK),
        ("10", Side.BUY, HaltMode.BLOCK_NEW, State.OK),
        ("11", Side.BUY, HaltMode.BLOCK_NEW, State.REFUSES),
        ("10", Side.SELL, HaltMode.BLOCK_NEW, State.REFUSES),
        ("9", Side.BUY, HaltMode.REDUCE_ONLY, State.REFUSES),
        ("9", Side.BUY, HaltMode.CANCEL_ALL, State.REFUSES),
    ],
)
def test_block_new_allows_a_change_that_makes_nothing_larger(quantity, side, mode, state):
    change = {"operation": Operation.MODIFY, "replaces": foreign(remaining="10"), "halts": (halt(mode),)}

    assert kill(case(stock_ticket(quantity, side=side), **change)) is state
    assert kill(case(stock_ticket(quantity, side=side), **{**change, "operation": Operation.PLACE})) is State.REFUSES
    assert kill(case(stock_ticket(quantity, side=side), **{**change, "replaces": None})) is State.REFUSES


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        ({}, True),
        ({"tenant": "local"}, True),
        ({"tenant": "other"}, False),
        ({"account_id": "DU1234567"}, True),
        ({"account_id": "DU7654321"}, False),
        ({"symbol": "SPY"}, True),
        ({"symbol": "QQQ"}, False),
        ({"account_id": "DU1234567", "symbol": "SPY"}, True),
        ({"account_id": "DU1234567", "symbol": "QQQ"}, False),
        ({"environment": Environment.LIVE}, False),
        ({"released_at": NOW}, False),
        ({"until": NOW - timedelta(microseconds=1)}, False),
        ({"until": NOW}, False),
        ({"until": NOW + timedelta(microseconds=1)}, True),
    ],
)
def test_a_halt_holds_what_it_names_until_its_end(names, holds):
    assert (kill(case(halts=(halt(**names),))) is State.REFUSES) is holds


def test_a_halt_of_a_symbol_holds_its_options_spreads_and_groups():
    qqq = dataclasses.replace(SPY, symbol="QQQ", conid=Conid(320227571))
    of_qqq = (halt(symbol="QQQ"),)

    assert kill(case(stock_ticket("1", contract=option()), halts=(halt(symbol="SPY"),))) is State.REFUSES
    assert kill(oca(limit_order("1"), limit_order("1", contract=qqq), halts=of_qqq)) is State.REFUSES
    assert kill(bracket(limit_order("1"), limit_order("2", side=Side.SELL), halts=of_qqq)) is State.OK
    legs = spread(("629", 1, option().right), ("624", -1, option().right))
    assert kill(case(spread_order(legs, "1"), halts=(halt(symbol="SPY"),))) is State.REFUSES


def test_the_refusal_says_until_when_and_why():
    given = case(
        halts=(halt(until=NOW + timedelta(minutes=5), note="too many refusals", control="RC-20", symbol="SPY"),)
    )

    assert read("RC-02", given).objection.text == (
        "Trading is halted (block-new, symbol SPY until 2026-11-20 15:35 UTC): RC-20: too many refusals"
    )


def test_the_second_of_two_halts_decides_where_the_first_does_not_hold():
    given = case(halts=(halt(symbol="QQQ"), halt(account_id="DU1234567")))

    assert read("RC-02", given).limit == "account DU1234567"


def test_a_halt_that_lets_a_change_through_does_not_lift_the_next_one():
    change = {"operation": Operation.MODIFY, "replaces": foreign(remaining="10")}
    both = (halt(HaltMode.BLOCK_NEW), halt(HaltMode.REDUCE_ONLY, symbol="SPY"))

    refused = read("RC-02", case(stock_ticket("9"), halts=both, **change))
    assert (refused.state, refused.value, refused.limit) == (State.REFUSES, "reduce-only", "symbol SPY")


def test_live_halts_hold_live_orders():
    given = case(limits=LIVE, halts=(halt(environment=Environment.LIVE),))

    assert check(given).objection.control == "RC-02"
