"""Commands and frames of the WebSocket: examples from docs/facts/websocket.md, and what must never break a reader."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.model import Conid
from ibkit.wire import stream as wire

pytestmark = pytest.mark.requirement("FUT-02")


def test_the_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(wire).failed == 0


def test_commands_have_the_grammar_of_the_facts() -> None:
    assert wire.subscribe_market(Conid(1), ["31"]) == 'smd+1+{"fields":["31"]}'
    assert wire.unsubscribe_market(Conid(1)) == "umd+1+{}"
    assert wire.subscribe_trades(days=3) == 'str+{"realtimeUpdatesOnly":false,"days":3}'
    assert wire.session_message("abc") == '{"session":"abc"}'
    assert wire.cookie("abc") == "api=abc"
    commands = (wire.subscribe_orders, wire.subscribe_pnl, wire.unsubscribe_orders, wire.unsubscribe_trades)
    assert [command() for command in commands] == ["sor+{}", "spl+{}", "uor+{}", "utr+{}"]
    assert wire.unsubscribe_pnl() == "upl+{}"


@pytest.mark.parametrize("binary", [True, False])
def test_both_opcodes_are_read(binary: bool) -> None:
    text = '{"topic":"system","hb":1777464000123}'
    frame = wire.read_frame(text.encode() if binary else text)
    assert frame == wire.Heartbeat(datetime(2026, 4, 29, 12, 0, 0, 123000, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"topic":"tic","alive":true,"id":"1","lastAccessed":1}', wire.TicReply()),
        ("ech+hb", wire.TicReply()),
        ('{"topic":"sts","args":{"authenticated":false}}', wire.SessionNews(authenticated=False)),
        ('{"topic":"sts","args":{"competing":true}}', wire.SessionNews(competing=True)),
        ('{"topic":"sts","args":{"message":""}}', wire.SessionNews()),
        (
            '{"topic":"act","args":{"accounts":["DU1"],"selectedAccount":"DU1"}}',
            wire.AccountsTold(("DU1",), "DU1"),
        ),
        ('{"topic":"blt","args":[{"id":1,"exchanges":null,"message":"x"}]}', wire.Bulletins(("x",))),
        ('{"error":"Topic unknown \'a\'","code":1}', wire.Complaint("Topic unknown 'a'")),
        ('{"topic":"error","error":"no"}', wire.Complaint("no")),
        ('{"topic":"zzz","args":1}', wire.Unknown("zzz")),
        ('{"result":"unsubscribed from ledger"}', wire.Unknown("")),
    ],
)
def test_frames_of_the_facts_are_read(text: str, frame: wire.Frame) -> None:
    assert wire.read_frame(text) == frame


def test_market_frames_name_their_contract_by_the_topic_where_they_lack_it() -> None:
    frame = wire.read_frame('{"topic":"smd+265598@ARCA","_updated":5,"6119":"q0","83":0.04,"87_raw":1.22E7}')
    assert frame == wire.Market("265598@ARCA", Conid(265598), 5, {"83": Decimal("0.04"), "87_raw": Decimal("1.22E7")})


def test_numbers_keep_their_digits() -> None:
    frame = wire.read_frame('{"topic":"spl","args":{"DU1.Core":{"rowType":1,"dpl":-57.20,"upl":9.7E2}}}')
    assert frame == wire.ProfitAndLoss((wire.PnlRow("DU1", Decimal("-57.20"), Decimal("9.7E2")),))


def test_notices_come_as_array_or_object() -> None:
    one = '{"id":"118","text":"soon","title":null,"url":null}'
    prompt = '{"orderId":12,"reqId":"7","dismissable":[],"text":"Use?","options":["Yes","No"],"messageId":"p12"}'
    assert wire.read_frame(f'{{"topic":"ntf","args":{one}}}') == wire.Notices((wire.NoticeRow("soon", "118"),))
    read = wire.read_frame(f'{{"topic":"ntf","args":[{one},{prompt}]}}')
    assert isinstance(read, wire.Notices)
    assert read.rows[1] == wire.NoticeRow("Use?", None, "12", "7", "p12", ("Yes", "No"))


def test_invalid_utf8_costs_a_letter_and_not_the_frame() -> None:
    frame = wire.read_frame(b'{"topic":"blt","args":[{"id":1,"message":"caf\x99"}]}')
    assert frame == wire.Bulletins(("caf�",))


def test_what_cannot_be_read_shows_no_secret() -> None:
    frame = wire.read_frame('{"session":"0123456789abcdef", "topic":')
    assert isinstance(frame, wire.Unreadable)
    assert "0123456789abcdef" not in frame.why


@given(st.binary(max_size=200) | st.text(max_size=200))
@settings(max_examples=300)
def test_reading_never_raises(data: bytes | str) -> None:
    wire.read_frame(data)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_topics = st.sampled_from(["smd+1", "sor", "str", "spl", "ntf", "blt", "sts", "act", "system", "tic", "smd+x"])
_members = st.sampled_from(["args", "hb", "success", "conid", "_updated", "error", "31", "execution_id", "orderId"])


@given(_topics, st.dictionaries(_members, _json | st.lists(st.dictionaries(_members, _json)), max_size=4))
@settings(max_examples=100)
def test_odd_shapes_of_known_topics_never_raise(topic: str, members: dict[str, object]) -> None:
    import json

    wire.read_frame(json.dumps({"topic": topic, **members}))
