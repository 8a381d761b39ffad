"""Which of IBKR's questions are answered with yes."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import stock_ticket
from ibkit.model import Question, QuestionId
from ibkit.trading.questions import DEFAULT_AUTO_CONFIRM, QUESTIONS, QuestionPolicy
from ibkit.trading.risk import LIVE_LIMITS, PAPER_LIMITS

TICKET = stock_ticket()
IBKR_OWN = Decimal(100_000)


def says_yes(*ids, limits=PAPER_LIMITS, auto=DEFAULT_AUTO_CONFIRM, **more):
    question = Question(QuestionId("q"), ids, tuple("text" for _ in ids))
    return QuestionPolicy(frozenset(auto)).decide(question, ticket=TICKET, limits=limits, **more).confirmed


@pytest.mark.requirement("TRD-10")
@pytest.mark.parametrize("message_id", sorted(DEFAULT_AUTO_CONFIRM))
def test_the_default_list_is_confirmed_on_paper(message_id):
    assert says_yes(message_id)


@pytest.mark.requirement("TRD-10")
@pytest.mark.parametrize("message_id", ["p6", "p12", "o10334", "o99999", "o354"])
def test_some_are_never_confirmed_whatever_the_setting_says(message_id):
    assert not says_yes(message_id, auto={*DEFAULT_AUTO_CONFIRM, message_id})


@pytest.mark.requirement("TRD-10")
def test_no_market_data_is_confirmed_only_with_quotes_of_our_own():
    assert says_yes("o354", auto={"o354"}, own_quotes=True)
    assert not says_yes("o354", own_quotes=True)  # not in the default list


@pytest.mark.requirement("TRD-10", "TRD-18")
@pytest.mark.parametrize(
    ("message_id", "off"),
    [
        ("o451", {"max_order_value": None}),
        ("o163", {"collar_pct": None}),
        ("o383", {"max_shares": None}),
        ("o382", {"ticks": False}),
    ],
)
def test_a_question_tied_to_a_control_needs_it_on(message_id, off):
    assert says_yes(message_id)
    assert not says_yes(message_id, limits=dataclasses.replace(PAPER_LIMITS, **off))


@pytest.mark.requirement("TRD-10", "TRD-18")
def test_live_needs_the_tied_control_at_least_as_tight_as_ibkrs():
    assert says_yes("o451", limits=LIVE_LIMITS)
    assert not says_yes("o451", limits=dataclasses.replace(LIVE_LIMITS, max_order_value=IBKR_OWN))
    assert says_yes("o163", limits=LIVE_LIMITS)
    assert not says_yes("o403", limits=LIVE_LIMITS)


@pytest.mark.requirement("TRD-10")
def test_one_reply_answers_all_messages_so_each_must_be_allowed():
    assert says_yes("o163", "o10331")
    assert not says_yes("o163", "o99999")
    assert not says_yes()


@pytest.mark.requirement("TRD-10")
def test_a_person_may_allow_more_but_not_what_changes_the_order():
    assert says_yes("o99999", "o403", limits=LIVE_LIMITS, confirm=frozenset({"o99999", "o403"}))
    assert not says_yes("p12", confirm=frozenset({"p12"}))
    assert not says_yes("o10331", parked_elsewhere=True, confirm=frozenset({"o10331"}))


@pytest.mark.requirement("TRD-10")
def test_every_question_of_the_facts_page_is_in_the_catalogue():
    import re
    from pathlib import Path

    page = Path(__file__).resolve().parents[2] / "docs" / "facts" / "orders.md"
    table = page.read_text().split("### 3.3")[1].split("### 3.4")[0]
    listed = {word for row in re.findall(r"^\| ([op][\do /p]+) \|", table, re.MULTILINE) for word in row.split(" / ")}

    assert len(listed) > 20
    assert listed <= set(QUESTIONS)
