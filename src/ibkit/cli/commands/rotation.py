"""`ibkit rotation`: how old keys, tokens and passwords are, and when each is due. Requirement OPS-05."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Json
from ibkit.cli.running import go

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ibkit.bootstrap.rotation import Renewable

__all__ = ["app"]

app = cyclopts.App(name="rotation", help="How old keys, tokens and passwords are, and what is due.")

_OVERDUE = 1


@app.command
def status(*, json: Json = False) -> int:
    """What there is to renew: its kind, its age, how long it may be used, what to do. Exit code 1: one is overdue."""
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.rotation import renewables

    settings = context.load_settings(require_method=False)
    found, now = go(lambda: renewables(settings)), machine_clock().now()
    late = [each for each in found if each.is_overdue(now)]
    if json:
        output.emit({"overdue": len(late), "items": [_row(each, now) for each in found]})
        return _OVERDUE if late else 0
    if not found:
        output.say("Nothing here has to be renewed: no key of the vault, no key for IBKR, no password is set.")
        return 0
    rows = [(each.kind, each.name, _age(each, now), _span(each.allowed), _state(each, now)) for each in found]
    output.say(output.table(("Kind", "Name", "Age", "Allowed", "Due"), rows))
    for each in late:
        output.say(f"\n{each.name} is overdue. {each.remedy}.")
    if any(each.since is None for each in found):
        output.say("\nOf a setting the age is known once a service or worker has begun with it.")
    output.say("\ndocs/runbooks/key-rotation.md says how each is changed.")
    return _OVERDUE if late else 0


def _row(each: Renewable, now: datetime) -> dict[str, object]:
    return {
        "kind": each.kind,
        "name": each.name,
        "since": each.since,
        "age_days": None if each.since is None else (now - each.since).days,
        "allowed_hours": each.allowed.total_seconds() / 3600,
        "due_at": each.due_at,
        "by_itself": each.by_itself,
        "overdue": each.is_overdue(now),
        "remedy": each.remedy,
    }


def _age(each: Renewable, now: datetime) -> str:
    return "unknown" if each.since is None else _span(now - each.since)


def _state(each: Renewable, now: datetime) -> str:
    if each.by_itself:
        return "renews itself"
    if each.due_at is None:
        return "unknown"
    return "OVERDUE" if each.is_overdue(now) else f"{each.due_at:%Y-%m-%d}"


def _span(span: timedelta) -> str:
    hours = max(span.total_seconds(), 0) / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
