"""`ibkit portfolio`: holdings of one's own, kept by hand or synced from IBKR, in and out of files. SYN-01 to SYN-14."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import cyclopts

from ibkit.cli import output
from ibkit.cli.asking import number, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes, flag, option
from ibkit.cli.portfolio_books import add_ledger_commands
from ibkit.cli.portfolio_desk import (
    account_document,
    account_in,
    at_desk,
    edit_portfolio,
    holdings_table,
    link_in,
    login_by,
    login_given,
    named,
    portfolio_document,
    standing,
    tell,
    tell_account,
)
from ibkit.cli.portfolio_measures import add_figure_commands
from ibkit.errors import TradingError

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.portfolio.book import LinkedAccount, Portfolio, PortfolioAccount, PortfolioSummary

__all__ = ["app"]

app = cyclopts.App(name="portfolio", help="Holdings of your own: kept by hand, or synced from IBKR.")
add_ledger_commands(app)
add_figure_commands(app)

T = TypeVar("T")
_User = Annotated[str | None, option("Whose portfolio, where there are several users.")]
_Which = Annotated[str | None, option("By which of their connections [default: their default one].")]


# -- the books --------------------------------------------------------------------------------------------------------


@app.command(name="list")
def list_(*, user: _User = None, json: Json = False) -> None:
    """Your portfolios, with how their syncs stand."""

    async def work(desk: PortfolioDesk, owner: str) -> tuple[tuple[PortfolioSummary, ...], tuple[LinkedAccount, ...]]:
        return await desk.books.summaries(owner), await desk.books.linked(owner)

    found, linked = at_desk(work, user)
    if json:
        from ibkit.service.portfolio_documents import PortfolioList, summary_of

        output.emit(PortfolioList(portfolios=[summary_of(each) for each in found]))
        return
    if not found:
        output.say("There is no portfolio. `ibkit portfolio create NAME` makes one.")
        return
    standings: dict[str, list[str]] = {}
    for each in linked:
        standings.setdefault(each.portfolio_id, []).append(f"{each.account}: {standing(each.link)}")
    rows = [
        (
            there.name,
            there.currency,
            there.accounts,
            there.holdings,
            "; ".join(standings.get(there.portfolio_id, ())) or "by hand",
            there.portfolio_id,
        )
        for there in found
    ]
    output.say(output.table(("Portfolio", "", "Accounts", "Holdings", "IBKR", "Id"), rows, right={2, 3}))


@app.command
def show(portfolio: str, account: str | None = None, /, *, user: _User = None, json: Json = False) -> None:
    """What a portfolio holds, account by account."""
    found = at_desk(lambda desk, owner: named(desk, owner, portfolio), user)
    wanted = [account_in(found, account)] if account is not None else list(found.accounts)
    if json:
        output.emit(portfolio_document(found) if account is None else account_document(wanted[0]))
        return
    for each in wanted:
        output.say(f"{each.name} ({standing(each.link)})")
        output.say(holdings_table(each.holdings) if each.holdings else "  nothing")
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
        made = at_desk(work, user)
    tell(made, f"Made {made.name} ({made.portfolio_id}).", json)


@app.command
def delete(portfolio: str, /, *, yes: Yes = False, user: _User = None, json: Json = False) -> None:
    """Delete a portfolio with all that is in it. At IBKR nothing changes."""

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await named(desk, owner, portfolio)
        if not yes:
            held = sum(len(account.holdings) for account in found.accounts)
            raise wrong("--yes", f"{found.name} has {held} holdings; with --yes it is deleted")
        await desk.books.delete(owner, found.portfolio_id)
        return found

    with audited("portfolios.delete", portfolio):
        gone = at_desk(work, user)
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
        own = account_in(there, account)
        kept = tuple(each for each in own.holdings if each.symbol != symbol.strip())
        old = next((each for each in own.holdings if each.symbol == symbol.strip()), None)
        new = (
            Holding(symbol=symbol.strip(), units=count)
            if old is None
            else replace(old, units=count, market_value=None, unrealized_pnl=None, synced_at=None)
        )
        changed = replace(own, holdings=kept if count == 0 else (*kept, new))
        return replace(there, accounts=tuple(changed if each is own else each for each in there.accounts))

    tell(edit_portfolio(portfolio, edit, user), f"{account} holds {count.normalize():f} {symbol} now.", json)


account_app = cyclopts.App(name="account", help="Accounts of a portfolio: add, rename, delete.")
app.command(account_app)


@account_app.command
def add(portfolio: str, name: str, /, *, user: _User = None, json: Json = False) -> None:
    """Add an account, kept by hand until it is connected."""
    from ibkit.portfolio.book import PortfolioAccount

    new = PortfolioAccount(name=name.strip())
    changed = edit_portfolio(portfolio, lambda there: replace(there, accounts=(*there.accounts, new)), user)
    tell(changed, f"Added {new.name} to {changed.name}.", json)


@account_app.command
def rename(portfolio: str, name: str, new_name: str, /, *, user: _User = None, json: Json = False) -> None:
    """Give an account another name; what connects it stays."""
    from ibkit.portfolio.book import check_name

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await named(desk, owner, portfolio)
        return await desk.books.rename_account(owner, found.portfolio_id, name, check_name(new_name))

    with audited("portfolios.change", portfolio):
        tell(at_desk(work, user), f"{name} is called {new_name.strip()} now.", json)


@account_app.command(name="delete")
def remove(portfolio: str, name: str, /, *, yes: Yes = False, user: _User = None, json: Json = False) -> None:
    """Delete an account with its holdings."""

    async def work(desk: PortfolioDesk, owner: str) -> Portfolio:
        found = await named(desk, owner, portfolio)
        held = len(account_in(found, name).holdings)
        if held and not yes:
            raise wrong("--yes", f"{name} has {held} holdings; with --yes it is deleted")
        return await desk.books.delete_account(owner, found.portfolio_id, name)

    with audited("portfolios.change", portfolio):
        tell(at_desk(work, user), f"Deleted {name}.", json)


# -- files ------------------------------------------------------------------------------------------------------------


@app.command
def export(
    portfolio: str,
    /,
    *,
    form: Annotated[
        Literal["json", "yaml", "csv", "beancount", "portfolio-performance"], option("Of the file.", "--format")
    ] = "json",
    to: Annotated[Path | None, option("Where to; stdout by default.")] = None,
    user: _User = None,
) -> None:
    """Write a portfolio as a file that `import` reads back (JSON, YAML, CSV), or for accountants' programs.

    beancount: a ledger in text. portfolio-performance: a .zip of the two tables that Portfolio Performance imports.

    ibkit portfolio export Savings --format beancount --to savings.beancount
    """
    from ibkit.bootstrap.portfolio_files import ENDINGS, exported

    if to is None and ENDINGS[form] == "zip":
        raise wrong("--to", "say where it goes: it is a .zip file")

    async def work(desk: PortfolioDesk, owner: str) -> bytes:
        return await exported(desk, owner, await named(desk, owner, portfolio), form)

    body = at_desk(work, user)
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
        made = at_desk(work, user)
    held = sum(len(account.holdings) for account in made.accounts)
    tell(made, f"Made {made.name} with {len(made.accounts)} accounts and {held} holdings ({made.portfolio_id}).", json)


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
        found = await named(desk, owner, portfolio)
        account_in(found, account)
        async with login_by(user, connection) as (ib, name):
            link = Link(account_id=to.strip(), connection_id=name, username=username.strip(), keep_manual=keep_manual)
            await desk.connect(owner, found.portfolio_id, account, link, ib)
            if sync:
                await desk.sync(owner, found.portfolio_id, account, lambda _: ib)
        return await desk.books.get(owner, found.portfolio_id)

    with audited("portfolios.connect", portfolio, account_id=to):
        changed = at_desk(work, user, sign_in=True)
    tell_account(account_in(changed, account), json)


@app.command(name="sync")
def sync_(portfolio: str, account: str | None = None, /, *, user: _User = None, json: Json = False) -> int:
    """Read positions and cash of a connected account, or of all of a portfolio; whole, or nothing is changed."""
    from ibkit.errors import IbkitError
    from ibkit.service.portfolio_documents import sync_answer

    async def work(desk: PortfolioDesk, owner: str) -> list[tuple[str, Any]]:
        found = await named(desk, owner, portfolio)
        linked = [each for each in found.accounts if each.link is not None]
        if account is not None:
            linked = [account_in(found, account)]
        if not linked or linked[0].link is None:
            raise TradingError(code="E-NOT-CONNECTED")
        results: list[tuple[str, Any]] = []
        for each in linked:
            link = link_in(each)
            try:
                if desk.is_without_session(link):
                    outcome = await desk.sync_from_statements(owner, found.portfolio_id, each.name)
                    results.append((each.name, outcome))
                    continue
                async with login_by(user, link.connection_id) as (ib, _):
                    results.append((each.name, await desk.sync(owner, found.portfolio_id, each.name, login_given(ib))))
            except IbkitError as error:
                if len(linked) == 1:
                    raise
                results.append((each.name, error))
        return results

    results = at_desk(work, user, sign_in=True)
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
    found = at_desk(lambda desk, owner: named(desk, owner, portfolio), user)
    linked = [each for each in found.accounts if each.link is not None]
    if json:
        output.emit([account_document(each) for each in linked])
        return
    if not linked:
        output.say("No account is connected to IBKR. `ibkit portfolio connect` connects one.")
        return
    for each in linked:
        link = link_in(each)
        output.say(f"{each.name}: {standing(each.link)}")
        if link.error is not None:
            output.say(f"  {link.error.code}: {link.error.message}")
            output.say(f"  -> {link.error.remedy}")


@app.command
def disconnect(portfolio: str, account: str, /, *, user: _User = None, json: Json = False) -> None:
    """Keep an account by hand again; its holdings stay as they were synced last. No broker is asked."""

    async def work(desk: PortfolioDesk, owner: str) -> PortfolioAccount:
        found = await named(desk, owner, portfolio)
        return await desk.books.disconnect(owner, found.portfolio_id, account, at=desk.clock.now())

    with audited("portfolios.disconnect", portfolio):
        tell_account(at_desk(work, user), json)


@app.command
def restore(portfolio: str, account: str, /, *, user: _User = None, json: Json = False) -> None:
    """Bring back the holdings by hand of before an account was connected."""

    async def work(desk: PortfolioDesk, owner: str) -> PortfolioAccount:
        found = await named(desk, owner, portfolio)
        return await desk.books.restore(owner, found.portfolio_id, account, at=desk.clock.now())

    with audited("portfolios.restore", portfolio):
        tell_account(at_desk(work, user), json)
