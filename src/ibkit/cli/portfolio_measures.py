"""`ibkit portfolio analytics|flows`: what a portfolio won and lost, and what was paid in and out. FUT-05."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import output
from ibkit.cli.asking import number, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.portfolio_desk import account_in, at_desk, day_given, login_by, named, required_day

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.client.client import Client
    from ibkit.portfolio.analytics.figures import Analytics
    from ibkit.portfolio.analytics.options import Greeks
    from ibkit.portfolio.book import Link, Portfolio
    from ibkit.portfolio.days import Flows

__all__ = ["add_figure_commands"]

_User = Annotated[str | None, option("Whose portfolio, where there are several users.")]


def analytics(
    portfolio: str,
    /,
    *,
    as_of: Annotated[str | None, option("What was held at the end of this day, in place of now.")] = None,
    since: Annotated[str | None, option("First day of the performance [default: all there are].", "--from")] = None,
    until: Annotated[str | None, option("Its last day [default: that of --as-of, or today].", "--to")] = None,
    currency: Annotated[str | None, option("Of all money [default: the portfolio's].")] = None,
    benchmark: Annotated[Path | None, option("A .csv file of days and levels, to compare with.")] = None,
    greeks: Annotated[bool, flag("Sign in, and ask for delta and theta of the options held now.")] = False,
    user: _User = None,
    json: Json = False,
) -> None:
    """How a portfolio is spread, what it won and lost, and how it did. What is not known is named, never guessed.

    ibkit portfolio analytics Savings --from 2026-01-02 --currency EUR
    """
    from ibkit.cli.portfolio_figures import figures_text, levels_in
    from ibkit.service.analytics_documents import analytics_info

    of_day, first, last = day_given("--as-of", as_of), day_given("--from", since), day_given("--to", until)
    levels = None if benchmark is None else levels_in(benchmark)

    async def work(desk: PortfolioDesk, owner: str) -> Analytics:
        there = await named(desk, owner, portfolio)
        return await desk.figures(
            owner,
            there.portfolio_id,
            as_of=of_day,
            since=first,
            until=last,
            currency=currency,
            benchmark=levels,
            greeks=await _greeks(desk, there, user) if greeks else None,
        )

    if greeks and of_day is not None:
        raise wrong("--greeks", "quotes are of now: leave out --as-of")
    found = at_desk(work, user, sign_in=greeks)
    if json:
        output.emit(analytics_info(found))
    else:
        output.say(figures_text(found))


async def _greeks(desk: PortfolioDesk, portfolio: Portfolio, user: str | None) -> Mapping[int, Greeks]:
    """By the connections of its accounts, each signed in for it."""
    from ibkit.bootstrap.portfolio_greeks import greeks_of
    from ibkit.errors import IbkitError
    from ibkit.wire.marketdata import SNAPSHOT

    links = {each.link.connection_id: each.link for each in portfolio.accounts if each.link is not None}
    open_ones: dict[str, Client] = {}
    async with AsyncExitStack() as stack:
        for name, link in links.items():
            if desk.is_without_session(link):
                continue
            try:
                ib, _ = await stack.enter_async_context(login_by(user, name))
                await ib.keeper.reach(SNAPSHOT.needs)
            except IbkitError as error:
                output.warn(f"{name}: {error.code}: {error.message}")
            else:
                open_ones[name] = ib

        async def login_of(link: Link) -> Client | None:
            return open_ones.get(link.connection_id)

        return await greeks_of(portfolio, login_of)


def flows(
    portfolio: str,
    account: str,
    /,
    *amounts: str,
    since: Annotated[str, option("First day that you tell of.", "--from")],
    until: Annotated[str, option("Last day that you tell of.", "--to")],
    user: _User = None,
    json: Json = False,
) -> None:
    """Say what was paid into an account and taken out, in its base currency: these, and between the two days no others.

    Returns are told of days whose payments are known, and of no others; name none where none was made.

    ibkit portfolio flows Savings "My IRA" 2026-03-02=5000 2026-06-15=-750.50 --from 2026-01-01 --to 2026-11-20
    """
    first, last = required_day("--from", since), required_day("--to", until)
    told: dict[date, Decimal] = {}
    for each in amounts:
        day_text, _, amount = each.partition("=")
        day = required_day("DAY=AMOUNT", day_text)
        if day in told:
            raise wrong("DAY=AMOUNT", f"{day} stands twice; give its sum")
        told[day] = number("DAY=AMOUNT", amount)

    async def work(desk: PortfolioDesk, owner: str) -> Flows:
        there = await named(desk, owner, portfolio)
        account_in(there, account)
        return await desk.days.put_flows(owner, there.portfolio_id, account, since=first, until=last, amounts=told)

    with audited("portfolios.change", portfolio):
        known = at_desk(work, user)
    if json:
        output.emit({"known": known.known, "amounts": {str(day): amount for day, amount in known.amounts.items()}})
        return
    spans = ", ".join(f"{begin} to {end}" for begin, end in known.known)
    output.say(f"{account}: payments are known from {spans}; {len(known.amounts)} in all.")


def add_figure_commands(app: cyclopts.App) -> None:
    for command in (analytics, flows):
        app.command(command)
