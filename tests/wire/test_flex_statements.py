"""Flex statements: ours against a kept library on the same bytes, and everything that may be wrong with one."""

from __future__ import annotations

import contextlib
import datetime
import gc
import re
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flex_oracle import compared
from flex_statements import ACCOUNT, ACTIVITY, SECTIONS, activity, statement
from ibkit.errors import ConfigError, Effect, UnexpectedAnswer
from ibkit.wire.flex import (
    HISTORY_NEEDS,
    HOLDINGS_NEEDS,
    Checklist,
    FlexQuery,
    FlexReader,
    FlexRow,
    Need,
    OpenPosition,
    RowRead,
    counts,
    decode_flex,
    missing_sections,
    read_flex,
    require_sections,
)
from ibkit.wire.flex.values import day, moment

pytestmark = pytest.mark.requirement("FUT-08")


def recorded(shared: Path, name: str) -> bytes:
    return (shared / "ibkr" / "recorded" / "Flex" / name).read_bytes()


def refusal(body: bytes, **options: Any) -> UnexpectedAnswer:
    with pytest.raises(UnexpectedAnswer) as caught:
        decode_flex(body, **options)
    assert caught.value.effect is Effect.NONE
    return caught.value


# --- against the oracle ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "at_least"), [("cash-transactions.xml", 20), ("trade-confirmations.xml", 2000)])
def test_recorded_statements_say_what_the_oracle_reads(shared: Path, name: str, at_least: int) -> None:
    assert compared(recorded(shared, name)) >= at_least


def test_a_made_statement_says_what_the_oracle_reads() -> None:
    assert compared(ACTIVITY) > 150


def test_recorded_confirmations_count_executions_once(shared: Path) -> None:
    """Three levels in one parent: symbol sums, orders, executions."""
    (only,) = decode_flex(recorded(shared, "trade-confirmations.xml")).statements
    levels = [row.levelOfDetail for row in only.sections["TradeConfirms"]]
    assert len(only.trade_confirms) == levels.count("EXECUTION") == 39
    assert len(levels) == 80
    assert all(isinstance(row.netCash, Decimal) for row in only.trade_confirms)
    assert sum(row.netCash or 0 for row in only.trade_confirms) == sum(
        row.netCash or 0 for row in only.rows("TradeConfirms", type(only.trade_confirms[0]), "SYMBOL_SUMMARY")
    )


def test_a_recorded_breakout_by_day_is_128_statements(shared: Path) -> None:
    query = decode_flex(recorded(shared, "cash-transactions.xml"))
    assert (query.type, len(query.statements)) == ("AF", 128)
    rows = [row for each in query.statements for row in each.cash_transactions]
    assert [(row.type, row.amount) for row in rows] == [
        ("Deposits/Withdrawals", Decimal(1000000)),
        ("Broker Interest Received", Decimal("2331.45")),
        ("Broker Interest Received", Decimal("2682.45")),
    ]
    assert rows[0].dateTime == datetime.datetime(2026, 2, 1, 5, 58, 50, tzinfo=datetime.UTC)
    assert rows[1].dateTime == datetime.date(2026, 3, 4)


# --- levels and kinds of values -------------------------------------------------------------------------------------


def test_each_thing_is_counted_once_and_every_level_is_kept() -> None:
    (only,) = decode_flex(ACTIVITY, accounts={ACCOUNT}).statements
    assert [row.tag for row in only.trades] == ["Trade"]
    assert [row.tag for row in only.closed_lots] == ["Lot"]
    assert len(only.open_positions) == len(only.open_lots) == len(only.cash_transactions) == 1
    assert [row.currency for row in only.cash_report] == ["USD"]
    assert only.cash_report_in_base is not None
    assert only.cash_report_in_base.endingCash == Decimal("1280.5")
    assert only.corporate_actions == ()
    assert len(only.sections["Trades"]) == 4
    trade = only.trades[0]
    assert (trade.quantity, trade.ibCommission, trade.conid) == (Decimal(-1), Decimal("-0.7"), 700000101)
    assert trade.dateTime == datetime.datetime(2026, 7, 6, 13, 36, 2, tzinfo=datetime.UTC)
    assert trade.isAPIOrder is True
    assert trade.raw["tradePrice"] == "2.5"


def test_without_a_level_the_element_says_what_a_row_is() -> None:
    bare = SECTIONS.replace(' levelOfDetail="EXECUTION"', "").replace(' levelOfDetail="ORDER"', "")
    (only,) = decode_flex(activity(statement(bare))).statements
    assert [row.tag for row in only.trades] == ["Trade"]


