"""What happened to an order, step by step, for whoever watches: the terminal, the demo, `--json`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

__all__ = ["Observer", "Step", "StepKind", "unobserved"]


class StepKind(enum.Enum):
    RECOVERY = "recovery"
    WATCH = "watch"
    CONTRACT = "contract"
    QUOTE = "quote"
    INTENT = "intent"
    CHECKS = "checks"
    SENT = "sent"
    QUESTION = "question"
    ANSWER = "answer"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RECONCILING = "reconciling"
    UNKNOWN = "unknown"
    PREVIEW = "preview"
    FILL = "fill"
    CANCEL = "cancel"
    STOP = "stop"
    STOP_WORKING = "stop working"
    BUY_BACK = "buy back"
    RECORD = "record"
    DONE = "done"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened; `details` are its facts as text, never a secret."""

    kind: StepKind
    at: datetime
    text: str
    details: Mapping[str, str] = field(default_factory=dict)


Observer: TypeAlias = Callable[[Step], None]
"""Called in order, from the task that trades: it must not block and must not raise."""


def unobserved(step: Step) -> None:
    """The observer of those who do not watch."""
