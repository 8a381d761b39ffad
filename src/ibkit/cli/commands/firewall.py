"""`ibkit firewall`: the rules that this set-up needs, and whether what has to get through does."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.flags import Json, option
from ibkit.cli.running import go
from ibkit.errors import Unreachable
from ibkit.model import AuthMethod

__all__ = ["app"]

app = cyclopts.App(name="firewall", help="The firewall rules this needs, and whether they hold.")


@app.command
def plan(*, format: Annotated[str, option("ufw, nft or windows.")] = "ufw", json: Json = False) -> None:  # noqa: A002
    """Print the rules for these settings. Nothing is changed: look at them, then run them yourself."""
    from ibkit.cli.firewall_rules import FORMATS, plan_of, written

    if format not in FORMATS:
        raise wrong("--format", f"use one of {', '.join(FORMATS)}")
    settings = context.load_settings(require_method=False)
    try:
        made = plan_of(settings)
    except ValueError as error:
        raise wrong("ALLOWED_CLIENT_IPS", f"use addresses or networks ({error})") from None
    if json:
        output.emit(made)
    else:
        output.say(written(made, format).rstrip("\n"))


@app.command
def check(*, json: Json = False) -> int:
    """Whether IBKR and the gateway's port can be reached from here. Exit code 4 where one that is needed cannot."""
    from ibkit.cli.causes import reached

    settings = context.load_settings(require_method=False)
    method = settings.choice.method if settings.choice is not None else None
    cloud, gateway = settings.cloud_address, settings.gateway_address
    places = [
        (f"{cloud.host}:{cloud.port}", cloud.host, cloud.port, method is not AuthMethod.GATEWAY),
        (f"{gateway.host}:{gateway.port}", gateway.host, gateway.port, method is AuthMethod.GATEWAY),
    ]

    async def look() -> list[tuple[str, bool, str | None]]:
        return [(name, needed, await reached(host, port)) for name, host, port, needed in places]

    found = go(look)
    if json:
        output.emit([{"place": name, "needed": needed, "reached": not why, "why": why} for name, needed, why in found])
    else:
        for name, needed, why in found:
            word = "reached" if why is None else f"not reached ({why})"
            output.say(f"{name}: {word}{'' if needed else '; not needed for this sign-in'}")
    blocked = [(name, why) for name, needed, why in found if needed and why is not None]
    if not blocked:
        return 0
    name, why = blocked[0]
    error = Unreachable(f"Failed to connect to {name}: {why}")
    error.remedy += f" `ibkit firewall plan` prints what has to be let through; {name} is not."
    if json:
        return error.exit_code
    raise error
