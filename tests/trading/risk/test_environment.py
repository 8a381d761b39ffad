"""RC-01 and RC-29: whose money it is, and that a person has said so."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from decimal import Decimal
from itertools import product

import pytest

from fakes import SPY, quote, stock_ticket
from ibkit.model import AccountId, Environment, Side
from ibkit.trading.events import Operation
from ibkit.trading.risk import LIVE_LIMITS, PAPER_LIMITS, State, Usage, check, default_limits
from risk_cases import LIVE, NOW, case, holding, left, limit_order, read, state_of

pytestmark = pytest.mark.requirement("TRD-18", "OPT-08")


@pytest.mark.parametrize(
    ("environment", "account", "broker_paper", "live_said"),
    list(product(Environment, ("DU1234567", "U1234567"), (True, False), (True, False))),
)
def test_of_sixteen_ways_to_combine_four_words_two_may_send(environment, account, broker_paper, live_said):
    limits = PAPER_LIMITS if environment is Environment.PAPER else LIVE
    given = case(
        stock_ticket("1"),
        limits=limits,
        account=AccountId(account),
        broker_is_paper=broker_paper,
        live_confirmed=live_said,
    )
    agreed = {
        (Environment.PAPER, "DU1234567", True, False),
        (Environment.LIVE, "U1234567", False, True),
    }

    objection = check(given).objection

    if (environment, account, broker_paper, live_said) in agreed:
        assert objection is None
    else:
        assert objection.control == "RC-01"
        assert objection.code in ("E-ACC-ENV", "E-LIVE")
    cancel = check(dataclasses.replace(given, operation=Operation.CANCEL, tickets=()))
    assert (cancel.objection is None) is (objection is None)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"account": AccountId("U1")}, "Account U1 is a live account but IBKR_ENV=paper"),
        ({"broker_is_paper": None}, "IBKR has not said whether this login is paper or live"),
        ({"broker_is_paper": False}, "IBKR says this login is live, but IBKR_ENV=paper"),
        ({"live_confirmed": True}, "Live trading was asked for, but IBKR_ENV=paper"),
    ],
)
def test_a_mismatch_says_which_words_differ(changes, text):
    reading = read("RC-01", case(**changes))

    assert (reading.name, reading.objection.name, reading.objection.text) == ("environment_mismatch",) * 2 + (text,)
    assert reading.objection.code == "E-ACC-ENV"
    assert reading.state is (State.NOT_KNOWN if "has not said" in text else State.REFUSES)


def test_the_broker_that_says_paper_stops_live_money():
    reading = read("RC-01", case(limits=LIVE, broker_is_paper=True))

    assert reading.objection.text == "IBKR says this login is paper, but IBKR_ENV=live"


def test_live_money_needs_a_persons_word():
    reading = read("RC-01", case(limits=LIVE, live_confirmed=False))

    assert (reading.objection.code, reading.objection.text) == ("E-LIVE", "Live trading not confirmed")
    assert (reading.name, reading.value, reading.limit) == ("live_confirmed", "no", "yes")


def test_a_paper_account_of_an_advisor_is_paper():
    assert state_of("RC-01", case(account=AccountId("DF123"))) is State.OK


# NOW is 20 November in New York.
@pytest.mark.parametrize(
    ("until", "state"),
    [
        (None, State.REFUSES),
        (date(2026, 11, 19), State.REFUSES),
        (date(2026, 11, 20), State.OK),
        (date(2026, 11, 21), State.OK),
        (date(2026, 12, 19), State.OK),
        (date(2026, 12, 20), State.OK),
        (date(2026, 12, 21), State.REFUSES),
    ],
)
def test_live_trading_is_enabled_for_thirty_days_at_most(until, state):
    limits = dataclasses.replace(LIVE, live_enabled_until=until)
    reading = read("RC-01", case(limits=limits))

    assert reading.state is state
    if state is State.REFUSES:
        assert (reading.name, reading.objection.code) == ("live_enabled_until", "E-LIVE")
        assert ("days ahead" in reading.objection.text) is (until is not None and until > date(2026, 12, 1))
    closing = case(stock_ticket("10", side=Side.SELL), limits=limits, positions=holding("10"))
    assert state_of("RC-01", closing) is State.OK


def test_the_day_of_live_trading_ends_at_midnight_in_new_york():
    limits = dataclasses.replace(LIVE, live_enabled_until=date(2026, 11, 20))
    midnight = NOW.replace(hour=5, minute=0) + timedelta(days=1)

    assert state_of("RC-01", case(limits=limits, now=midnight - timedelta(seconds=1))) is State.OK
    assert state_of("RC-01", case(limits=limits, now=midnight)) is State.REFUSES


@pytest.mark.parametrize("environment", list(Environment))
def test_defaults_are_those_of_the_environment(environment):
    assert default_limits(environment).environment is environment
    assert LIVE_LIMITS.live_enabled_until is None


# -- RC-29 -----------------------------------------------------------------------------------------------------------

SENT = Usage(sent_today=1, value_today=Decimal(0))


@pytest.mark.parametrize(
    ("quantity", "said", "usage", "state"),
    [
        ("49.99", False, SENT, State.OK),
        ("50", False, SENT, State.OK),
        ("50.01", False, SENT, State.REFUSES),
        ("50.01", True, SENT, State.OK),
        ("1", False, Usage(), State.REFUSES),
        ("1", True, Usage(), State.OK),
        ("1", None, Usage(), State.OK),  # whoever asked for live trading by name has confirmed
    ],
)
def test_a_large_live_order_and_the_first_of_a_day_are_confirmed(quantity, said, usage, state):
    given = case(stock_ticket(quantity), limits=LIVE, usage=usage, order_confirmed=said)
    reading = read("RC-29", given)

    assert reading.state is state
    if reading.objection is not None:
        assert (reading.objection.name, reading.objection.code) == ("confirmation_required", "E-LIVE")


def test_the_confirmation_has_headroom_and_says_why_it_is_needed():
    passed = read("RC-29", case(stock_ticket("49"), limits=LIVE, usage=SENT, order_confirmed=False))
    first = read("RC-29", case(stock_ticket("49"), limits=LIVE, order_confirmed=False))
    large = read("RC-29", case(stock_ticket("51"), limits=LIVE, usage=SENT, order_confirmed=False))

    assert (passed.value, passed.limit, passed.headroom) == ("4900.00", "5000", Decimal("100.00"))
    assert first.objection.text == "The first live order of a day must be confirmed by a person"
    assert large.objection.text == ("A live order above 5000 USD must be confirmed by a person (this one: 5100.00)")


def test_an_order_without_a_value_needs_a_confirmation():
    given = case(limits=LIVE, usage=SENT, order_confirmed=False, quote=None)

    assert (state_of("RC-29", given), read("RC-29", given).value) == (State.NOT_KNOWN, "not known")


def test_a_question_to_the_first_order_does_not_make_it_the_second():
    usage = Usage(sent=(left(name="ib-this"),), sent_today=1)

    assert state_of("RC-29", case(limits=LIVE, usage=usage, order_confirmed=False)) is State.REFUSES


def test_confirmation_can_be_switched_off_in_parts():
    only_first = dataclasses.replace(LIVE, confirm_above=None)
    only_large = dataclasses.replace(LIVE, confirm_first=False)
    many = stock_ticket("200")

    assert state_of("RC-29", case()) is State.OFF
    assert state_of("RC-29", case(many, limits=only_first, usage=SENT, order_confirmed=False)) is State.OK
    assert read("RC-29", case(many, limits=only_first, usage=SENT, order_confirmed=False)).limit == "off"
    assert state_of("RC-29", case(limits=only_large, order_confirmed=False)) is State.OK
    assert state_of("RC-29", case(many, limits=only_large, order_confirmed=False)) is State.REFUSES


def test_a_foreign_currency_counts_with_its_rate():
    contract = dataclasses.replace(SPY, currency="GBP")
    rates = {"USD": Decimal(1), "GBP": Decimal("1.25")}
    facts = {"quote": quote(SPY.conid, "100", "100"), "rates": rates, "order_confirmed": False}
    limit = {"contract": contract}

    assert state_of("RC-29", case(limit_order("100", "40", **limit), limits=LIVE, usage=SENT, **facts)) is State.OK
    assert state_of("RC-29", case(limit_order("100", "41", **limit), limits=LIVE, usage=SENT, **facts)) is State.REFUSES
