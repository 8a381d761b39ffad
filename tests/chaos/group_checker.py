"""The judge of brackets and OCA groups, and of orders of others: every order of a group, not the first alone.

It imports nothing from ibkit. Faults F52-F54, F120, F121 of the fault model; S3 and S5 of docs/guarantee.md's table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from .checker import TAKEN, Asked, Delivery, JournalCopy, Verdict

__all__ = ["CLOSES", "judge_externals", "judge_groups"]

_TOLD_WITHIN_S = 15.0
"""A child is looked for for 10 s (F53); the reads around it take the rest."""
_PROTECTIVE = ("STP", "TRAIL")
CLOSES = ("flatten", *(f"flatten-{number}" for number in range(2, 31)))
"""Steps of a bracket's key: the orders that close what it filled without a stop. Those that grew too old to be sent
are beside the three that may be."""

Row = Mapping[str, Any]


def judge_groups(
    verdict: Verdict,
    *,
    ledger: Sequence[Row],
    deliveries: Sequence[Delivery],
    journal: JournalCopy,
    asked: Sequence[Asked],
    places: Mapping[int, int],
    hidden: frozenset[int],
    marks: bool,
    calm: bool,
) -> None:
    """marks: the broker shows refs as they are. calm: nothing goes wrong beside it, so that the times of F52 hold."""
    causes = {delivery.request_id: delivery.key for delivery in deliveries}
    orders: dict[str, dict[int, Row]] = defaultdict(dict)
    by_number: dict[str, tuple[str, int]] = {}
    for row in ledger:
        key = causes.get(row["request_id"], "")
        if row["origin"] == "api" and key:
            place = places.get(row["order_id"], 0)
            by_number[str(row["order_id"])] = (key, place)
            if row["accepted"]:
                orders[key][place] = row
    for wish in asked:
        intent = journal.of_key(wish.key)
        if not wish.group or intent is None:
            continue
        there = orders[wish.key]
        works = {str(row["order_id"]) for row in there.values() if _works(row) and row["order_id"] not in hidden}
        shown = {number: whose for number, whose in by_number.items() if number in works}
        # Of an OCA group whose refs are cut off nobody can say which of the list are its orders; that is told.
        known = intent["state"] in TAKEN and (marks or wish.group == "bracket")
        _judge_legs(verdict, wish, intent, journal, by_number, shown if known else {})
        if intent["state"] not in TAKEN or any(row["order_id"] in hidden for row in there.values()):
            continue
        if wish.group == "bracket":
            closing = [orders.get(f"{wish.key}:{step}", {}).get(0) for step in CLOSES]
            _judge_bracket(verdict, wish, intent, journal, there, closing, calm=calm)
            members = [row for place, row in there.items() if place]
        else:
            members = list(there.values())
            if not marks and intent["intent_id"] in journal.alerts:
                continue  # which of the list are its orders nobody can say, and somebody was told
        _judge_siblings(verdict, wish, intent, journal, members)


def _judge_legs(
    verdict: Verdict,
    wish: Asked,
    intent: Row,
    journal: JournalCopy,
    by_number: Mapping[str, tuple[str, int]],
    shown: Mapping[str, tuple[str, int]],
) -> None:
    """S3 for groups: every order that the journal names is one of this group, in the place it is named for."""
    for kind, body in intent["events"]:
        for leg in body["legs"] if kind == "Grouped" else ():
            if leg["order_id"] and by_number.get(str(leg["order_id"])) != (wish.key, leg["number"]):
                verdict.say("S3", f"{wish.key}: order {leg['order_id']} is called order {leg['number']} of its group")
    legs = [row for row in journal.intents.values() if row["leg_of"] == intent["intent_id"]]
    for leg in legs:
        if leg["state"] not in TAKEN:
            verdict.say("S6", f"{leg['key']} of a group is {leg['state']}")
        if by_number.get(str(leg["order_id"]), ("",))[0] != wish.key:
            verdict.say("S3", f"{leg['key']} is {leg['state']} as {leg['order_id']}, which is not of its group")
    numbers = [str(leg["order_id"]) for leg in legs]
    if len(set(numbers)) != len(numbers):
        verdict.say("S1", f"{wish.key}: two legs of its group are one order")
    followed = {*numbers, str(intent["order_id"])}
    for number, (key, place) in shown.items():
        if key == wish.key and number not in followed:
            verdict.say("S6", f"{wish.key}: order {number}, number {place} of its group, works, and nobody follows it")


def _judge_bracket(
    verdict: Verdict,
    wish: Asked,
    intent: Row,
    journal: JournalCopy,
    there: Mapping[int, Row],
    closing: Sequence[Row | None],
    *,
    calm: bool,
) -> None:
    parent = there.get(0)
    if parent is None:
        return
    told = intent["intent_id"] in journal.alerts
    children = [row for place, row in there.items() if place]
    kinds = [kind for kind, _ in intent["events"]]
    if len(children) < len(wish.others):
        if not told:
            verdict.say("F52", f"{wish.key}: {len(children)} of {len(wish.others)} children, and nobody is told")
        if "Mended" not in kinds and not _closing_in_doubt(wish, journal):
            verdict.say("F52", f"{wish.key}: {len(children)} of {len(wish.others)} children, and nothing is done")
    if calm and "Grouped" in kinds:
        waited = _moment(intent, "Grouped") - _moment(intent, "Acknowledged")
        if waited.total_seconds() > _TOLD_WITHIN_S:
            verdict.say("F52", f"{wish.key}: its children are known only {waited.total_seconds():.0f} s later")
    open_ = parent["filled"] - sum((row["filled"] for row in children), Decimal(0))
    closed = sum((row["filled"] for row in closing if row is not None), Decimal(0))
    if closed > max(open_, Decimal(0)):
        verdict.say("F52", f"{wish.key}: {open_} to close, {closed} closed: the position is turned round")
    guarded = any(row["order_type"] in _PROTECTIVE and _works(row) for row in children)
    if open_ > closed and not guarded and not told and not _cancelled_by_somebody(children, journal):
        verdict.say("F53", f"{wish.key}: {open_ - closed} filled without a stop, and nobody is told")


def _judge_siblings(verdict: Verdict, wish: Asked, intent: Row, journal: JournalCopy, members: Sequence[Row]) -> None:
    """F54: one that filled ends the others; two that filled are told."""
    filled = [row for row in members if row["state"] == "filled"]
    working = [row for row in members if _works(row)]
    if filled and working:
        numbers = ", ".join(str(row["order_id"]) for row in working)
        verdict.say("F54", f"{wish.key}: order {filled[0]['order_id']} is filled, and {numbers} still works")
    if len(filled) > 1 and intent["intent_id"] not in journal.alerts:
        verdict.say("F54", f"{wish.key}: {len(filled)} of a group are filled, and nobody is told")


def _closing_in_doubt(wish: Asked, journal: JournalCopy) -> bool:
    """The order that closes it went off and is unknown: a person is told (S6), and nothing goes off beside it."""
    closing = (journal.of_key(f"{wish.key}:{step}") for step in CLOSES)
    return any(each is not None and each["state"] == "unknown_needs_human" for each in closing)


def _cancelled_by_somebody(children: Sequence[Row], journal: JournalCopy) -> bool:
    """A person may take a stop away."""
    targets = {str(row["events"][0][1]["target"]) for row in journal.intents.values() if row["operation"] == "cancel"}
    return any(str(row["order_id"]) in targets for row in children)


def _works(row: Row) -> bool:
    return row["state"] in ("live", "pending_cancel")


def _moment(intent: Row, kind: str) -> datetime:
    return next(datetime.fromisoformat(body["at"]) for found, body in intent["events"] if found == kind)


def judge_externals(
    verdict: Verdict, *, ledger: Sequence[Row], journal: JournalCopy, hidden: frozenset[int], marks: bool
) -> None:
    """Orders of others are known to the journal; one that carries a mark of ours is told, too.

    marks: the broker shows refs as they are.
    """
    known = {str(row["order_id"]) for row in journal.intents.values() if row["operation"] == "external"}
    for row in ledger:
        if row["origin"] != "tws" or row["order_id"] in hidden or not _works(row):
            continue
        if str(row["order_id"]) not in known:
            verdict.say("S5", f"order {row['order_id']} of somebody else works, and the journal does not know it")
        elif marks and row["ref"] and str(row["order_id"]) not in journal.open_alerts:
            verdict.say("S5", f"order {row['order_id']} carries the mark {row['ref']}, and nobody is told")
