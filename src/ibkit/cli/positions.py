"""`ibkit positions`: what an account holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Account, Compete, Json, flag
from ibkit.cli.running import go, signed_in
from ibkit.model import Position

__all__ = ["app", "positions_table"]

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


def positions_table(positions: Iterable[Position]) -> str:
    rows = [
        (
            p.contract.label or p.contract.description,
            p.quantity.normalize(),
            p.average_price,
            p.market_price,
            p.market_value,
            p.unrealized_pnl,
            p.contract.currency,
        )
        for p in positions
    ]
    head = ("Position", "Quantity", "Average", "Price", "Value", "Unrealised", "")
    return output.table(head, rows, right={1, 2, 3, 4, 5})
