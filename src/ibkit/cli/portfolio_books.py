"""`ibkit portfolio flex|transactions|lots|income|ledger|raw|inbox`: the ledger of an account. FUT-08."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import number, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.cli.portfolio_desk import account_in, account_where, at_desk, day_given, named
from ibkit.cli.portfolio_rules import add_rule_commands

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ibkit.bootstrap.flex_books import FlexDesk
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.portfolio.ledger import Ledger
    from ibkit.service.ledger_documents import DifferenceInfo, FlexImportInfo, InboxInfo

__all__ = ["add_ledger_commands", "flex_app", "inbox_app"]

T = TypeVar("T")
_User = Annotated[str | None, option("Whose portfolio, where there are several users.")]
_Portfolio = Annotated[str, option("The portfolio, by name or id.")]
_Account = Annotated[str, option("The account of the portfolio.")]
_Which = Annotated[str | None, option("The account, where there are several.")]
_AsOf = Annotated[str | None, option("A day (until its end in New York), or a moment like 2026-11-20T15:30:00Z.")]
_From = Annotated[str | None, option("First day, by the statement that tells of it.", "--from")]
_To = Annotated[str | None, option("Last day.", "--to")]

flex_app = cyclopts.App(name="flex", help="Flex statements: import a file, fetch one, see what is there.")
inbox_app = cyclopts.App(name="inbox", help="Where ledger, statements and live holdings differ, and what to do.")


def _moment(text: str | None) -> datetime | date | None:
    from ibkit.service.requests import moment

    if text is None:
        return None
    if len(text.strip()) == len("2026-11-20"):
        return day_given("--as-of", text)
    found = moment(text.strip())
    if found is None:
        raise wrong("--as-of", "it is a day or a moment like 2026-11-20 or 2026-11-20T15:30:00Z")
    return found


# -- statements -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _flex(desk: PortfolioDesk) -> AsyncIterator[FlexDesk]:
    from ibkit.bootstrap.flex_books import open_flex
    from ibkit.bootstrap.portfolios import told_beside

    settings = context.load_settings(require_method=False)
    async with open_flex(settings, desk, tell=told_beside(settings)) as flex:
        yield flex


def _take(
    portfolio: str,
    account: str,
    user: str | None,
    got: Callable[[FlexDesk, str, str], Awaitable[Any]],
    json: bool,
) -> None:
    from ibkit.service.ledger_documents import flex_import_info

    async def work(desk: PortfolioDesk, owner: str) -> FlexImportInfo:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        async with _flex(desk) as flex:
            return flex_import_info(name, await got(flex, owner, portfolio_id))

    with audited("portfolios.flex", portfolio):
        told = at_desk(work, user)
    if json:
        output.emit(told)
        return
    new = f"{told.added} new, {told.corrected} corrected, {told.known} known"
    output.say(f"{told.account}: {told.first} to {told.last}: {new}.")
    if told.holdings_count is not None:
        output.say(f"It holds {told.holdings_count} things by its newest statement.")
    for line in told.missing:
        output.warn(f"the query leaves out {line}")
    for line in told.unbooked:
        output.warn(f"not booked: {line}")
    for gap in told.gaps:
        output.warn(f"no statement tells of {gap.first} to {gap.last}")


@flex_app.command(name="import")
def read_in(file: Path, /, *, portfolio: _Portfolio, account: _Account, user: _User = None, json: Json = False) -> None:
    """Take a file of Flex statements into an account's ledger; one that is cut or of another account changes nothing.

    ibkit portfolio flex import activity.xml --portfolio Savings --account "My IRA"
    """
    from ibkit.bootstrap.flex_books import LARGEST_STATEMENT

    try:
        with file.open("rb") as opened:
            body = opened.read(LARGEST_STATEMENT + 1)
    except OSError as error:
        raise wrong("FILE", f"{file}: {error.strerror or error}") from error
    if len(body) > LARGEST_STATEMENT:
        raise wrong("FILE", f"{file}: it is larger than {LARGEST_STATEMENT} bytes")
    _take(portfolio, account, user, lambda flex, owner, at: flex.take(owner, at, account, body), json)


@flex_app.command
def fetch(
    *,
    portfolio: _Portfolio,
    account: _Account,
    since: Annotated[str | None, option("First day, in place of the query's period.", "--from")] = None,
    until: _To = None,
    user: _User = None,
    json: Json = False,
) -> None:
    """Fetch the statement of FLEX_QUERY_ID with FLEX_TOKEN, without a session, and take it.

    The token is read from the settings (with ENABLE_MULTI_USER it is the user's own, from the vault): never from the
    command line.
    """
    first, last = day_given("--from", since), day_given("--to", until)
    _take(
        portfolio,
        account,
        user,
        lambda flex, owner, at: flex.fetch(owner, at, account, first=first, last=last),
        json,
    )


@flex_app.command(name="list")
def statements(*, portfolio: _Portfolio, account: _Account, user: _User = None, json: Json = False) -> None:
    """The statements of an account, what each leaves out, and the days that none tells of."""
    from ibkit.portfolio.statements import gaps
    from ibkit.service.ledger_documents import statements_info

    async def work(desk: PortfolioDesk, owner: str) -> Any:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        there = await desk.ledgers.statements(owner, portfolio_id, name)
        return statements_info(name, there, gaps(there))

    told = at_desk(work, user)
    if json:
        output.emit(told)
        return
    rows = [(each.first, each.last, each.kind, each.digest[:12], "; ".join(each.missing)) for each in told.statements]
    output.say(output.table(("From", "To", "Kind", "File", "Leaves out"), rows) if rows else "There is none.")
    for gap in told.gaps:
        output.warn(f"no statement tells of {gap.first} to {gap.last}")


# -- what happened ----------------------------------------------------------------------------------------------------


def _ledger(portfolio: str, account: str | None, as_of: str | None, user: str | None) -> tuple[str, Ledger]:
    until = _moment(as_of)

    async def work(desk: PortfolioDesk, owner: str) -> tuple[str, Ledger]:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        return name, await desk.ledger_of(owner, portfolio_id, name, as_of=until)

    return at_desk(work, user)


def transactions(
    portfolio: str,
    /,
    *,
    account: _Which = None,
    as_of: _AsOf = None,
    since: _From = None,
    until: _To = None,
    user: _User = None,
    json: Json = False,
) -> None:
    """What happened in an account, each with the row that told it."""
    from ibkit.service.ledger_documents import transactions_info

    first, last = day_given("--from", since), day_given("--to", until)
    told = transactions_info(*_ledger(portfolio, account, as_of, user), since=first, until=last)
    if json:
        output.emit(told)
        return
    rows = [
        (
            each.booked_on,
            each.kind + (" (taken back)" if each.struck else ""),
            each.symbol,
            each.quantity.normalize() if each.quantity else None,
            each.price,
            ", ".join(f"{amount:,.2f} {currency}" for currency, amount in each.cash.items()),
            f"{each.told_by} {each.source.digest[:12]} {each.source.section} {each.source.row}",
        )
        for each in told.transactions
    ]
    head = ("Day", "What", "Of", "Quantity", "Price", "Cash", "Told by")
    output.say(output.table(head, rows, right={3, 4, 5}) if rows else "Nothing is told of it yet.")


def lots(
    portfolio: str, /, *, account: _Which = None, as_of: _AsOf = None, user: _User = None, json: Json = False
) -> None:
    """Open and closed lots of an account, by its rule (`ibkit portfolio lot-order`)."""
    from ibkit.service.ledger_documents import lots_info

    told = lots_info(*_ledger(portfolio, account, as_of, user))
    if json:
        output.emit(told)
        return
    rows = [
        (each.symbol, each.quantity.normalize(), f"{each.cost:,.2f}", each.currency, each.opened_on, each.opened_by)
        for each in told.open
    ]
    output.say(output.table(("Open", "Quantity", "Cost", "", "Since", "By"), rows, right={1, 2}) if rows else "None.")
    closed = [
        (
            each.symbol,
            each.quantity.normalize(),
            f"{each.cost:,.2f}",
            f"{each.proceeds:,.2f}",
            f"{each.realized:,.2f}",
            each.currency,
            each.opened_on,
            each.booked_on,
        )
        for each in told.closed
    ]
    if closed:
        head = ("Closed", "Quantity", "Cost", "Proceeds", "Realised", "", "Since", "Until")
        output.say(output.table(head, closed, right={1, 2, 3, 4}))


def income(
    portfolio: str,
    /,
    *,
    account: _Which = None,
    as_of: _AsOf = None,
    since: _From = None,
    until: _To = None,
    user: _User = None,
    json: Json = False,
) -> None:
    """Dividends, interest, fees and taxes of an account, and what its trades realized."""
    from ibkit.service.ledger_documents import income_info

    first, last = day_given("--from", since), day_given("--to", until)
    told = income_info(*_ledger(portfolio, account, as_of, user), since=first, until=last)
    if json:
        output.emit(told)
        return
    rows: list[tuple[Any, ...]] = [
        (each.kind, f"{each.amount:,.2f}", each.currency, len(each.sources)) for each in told.income
    ]
    rows += [("commissions", f"{amount:,.2f}", currency, None) for currency, amount in told.commissions.items()]
    rows += [("realized by trades", f"{amount:,.2f}", currency, None) for currency, amount in told.realized.items()]
    output.say(output.table(("Kind", "Amount", "", "Rows"), rows, right={1, 3}) if rows else "Nothing is told of it.")


def ledger(
    portfolio: str, /, *, account: _Which = None, as_of: _AsOf = None, user: _User = None, json: Json = False
) -> None:
    """Cash, positions and results of an account, now or as of any past moment."""
    from ibkit.service.ledger_documents import ledger_info

    told = ledger_info(*_ledger(portfolio, account, as_of, user))
    if json:
        output.emit(told)
        return
    rows: list[tuple[Any, ...]] = [
        (f"Cash {currency}", f"{amount:,.2f}", None, None) for currency, amount in told.cash.items()
    ]
    rows += [(each.symbol, each.quantity.normalize(), f"{each.cost:,.2f}", each.currency) for each in told.positions]
    rows += [(f"Realised {currency}", f"{amount:,.2f}", None, None) for currency, amount in told.realized.items()]
    output.say(output.table(("", "", "Cost", ""), rows, right={1, 2}) if rows else "Nothing is told of it yet.")


def raw(
    portfolio: str,
    digest: str,
    /,
    *,
    statement: Annotated[int, option("Which statement in it, from 0.")] = 0,
    section: Annotated[str | None, option("Of the row; without it the whole payload is written.")] = None,
    row: Annotated[int, option("Which row, from 0.")] = 0,
    user: _User = None,
) -> None:
    """The raw row that a figure came from, or the whole payload. DIGEST: as `--json` of the other commands tells it."""
    from ibkit.bootstrap.raw_rows import raw_row

    async def work(desk: PortfolioDesk, owner: str) -> Any:
        there = await named(desk, owner, portfolio)
        return await desk.ledgers.raw(owner, there.portfolio_id, digest.strip())

    found = at_desk(work, user)
    if section is None:
        output.say(found.body.decode(errors="replace").rstrip("\n"))
        return
    output.emit(raw_row(found, statement=statement, section=section, row=row))


# -- differences ------------------------------------------------------------------------------------------------------


@inbox_app.command(name="list")
def list_(portfolio: str, /, *, account: _Which = None, user: _User = None, json: Json = False) -> None:
    """What differs now, with its cause and what is proposed."""
    from ibkit.bootstrap.reconciliation import inbox_shown
    from ibkit.service.ledger_documents import inbox_info

    async def work(desk: PortfolioDesk, owner: str) -> InboxInfo:
        there = await named(desk, owner, portfolio)
        names = [each.name for each in there.accounts] if account is None else [account_in(there, account).name]
        return inbox_info({name: await inbox_shown(desk, owner, there.portfolio_id, name) for name in names})

    _tell(at_desk(work, user), json)


def _tell(told: InboxInfo, json: bool) -> None:
    if json:
        output.emit(told)
        return
    if not told.differences:
        output.say("Nothing differs.")
    for each in told.differences:
        what = each.symbol or f"cash {each.currency}"
        what += "" if each.figure == "size" else f", {each.figure} in {each.currency}"
        output.say(f"{each.account}: {what}: {_amount(each)} ({each.against}: {each.told:f}, ledger: {each.ours:f})")
        days = f" {each.first} to {each.last}" if each.first and each.last else ""
        output.say(f"  {each.cause}: {each.why}")
        output.say(f"  -> {each.fix}{days}   [{each.state}, {each.id}]")


def _amount(told: DifferenceInfo) -> str:
    return f"{told.amount:+,.2f}" if told.conid is None or told.figure != "size" else f"{told.amount.normalize():+f}"


_Note = Annotated[str, option("Why, kept beside it.")]


@inbox_app.command
def accept(
    portfolio: str, item: str, /, *, account: _Which = None, note: _Note = "", user: _User = None, json: Json = False
) -> None:
    """A difference is known, and stays until it differs by another amount."""
    from ibkit.bootstrap.reconciliation import accept_difference
    from ibkit.service.ledger_documents import difference_info

    async def work(desk: PortfolioDesk, owner: str) -> DifferenceInfo:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        done = await accept_difference(desk, owner, portfolio_id, name, item, by=_person(user, owner), note=note)
        return difference_info(name, done)

    with audited("portfolios.reconcile", portfolio):
        told = at_desk(work, user)
    if json:
        output.emit(told)
    else:
        output.say(f"Accepted: {told.subject}, {_amount(told)}.")


@inbox_app.command
def fix(
    portfolio: str,
    item: str,
    /,
    *,
    account: _Which = None,
    adjust: Annotated[bool, flag("Book it by hand, whatever is proposed.")] = False,
    cost: Annotated[str | None, option("Of all that is booked [default: the statement's].")] = None,
    note: _Note = "",
    user: _User = None,
    json: Json = False,
) -> None:
    """Do what is proposed: fetch the statement, or book what is missing. Tells what is left."""
    from ibkit.bootstrap.reconciliation import fix_difference
    from ibkit.service.ledger_documents import inbox_info

    worth = None if cost is None else number("--cost", cost)

    async def work(desk: PortfolioDesk, owner: str) -> InboxInfo:
        portfolio_id, name = await account_where(desk, owner, portfolio, account)
        async with _flex(desk) as flex:

            async def got(first: date, last: date) -> object:
                return await flex.fetch(owner, portfolio_id, name, first=first, last=last)

            left = await fix_difference(
                desk,
                owner,
                portfolio_id,
                name,
                item,
                by=_person(user, owner),
                note=note,
                adjust=adjust,
                cost=worth,
                fetch=got if await flex.can_fetch(owner) else None,
            )
        return inbox_info({name: left})

    with audited("portfolios.reconcile", portfolio):
        told = at_desk(work, user)
    _tell(told, json)


def _person(user: str | None, owner: str) -> str:
    """Who settles it, as the audit log names them: the user of the service, else who works on this machine."""
    from ibkit.bootstrap.credential_desk import Asker

    return user or Asker.here(owner).actor


def add_ledger_commands(app: cyclopts.App) -> None:
    app.command(flex_app)
    app.command(inbox_app)
    for command in (transactions, lots, income, ledger, raw):
        app.command(command)
    add_rule_commands(app)
