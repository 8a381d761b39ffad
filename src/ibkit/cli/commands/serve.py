"""`ibkit serve`: the HTTP service, with the worker in the same process."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Live, YesLiveOf, flag, option
from ibkit.cli.live import accounts_said, confirmed_of
from ibkit.cli.running import banner_of, go
from ibkit.errors import ConfigError, TradingError
from ibkit.model import AccountId, Environment, Secret
from ibkit.settings import refuse_unready

__all__ = ["app"]

app = cyclopts.App(name="serve", help="Take orders over HTTP and watch over them, until Ctrl-C.")


@app.default
def serve(
    *,
    host: Annotated[str | None, option("Address to listen on [default: HOST, 127.0.0.1].")] = None,
    port: Annotated[int | None, option("Port to listen on, 0 for a free one [default: PORT, 8000].")] = None,
    no_worker: Annotated[bool, flag("Without the watch over sold options; run `ibkit worker` beside it.")] = False,
    live: Live = False,
    yes_live: YesLiveOf = (),
) -> int:
    """Take orders over HTTP and watch over them, until a signal ends it.

    ibkit serve --port 8000
    """
    try:
        from ibkit.service.serving import serve as serve_it
    except ImportError as error:
        raise ConfigError(
            f"The service needs libraries that are not installed ({error.name})",
            remedy="Install them with `pip install 'ibkit[service]'`.",
        ) from error
    from ibkit.bootstrap import edges
    from ibkit.bootstrap.processes import leave_no_core

    settings = context.load_settings(require_method=False)
    refuse_unready(settings, host=host)
    is_live = settings.environment is Environment.LIVE
    if live and not is_live and not settings.general.multi_user:  # users say of each connection what it is
        raise TradingError("Live trading not confirmed: --live was given, but IBKR_ENV is paper", code="E-LIVE")
    said = accounts_said(yes_live) if live else frozenset()
    chosen_port = settings.web.port if port is None else port
    if not 0 <= chosen_port <= 65535:
        raise ConfigError(f"Invalid request: --port: {chosen_port}: 0 to 65535", code="E-VALIDATION")

    def confirmed(account_id: AccountId, validated: bool) -> bool:
        """Accounts that nobody named can be looked at, and every order for them is refused (RC-01)."""
        return live and confirmed_of(account_id, said, validated=validated)

    def ready(address: str) -> None:
        where = "not configured" if not settings.mock and settings.choice is None else banner_of(settings)
        output.say(f"Serving {address} ({where}). Ctrl-C ends it.")

    def welcome(link: Secret[str], until: datetime) -> None:
        """The one place where it is seen: the terminal of who starts the service for the first time."""
        output.say(
            f"Nobody may sign in yet. The owner chooses a password here, once, until {until:%Y-%m-%d %H:%M} UTC:"
        )
        output.say(f"  {link.reveal()}")

    async def run() -> int:
        given = edges().authenticator
        left = await serve_it(
            settings,
            None if given is None else given(settings),
            host=host or settings.web.host,
            port=chosen_port,
            watch=not no_worker,
            confirm=confirmed,
            ready=ready,
            welcome=welcome,
        )
        output.say("The service has ended." if not left else f"The service has ended; {left} left to the journal.")
        return 0

    leave_no_core()
    return go(run)
