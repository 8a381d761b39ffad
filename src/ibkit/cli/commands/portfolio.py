"""`ibkit portfolio`: holdings of one's own, kept by hand or synced from IBKR, in and out of files. SYN-01 to SYN-14."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import number, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes, flag, option
from ibkit.cli.running import go
from ibkit.errors import NotFound, TradingError

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.client import Client
    from ibkit.portfolio.book import Holding, Link, Portfolio, PortfolioAccount
    from ibkit.settings import Settings

__all__ = ["app"]

app = cyclopts.App(name="portfolio", help="Holdings of your own: kept by hand, or synced from IBKR.")

T = TypeVar("T")
_User = Annotated[str | None, option("Whose portfolio, where there are several users.")]
_Which = Annotated[str | None, option("By which of their connections [default: their default one].")]


# -- the books --------------------------------------------------------------------------------------------------------


@app.command(name="list")
def list_(*, user: _User = None, json: Json = False) -> None:
    """Your portfolios, with how their syncs stand."""

    async def work(desk: PortfolioDesk, owner: str) -> tuple[Portfolio, ...]:
        return await desk.books.of_user(owner)

    found = _at_desk(work, user)
    if json:
        from ibkit.service.portfolio_documents import PortfolioList, summary_of

        output.emit(PortfolioList(portfolios=[summary_of(each) for each in found]))
        return
    if not found:
        output.say("There is no portfolio. `ibkit portfolio create NAME` makes one.")
        return
    rows = [
        (
            each.name,
            each.currency,
            len(each.accounts),
            sum(len(account.holdings) for account in each.accounts),
            "; ".join(f"{account.name}: {_standing(account)}" for account in each.accounts if account.link)
            or "by hand",
            each.portfolio_id,
        )
        for each in found
    ]
    output.say(output.table(("Portfolio", "", "Accounts", "Holdings", "IBKR", "Id"), rows, right={2, 3}))


@app.command
def show(portfolio: str, account: str | None = None, /, *, user: _User = None, json: Json = False) -> None:
    """What a portfolio holds, account by account."""
    found = _at_desk(lambda desk, owner: _named(desk, owner, portfolio), user)
    wanted = [_account(found, account)] if account is not None else list(found.accounts)
    if json:
        output.emit(_document(found) if account is None else _account_document(wanted[0]))
        return
    for each in wanted:
        output.say(f"{each.name} ({_standing(each)})")
        output.say(_holdings_table(each.holdings) if each.holdings else "  nothing")
        output.say()


@app.command
def create(name: str, /, *, currency: str = "USD", user: _User = None, json: Json = False) -> None:
    """Make an empty portfolio. `ibkit portfolio account add` gives it accounts."""
    from ibkit.portfolio.book import Portfolio

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        now = desk.clock.now()
        wanted = Portfolio(
            portfolio_id=desk.new_id(),
            user_id=owner,
            name=name.strip(),
            currency=currency.strip().upper(),
            created_at=now,
            updated_at=now,
        )
        return await desk.books.add(wanted)

    with audited("portfolios.create", name):
        made = _at_desk(work, user)
    _tell(made, f"Made {made.name} ({made.portfolio_id}).", json)


@app.command
def delete(portfolio: str, /, *, yes: Yes = False, user: _User = None, json: Json = False) -> None:
    """Delete a portfolio with all that is in it. At IBKR nothing changes."""

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await _named(desk, owner, portfolio)
        if not yes:
            held = sum(len(account.holdings) for account in found.accounts)
            raise wrong("--yes", f"{found.name} has {held} holdings; with --yes it is deleted")
        await desk.books.delete(owner, found.portfolio_id)
        return found

    with audited("portfolios.delete", portfolio):
        gone = _at_desk(work, user)
    if json:
        output.emit({"id": gone.portfolio_id, "deleted": True})
    else:
        output.say(f"Deleted {gone.name}.")


@app.command(name="set")
def put(portfolio: str, account: str, symbol: str, units: str, /, *, user: _User = None, json: Json = False) -> None:
    """Say how many units of a symbol an account kept by hand holds; 0 takes it out.

    ibkit portfolio set Savings Vault GOLD 1.5
    """
    from ibkit.portfolio.book import Holding

    count = number("UNITS", units)

    def edit(there: Portfolio) -> Portfolio:
        own = _account(there, account)
        kept = tuple(each for each in own.holdings if each.symbol != symbol.strip())
        old = next((each for each in own.holdings if each.symbol == symbol.strip()), None)
        new = (
            Holding(symbol=symbol.strip(), units=count) if old is None else replace(old, units=count, market_value=None)
        )
        changed = replace(own, holdings=kept if count == 0 else (*kept, new))
        return replace(there, accounts=tuple(changed if each is own else each for each in there.accounts))

    _tell(_edit(portfolio, edit, user), f"{account} holds {count.normalize():f} {symbol} now.", json)


account_app = cyclopts.App(name="account", help="Accounts of a portfolio: add, rename, delete.")
app.command(account_app)


@account_app.command
def add(portfolio: str, name: str, /, *, user: _User = None, json: Json = False) -> None:
    """Add an account, kept by hand until it is connected."""
    from ibkit.portfolio.book import PortfolioAccount

    new = PortfolioAccount(name=name.strip())
    changed = _edit(portfolio, lambda there: replace(there, accounts=(*there.accounts, new)), user)
    _tell(changed, f"Added {new.name} to {changed.name}.", json)


@account_app.command
def rename(portfolio: str, name: str, new_name: str, /, *, user: _User = None, json: Json = False) -> None:
    """Give an account another name; what connects it stays."""
    from ibkit.portfolio.book import check_name

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await _named(desk, owner, portfolio)
        return await desk.books.rename_account(owner, found.portfolio_id, name, check_name(new_name))

    with audited("portfolios.change", portfolio):
        _tell(_at_desk(work, user), f"{name} is called {new_name.strip()} now.", json)


@account_app.command(name="delete")
def remove(portfolio: str, name: str, /, *, yes: Yes = False, user: _User = None, json: Json = False) -> None:
    """Delete an account with its holdings."""

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await _named(desk, owner, portfolio)
        held = len(_account(found, name).holdings)
        if held and not yes:
            raise wrong("--yes", f"{name} has {held} holdings; with --yes it is deleted")
        return await desk.books.delete_account(owner, found.portfolio_id, name)

    with audited("portfolios.change", portfolio):
        _tell(_at_desk(work, user), f"Deleted {name}.", json)


# -- files ------------------------------------------------------------------------------------------------------------


@app.command
def export(
    portfolio: str,
    /,
    *,
    form: Annotated[Literal["json", "yaml", "csv"], option("Of the file.", "--format")] = "json",
    to: Annotated[Path | None, option("Where to; stdout by default.")] = None,
    user: _User = None,
) -> None:
    """Write a portfolio as a file that `import` reads back; numbers are texts in it, so none is rounded."""
    from ibkit.bootstrap.portfolio_files import file_of

    body = file_of(_at_desk(lambda desk, owner: _named(desk, owner, portfolio), user), form)
    if to is None:
        output.say(body.decode().rstrip("\n"))
        return
    try:
        to.write_bytes(body)
    except OSError as error:
        raise wrong("--to", f"{to}: {error.strerror or error}") from error
    output.say(f"Wrote {to}.")


@app.command(name="import")
def read_in(
    file: Path,
    /,
    *,
    name: Annotated[str, option("Of the portfolio, for a table.")] = "",
    currency: Annotated[str, option("Its currency, for a table.")] = "USD",
    user: _User = None,
    json: Json = False,
) -> None:
    """Make a portfolio of a .json, .yaml or .csv file; it is read whole or not at all."""
    from ibkit.bootstrap.portfolio_files import portfolio_of_file
    from ibkit.portfolio.files import LARGEST_FILE

    form = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv"}.get(file.suffix.lower())
    if form is None:
        raise wrong("FILE", f"{file.name}: it ends in .json, .yaml or .csv")
    try:
        with file.open("rb") as opened:
            body = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise wrong("FILE", f"{file}: {error.strerror or error}") from error
    if len(body) > LARGEST_FILE:
        raise wrong("FILE", f"{file}: it is larger than {LARGEST_FILE} bytes")
    if form == "csv" and not name:
        name = file.stem

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        wanted = portfolio_of_file(
            body,
            form,
            portfolio_id=desk.new_id(),
            user_id=owner,
            at=desk.clock.now(),
            name=name,
            currency=currency,
        )
        return await desk.books.add(wanted)

    with audited("portfolios.create", file.name):
        made = _at_desk(work, user)
    held = sum(len(account.holdings) for account in made.accounts)
    _tell(made, f"Made {made.name} with {len(made.accounts)} accounts and {held} holdings ({made.portfolio_id}).", json)


# -- IBKR -------------------------------------------------------------------------------------------------------------


@app.command
def connect(
    portfolio: str,
    account: str,
    /,
    *,
    to: Annotated[str, option("The account at IBKR.")],
    username: Annotated[str, option("The user name that the gateway must be logged in as.")] = "",
    keep_manual: Annotated[bool, flag("Holdings by hand that IBKR does not have stay beside its own.")] = False,
    sync: Annotated[bool, cyclopts.Parameter(help="Read it at once.", negative="--no-sync")] = True,
    user: _User = None,
    connection: _Which = None,
    json: Json = False,
) -> None:
    """Link an account of a portfolio to one at IBKR, and sync it. Holdings by hand are put aside.

    ibkit portfolio connect Savings "My IRA" --to DU1234567
    """
    from ibkit.portfolio.book import Link

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await _named(desk, owner, portfolio)
        _account(found, account)
        async with _login(desk, user, connection) as (ib, name):
            link = Link(account_id=to.strip(), connection_id=name, username=username.strip(), keep_manual=keep_manual)
            await desk.connect(owner, found.portfolio_id, account, link, ib)
            if sync:
                await desk.sync(owner, found.portfolio_id, account, lambda _: ib)
        return await desk.books.get(owner, found.portfolio_id)

    with audited("portfolios.connect", portfolio, account_id=to):
        changed = _at_desk(work, user, sign_in=True)
    _tell_account(_account(changed, account), json)


@app.command(name="sync")
def sync_(portfolio: str, account: str | None = None, /, *, user: _User = None, json: Json = False) -> int:
    """Read positions and cash of a connected account, or of all of a portfolio; whole, or nothing is changed."""
    from ibkit.errors import IbkitError
    from ibkit.service.portfolio_documents import sync_answer

    async def work(desk: PortfolioDesk, owner: str) -> list[tuple[str, Any]]:
        found = await _named(desk, owner, portfolio)
        linked = [each for each in found.accounts if each.link is not None]
        if account is not None:
            linked = [_account(found, account)]
        if not linked or linked[0].link is None:
            raise TradingError(code="E-NOT-CONNECTED")
        results: list[tuple[str, Any]] = []
        for each in linked:
            link = _linked(each)
            try:
                async with _login(desk, user, link.connection_id) as (ib, _):
                    results.append((each.name, await desk.sync(owner, found.portfolio_id, each.name, _of(ib))))
            except IbkitError as error:
                if len(linked) == 1:
                    raise
                results.append((each.name, error))
        return results

    results = _at_desk(work, user, sign_in=True)
    failed = [result for _, result in results if isinstance(result, IbkitError)]
    if json:
        output.emit(
            {
                name: output.error_object(each) if isinstance(each, IbkitError) else sync_answer(each)
                for name, each in results
            }
        )
    else:
        for name, each in results:
            if isinstance(each, IbkitError):
                output.warn(f"{name}: {each.code}: {each.message}")
            else:
                output.say(f"{name}: {sync_answer(each).message}")
    return failed[0].entry.exit if failed else 0


@app.command
def status(portfolio: str, /, *, user: _User = None, json: Json = False) -> None:
    """How the last sync of each connected account ended, and when the last good one was."""
    found = _at_desk(lambda desk, owner: _named(desk, owner, portfolio), user)
    linked = [each for each in found.accounts if each.link is not None]
    if json:
        output.emit([_account_document(each) for each in linked])
        return
    if not linked:
        output.say("No account is connected to IBKR. `ibkit portfolio connect` connects one.")
        return
    for each in linked:
        link = _linked(each)
        output.say(f"{each.name}: {_standing(each)}")
        if link.error is not None:
            output.say(f"  {link.error.code}: {link.error.message}")
            output.say(f"  -> {link.error.remedy}")


@app.command
def disconnect(portfolio: str, account: str, /, *, user: _User = None, json: Json = False) -> None:
    """Keep an account by hand again; its holdings stay as they were synced last. No broker is asked."""

    async def work(desk: PortfolioDesk, owner: str) -> PortfolioAccount:
        found = await _named(desk, owner, portfolio)
        return await desk.books.disconnect(owner, found.portfolio_id, account, at=desk.clock.now())

    with audited("portfolios.disconnect", portfolio):
        _tell_account(_at_desk(work, user), json)


@app.command
def restore(portfolio: str, account: str, /, *, user: _User = None, json: Json = False) -> None:
    """Bring back the holdings by hand of before an account was connected."""

    async def work(desk: PortfolioDesk, owner: str) -> PortfolioAccount:
        found = await _named(desk, owner, portfolio)
        return await desk.books.restore(owner, found.portfolio_id, account, at=desk.clock.now())

    with audited("portfolios.restore", portfolio):
        _tell_account(_at_desk(work, user), json)


# -- what they share --------------------------------------------------------------------------------------------------


def _at_desk(work: Callable[[PortfolioDesk, str], Awaitable[T]], user: str | None, *, sign_in: bool = False) -> T:
    from ibkit.bootstrap.clients import clock_of
    from ibkit.bootstrap.portfolios import open_portfolios, owner_of

    settings = context.load_settings(require_method=False)

    async def inside() -> T:
        clock = clock_of(settings) if sign_in else _wall_clock()
        async with open_portfolios(settings, clock) as desk:
            return await work(desk, await owner_of(settings, user, desk))

    return go(inside)


def _wall_clock() -> Any:
    from ibkit.bootstrap.edge import machine_clock

    return machine_clock()


def _login(desk: PortfolioDesk, user: str | None, connection: str | None) -> Any:
    """A signed-in client and the name of its connection: the user's own, or that of the settings."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened() -> Any:
        from ibkit.bootstrap.session_book import OF_SETTINGS
        from ibkit.bootstrap.user_login import settings_of_user
        from ibkit.cli.running import signed_in

        base = context.load_settings(require_method=False)
        if base.general.multi_user and not base.mock:
            if user is None:
                raise wrong("--user", "name whose connection it is")
            _, settings, row = await settings_of_user(base, user, connection, account_id=None, environment=None)
            name = row.connection_id
        else:
            settings, name = context.load_settings(), OF_SETTINGS
        async with signed_in(settings) as ib:
            yield ib, name

    return opened()


