"""`ibkit checklist`: what production needs, checked here or confirmed by a person. Requirement OPS-01."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.upkeep.checklist import Item, State

__all__ = ["app"]

app = cyclopts.App(name="checklist", help="What production needs: checked here, or confirmed by a person.")

_OPEN = 1


@app.command
def production(*, json: Json = False) -> int:
    """Each point: ok, not ok, or by hand, with what to do. Exit code 1 while one is open."""
    from ibkit.upkeep.checklist import State

    items = _looked_at(_settings())
    left = [item for item in items if item.state is not State.OK]
    if json:
        output.emit({"complete": not left, "items": items})
        return _OPEN if left else 0
    width = max(len(item.name) for item in items)
    for item in items:
        output.say(f"{item.state.shown:<8}{item.name:<{width}}  {output.one_line(item.said, 200)}")
        if item.remedy:
            output.say(f"{'':<8}{'':<{width}}  -> {item.remedy}")
    output.say()
    if not left:
        output.say("Complete.")
        return 0
    output.say(f"{len(left)} of {len(items)} open. `ibkit checklist confirm POINT --by NAME` ticks one by hand.")
    return _OPEN


@app.command
def confirm(
    point: str,
    *,
    by: Annotated[str, option("Who has seen to it: a name.")],
    note: Annotated[str | None, option("What was seen.")] = None,
    json: Json = False,
) -> int:
    """A person has seen to a point that cannot be checked from here. It stands in the audit log, and for a year."""
    from ibkit.upkeep.checklist import CONFIRM, State

    settings, name = _settings(), " ".join(by.split())
    if not name:
        raise wrong("--by", "it is empty")
    item = _point(settings, point)
    if item.state is State.FAIL or (item.state is State.OK and not item.by):
        raise wrong(point, f"it is checked, not confirmed: {item.said}")
    details = {"by": name} if note is None else {"by": name, "note": " ".join(note.split())}
    with audited(CONFIRM, item.name, settings=settings, **details):
        pass
    return _told(settings, item.name, State.OK, json=json)


@app.command
def withdraw(point: str, *, json: Json = False) -> int:
    """What was confirmed of a point holds no longer."""
    from ibkit.upkeep.checklist import WITHDRAW, State

    settings = _settings()
    item = _point(settings, point)
    if not item.by:
        raise wrong(point, "nobody has confirmed it")
    with audited(WITHDRAW, item.name, settings=settings, by=item.by):
        pass
    return _told(settings, item.name, State.MANUAL, json=json)


def _settings() -> Settings:
    from ibkit.settings import load

    return load(env_file=context.current().env_file, require_method=False, strict=False)


def _looked_at(settings: Settings) -> list[Item]:
    from ibkit.bootstrap.auditing import audit_clock
    from ibkit.upkeep import checklist

    return go(lambda: checklist.production(settings, now=audit_clock().now(), folder=Path()))


def _point(settings: Settings, name: str) -> Item:
    items = {item.name: item for item in _looked_at(settings)}
    if name not in items:
        raise wrong(name, f"no such point; there are {', '.join(items)}")
    return items[name]


def _told(settings: Settings, name: str, wanted: State, *, json: bool) -> int:
    """How the point stands now; exit code 1 where what was done could not be written into the audit log."""
    item = _point(settings, name)
    if json:
        output.emit(item)
    else:
        output.say(f"{item.state.shown}: {item.name}: {item.said}")
    return 0 if item.state is wanted else _OPEN
