"""`ibkit risk`: what the controls allow, to whom, and what they say of an order that is only wished for."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Account, Compete, Json, Live, YesLive, flag, option
from ibkit.cli.running import go
from ibkit.model import AccountId, Environment
from ibkit.vault import Result

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import RiskBook
    from ibkit.trading.risk import Layer, Scope

__all__ = ["app", "person", "with_book"]


app = cyclopts.App(name="risk", help="Limits: show, change, confirm, and try them on an order.")


@app.command
def show(
    *,
    account: Account = None,
    symbol: Annotated[str | None, option("As they hold for this symbol.")] = None,
    user: Annotated[str | None, option("As they hold for this user.")] = None,
    key: Annotated[str | None, option("As they hold for this API key.")] = None,
    json: Json = False,
) -> None:
    """Each limit: its value, where it comes from, and what is used up."""

    async def work(book: RiskBook, environment: Environment, now: datetime) -> None:
        from ibkit.cli.risk_text import halts_table, limits_document, limits_table

        scope = _scope(environment, account, symbol, user, key)
        state = await book.state(scope, now)
        if json:
            limits = limits_document(state, counted=bool(scope.account_id))
            output.emit({"version": state.limits.version, "limits": limits, "halts": state.halts})
            return
        output.say(f"Limits {state.limits.version}")
        output.say(limits_table(state, counted=bool(scope.account_id)))
        if not scope.account_id:
            output.say("What is used up belongs to an account: name it with --account, or set IBKR_ACCOUNT_ID.")
        if state.halts:
            output.say()
            output.say(halts_table(state.halts))

    with_book(work)


@app.command(name="set")
def set_(
    name: Annotated[str, cyclopts.Parameter(help="The limit, as `ibkit risk show` calls it.")],
    value: Annotated[str, cyclopts.Parameter(help="Its new value; `default` takes this layer's own away.")],
    /,
    *,
    account: Annotated[str | None, option("Only for this account.")] = None,
    symbol: Annotated[str | None, option("Only for this symbol.")] = None,
    user: Annotated[str | None, option("Only for this user.")] = None,
    key: Annotated[str | None, option("Only for this API key.")] = None,
    note: Annotated[str, option("Why; kept with the change.")],
    by: Annotated[str | None, option("Who asks [default: the login name].")] = None,
    json: Json = False,
) -> None:
    """Change a limit. A raise for live money waits until another person confirms it."""
    if not note.strip():
        raise wrong("--note", "it is empty, but the history keeps why a limit was changed")
    who = person(by)

    async def work(book: RiskBook, environment: Environment, now: datetime) -> None:
        from ibkit.cli.risk_text import change_line
        from ibkit.trading.risk import LimitChange

        entry.details["environment"] = environment.value
        layer, whose = _layer(environment, account=account, symbol=symbol, user=user, key=key)
        stored = await book.change(
            LimitChange(
                environment=environment,
                layer=layer,
                whose=whose,
                name=name,
                new=None if value.strip().lower() == "default" else value,
                by=who,
                note=note.strip(),
                at=now,
            )
        )
        entry.details |= {"layer": layer.value, "whose": whose, "old": stored.old, "number": stored.number}
        entry.settled = Result.OK if stored.in_force else Result.WAITING
        output.emit(stored) if json else output.say(change_line(stored))

    with audited("limits.set", name, new=value.strip(), by=who, note=note.strip()) as entry:
        with_book(work)


@app.command
def confirm(
    number: Annotated[int, cyclopts.Parameter(help="Of the change, as `ibkit risk history` shows it.")],
    /,
    *,
    by: Annotated[str, option("Who confirms; not who asked for it.")],
    json: Json = False,
) -> None:
    """Confirm another person's raise of a live limit."""
    who = person(by)

    async def work(book: RiskBook, _environment: Environment, now: datetime) -> None:
        from ibkit.cli.risk_text import change_line

        confirmed = await book.confirm(number, by=who, at=now)
        entry.object = confirmed.name
        entry.details |= {"whose": confirmed.whose, "old": confirmed.old, "new": confirmed.new or "default"}
        output.emit(confirmed) if json else output.say(f"{change_line(confirmed)} (confirmed by {by})")

    with audited("limits.confirm", f"change {number}", number=number, by=who) as entry:
        with_book(work)


@app.command
def history(*, count: Annotated[int, option("How many, newest first.")] = 50, json: Json = False) -> None:
    """Who changed which limit or halted what, when and why."""

    async def work(book: RiskBook, _environment: Environment, _now: datetime) -> None:
        from ibkit.cli.risk_text import change_line, entry_document, halt_line
        from ibkit.trading.risk import Halt

        found = await book.history(limit=max(count, 1))
        if json:
            output.emit([entry_document(entry) for entry in found])
            return
        for entry in found:
            line = halt_line(entry) if isinstance(entry, Halt) else change_line(entry)
            output.say(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.by}: {line}{f' ({entry.note})' if entry.note else ''}")
        if not found:
            output.say("Nothing was changed.")

    with_book(work)


