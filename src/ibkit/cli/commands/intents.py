"""`ibkit intents`: what the order journal holds, which is what ibkit knows of each order it was asked for."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import cyclopts

from ibkit.cli import output
from ibkit.cli.asking import confirmed, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes, option
from ibkit.cli.journal import with_journal
from ibkit.errors import NotFound

if TYPE_CHECKING:
    from ibkit.store.journal import SqliteJournal
    from ibkit.trading import Intent, Journal

__all__ = ["app"]

T = TypeVar("T")

app = cyclopts.App(name="intents", help="What the order journal holds.")


@app.command(name="list")
def list_(
    *,
    count: Annotated[int, option("How many, newest first.")] = 20,
    state: Annotated[str | None, option("Only in this state, e.g. unknown or acked.")] = None,
    json: Json = False,
) -> None:
    """The latest intents: what was wanted, and what became of it."""

    async def work(journal: Journal) -> None:
        found = [i for i in await journal.recent(limit=max(count, 1) if state is None else 1000) if _in_state(i, state)]
        found = found[: max(count, 1)]
        if json:
            output.emit([_document(intent) for intent in found])
            return
        rows = [
            (
                f"{intent.planned.at:%Y-%m-%d %H:%M:%S}",
                intent.label,
                intent.planned.purpose,
                intent.state,
                intent.order_id,
                intent.intent_id,
            )
            for intent in found
        ]
        output.say(
            output.table(("When (UTC)", "What", "For", "State", "Order", "Intent"), rows) if rows else "No intents."
        )

    with_journal(work)


@app.command
def show(name: str, /, *, json: Json = False) -> None:
    """One intent with all that happened to it. By its id, its key, or the broker's order number."""

    from ibkit.trading.event_lines import facts_of, line_of

    async def work(journal: Journal) -> None:
        intent = await _find(journal, name)
        events = await journal.events(intent.intent_id)
        if json:
            output.emit({**_document(intent), "events": [{"event": type(e).__name__, **facts_of(e)} for e in events]})
            return
        rows = [
            ("Intent", intent.intent_id),
            ("Key", intent.key),
            ("What", intent.label),
            ("State", intent.state.value),
            ("Order", intent.order_id or "-"),
            ("Filled", f"{intent.filled.normalize():f} at {intent.average_price or '-'}"),
            ("Reason", intent.reason or "-"),
        ]
        output.say("\n".join(f"{label:<8}{value}" for label, value in rows))
        output.say()
        for event in events:
            line = line_of(event)
            output.say(f"{line.at:%H:%M:%S.%f}"[:-3] + f"  {line.word:<16}{output.one_line(line.detail, 1000)}")

    with_journal(work)


@app.command
def resolve(
    name: str,
    /,
    *,
    note: Annotated[str, option("What you found out at IBKR; kept with the intent.")],
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Settle an intent in unknown state by your own word, after a look at IBKR's order window.

    It closes the alert, and ibkit no longer looks for the order: if it fills after all, nobody protects it.
    """
    if not note.strip():
        raise wrong("--note", "it is empty, but the journal keeps why an order was taken for settled")

    async def work(journal: SqliteJournal) -> int:
        from ibkit.clock import SystemClock
        from ibkit.trading import IntentState, resolve_intent

        intent = await _find(journal, name)
        entry.object, entry.details["terms"] = intent.intent_id, intent.label
        if intent.state is IntentState.UNKNOWN_NEEDS_HUMAN and not intent.resolved and not yes:
            output.warn(f"{intent.label}: {intent.reason}")
            if not confirmed(f"Settle intent {intent.intent_id} as: {note}? [y/N] "):
                output.warn("Nothing was changed.")
                entry.skipped = True
                return 5
        done = await resolve_intent(
            journal, journal.alerts, SystemClock(), intent.intent_id, by=getpass.getuser(), note=note.strip()
        )
        if json:
            output.emit(_document(done))
        else:
            output.say(f"Settled: {done.label} ({note.strip()})")
        return 0

    with audited("intents.resolve", name, note=note.strip()) as entry:
        return with_journal(work)


async def _find(journal: Journal, name: str) -> Intent:
    from ibkit.trading.events import IntentId

    by_id = await journal.get(IntentId(name))
    if by_id is not None:
        return by_id
    found = [i for i in await journal.recent(limit=5000) if name in (i.key, i.order_id, i.ref)]
    if not found:
        raise NotFound(f"Intent {name} not found", code="E-NOT-FOUND", remedy="`ibkit intents list` shows the latest.")
    return found[0]


def _in_state(intent: Intent, wanted: str | None) -> bool:
    return wanted is None or intent.state.value == wanted or (wanted == "unknown" and "unknown" in intent.state.value)


def _document(intent: Intent) -> dict[str, Any]:
    return {
        "intent_id": intent.intent_id,
        "key": intent.key,
        "ref": intent.ref,
        "operation": intent.operation,
        "purpose": intent.planned.purpose,
        "what": intent.label,
        "state": intent.state,
        "final": intent.final,
        "order_id": intent.order_id,
        "order_status": intent.order_status,
        "filled": intent.filled,
        "average_price": intent.average_price,
        "reason": intent.reason or None,
        "code": intent.code or None,
        "resolved": intent.resolved,
        "planned_at": intent.planned.at,
        "updated_at": intent.updated_at,
    }
