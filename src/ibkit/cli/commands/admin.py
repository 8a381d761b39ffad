"""`ibkit admin`: what an operator vouches for. Requirement VLT-12."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, option
from ibkit.cli.running import go

if TYPE_CHECKING:
    from ibkit.store.licences import Licence

__all__ = ["app"]

app = cyclopts.App(name="admin", help="What an operator vouches for: IBKR's approval of several users.")
licence_app = cyclopts.App(name="licence", help="IBKR's approval of serving several users: record it, show it.")
app.command(licence_app)


@licence_app.command
def accept(
    *,
    reference: Annotated[str, option("Where IBKR's approval can be found: a letter, a contract, a ticket.")],
    json: Json = False,
) -> None:
    """Record that IBKR's licence or compliance approval was obtained; `ibkit serve` asks for it with several users."""
    from ibkit.bootstrap.auditing import audit_clock, local_actor
    from ibkit.bootstrap.multi_user import accept_licence

    if not reference.strip():
        raise wrong("--reference", "it is empty")
    settings = context.load_settings(require_method=False)
    with audited("licence.accept", " ".join(reference.split()), settings=settings):
        found = go(lambda: accept_licence(settings, reference, by=local_actor(), at=audit_clock().now()))
    if json:
        output.emit(found)
    else:
        output.say(f"Recorded: {_told(found)}.")
        if not settings.general.multi_user:
            output.say("-> Set ENABLE_MULTI_USER=true to serve several users.")


@licence_app.command
def show(*, json: Json = False) -> int:
    """What was recorded last; exits with 1 where nothing was."""
    from ibkit.bootstrap.multi_user import licence_of

    settings = context.load_settings(require_method=False)
    found = go(lambda: licence_of(settings))
    if json:
        output.emit({"licence": found, "multi_user": settings.general.multi_user})
    elif found is None:
        output.say("No approval of IBKR's is recorded: with ENABLE_MULTI_USER=true `ibkit serve` refuses to start.")
        output.say("-> `ibkit admin licence accept --reference TEXT` records one that you have.")
    else:
        output.say(f"Recorded: {_told(found)}.")
    return 0 if found is not None else 1


def _told(licence: Licence) -> str:
    when = licence.accepted_at.astimezone(UTC)
    return f"{licence.reference}, accepted by {licence.accepted_by} on {when:%Y-%m-%d %H:%M} UTC"
