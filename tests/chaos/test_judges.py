"""The judges of groups, externals and controls see what they are there for, on runs made by hand."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chaos.checker import Asked, Delivery, JournalCopy, States, Verdict, judge
from chaos.group_checker import judge_externals, judge_groups
from chaos.guards import Guards

pytestmark = pytest.mark.requirement("TRD-22")

AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
TERMS: dict[str, Any] = {"side": "BUY", "quantity": Decimal(3)}


def order(number: int, place: int, **changes: Any) -> dict[str, Any]:
    row = {
        "order_id": number,
        "request_id": 7,
        "origin": "api",
        "accepted": True,
        "state": "live",
        "filled": Decimal(0),
        "order_type": "LMT" if place == 0 else "STP",
        "ref": None,
    }
    return row | changes


def intent(*events: tuple[str, dict[str, Any]], **changes: Any) -> dict[str, Any]:
    planned = ("Planned", {"target": None, "at": AT.isoformat()})
    row = {"intent_id": "ib-1", "key": "key", "state": "acked", "operation": "place", "leg_of": None, "order_id": "1"}
    return row | {"events": [planned, *events]} | changes


def grouped(*legs: tuple[int, str | None], after_s: float = 1) -> tuple[tuple[str, dict[str, Any]], ...]:
    body = {"legs": [{"number": number, "order_id": order_id, "text": ""} for number, order_id in legs]}
    return (
        ("Acknowledged", {"at": AT.isoformat()}),
        ("Grouped", body | {"at": (AT + timedelta(seconds=after_s)).isoformat()}),
    )


def leg(number: str, **changes: Any) -> dict[str, Any]:
    return intent(intent_id=f"leg-{number}", key=f"key:leg-{number}", leg_of="ib-1", order_id=number) | changes


def judged(
    ledger: list[dict[str, Any]],
    intents: list[dict[str, Any]],
    *,
    group: str = "bracket",
    alerts: frozenset[str] = frozenset(),
    marks: bool = True,
) -> list[str]:
    verdict = Verdict()
    judge_groups(
        verdict,
        ledger=ledger,
        deliveries=[Delivery(7, 0.0, "place", "key", True)],
        journal=JournalCopy({row["intent_id"]: row for row in intents}, alerts, alerts),
        asked=[Asked("key", "place", TERMS, (TERMS,), group)],
        places={row["order_id"]: place for place, row in enumerate(ledger)},
        hidden=frozenset(),
        marks=marks,
        calm=True,
    )
    return verdict.breaches


def test_a_whole_bracket_breaks_no_rule() -> None:
    whole = [intent(*grouped((1, "2"))), leg("2")]
    assert judged([order(1, 0), order(2, 1)], whole) == []
    assert judged([order(1, 0, state="filled", filled=Decimal(3)), order(2, 1)], whole) == []


@pytest.mark.parametrize(
    ("ledger", "intents", "rule", "word"),
    [
        ([order(1, 0)], [intent(*grouped((1, None)))], "F52", "nobody is told"),
        ([order(1, 0), order(2, 1)], [intent(*grouped((1, "2"), after_s=40)), leg("2")], "F52", "40 s later"),
        ([order(1, 0), order(2, 1)], [intent(*grouped((1, "9"))), leg("2")], "S3", "order 9 is called order 1"),
        ([order(1, 0), order(2, 1)], [intent(*grouped((1, "2"))), leg("9")], "S3", "not of its group"),
        ([order(1, 0), order(2, 1)], [intent(*grouped((1, "2")))], "S6", "nobody follows it"),
        (
            [order(1, 0, state="filled", filled=Decimal(3)), order(2, 1, state="rejected")],
            [intent(*grouped((1, "2"))), leg("2")],
            "F53",
            "without a stop",
        ),
    ],
)
def test_a_broken_bracket_is_seen(ledger: Any, intents: Any, rule: str, word: str) -> None:
    assert [b for b in judged(ledger, intents) if b.startswith(rule) and word in b]


@pytest.mark.parametrize(("closing", "seen"), [("acked", True), ("unknown_needs_human", False)])
def test_a_broken_bracket_waits_for_its_closing_order_only_where_that_is_in_doubt(closing: str, seen: bool) -> None:
    close = intent(intent_id="ib-2", key="key:flatten", state=closing, order_id=None)
    found = judged([order(1, 0)], [intent(*grouped((1, None))), close], alerts=frozenset({"ib-1", "ib-2"}))
    assert any("nothing is done" in breach for breach in found) is seen


def test_a_position_that_was_turned_round_is_seen() -> None:
    parent = order(1, 0, state="filled", filled=Decimal(3))
    closing = order(3, 0, state="filled", filled=Decimal(3), request_id=8)
    verdict = Verdict()
    stop = order(2, 1, state="filled", filled=Decimal(2))
    judge_groups(
        verdict,
        ledger=[parent, stop, closing],
        deliveries=[Delivery(7, 0.0, "place", "key", True), Delivery(8, 0.0, "place", "key:flatten", True)],
        journal=JournalCopy({"ib-1": intent(*grouped((1, "2"))), "leg-2": leg("2")}, frozenset(), frozenset()),
        asked=[Asked("key", "place", TERMS, (TERMS,), "bracket")],
        places={2: 1},
        hidden=frozenset(),
        marks=True,
        calm=True,
    )
    assert any("turned round" in breach for breach in verdict.breaches)


@pytest.mark.parametrize(("state", "word"), [("live", "still works"), ("filled", "nobody is told")])
def test_a_sibling_that_outlives_its_group_is_seen(state: str, word: str) -> None:
    filled = Decimal(3) if state == "filled" else Decimal(0)
    ledger = [order(1, 0, state="filled", filled=Decimal(3)), order(2, 1, state=state, filled=filled)]
    found = judged(ledger, [intent(*grouped((1, "2"))), leg("2")], group="oca")
    assert [breach for breach in found if breach.startswith("F54") and word in breach]


@pytest.mark.parametrize("told", [True, False])
def test_a_sibling_that_nobody_can_know_has_to_be_told(told: bool) -> None:
    ledger = [order(1, 0, state="filled", filled=Decimal(3)), order(2, 1)]
    alerts = frozenset({"ib-1"}) if told else frozenset()
    found = judged(ledger, [intent(*grouped((1, None)))], group="oca", alerts=alerts, marks=False)
    assert any(breach.startswith("F54") for breach in found) is not told


def test_an_order_of_somebody_else_is_known_and_its_mark_told() -> None:
    strange = order(5, 0, origin="tws", ref="ib-mark")

    def found(intents: dict[str, Any], alerts: frozenset[str]) -> list[str]:
        verdict = Verdict()
        journal = JournalCopy(intents, alerts, alerts)
        judge_externals(verdict, ledger=[strange], journal=journal, hidden=frozenset(), marks=True)
        return verdict.breaches

    known = {"ib-5": intent(intent_id="ib-5", operation="external", order_id="5")}
    assert "does not know it" in found({}, frozenset())[0]
    assert "nobody is told" in found(known, frozenset())[0]
    assert found(known, frozenset({"5"})) == []


# -- the guards ----------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The tables that the guards read, and one order that is being sent."""
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE intents (intent_id, key, state, operation);"
            "CREATE TABLE intent_events (intent_id, number, kind, body);"
            "CREATE TABLE lanes (username, epoch); INSERT INTO lanes VALUES ('user', 4);"
            "CREATE TABLE risk_state (generation); INSERT INTO risk_state VALUES (6);"
            "CREATE TABLE halts (number, mode, tenant, account_id, symbol, environment, at, until);"
            "CREATE TABLE halt_releases (halt, ended);"
            "CREATE TABLE limit_changes (number, environment, layer, whose, name, new, needs_second);"
            "CREATE TABLE limit_confirmations (number);"
        )
        contract = {"conid": 1, "symbol": "SPY", "sec_type": "STK", "legs": []}
        ticket = {"contract": contract, "side": "BUY", "quantity": "3", "limit_price": "600"}
        planned = {
            "key": "key",
            "operation": "place",
            "username": "user",
            "tenant": "local",
            "environment": "paper",
            "account_id": "DU1",
            "user": "",
            "api_key": "",
            "reduces": None,
            "target": None,
            "group": None,
            "others": [],
            "ticket": ticket,
        }
        events = [("Planned", planned), ("Claimed", {"epoch": 4}), ("Decided", {"generation": 6}), ("Sending", {})]
        connection.execute("INSERT INTO intents VALUES ('ib-1', 'key', 'sending', 'place')")
        for number, (kind, body) in enumerate(events, start=1):
            connection.execute("INSERT INTO intent_events VALUES ('ib-1', ?, ?, ?)", (number, kind, json.dumps(body)))
    connection.close()
    return path


