"""A person's word on an order whose state could not be proven."""

from __future__ import annotations

from ibkit.clock import Clock
from ibkit.errors import NotFound
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import IntentId, Resolved
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Alerts, Journal

__all__ = ["resolve_intent"]


async def resolve_intent(
    journal: Journal, alerts: Alerts, clock: Clock, intent_id: IntentId, *, by: str, note: str
) -> Intent:
    """Take down what a person found out about an intent in unknown state; it then holds up nothing any more.

    Its alerts are closed with the note. Its order, should it still show up, is no longer looked for: the person
    answers for that. NotFound where there is no such intent in unknown state.
    """
    intent = await journal.get(intent_id)
    if intent is None or intent.state is not IntentState.UNKNOWN_NEEDS_HUMAN:
        state = "" if intent is None else f" (it is {intent.state.value.replace('_', ' ')})"
        raise NotFound(
            f"No intent {intent_id} in unknown state{state}",
            code="E-NOT-FOUND",
            remedy="`ibkit intents list --state unknown` shows those that wait for a person.",
        )
    if intent.resolved:
        return intent
    resolved = await journal.append(intent, Resolved(at=clock.now(), by=by, note=note))
    for kind in (AlertKind.UNKNOWN_ORDER, AlertKind.PARKED_ORDER):
        await alerts.close(kind, intent.ref, at=clock.now(), note=f"{by}: {note}")
    return resolved
