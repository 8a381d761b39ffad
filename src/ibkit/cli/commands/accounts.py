"""`ibkit accounts`: the accounts of the login."""

from __future__ import annotations

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import ByUser, Compete, Json
from ibkit.cli.running import go, signed_in

__all__ = ["app"]

app = cyclopts.App(name="accounts", help="The accounts of the login.")


@app.command(name="list")
def list_(*, compete: Compete = False, by: ByUser = None, json: Json = False) -> None:
    """The accounts of the login: id, kind, currency, environment."""
    settings = context.load_settings(by=by)

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            found = await ib.accounts()
        if json:
            output.emit(found)
            return
        rows = [(a.account_id, a.display_name, a.currency, a.kind, a.environment.value) for a in found]
        output.say(output.table(("Account", "Name", "Currency", "Kind", "Environment"), rows))

    go(work)


@app.command
def show(account: str | None = None, /, *, compete: Compete = False, by: ByUser = None, json: Json = False) -> None:
    """Balances and margins of one account; a dash is a figure that IBKR did not give."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            summary = await ib.summary()
        if json:
            output.emit(summary)
            return
        rows = [
            ("Net liquidation", summary.net_liquidation),
            ("Total cash", summary.total_cash_value),
            ("Available funds", summary.available_funds),
            ("Buying power", summary.buying_power),
            ("Initial margin", summary.initial_margin),
            ("Maintenance margin", summary.maintenance_margin),
        ]
        output.say(f"{summary.account_id}, amounts in {summary.currency or 'the base currency'}")
        output.say(output.table(("", "Amount"), rows, right={1}))

    go(work)
