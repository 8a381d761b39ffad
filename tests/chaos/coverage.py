"""What a large run must have met: each fault often enough, and each at each step at which it can strike.

In 10,000 schedules each fault fires 50 times and each pair of fault and step 10 times; a shorter run owes its share of
the first. A run that misses one has not tested what it seems to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .crashes import POINTS
from .faults import DISK_FAULTS, GROUP_FAULTS, ORDER_FAULTS, READ_FAULTS, SESSION_FAULTS
from .officer import PRESSES

__all__ = ["ENDS", "FULL_RUN", "SEEN", "gaps", "never", "pairs_wanted", "wanted"]

FULL_RUN = 10_000
LEAST_FIRED = 50
LEAST_PAIRED = 10
ENDS = (
    "acked",
    "filled",
    "cancelled",
    "rejected_late",
    "rejected_local",
    "rejected_policy",
    "rejected_broker",
    "expired_local",
    "not_placed",
    "unknown_needs_human",
)
SEEN = (
    "twins",
    "replay",
    "caller left",
    "other body: KeyReused",
    "external order",
    "recovered acked",
    "error InFlight",
    "error RateLimited",
    "overnight",
    "fill races a cancel",
    "chain of questions",
    "endless chain",
    "messages together",
    "late delivery of a reply",
    "decline lost",
    "lists of the session",
    "refs misspelt",
    "release of parked orders",
    "short tokens",
    "prompt p12",
    "external order with a mark",
    "cancelled everything",
    "not everything cancelled",
    "stopped",
    "lane taken over",
    "beside",
    "error Fenced",
    "journal restored",
    "sends under guard",
    "row Grouped",
    "row Mended",
    "row TakenOver",
    "row Attached",
    "row Rearmed",
    "flattened",
    *PRESSES,
    *GROUP_FAULTS,
)
_STEP_OF = {"place": "Sending", "modify": "Sending", "cancel": "Sending", "reply": "Replying"}
_SEARCHING = ("Doubted", "Looked")
_ROWS = ("Planned", "Claimed", "Sending", "Questioned", "Replying", "Acknowledged", "Doubted", "Looked", "Progressed")
"""Rows that a disk fault must have met; the ends of an intent are written too seldom to demand each with each."""

IMPOSSIBLE: Mapping[tuple[str, str], str] = {}
"""Pairs that are left out, and why. What cannot be drawn at all is told by the `kinds` of the fault."""


def wanted(runs: int) -> Iterator[tuple[str, int]]:
    """(what, how often at least) in a run of so many schedules. Names as in `Tally.met`."""
    share = max(1, LEAST_FIRED * runs // FULL_RUN)
    for fault in (*ORDER_FAULTS, *READ_FAULTS):
        yield fault.name, share
    for name in (*SESSION_FAULTS, *(f"disk {name}" for name in DISK_FAULTS), "process stopped", "wall clock set"):
        yield name, share
    for point in POINTS:
        yield f"crash at {point}", share
    for end in ENDS:
        yield f"end {end}", share
    for name in SEEN:
        yield name, share


def pairs_wanted() -> Iterator[tuple[str, str]]:
    """(fault, call and newest row of the journal) of each pair that a full run must have met."""
    for fault in ORDER_FAULTS:
        yield from ((fault.name, f"{kind} after {_STEP_OF[kind]}") for kind in _STEP_OF if kind in fault.kinds)
    for fault in READ_FAULTS:
        kinds = fault.kinds & {"orders", "trades"} or {"orders", "trades"}
        yield from ((fault.name, f"{kind} after {row}") for kind in sorted(kinds) for row in _SEARCHING)
    for name in DISK_FAULTS:
        if name == "no descriptors":
            yield f"disk {name}", "before lock"
        else:
            yield from ((f"disk {name}", f"before {row}") for row in _ROWS)


def gaps(met: Mapping[str, int], pairs: Mapping[tuple[str, str], int], runs: int) -> list[str]:
    """What was met too seldom, with how often."""
    found = [f"{what} ({met.get(what, 0)} of {least})" for what, least in wanted(runs) if met.get(what, 0) < least]
    if runs >= FULL_RUN:
        found += [
            f"{fault} × {step} ({pairs.get((fault, step), 0)} of {LEAST_PAIRED})"
            for fault, step in pairs_wanted()
            if pairs.get((fault, step), 0) < LEAST_PAIRED and (fault, step) not in IMPOSSIBLE
        ]
    return found


def never(met: Mapping[str, int]) -> list[str]:
    """What was met not even once, of all that a large run has to meet."""
    return [what for what, _ in wanted(FULL_RUN) if not met.get(what, 0)]
