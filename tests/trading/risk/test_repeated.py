"""RC-21, RC-22, RC-28 and RC-30: twins, unknown orders, questions, and strategies that fell silent."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT, SPY, option, stock_ticket
from ibkit.model import AccountId, OrderType, Right, Side
from ibkit.trading.events import Operation, Stage
from ibkit.trading.risk import PAPER_LIMITS, Heartbeat, Mode, State, Usage, check, covers, overdue
from risk_cases import (
    LIVE,
    NOW,
    case,
    holding,
    left,
    limit_order,
    oca,
    read,
    sale,
    spread,
    spread_order,
    state_of,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")
TEN = limit_order("100", "10")


def twin(ago_s: float = 5, ticket=TEN, **more: object) -> Usage:
    return Usage(sent=(left(ticket, ago_s=ago_s, **more),))


@pytest.mark.parametrize(("ago_s", "found"), [(0, True), (9.999, True), (10, False), (10.001, False), (-5, True)])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_same_terms_within_ten_seconds(ago_s, found, mode):
    limits = dataclasses.replace(PAPER_LIMITS, duplicates=mode)
    reading = read("RC-21", case(TEN, usage=twin(ago_s), limits=limits))
    told = {Mode.OFF: State.OFF, Mode.WARN: State.WARNS, Mode.REFUSE: State.REFUSES}[mode]

    assert reading.name == "possible_duplicate"
    assert reading.state is (State.OFF if mode is Mode.OFF else told if found else State.OK)


@pytest.mark.parametrize(
    "other",
    [
        limit_order("100.05", "10"),
        limit_order("100", "11"),
        limit_order("100", "10", side=Side.SELL),
        limit_order("100", "10", contract=option()),
        stock_ticket("10"),
    ],
)
def test_other_terms_are_no_twin(other):
    assert state_of("RC-21", case(TEN, usage=twin(ticket=other), limits=LIVE)) is State.OK


def test_the_price_of_a_stop_is_its_trigger():
    usage = twin(ticket=stop_order("95", "10"))

    assert state_of("RC-21", case(stop_order("95", "10"), usage=usage, limits=LIVE)) is State.REFUSES
    assert state_of("RC-21", case(stop_order("96", "10"), usage=usage, limits=LIVE)) is State.OK
    both = stock_ticket("10", order_type=OrderType.STOP_LIMIT, limit_price=Decimal(95), stop_price=Decimal(96))
    assert state_of("RC-21", case(both, usage=usage, limits=LIVE)) is State.REFUSES


def test_who_says_so_may_place_a_twin():
    given = case(TEN, usage=twin(), limits=LIVE, allow_duplicate=True)

    assert check(given).objection is None
    assert check(given).warnings == ("RC-21: the same order left 5.0 s ago under another key",)
    refused = read("RC-21", dataclasses.replace(given, allow_duplicate=False))
    assert refused.objection.text == (
        "This may be a duplicate: the same order left 5.0 s ago under another key."
        " Ask for it with allow_duplicate if it is not"
    )


def test_own_sends_changes_and_exits_are_no_twins():
    closing = limit_order("100", "10", side=Side.SELL)

    assert state_of("RC-21", case(TEN, usage=twin(name="ib-this"), limits=LIVE)) is State.OK
    assert state_of("RC-21", case(TEN, usage=twin(operation=Operation.MODIFY), limits=LIVE)) is State.OK
    assert state_of("RC-21", case(TEN, usage=twin(), limits=LIVE, operation=Operation.MODIFY)) is State.OFF
    given = case(closing, usage=twin(ticket=closing), limits=LIVE, positions=holding("10"))
    assert state_of("RC-21", given) is State.WARNS


def test_twins_in_a_group_are_seen():
    assert state_of("RC-21", oca(limit_order("1"), TEN, usage=twin(), limits=LIVE)) is State.REFUSES


# -- RC-22 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("unknown", "found"), [(SPY, True), (option(), False)])
def test_an_order_in_unknown_state(mode, unknown, found):
    limits = dataclasses.replace(PAPER_LIMITS, unknowns=mode)
    reading = read("RC-22", case(limits=limits, usage=Usage(unknown=frozenset({unknown.conidex}))))
    told = {Mode.OFF: State.OFF, Mode.WARN: State.WARNS, Mode.REFUSE: State.REFUSES}[mode]

    assert reading.name == "unknown_outstanding"
    assert reading.state is (State.OFF if mode is Mode.OFF else told if found else State.OK)


def test_live_waits_for_a_person_and_paper_warns():
    usage = Usage(unknown=frozenset({SPY.conidex}))

    assert check(case(usage=usage)).warnings == ("RC-22: an earlier order of SPY is in unknown state",)
    assert read("RC-22", case(usage=usage, limits=LIVE)).objection.text == (
        "First settle it (`ibkit intents resolve`): an earlier order of SPY is in unknown state"
    )
    closing = case(stock_ticket("1", side=Side.SELL), usage=usage, limits=LIVE, positions=holding("1"))
    assert state_of("RC-22", closing) is State.WARNS


def test_a_leg_or_a_member_in_unknown_state_counts():
    legs = spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))
    of_leg = Usage(unknown=frozenset({legs.legs[1].contract.conidex}))
    of_whole = Usage(unknown=frozenset({legs.conidex}))

    for usage in (of_leg, of_whole):
        assert state_of("RC-22", case(spread_order(legs, "1"), usage=usage, limits=LIVE)) is State.REFUSES
    member = oca(limit_order("1", contract=option()), TEN, usage=Usage(unknown=frozenset({SPY.conidex})), limits=LIVE)
    assert state_of("RC-22", member) is State.REFUSES


# -- RC-28 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "changes", "paper", "live"),
    [
        ("RC-07", {"max_shares": Decimal(499)}, True, True),
        ("RC-07", {"max_shares": Decimal(500)}, True, True),
        ("RC-07", {"max_shares": Decimal(501)}, True, False),
        ("RC-07", {"max_shares": None}, False, False),
        ("RC-08", {"max_order_value": Decimal(99_999)}, True, True),
        ("RC-08", {"max_order_value": Decimal(100_000)}, True, False),
        ("RC-08", {"max_order_value": Decimal(100_001)}, True, False),
        ("RC-08", {"max_order_value": None}, False, False),
        ("RC-10", {"collar_pct": Decimal("2.9")}, True, True),
        ("RC-10", {"collar_pct": Decimal(3)}, True, True),
        ("RC-10", {"collar_pct": Decimal("3.1")}, True, False),
        ("RC-10", {"collar_pct": None}, False, False),
        ("RC-12", {"ticks": True}, True, True),
        ("RC-12", {"ticks": False}, False, False),
        ("RC-99", {}, False, False),
    ],
)
def test_a_question_is_confirmed_only_while_our_control_covers_it(control, changes, paper, live):
    for limits, expected in ((PAPER_LIMITS, paper), (LIVE, live)):
        changed = dataclasses.replace(limits, **changes)
        assert covers(control, TEN, changed) is expected
        given = case(TEN, limits=changed, tied=("RC-12", control), stage=Stage.CONFIRM)
        reading = read("RC-28", given)
        assert (reading.state is State.OK) is expected
        if not expected:
            assert (reading.objection.name, reading.objection.code) == ("question_not_covered", "E-ORD-QUESTION")
            assert reading.objection.text == f"IBKR asks about a risk that our control {control} does not cover"


@pytest.mark.parametrize(
    ("control", "changes"),
    [("RC-07", {"max_option_contracts": None}), ("RC-10", {"option_collar_pct": None})],
)
def test_options_are_covered_by_their_own_limits(control, changes):
    assert covers(control, sale("1"), PAPER_LIMITS)
    assert not covers(control, sale("1"), dataclasses.replace(PAPER_LIMITS, **changes))
    assert covers(control, TEN, dataclasses.replace(PAPER_LIMITS, **changes))
    assert not covers("RC-10", sale("1"), LIVE)  # ten per cent is wider than IBKR's three


def test_every_order_of_a_group_must_be_covered():
    given = oca(TEN, sale("1"), limits=LIVE, tied=("RC-10",))

    assert state_of("RC-28", given) is State.REFUSES
    assert read("RC-28", case()).value == "nothing asked"
    assert read("RC-28", case(tied=("RC-07", "RC-12"))).value == "RC-07, RC-12"


# -- RC-30 -----------------------------------------------------------------------------------------------------------


def beat(ago_s: float, strategy: str = "wheel", account: AccountId = ACCOUNT) -> Heartbeat:
    return Heartbeat(strategy=strategy, account_id=account, at=NOW - timedelta(seconds=ago_s))


@pytest.mark.parametrize(("ago_s", "late"), [(59.999, False), (60, False), (60.001, True), (-3600, False)])
def test_a_strategy_is_overdue_after_a_minute(ago_s, late):
    assert bool(overdue([beat(ago_s)], now=NOW, after_s=60)) is late
    assert overdue([beat(ago_s)], now=NOW, after_s=None) == ()


def test_the_newest_sign_counts_per_strategy_and_account():
    other = AccountId("DU7654321")
    beats = [beat(300), beat(10), beat(200), beat(100, "grid"), beat(400, account=other)]

    found = overdue(beats, now=NOW, after_s=60)

    assert [(late.strategy, late.account_id) for late in found] == [("wheel", other), ("grid", ACCOUNT)]


def test_the_dead_mans_switch_is_opt_in():
    on = dataclasses.replace(PAPER_LIMITS, heartbeat_s=60.0)

    assert state_of("RC-30", case(strategy="wheel")) is State.OFF
    assert state_of("RC-30", case(limits=on)) is State.OFF
    assert state_of("RC-30", case(strategy="wheel", limits=on)) is State.OK
    assert read("RC-30", case(strategy="wheel", limits=on)).limit == "60 s"
