"""`ibkit alerts`: what people are told, by which channels, and what became of each message."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.bootstrap.alerting import Alerting
    from ibkit.model import Secret
    from ibkit.trading.alert import Severity
    from ibkit.trading.alerting import Channel, Delivery, Incident

__all__ = ["app", "channels"]

T = TypeVar("T")

app = cyclopts.App(name="alerts", help="What people are told, and by which channels.")
channels = cyclopts.App(name="channels", help="By which ways people are told.")
app.command(channels)

_NOT_DELIVERED = 1
_UNTOLD = "not told yet"


@app.command(name="list")
def list_(
    *,
    everything: Annotated[bool, flag("Closed ones, too.")] = False,
    count: Annotated[int, option("How many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """The open alerts, newest first, and messages that could not be delivered."""

    async def work(alerting: Alerting) -> None:
        found = [
            *await _untold(alerting),
            *await alerting.incidents.incidents(closed=everything, limit=max(count, 1)),
        ]
        if json:
            output.emit([_document(i, await alerting.incidents.deliveries(incident_id=i.incident_id)) for i in found])
            return
        rows = [
            (
                i.incident_id[:8],
                i.severity,
                i.event,
                i.count,
                f"{i.last_at:%Y-%m-%d %H:%M}",
                _state_of(i),
                output.one_line(i.message, 100),
            )
            for i in found
        ]
        head = ("Alert", "Severity", "Event", "Count", "Last (UTC)", "State", "What")
        output.say(output.table(head, rows, right=(3,)) if rows else "No open alerts.")
        for each in await alerting.incidents.deliveries():
            if each.state.value == "failed" and each.incident_id in {i.incident_id for i in found}:
                output.warn(f"Not delivered: alert {each.incident_id[:8]} by {each.channel}: {each.error}")
        if any(_state_of(each) == _UNTOLD for each in found):
            output.warn("Nobody has been told of those that are not told yet: `ibkit worker` does it.")

    _with_alerting(work)


async def _untold(alerting: Alerting) -> list[Incident]:
    from ibkit.bootstrap.alert_desk import journal_alerts, untold

    settings = context.load_settings(require_method=False)
    return await untold(alerting, await journal_alerts(settings, alerting.clock))


@app.command
def ack(
    alert: str,
    /,
    *,
    note: Annotated[str, option("Who looks after it, and how; kept with the alert.")] = "",
    json: Json = False,
) -> None:
    """Say that somebody is on it: it is told no more, unless it grows worse. By its id or the beginning of it."""

    async def work(alerting: Alerting) -> None:
        done = await alerting.incidents.acknowledge(
            alert, by=getpass.getuser(), at=alerting.clock.now(), note=note.strip()
        )
        output.emit(_document(done, ())) if json else output.say(f"Acknowledged: {done.message}")

    _with_alerting(work)


@app.command
def close(
    alert: str,
    /,
    *,
    note: Annotated[str, option("What was done; kept with the alert.")] = "",
    json: Json = False,
) -> None:
    """Say that it is over. What the order journal holds open is settled with `ibkit intents resolve`."""

    async def work(alerting: Alerting) -> None:
        done = await alerting.incidents.close(alert, by=getpass.getuser(), at=alerting.clock.now(), note=note.strip())
        output.emit(_document(done, ())) if json else output.say(f"Closed: {done.message}")

    _with_alerting(work)


@app.command(name="test")
def try_(
    channel: Annotated[str | None, cyclopts.Parameter(help="Only this channel [default: all].")] = None,
    /,
    *,
    json: Json = False,
) -> int:
    """Send a test message to each channel at once; 1 where one of them did not take it."""

    async def work(alerting: Alerting) -> int:
        from ibkit.bootstrap.alert_desk import try_some

        results = await try_some(alerting, await alerting.channels.all(), only=channel)
        if json:
            output.emit([{"channel": r.channel, "delivered": r.ok, "said": r.said} for r in results])
        else:
            rows = [(r.channel, "delivered" if r.ok else "FAILED", r.said) for r in results]
            output.say(output.table(("Channel", "Result", "Said"), rows))
        return 0 if all(r.ok for r in results) else _NOT_DELIVERED

    return _with_alerting(work)


@channels.default
def channels_list(*, json: Json = False) -> None:
    """The channels, with their last result. Addresses are secrets and are not shown."""

    async def work(alerting: Alerting) -> None:
        from ibkit.bootstrap.alert_desk import channels_with_last

        found = await channels_with_last(alerting)
        if json:
            output.emit([_channel_document(c, last) for c, last in found])
            return
        rows = [
            (
                c.name,
                c.kind,
                c.shown,
                " ".join(sorted(s.value for s in c.severities)),
                c.level,
                "on" if c.enabled else "off",
                f"{last.state.value}: {last.error}" if last else None,
            )
            for c, last in found
        ]
        output.say(output.table(("Name", "Kind", "Where", "Severities", "Level", "State", "Last message"), rows))

    _with_alerting(work)


@channels.command
def add(
    name: str,
    /,
    *,
    address_file: Annotated[
        Path,
        option("File with the address on its first line (- for stdin): https://... or a service's, e.g. slack://..."),
    ],
    secret_file: Annotated[
        Path | None, option("File with the secret that signs a webhook; one is made without.")
    ] = None,
    severities: Annotated[str, option("Which it hears of, with commas.")] = "info,warning,critical",
    level: Annotated[int, option("0: at once; 1 to 5: when nobody acknowledged.")] = 0,
    json: Json = False,
) -> None:
    """Store a channel, or change it. Its address is read from a file, for arguments are seen by others."""
    wanted = _severities(severities)
    if not 0 <= level <= 5:
        raise wrong("--level", f"{level}: 0 to 5")

    async def work(alerting: Alerting) -> None:
        from ibkit.bootstrap.alert_desk import keep_channel
        from ibkit.notify import DeliveryFailed

        secret = None if secret_file is None else _first_line(secret_file)
        try:
            kept = await keep_channel(
                alerting, name, _first_line(address_file), user="", secret=secret, severities=wanted, level=level
            )
        except DeliveryFailed as error:
            raise wrong("--address-file", error.reason) from None
        made = kept.made
        if json:
            told = {} if made is None else {"secret": made.reveal()}
            output.emit({**_channel_document(kept.channel, None), **told})
            return
        output.say(f"Stored: {name}, {kept.channel.shown}. Try it: `ibkit alerts test {name}`.")
        if made is not None:
            output.say(f"Its signing secret, shown this once: {made.reveal()}")

    _with_alerting(work)


@channels.command
def remove(name: str, /) -> None:
    """Forget a stored channel."""

    async def work(alerting: Alerting) -> None:
        await alerting.channels.remove("", name)
        output.say(f"Removed: {name}.")

    _with_alerting(work)


@channels.command
def switch(name: str, state: str, /) -> None:
    """Switch a stored channel `on` or `off`."""
    if state not in ("on", "off"):
        raise wrong("state", f"{state}: on or off")

    async def work(alerting: Alerting) -> None:
        await alerting.channels.switch("", name, enabled=state == "on")
        output.say(f"{name} is {state}.")

    _with_alerting(work)


def _with_alerting(work: Callable[[Alerting], Awaitable[T]]) -> T:
    from ibkit.bootstrap.alerting import open_alerting

    settings = context.load_settings(require_method=False)

    async def run() -> T:
        async with open_alerting(settings) as alerting:
            return await work(alerting)

    return go(run)


def _first_line(path: Path) -> Secret[str]:
    import sys

    from ibkit.model import Secret

    try:
        text = sys.stdin.readline() if str(path) == "-" else path.read_text(encoding="utf-8").split("\n", 1)[0]
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(str(path), f"it cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    if not text.strip():
        raise wrong(str(path), "its first line is empty")
    return Secret(text.strip())


def _severities(text: str) -> frozenset[Severity]:
    from ibkit.trading.alert import Severity

    known = {each.value: each for each in Severity}
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if not words or any(word not in known for word in words):
        raise wrong("--severities", f"{text}: some of {', '.join(known)}")
    return frozenset(known[word] for word in words)


def _state_of(incident: Incident) -> str:
    from ibkit.bootstrap.alert_desk import state_of

    return state_of(incident)


def _document(incident: Incident, deliveries: Any) -> dict[str, Any]:
    return {
        "alert_id": incident.incident_id,
        "event": incident.event,
        "severity": incident.severity,
        "subject": incident.subject,
        "message": incident.message,
        "remedy": incident.remedy,
        "count": incident.count,
        "first_at": incident.first_at,
        "last_at": incident.last_at,
        "state": _state_of(incident),
        "trace_ids": incident.trace_ids,
        "deliveries": [
            {
                "channel": d.channel,
                "reason": d.reason,
                "state": d.state,
                "attempts": d.attempts,
                "said": d.error or None,
                "at": d.finished_at or d.created_at,
            }
            for d in deliveries
        ],
    }


def _channel_document(channel: Channel, last: Delivery | None) -> dict[str, Any]:
    return {
        "name": channel.name,
        "kind": channel.kind,
        "where": channel.shown,
        "severities": sorted(each.value for each in channel.severities),
        "level": channel.level,
        "enabled": channel.enabled,
        "from_settings": channel.by_operator,
        "last": None if last is None else {"state": last.state, "said": last.error, "at": last.finished_at},
    }
