"""The judge: what must be true of a run, whatever went wrong in it. It imports nothing from ibkit.

Its witnesses: the broker's ledger with the request that caused each order, the deliveries (which request belongs to
which key, by a tracer that does not depend on the client order id), the journal file read through a connection of its
own, and the history of what callers were told.

Rules: S1-S8, S10 and L1, L3 of docs/guarantee.md's table.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = [
    "PENDING",
    "Asked",
    "Delivery",
    "JournalCopy",
    "States",
    "Told",
    "Verdict",
    "judge",
    "read_journal",
]

PENDING = frozenset({"intent", "claimed", "sending", "questioned", "replying", "ambiguous", "reconciling"})
DENIALS = frozenset({"not_placed", "rejected_broker", "rejected_policy", "rejected_local", "expired_local"})
TAKEN = frozenset({"acked", "filled", "cancelled", "rejected_late"})
_DENYING_EVENTS = frozenset({"ProvenAbsent", "RefusedByBroker", "RefusedByPolicy", "RefusedLocally", "Expired"})
_FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wanted under a key. terms: account, conid, side, quantity, order_type, limit, stop, tif, target.

    others: terms of the further orders of a group ("bracket" or "oca"), in the order of the request.
    """

    key: str
    operation: str
    terms: Mapping[str, Any]
    others: tuple[Mapping[str, Any], ...] = ()
    group: str = ""

    @property
    def legs(self) -> tuple[Mapping[str, Any], ...]:
        return (self.terms, *self.others)


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller was told. error: the exception's name, empty for an outcome."""

    at: float
    key: str
    intent_id: str = ""
    state: str = ""
    order_id: str = ""
    error: str = ""
    other_body: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One order call that left us. key: whose it is, by the tracer; "" if nobody's. name: a reply's question."""

    request_id: int
    at: float
    kind: str
    key: str
    carried_out: bool
    name: str = ""


@dataclass(frozen=True, slots=True)
class JournalCopy:
    """intents: id → row with `events` (kind, body); open_alerts: subjects; alerts: subjects of all of them."""

    intents: Mapping[str, Mapping[str, Any]]
    open_alerts: frozenset[str]
    alerts: frozenset[str]

    def of_key(self, key: str) -> Mapping[str, Any] | None:
        return next((row for row in self.intents.values() if row["key"] == key), None)


@dataclass(slots=True)
class Verdict:
    """breaches: rule and story, for each rule that was broken. ends: how many intents came to rest where."""

    breaches: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def say(self, rule: str, story: str) -> None:
        self.breaches.append(f"{rule}: {story}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def read_journal(path: Path) -> JournalCopy:
    connection = _connect(path)
    try:
        intents = {
            row["intent_id"]: {**row, "events": []} for row in map(dict, connection.execute("SELECT * FROM intents"))
        }
        for row in connection.execute("SELECT * FROM intent_events ORDER BY intent_id, number"):
            intents[row["intent_id"]]["events"].append((row["kind"], json.loads(row["body"])))
        alerts = [dict(row) for row in connection.execute("SELECT subject, closed_at FROM alerts")]
    finally:
        connection.close()
    return JournalCopy(
        intents,
        frozenset(row["subject"] for row in alerts if row["closed_at"] is None),
        frozenset(row["subject"] for row in alerts),
    )


class States:
    """The journal as anybody else sees it: read-only, through a connection of its own that stays open.

    Each statement is a transaction of its own and so sees what is committed at that moment, as a new connection would.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def now(self) -> dict[str, str]:
        """The state of each intent, by its key."""
        return dict(self.rows("SELECT key, state FROM intents"))

    def rows(self, statement: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            if not self._path.exists():
                return []
            self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError:
            return []  # the file is there, its tables are not yet

    def lanes_of(self, path: Path) -> list[tuple[Any, ...]]:
        """How often each lane of this file was taken: whenever something may have left, one of them was."""
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT username, epoch FROM lanes ORDER BY username").fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()

    def key_of_cancel(self, target: str) -> str:
        """The key of the cancel of this order that is being sent; empty where none is."""
        for intent_id, key in self.rows(
            "SELECT intent_id, key FROM intents WHERE operation = 'cancel' AND state = 'sending'"
        ):
            [(body,)] = self.rows("SELECT body FROM intent_events WHERE intent_id = ? AND number = 1", (intent_id,))
            if str(json.loads(body)["target"]) == target:
                return str(key)
        return ""

    def unannounced(self, kind: str, name: str, *, confirmed: bool | None, late: bool, now: datetime) -> str:
        """S4, at the broker's door: why this order call must not have been sent; empty where the journal announces it.

        name: the client order id of a placement, the question of a reply, the order of a change or cancel.
        late: it was on the way for a while, so the journal may have gone on since.
        """
        wanted = "Replying" if kind == "reply" else "Sending"
        of_ref = "SELECT intent_id, state FROM intents WHERE intent_id = ?"
        rows = self.rows(of_ref, (name,)) if kind == "place" else self._candidates(wanted.lower())
        breach = f"S4: {kind} {name} arrives without a row {wanted.upper()}"
        for intent_id, state in rows:
            found = self._announcements(intent_id, kind, name, wanted, confirmed)
            if not found:
                continue
            breach = "" if late else _badly_announced(kind, name, state, wanted.lower(), found[-1], now)
            if not breach:
                return ""
        return breach

    def _candidates(self, state: str) -> Iterator[tuple[str, str]]:
        """Those in this state first: mostly it is one of them."""
        yield from self.rows("SELECT intent_id, state FROM intents WHERE state = ?", (state,))
        yield from self.rows("SELECT intent_id, state FROM intents WHERE state <> ?", (state,))

    def _announcements(
        self, intent_id: str, kind: str, name: str, wanted: str, confirmed: bool | None
    ) -> list[Mapping[str, Any]]:
        rows = self.rows("SELECT kind, body FROM intent_events WHERE intent_id = ? ORDER BY number", (intent_id,))
        planned = json.loads(rows[0][1])
        if kind in ("modify", "cancel") and (planned["operation"] != kind or str(planned["target"]) != name):
            return []
        found = [json.loads(body) for found_kind, body in rows if found_kind == wanted]
        if kind == "reply":
            return [body for body in found if body["question_id"] == name and body["confirmed"] is confirmed]
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _badly_announced(kind: str, name: str, state: str, wanted: str, row: Mapping[str, Any], now: datetime) -> str:
    if state != wanted:
        return f"S4: {kind} {name} arrives while its row says {state}"
    waited = (now - datetime.fromisoformat(row["at"])).total_seconds()
    if waited > 2.0 + 1e-6:
        return f"P: {kind} {name} arrives {waited:.1f} s after its row (deadline 2 s)"
    return ""


def judge(
    *,
    ledger: Sequence[Mapping[str, Any]],
    deliveries: Sequence[Delivery],
    journal: JournalCopy,
    asked: Sequence[Asked],
    told: Sequence[Told],
    honest: bool,
    at_rest: bool = True,
    resend: bool = False,
    forbidden: frozenset[str] = frozenset(),
    hidden: frozenset[int] = frozenset(),
    phantoms: bool = False,
    places: Mapping[int, int] = MappingProxyType({}),
    forgotten: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    speed: float = 1.0,
) -> Verdict:
    """All rules over one run but those of groups and of the controls (`group_checker.py`, `guards.py`).

    honest: the visibility assumption held, so that S7 is demanded, too. resend: the opt-in to a second send is on.
    forbidden: ids of questions that nobody may confirm. hidden: orders that the broker shows to nobody any more.
    phantoms: the broker showed orders under our refs that do not exist; which of the two we follow is then chance.
    places: which ticket of its request an order came from, by its number; the first where it is not said.
    forgotten: the intents of a journal that an older copy has replaced; what they sent was somebody's.
    speed: how much quicker the journal's clock ran than the processor, which takes its time for a decision.
    """
    verdict = Verdict()
    by_request = {delivery.request_id: delivery for delivery in deliveries}
    asked = (*asked, *_by_itself(asked, journal))
    wishes = {wish.key: wish for wish in asked}
    placed: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    refused: set[str] = set()
    for row in ledger:
        cause = by_request.get(row["request_id"])
        if row["state"] == "rejected" and cause is not None:
            refused.add(cause.key)
        if not row["accepted"] or row["origin"] != "api":
            continue
        if cause is None or cause.key not in wishes:
            verdict.say("S5", f"order {row['order_id']} was caused by nobody's request")
            continue
        placed[cause.key].append(row)
    for wish in asked:
        _judge_wish(
            verdict,
            wish,
            placed[wish.key],
            ledger,
            by_request,
            journal,
            honest=honest,
            at_rest=at_rest,
            hidden=hidden,
            phantoms=phantoms,
            refused=wish.key in refused,
            places=places,
        )
    _judge_history(verdict, wishes, placed, journal, told, refused)
    known = {**forgotten, **journal.intents}.values()
    _judge_sends(verdict, deliveries, wishes, known, most=3 if resend else 1)
    for row in journal.intents.values():
        _judge_decisions(verdict, row, forbidden, fresh_s=_FRESH_S * speed)
        _judge_rest(verdict, row, journal, at_rest=at_rest)
    return verdict


def _by_itself(asked: Sequence[Asked], journal: JournalCopy) -> Iterator[Asked]:
    """Orders that nobody asked for by name: what closes a broken bracket is due, and nothing else is."""
    brackets = {wish.key for wish in asked if wish.group == "bracket"}
    for row in journal.intents.values():
        parent, _, step = row["key"].rpartition(":")
        if step.startswith("flatten") and parent in brackets:
            ticket = row["events"][0][1]["ticket"]
            terms = {name: ticket[name] for name in ("side", "order_type", "tif")}
            terms |= {"account": ticket["account_id"], "conid": ticket["contract"]["conid"], "limit": None}
            yield Asked(row["key"], "place", {**terms, "quantity": Decimal(ticket["quantity"]), "stop": None})


def _judge_rest(verdict: Verdict, row: Mapping[str, Any], journal: JournalCopy, *, at_rest: bool) -> None:
    """S6, of every intent, also those that nobody asked for by name (legs, orders of others, cancels of all)."""
    if at_rest and row["state"] in PENDING:
        verdict.say("S6", f"{row['key']} ({row['operation']}) is not at rest: {row['state']}")
    if row["state"] == "unknown_needs_human" and row["intent_id"] not in journal.open_alerts:
        verdict.say("S6", f"{row['key']} is unknown without an open alert")


def _judge_wish(
    verdict: Verdict,
    wish: Asked,
    orders: Sequence[Mapping[str, Any]],
    ledger: Sequence[Mapping[str, Any]],
    by_request: Mapping[int, Delivery],
    journal: JournalCopy,
    *,
    honest: bool,
    at_rest: bool,
    hidden: frozenset[int],
    phantoms: bool,
    refused: bool,
    places: Mapping[int, int],
) -> None:
    key = wish.key
    row = journal.of_key(key)
    if wish.operation == "cancel all":
        return
    by_place: dict[int, list[int]] = defaultdict(list)
    for order in orders:
        place = places.get(order["order_id"], 0)
        by_place[place].append(order["order_id"])
        _judge_terms(verdict, wish, wish.legs[min(place, len(wish.others))], order)
    for place, numbers in by_place.items():
        if len(numbers) > 1:
            verdict.say("S1", f"{len(numbers)} orders for {key}{f', order {place}' if place else ''}: {numbers}")
    if row is None:
        if orders:
            verdict.say("S6", f"{key} has an order, but no intent")
        verdict.ends["never stored"] += 1
        return
    state = row["state"]
    verdict.ends[state] += 1
    denials = [kind for kind, _ in row["events"] if kind in _DENYING_EVENTS]
    if wish.operation == "place":
        if state in TAKEN and not orders and not (refused and state == "rejected_late"):
            verdict.say("S3", f"{key} is {state}, but there is no order")
        known = {str(order["order_id"]) for order in orders}
        if state in TAKEN and orders and str(row["order_id"]) not in known and not phantoms:
            verdict.say("S3", f"{key} is {state} as {row['order_id']}, its order is {orders[0]['order_id']}")
        if denials and orders and honest:
            verdict.say("S7", f"{key} was called {denials[0]}, but order {orders[0]['order_id']} exists")
        found = [order for order in orders if order["order_id"] not in hidden]
        named = [order for order in found if str(order["order_id"]) == str(row["order_id"])]
        if at_rest and state in TAKEN and named:
            _judge_progress(verdict, wish, row, named[0])
        if denials and found and at_rest and state in DENIALS:
            verdict.say("S7b", f"{key} is still {state} long after its order {orders[0]['order_id']} could be seen")
        return
    word = {"cancel": "cancel requested", "modify": "modified"}[wish.operation]
    done = [
        event
        for order in ledger
        for event in order["events"]
        if event["event"] == word and (cause := by_request.get(event["request_id"])) and cause.key == key
    ]
    if state in TAKEN and not done and wish.operation == "modify":
        verdict.say("S3", f"{key} (modify) is {state}, but nothing was changed")
    if denials and done and honest:
        verdict.say("S7", f"{key} ({wish.operation}) was called {denials[0]}, but it was carried out")


def _judge_progress(verdict: Verdict, wish: Asked, row: Mapping[str, Any], order: Mapping[str, Any]) -> None:
    """What was filled is kept (F47), no end is missed (F56), and a refusal after the acknowledgement is told (F48)."""
    told = [body for kind, body in row["events"] if kind == "Progressed"]
    filled = Decimal(str(told[-1]["filled"])) if told else Decimal(0)
    state, done = row["state"], Decimal(str(order["filled"]))
    if state != "acked" and filled != done:
        verdict.say("S11", f"{wish.key} is {state} with {filled} filled, the broker says {done}")
    if state == "acked" and order["state"] in ("filled", "cancelled", "rejected"):
        verdict.say("S11", f"{wish.key} is still {state}, its order is {order['state']}")


def _judge_terms(verdict: Verdict, wish: Asked, terms: Mapping[str, Any], order: Mapping[str, Any]) -> None:
    if Decimal(str(order["filled"])) > Decimal(str(order["quantity"])):
        verdict.say("S2", f"{wish.key}: filled {order['filled']} of {order['quantity']}")
    if any(event["event"] == "modified" for event in order["events"]):
        return
    names = ("account", "conid", "conidex", "side", "quantity", "order_type", "limit", "stop", "tif", "trailing")
    for name in names:
        # A combination has no conid of its own, an order of a group shrinks by what another of it has filled.
        if (name == "conid" and terms.get("conidex")) or (name == "quantity" and order["group"]):
            continue
        if _plain(order.get(name)) != _plain(terms.get(name)):
            verdict.say("S2", f"{wish.key}: {name} is {order.get(name)}, asked {terms.get(name)}")
    if order["group"] and Decimal(str(order["quantity"])) > terms["quantity"]:
        verdict.say("S2", f"{wish.key}: quantity is {order['quantity']}, asked {terms['quantity']}")


def _plain(value: Any) -> Any:
    return Decimal(str(value)) if isinstance(value, int | float | Decimal) else value


def _judge_history(
    verdict: Verdict,
    wishes: Mapping[str, Asked],
    placed: Mapping[str, Sequence[Mapping[str, Any]]],
    journal: JournalCopy,
    told: Iterable[Told],
    refused: Collection[str],
) -> None:
    """S3 and S8: what callers were told."""
    ids: dict[str, str] = {}
    denied: dict[str, str] = {}
    for each in told:
        if each.other_body:
            if not each.error:
                verdict.say("S8", f"{each.key} with another body was answered {each.state}")
            continue
        if each.error:
            continue
        if ids.setdefault(each.key, each.intent_id) != each.intent_id:
            verdict.say("S8", f"{each.key} named two intents: {ids[each.key]}, {each.intent_id}")
        row = journal.of_key(each.key)
        if row is None:
            verdict.say("S3", f"{each.key} was answered {each.state}, but the journal does not know it")
            continue
        if each.state in TAKEN:
            gone = refused if row["state"] == "rejected_late" else ()
            if wishes[each.key].operation == "place" and not placed.get(each.key) and each.key not in gone:
                verdict.say("S3", f"{each.key} was told {each.state}, but there is no order")
            if row["state"] not in TAKEN:
                verdict.say("S3", f"{each.key} was told {each.state}, the journal says {row['state']}")
        elif each.state in PENDING:
            verdict.say("S8", f"{each.key} was answered while {each.state}")
        if each.key in denied and each.state != denied[each.key] and each.state not in TAKEN:
            verdict.say("S8", f"{each.key} was told {denied[each.key]}, then {each.state}")
        if each.state in DENIALS:
            denied[each.key] = each.state


def _judge_sends(
    verdict: Verdict,
    deliveries: Iterable[Delivery],
    wishes: Mapping[str, Asked],
    intents: Iterable[Mapping[str, Any]],
    *,
    most: int,
) -> None:
    """L3: one placement or change for an intent, three cancels at most, one reply to a question; nothing of nobody."""
    deliveries = list(deliveries)
    sent = Counter(delivery.key for delivery in deliveries if delivery.kind in ("place", "modify"))
    cancelled = Counter(delivery.name for delivery in deliveries if delivery.kind == "cancel")
    replies = Counter(delivery.name for delivery in deliveries if delivery.kind == "reply")
    for question, times in replies.items():
        if times > 1:
            verdict.say("S4", f"question {question} was answered {times} times")
    for key, times in sent.items():
        if key not in wishes:
            verdict.say("S5", f"{times} order calls of nobody ({key or 'no tracer'})")
        elif times > most:
            verdict.say("L3", f"{key} was sent {times} times")
    cancels = Counter(str(row["events"][0][1]["target"]) for row in intents if row["operation"] == "cancel")
    for target, times in cancelled.items():
        if not cancels[target]:
            verdict.say("S5", f"{times} cancels of order {target}, which no intent cancels")
        elif times > 3 * cancels[target]:
            verdict.say("L3", f"order {target} was cancelled {times} times by {cancels[target]} intents")


def _judge_decisions(verdict: Verdict, row: Mapping[str, Any], forbidden: frozenset[str], *, fresh_s: float) -> None:
    """S9: each send and each yes has a decision right before it, a second old at most; old wishes are not sent."""
    before: tuple[str, Mapping[str, Any]] = ("", {})
    expires_at, asked = "", frozenset[str]()
    for kind, body in row["events"]:
        if kind == "Planned":
            expires_at = body["expires_at"]
        if kind == "Questioned":
            asked = frozenset(body["question"]["message_ids"])
        if kind == "Sending" and _age(expires_at, body["at"]) > 0:
            verdict.say("RC-26", f"{row['key']}: sent {_age(expires_at, body['at']):.1f} s after it had expired")
        if kind == "Replying" and body["confirmed"] and asked & forbidden:
            verdict.say("S9", f"{row['key']}: {', '.join(asked & forbidden)} was confirmed")
        stage = "send" if kind == "Sending" else "confirm" if kind == "Replying" and body["confirmed"] else ""
        if stage:
            good = before[0] == "Decided" and before[1]["passed"] and before[1]["stage"] == stage
            if not good:
                verdict.say("S9", f"{row['key']}: {kind} without a decision")
            elif _age(before[1]["at"], body["at"]) > fresh_s:
                verdict.say(
                    "S9", f"{row['key']}: {kind} on a decision of {_age(before[1]['at'], body['at']):.1f} s ago"
                )
        before = (kind, body)


def _age(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
