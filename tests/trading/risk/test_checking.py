"""The controls together: their order, what exits and cancels are spared, and what a preview shows."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import ibkit.trading.risk as room
from fakes import ACCOUNT, SPY, START, USER, option, quote, stock_ticket
from ibkit.model import AccountId, Environment, GroupKind, Key, Ref, Side
from ibkit.trading.events import IntentId, Operation, Planned, Stage
from ibkit.trading.intent import IntentState
from ibkit.trading.risk import (
    CONTROLS,
    PAPER_LIMITS,
    Facts,
    RiskState,
    Scope,
    State,
    Usage,
    assess,
    case_of,
    check,
)
from ibkit.trading.risk.bookkeeping import open_orders
from risk_cases import (
    GOOD,
    HEALTH,
    LIVE,
    NOW,
    bracket,
    case,
    foreign,
    halt,
    holding,
    left,
    limit_order,
    oca,
    ours,
    sale,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")


def test_there_are_thirty_controls_each_once():
    numbers = [control.number for control in CONTROLS]

    assert sorted(numbers) == [f"RC-{n:02d}" for n in range(1, 31)]


# One breach each; asked in this order, the one that is asked first decides.
BREACHES = {
    "RC-01": {"broker_is_paper": None},
    "RC-29": {"order_confirmed": False, "usage": {"sent_today": 0}},
    "RC-02": {"halts": (halt(environment=Environment.LIVE),)},
    "RC-26": {"expires_at": NOW - timedelta(seconds=1)},
    "RC-03": {"limits": {"allowed_accounts": frozenset()}},
    "RC-04": {"limits": {"allowed_symbols": frozenset()}},
    "RC-05": {"limits": {"sec_types": frozenset()}},
    "RC-06": {"limits": {"order_types": frozenset()}},
    "RC-24": {"hours": None},
    "RC-25": {"health": {"reset_from": NOW, "reset_until": NOW}},
    "RC-27": {"health": {"competing": True}},
    "RC-07": {"limits": {"max_shares": Decimal(1)}},
    "RC-12": {"increments": None},
    "RC-09": {"quote_at": NOW - timedelta(seconds=6)},
    "RC-10": {"quote": quote(SPY.conid, "1", "1")},
    "RC-08": {"limits": {"max_order_value": Decimal(1)}},
    "RC-13": {"positions": holding("1000", "0")},
    "RC-14": {"net_liquidation": Decimal(1)},
    "RC-16": {"daily_pnl": Decimal(-900_000)},
    "RC-17": {"usage": {"value_today": None}},
    "RC-18": {"limits": {"orders_per_second": 0}},
    "RC-19": {"usage": {"sent": tuple(left(ago_s=30, name=f"ib-{n}") for n in range(6)), "sent_today": 6}},
    "RC-20": {"usage": {"rejects": (NOW,) * 5}},
    "RC-21": {"usage": {"sent": (left(limit_order("100", "10"), ago_s=5),)}},
    "RC-22": {"usage": {"unknown": frozenset({SPY.conidex})}},
    "RC-23": {"others": tuple(foreign(order_id=str(n), remaining="0") for n in range(15))},
    "RC-28": {"tied": ("RC-99",)},
}


def broken(*controls: str):
    limits, usage, health, rest = {}, {}, {}, {}
    for control in controls:
        for name, value in BREACHES[control].items():
            target = {"limits": limits, "usage": usage, "health": health}.get(name)
            if target is not None:
                target.update(value)
            else:
                rest[name] = value
    return case(
        limit_order("100", "10"),
        limits=dataclasses.replace(LIVE, **limits),
        usage=dataclasses.replace(Usage(sent_today=1), **usage),
        health=dataclasses.replace(HEALTH, **health),
        **rest,
    )


@pytest.mark.parametrize("control", list(BREACHES))
def test_each_control_refuses_on_its_own(control):
    assert check(broken()).objection is None
    assert check(broken(control)).objection.control == control


@pytest.mark.parametrize(("first", "second"), list(zip(list(BREACHES), list(BREACHES)[1:], strict=False)))
def test_they_are_asked_in_the_order_of_the_rules(first, second):
    assert check(broken(first, second)).objection.control == first


def test_the_order_is_that_of_the_rules():
    order = [control.number for control in CONTROLS]

    listed = [number for number in order if number in BREACHES]
    assert listed == list(BREACHES)


SPARED = {
    "RC-29",
    "RC-04",
    "RC-05",
    "RC-06",
    "RC-07",
    "RC-24",
    "RC-09",
    "RC-10",
    "RC-11",
    "RC-08",
    "RC-13",
    "RC-14",
    "RC-15",
} | {
    "RC-16",
    "RC-17",
    "RC-18",
    "RC-19",
    "RC-20",
}


def test_what_closes_is_spared_loss_rate_and_value():
    assert {control.number for control in CONTROLS if control.spares_exits} == SPARED


@pytest.mark.parametrize("control", list(BREACHES))
def test_what_closes_passes_what_it_is_spared_and_the_kill_switch(control):
    given = broken(control)
    given = dataclasses.replace(given, facts=dataclasses.replace(given.facts, reduces=True))
    spared = SPARED | {"RC-02", "RC-21", "RC-22", "RC-23"}

    objection = check(given).objection

    assert (objection is None) is (control in spared)


@pytest.mark.parametrize("control", list(BREACHES))
def test_a_cancel_passes_all_but_its_account_and_its_age(control):
    given = dataclasses.replace(broken(control), operation=Operation.CANCEL, tickets=())

    assert (check(given).objection is None) is (control not in ("RC-01", "RC-26"))
    assert check(given).value is None


@pytest.mark.parametrize(
    ("held", "others", "ours_", "exits"),
    [
        ("10", (), (), True),
        ("9", (), (), False),
        ("11", (), (), True),
        ("-10", (), (), False),
        ("0", (), (), False),
        ("15", (foreign(Side.SELL, "5"),), (), True),
        ("14", (foreign(Side.SELL, "5"),), (), False),
        ("15", (), (ours(limit_order("1", "5", side=Side.SELL)),), True),
        ("14", (), (ours(limit_order("1", "5", side=Side.SELL)),), False),
        ("10", (foreign(Side.BUY, "5"),), (ours(limit_order("1", "5")),), True),
        ("10", None, (), False),
    ],
)
def test_an_exit_is_proven_by_positions_and_by_what_else_may_sell(held, others, ours_, exits):
    ticket = stock_ticket("10", side=Side.SELL)

    assert case(ticket, positions=holding(held), others=others, usage=Usage(open=ours_)).exits is exits
    short = case(stock_ticket("10"), positions=holding(str(-Decimal(held))), others=None if others is None else ())
    assert short.exits is (Decimal(held) >= 10 and others is not None)


def test_positions_that_are_not_known_prove_nothing():
    assert not case(stock_ticket("10", side=Side.SELL), positions=None, position=None).exits
    assert case(stock_ticket("10", side=Side.SELL), positions=None, position=Decimal(10)).exits
    assert case(stock_ticket("10", side=Side.SELL), positions=None, reduces=True).exits
    assert not case(operation=Operation.CANCEL).exits


@pytest.mark.parametrize("held", ["0.5", "-0.5"])
def test_less_than_a_share_is_closed_by_the_other_side_alone(held):
    closes = Side.SELL if Decimal(held) > 0 else Side.BUY

    assert case(stock_ticket("0.5", side=closes), positions=holding(held)).exits
    assert not case(stock_ticket("0.5", side=closes.opposite), positions=holding(held)).exits


def test_groups_of_exits():
    sells = (limit_order("110", "10", side=Side.SELL), stop_order("90", "10", side=Side.SELL))

    assert oca(*sells, positions=holding("10")).exits
    assert not oca(*sells, positions=holding("9")).exits
    closing = bracket(limit_order("100", "10", side=Side.SELL), limit_order("90", "10"), positions=holding("10"))
    assert closing.openers == ()  # the child buys back at most what the parent sold
    opening = bracket(limit_order("100", "10"), *sells)
    assert opening.openers == (opening.tickets[0],)


def test_warnings_of_the_controls_before_a_refusal_are_kept():
    usage = Usage(sent=(left(limit_order("100", "10"), ago_s=5),), unknown=frozenset({SPY.conidex}))
    fine = check(case(limit_order("100", "10"), usage=usage))
    refused = check(case(limit_order("100", "10"), usage=usage, tied=("RC-99",)))

    assert [warning[:5] for warning in fine.warnings] == ["RC-21", "RC-22"]
    assert [warning[:5] for warning in refused.warnings] == ["RC-21", "RC-22"]
    assert refused.objection.control == "RC-28"


def test_a_verdict_tells_the_value_for_the_record():
    assert check(case(limit_order("100", "10"))).value == 1000
    assert check(case(stop_order("90", "10", side=Side.SELL), positions=holding("10"))).value == 0
    assert check(case(limit_order("100", "2000"))).value is None
    assert check(case(limit_order("100", "10"))).halts == ()


def test_a_refusal_that_halts_nothing_asks_for_no_halt():
    """What stands in a verdict's halts is stored before anybody is told."""
    refused = check(case(limit_order("100", "2000")))
    halting = check(broken("RC-16"))

    assert (refused.objection.control, refused.halts) == ("RC-08", ())
    assert [halt.control for halt in halting.halts] == ["RC-16"]


