"""Numbers as people type them: what could mean two of them is refused by name, with what to write."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

import ibkit.service.web
from ibkit.service.order_wish import OrderChange, OrderWish
from ibkit.service.reading import problems_of
from ibkit.service.web.reading import Form


def typed(value: str) -> Form:
    return Form({"it": (value,)})


@pytest.mark.requirement("UI-14")
@pytest.mark.parametrize(
    "value", ["12,5", "2,5", "1,234", "0,16", "1,23,456", "12,", "1.234,5", "1e3", "1_000", "5 %", "１"]
)
def test_what_may_mean_another_number_stays_text(value: str) -> None:
    assert typed(value).number("it") == value
    assert typed(value).whole("it") == value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12.5", Decimal("12.5")),
        (" 1234 ", Decimal(1234)),
        ("1,234.50", Decimal("1234.50")),
        ("1,234,567", Decimal(1234567)),
        ("−2.5", Decimal("-2.5")),
        (".5", Decimal("0.5")),
        ("", None),
    ],
)
def test_what_means_one_number_is_that(value: str, number: Decimal | None) -> None:
    assert typed(value).number("it") == number


@pytest.mark.requirement("UI-14")
def test_the_interface_says_what_to_write_instead_of_a_comma() -> None:
    _, problems = problems_of(OrderChange, {"limit_price": "12,5"})
    assert problems == [
        ("limit_price", "Expected a number, got a text; write it with a point and without commas, like 12.5")
    ]
    order = {"broker": "mock", "action": "buy", "symbol": "SPY", "qty": "two, or three"}
    assert problems_of(OrderWish, order)[1] == [("qty", "Expected a number, got a text")]


def test_scripts_write_numbers_as_the_server_does() -> None:
    for path in Path(ibkit.service.web.__file__).parent.joinpath("static").glob("*.js"):
        assert "NumberFormat(undefined" not in path.read_text(), path.name