def test_what_is_unknown_is_kept_and_never_fatal() -> None:
    sections = """<Moonshots><Moonshot accountId="DU1234567" thrust="9"/></Moonshots>
    <OpenPositions><OpenPosition accountId="DU1234567" assetCategory="MOON" position="3" newThing="x"
      levelOfDetail="SUMMARY" side="Sideways" markPrice="about 5" expiry="31/12/2026" conid=""/></OpenPositions>"""
    (only,) = decode_flex(activity(statement(sections))).statements
    assert only.unknown_sections == ("Moonshots",)
    assert only.sections["Moonshots"][0].raw["thrust"] == "9"
    (row,) = only.open_positions
    assert (row.assetCategory, row.side, row.position, row.conid) == ("MOON", "Sideways", Decimal(3), None)
    assert row.raw["newThing"] == "x"
    assert (row.markPrice, row.expiry) == (None, None)
    assert sorted(row.unread) == ["expiry", "markPrice"]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("20260409;135737", "2026-04-09T17:57:37"),
        ("2026-04-09;21:23:54 EDT", "2026-04-10T01:23:54"),
        ("2026-01-09;21:23:54 EST", "2026-01-10T02:23:54"),
        ("20260109;212354", "2026-01-10T02:23:54"),
        ("2026-04-09T21:23:54+00:00", "2026-04-09T21:23:54"),
        ("2026-04-09, 21:23:54", "2026-04-10T01:23:54"),
    ],
)
def test_moments_are_read_in_every_form(text: str, utc: str) -> None:
    assert moment(text) == datetime.datetime.fromisoformat(utc).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "text", ["04/09/2026", "20261301", "2026-04-09;99:00:00", "soon", "20260409;120000 XYZT", "2026"]
)
def test_a_day_or_moment_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError):
        moment(text)


@given(st.dates(datetime.date(1990, 1, 1), datetime.date(2100, 1, 1)))
def test_days_survive_both_forms(on: datetime.date) -> None:
    assert day(on.strftime("%Y%m%d")) == day(on.isoformat()) == on


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8))
def test_amounts_keep_every_digit(amount: Decimal) -> None:
    body = activity(statement(f'<CashTransactions><CashTransaction amount="{amount:,f}"/></CashTransactions>'))
    (row,) = decode_flex(body).statements[0].cash_transactions
    assert row.amount == amount


# --- what may be wrong with one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(1, len(ACTIVITY) - 1, 97))
def test_a_statement_cut_anywhere_is_refused(at: int) -> None:
    error = refusal(ACTIVITY[:at])
    assert error.code == "E-FLEX-STATEMENT"
    assert error.remedy


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<!DOCTYPE html><html><body>Service unavailable</body></html>", "an HTML page"),
        (b"<html><body>Service unavailable</body></html>", "an HTML page"),
        (b'{"error":"x"}', "no XML"),
        (b"ClientAccountID,CurrencyPrimary\nU1,USD\n", "no XML"),
        (b"<FlexStatementResponse><Status>Fail</Status></FlexStatementResponse>", "the answer of a request"),
        (b"<feed/>", "not a FlexQueryResponse"),
        (activity(statement(), count=2), "announces 2 statements and has 1"),
        (activity(statement()) + b"<more/>", "broken XML"),
        (activity(statement("<Trades><Trade a='1' a='2'/></Trades>")), "duplicate attribute"),
        (activity("<FlexStatement>" * 20), "inside of a statement"),
        (activity(statement("<a>" * 20)), "deep"),
        (activity(statement(f'<Trades><Trade x="{"y" * 1_200_000}"/></Trades>')), "one piece"),
    ],
)
def test_what_is_no_statement_is_named(body: bytes, said: str) -> None:
    error = refusal(body)
    assert error.code == "E-FLEX-STATEMENT"
    assert said in error.message
    assert said in str(error.details["reason"])


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">',
    ],
)
def test_entities_of_any_kind_are_refused(declaration: str) -> None:
    error = refusal(declaration.encode() + b"<FlexQueryResponse queryName='&c;&a;'/>")
    assert "document type declaration" in error.message


def test_too_long_is_refused_before_it_is_read() -> None:
    reader = FlexReader(size_limit=100)
    with pytest.raises(UnexpectedAnswer, match="longer than"):
        reader.feed(ACTIVITY)


def test_a_statement_of_another_account_is_refused_whole() -> None:
    error = refusal(activity(statement(), statement(account="U7654321")), accounts={ACCOUNT})
    assert error.code == "E-FLEX-ACCOUNT"
    assert "7654321" not in str(error) + error.remedy
    mixed = SECTIONS.replace('<Trade accountId="DU1234567"', '<Trade accountId="U7654321"')
    assert refusal(activity(statement(mixed)), accounts={ACCOUNT}).code == "E-FLEX-ACCOUNT"


