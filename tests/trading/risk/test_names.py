"""Limits by name: how they are written, which of two values allows more, and how layers lie over each other."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT, START
from ibkit.errors import ConfigError, NotFound, TradingError
from ibkit.model import Environment, OrderType, SecType, TimeInForce
from ibkit.trading.risk import (
    LAYERS,
    LIMITS,
    LIVE_LIMITS,
    PAPER_LIMITS,
    Layer,
    LimitChange,
    Limits,
    Mode,
    Scope,
    layered,
    loosens,
    read_value,
    show_value,
)
from ibkit.trading.risk.bookkeeping import PENDING_FOR, confirmable, people_needed, prepared, same_person

pytestmark = pytest.mark.requirement("TRD-18")
PAPER, LIVE_ENV = Environment.PAPER, Environment.LIVE


def test_every_field_of_the_limits_has_its_name_and_only_those():
    fields = {field.name for field in dataclasses.fields(Limits)} - {"version", "environment"}

    assert set(LIMITS) == fields
    assert all(name == limit.name for name, limit in LIMITS.items())


@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE_LIMITS], ids=["paper", "live"])
@pytest.mark.parametrize("name", list(LIMITS))
def test_what_is_shown_can_be_read(name, limits):
    value = getattr(limits, name)

    assert read_value(name, show_value(value)) == value
    assert read_value(name, f" {show_value(value)} ") == value
    assert not loosens(name, value, value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_shares", "1,000", Decimal(1000)),
        ("max_shares", "0", Decimal(0)),
        ("max_shares", "OFF", None),
        ("orders_per_second", "0", 0),
        ("orders_per_second", "off", None),
        ("repeat_breaker", "1", 1),
        ("quote_age_s", "2.5", 2.5),
        ("heartbeat_s", "60", 60.0),
        ("heartbeat_s", "off", None),
        ("short_stock", "yes", True),
        ("short_stock", "FALSE", False),
        ("ticks", "on", True),
        ("ticks", "no", False),
        ("market_orders", "Refuse", Mode.REFUSE),
        ("live_enabled_until", "2026-12-20", date(2026, 12, 20)),
        ("live_enabled_until", "off", None),
        ("allowed_symbols", "spy, qqq,", frozenset({"SPY", "QQQ"})),
        ("allowed_symbols", "any", None),
        ("allowed_symbols", "off", None),
        ("allowed_accounts", "none", frozenset()),
        ("sec_types", "stk,OPT", frozenset({SecType.STOCK, SecType.OPTION})),
        ("sec_types", "none", frozenset()),
        ("order_types", "LMT", frozenset({OrderType.LIMIT})),
        ("tifs", "day, gtc", frozenset({TimeInForce.DAY, TimeInForce.GTC})),
    ],
)
def test_values_are_read(name, text, value):
    assert read_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_shares", "many"),
        ("max_shares", "-1"),
        ("max_shares", "NaN"),
        ("max_shares", "Infinity"),
        ("max_shares", ""),
        ("option_collar_floor", "off"),
        ("orders_per_second", "1.5"),
        ("orders_per_second", "-1"),
        ("repeat_breaker", "0"),
        ("reject_breaker", "0"),
        ("quote_age_s", "off"),
        ("short_stock", "maybe"),
        ("market_orders", "on"),
        ("live_enabled_until", "tomorrow"),
        ("allowed_symbols", ","),
        ("sec_types", "STK,HOUSE"),
        ("order_types", "LIMIT"),
        ("no_such_limit", "1"),
    ],
)
def test_what_is_no_value_is_refused_with_a_remedy(name, text):
    with pytest.raises(ConfigError) as caught:
        read_value(name, text)

    assert caught.value.code == "E-VALIDATION"
    assert caught.value.remedy


def test_the_refusal_of_a_value_names_limit_and_reason():
    with pytest.raises(ConfigError) as caught:
        read_value("sec_types", "STK,HOUSE")
    assert caught.value.message.startswith("'STK,HOUSE' is no value of sec_types: HOUSE is none of STK, IND")
    with pytest.raises(ConfigError) as caught:
        read_value("max_shares", "many")
    assert caught.value.message == "'many' is no value of max_shares: a number is needed"


@pytest.mark.parametrize(
    ("name", "tight", "loose"),
    [
        ("max_shares", "500", "501"),
        ("max_shares", "500", "off"),
        ("orders_per_day", "500", "off"),
        ("quote_age_s", "5", "5.1"),
        ("reset_margin_s", "300", "299"),
        ("short_stock", "off", "on"),
        ("ticks", "on", "off"),
        ("regular_hours", "on", "off"),
        ("confirm_first", "on", "off"),
        ("market_orders", "refuse", "warn"),
        ("market_orders", "warn", "off"),
        ("duplicates", "refuse", "off"),
        ("live_enabled_until", "off", "2026-12-01"),
        ("live_enabled_until", "2026-12-01", "2026-12-02"),
        ("allowed_symbols", "SPY", "any"),
        ("allowed_symbols", "SPY", "SPY,QQQ"),
        ("allowed_symbols", "none", "SPY"),
        ("allowed_symbols", "SPY", "QQQ"),  # another name, not one fewer
        ("sec_types", "STK", "STK,OPT"),
        ("confirm_above", "5000", "off"),
    ],
)
def test_which_of_two_values_allows_more(name, tight, loose):
    one, other = read_value(name, tight), read_value(name, loose)

    assert loosens(name, other, one)
    assert not loosens(name, one, one)
    if (tight, loose) != ("SPY", "QQQ"):
        assert not loosens(name, one, other)


# -- layers ----------------------------------------------------------------------------------------------------------

SCOPE = Scope(environment=PAPER, account_id=ACCOUNT, tenant="acme", user="ada", api_key="k1", symbol="SPY")
WHOSE = dict(zip(LAYERS, ("paper", "acme", "ada", ACCOUNT, "k1", "SPY"), strict=True))


def change(value, layer=Layer.ACCOUNT, number=1, name="max_shares", **more):
    fields = {"environment": PAPER, "whose": WHOSE[layer], "by": "ada", "note": "", "at": START}
    return LimitChange(**{"layer": layer, "name": name, "new": value, "number": number, **fields, **more})


def test_the_most_specific_layer_wins_whatever_came_first():
    changes = [change(str(depth + 1), layer, 10 - depth) for depth, layer in enumerate(LAYERS)]

    for depth in range(len(LAYERS)):
        limits, sources = layered(PAPER_LIMITS, changes[: depth + 1], SCOPE)
        assert limits.max_shares == depth + 1
        layer = LAYERS[depth]
        assert sources == (("max_shares", f"{layer.value} {WHOSE[layer]}, change {10 - depth}"),)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_of_somebody_else_does_not_count(layer):
    other = change("7", layer, whose="other")

    limits, sources = layered(PAPER_LIMITS, [other], SCOPE)

    assert (limits, sources) == (PAPER_LIMITS, ())


def test_an_empty_name_is_nobodys():
    nobody = dataclasses.replace(SCOPE, user="", api_key="", symbol="")

    assert [nobody.name(layer) for layer in LAYERS] == ["paper", "acme", "", ACCOUNT, "", ""]


def test_the_version_counts_the_newest_change_that_holds():
    assert layered(PAPER_LIMITS, [], SCOPE)[0].version == "paper-default-1"
    mine, other = change("7", number=3), change("8", Layer.USER, 12, whose="bob")
    assert layered(PAPER_LIMITS, [mine, other], SCOPE)[0].version == "paper-default-1+3"
    assert layered(PAPER_LIMITS, [mine, change("9", Layer.USER, 12)], SCOPE)[0].version == "paper-default-1+12"


def test_a_value_that_was_taken_away_leaves_the_layer_above():
    changes = [change("7", Layer.USER, 1), change("9", number=2), change(None, number=3)]

    limits, sources = layered(PAPER_LIMITS, changes, SCOPE)

    assert (limits.max_shares, limits.version) == (7, "paper-default-1+3")
    assert sources == (("max_shares", "user ada, change 1"),)
    assert layered(PAPER_LIMITS, [change("7"), change(None, number=2)], SCOPE)[0].max_shares == 10_000


def test_what_waits_and_what_is_of_the_other_environment_does_not_count():
    waits = change("7", needs_second=True)
    confirmed = dataclasses.replace(waits, confirmed_by="bob", confirmed_at=START)

    assert layered(PAPER_LIMITS, [waits], SCOPE)[0].max_shares == 10_000
    assert layered(PAPER_LIMITS, [confirmed], SCOPE)[0].max_shares == 7
    assert layered(PAPER_LIMITS, [change("7", environment=LIVE_ENV)], SCOPE)[0].max_shares == 10_000


# -- who must agree --------------------------------------------------------------------------------------------------


def live(value, layer=Layer.ACCOUNT, number=0, name="max_shares", **more):
    whose = {Layer.ENVIRONMENT: "live"}.get(layer, WHOSE[layer])
    return change(value, layer, number, name, environment=LIVE_ENV, **{"whose": whose, **more})


@pytest.mark.parametrize(
    ("value", "second"), [("499", False), ("500", False), ("501", True), ("off", True), (None, False)]
)
def test_a_raise_of_a_live_limit_waits_for_a_second_person(value, second):
    stored = prepared(live(value), [], LIVE_LIMITS)

    assert (stored.needs_second, stored.old, stored.in_force) == (second, "500", not second)
    assert not prepared(change(value), [], PAPER_LIMITS).needs_second


def test_a_layers_own_value_is_what_a_raise_is_held_against():
    own = [live("100", number=1)]

    assert prepared(live("101"), own, LIVE_LIMITS).needs_second
    assert not prepared(live("99"), own, LIVE_LIMITS).needs_second
    assert prepared(live("99"), own, LIVE_LIMITS).old == "100"
    assert prepared(live(None), own, LIVE_LIMITS).needs_second  # back to 500 is a raise
    assert not prepared(live(None), [live("900", number=1)], LIVE_LIMITS).needs_second
    other = [live("100", number=1, whose="U9"), live("100", number=2, name="max_order_value")]
    assert not prepared(live("400"), other, LIVE_LIMITS).needs_second


def test_a_new_layer_is_held_against_every_layer_above():
    account = [live("100", number=1)]

    assert prepared(live("300", Layer.SYMBOL), account, LIVE_LIMITS).needs_second
    assert not prepared(live("90", Layer.SYMBOL), account, LIVE_LIMITS).needs_second
    assert not prepared(live("300", Layer.USER), account, LIVE_LIMITS).needs_second  # the account's still holds
    withdrawn = [*account, live(None, number=2)]
    assert not prepared(live("300", Layer.SYMBOL), withdrawn, LIVE_LIMITS).needs_second
    waiting = [live("900", number=1, needs_second=True)]
    assert prepared(live("600"), waiting, LIVE_LIMITS).needs_second
    lowered = [live("900", number=1, needs_second=True, confirmed_at=START), live("50", number=2)]
    assert prepared(live("60"), lowered, LIVE_LIMITS).needs_second


def test_values_are_stored_as_they_are_shown():
    assert prepared(change("1,000"), [], PAPER_LIMITS).new == "1000"
    assert prepared(change(" qqq , spy", name="allowed_symbols"), [], PAPER_LIMITS).new == "QQQ,SPY"
    assert prepared(change("any", name="allowed_symbols"), [], PAPER_LIMITS).new == "off"
    assert prepared(change(None), [], PAPER_LIMITS).new is None
    with pytest.raises(ConfigError):
        prepared(change(None, name="nothing"), [], PAPER_LIMITS)
    with pytest.raises(ConfigError):
        prepared(change("lots"), [], PAPER_LIMITS)


def test_a_second_person_confirms_in_time_and_once():
    waits = live("900", number=4, needs_second=True)

    done = confirmable([waits], 4, by=" Bob ", at=START + PENDING_FOR)
    assert (done.confirmed_by, done.confirmed_at, done.in_force) == (" Bob ", START + PENDING_FOR, True)
    with pytest.raises(NotFound):
        confirmable([waits], 5, by="bob", at=START)
    with pytest.raises(TradingError, match="another person"):
        confirmable([waits], 4, by=" ADA", at=START)
    with pytest.raises(TradingError, match="more than 24 hours"):
        confirmable([waits], 4, by="bob", at=START + PENDING_FOR + timedelta(microseconds=1))
    with pytest.raises(TradingError, match="in force already"):
        confirmable([done], 4, by="eve", at=START)


def test_a_raise_that_was_overtaken_is_not_confirmed():
    waits = live("900", number=4, needs_second=True)
    elsewhere = [live("50", Layer.USER, 5), live("5", number=6, name="orders_per_day"), live("2", number=3)]

    assert confirmable([waits, *elsewhere, live("9", number=7, needs_second=True)], 4, by="bob", at=START)
    with pytest.raises(TradingError, match="overtaken"):
        confirmable([waits, live("50", number=5)], 4, by="bob", at=START)


def test_names_of_people():
    assert same_person("Ada ", "ada")
    assert not same_person("ada", "bob")
    assert (people_needed(PAPER), people_needed(LIVE_ENV)) == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("max_shares", "many", "a number is needed"),
        ("max_shares", "-1", "a number from 0 on is needed"),
        ("max_shares", "nan", "a number from 0 on is needed"),
        ("orders_per_day", "1.5", "a whole number from 0 on is needed"),
        ("repeat_breaker", "0", "a breaker needs a number from 1 on, or off"),
        ("short_stock", "perhaps", "on or off is needed"),
        ("market_orders", "never", "off, warn or refuse is needed"),
        ("allowed_symbols", ",", "names are needed, with commas between them, or any, or none"),
        ("tifs", "day,GTD,GTX", "GTD, GTX is none of " + ", ".join(tif.value for tif in TimeInForce)),
    ],
)
def test_a_text_that_is_no_value_is_told_why_and_what_the_limit_means(name, text, why):
    with pytest.raises(ConfigError) as caught:
        read_value(name, f" {text} ")

    assert caught.value.code == "E-VALIDATION"
    assert caught.value.message == f"{f' {text} '!r} is no value of {name}: {why}"
    assert caught.value.remedy == f"{name}: {LIMITS[name].meaning}."


def test_a_limit_that_there_is_not_is_told_with_where_they_are_listed():
    with pytest.raises(ConfigError) as caught:
        read_value("max_fun", "1")

    assert caught.value.code == "E-VALIDATION"
    assert caught.value.message == "There is no limit max_fun"
    assert caught.value.remedy == "`ibkit risk show` lists the limits by name."


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("short_stock", "On", True),
        ("short_stock", "yes", True),
        ("short_stock", "TRUE", True),
        ("short_stock", "off", False),
        ("short_stock", "no", False),
        ("short_stock", "False", False),
        ("tifs", "NONE", frozenset()),
        ("tifs", " day , gtc", frozenset({TimeInForce.DAY, TimeInForce.GTC})),
        ("allowed_symbols", "Off", None),
        ("allowed_symbols", "None", frozenset()),
        ("allowed_symbols", "spy, ,qqq", frozenset({"SPY", "QQQ"})),
        ("max_order_value", "1,000.50", Decimal("1000.50")),
        ("heartbeat_s", "Off", None),
        ("heartbeat_s", "1.5", 1.5),
    ],
)
def test_a_value_is_read_in_any_case_and_spacing(name, text, value):
    assert read_value(name, text) == value


def test_seconds_are_shown_without_idle_digits():
    assert (show_value(30.0), show_value(2.5)) == ("30", "2.5")


def test_switches_and_large_numbers_are_shown_as_people_write_them():
    assert (show_value(True), show_value(False), show_value(None)) == ("on", "off", "off")
    assert show_value(Decimal("1E+6")) == "1000000"
    assert prepared(change("1e6"), [], PAPER_LIMITS).new == "1000000"