def _of(ib: Client) -> Callable[[Link], Client]:
    return lambda link: ib


async def _named(desk: PortfolioDesk, owner: str, name: str) -> Portfolio:
    from ibkit.bootstrap.portfolios import named_in

    return named_in(await desk.books.of_user(owner), name)


def _account(portfolio: Portfolio, name: str) -> PortfolioAccount:
    found = portfolio.account(name)
    if found is None:
        names = ", ".join(each.name for each in portfolio.accounts) or "none"
        raise NotFound(
            f"account {name} not found in {portfolio.name}",
            code="E-NOT-FOUND",
            remedy=f"There are: {names}. Names are case-sensitive.",
        )
    return found


def _linked(account: PortfolioAccount) -> Link:
    if account.link is None:
        raise TradingError(code="E-NOT-CONNECTED", details={"account": account.name})
    return account.link


def _edit(portfolio: str, edit: Callable[[Portfolio], Portfolio], user: str | None) -> Portfolio:
    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await _named(desk, owner, portfolio)
        return await desk.books.change(owner, found.portfolio_id, edit)

    with audited("portfolios.change", portfolio):
        return _at_desk(work, user)


def _every(settings: Settings) -> timedelta | None:
    minutes = settings.sync.interval_minutes
    return timedelta(minutes=minutes) if minutes else None


