"""`ibkit kill`: the kill switch. It only writes the journal, so it works without a network and without a sign-in."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import output
from ibkit.cli.asking import confirmed, wrong
from ibkit.cli.auditing import audited
from ibkit.cli.commands.risk import person, with_book
from ibkit.cli.flags import ByUser, Compete, Json, Live, Yes, YesLive, flag, option
from ibkit.cli.journal import with_journal
from ibkit.errors import IbkitError
from ibkit.model import AccountId, Environment, environment_of
from ibkit.vault import Result

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.store.journal import SqliteJournal
    from ibkit.trading import RiskBook
    from ibkit.trading.risk import Halt

__all__ = ["app"]

_RECENT = 500
"""An order is under way for minutes at most, so it is among the latest."""

app = cyclopts.App(name="kill", help="Stop trading at once, see what is stopped, start it again.")


@app.default
def kill(
    *,
    block_new: Annotated[bool, flag("No new orders (the default).")] = False,
    reduce_only: Annotated[bool, flag("Nothing but what makes a position smaller.")] = False,
    cancel_all: Annotated[bool, flag("The same, and cancel every working order; that part signs in.")] = False,
    account: Annotated[str | None, option("Only this account [default: all].")] = None,
    symbol: Annotated[str | None, option("Only this symbol [default: all].")] = None,
    release: Annotated[bool, flag("End the halt. Live money: a second person must say so, too.")] = False,
    status: Annotated[bool, flag("Show what is stopped.")] = False,
    note: Annotated[str, option("Why; kept with the halt.")] = "",
    by: Annotated[str | None, option("Who asks [default: the login name].")] = None,
    live: Live = False,
    yes_live: YesLive = None,
    yes: Yes = False,
    compete: Compete = False,
    whose: ByUser = None,
    json: Json = False,
) -> int:
    """Stop trading, for everything or for one account or symbol. It is on disk before this returns."""
    if sum((block_new, reduce_only, cancel_all, release, status)) > 1:
        raise wrong("kill", "give one of --block-new, --reduce-only, --cancel-all, --release and --status")
    if cancel_all and symbol:
        raise wrong("--symbol", "--cancel-all is of an account; stop a symbol with --reduce-only and cancel its orders")
    names = (account or "").strip().upper(), (symbol or "").strip().upper()
    if status:
        return _status(json=json)
    if release:
        return _release(names, by=person(by), note=note.strip(), yes=yes, json=json)
    mode, who = _mode(reduce_only=reduce_only, cancel_all=cancel_all), person(by)
    with audited("kill.press", _whose(names), mode=mode, by=who, note=note.strip()) as entry:
        halts = _press(names, mode, by=who, note=note.strip(), json=json)
        entry.settled = Result.OK  # they stand, whatever becomes of the cancelling
        if not cancel_all:
            if json:
                output.emit(halts)
            return 0
        try:
            return _cancel_all(account, halts, live=live, yes_live=yes_live, compete=compete, json=json, whose=whose)
        except IbkitError:
            if json:
                output.emit({"halts": halts})
            raise


def _whose(names: tuple[str, str]) -> str:
    """`everything`, `account DU1234567`, as a halt names it."""
    words = [f"{word} {name}" for word, name in zip(("account", "symbol"), names, strict=True) if name]
    return ", ".join(words) or "everything"


def _mode(*, reduce_only: bool, cancel_all: bool) -> str:
    return "cancel-all" if cancel_all else "reduce-only" if reduce_only else "block-new"


def _press(names: tuple[str, str], mode: str, *, by: str, note: str, json: bool) -> tuple[Halt, ...]:
    """The halts as they are on disk; told at once, except as JSON."""
    pressed_now: list[Halt] = []

    async def work(book: RiskBook, environment: Environment, now: datetime) -> None:
        from ibkit.cli.risk_text import halt_line
        from ibkit.trading.risk import Halt, HaltMode

        account_id, symbol = names
        # Everything means everything: where no account is named, paper and live are stopped alike.
        where = (_of(account_id, environment),) if account_id else tuple(Environment)
        pressed = Halt(
            environment=environment,
            mode=HaltMode(mode),
            by=by,
            note=note,
            at=now,
            account_id=account_id,
            symbol=symbol,
        )
        halts = [dataclasses.replace(pressed, environment=each) for each in where]
        pressed_now.extend(await book.halt(*halts))
        if not json:
            for halt in pressed_now:
                output.say(halt_line(halt))

    with_book(work)
    if not json:
        _tell_what_is_out()
    return tuple(pressed_now)


def _tell_what_is_out() -> None:
    """Bytes that have left cannot be called back: which orders may be on their way, so that a person looks."""

    async def work(journal: SqliteJournal) -> None:
        for intent in await journal.recent(limit=_RECENT):
            if intent.state.may_have_left:
                output.warn(f"already on its way: {intent.label} ({intent.state.value}, intent {intent.intent_id})")

    with_journal(work)


def _status(*, json: bool) -> int:
    async def work(book: RiskBook, _environment: Environment, now: datetime) -> None:
        from ibkit.cli.risk_text import halts_table

        standing = [halt for halt in await book.halts() if halt.until is None or now < halt.until]
        if json:
            output.emit(standing)
        else:
            output.say(halts_table(standing) if standing else "Nothing is stopped.")

    with_book(work)
    return 0


def _release(names: tuple[str, str], *, by: str, note: str, yes: bool, json: bool) -> int:
    code = 0

    async def work(book: RiskBook, environment: Environment, now: datetime) -> None:
        from ibkit.cli.risk_text import halt_line

        nonlocal code
        found = [halt for halt in await book.halts() if _named(halt, environment, names)]
        if not found:
            output.warn("No such halt stands; `ibkit kill --status` lists them.")
            code, entry.skipped = 5, True
            return
        if not yes and not confirmed(f"Start trading again ({len(found)} halt(s))? [y/N] "):
            output.warn("Nothing was changed.")
            code, entry.skipped = 5, True
            return
        done = await book.release(*(halt.number for halt in found), by=by, note=note, at=now)
        if json:
            output.emit({"ended": done.ended, "waiting": done.waiting})
        else:
            _tell(done.ended, done.waiting)
            left = [halt for halt in await book.halts() if halt.until is None or now < halt.until]
            if left:
                output.say(f"Still standing: {'; '.join(halt_line(halt) for halt in left)}")
        code = 5 if done.waiting else 0
        entry.details |= {"environment": environment.value, "ended": len(done.ended), "waiting": len(done.waiting)}
        entry.settled = Result.WAITING if done.waiting else Result.OK

    with audited("kill.release", _whose(names), by=by, note=note) as entry:
        with_book(work)
    return code


def _named(halt: Halt, environment: Environment, names: tuple[str, str]) -> bool:
    """The halts of exactly this scope: a wider one is not ended by naming a part of it."""
    return halt.environment is _of(names[0], environment) and (halt.account_id, halt.symbol) == names


def _of(account_id: str, environment: Environment) -> Environment:
    """An account is stopped where it is, whatever the settings say: users have connections of both kinds."""
    return environment_of(AccountId(account_id)) if account_id else environment


def _tell(ended: tuple[Halt, ...], waiting: tuple[Halt, ...]) -> None:
    from ibkit.cli.risk_text import halt_line

    for halt in ended:
        output.say(f"Ended: {halt_line(halt)}")
    for halt in waiting:
        output.say(f"Waits for a second person: {halt_line(halt)} (ibkit kill --release --by NAME)")


def _cancel_all(
    account: str | None,
    halts: tuple[Halt, ...],
    *,
    live: bool,
    yes_live: str | None,
    compete: bool,
    json: bool,
    whose: ByUser,
) -> int:
    """Every working order of the account; protective stops are among them."""

    async def work(desk: Desk) -> int:
        from ibkit.cli.desk import key_or_new
        from ibkit.cli.order_text import cancelled_all

        done = await desk.gateway.cancel_all(desk.account_id, key=key_or_new(None))
        code = cancelled_all(done, json=json, beside={"halts": halts})
        if not json:
            output.warn("Stops that protected positions are among them: the worker places none while this halt stands.")
        return code

    from ibkit.cli.desk import at_desk

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=whose)
