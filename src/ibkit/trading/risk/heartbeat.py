"""RC-30, the dead man's switch: a strategy that gives no sign of life has its orders cancelled. Opt-in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ibkit.model import AccountId
from ibkit.trading.risk.case import Case, Reading

__all__ = ["Heartbeat", "dead_man", "overdue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The last sign of life of a strategy in an account."""

    strategy: str
    account_id: AccountId
    at: datetime


def overdue(beats: Iterable[Heartbeat], *, now: datetime, after_s: float | None) -> tuple[Heartbeat, ...]:
    """Whose last sign of life is longer ago than `after_s` (None: the switch is off), the longest first.

    A sign from the future (the clock went back) is one of now: it is late once `after_s` have passed again.
    """
    if after_s is None:
        return ()
    newest: dict[tuple[str, AccountId], Heartbeat] = {}
    for beat in beats:
        key = (beat.strategy, beat.account_id)
        if key not in newest or beat.at > newest[key].at:
            newest[key] = beat
    late = [beat for beat in newest.values() if now - beat.at > timedelta(seconds=after_s)]
    return tuple(sorted(late, key=lambda beat: beat.at))


def dead_man(case: Case) -> Reading:
    """RC-30 refuses nothing: whoever watches the strategies cancels for those that are `overdue`."""
    control, name, after_s = "RC-30", "heartbeat", case.limits.heartbeat_s
    if after_s is None or not case.strategy:
        return case.off(control, name)
    return case.passes(control, name, case.strategy, f"{after_s:g} s")
