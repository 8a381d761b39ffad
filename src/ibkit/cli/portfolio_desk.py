"""What the commands of `ibkit portfolio` share: the desk, the login, and how things are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.running import go
from ibkit.errors import NotFound, TradingError

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.client import Client
    from ibkit.portfolio.book import Holding, Link, Portfolio, PortfolioAccount

__all__ = [
    "account_document",
    "account_in",
    "account_where",
    "at_desk",
    "day_given",
    "edit_portfolio",
    "holdings_table",
    "link_in",
    "login_by",
    "login_given",
    "named",
    "portfolio_document",
    "required_day",
    "standing",
    "tell",
    "tell_account",
]

T = TypeVar("T")


def at_desk(work: Callable[[PortfolioDesk, str], Awaitable[T]], user: str | None, *, sign_in: bool = False) -> T:
    from ibkit.bootstrap.clients import clock_of
    from ibkit.bootstrap.portfolios import open_portfolios, owner_of, told_beside

    settings = context.load_settings(require_method=False)

    async def inside() -> T:
        clock = clock_of(settings) if sign_in else _wall_clock()
        async with open_portfolios(settings, clock, tell=told_beside(settings)) as desk:
            return await work(desk, await owner_of(settings, user, desk))

    return go(inside)


def _wall_clock() -> Any:
    from ibkit.bootstrap.edge import machine_clock

    return machine_clock()


@asynccontextmanager
async def login_by(user: str | None, connection: str | None) -> AsyncIterator[tuple[Client, str]]:
    """A client that is signed in to look, and the name of its connection: the user's own, or that of the settings."""
    from ibkit.bootstrap.session_book import OF_SETTINGS
    from ibkit.bootstrap.user_login import settings_of_user
    from ibkit.cli.running import signed_in

    settings, name = context.load_settings(require_method=False), OF_SETTINGS
    if settings.general.multi_user and not settings.mock:
        if user is None:
            raise wrong("--user", "name whose connection it is")
        _, settings, row = await settings_of_user(settings, user, connection, account_id=None, environment=None)
        name = row.connection_id
    else:
        settings = context.load_settings()
    async with signed_in(settings, looking=True) as ib:
        yield ib, name


def login_given(ib: Client) -> Callable[[Link], Client]:
    return lambda link: ib


async def named(desk: PortfolioDesk, owner: str, name: str) -> Portfolio:
    from ibkit.bootstrap.portfolios import named_in

    return named_in(await desk.books.of_user(owner), name)


def account_in(portfolio: Portfolio, name: str) -> PortfolioAccount:
    found = portfolio.account(name)
    if found is None:
        names = ", ".join(each.name for each in portfolio.accounts) or "none"
        raise NotFound(
            f"account {name} not found in {portfolio.name}",
            code="E-NOT-FOUND",
            remedy=f"There are: {names}. Names are case-sensitive.",
        )
    return found


def link_in(account: PortfolioAccount) -> Link:
    if account.link is None:
        raise TradingError(code="E-NOT-CONNECTED", details={"account": account.name})
    return account.link


def day_given(name: str, text: str | None) -> date | None:
    """None where none is given. ConfigError (E-VALIDATION) naming the option."""
    return None if text is None else required_day(name, text)


def required_day(name: str, text: str) -> date:
    """ConfigError (E-VALIDATION) naming the option."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise wrong(name, "it is a day like 2026-11-20") from error


def edit_portfolio(portfolio: str, edit: Callable[[Portfolio], Portfolio], user: str | None) -> Portfolio:
    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await named(desk, owner, portfolio)
        return await desk.books.change(owner, found.portfolio_id, edit)

    with audited("portfolios.change", portfolio):
        return at_desk(work, user)


def _sync_pause() -> timedelta | None:
    from ibkit.bootstrap.portfolios import pause_between

    return pause_between(context.load_settings(require_method=False))


def _now() -> datetime:
    found: datetime = _wall_clock().now()
    return found


def portfolio_document(portfolio: Portfolio) -> Any:
    from ibkit.service.portfolio_documents import portfolio_info

    return portfolio_info(portfolio, now=_now(), every=_sync_pause())


def account_document(account: PortfolioAccount) -> Any:
    from ibkit.service.portfolio_documents import account_info

    return account_info(account, now=_now(), every=_sync_pause())


def tell(portfolio: Portfolio, text: str, json: bool) -> None:
    if json:
        output.emit(portfolio_document(portfolio))
    else:
        output.say(text)


def tell_account(account: PortfolioAccount, json: bool) -> None:
    if json:
        output.emit(account_document(account))
        return
    output.say(f"{account.name} ({standing(account.link)})")
    output.say(holdings_table(account.holdings) if account.holdings else "  nothing")


def standing(link: Link | None) -> str:
    if link is None:
        return "by hand"
    last = "never synced" if link.last_sync is None else f"synced {link.last_sync:%Y-%m-%d %H:%M} UTC"
    trouble = f", {link.status.value}" if link.status.value in ("error", "syncing") else ""
    return f"IBKR {link.account_id}, {last}{trouble}"


def holdings_table(holdings: tuple[Holding, ...]) -> str:
    rows = [
        (
            each.symbol,
            each.units.normalize(),
            None if each.kind is None else each.kind.value,
            each.average_cost,
            each.market_price,
            each.market_value,
            each.unrealized_pnl,
            each.currency,
        )
        for each in holdings
    ]
    head = ("Holding", "Units", "Type", "Cost", "Price", "Value", "Unrealised", "")
    return output.table(head, rows, right={1, 3, 4, 5, 6})


async def account_where(desk: PortfolioDesk, owner: str, portfolio: str, account: str | None) -> tuple[str, str]:
    """The portfolio's id and the account's name: the one named, or the only one there is."""
    there = await named(desk, owner, portfolio)
    if account is not None:
        return there.portfolio_id, account_in(there, account).name
    if len(there.accounts) != 1:
        names = ", ".join(each.name for each in there.accounts) or "none"
        raise wrong("--account", f"name one of: {names}")
    return there.portfolio_id, there.accounts[0].name
