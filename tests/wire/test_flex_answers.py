"""Answers of the Flex Web Service, its numbers, and when it may be asked again."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flex_statements import ACTIVITY
from ibkit.errors import ConfigError, UnexpectedAnswer
from ibkit.wire.flex.answers import (
    CODES,
    FLEX_URL,
    FlexFailure,
    FlexKind,
    FlexReference,
    FlexReport,
    followed,
    query_of,
    read_answer,
)
from ibkit.wire.flex.polling import pause_s, wait_s
from ibkit.wire.http import Response

pytestmark = pytest.mark.requirement("FUT-08")

OTHER = "https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement"


def answer(inner: str) -> Response:
    body = f'<FlexStatementResponse timestamp="06 July, 2026 10:37 AM EDT">{inner}</FlexStatementResponse>'
    return Response(200, {}, body.encode())


def test_a_reference_is_read_with_its_address() -> None:
    said = answer(f"<Status>Success</Status><ReferenceCode>4210987654</ReferenceCode>\n<Url>{OTHER}</Url>")
    assert read_answer(said) == FlexReference("4210987654", OTHER)


@pytest.mark.parametrize("status", ["Fail", "Warn"])
@pytest.mark.parametrize("http", [200, 400, 503])
def test_a_failure_is_its_number_whatever_the_status(status: str, http: int) -> None:
    said = answer(f"<Status>{status}</Status><ErrorCode>1019</ErrorCode><ErrorMessage>In progress.</ErrorMessage>")
    assert read_answer(Response(http, {}, said.body)) == FlexFailure(1019, "In progress.")


@pytest.mark.parametrize("code", CODES)
def test_every_number_has_a_class(code: int) -> None:
    assert FlexFailure(code, "").kind is CODES[code][0]


def test_final_numbers_are_never_tried_again() -> None:
    final = {code for code, (kind, _) in CODES.items() if kind in (FlexKind.FINAL, FlexKind.FINAL_ALERT)}
    assert final == {1003, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1020}
    assert {code for code, (kind, _) in CODES.items() if kind is FlexKind.FINAL_ALERT} == {1012, 1013, 1015}
    assert FlexFailure(1999, "new").kind is FlexKind.RETRY


def test_a_statement_is_told_by_its_root_and_not_read() -> None:
    cut = ACTIVITY[:400]
    assert read_answer(Response(200, {}, cut)) == FlexReport(cut)
    assert "Sim User" not in repr(FlexReport(ACTIVITY))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>502</body></html>",
        b'{"error":"no"}',
        b"<FlexStatementResponse></FlexStatementResponse>",
        b"<FlexStatementResponse><Status>Success</Status><ReferenceCode>../x y</ReferenceCode></FlexStatementResponse>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><FlexStatementResponse><ErrorCode>&a;</ErrorCode></FlexStatementResponse>",
        b"<FlexStatementResponse><ErrorCode>1019</ErrorCode>" + b" " * 70_000 + b"</FlexStatementResponse>",
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_answer(Response(200, {}, body))


@given(st.binary(max_size=200))
def test_no_bytes_make_another_error(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_answer(Response(200, {}, body))


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "http://gdcdyn.interactivebrokers.com/GetStatement",
        "https://evil.example/GetStatement",
        "https://interactivebrokers.com.evil.example/GetStatement",
        "https://evilinteractivebrokers.com/GetStatement",
        "https://gdcdyn.interactivebrokers.com@evil.example/GetStatement",
        "https://user:pass@gdcdyn.interactivebrokers.com/GetStatement",
        "https://gdcdyn.interactivebrokers.com:8443/GetStatement",
        "https://[broken/GetStatement",
        "https://127.0.0.1:5000/GetStatement",
    ],
)
def test_no_other_host_is_followed(url: str | None) -> None:
    assert followed(url, FLEX_URL) == f"{FLEX_URL}/GetStatement"


def test_ibkrs_other_host_and_our_own_base_are_followed() -> None:
    assert followed(OTHER, FLEX_URL) == OTHER
    base = "https://localhost:5001/AccountManagement/FlexWebService"
    assert (
        followed("https://localhost:5001/elsewhere/GetStatement?t=1", base)
        == "https://localhost:5001/elsewhere/GetStatement"
    )


def test_a_period_has_two_days_and_a_year_at_most() -> None:
    assert query_of() == {}
    assert query_of(first=date(2026, 1, 1), last=date(2026, 12, 31)) == {"fd": "20260101", "td": "20261231"}
    for first, last in [
        (date(2026, 1, 1), date(2027, 1, 1)),
        (date(2026, 1, 2), date(2026, 1, 1)),
        (None, date(2026, 1, 1)),
        (date(2026, 1, 1), None),
    ]:
        with pytest.raises(ConfigError) as caught:
            query_of(first=first, last=last)
        assert caught.value.code == "E-VALIDATION"


@given(st.lists(st.floats(0, 20), max_size=60))
def test_no_more_than_one_a_second_and_ten_a_minute(gaps: list[float]) -> None:
    now, sent = 0.0, []
    for gap in gaps:
        now += gap
        now += wait_s(sent, now)
        sent.append(now)
    for index, at in enumerate(sent):
        assert all(at - earlier >= 1 - 1e-9 for earlier in sent[max(0, index - 1) : index])
        assert sum(at - 60 + 1e-9 < earlier <= at for earlier in sent) <= 10


def test_pauses_grow_and_a_crowded_token_waits_ten_seconds() -> None:
    assert [pause_s(asked) for asked in range(7)] == [5, 5, 10, 20, 30, 30, 30]
    assert [pause_s(asked, FlexKind.WAIT) for asked in range(4)] == [10, 10, 10, 20]