@app.command
def check(
    side: Annotated[str, cyclopts.Parameter(help="buy or sell.")],
    quantity: Annotated[str, cyclopts.Parameter(help="Shares or contracts.")],
    symbol: Annotated[str, cyclopts.Parameter(help="Of the stock, or of an option's underlying.")],
    /,
    *,
    type: Annotated[str | None, option("As `ibkit orders place` takes it.")] = None,  # noqa: A002
    limit_price: Annotated[str | None, option("The limit.")] = None,
    stop_price: Annotated[str | None, option("The trigger.")] = None,
    trail: Annotated[str | None, option("How far a stop trails: 0.50, or 5%.")] = None,
    offset: Annotated[str | None, option("Of a relative order: how far inside the best price.")] = None,
    take_profit: Annotated[str | None, option("Bracket: a limit order here once it fills.")] = None,
    stop_loss: Annotated[str | None, option("Bracket: a stop order here once it fills.")] = None,
    tif: Annotated[str, option("day, gtc, ioc or opg.")] = "day",
    outside_rth: Annotated[bool, flag("May fill outside regular hours.")] = False,
    expiry: Annotated[str | None, option("Of an option, YYYYMMDD.")] = None,
    strike: Annotated[str | None, option("Of an option.")] = None,
    long_strike: Annotated[str | None, option("Makes it a spread: --strike against this one.")] = None,
    right: Annotated[str | None, option("Of an option: P or C.")] = None,
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    compete: Compete = False,
    json: Json = False,
) -> int:
    """What each control says of an order; nothing is sent. Exit code 5 where one refuses.

    ibkit risk check buy 10 SPY --limit-price 629.50
    """
    from ibkit.cli.ticketing import Wish

    wish = Wish.read(
        side,
        quantity,
        symbol,
        kind=type,
        limit_price=limit_price,
        stop_price=stop_price,
        trail=trail,
        offset=offset,
        tif=tif,
        outside_rth=outside_rth,
        expiry=expiry,
        strike=strike,
        long_strike=long_strike,
        right=right,
        take_profit=take_profit,
        stop_loss=stop_loss,
    )

    async def work(desk: Desk) -> int:
        from ibkit.cli.risk_text import readings

        ticket, others = await wish.tickets(desk)
        found = await desk.gateway.assess(ticket, others=others, group=wish.group)
        readings(found, json=json)
        return 5 if any(each.objection is not None for each in found) else 0

    from ibkit.cli.desk import at_desk

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json)


def with_book(work: Callable[[RiskBook, Environment, datetime], Awaitable[None]]) -> None:
    """`work` on the risk book of the settings' journal, which is made if it is not there. No network, no sign-in."""
    from ibkit.bootstrap.clients import clock_of
    from ibkit.bootstrap.desks import journal_path
    from ibkit.store import open_journal

    settings = context.load_settings(require_method=False)
    clock = clock_of(settings)

    async def run() -> None:
        async with open_journal(journal_path(settings), clock=clock) as journal:
            await work(journal.risk, settings.environment, clock.now())

    go(run)


def _scope(
    environment: Environment, account: str | None, symbol: str | None, user: str | None, key: str | None
) -> Scope:
    from ibkit.trading.risk import Scope

    chosen = account or context.load_settings(require_method=False).account_id or ""
    return Scope(
        environment=environment,
        account_id=AccountId(chosen),
        user=user or "",
        api_key=key or "",
        symbol=(symbol or "").upper(),
    )


def _layer(environment: Environment, **names: str | None) -> tuple[Layer, str]:
    """The layer that a name was given for, else the whole environment."""
    from ibkit.trading.risk import Layer

    layers = {"account": Layer.ACCOUNT, "symbol": Layer.SYMBOL, "user": Layer.USER, "key": Layer.API_KEY}
    given = [(layers[word], name.strip()) for word, name in names.items() if name is not None]
    if len(given) > 1:
        raise wrong("limit", "give one of --account, --symbol, --user and --key")
    if not given:
        return Layer.ENVIRONMENT, environment.value
    layer, name = given[0]
    if not name:
        raise wrong(f"--{layer.value}", "it is empty")
    return layer, name.upper() if layer in (Layer.ACCOUNT, Layer.SYMBOL) else name


def person(given: str | None) -> str:
    name = " ".join((given if given is not None else getpass.getuser()).split())
    if not name:
        raise wrong("--by", "it is empty")
    return name
