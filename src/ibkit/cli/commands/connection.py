"""`ibkit connection test`: is the gateway up and logged in as the expected user?"""

from __future__ import annotations

from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Json, option
from ibkit.errors import IbkitError

__all__ = ["app"]

app = cyclopts.App(name="connection", help="Test whether the gateway is up and logged in.")


@app.command(name="test")
def check(
    *,
    username: Annotated[str | None, option("The IBKR user name that should be logged in.")] = None,
    json: Json = False,
) -> None:
    """Whether the gateway runs and somebody is logged in. No password is asked for: a browser does the login."""
    from ibkit.bootstrap import run
    from ibkit.bootstrap.probing import probe

    settings = context.load_settings({"IBKR_AUTH_METHOD": "gateway"})
    found = run(lambda: probe(settings, username))
    if not found.success:
        raise IbkitError(found.error, code=found.code, remedy=found.remedy)
    if json:
        output.emit(found)
    else:
        who = f" as {found.username}" if found.username else ""
        output.say(f"The gateway at {settings.gateway_address.base} is running and logged in{who}.")
