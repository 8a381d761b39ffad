"""How limits are told: value, source, and what is used up of those that are counted."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from ibkit.trading.risk import LIMITS, PAPER_LIMITS, RiskState, Usage, standings
from risk_cases import NOW

pytestmark = pytest.mark.requirement("TRD-18")


def told(usage, *, counted=True, sources=(), **limits):
    state = RiskState(
        limits=dataclasses.replace(PAPER_LIMITS, **limits),
        halts=(),
        usage=usage,
        generation=0,
        serial=0,
        sources=sources,
    )
    found = standings(state, counted=counted)
    assert [each.name for each in found] == list(LIMITS)
    return {each.name: (each.value, each.used, each.left, each.source) for each in found}


def test_what_is_counted_is_told_with_what_is_left():
    found = told(
        Usage(sent_today=3, value_today=Decimal("1200.50"), rejects=(NOW, NOW)),
        orders_per_day=10,
        max_daily_value=Decimal(5000),
        sources=(("orders_per_day", "account DU1"),),
    )

    assert found["orders_per_day"] == ("10", Decimal(3), Decimal(7), "account DU1")
    assert found["max_daily_value"] == ("5000", Decimal("1200.50"), Decimal("3799.50"), "default")
    assert found["reject_breaker"][1] == 2
    assert found["max_shares"][1:3] == (None, None)


def test_a_value_of_the_day_that_is_not_known_is_not_told_as_none():
    assert told(Usage(value_today=None))["max_daily_value"][1:3] == (None, None)


def test_a_limit_that_is_off_has_nothing_left_and_an_open_list_allows_any():
    found = told(Usage(sent_today=3), orders_per_day=None, allowed_symbols=None)

    assert found["orders_per_day"] == ("off", Decimal(3), None, "default")
    assert found["allowed_symbols"][0] == "any"


def test_without_an_account_nothing_is_said_of_what_is_used():
    assert told(Usage(sent_today=3), counted=False, orders_per_day=10)["orders_per_day"] == (
        "10",
        None,
        None,
        "default",
    )
