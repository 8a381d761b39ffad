"""What a sync writes, and the counts that a person is told; a picture that is none is refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import UnexpectedAnswer
from ibkit.model import AccountId
from ibkit.portfolio.book import Holding, HoldingSource
from ibkit.portfolio.changes import changes_between
from ibkit.portfolio.mapping import holdings_of
from ibkit.portfolio.picture import told_alike
from portfolio_room import NOW, make_picture, make_position


def told(*positions: object) -> tuple[Holding, ...]:
    return holdings_of(positions, [], at=NOW)  # type: ignore[arg-type]


@pytest.mark.requirement("SYN-06")
def test_a_second_sync_of_the_same_writes_nothing() -> None:
    first = changes_between((), told(make_position(), make_position("B", "1", conid=2)), keep_manual=False)
    assert (first.added, first.changed, first.removed, len(first.put)) == (2, 0, 0, 2)
    later = holdings_of([make_position(), make_position("B", "1", conid=2)], [], at=NOW.replace(hour=16))
    second = changes_between(first.after, later, keep_manual=False)
    assert (second.put, second.gone, second.added, second.changed) == ((), (), 0, 0)
    assert second.after == first.after


@pytest.mark.requirement("SYN-06")
def test_a_new_price_is_written_but_is_no_change_of_the_holding() -> None:
    before = told(make_position())
    moved = changes_between(before, told(make_position(market_price=Decimal(111))), keep_manual=False)
    assert (len(moved.put), moved.changed) == (1, 0)
    bought = changes_between(before, told(make_position(quantity="11")), keep_manual=False)
    assert (len(bought.put), bought.changed, bought.added) == (1, 1, 0)
    sold = changes_between(before, (), keep_manual=False)
    assert (sold.gone, sold.removed) == ((("AAPL", 265598, ""),), 1)


@pytest.mark.requirement("SYN-14")
@pytest.mark.parametrize("keep_manual", [False, True])
def test_holdings_by_hand_give_way_to_the_brokers(keep_manual: bool) -> None:
    by_hand = (Holding(symbol="AAPL", units=Decimal(10)), Holding(symbol="GOLD", units=Decimal(3)))
    found = changes_between(by_hand, told(make_position(quantity="12")), keep_manual=keep_manual)
    left = {each.symbol: each.units for each in found.after}
    assert left == ({"AAPL": Decimal(12), "GOLD": Decimal(3)} if keep_manual else {"AAPL": Decimal(12)})


rows = st.lists(
    st.tuples(st.sampled_from("ABCDE"), st.integers(1, 3), st.integers(-5, 5).filter(bool), st.booleans()),
    unique_by=lambda row: (row[0], row[1]),
    max_size=8,
)


@pytest.mark.requirement("SYN-06")
@given(before=rows, after=rows, keep_manual=st.booleans())
def test_what_is_written_onto_what_was_there_gives_what_is_after(before, after, keep_manual) -> None:
    def held(row, source: HoldingSource) -> Holding:
        symbol, conid, units, _ = row
        return Holding(symbol=symbol, conid=conid, units=Decimal(units), source=source)

    there = [held(row, HoldingSource.MANUAL if row[3] else HoldingSource.IBKR) for row in before]
    found = changes_between(there, [held(row, HoldingSource.IBKR) for row in after], keep_manual=keep_manual)
    table = {each.key: each for each in there}
    for key in found.gone:
        del table[key]
    table |= {each.key: each for each in found.put}
    assert tuple(table[key] for key in sorted(table)) == found.after
    by_broker = {(row[0], row[1]): Decimal(row[2]) for row in after}
    assert {each.key[:2]: each.units for each in found.after if each.source is HoldingSource.IBKR} == by_broker
    assert keep_manual or len(found.after) == len(after)


@pytest.mark.requirement("SYN-06")
def test_an_empty_picture_needs_the_summarys_word() -> None:
    assert make_picture().positions == ()
    for value, why in ((None, "does not say"), (Decimal("12.5"), r"holds 12\.5 USD")):
        with pytest.raises(UnexpectedAnswer, match=why) as caught:
            make_picture(position_value=value)
        assert caught.value.code == "E-SYNC-FAILED"
    with pytest.raises(UnexpectedAnswer, match="holds"):
        make_picture(make_position(quantity="0"), position_value=Decimal(5))


@pytest.mark.requirement("SYN-06")
def test_pages_that_moved_while_they_were_read_are_no_picture() -> None:
    with pytest.raises(UnexpectedAnswer, match="conid 265598 stands twice"):
        make_picture(make_position(), make_position(quantity="3"))
    with pytest.raises(UnexpectedAnswer, match="of account U9 among"):
        make_picture(replace(make_position(), account_id=AccountId("U9")))
    assert make_picture(make_position(), make_position(model="Growth")).positions


def test_two_lists_tell_alike_by_size_alone() -> None:
    one, other = make_position(), make_position(market_price=Decimal(1), name="")
    assert told_alike([one, make_position("B", "0", conid=2)], [other])
    assert not told_alike([one], [make_position(quantity="11")])
    assert not told_alike([one], [])
