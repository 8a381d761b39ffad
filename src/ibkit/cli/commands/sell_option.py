"""`ibkit sell-option`: sell a put, a call or both, alone or as spreads, and protect each with a stop."""

from __future__ import annotations

from contextlib import AsyncExitStack
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import day, number, wrong
from ibkit.cli.flags import Account, AllowDelayed, ByUser, Compete, Env, Json, Live, Yes, YesLive, flag, option
from ibkit.cli.running import go
from ibkit.cli.sale_flags import check_conflicts, profit_part, trail_of
from ibkit.errors import IbkitError
from ibkit.model import AccountId, Key
from ibkit.settings import Settings

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.bootstrap.sales import Plan
    from ibkit.cli.sale_plan import Ask
    from ibkit.trading.selling.legs import Sale

__all__ = ["app"]

_EXAMPLES = """Examples:
  ibkit sell-option --dry-run
  ibkit sell-option --side put --put-strike 620 --quantity 1
  ibkit sell-option --delta 0.16 --dte 0 --width 5 --take-profit 50%
  ibkit sell-option --side call --premium 0.50 --trail 50% --exit-at 15:45
  ibkit sell-option --symbol QQQ --put-strike 600 --call-strike 620 --expiry 20261218
  ibkit sell-option --env live --live --yes-live U1234567

Exit codes: 0 all sold and protected, 2 usage, 3 not configured, 4 not connected,
5 nothing sold, 6 some sold, 7 unprotected or unknown, 8 rate limit or maintenance."""

app = cyclopts.App(
    name="sell-option",
    help="Sell a put, a call or both, each with a stop.",
    help_epilogue=_EXAMPLES,
    help_format="plaintext",
)