@pytest.mark.parametrize(
    ("happened", "rule"),
    [
        ("SELECT 1", ""),
        ("UPDATE lanes SET epoch = 5", "F105"),
        ("UPDATE risk_state SET generation = 7", "S9"),
        ("INSERT INTO halts VALUES (1, 'block-new', '', '', '', 'paper', '{at}', NULL)", "S9"),
        ("INSERT INTO halts VALUES (1, 'block-new', '', '', 'SPY', 'paper', '{at}', NULL)", "S9"),
        ("INSERT INTO halts VALUES (1, 'block-new', '', '', 'QQQ', 'paper', '{at}', NULL)", ""),
        ("INSERT INTO halts VALUES (1, 'block-new', '', '', '', 'live', '{at}', NULL)", ""),
        ("INSERT INTO halts VALUES (1, 'block-new', '', '', '', 'paper', '{at}', '{at}')", ""),
        ("INSERT INTO limit_changes VALUES (1, 'paper', 'account', 'DU1', 'max_shares', '2', 0)", "RC-07"),
        ("INSERT INTO limit_changes VALUES (1, 'paper', 'account', 'DU1', 'max_shares', '2', 1)", ""),
        ("INSERT INTO limit_changes VALUES (1, 'paper', 'account', 'DU2', 'max_shares', '2', 0)", ""),
        ("INSERT INTO limit_changes VALUES (1, 'paper', 'symbol', 'SPY', 'max_order_value', '1799', 0)", "RC-08"),
        ("INSERT INTO limit_changes VALUES (1, 'paper', 'symbol', 'SPY', 'max_order_value', '1800', 0)", ""),
    ],
)
def test_the_guards_see_what_a_send_must_not_do(journal: Path, happened: str, rule: str) -> None:
    with sqlite3.connect(journal) as connection:
        connection.execute(happened.format(at=AT.isoformat()))
    connection.close()
    states = States(journal)
    guards = Guards(states, traded=lambda _conid, _side: Decimal(0), target=lambda _order: None, now=lambda: AT)

    found = guards.committed("ib-1", ("Decided", "Sending"))
    states.close()

    assert [breach.split(":")[0] for breach in found] == ([rule] if rule else [])


