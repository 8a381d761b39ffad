"""The kinds of schedule, their shares, and what is particular to each."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ibkit.sim.serving.inprocess import TRADING_MOMENT

from .workload import GROUPED, KINDS

__all__ = [
    "HEAL_S",
    "HEAL_SLACK_S",
    "KEYS",
    "LATE",
    "LONGEST_CANCELLING",
    "LONG_AGE_S",
    "LOOKED_AT_AGAIN",
    "MODES",
    "MOMENTS",
    "OVERNIGHT_S",
    "RATES",
    "STEPS",
    "WISHES",
    "WORLDS",
]

WORLDS = 8
"""Price paths are few: a new world is then made from what the process has in memory. They decide nothing here."""
KEYS = Path(__file__).resolve().parents[1] / "keys"
MODES: dict[str, int] = {
    "swarm": 20,
    "plain": 6,
    "adversarial": 4,
    "resend": 2,
    "skew": 2,
    "overnight": 3,
    "changes": 30,
    "questions": 16,
    "disk": 9,
    "groups": 20,
    "controls": 12,
    "rivals": 8,
    "restored": 2,
    "late resend": 2,
}
"""Kind of schedule → its share. In one of ten orders show up after the settle window (adversarial). changes, questions
and disk see to it that changes, cancels, replies and each row of the journal meet every fault; then come brackets and
OCA groups, the kill switch and limits, other processes of the same user, a journal that is an older copy, and the
opt-in to a second send where orders show up after the settle window: there the broker's check for duplicates holds S1.
"""
RATES: dict[str, dict[str, float]] = {
    "changes": {"place": 0.05, "modify": 0.7, "cancel": 0.7},
    "questions": {"place": 0.2, "reply": 0.6},
    "restored": {"place": 0.05},
    "late resend": {"place": 0.8},
}
WISHES: dict[str, dict[str, Any]] = {
    "changes": {"kinds": ("far",), "followed": 1.0},
    "questions": {"kinds": ("stop", "stop", "far")},
    "groups": {"kinds": GROUPED, "cancels_all": 0.15},
    "controls": {"kinds": (*KINDS, "bracket", "oca", "stop", "stop"), "cancels_all": 0.2},
    "rivals": {"kinds": (*KINDS, "bracket", "oca")},
    "late resend": {"kinds": ("near", "far")},
}
LONGEST_CANCELLING = 3
"""So often somebody tries to cancel everything; each time it ends with an alert."""
MOMENTS: tuple[datetime, ...] = (
    TRADING_MOMENT,
    datetime(2026, 10, 30, 15, 30, tzinfo=UTC),  # New York changes its clocks on the Sunday after (F102)
    datetime(2027, 3, 12, 15, 30, tzinfo=UTC),
    datetime(2028, 2, 28, 15, 30, tzinfo=UTC),  # a leap day follows
    datetime(2026, 12, 31, 15, 30, tzinfo=UTC),
    datetime(2026, 11, 27, 17, 55, tzinfo=UTC),  # a half day: it closes five minutes later
)
LATE = ("adversarial", "late resend")
"""Kinds in which an order may show up after the settle window: S7 is not demanded of them."""
LONG_AGE_S = 600
"""So long a wish may wait where it may be sent a second time: absence is shown after a minute at the earliest."""
LOOKED_AT_AGAIN = (*LATE, "overnight", "groups", "rivals", "plain")
"""Kinds in which something may still move after the first quiet look."""
STEPS = 40
HEAL_S = 120.0
HEAL_SLACK_S = 60.0
"""Five open intents share one list call in 5 s, and a search that began before the healing goes on."""
LONGEST_HEAL_S = 390.0
"""Whoever is not at rest by then is not waited for."""
OVERNIGHT_S = 22.0 * 3600
