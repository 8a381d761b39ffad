"""`ibkit gateway`: what concerns the Client Portal Gateway on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes, flag, option
from ibkit.cli.running import go
from ibkit.errors import ConfigError

__all__ = ["app"]

app = cyclopts.App(name="gateway", help="Trust the gateway's certificate, read its logs; a second one.")


@app.command
def trust(*, yes: Yes = False, json: Json = False) -> None:
    """Remember the certificate that the gateway shows now, in place of the one remembered before.

    The first connection to a gateway on this machine remembers its certificate by itself; later ones refuse another.
    Use this after you have replaced the certificate.
    """
    from ibkit.bootstrap.tls import pins_of
    from ibkit.client.transports import fingerprint_of

    settings = context.load_settings({"IBKR_AUTH_METHOD": "gateway"})
    address = settings.gateway_address
    if settings.gateway.ca is not None:
        raise ConfigError(
            "Conflicting settings: IBKR_GATEWAY_CA is set, so nothing is pinned",
            code="E-CONFIG-CONFLICT",
            remedy="Change IBKR_GATEWAY_CA, or remove it and repeat.",
        )
    place = f"{address.host}:{address.port}"
    pins = pins_of(settings)
    before = pins.get(place)
    shown = go(lambda: fingerprint_of(address.host, address.port))
    if before is not None and before != shown and not yes and not _agreed(place, before, shown):
        raise ConfigError("Nothing was changed", code="E-VALIDATION", remedy="Repeat with --yes to trust it.")
    with audited("gateway.trust", place, fingerprint=shown[:16], before=(before or "")[:16]):
        pins.put(place, shown)
    if json:
        output.emit({"gateway": place, "fingerprint": shown, "before": before})
    else:
        output.say(f"{place}: trusting the certificate with SHA-256 {shown}")


@app.command
def new(
    *,
    port: Annotated[int, option("Where the new one listens, 1024 to 65535.")],
    directory: Annotated[Path, option("The new folder.", "--dir")],
    json: Json = False,
) -> None:
    """Prepare a further gateway: a copy of the folder (IBKR_GATEWAY_DIR) that listens on another port.

    A gateway holds one login, so a second user name needs one of its own.

    ibkit gateway new --port 5001 --dir clientportal.second
    """
    from ibkit.upkeep.gateway_copy import copy_gateway

    if not 1024 <= port <= 65535:
        raise wrong("--port", f"{port}: 1024 to 65535")
    settings = context.load_settings(require_method=False)
    copy_gateway(settings.gateway.directory, directory, port)
    address = f"https://localhost:{port}"
    start = r"bin\run.bat root\conf.yaml" if os.name == "nt" else "./bin/run.sh root/conf.yaml"
    if json:
        output.emit({"directory": directory.absolute(), "port": port, "address": address, "start": start})
        return
    output.say(f"Made {directory}, which listens on port {port}.")
    output.say(f"-> Start it in that folder with `{start}`, and log in at {address}.")
    output.say(f"-> Use it with IBKR_API_ENDPOINT={address}; with several users name it in IBKR_GATEWAYS_FOR_USERS.")


_LOOK_S = 0.5


@app.command
def logs(
    *,
    lines: Annotated[int, option("How many of the last lines.")] = 50,
    since: Annotated[str | None, option("Only from then on: 10m, 2h, 1d, or 2026-11-27T09:30.")] = None,
    follow: Annotated[bool, flag("Go on with what is written, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """The end of the gateway's newest log file (IBKR_GATEWAY_DIR); lines that tell of trouble are marked with `!`."""
    import time
    from datetime import datetime

    from ibkit.upkeep import gateway_logs

    if lines < 1:
        raise wrong("--lines", "at least 1")
    if json and follow:
        raise wrong("--follow", "it has no end, so it cannot be one JSON document")
    settings = context.load_settings(require_method=False)
    folder = settings.gateway.directory
    path = gateway_logs.newest(folder)
    if since is None:
        shown = gateway_logs.last_lines(path, lines)
    else:
        # The gateway writes the machine's local time, without a zone.
        moment = gateway_logs.ago(since, datetime.now())  # noqa: DTZ005
        if moment is None:
            raise wrong("--since", "use 10m, 2h, 1d, or a moment like 2026-11-27T09:30")
        shown = gateway_logs.since(gateway_logs.last_lines(path, 100_000), moment)
    if json:
        output.emit(
            {"file": path, "lines": [{"text": each, "trouble": gateway_logs.is_trouble(each)} for each in shown]}
        )
        return
    output.warn(f"{path}:")
    for line in shown:
        output.say(_marked(line))
    if follow:

        def pause() -> bool:
            time.sleep(_LOOK_S)
            return True

        for line in gateway_logs.followed(folder, pause):
            output.say(_marked(line))


def _marked(line: str) -> str:
    from ibkit.upkeep.gateway_logs import is_trouble

    return f"{'!' if is_trouble(line) else ' '} {line}"


def _agreed(place: str, before: str, shown: str) -> bool:
    import sys

    if not sys.stdin.isatty():
        return False
    output.say(f"{place} shows another certificate than before.\n  before: {before}\n  now:    {shown}")
    return input("Trust it from now on? Only if you replaced it yourself. [y/N] ").strip().lower() in ("y", "yes")