def test_an_assessment_shows_every_control_with_its_headroom():
    readings = assess(case(limit_order("100", "10")))

    assert [reading.control for reading in readings] == [f"RC-{n:02d}" for n in range(1, 31)]
    assert all(reading.objection is None for reading in readings)
    by_control = {reading.control: reading for reading in readings}
    assert by_control["RC-08"].headroom == 99_000
    assert by_control["RC-24"].state is State.OFF
    assert len(assess(case(operation=Operation.CANCEL))) == 2


def test_an_assessment_goes_on_after_a_refusal_and_shows_exits_as_such():
    readings = {r.control: r for r in assess(broken("RC-07", "RC-08", "RC-16"))}
    closing = {r.control: r for r in assess(case(sale("1"), reduces=True))}

    assert {c for c, r in readings.items() if r.objection is not None} == {"RC-07", "RC-08", "RC-16"}
    assert (closing["RC-08"].state, closing["RC-08"].value, closing["RC-08"].name) == (
        State.OK,
        "exit",
        "closes a position",
    )
    assert closing["RC-08"].limit == ""


def test_nothing_known_refuses_everything_that_opens():
    assert check(case(facts=Facts())).objection.control == "RC-01"
    known = Facts(broker_is_paper=True, health=HEALTH)
    assert check(case(facts=known)).objection.control == "RC-09"
    assert [r.control for r in assess(case(facts=known)) if r.state is State.NOT_KNOWN] == [
        "RC-08",
        "RC-09",
        "RC-13",
        "RC-14",
        "RC-16",
        "RC-17",
        "RC-23",
    ]


