"""`ibkit portfolio corrections|lot-order`: by which rules a ledger is made, and what was told before. FUT-08."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from ibkit.cli import output
from ibkit.cli.asking import number, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.portfolio_desk import account_where, at_desk

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk

__all__ = ["add_rule_commands"]

_User = Annotated[str | None, option("Whose portfolio, where there are several users.")]
_Which = Annotated[str | None, option("The account, where there are several.")]


def corrections(portfolio: str, /, *, account: _Which = None, user: _User = None, json: Json = False) -> None:
    """What was told of an account's transactions before, and what a newer payload told otherwise."""
    from ibkit.service.ledger_rule_documents import corrections_info

    async def work(desk: PortfolioDesk, owner: str) -> Any:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        return corrections_info(name, await desk.ledgers.corrections(owner, portfolio_id, name))

    told = at_desk(work, user)
    if json:
        output.emit(told)
        return
    rows = [
        (
            f"{each.noted_at:%Y-%m-%d %H:%M}",
            each.after.symbol,
            each.after.key,
            ", ".join(each.changed),
            each.digest[:12],
        )
        for each in told.corrections
    ]
    head = ("Noted", "Of", "Transaction", "Moved otherwise", "Told by")
    output.say(output.table(head, rows) if rows else "Nothing was told otherwise before.")


def lot_order(
    portfolio: str,
    order: Annotated[Literal["fifo", "lifo", "specific"], option("Which lots a trade closes first.")],
    /,
    *picks: str,
    account: _Which = None,
    premium_into_stock: Annotated[bool | None, flag("An exercised option's premium goes into the stock.")] = None,
    user: _User = None,
    json: Json = False,
) -> None:
    """Choose which lots are closed first. A pick names the closing trade, the lot's and how much of it.

    ibkit portfolio lot-order Savings specific exec:9.01=exec:3.01:50
    """
    from ibkit.portfolio.lots import LotOrder

    chosen: dict[str, list[tuple[str, Decimal]]] = {}
    for each in picks:
        closing, _, rest = each.partition("=")
        opening, _, size = rest.rpartition(":")
        if not closing or not opening:
            raise wrong("PICKS", f"{each}: write it as CLOSING=OPENING:QUANTITY")
        chosen.setdefault(closing, []).append((opening, number("PICKS", size)))

    async def work(desk: PortfolioDesk, owner: str) -> Any:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        return await desk.ledgers.set_rules(
            owner, portfolio_id, name, order=LotOrder(order), premium_into_stock=premium_into_stock, picks=chosen
        )

    with audited("portfolios.change", portfolio):
        rules = at_desk(work, user)
    if json:
        output.emit({"lot_order": rules.order.value, "premium_into_stock": rules.premium_into_stock})
    else:
        output.say(f"Lots are closed {rules.order.value} now.")


def add_rule_commands(app: cyclopts.App) -> None:
    for command in (corrections, lot_order):
        app.command(command)
