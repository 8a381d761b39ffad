"""What goes wrong between us and the broker: drawn for each call, made by the simulator's own faults where it has them.

Numbers F… are the rows of the fault model. A fault of the table hits one call; session faults come between calls.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ibkit.sim.faults import RequestFault

from .fates import Fates

__all__ = ["DISK_FAULTS", "GROUP_FAULTS", "ORDER_FAULTS", "READ_FAULTS", "SESSION_FAULTS", "Fault", "Weather"]


@dataclass(frozen=True, slots=True)
class Fault:
    """name, row of the fault model, and how it is made.

    unsent: no byte leaves; the cause that the transport names. sim: a request fault of the simulator. lie: changes the
    answer after it was carried out. slow: how its answer is late. kinds: the calls it can hit.
    late: the call may still be on its way when we have given up.
    """

    name: str
    row: str
    kinds: frozenset[str]
    unsent: str = ""
    sim: str = ""
    params: tuple[tuple[str, Any], ...] = ()
    lie: str = ""
    slow: str = ""
    late: bool = False
    weight: float = 1.0

    def request_fault(self, seconds: float) -> RequestFault:
        params = dict(self.params)
        if self.sim in ("delay", "delay-before"):
            params["seconds"] = seconds
        return RequestFault(self.sim, path="*", times=1, params=params)


_SENDING = frozenset({"place", "modify", "cancel"})
_CHANGING = _SENDING | {"reply"}


def _status(status: int, text: str = "", *, kept: bool = False) -> dict[str, Any]:
    body = {"error": text, "statusCode": status} if text else None
    return {"sim": "status-after" if kept else "status", "params": (("status", status), ("body", body))}


_REGISTERED = "Order couldn't be submitted: Local order ID=chaos is already registered."

ORDER_FAULTS: tuple[Fault, ...] = (
    Fault("dns failure", "F01", _CHANGING, unsent="dns"),
    Fault("connection refused", "F02", _CHANGING, unsent="refused"),
    Fault("connect black hole", "F03", _CHANGING, unsent="timeout"),
    Fault("tls failure", "F04", _CHANGING, unsent="tls"),
    Fault("no free connection", "F06", _CHANGING, slow="queue"),
    Fault("no descriptors left", "F99", _CHANGING, unsent="other"),
    Fault("request lost", "F07", _CHANGING, sim="drop-request"),
    Fault("answer lost", "F08", _CHANGING, sim="drop-answer", weight=2),
    Fault("reset in the request", "F09", _CHANGING, sim="drop-answer"),
    Fault("answer cut", "F10", _CHANGING, sim="truncate"),
    Fault("peer stalls", "F11", _CHANGING, sim="delay"),
    Fault("one byte a second", "F12", _CHANGING, slow="drip"),
    Fault("fill before the ack", "F46", _CHANGING, slow="fill"),
    Fault("late delivery", "F13", _CHANGING, sim="delay-before", late=True, weight=2),
    Fault("answer of an earlier call", "F14", _CHANGING, lie="stale"),
    Fault("endless body", "F17", _CHANGING, slow="endless"),
    Fault("redirect", "F15", _CHANGING, sim="redirect"),
    Fault("html, not carried out", "F16", _CHANGING, sim="html"),
    Fault("html, carried out", "F16", _CHANGING, sim="html-after"),
    Fault("empty 200", "F18", _CHANGING, sim="empty-200"),
    Fault("500, not accepted", "F19", _CHANGING, **_status(500, "Internal Server Error")),
    Fault("500, accepted", "F20", _CHANGING, **_status(500, "Internal Server Error", kept=True)),
    Fault("503, not accepted", "F21", _CHANGING, **_status(503, "Service Unavailable")),
    Fault("503, accepted", "F21", _CHANGING, **_status(503, "Service Unavailable", kept=True)),
    Fault("429, not accepted", "F22", _CHANGING, **_status(429, "Too many requests")),
    Fault("429, accepted", "F22", _CHANGING, **_status(429, "Too many requests", kept=True)),
    Fault("401, not accepted", "F24", _CHANGING, **_status(401)),
    Fault("401, accepted", "F24", _CHANGING, **_status(401, kept=True)),
    Fault("400 no bridge", "F26", _SENDING, **_status(400, "Bad Request: no bridge")),
    Fault("400, yet placed", "F27", _SENDING, **_status(400, "Bad Request: timed out", kept=True)),
    Fault("400, placed later", "F27", _SENDING, lie="400 now, carried out later", late=True),
    Fault("403, not accepted", "F28", _SENDING, **_status(403, "Forbidden")),
    Fault("403, accepted", "F28", _SENDING, **_status(403, "Forbidden", kept=True)),
    Fault(
        "registered, 200",
        "F30",
        frozenset({"place"}),
        sim="status-after",
        params=(("status", 200), ("body", {"error": _REGISTERED})),
    ),
    Fault("registered, 400", "F119", frozenset({"place"}), **_status(400, _REGISTERED, kept=True)),
    Fault(
        "registered, nothing there",
        "F78",
        frozenset({"place"}),
        sim="status",
        params=(("status", 200), ("body", {"error": _REGISTERED})),
    ),
    Fault("unknown shape", "F31", _CHANGING, lie="shape"),
    Fault("two rows", "F31", _CHANGING, lie="rows"),
    Fault("null", "F31", _CHANGING, lie="null"),
    Fault("ack of another account", "F32", _SENDING, lie="account"),
    Fault("ack of another ref", "F32", frozenset({"place", "reply"}), lie="ref"),
    Fault("ack without id", "F32", _SENDING, lie="no id"),
    Fault("unknown status", "F33", _CHANGING, lie="status"),
    Fault("question in ten kilobytes of HTML", "F43", frozenset({"place", "modify", "reply"}), lie="text", weight=2),
    Fault("chain that never ends", "F37", frozenset({"place"}), lie="endless", weight=4),
    Fault("two question objects", "F38", frozenset({"place", "modify", "reply"}), lie="two questions", weight=2),
    Fault("reply expired, 400", "F39", frozenset({"reply"}), **_status(400, "reply id not found")),
    Fault("reply expired, 503", "F39", frozenset({"reply"}), **_status(503, "Service Unavailable")),
    Fault("reply worked, 400", "F40", frozenset({"reply"}), **_status(400, "reply id not found", kept=True)),
    Fault(
        "refusal in the answer",
        "F29",
        frozenset({"place"}),
        sim="status",
        params=(("status", 200), ("body", {"error": "The order was refused"})),
    ),
)
READ_FAULTS: tuple[Fault, ...] = (
    Fault("read refused", "F02", frozenset({"read"}), unsent="refused"),
    Fault("read lost", "F70", frozenset({"read"}), sim="drop-answer"),
    Fault("read 503", "F64", frozenset({"read"}), **_status(503, "Service Unavailable")),
    Fault("read 500", "F19", frozenset({"read"}), **_status(500, "Internal Server Error")),
    Fault("read 429", "F77", frozenset({"read"}), **_status(429, "Too many requests")),
    Fault("read 401", "F24", frozenset({"read"}), **_status(401)),
    Fault("read html", "F16", frozenset({"read"}), sim="html"),
    Fault("read cut", "F10", frozenset({"read"}), sim="truncate"),
    Fault("read stalls", "F11", frozenset({"read"}), sim="delay"),
    Fault("executions late", "F75", frozenset({"trades"}), lie="none yet"),
    Fault("executions twice, corrected, shuffled", "F51", frozenset({"trades"}), lie="corrected"),
    Fault("two rows with our ref", "F55", frozenset({"orders"}), lie="double", weight=0.5),
    Fault("empty, no snapshot", "F69", frozenset({"orders"}), lie="empty"),
    Fault("rows of another account", "F76", frozenset({"orders", "trades"}), lie="strangers"),
    Fault("list cut", "F71", frozenset({"orders"}), lie="cut", weight=0.3),
)
SESSION_FAULTS: dict[str, str] = {
    "reset": "F63: the brokerage session is gone, and what was suppressed in it (F44)",
    "relogin": "F65: another brokerage session takes its place, without a gap",
    "logout": "F65: the login is gone until somebody logs in",
    "taken": "F57: another login takes the session, and gives it back",
    "maintenance": "F64: 503 for a while",
    "pacing": "F23, F129: 429 without Retry-After for every call for a while, then the penalty box",
    "account": "F66: another account of the login is selected",
    "questions": "F130: what was asked is no longer, or the other way round",
    "proof": "F62: the proof of the live session token is wrong for a while (OAuth 1.0a)",
    "signature": "F67: signatures, nonces or time stamps are refused for a while (OAuth)",
    "date": "F67: the server's Date is ten minutes off for a while",
}
"""Name → row of the fault model, and what happens between two calls."""
DISK_FAULTS: dict[str, str] = {
    "full": "F92: no space left",
    "busy": "F93: another program holds the database",
    "fsync lost": "F94: a failed fsync, and the row is not there",
    "fsync kept": "F94, F97: a failed fsync, and the row is there: a commit of unknown outcome",
    "no descriptors": "F99: the lock file cannot be opened",
}


GROUP_FAULTS: dict[str, str] = {
    "bracket-child-reject": "F52: a bracket's children are refused, its parent goes live",
    "bracket-refused": "F52, F121: a bracket's children are refused, its parent is Inactive with them",
    "oca-sibling-stays": "F54: a fill ends no other order of its group",
    "oca-both-fill": "F54: a fill fills the others as well",
}
"""Scenario of the simulator, on for a whole schedule → row of the fault model, and what it does."""


class Weather:
    """The faults of one schedule: each call draws from weights that the schedule drew for itself (swarm)."""

    def __init__(
        self,
        fates: Fates,
        dice: random.Random,
        *,
        swarm: bool,
        rate: float,
        read_rate: float,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """rate: chance of a fault at an order call; rates: another one for some kinds of it."""
        self._fates = fates
        self._rates = rates or {}
        self.rate = rate
        self.read_rate = read_rate
        self.calm = False
        self.fired: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        """(fault, what call it hit after which row of the journal) → times."""
        self.weights = {
            fault.name: fault.weight * (dice.choice([0, 0, 1, 5]) if swarm else 1)
            for fault in (*ORDER_FAULTS, *READ_FAULTS)
        }

    def draw(self, kind: str, step: str) -> tuple[Fault, random.Random] | None:
        """The fault that hits this call, with dice for its details.

        kind: place, modify, cancel, reply, orders, trades, read. step: the journal's newest row.
        """
        if self.calm:
            return None
        changing = kind in _CHANGING
        # What settles an order is read under fire; the rest fails more seldom, or nothing would ever be sent.
        rate = (
            self._rates.get(kind, self.rate) if changing else self.read_rate if kind != "read" else self.read_rate / 8
        )
        dice = self._fates.roll("call" if changing else "read", rate)
        if dice is None:
            return None
        table = ORDER_FAULTS if changing else READ_FAULTS
        kinds = {kind} if changing else {kind, "read"}
        fitting = [fault for fault in table if fault.kinds & kinds and self.weights[fault.name] > 0]
        if not fitting:
            return None
        fault = dice.choices(fitting, [self.weights[each.name] for each in fitting])[0]
        self.fired[fault.name] += 1
        self.pairs[fault.name, f"{kind} after {step}"] += 1
        self._fates.tell(f"{kind}: {fault.name} ({fault.row})")
        return fault, dice