@pytest.mark.parametrize(("age_s", "seen"), [(0.05, False), (0.2, True)])
def test_bytes_that_leave_after_a_halt_are_seen(journal: Path, age_s: float, seen: bool) -> None:
    pressed = (AT - timedelta(seconds=age_s)).isoformat()
    with sqlite3.connect(journal) as connection:
        halt = ("INSERT INTO halts VALUES (1, 'reduce-only', '', '', '', 'paper', ?, NULL)", (pressed,))
        connection.execute(*halt)
    connection.close()
    states = States(journal)
    guards = Guards(states, traded=lambda _conid, _side: Decimal(0), target=lambda _order: None, now=lambda: AT)

    found = guards.leaving("place", "ib-1", confirmed=None)
    states.close()

    assert bool(found) is seen


def test_what_a_replaced_journal_cancelled_was_somebodys() -> None:
    """An older copy has forgotten its intent; a cancel that no journal ever knew is nobody's."""
    cancelled = [Delivery(1, 3.0, "cancel", "", True, "7")]
    empty = JournalCopy({}, frozenset(), frozenset())
    known = {"ib-9": intent(operation="cancel", events=[("Planned", {"target": "7", "at": AT.isoformat()})])}

    def breaches(**more: Any) -> list[str]:
        return judge(ledger=[], deliveries=cancelled, journal=empty, asked=[], told=[], honest=True, **more).breaches

    assert breaches() == ["S5: 1 cancels of order 7, which no intent cancels"]
    assert breaches(forgotten=known) == []