@app.default
def sell_option(
    *,
    side: Annotated[Literal["put", "call", "both"], option("What to sell; both sells the put first.")] = "both",
    put_strike: Annotated[str | None, option("Strike of the put [default: 629.0].")] = None,
    call_strike: Annotated[str | None, option("Strike of the call [default: 631.0].")] = None,
    delta: Annotated[
        str | None, option("Choose each strike by its delta instead: the nearest, within 0.05 of it.")
    ] = None,
    premium: Annotated[
        str | None, option("Choose each strike by its bid instead: the lowest that is at least this.")
    ] = None,
    width: Annotated[
        str | None, option("Sell verticals: the protection is bought so far beyond the strike, in one order.")
    ] = None,
    stop_multiple: Annotated[
        str | None, option("The stop's price, as a multiple of the entry price [default: 5.0].")
    ] = None,
    trail: Annotated[str | None, option("A trailing stop instead: 50% of the price, or 0.50 away from it.")] = None,
    take_profit: Annotated[
        str | None, option("Buy back, too, when so much of the credit is won, for example 50%.")
    ] = None,
    exit_at: Annotated[str | None, option("When the worker closes it: HH:MM in New York, or YYYYMMDD-HH:MM.")] = None,
    exit_in: Annotated[str | None, option("The same as a time from now: 2h, 45m, 1h30m.")] = None,
    quantity: Annotated[int, option("Contracts, or spreads, of each side.")] = 3,
    symbol: Annotated[str, option("The underlying.")] = "SPY",
    expiry: Annotated[str | None, option("YYYYMMDD [default: today in New York].")] = None,
    dte: Annotated[int | None, option("Instead of it: the first expiry so many days away, or later.")] = None,
    account: Account = None,
    env: Env = None,
    live: Live = False,
    yes_live: YesLive = None,
    yes: Yes = False,
    dry_run: Annotated[bool, flag("Look, check and preview; send no order.")] = False,
    order_type: Annotated[Literal["market", "limit"], option("How to sell.")] = "market",
    limit_price: Annotated[str | None, option("The least price, with --order-type limit.")] = None,
    on_stop_failure: Annotated[
        Literal["close", "alert"], option("When no stop can be placed: buy back, or leave the position and say so.")
    ] = "close",
    key: Annotated[
        str | None, option("Names this sale; the same key never sells twice [default: a new one, printed].")
    ] = None,
    confirm: Annotated[
        tuple[str, ...], option("Message id of an IBKR question to answer with yes; may be repeated.")
    ] = (),
    allow_delayed: AllowDelayed = False,
    compete: Compete = False,
    force: Annotated[bool, flag("Sell far strikes, and options that expire within minutes, too.")] = False,
    no_db: Annotated[
        bool, flag("Record trades in a file instead of the database (`ibkit trades import-journal`).")
    ] = False,
    start_cleanup: Annotated[bool, flag("After a sale, start the worker in the background where none runs.")] = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Sell a put, a call or both, each with a stop."""
    from ibkit.cli.sale_plan import Ask, checked

    check_conflicts(
        {
            "--put-strike": put_strike,
            "--call-strike": call_strike,
            "--delta": delta,
            "--premium": premium,
            "--stop-multiple": stop_multiple,
            "--trail": trail,
            "--exit-at": exit_at,
            "--exit-in": exit_in,
            "--expiry": expiry,
            "--dte": dte,
        }
    )
    ask = checked(
        Ask(
            side=side,
            put_strike=_number("--put-strike", put_strike),
            call_strike=_number("--call-strike", call_strike),
            delta=_number("--delta", delta),
            premium=_number("--premium", premium),
            width=_number("--width", width),
            stop_multiple=number("--stop-multiple", stop_multiple or "5.0"),
            trail=None if trail is None else trail_of("--trail", trail),
            take_profit=None if take_profit is None else profit_part("--take-profit", take_profit),
            exit_at=exit_at,
            exit_in=exit_in,
            quantity=quantity,
            symbol=symbol.strip().upper(),
            expiry=None if expiry is None else day("--expiry", expiry),
            dte=dte,
            order_type=order_type,
            limit_price=_number("--limit-price", limit_price),
            on_stop_failure=on_stop_failure,
            key=key,
            confirm=confirm,
            dry_run=dry_run,
            allow_delayed=allow_delayed,
            force=force,
            live=live,
            yes_live=yes_live,
            yes=yes,
            compete=compete,
            no_db=no_db,
            json=json,
            start_cleanup=start_cleanup,
        )
    )
    if by is not None and start_cleanup:
        raise wrong("--start-cleanup", "a user's connection is watched by the service; no worker is started for it")
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account, "IBKR_ENV": env}, by=by)
    if not dry_run:
        from ibkit.bootstrap.live_locks import refuse_before_connecting

        refuse_before_connecting(settings, live=live)
    return go(lambda: _sell(ask, settings))


def _number(name: str, text: str | None) -> Decimal | None:
    return None if text is None else number(name, text)


async def _sell(ask: Ask, settings: Settings) -> int:
    from ibkit.bootstrap.sales import look_back
    from ibkit.cli.desk import enter_desk, key_or_new, look_after_earlier
    from ibkit.cli.sale_plan import plan_of
    from ibkit.cli.selling import interruptible
    from ibkit.trading.selling.legs import sell_legs

    async with AsyncExitStack() as stack:
        desk = await enter_desk(
            stack,
            settings,
            yes_live=ask.yes_live,
            compete=ask.compete,
            json=ask.json,
            no_db=ask.no_db,
            changes=not ask.dry_run,
        )
        plan, begun = await plan_of(ask, desk, key=key_or_new(ask.key, desk))
        _say_banner(ask, plan, settings, desk)
        if not ask.dry_run:
            await look_after_earlier(desk)
        # What was begun is gone on with: no preview may stop it from being protected.
        if ask.asks and not ask.dry_run and not begun:
            shown = await sell_legs(desk.seller(), plan.legs, plan.keys, run=interruptible, **plan.terms(dry_run=True))
            if not shown.good:
                return _tell(ask, plan, settings, desk, shown, preview=True)
            _say_legs(shown)
            if not _yes("Sell these? [y/N] "):
                output.say("Nothing was sold.")
                return 5
        sale = await sell_legs(
            desk.seller(), plan.legs, plan.keys, run=interruptible, **plan.terms(dry_run=plan.dry_run)
        )
        if not ask.dry_run:
            await look_back(desk, sale, plan.symbol)
    return _tell(ask, plan, settings, desk, sale)


def _yes(question: str) -> bool:
    # Blocking on purpose: nothing else may happen before the answer.
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _say_banner(ask: Ask, plan: Plan, settings: Settings, desk: Desk) -> None:
    from ibkit.bootstrap.worker import watches, worker_status
    from ibkit.cli.sale_text import banner
    from ibkit.trading.ref import own_key

    if plan.ask.exit_at is not None and settings.of_user is not None:
        output.warn(
            "note: only a service that runs (`ibkit serve`) watches a user's connection, and closes at the time"
        )
    elif plan.ask.exit_at is not None and not settings.mock:  # the simulated one ends with this process
        status = worker_status(settings)
        if status is None and not ask.start_cleanup:
            output.warn("note: no worker runs, which would close it at its time: start one with `ibkit worker`")
        elif status is not None and not watches(status, desk.account_id):
            account_id = desk.account_id
            output.warn(f"note: the worker that runs does not watch {account_id}, so it would not close it at its time")
    if ask.json:
        # A person who watches a JSON run still needs the key if it is cut short.
        output.warn(f"key {own_key(Key(plan.key))}")
        return
    output.say(banner(plan, settings, desk.account_id))
    output.say()


def _say_legs(sale: Sale) -> None:
    """Each side on stdout, what failed of it on stderr."""
    from ibkit.cli.sale_text import leg_text

    for leg, result in sale.results:
        output.say(leg_text(leg, result) + "\n")
        if not result.success:
            code = result.code or "E-UPSTREAM"
            output.report(IbkitError(result.message, code=code, remedy=result.remedy), json=False)


def _tell(ask: Ask, plan: Plan, settings: Settings, desk: Desk, sale: Sale, *, preview: bool = False) -> int:
    """The result: on stdout what was done, on stderr the failures, and the truth as the last line."""
    from ibkit.cli.sale_text import document, last_line, tables

    failure = sale.first_failure
    if ask.start_cleanup and sale.good and not ask.dry_run:
        _make_sure_of_a_worker(settings, desk.account_id)
    if ask.json:
        if sale.outcome == "failed" and failure is not None:
            error = IbkitError(failure.message, code=failure.code or "E-UPSTREAM", remedy=failure.remedy)
            error.details.update(document(plan, settings, desk.account_id, sale))
            output.report(error, json=True)
        else:
            output.emit(document(plan, settings, desk.account_id, sale))
        return sale.exit_code
    _say_legs(sale)
    if not ask.dry_run and not preview and sale.results:
        output.say(tables(sale, plan.symbol) + "\n")
    if sale.critical:
        output.warn(f"Check with: ibkit orders list; ibkit intents show {_intent_hint(desk, sale)}")
    output.say(last_line(sale, dry_run=ask.dry_run))
    return sale.exit_code


def _make_sure_of_a_worker(settings: Settings, account_id: AccountId) -> None:
    """OPT-11. The sale stands whatever comes of it: the stops are at IBKR."""
    from ibkit.bootstrap import start_worker_if_none
    from ibkit.bootstrap.worker import watches, worker_status

    try:
        started = start_worker_if_none(settings)
    except IbkitError as error:
        output.warn(f"note: no worker was started: {error.message}. {error.remedy}".rstrip())
        return
    status = worker_status(settings)
    if status is not None and not watches(status, account_id):
        output.warn(
            f"note: the worker that runs watches {', '.join(status['accounts'])} and not {account_id}: stop it with "
            "`ibkit worker stop`, and start one without --account"
        )
        return
    output.warn("note: a worker was started in the background" if started else "note: a worker runs already")


def _intent_hint(desk: Desk, sale: Sale) -> str:
    """The key of the first leg in doubt: the journal finds the intent by it."""
    return next((str(result.key) for _, result in sale.results if result.critical and result.key), "")
