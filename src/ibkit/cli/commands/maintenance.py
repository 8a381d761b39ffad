"""`ibkit maintenance`: when the service is worked on, told to its users ahead. Requirement OPS-06."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.store.maintenance import Window

__all__ = ["app"]

app = cyclopts.App(name="maintenance", help="When the service is worked on, told to its users ahead.")


@app.command
def plan(
    *,
    start: Annotated[str, option("When it begins, with its zone: 2026-12-05T22:00Z.")],
    end: Annotated[str, option("When it is over, likewise.")],
    text: Annotated[str, option("What is done, for everybody who uses the service.")],
    force: Annotated[bool, flag("Also in market hours, or with less than a day's notice.")] = False,
    json: Json = False,
) -> None:
    """Plan a window in which no new order is taken, not even one that closes a position.

    Every page tells it at once; alerts of the installation do at once, an hour before and when it is over.

    ibkit maintenance plan --start 2026-12-05T22:00Z --end 2026-12-05T23:00Z --text "A new version is installed"
    """
    from ibkit.bootstrap.auditing import local_actor
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.maintenance import open_maintenance, planned

    settings = context.load_settings(require_method=False)
    begins, ends = _moment("--start", start), _moment("--end", end)
    window = planned(begins, ends, text, by=local_actor(), now=machine_clock().now(), force=force)

    async def work() -> None:
        async with open_maintenance(settings) as store:
            await store.plan(window)

    with audited("maintenance.plan", window.window_id, settings=settings, **_span(window), text=window.text):
        go(work)
    if json:
        output.emit(window)
        return
    output.say(f"Planned: {window.window_id}, {_told(window)}.")
    output.say(f"`ibkit maintenance cancel {window.window_id}` calls it off.")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """The windows that were planned, by their beginning."""
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.maintenance import open_maintenance

    settings = context.load_settings(require_method=False)

    async def work() -> tuple[Window, ...]:
        async with open_maintenance(settings) as store:
            recent, ahead = await store.windows(), await store.windows(ending_after=machine_clock().now())
            return tuple({each.window_id: each for each in (*recent, *ahead)}.values())

    found = go(work)
    if json:
        output.emit(found)
        return
    if not found:
        output.say("Nothing is planned.")
        return
    now = machine_clock().now()
    rows = [(each.window_id, *_span(each).values(), _state(each, now), each.planned_by, each.text) for each in found]
    output.say(output.table(("Window", "Begins", "Ends", "State", "By", "What"), rows))


@app.command
def cancel(window: str, /, *, json: Json = False) -> None:
    """Call a window off, or end it now. Who was told of it is told that, too."""
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.maintenance import open_maintenance

    settings = context.load_settings(require_method=False)

    async def work() -> bool:
        async with open_maintenance(settings) as store:
            return await store.cancel(window, at=machine_clock().now())

    with audited("maintenance.cancel", window[:16], settings=settings) as entry:
        done = go(work)
        entry.skipped = not done
    if not done:
        raise wrong("WINDOW", f"{window}: there is none of that name that is not over")
    if json:
        output.emit({"window_id": window, "cancelled": True})
    else:
        output.say(f"Called off: {window}.")


def _moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise wrong(name, f"{text}: write it as 2026-12-05T22:00Z") from None
    if found.tzinfo is None:
        raise wrong(name, f"{text}: it has no zone; write {text}Z for UTC")
    return found


def _span(window: Window) -> dict[str, Any]:
    return {"starts": f"{window.starts_at:%Y-%m-%d %H:%M}Z", "ends": f"{window.ends_at:%Y-%m-%d %H:%M}Z"}


def _told(window: Window) -> str:
    return f"{window.starts_at:%Y-%m-%d %H:%M} to {window.ends_at:%Y-%m-%d %H:%M} UTC"


def _state(window: Window, now: datetime) -> str:
    if window.cancelled_at is not None:
        return "called off"
    if now >= window.ends_at:
        return "over"
    return "NOW" if window.holds(now) else "planned"
