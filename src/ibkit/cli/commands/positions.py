"""`ibkit positions`: what an account holds."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Account, Compete, Json, flag
from ibkit.cli.running import go, signed_in
from ibkit.cli.tables import positions_table

__all__ = ["app"]

app = cyclopts.App(name="positions", help="What an account holds.")


@app.command(name="list")
def list_(
    *,
    account: Account = None,
    zero: Annotated[bool, flag("Closed positions that IBKR still lists, too.")] = False,
    compete: Compete = False,
    json: Json = False,
) -> None:
    """All positions of an account, or an error; never a part of them."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account})

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            found = await ib.positions(zero=zero, fresh=True)
        if json:
            output.emit(found)
        elif not found:
            output.say("No positions.")
        else:
            output.say(positions_table(found))

    go(work)
