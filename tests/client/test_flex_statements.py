"""Rows of a statement as transactions: by which ids each is known again, and what of two tellings is one."""

from __future__ import annotations

import re

import pytest

from flex_statements import SECTIONS, activity, statement
from ibkit.client.flex_statements import statements_of
from ibkit.errors import IbkitError
from ibkit.portfolio.transactions import Paid, Traded

pytestmark = pytest.mark.requirement("FUT-08")

TRADE = re.search(r'<Trade [^>]*levelOfDetail="EXECUTION"/>', SECTIONS)
CASH = re.search(r'<CashTransaction [^>]*levelOfDetail="DETAIL"[^>]*/>', SECTIONS, re.DOTALL)
assert TRADE is not None
assert CASH is not None


def told(found: str, sections: str):
    (one,) = statements_of(activity(statement(SECTIONS.replace(found, sections))))
    return one.transactions


def test_a_trade_that_its_own_statement_takes_back_is_known_by_its_execution() -> None:
    """Else the live fill of it would stay, as a position that there is not."""
    back = TRADE[0].replace('"ExchTrade"', '"TradeCancel"').replace('"33501"', '"33502"')
    back = back.replace('tradeID="7700112233"', 'tradeID="7700112234" origTradeID="7700112233"')
    back = back.replace('buySell="SELL"', 'buySell="SELL (Ca.)"').replace('quantity="-1"', 'quantity="1"')
    good, cancelled = (each for each in told(TRADE[0], TRADE[0] + back) if isinstance(each, Traded))
    assert "exec:0000e0d5.6a4b1c2d.01.01" in good.ids
    assert (cancelled.is_cancellation, cancelled.cancels) == (True, ("trade:7700112233",))
    assert not [each for each in cancelled.ids if each.startswith("exec:")]


def test_an_execution_that_two_trades_name_is_an_id_of_neither() -> None:
    other = TRADE[0].replace('"33501"', '"33502"').replace("7700112233", "7700112234")
    ids = [each.ids for each in told(TRADE[0], TRADE[0] + other) if isinstance(each, Traded)]
    assert ids == [("trade-tx:33501", "trade:7700112233"), ("trade-tx:33502", "trade:7700112234")]


def test_payments_without_an_id_are_told_apart_by_their_number_among_those_that_say_the_same() -> None:
    plain = CASH[0].replace('transactionID="33777"', 'transactionID=""')
    three = [each.ids for each in told(CASH[0], plain * 3) if isinstance(each, Paid)]
    two = [each.ids for each in told(CASH[0], plain * 2) if isinstance(each, Paid)]
    assert len(set(three)) == 3
    assert three[:2] == two


def test_what_was_paid_for_a_bond_is_not_made_of_its_price() -> None:
    """It is in per cent of the face."""
    bond = TRADE[0].replace('assetCategory="OPT"', 'assetCategory="BOND"').replace('multiplier="100"', 'multiplier="1"')
    bond = bond.replace('quantity="-1"', 'quantity="-10000"').replace('tradePrice="2.5"', 'tradePrice="98.5"')
    bond = re.sub(r'tradeMoney="[^"]*"', 'tradeMoney="-9850"', re.sub(r'proceeds="[^"]*"', 'proceeds=""', bond))
    (trade,) = (each for each in told(TRADE[0], bond) if isinstance(each, Traded))
    assert trade.proceeds == 9850
    with pytest.raises(IbkitError) as caught:
        told(TRADE[0], bond.replace('tradeMoney="-9850"', 'tradeMoney=""'))
    assert (caught.value.code, "proceeds" in caught.value.message) == ("E-FLEX-STATEMENT", True)
