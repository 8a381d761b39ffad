"""What options come to at expiry: told of every price, drawn around the strikes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkit.service.web.payoff import PayoffLeg, draw


def leg(right: str, strike: int, quantity: int, price: str, units: int = 100) -> PayoffLeg:
    return PayoffLeg(
        right=right,
        strike=Decimal(strike),
        quantity=Decimal(quantity),
        price=Decimal(price),
        multiplier=Decimal(units),
    )


@pytest.mark.requirement("OPT-05")
@pytest.mark.parametrize(
    ("legs", "most", "least", "even"),
    [
        ([leg("P", 400, -1, "2")], 200, -39_800, [398]),
        ([leg("P", 400, -1, "30")], 3_000, -37_000, [370]),
        ([leg("C", 400, -1, "2")], 200, None, [402]),
        ([leg("C", 400, 2, "2")], None, -400, [402]),
        ([leg("P", 400, -1, "2", 10)], 20, -3_980, [398]),
        ([leg("P", 400, -1, "2"), leg("C", 410, -1, "3")], 500, None, [395, 415]),
        ([leg("P", 400, -1, "1"), leg("P", 395, 1, "0")], 100, -400, [399]),
        (
            [leg("P", 400, -1, "1"), leg("P", 395, 1, "0"), leg("C", 410, -1, "1"), leg("C", 415, 1, "0")],
            200,
            -300,
            [398, 412],
        ),
    ],
    ids=["put", "dear put", "call", "bought calls", "ten units", "strangle", "vertical", "condor"],
)
def test_most_and_least_are_of_every_price(
    legs: list[PayoffLeg], most: int | None, least: int | None, even: list[int]
) -> None:
    found = draw(legs)
    assert found is not None
    assert (found.most, found.least, list(found.break_even)) == (most, least, even)
    assert found.bottom < 0 < found.top, "both sides of each break-even are in the picture"


def test_without_options_nothing_is_drawn() -> None:
    assert draw([]) is None