def _now() -> datetime:
    found: datetime = _wall_clock().now()
    return found


def _document(portfolio: Portfolio) -> Any:
    from ibkit.service.portfolio_documents import portfolio_info

    return portfolio_info(portfolio, now=_now(), every=_every(context.load_settings(require_method=False)))


def _account_document(account: PortfolioAccount) -> Any:
    from ibkit.service.portfolio_documents import account_info

    return account_info(account, now=_now(), every=_every(context.load_settings(require_method=False)))


def _tell(portfolio: Portfolio, text: str, json: bool) -> None:
    if json:
        output.emit(_document(portfolio))
    else:
        output.say(text)


def _tell_account(account: PortfolioAccount, json: bool) -> None:
    if json:
        output.emit(_account_document(account))
        return
    output.say(f"{account.name} ({_standing(account)})")
    output.say(_holdings_table(account.holdings) if account.holdings else "  nothing")


def _standing(account: PortfolioAccount) -> str:
    link = account.link
    if link is None:
        return "by hand"
    last = "never synced" if link.last_sync is None else f"synced {link.last_sync:%Y-%m-%d %H:%M} UTC"
    trouble = f", {link.status.value}" if link.status.value in ("error", "syncing") else ""
    return f"IBKR {link.account_id}, {last}{trouble}"


def _holdings_table(holdings: tuple[Holding, ...]) -> str:
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
