"""The risk controls: at the limit, one beyond it, and with an input missing."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import GRID, START, option, quote, stock_ticket
from ibkit.model import AccountId, Contract, Environment, Key, OrderId, OrderType, SecType, Side
from ibkit.trading.events import Stage
from ibkit.trading.intent import IntentState
from ibkit.trading.limits import LIVE_LIMITS, PAPER_LIMITS, Facts, check, default_limits, order_value
from trading_room import make_room

LIVE = AccountId("U1234567")
FACTS = Facts(
    broker_is_paper=True,
    quote=quote(1, "100.00", "100.00"),
    quote_at=START,
    increments=GRID,
    position=Decimal(0),
    open_short_options=Decimal(0),
)
LIVE_FACTS = dataclasses.replace(FACTS, broker_is_paper=False, live_confirmed=True)


def control(ticket, facts=FACTS, limits=PAPER_LIMITS, *, stage=Stage.SEND, age_s=0.0, now=START):
    objection = check(
        ticket, facts, limits, stage=stage, now=now + timedelta(seconds=age_s), expires_at=START + timedelta(seconds=30)
    )
    return None if objection is None else (objection.control, objection.name)


def sale(quantity="3", **changes):
    return stock_ticket(quantity, contract=option(), side=Side.SELL, **changes)


@pytest.mark.requirement("TRD-18", "CFG-05", "OPT-08")
@pytest.mark.parametrize(
    ("account", "limits", "facts", "code"),
    [
        ("DU1", PAPER_LIMITS, FACTS, None),
        ("DF1", PAPER_LIMITS, FACTS, None),
        ("U1", PAPER_LIMITS, FACTS, "E-ACC-ENV"),
        ("DU1", PAPER_LIMITS, LIVE_FACTS, "E-ACC-ENV"),
        ("DU1", PAPER_LIMITS, dataclasses.replace(FACTS, broker_is_paper=None), "E-ACC-ENV"),
        ("DU1", LIVE_LIMITS, LIVE_FACTS, "E-ACC-ENV"),
        ("U1", LIVE_LIMITS, FACTS, "E-ACC-ENV"),
        ("U1", LIVE_LIMITS, dataclasses.replace(LIVE_FACTS, live_confirmed=False), "E-LIVE"),
        ("U1", LIVE_LIMITS, LIVE_FACTS, None),
    ],
)
def test_only_four_words_that_agree_let_an_order_out(account, limits, facts, code):
    ticket = stock_ticket("1", account_id=AccountId(account))
    objection = check(ticket, facts, limits, stage=Stage.SEND, now=START, expires_at=START)

    assert (None if objection is None else objection.code) == code


@pytest.mark.requirement("TRD-18")
@pytest.mark.parametrize(
    ("quantity", "limits", "facts", "account", "refused"),
    [
        ("1000", PAPER_LIMITS, FACTS, "DU1", None),
        ("1001", PAPER_LIMITS, FACTS, "DU1", ("RC-08", "max_notional")),
        ("10001", PAPER_LIMITS, FACTS, "DU1", ("RC-07", "max_quantity")),
        ("250", LIVE_LIMITS, LIVE_FACTS, "U1", None),
        ("251", LIVE_LIMITS, LIVE_FACTS, "U1", ("RC-08", "max_notional")),
        ("501", LIVE_LIMITS, LIVE_FACTS, "U1", ("RC-07", "max_quantity")),
    ],
)
def test_shares_are_bounded_by_number_and_by_value(quantity, limits, facts, account, refused):
    assert control(stock_ticket(quantity, account_id=AccountId(account)), facts, limits) == refused


@pytest.mark.requirement("TRD-18")
def test_an_order_worth_one_dollar_more_than_the_live_limit_is_refused():
    facts = dataclasses.replace(LIVE_FACTS, quote=quote(1, "25001", "25001"))

    objection = check(
        stock_ticket("1", account_id=LIVE), facts, LIVE_LIMITS, stage=Stage.SEND, now=START, expires_at=START
    )

    assert objection.text == "Order exceeds limit max_notional: 25001 > 25000"


@pytest.mark.requirement("TRD-18")
@pytest.mark.parametrize(
    ("quantity", "refused"), [("10", None), ("11", ("RC-07", "max_quantity")), ("1.5", ("RC-07", "whole_contracts"))]
)
def test_option_contracts_are_bounded_and_whole(quantity, refused):
    facts = dataclasses.replace(FACTS, planned_stop=Decimal("3.10"), quote=quote(1, "0.62", "0.63"))

    assert control(sale(quantity), facts) == refused


@pytest.mark.requirement("TRD-18")
def test_a_short_option_counts_with_its_loss_at_the_stop_or_with_its_margin():
    facts = dataclasses.replace(FACTS, quote=quote(1, "0.62", "0.63"))

    assert order_value(sale(), dataclasses.replace(facts, planned_stop=Decimal("3.10"))) == Decimal("744.00")
    assert order_value(sale(), dataclasses.replace(facts, underlying_price=Decimal(630))) == Decimal(37_686)
    assert order_value(sale(), facts) is None
    assert control(sale(), facts) == ("RC-08", "max_notional")  # not computable: refused


@pytest.mark.requirement("TRD-18")
@pytest.mark.parametrize(
    ("held", "refused"),
    [("17", None), ("18", ("RC-15", "open_short_options")), (None, ("RC-15", "open_short_options"))],
)
def test_open_short_options_are_counted(held, refused):
    facts = dataclasses.replace(
        FACTS,
        quote=quote(1, "0.62", "0.63"),
        planned_stop=Decimal("3.10"),
        open_short_options=None if held is None else Decimal(held),
    )

    assert control(sale(), facts) == refused


@pytest.mark.requirement("TRD-18")
@pytest.mark.parametrize(
    ("held", "refused"), [("10", None), ("9", ("RC-15", "short_not_allowed")), (None, ("RC-15", "short_not_allowed"))]
)
def test_live_stock_is_not_sold_short(held, refused):
    facts = dataclasses.replace(LIVE_FACTS, position=None if held is None else Decimal(held))

    assert control(stock_ticket("10", side=Side.SELL, account_id=LIVE), facts, LIVE_LIMITS) == refused


@pytest.mark.requirement("TRD-18")
@pytest.mark.parametrize(
    ("side", "limit", "refused"),
    [
        (Side.BUY, "110.00", None),
        (Side.BUY, "110.05", ("RC-10", "price_collar")),
        (Side.SELL, "90.00", None),
        (Side.SELL, "89.95", ("RC-10", "price_collar")),
        (Side.BUY, "50.00", None),  # waits below the market: it can only fill better
        (Side.SELL, "200.00", None),
    ],
)
def test_the_collar_holds_on_the_side_that_hurts(side, limit, refused):
    ticket = stock_ticket("1", side=side, order_type=OrderType.LIMIT, limit_price=Decimal(limit))

    assert control(ticket) == refused


@pytest.mark.requirement("TRD-18", "TRD-15")
@pytest.mark.parametrize(
    ("stop", "grid", "refused"),
    [
        ("3.10", GRID, None),
        ("3.12", GRID, ("RC-12", "tick_size")),
        ("0", GRID, ("RC-12", "tick_size")),
        ("3.10", None, ("RC-12", "tick_size")),
    ],
)
def test_prices_lie_on_the_grid(stop, grid, refused):
    ticket = stock_ticket("1", order_type=OrderType.STOP, stop_price=Decimal(stop))

    assert control(ticket, dataclasses.replace(FACTS, increments=grid)) == refused


@pytest.mark.requirement("TRD-18")
def test_age_and_freshness():
    assert control(stock_ticket("1"), age_s=5) is None
    assert control(stock_ticket("1"), age_s=5.1) == ("RC-09", "quote_stale")
    assert control(stock_ticket("1"), age_s=31) == ("RC-26", "intent_expired")
    assert control(stock_ticket("1"), stage=Stage.CONFIRM, age_s=30) is None
    assert control(stock_ticket("1"), dataclasses.replace(FACTS, quote=None)) == ("RC-09", "quote_stale")


@pytest.mark.requirement("TRD-18")
def test_kinds_of_contract():
    future = Contract(conid=1, symbol="ES", sec_type=SecType.FUTURE)

    assert control(stock_ticket("1", contract=future)) is None
    assert control(stock_ticket("1", contract=future, account_id=LIVE), LIVE_FACTS, LIVE_LIMITS) == (
        "RC-05",
        "sectype_not_allowed",
    )


@pytest.mark.requirement("TRD-14", "TRD-18")
def test_what_makes_a_position_smaller_is_not_held_up_by_a_missing_quote():
    facts = Facts(broker_is_paper=True, reduces=True)

    assert control(stock_ticket("3", contract=option(), side=Side.BUY), facts) is None
    assert LIVE_LIMITS.environment is Environment.LIVE


@pytest.mark.requirement("TRD-18", "CFG-05", "OPT-08")
@pytest.mark.anyio
@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("paper", [True, False, None])
@pytest.mark.parametrize("account", ["DU1234567", "U1234567"])
@pytest.mark.parametrize("environment", list(Environment))
async def test_only_a_consistent_environment_may_send(environment, account, paper, confirmed):
    """Setting x account prefix x the broker's isPaper (or its silence) x --live: what does not agree sends nothing."""
    room = make_room(limits=default_limits(environment), live_confirmed=confirmed)
    room.broker.paper = paper
    ticket = stock_ticket("1", account_id=AccountId(account))
    consistent = {
        (Environment.PAPER, "DU1234567", True, True),
        (Environment.PAPER, "DU1234567", True, False),
        (Environment.LIVE, "U1234567", False, True),
    }

    outcome = await room.gateway.submit(ticket, key=Key("key-0123456789abcdef"))
    room.broker.calls.clear()
    cancel = await room.gateway.cancel(ticket.account_id, OrderId("1"), key=Key("key-cancel-0123456789"))

    allowed = (environment, account, paper, confirmed) in consistent
    assert bool(room.broker.accepted) is allowed
    assert (outcome.state is IntentState.REJECTED_LOCAL) is not allowed
    assert (cancel.state is IntentState.REJECTED_LOCAL) is not allowed
    if not allowed:
        assert room.broker.calls == []
        assert outcome.error.code in ("E-ACC-ENV", "E-LIVE")


@pytest.mark.requirement("TRD-18")
def test_a_value_in_another_currency_is_not_compared_with_a_limit_in_usd():
    ticket = stock_ticket("1")
    foreign = dataclasses.replace(ticket, contract=dataclasses.replace(ticket.contract, currency="GBP"))
    assert control(foreign) == ("RC-08", "max_notional")
    assert control(foreign, dataclasses.replace(FACTS, reduces=True)) is None
