"""The key of a form that is shown again. It names one order for ever, so that trying again is never a second one.

    an answer says that nothing of it is at IBKR     another key: what was refused may be sent anew
    anything else, or nothing was answered           the same key
    the key has sent another order (E-IDEM-CONFLICT) the same key; another one by a deliberate act alone (`another`)

A refusal of the form itself (E-VALIDATION, no rights, no such contract) proves nothing of an earlier sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service.web.inside import Told
from ibkit.service.web.reading import Form
from ibkit.trading.intent import IntentState

__all__ = ["conflicts", "is_absent", "is_busy", "kept_key", "key_of", "was_refused"]

_ABSENT = frozenset(
    each.value
    for each in (
        IntentState.REJECTED_LOCAL,
        IntentState.REJECTED_POLICY,
        IntentState.REJECTED_BROKER,
        IntentState.EXPIRED_LOCAL,
        IntentState.NOT_PLACED,
    )
)
"""Ends that deny an order. One that IBKR refused after it took it (REJECTED_LATE) may have been filled in part."""


def key_of(form: Form) -> str:
    """The one it came with; the one made beside it where somebody said that this is another order."""
    return form.text("next_key") if form.ticked("another") and form.text("next_key") else form.text("key")


def kept_key(key: str, told: Told) -> str:
    """Empty, for a new one, only where the answer proves that nothing of this key's order is at IBKR."""
    return "" if is_absent(told) else key


def is_absent(told: Told) -> bool:
    """Whether an answer proves that. Of a sale every side was refused; one that broke off proves nothing."""
    details: Mapping[str, Any] = told.problem.get("details", {})
    if details.get("state") in _ABSENT:
        return True
    legs = details.get("legs") or []
    return details.get("outcome") == "failed" and bool(legs) and all(leg["outcome"] == "refused" for leg in legs)


def was_refused(told: Told) -> bool:
    """A repeated key whose order came to nothing: its answer is no order."""
    if not told.ok or not told.body.get("cached"):
        return False
    return told.data["status"] in ("rejected", "failed") and not told.data["filled_quantity"]


def conflicts(told: Told) -> bool:
    return told.problem.get("code") == "E-IDEM-CONFLICT"


def is_busy(told: Told) -> bool:
    """The same order, on its way: its own page tells how it goes on."""
    return told.problem.get("code") == "E-IDEM-BUSY"
