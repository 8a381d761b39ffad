"""RC-08, RC-13, RC-14, RC-15: value, position, gross exposure, short positions."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import SPY, option, quote, stock_ticket
from ibkit.model import Conid, GroupKind, Right, SecType, Side
from ibkit.trading.events import Operation
from ibkit.trading.risk import PAPER_LIMITS, Holding, State, Usage, check
from risk_cases import (
    LIVE,
    bracket,
    case,
    foreign,
    holding,
    limit_order,
    markets,
    oca,
    ours,
    read,
    sale,
    spread,
    spread_order,
    state_of,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")
OPTION = {"quote": quote(1, "0.62", "0.63"), "planned_stop": Decimal("3.10")}


@pytest.mark.parametrize(
    ("price", "quantity", "limits", "state"),
    [
        ("100", "999.99", PAPER_LIMITS, State.OK),
        ("100", "1000", PAPER_LIMITS, State.OK),
        ("100", "1000.01", PAPER_LIMITS, State.REFUSES),
        ("100000", "1", PAPER_LIMITS, State.OK),
        ("100001", "1", PAPER_LIMITS, State.REFUSES),
        ("24999", "1", LIVE, State.OK),
        ("25000", "1", LIVE, State.OK),
        ("25001", "1", LIVE, State.REFUSES),
    ],
)
def test_the_value_of_an_order(price, quantity, limits, state):
    reading = read("RC-08", case(limit_order(price, quantity), limits=limits))

    assert (reading.name, reading.state) == ("max_notional", state)
    assert reading.headroom == Decimal(reading.limit) - Decimal(price) * Decimal(quantity)


def test_the_refusal_of_a_dollar_too_much():
    assert read("RC-08", case(limit_order("25001"), limits=LIVE)).objection.text == (
        "Order exceeds limit max_notional: 25001 > 25000"
    )


def test_what_has_no_value_is_refused():
    pounds = dataclasses.replace(SPY, currency="GBP")
    unpriced = read("RC-08", case(stock_ticket("1"), quote=None))
    foreign_money = read("RC-08", case(limit_order("1", contract=pounds)))

    assert (unpriced.state, unpriced.objection.text) == (
        State.NOT_KNOWN,
        "The order cannot be valued: a price is missing",
    )
    assert foreign_money.objection.text == "The order cannot be valued in USD: no exchange rate of GBP is known"
    assert foreign_money.value == "GBP"
    assert unpriced.value == "not computable"
    off = dataclasses.replace(PAPER_LIMITS, max_order_value=None)
    assert state_of("RC-08", case(stock_ticket("1"), quote=None, limits=off)) is State.OFF


@pytest.mark.parametrize(("rate", "state"), [("1.25", State.OK), ("1.2500001", State.REFUSES), ("0.0064", State.OK)])
def test_the_limit_is_in_dollars(rate, state):
    contract = dataclasses.replace(SPY, currency="XXX")
    given = case(limit_order("80000", contract=contract), rates={"XXX": Decimal(rate)})

    assert state_of("RC-08", given) is state


@pytest.mark.parametrize(("quantity", "state"), [("62", State.OK), ("63", State.REFUSES)])
def test_a_spread_is_bounded_by_what_it_may_lose(quantity, state):
    legs = spread(("629", -1, Right.PUT), ("624", 1, Right.PUT))
    given = case(
        spread_order(legs, "-1.00", quantity), limits=LIVE, markets=markets(legs, ("2", "2.02"), ("0.98", "1.02"))
    )

    assert state_of("RC-08", given) is state  # 400 USD each


# -- RC-13 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "side", "quantity", "state"),
    [
        ("19989", Side.BUY, "10", State.OK),
        ("19990", Side.BUY, "10", State.OK),
        ("19991", Side.BUY, "10", State.REFUSES),
        ("-19989", Side.SELL, "10", State.OK),
        ("-19990", Side.SELL, "10", State.OK),
        ("-19991", Side.SELL, "10", State.REFUSES),
        ("-5", Side.BUY, "20005", State.OK),  # turns it round: 20,000 long
        ("-5", Side.BUY, "20006", State.REFUSES),
    ],
)
def test_shares_held_after_the_order(held, side, quantity, state):
    reading = read("RC-13", case(stock_ticket(quantity, side=side), positions=holding(held)))

    assert (reading.name, reading.state) == ("max_position", state)


@pytest.mark.parametrize(("waiting", "state"), [("99", State.OK), ("100", State.OK), ("101", State.REFUSES)])
@pytest.mark.parametrize("whose", ["ours", "theirs", "half"])
def test_open_orders_count_as_if_they_were_filled(waiting, state, whose):
    quantity = Decimal(waiting)
    mine, other = {"ours": (quantity, 0), "theirs": (0, quantity), "half": (quantity - 50, Decimal(50))}[whose]
    usage = Usage(open=(ours(limit_order("50", str(mine))),) if mine else ())
    others = (foreign(remaining=str(other)),) if other else ()
    given = case(stock_ticket("100"), positions=holding("19800"), usage=usage, others=others)

    assert state_of("RC-13", given) is state


@pytest.mark.parametrize(("second", "state"), [("50", State.OK), ("51", State.REFUSES)])
def test_two_open_orders_of_ours_may_both_fill(second, state):
    usage = Usage(open=(ours(limit_order("50", "50"), "ib-1"), ours(limit_order("51", second), "ib-2")))

    assert state_of("RC-13", case(stock_ticket("100"), positions=holding("19800"), usage=usage)) is state


def test_the_other_side_is_not_expected_to_fill():
    usage = Usage(open=(ours(limit_order("150", "500", side=Side.SELL)),))

    given = case(stock_ticket("100"), positions=holding("19901"), usage=usage, others=(foreign(Side.SELL),))
    assert state_of("RC-13", given) is State.REFUSES


def test_what_is_filled_already_is_not_counted_twice():
    usage = Usage(open=(ours(limit_order("50", "100"), "ib-part"),))
    facts = {"positions": holding("19850"), "usage": usage}

    assert state_of("RC-13", case(stock_ticket("100"), **facts)) is State.REFUSES
    assert state_of("RC-13", case(stock_ticket("100"), filled={"ib-part": Decimal(50)}, **facts)) is State.OK
    assert state_of("RC-13", case(stock_ticket("101"), filled={"ib-part": Decimal(50)}, **facts)) is State.REFUSES
    assert state_of("RC-13", case(stock_ticket("150"), filled={"ib-part": Decimal(999)}, **facts)) is State.OK


def test_of_an_oca_group_the_largest_order_counts_also_while_it_stands():
    group = tuple(ours(limit_order("50", q), f"ib-{q}", group="ib-group") for q in ("100", "150"))
    both = {"positions": holding("19750"), "usage": Usage(open=group)}

    assert state_of("RC-13", case(stock_ticket("100"), **both)) is State.OK
    assert state_of("RC-13", case(stock_ticket("101"), **both)) is State.REFUSES
    assert state_of("RC-13", oca(limit_order("50", "100"), limit_order("49", "100"), **both)) is State.OK
    assert state_of("RC-13", oca(limit_order("50", "99"), limit_order("49", "101"), **both)) is State.REFUSES


def test_a_change_does_not_count_what_it_replaces():
    usage = Usage(open=(ours(limit_order("50", "100"), "ib-old"),))
    change = {
        "operation": Operation.MODIFY,
        "replaces": foreign(remaining="100", ref="ib-old"),
        "positions": holding("19900"),
        "usage": usage,
        "others": (foreign(remaining="100", ref="ib-old"),),
    }

    assert state_of("RC-13", case(limit_order("51", "100"), **change)) is State.OK
    assert state_of("RC-13", case(limit_order("51", "101"), **change)) is State.REFUSES
    other = (foreign(remaining="1", order_id="8"),)
    assert state_of("RC-13", case(limit_order("51", "100"), **{**change, "others": other})) is State.REFUSES


@pytest.mark.parametrize(("held", "state"), [("399", State.OK), ("400", State.OK), ("401", State.REFUSES)])
def test_on_live_the_value_of_a_position_is_bounded(held, state):
    given = case(limit_order("100", "100"), limits=LIVE, positions=holding(held))

    assert state_of("RC-13", given) is state


def test_the_value_of_options_and_of_other_money():
    ticket = sale("100", side=Side.BUY, order_type=stock_ticket("1").order_type)
    limits = dataclasses.replace(LIVE, max_option_contracts=None)

    assert state_of("RC-13", case(ticket, limits=limits, quote=quote(1, "4.9", "5.00"))) is State.OK
    assert state_of("RC-13", case(ticket, limits=limits, quote=quote(1, "4.9", "5.01"))) is State.REFUSES
    assert state_of("RC-13", case(ticket, limits=limits, quote=None)) is State.NOT_KNOWN
    pounds = dataclasses.replace(SPY, currency="GBP")
    assert state_of("RC-13", case(limit_order("1", contract=pounds), limits=LIVE)) is State.NOT_KNOWN
    assert state_of("RC-13", case(ticket, quote=quote(1, "4.9", "5.01"))) is State.OK  # shares alone are bounded


@pytest.mark.parametrize("missing", [{"positions": None, "position": None}, {"others": None}])
def test_a_position_that_is_not_known_refuses(missing):
    assert state_of("RC-13", case(**missing)) is State.NOT_KNOWN


def test_a_position_given_alone_has_to_do():
    assert state_of("RC-13", case(positions=None, position=Decimal(19_990))) is State.OK
    assert state_of("RC-13", case(positions=None, position=Decimal(19_991))) is State.REFUSES
    strangers = oca(limit_order("1"), limit_order("1", contract=option()), positions=None, limits=LIVE)
    assert state_of("RC-13", strangers) is State.NOT_KNOWN


def test_position_limits_can_be_off_and_combinations_are_bounded_elsewhere():
    off = dataclasses.replace(PAPER_LIMITS, max_position=None)
    legs = spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))

    assert state_of("RC-13", case(limits=off)) is State.OFF
    assert read("RC-13", case(spread_order(legs, "1"))).value == "no position grows"
    only_shares = dataclasses.replace(LIVE, max_position_value=None)
    assert read("RC-13", case(limits=only_shares, positions=holding("900"))).headroom == 90


def test_the_tightest_of_shares_and_value_is_shown():
    given = case(limit_order("100", "10"), limits=LIVE, positions=holding("0"))

    assert read("RC-13", given).headroom == 990


def test_bracket_children_that_open_add_up_with_their_parent():
    given = bracket(limit_order("10", "15000"), limit_order("10", "5001"), positions=holding("0"))

    assert read("RC-13", given).value == "20001"
    assert given.group is GroupKind.BRACKET


# -- RC-14 -----------------------------------------------------------------------------------------------------------


def worth(*values: str | None) -> dict:
    return {
        Conid(n): Holding(quantity=Decimal(1), value_usd=None if v is None else Decimal(v))
        for n, v in enumerate(values, start=1)
    }


@pytest.mark.parametrize(
    ("values", "nlv", "limits", "state"),
    [
        (("4998999",), "1000000", PAPER_LIMITS, State.OK),
        (("4999000",), "1000000", PAPER_LIMITS, State.OK),
        (("4999000.01",), "1000000", PAPER_LIMITS, State.REFUSES),
        (("2000000", "-2999000"), "1000000", PAPER_LIMITS, State.OK),
        (("2000000", "-2999001"), "1000000", PAPER_LIMITS, State.REFUSES),
        (("9000",), "10000", LIVE, State.OK),
        (("9000.01",), "10000", LIVE, State.REFUSES),
        ((), "0", PAPER_LIMITS, State.REFUSES),
        ((), "-5", PAPER_LIMITS, State.REFUSES),
    ],
)
def test_gross_exposure(values, nlv, limits, state):
    given = case(limit_order("100", "10"), limits=limits, positions=worth(*values), net_liquidation=Decimal(nlv))
    reading = read("RC-14", given)

    assert (reading.name, reading.state) == ("max_exposure", state)
    assert (reading.headroom < 0) is (state is State.REFUSES)


@pytest.mark.parametrize(
    "missing", [{"net_liquidation": None}, {"positions": None}, {"quote": None}, {"positions": worth("1", None)}]
)
def test_exposure_that_is_not_known_refuses(missing):
    assert state_of("RC-14", case(stock_ticket("10"), **missing)) is State.NOT_KNOWN
    off = dataclasses.replace(PAPER_LIMITS, max_exposure=None)
    assert state_of("RC-14", case(stock_ticket("10"), limits=off, **missing)) is State.OFF


def test_the_refusal_says_what_is_missing():
    texts = [
        read("RC-14", case(stock_ticket("10"), **missing)).objection.text.removeprefix(
            "The account's exposure is not known: "
        )
        for missing in ({"net_liquidation": None}, {"positions": None}, {"quote": None}, {"positions": worth(None)})
    ]
    assert texts == [
        "net liquidation missing",
        "positions missing",
        "value missing",
        "a position has no value in USD",
    ]


def test_open_orders_of_ours_count_with_what_they_were_valued_at():
    def total(*orders, **facts):
        return read("RC-14", case(limit_order("100", "10"), usage=Usage(open=orders), **facts)).value

    ten = limit_order("50", "10")
    assert total(ours(ten, value="500")) == "1500.00"
    assert total(ours(ten, value="500"), ours(ten, "ib-2", value="700")) == "2200.00"
    assert total(ours(ten, value="500"), filled={"ib-open": Decimal(5)}) == "1250.00"
    assert total(ours(ten, value="500", reduces=True)) == "1000.00"
    assert total(ours(ten, value="500", group="g"), ours(ten, "ib-2", value="700", group="g")) == "1700.00"
    assert total(ours(ten, value="500", reduces=True), ours(ten, "ib-2", value="700")) == "1700.00"
    assert total(ours(ten, "ib-this", value="500")) == "1000.00"
    assert total(ours(ten, value=None)) == "unknown"
    assert total(ours(ten, value=None, group="g"), ours(ten, "ib-2", value="700", group="g")) == "unknown"


def test_of_a_group_that_waits_the_largest_order_counts_wherever_it_stands():
    large, small = ours(stock_ticket("10"), group="g"), ours(stock_ticket("4"), "ib-2", group="g")
    limits = dataclasses.replace(PAPER_LIMITS, max_position=Decimal(100))

    for orders in ((large, small), (small, large)):
        given = case(stock_ticket("1"), limits=limits, usage=Usage(open=orders))
        assert read("RC-13", given).value == "11"


# -- RC-15 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "state"), [("16", State.OK), ("17", State.OK), ("18", State.REFUSES)])
@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
def test_open_short_options(held, state, limits):
    reading = read("RC-15", case(sale("3"), limits=limits, open_short_options=Decimal(held), **OPTION))

    assert (reading.name, reading.state) == ("short_not_allowed", state)


def test_short_options_that_are_not_known_refuse():
    assert state_of("RC-15", case(sale("3"), open_short_options=None)) is State.NOT_KNOWN
    off = dataclasses.replace(PAPER_LIMITS, max_open_short_options=None)
    assert read("RC-15", case(sale("3"), open_short_options=None, limits=off)).limit == "off"


def test_sales_that_may_still_fill_count():
    def short(*orders, **facts):
        return read("RC-15", case(sale("3"), usage=Usage(open=orders), **facts)).value

    assert short() == "3"
    assert short(ours(sale("4"))) == "7"
    assert short(ours(sale("4")), filled={"ib-open": Decimal(1)}) == "6"
    assert short(ours(sale("4"), reduces=True)) == "3"
    assert short(ours(sale("4", side=Side.BUY))) == "3"
    assert short(ours(sale("4"), group="g"), ours(sale("5"), "ib-2", group="g")) == "8"
    assert short(ours(sale("5"), group="g"), ours(sale("4"), "ib-2", group="g")) == "8"
    assert short(ours(sale("4")), ours(sale("5"), "ib-2")) == "12"
    legs = spread(("629", -2, Right.PUT), ("624", 1, Right.PUT))
    assert short(ours(spread_order(legs, "1", "2")), filled={"ib-open": Decimal(1)}) == "4"


def test_covered_legs_are_not_short():
    covered = spread(("629", -1, Right.PUT), ("624", 1, Right.PUT))
    naked = spread(("629", -2, Right.PUT), ("624", 1, Right.PUT))
    facts = {"open_short_options": Decimal(20)}

    assert state_of("RC-15", case(spread_order(covered, "1", "5"), **facts)) is State.OK
    assert state_of("RC-15", case(spread_order(naked, "1", "1"), **facts)) is State.REFUSES
    assert state_of("RC-15", case(spread_order(naked, "1", "1"), open_short_options=Decimal(19))) is State.OK


def test_a_child_that_sells_shares_that_the_account_has_is_not_short():
    """A child is judged although it may only close: it is no exit as long as its parent may open."""

    def of(held):
        shares = stock_ticket("10", side=Side.SELL)
        limits = dataclasses.replace(PAPER_LIMITS, short_stock=False)
        group = bracket(sale("1"), shares, limits=limits, positions=holding(held), open_short_options=Decimal(0))
        return read("RC-15", group)

    assert (of("10").state, of("10").value) == (State.OK, "1")
    assert (of("9").state, of("9").value) == (State.REFUSES, "1")
    assert of("-5").value == "10"


def test_groups_of_short_options():
    put, call = sale("2"), sale("2", contract=option("640", Right.CALL))

    assert read("RC-15", oca(put, call)).value == "2"
    assert state_of("RC-15", oca(put, call, reduces=True)) is State.OK
    assert read("RC-15", bracket(put, call)).value == "4"


@pytest.mark.parametrize(
    ("held", "state"), [("11", State.OK), ("10", State.OK), ("9", State.REFUSES), ("0", State.REFUSES)]
)
def test_live_stock_is_not_sold_short(held, state):
    given = case(stock_ticket("10", side=Side.SELL), limits=LIVE, positions=holding(held))

    assert state_of("RC-15", given) is state
    assert state_of("RC-15", dataclasses.replace(given, limits=PAPER_LIMITS)) is State.OK
    assert state_of("RC-15", case(stock_ticket("10"), limits=LIVE, positions=holding("0"))) is State.OK


def test_what_is_offered_already_cannot_be_sold_again():
    facts = {"limits": LIVE, "positions": holding("10")}
    selling = Usage(open=(ours(limit_order("150", "4", side=Side.SELL)),))

    assert state_of("RC-15", case(stock_ticket("6", side=Side.SELL), usage=selling, **facts)) is State.OK
    refused = read("RC-15", case(stock_ticket("7", side=Side.SELL), usage=selling, **facts))
    assert refused.objection.text == "Selling stock short is not allowed (1 more than the account holds)"
    assert (refused.value, refused.headroom) == ("1", -1)
    theirs = (foreign(Side.SELL, "4"),)
    assert state_of("RC-15", case(stock_ticket("7", side=Side.SELL), others=theirs, **facts)) is State.REFUSES


def test_a_short_position_is_not_made_shorter():
    refused = read("RC-15", case(stock_ticket("10", side=Side.SELL), limits=LIVE, positions=holding("-5")))

    assert refused.value == "10"


@pytest.mark.parametrize("missing", [{"positions": None, "position": None}, {"others": None}])
def test_stock_that_is_not_known_is_not_sold(missing):
    assert state_of("RC-15", case(stock_ticket("1", side=Side.SELL), limits=LIVE, **missing)) is State.NOT_KNOWN


def test_a_future_may_be_sold():
    future = dataclasses.replace(SPY, sec_type=SecType.FUTURE)

    assert state_of("RC-15", case(stock_ticket("1", side=Side.SELL, contract=future), limits=LIVE)) is State.OK


def test_a_stop_that_protects_is_not_held_up_by_any_of_them():
    given = case(stop_order("95", "10", side=Side.SELL), reduces=True, quote=None, net_liquidation=None, positions=None)

    assert check(given).objection is None


def test_an_order_of_another_contract_in_the_group_is_looked_at_too():
    qqq = dataclasses.replace(SPY, conid=Conid(320227571), symbol="QQQ")
    given = oca(limit_order("10", "10"), limit_order("10", "20001", contract=qqq))
    reverse = oca(limit_order("10", "19000", contract=qqq), limit_order("10", "10"))

    assert state_of("RC-13", given) is State.REFUSES
    assert read("RC-13", reverse).headroom == 1000
    assert read("RC-13", oca(limit_order("10", "10"), limit_order("10", "30"))).value == "30"
    assert read("RC-13", oca(limit_order("10", "30"), limit_order("10", "10"))).value == "30"


def test_a_larger_order_of_another_contract_hides_no_position_that_grows_too_far():
    qqq = dataclasses.replace(SPY, conid=Conid(320227571), symbol="QQQ")
    held = {"positions": holding("19990")}

    assert (
        state_of("RC-13", oca(limit_order("10", "11"), limit_order("10", "30", contract=qqq), **held)) is State.REFUSES
    )
    assert state_of("RC-13", oca(limit_order("10", "10"), limit_order("10", "30", contract=qqq), **held)) is State.OK


def test_stock_that_is_held_passes_and_the_options_beside_it_are_counted():
    given = oca(stock_ticket("5", side=Side.SELL), sale("21"), limits=LIVE, positions=holding("5"), others=(foreign(),))
    sold = dataclasses.replace(given, facts=dataclasses.replace(given.facts, position=None))

    assert state_of("RC-15", sold) is State.REFUSES