def planned(**changes: object) -> Planned:
    fields = {
        "at": START,
        "intent_id": IntentId("ib-1"),
        "operation": Operation.PLACE,
        "tenant": "acme",
        "environment": Environment.PAPER,
        "username": USER,
        "key": Key("key-0123456789abcdef"),
        "ref": Ref("ib-1"),
        "account_id": ACCOUNT,
        "ticket": sale("1"),
        "target": None,
        "terms": {},
        "fingerprint": "",
        "expires_at": START + timedelta(seconds=30),
        "purpose": "order",
        "user": "ada",
        "api_key": "k1",
        "strategy": "wheel",
        "allow_duplicate": True,
    }
    return Planned(**{**fields, **changes})


def test_a_case_is_made_of_an_intent_and_the_book():
    state = RiskState(limits=PAPER_LIMITS, halts=(halt(),), usage=Usage(sent_today=3), generation=1, serial=2)
    others = (limit_order("1"),)
    made = case_of(
        planned(group=GroupKind.OCA, others=others), GOOD, state, stage=Stage.CONFIRM, now=NOW, tied=("RC-07",)
    )

    assert made.tickets == (sale("1"), *others)
    assert made.scope == Scope(
        environment=Environment.PAPER, account_id=ACCOUNT, tenant="acme", user="ada", api_key="k1", symbol="SPY"
    )
    assert (made.group, made.intent_id, made.strategy, made.allow_duplicate) == (GroupKind.OCA, "ib-1", "wheel", True)
    assert made.operation is Operation.PLACE
    assert (made.stage, made.now, made.expires_at, made.tied) == (Stage.CONFIRM, NOW, state_end(), ("RC-07",))
    assert (made.limits, made.halts, made.usage, made.facts) == (state.limits, state.halts, state.usage, GOOD)


def state_end():
    return START + timedelta(seconds=30)


def test_a_cancel_is_no_open_order():
    cancel = planned(operation=Operation.CANCEL, ticket=None)

    assert open_orders(cancel, IntentState.ACKED, order_id="1", sent=Decimal(0), value_usd=None) == ()


def test_the_case_of_a_cancel_has_no_orders():
    state = RiskState(limits=PAPER_LIMITS, halts=(), usage=Usage(), generation=0, serial=0)
    made = case_of(planned(operation=Operation.CANCEL, ticket=None), GOOD, state, stage=Stage.SEND, now=NOW)

    assert (made.tickets, made.scope.symbol, made.account_id) == ((), "", AccountId("DU1234567"))
    assert made.openers == ()


def test_the_room_says_where_each_control_lives():
    text = (Path(room.__file__).parent / "__init__.py").read_text()

    for control in CONTROLS:
        number = control.number.removeprefix("RC-")
        assert number in text.split('"""')[1], number


def test_a_quote_of_another_contract_is_not_taken_for_the_first():
    given = oca(limit_order("100"), limit_order("1", contract=option()))

    assert given.market(option()).quote is None
    assert given.market(SPY).quote is GOOD.quote
    assert given.held(option()) == 0