def test_the_excerpt_shows_where_without_accounts() -> None:
    error = refusal(ACTIVITY[: len(ACTIVITY) // 2])
    assert error.excerpt
    assert "1234567" not in error.excerpt


@given(st.binary(max_size=300))
def test_no_bytes_make_another_error(body: bytes) -> None:
    refusal(body)


@given(st.integers(0, len(ACTIVITY) - 1), st.binary(min_size=1, max_size=3))
def test_no_damage_makes_another_error(at: int, put: bytes) -> None:
    body = ACTIVITY[:at] + put + ACTIVITY[at + len(put) :]
    with contextlib.suppress(UnexpectedAnswer):
        decode_flex(body, accounts={ACCOUNT})


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_pieces_of_any_size_say_the_same(sizes: list[int]) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(ACTIVITY[at : at + size])
        at += size
    pieces.append(ACTIVITY[at:])
    assert list(read_flex(pieces)) == list(read_flex([ACTIVITY]))


def long_statement(rows: int) -> Iterator[bytes]:
    row = SECTIONS[SECTIONS.index("<Trade ") : SECTIONS.index("/>", SECTIONS.index("<Trade ")) + 2].encode()
    yield b'<FlexQueryResponse type="AF"><FlexStatements count="1"><FlexStatement accountId="DU1234567"><Trades>'
    for _ in range(rows // 64):
        yield row * 64
    yield b"</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"


@pytest.mark.slow
def test_memory_stays_flat_while_a_long_statement_is_read() -> None:
    """Five times as long takes no more: 5 MB here, 200 MB are only more of the same.

    What other tests of this process left to the collector comes and goes: the limit is far above that, and far below
    the 5 MB that a reader which keeps its rows would take.
    """

    def peak(rows: int) -> tuple[int, int]:
        gc.collect()
        tracemalloc.start()
        found = sum(
            counts(event.section, event.row) for event in read_flex(long_statement(rows)) if isinstance(event, RowRead)
        )
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, most

    short, long = peak(960), peak(4_800)
    assert (short[0], long[0]) == (960, 4_800)
    assert long[1] < short[1] + 1_500_000


# --- the checklist --------------------------------------------------------------------------------------------------


def test_the_checklist_is_content_with_all_that_is_needed() -> None:
    assert missing_sections(decode_flex(ACTIVITY), HOLDINGS_NEEDS) == []
    require_sections(decode_flex(ACTIVITY).statements[0])


def test_the_checklist_names_each_missing_thing_and_where_it_is_switched_on() -> None:
    query = decode_flex(ACTIVITY)
    missing = missing_sections(query, HISTORY_NEEDS)
    assert [each.section for each in missing] == ["OptionEAE", "Transfers"]
    assert "Option Exercises, Assignments and Expirations" in missing[0].where
    assert missing[0].where.startswith("Client Portal, Performance & Reports, Flex Queries")

    bare = re.sub('<CashReportCurrency accountId="DU1234567" currency="USD"[^/]*/>', "", SECTIONS).replace(
        'markPrice="2.31" ', ""
    )
    missing = missing_sections(decode_flex(activity(statement(bare))))
    assert [str(each) for each in missing] == ["OpenPositions: markPrice", "CashReport: level of detail Currency"]


def test_a_section_without_its_counted_level_is_told() -> None:
    """Only the summary of cash transactions switched on: nothing would be counted, and nobody would know."""
    summary = SECTIONS.replace('levelOfDetail="DETAIL"', 'levelOfDetail="SUMMARY"')
    (missing,) = missing_sections(decode_flex(activity(statement(summary))), [Need("CashTransactions")])
    assert (missing.level, "option Detail" in missing.where) == ("DETAIL", True)
    lots = SECTIONS.replace('levelOfDetail="LOT"', 'levelOfDetail="SUMMARY"')
    (missing,) = missing_sections(decode_flex(activity(statement(lots))), [Need("OpenPositions", level="LOT")])
    assert missing.level == "LOT"


def test_a_figure_that_cannot_be_read_is_told_before_it_is_missed() -> None:
    strange = SECTIONS.replace('endingCash="1,280.5"', 'endingCash="1.280,5 USD"')
    with pytest.raises(ConfigError) as caught:
        require_sections(decode_flex(activity(statement(strange))))
    assert caught.value.code == "E-FLEX-SECTIONS"
    assert "CashReport: cannot be read: endingCash" in caught.value.message
    assert "Date/Time" in caught.value.remedy


def test_the_checklist_follows_a_statement_that_is_never_whole() -> None:
    checklist = Checklist()
    for event in read_flex([ACTIVITY]):
        checklist.saw(event)
    query = decode_flex(ACTIVITY)
    assert checklist.missing(HISTORY_NEEDS) == missing_sections(query, HISTORY_NEEDS)
    assert missing_sections(FlexQuery(), [Need("Trades")])[0].section == "Trades"


def test_empty_days_of_a_breakout_are_no_lack() -> None:
    query = decode_flex(activity(statement("<OpenPositions></OpenPositions><CashReport></CashReport>"), statement()))
    assert missing_sections(query) == []
    assert len(query.statements[1].rows("OpenPositions", OpenPosition)) == 1
    assert isinstance(query.statements[1].sections["Trades"][0], FlexRow)
