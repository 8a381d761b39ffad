"""Tier M: the protocol as an executable model in virtual time. It proves the rules, against a broker of its own.

Every `yield` of `place` is a point where the process may die. The journal is durable, all else is lost. Broker facts:
docs/facts/orders.md §3.2, §4, §9, §14 (a question parks an order that owns its client order id already, and confirming
another order may release it).
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MODEL_BUGS", "Shape", "schedule", "tally"]

SETTLE_S = 60.0
READS = 3
GIVE_UP_S = 300.0
VISIBLE_WITHIN_S = 45.0
RESET = 0.01
"""Chance per step of a nightly reset or a takeover of the session."""
TERMINAL = ("ACKED", "REJECTED", "NOT_PLACED", "UNKNOWN")
FAULTS = (
    "ok",
    "reject",
    "unsent",
    "lost_before",
    "s503",
    "s429",
    "s401",
    "lost_after",
    "reset_body",
    "html200",
    "s500_accepted",
    "s400_but_placed",
    "late_delivery",
)
WEIGHTS = [8] + [1] * 12
SILENT = ("lost_after", "reset_body", "html200", "s500_accepted", "s400_but_placed")
MODEL_BUGS = (
    "send_before_journal",
    "retry_post_on_timeout",
    "resend_after_crash",
    "empty_is_absent",
    "timeout_means_rejected",
    "ignore_session_scope",
    "journal_not_durable",
    "parked_is_absent",
    "early_reads_count",
    "new_coid_on_retry",
    "registered_means_reject",
)

Row = dict[str, Any]


class _Crash(BaseException):
    pass


@dataclass(frozen=True, slots=True)
class Shape:
    """dedupe: the broker refuses a known id. adversarial: orders show up too late. resend: the opt-in."""

    bug: str = ""
    dedupe: bool = False
    adversarial: bool = False
    swarm: bool = True
    resend: bool = False


@dataclass(slots=True)
class _Broker:
    """Ground truth: `orders`. Terms tell the intent, so that a duplicate shows whatever its id."""

    dice: random.Random
    shape: Shape
    now: float = 0.0
    session: int = 0
    first_read: bool = True
    calm: bool = False
    orders: list[Row] = field(default_factory=list)
    replies: dict[str, tuple[str, int]] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)
    queue: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    serial: int = 0
    release: bool = False
    visible_s: float = VISIBLE_WITHIN_S
    read_fail: float = 0.2
    weights: list[int] = field(default_factory=lambda: WEIGHTS)

    def __post_init__(self) -> None:
        dice = self.dice
        self.release = dice.random() < 0.5
        if self.shape.adversarial:
            self.visible_s = 600.0
        if self.shape.swarm:
            self.read_fail = dice.choice([0, 0.2, 0.6, 0.9])
            self.weights = [w * dice.choice([0, 0, 1, 5]) if k else w for k, w in enumerate(WEIGHTS)]

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self.queue and self.queue[0][0] <= end:
            self.now, _, act = heapq.heappop(self.queue)
            act()
        self.now = end

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        self.serial += 1
        heapq.heappush(self.queue, (self.now + seconds, self.serial, act))

    def accept(self, coid: str, terms: str, delay: float) -> Row | None:
        if self.shape.dedupe and any(order["coid"] == coid for order in self.orders):
            return None
        shown = self.now + delay
        order = {"coid": coid, "oid": f"o{len(self.orders)}", "terms": terms, "vis": shown, "sess": self.session}
        self.orders.append(order)
        return order

    def take(self, coid: str, terms: str, delay: float, questions: int, *, confirming: bool = False) -> tuple[str, str]:
        known = coid in self.parked or any(order["coid"] == coid for order in self.orders)
        if self.shape.dedupe and not confirming and known:
            return "registered", coid
        if questions:
            reply_id = f"r{self.dice.randrange(10**9)}"
            self.parked[coid] = terms
            self.replies[reply_id] = (coid, questions - 1)
            return ("strange question" if self.dice.random() < 0.15 else "question"), reply_id
        self.parked.pop(coid, None)
        order = self.accept(coid, terms, delay)
        if confirming and self.release:
            for other, its_terms in list(self.parked.items()):
                del self.parked[other]
                self.accept(other, its_terms, 0)
        return ("ack", order["oid"]) if order else ("registered", coid)

    def post(self, coid: str, terms: str) -> tuple[str, str]:
        dice = self.dice
        fault = "ok" if self.calm else dice.choices(FAULTS, self.weights)[0]
        delay = dice.choice([0, 0, 2, 8, self.visible_s * 0.6])
        asked = dice.randint(1, 3) if dice.random() < 0.35 else 0
        if fault == "ok":
            return self.take(coid, terms, delay, asked)
        if fault in ("reject", "unsent"):
            return fault, fault
        if fault in SILENT:
            self.take(coid, terms, delay, asked)
        elif fault == "late_delivery":
            self.later(dice.uniform(1, self.visible_s * 0.6), lambda: self.take(coid, terms, 0, asked))
        return "ambiguous", fault

    def reply(self, reply_id: str, *, yes: bool) -> tuple[str, str]:
        faults = ["ok", "expired", "lost_after", "lost_before", "late"]
        fault = "ok" if self.calm else self.dice.choices(faults, [6, 1, 1, 1, 1])[0]

        def go() -> tuple[str, str]:
            if reply_id not in self.replies:
                return "ambiguous", "reply id not found"
            coid, left = self.replies.pop(reply_id)
            if coid not in self.parked:
                return "ambiguous", "503"
            if not yes:
                del self.parked[coid]
                return "reject", "Order not confirmed "
            return self.take(coid, self.parked[coid], self.dice.choice([0, 2, 8]), left, confirming=True)

        if fault == "expired":
            self.replies.pop(reply_id, None)  # the id is gone, the order stays parked
        if fault == "ok":
            return go()
        if fault == "lost_after":
            go()
        elif fault == "late":
            self.later(self.dice.uniform(1, 27), go)
        return "ambiguous", fault

    def reset(self) -> None:
        """A new session: reply ids are gone, parked orders outlive it."""
        self.session += 1
        self.first_read = True
        self.replies.clear()

    def list_rows(self) -> list[Row] | None:
        if not self.calm and self.dice.random() < self.read_fail:
            return None
        if self.first_read:
            self.first_read = False
            return []
        shown = [order for order in self.orders if order["vis"] <= self.now and order["sess"] == self.session]
        return shown + [{"coid": coid, "parked": True} for coid in self.parked]

    def trades(self) -> list[Row] | None:
        if not self.calm and self.dice.random() < self.read_fail:
            return None
        return [order for order in self.orders if order["vis"] <= self.now and int(order["oid"][1:]) % 2]


def _take(record: Row, kind: str, value: str, broker: _Broker, bug: str) -> None:
    if kind == "ack":
        record.update(st="ACKED", oid=value)
    elif kind in ("question", "strange question"):
        record.update(st="QUESTION", rid=value, yes=kind == "question")
    elif kind == "unsent":
        record.update(st="INTENT")
    elif kind == "reject" or (kind == "registered" and bug == "registered_means_reject"):
        record.update(st="REJECTED")
    else:
        record.update(st="AMB", since=broker.now, ok=0, seen=None)


def _place(journal: dict[int, Row], broker: _Broker, number: int, shape: Shape) -> Iterator[None]:
    bug = shape.bug
    record = journal.get(number)
    if record is None:
        record = journal[number] = {"st": "INTENT", "n": 0, "coid": f"c{number}", "terms": f"T{number}"}
        yield
    while record["st"] not in TERMINAL:
        state = record["st"]
        if state == "INTENT":
            if bug == "new_coid_on_retry":
                record["coid"] = f"c{number}-{record['n']}"
            if bug != "send_before_journal":
                record.update(st="SENDING", sess=broker.session)
                yield
            kind, value = broker.post(record["coid"], record["terms"])
            if bug == "retry_post_on_timeout" and kind == "ambiguous":
                kind, value = broker.post(record["coid"], record["terms"])
            yield
            record["sess"] = record.get("sess", broker.session)
            _take(record, kind, value, broker, bug)
        elif state == "QUESTION":
            record.update(st="REPLYING", sess=broker.session)
            yield
            kind, value = broker.reply(record["rid"], yes=record["yes"])
            yield
            _take(record, kind, value, broker, bug)
        elif state in ("SENDING", "REPLYING"):  # reached only after a crash
            if bug == "resend_after_crash" and state == "SENDING":
                record.update(st="INTENT")
            else:
                _take(record, "ambiguous", "crash", broker, bug)
        else:
            broker.sleep(5.1)
            yield
            _look(record, broker, shape)
        yield


def _look(record: Row, broker: _Broker, shape: Shape) -> None:
    bug = shape.bug
    rows, fills = broker.list_rows(), broker.trades()
    hits = [row for row in (rows or []) + (fills or []) if row["coid"] == record["coid"]]
    waited = broker.now - record["since"]
    fresh = record["seen"] != broker.session  # the first read of a session never counts
    record["seen"] = broker.session
    live = [row for row in hits if not row.get("parked")]
    if live:
        record.update(st="ACKED", oid=live[0]["oid"])
    elif hits and bug != "parked_is_absent":
        if waited >= SETTLE_S:
            record.update(st="UNKNOWN")  # another confirmation may release it
    elif bug == "empty_is_absent" and rows is not None:
        record.update(st="INTENT", n=record["n"] + 1)
    elif bug == "timeout_means_rejected" and waited > 10:
        record.update(st="NOT_PLACED")
    else:
        late_enough = waited >= SETTLE_S or bug == "early_reads_count"
        if rows is not None and fills is not None and not fresh and late_enough:
            record["ok"] += 1
        if record["sess"] != broker.session and bug != "ignore_session_scope":
            if waited >= SETTLE_S:
                record.update(st="UNKNOWN")  # the list is bound to the session: absence cannot be shown
        elif record["ok"] >= READS and waited >= SETTLE_S:
            record["n"] += 1
            record.update(st="INTENT" if shape.resend and record["n"] < 3 else "NOT_PLACED")
        elif waited > GIVE_UP_S:
            record.update(st="UNKNOWN")


def schedule(seed: int, shape: Shape | None = None) -> list[str]:
    """The violations of one schedule."""
    shape = shape or Shape()
    dice = random.Random(seed)
    broker, journal = _Broker(dice, shape), dict[int, Row]()
    intents, rate, crashes, steps = range(dice.randint(1, 4)), dice.choice([0, 0.02, 0.06, 0.15]), 0, 0
    while True:
        try:
            for number in intents:
                for _ in _place(journal, broker, number, shape):
                    steps += 1
                    if steps > 20_000:
                        return ["L1 livelock"]
                    if not broker.calm and dice.random() < rate:
                        raise _Crash
                    if not broker.calm and dice.random() < RESET:
                        broker.reset()
                    broker.sleep(dice.choice([0, 0.01, 0.1]))
            break
        except _Crash:
            crashes += 1
            broker.sleep(dice.choice([0, 1, 20]))
            if crashes > 12:
                broker.calm, rate = True, 0
            if shape.bug == "journal_not_durable":
                lost = next((record for record in journal.values() if record["st"] == "SENDING"), None)
                if lost is not None:
                    lost["st"] = "INTENT"
    broker.sleep(3600)
    return _judge(journal, broker, intents)


def _judge(journal: dict[int, Row], broker: _Broker, intents: range) -> list[str]:
    bad = []
    for number in intents:
        record = journal.get(number)
        real = [order for order in broker.orders if order["terms"] == f"T{number}"]
        if len(real) > 1:
            bad.append("S1 duplicate")
        if record is None or record["st"] not in TERMINAL:
            bad.append("S6 dropped")
            continue
        if record["st"] in ("NOT_PLACED", "REJECTED") and real:
            bad.append("S7 false negative")
        if record["st"] == "ACKED" and not real:
            bad.append("S3 phantom ack")
    return bad


def tally(count: int, shape: Shape | None = None, *, first: int = 0) -> dict[str, int]:
    """How often each rule was broken in `count` schedules."""
    broken: Counter[str] = Counter()
    for seed in range(first, first + count):
        broken.update(schedule(seed, shape))
    return dict(broken)
