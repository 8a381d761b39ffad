"""`ibkit access-review`: who may do what here, and a person's word that it is as it should be. Requirement OPS-09."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from datetime import datetime

    from ibkit.bootstrap.access import Access, Holder

__all__ = ["app"]

app = cyclopts.App(name="access-review", help="Who may do what here; the look of each quarter.")


@app.default
def access_review(
    *,
    sign_off: Annotated[
        bool, flag("Put into the audit log that --by has looked, and that it is as it should be.")
    ] = False,
    by: Annotated[str | None, option("Who has looked: a name.")] = None,
    note: Annotated[str | None, option("What was seen, or changed.")] = None,
    json: Json = False,
) -> None:
    """Users with their roles, keys and connections, when each was last used, and what to look at.

    ibkit access-review
    ibkit access-review --sign-off --by "Anna Meier" --note "bob disabled, he left in May"
    """
    from ibkit.bootstrap.access import REVIEW, access_now
    from ibkit.bootstrap.edge import machine_clock

    settings = context.load_settings(require_method=False)
    if sign_off:
        name = " ".join((by or "").split())
        if not name:
            raise wrong("--by", "a sign-off needs the name of who has looked")
        found = go(lambda: access_now(settings, clock=machine_clock()))
        details = {"by": name, "users": len(found.holders), "notes": sum(len(each.notes) for each in found.holders)}
        with audited(
            REVIEW, "users", settings=settings, **details, **({"note": " ".join(note.split())} if note else {})
        ):
            pass
    elif by is not None or note is not None:
        raise wrong("--by" if by is not None else "--note", "it goes with --sign-off")
    found = go(lambda: access_now(settings, clock=machine_clock()))
    if json:
        output.emit(found)
        return
    _print(found)


def _print(found: Access) -> None:
    if not found.holders:
        output.say("No user yet: `ibkit user add NAME --role owner` makes the first.")
        return
    rows = [
        (
            each.name,
            each.role,
            "enabled" if each.enabled else "disabled",
            "on" if each.second_step else "off",
            _day(each.used_at, "never"),
            len(each.keys),
            len(each.connections),
        )
        for each in found.holders
    ]
    head = ("User", "Role", "State", "Second step", "Last used", "Keys", "Connections")
    output.say(output.table(head, rows, right=(5, 6)))
    for each in found.holders:
        lines = [*_held(each)]
        if lines:
            output.say(f"\n{each.name}")
            for line in lines:
                output.say(f"  {line}")
    output.say()
    if found.last is None:
        output.say(f"Nobody has signed off yet; due on {_day(found.due_at)}.")
    else:
        said = f": {found.last.note}" if found.last.note else ""
        output.say(f"Signed off by {found.last.by} on {_day(found.last.at)}{said}. Next by {_day(found.due_at)}.")
    output.say('When it is as it should be: `ibkit access-review --sign-off --by "YOUR NAME"`.')


def _held(holder: Holder) -> list[str]:
    lines = [f"! {note}" for note in holder.notes]
    for key in holder.keys:
        only = "" if key.accounts is None else f" for {', '.join(key.accounts)}"
        times = f"last used {_day(key.used_at, 'never')}, ends {_day(key.expires_at)}"
        lines.append(f"key {key.label}: {', '.join(key.scopes)}{only}; {times}")
    for login in holder.connections:
        accounts = f" ({', '.join(login.accounts)})" if login.accounts else ""
        stands = f"{login.state}, last worked {_day(login.succeeded_at, 'never')}"
        lines.append(f"connection {login.name}: {login.method}, {login.environment}{accounts}; {stands}")
    return lines


def _day(at: datetime | None, none: str = "-") -> Any:
    return none if at is None else f"{at:%Y-%m-%d}"
