"""`ibkit session`: the session of the login: how it is, how it was, put away, logged out, connected again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import ByUser, Json, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.bootstrap.session_desk import SessionDesk, SessionNow, SessionPast
    from ibkit.settings import Settings

__all__ = ["app"]

app = cyclopts.App(name="session", help="The session: how it is and was; log out, connect again.")

T = TypeVar("T")


@app.command
def status(*, by: ByUser = None, json: Json = False) -> None:
    """Ask IBKR how the session is, and tell when it ends. Nothing is opened or taken over for it."""
    settings = context.load_settings(by=by)
    found = _at_desk(settings, lambda desk: desk.now())
    told = _status(found)
    if json:
        output.emit(told)
        return
    said = [f"Session:    {'open' if found.status.ready else 'not open'} as {found.username}"]
    if found.status.competing:
        said.append("            another login of this user name holds the brokerage session")
    said += [
        f"Login:      {told['environment']}, {told['method']}",
        f"Idle:       ends after {told['idle_seconds_left']} s without a request",
        f"Age:        ends in {told['age_seconds_left']} s",
        f"Reset:      next at {found.clocks.next_reset:%Y-%m-%d %H:%M} UTC",
        f"Ends first: {told['ends_first']}",
    ]
    if found.status.message:
        said.insert(1, f"IBKR says:  {found.status.message}")
    output.say("\n".join(said))


def _status(found: SessionNow) -> dict[str, Any]:
    clocks, session = found.clocks, found.session
    return {
        "authenticated": found.status.authenticated,
        "competing": found.status.competing,
        "connected": found.status.connected,
        "message": found.status.message,
        "username": found.username,
        "environment": found.row.environment,
        "method": found.row.method,
        "state": found.row.state.value,
        "session_id": session.session_id if session is not None else None,
        "idle_seconds_left": clocks.idle_seconds_left,
        "age_seconds_left": clocks.age_seconds_left,
        "next_reset": clocks.next_reset,
        "ends_first": clocks.ends_first,
        "sso_renews_in": clocks.sso_renews_in,
    }


@app.command
def history(
    *, days: Annotated[int, option("How far back, 1 to 90.")] = 7, by: ByUser = None, json: Json = False
) -> None:
    """Sessions, what happened to them, and how much of the time the login was connected."""
    if not 1 <= days <= 90:
        raise wrong("--days", f"{days}: 1 to 90")
    found = _at_desk(context.load_settings(by=by), lambda desk: desk.past(days))
    percent = found.availability.percent
    if json:
        output.emit(_history(found))
        return
    rows = [
        (f"{each.at:%Y-%m-%d %H:%M:%S}", each.name.value, each.state.value, _lasted(each.lasted_s), each.code)
        for each in found.events
    ]
    if rows:
        output.say(output.table(("Time (UTC)", "Event", "State", "Lasted", "Code"), rows))
    known = "nothing is known of that time" if percent is None else f"{percent:.2f} % of the time it was wanted"
    output.say(f"{len(found.sessions)} sessions in {days} days; connected: {known}.")


def _history(found: SessionPast) -> dict[str, Any]:
    return {
        "since": found.since,
        "until": found.until,
        "availability_percent": found.availability.percent,
        "up_s": found.availability.up_s,
        "wanted_s": found.availability.wanted_s,
        "sessions": [
            {
                "session_id": each.session_id,
                "created_at": each.created_at,
                "ended_at": each.ended_at,
                "status": each.status,
                "last_error": each.last_error,
            }
            for each in found.sessions
        ],
        "events": [
            {
                "at": each.at,
                "event": each.name.value,
                "was": each.was.value,
                "state": each.state.value,
                "code": each.code,
                "message": each.message,
                "number": each.number,
                "lasted_s": each.lasted_s,
            }
            for each in found.events
        ],
    }


def _lasted(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"


@app.command
def cleanup(*, json: Json = False) -> None:
    """Put away sessions that were left behind: in error, past their end, or of a process that died."""
    cleaned = _at_desk(context.load_settings(), lambda desk: desk.clean())
    if json:
        output.emit({"cleaned": len(cleaned), "sessions": [each.session_id for each in cleaned]})
    else:
        output.say(f"{len(cleaned)} sessions put away.")


@app.command
def logout(*, by: ByUser = None, json: Json = False) -> int:
    """End the login. A service or worker of it sends nothing any more, until `ibkit session connect`."""
    settings = context.load_settings(by=by)
    with audited("sessions.logout", _name(settings), settings=settings) as entry:
        failure = _at_desk(settings, lambda desk: desk.log_out())
        if failure is not None:
            entry.details["code"] = failure.code
    if failure is not None:
        output.warn(f"warning: IBKR was not told ({failure.code}): {failure.message}")
    if json:
        output.emit({"logged_out": True, "told": failure is None, "code": failure.code if failure else None})
    else:
        output.say("Logged out." if failure is None else "Logged out here; the login at IBKR ends by itself.")
    return 0


@app.command
def connect(*, by: ByUser = None, json: Json = False) -> None:
    """Have the service or worker of this login connect again, after a log-out."""
    _want(by, json, "sessions.connect", "Whoever keeps this login connects it now; `ibkit session history` shows it.")


@app.command
def reset(*, by: ByUser = None, json: Json = False) -> None:
    """End the pause after failed sign-ins: the service or worker tries again at once."""
    _want(by, json, "sessions.reset", "The pause is over; `ibkit session history` shows the next try.")


def _want(by: ByUser, json: bool, action: str, text: str) -> None:
    settings = context.load_settings(by=by)
    with audited(action, _name(settings), settings=settings):
        _at_desk(settings, lambda desk: desk.want())
    if json:
        output.emit({"asked": True})
    else:
        output.say(text)


def _name(settings: Settings) -> str:
    """As the audit log names the connection: `default`, or the user's id and its name."""
    return "default" if settings.of_user is None else "/".join(settings.of_user)


def _at_desk(settings: Settings, work: Callable[[SessionDesk], Awaitable[T]]) -> T:
    from ibkit.bootstrap.session_desk import open_session_desk

    async def run() -> T:
        async with open_session_desk(settings) as desk:
            return await work(desk)

    return go(run)
