"""When the Flex Web Service may be asked again: arithmetic, given the time.

    asked ──5 s──▶ got? ──5──▶ got? ──10──▶ got? ──20──▶ got? ──30──▶ got? ──30──▶ … after 5 min: given up for now
    a new reference only 10 min after the last one

Source: docs/facts/accounts-and-portfolio.md §6.3 (the limits: spec; the pauses: client, and our own choice).
"""

from __future__ import annotations

from collections.abc import Sequence

from ibkit.wire.flex.answers import FlexKind

__all__ = ["ASK_TRIES", "GIVE_UP_S", "NEW_REFERENCE_S", "WINDOW", "pause_s", "wait_s"]

WINDOW = 10
"""Requests of one token in a minute, at most; and one in a second. [spec]"""
_MINUTE_S, _SECOND_S = 60.0, 1.0
_PAUSES_S = (5.0, 5.0, 10.0, 20.0, 30.0)
_CROWDED_S = 10.0
GIVE_UP_S = 300.0
"""So long a reference is asked for in one go."""
NEW_REFERENCE_S = 600.0
"""So long an unfinished reference keeps another one of the same query from being asked for."""
ASK_TRIES = 3
"""SendRequests in one go that fail for now. [client]"""


def pause_s(asked: int, kind: FlexKind = FlexKind.POLL) -> float:
    """Seconds before the next request, when `asked` went before it.

    >>> [pause_s(n) for n in range(6)], pause_s(0, FlexKind.WAIT), pause_s(4, FlexKind.WAIT)
    ([5.0, 5.0, 10.0, 20.0, 30.0, 30.0], 10.0, 30.0)
    """
    pause = _PAUSES_S[min(asked, len(_PAUSES_S) - 1)]
    return max(pause, _CROWDED_S) if kind is FlexKind.WAIT else pause


def wait_s(sent: Sequence[float], now: float) -> float:
    """Seconds until one more request of a token may leave; `sent`: when the last ones left, oldest first.

    >>> wait_s([], 100.0), wait_s([99.5], 100.0), wait_s([float(n) for n in range(50, 60)], 100.0)
    (0.0, 0.5, 10.0)
    """
    last = sent[-1] + _SECOND_S if sent else now
    full = sent[-WINDOW] + _MINUTE_S if len(sent) >= WINDOW else now
    return max(0.0, last - now, full - now)
