"""A position at a price that was heard since it was read."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from ibkit.bootstrap.account_reader import repriced
from ibkit.model import AccountId, Conid, Contract, Position, Quote, SecType

pytestmark = pytest.mark.requirement("SYN-17")

PUT = Contract(Conid(7), "SPY", SecType.OPTION, currency="USD", multiplier=Decimal(100))
SHORT = Position(
    account_id=AccountId("DU1"),
    contract=PUT,
    quantity=Decimal(-2),
    average_price=Decimal("1.00"),
    market_price=Decimal("1.50"),
    market_value=Decimal("-300"),
    realized_pnl=None,
    unrealized_pnl=Decimal("-100"),
)


def test_a_mark_moves_worth_and_result_by_the_same() -> None:
    found = repriced(SHORT, Quote(conid=PUT.conid, mark=Decimal("1.60"), last=Decimal(9)))
    assert (found.market_price, found.market_value, found.unrealized_pnl) == (
        Decimal("1.60"),
        Decimal("-320.00"),
        Decimal("-120.00"),
    )


def test_a_result_that_is_not_known_stays_unknown() -> None:
    unknown = dataclasses.replace(SHORT, unrealized_pnl=None)
    assert repriced(unknown, Quote(conid=PUT.conid, last=Decimal("1.60"))).unrealized_pnl is None


@pytest.mark.parametrize(
    ("position", "quote"),
    [
        (SHORT, Quote(conid=PUT.conid)),
        (SHORT, Quote(conid=PUT.conid, last=Decimal(2), last_is_close=True)),
        (dataclasses.replace(SHORT, market_value=None), Quote(conid=PUT.conid, mark=Decimal(2))),
        (dataclasses.replace(SHORT, market_value=Decimal(-3)), Quote(conid=PUT.conid, mark=Decimal(2))),
        (dataclasses.replace(SHORT, contract=dataclasses.replace(PUT, currency="")), Quote(conid=7, mark=Decimal(2))),
    ],
    ids=["no price", "yesterday's close", "no worth", "not price x quantity x multiplier", "terms not known"],
)
def test_where_a_worth_would_be_a_guess_it_stays_as_it_was_read(position: Position, quote: Quote) -> None:
    assert repriced(position, quote) == position
