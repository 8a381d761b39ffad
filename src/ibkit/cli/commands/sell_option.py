"""`ibkit sell-option`: sell a put, a call or both, and protect each with a stop."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import day, number, today_in_new_york, wrong
from ibkit.cli.flags import Account, AllowDelayed, Compete, Env, Json, Live, YesLive, flag, option
from ibkit.cli.running import go
from ibkit.errors import IbkitError
from ibkit.model import Right
from ibkit.settings import Settings

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.cli.sale_text import Plan
    from ibkit.cli.selling import Leg, Sale

__all__ = ["app"]

PUT_STRIKE, CALL_STRIKE = Decimal("629.0"), Decimal("631.0")

_EXAMPLES = """Examples:
  ibkit sell-option --dry-run
  ibkit sell-option --side put --put-strike 620 --quantity 1
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """The flags, as far as they need no broker to be judged."""

    side: str
    put_strike: Decimal | None
    call_strike: Decimal | None
    stop_multiple: Decimal
    quantity: int
    symbol: str
    expiry: date | None
    order_type: str
    limit_price: Decimal | None
    on_stop_failure: str
    key: str | None
    confirm: tuple[str, ...]
    dry_run: bool
    allow_delayed: bool
    force: bool
    live: bool
    yes_live: str | None
    compete: bool
    no_db: bool
    json: bool
    start_cleanup: bool

    @property
    def suggests(self) -> bool:
        """Without strikes, and with a person to ask, strikes are suggested (OPT-03)."""
        named = self.put_strike is not None or self.call_strike is not None
        return not named and not self.json and sys.stdin.isatty() and sys.stdout.isatty()


@app.default
def sell_option(
    *,
    side: Annotated[Literal["put", "call", "both"], option("What to sell; both sells the put first.")] = "both",
    put_strike: Annotated[str | None, option("Strike of the put [default: 629.0].")] = None,
    call_strike: Annotated[str | None, option("Strike of the call [default: 631.0].")] = None,
    stop_multiple: Annotated[str, option("The stop's price, as a multiple of the entry price.")] = "5.0",
    quantity: Annotated[int, option("Contracts of each side.")] = 3,
    symbol: Annotated[str, option("The underlying.")] = "SPY",
    expiry: Annotated[str | None, option("YYYYMMDD [default: today in New York].")] = None,
    account: Account = None,
    env: Env = None,
    live: Live = False,
    yes_live: YesLive = None,
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
    start_cleanup: Annotated[bool, flag("Accepted for compatibility; needs the worker of the service.")] = False,
    json: Json = False,
) -> int:
    """Sell a put, a call or both, each with a stop."""
    ask = _checked(
        _Ask(
            side=side,
            put_strike=number("--put-strike", put_strike) if put_strike is not None else None,
            call_strike=number("--call-strike", call_strike) if call_strike is not None else None,
            stop_multiple=number("--stop-multiple", stop_multiple),
            quantity=quantity,
            symbol=symbol.strip().upper(),
            expiry=day("--expiry", expiry) if expiry is not None else None,
            order_type=order_type,
            limit_price=number("--limit-price", limit_price) if limit_price is not None else None,
            on_stop_failure=on_stop_failure,
            key=key,
            confirm=confirm,
            dry_run=dry_run,
            allow_delayed=allow_delayed,
            force=force,
            live=live,
            yes_live=yes_live,
            compete=compete,
            no_db=no_db,
            json=json,
            start_cleanup=start_cleanup,
        )
    )
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account, "IBKR_ENV": env})
    if not dry_run:
        from ibkit.cli.live import refuse_before_connecting

        refuse_before_connecting(settings, live=live)
    return go(lambda: _sell(ask, settings))


def _checked(ask: _Ask) -> _Ask:
    """What is wrong with the flags alone (exit 2)."""
    if ask.quantity < 1:
        raise wrong("--quantity", f"{ask.quantity} is not at least 1")
    if ask.stop_multiple <= 1:
        raise wrong("--stop-multiple", f"{ask.stop_multiple} is not above 1, but a stop must lie above the entry")
    if not ask.symbol:
        raise wrong("--symbol", "it is empty")
    for name, strike in (("--put-strike", ask.put_strike), ("--call-strike", ask.call_strike)):
        if strike is not None and strike <= 0:
            raise wrong(name, f"{strike} is not above 0")
    if (ask.order_type == "limit") is not (ask.limit_price is not None):
        raise wrong("--limit-price", "it goes with --order-type limit, and that with it")
    if ask.limit_price is not None and ask.limit_price <= 0:
        raise wrong("--limit-price", f"{ask.limit_price} is not above 0")
    if ask.key is not None:
        from ibkit.trading import check_key

        check_key(ask.key)
    return ask


async def _sell(ask: _Ask, settings: Settings) -> int:
    from ibkit.cli.desk import enter_desk, key_or_new, look_after_earlier
    from ibkit.cli.selling import look_back, sell_legs

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
        plan = await _plan(ask, desk, key=key_or_new(ask.key))
        if plan is None:
            output.say("Nothing was sold.")
            return 5
        _say_banner(ask, plan, settings, desk)
        if not ask.dry_run:
            await look_after_earlier(desk)
        sale = await sell_legs(desk.seller(), plan.legs, _keys(plan), **_terms(ask, plan))
        if not ask.dry_run:
            await look_back(desk, sale, plan.symbol)
    return _tell(ask, plan, settings, desk, sale)


async def _plan(ask: _Ask, desk: Desk, *, key: str) -> Plan | None:
    """The sale as it will be made; None where a person said no to the suggested strikes."""
    from ibkit.cli.sale_text import Plan
    from ibkit.cli.selling import Leg

    expiry = ask.expiry or today_in_new_york(desk.clock.now())
    legs = []
    if ask.side in ("put", "both"):
        legs.append(Leg(Right.PUT, ask.put_strike if ask.put_strike is not None else PUT_STRIKE))
    if ask.side in ("call", "both"):
        legs.append(Leg(Right.CALL, ask.call_strike if ask.call_strike is not None else CALL_STRIKE))
    if ask.suggests:
        chosen = await _suggested(ask, desk, expiry, legs)
        if chosen is None:
            return None
        legs = chosen
    return Plan(
        symbol=ask.symbol,
        expiry=expiry,
        legs=tuple(legs),
        quantity=ask.quantity,
        stop_multiple=ask.stop_multiple,
        order_type=ask.order_type,
        limit_price=ask.limit_price,
        on_stop_failure=ask.on_stop_failure,
        dry_run=ask.dry_run,
        key=key,
    )


async def _suggested(ask: _Ask, desk: Desk, expiry: date, legs: list[Leg]) -> list[Leg] | None:
    from ibkit.cli.selling import Leg
    from ibkit.cli.strikes import TARGET_DELTA, suggest

    most = desk.settings.trading.max_strike_distance_pct
    output.say(f"No strikes given. Nearest to a delta of {TARGET_DELTA}, expiring {expiry:%Y%m%d}:")
    chosen = []
    for leg in legs:
        found = await suggest(desk.client, ask.symbol, expiry=expiry, right=leg.right, most_pct=most)
        output.say(f"  {found.text}")
        assert found.contract.strike is not None, "a listed option has a strike"
        chosen.append(Leg(leg.right, found.contract.strike))
    return chosen if _yes("Sell these? [y/N] ") else None


def _yes(question: str) -> bool:
    # Blocking on purpose: nothing else may happen before the answer.
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _keys(plan: Plan) -> list[str]:
    """A key for each leg, the same each time for the same sale."""
    from ibkit.trading import check_key, child_key

    return [child_key(check_key(plan.key), leg.word) for leg in plan.legs]


def _terms(ask: _Ask, plan: Plan) -> dict[str, Any]:
    return {
        "symbol": plan.symbol,
        "stop_multiple": plan.stop_multiple,
        "quantity": plan.quantity,
        "expiry": plan.expiry,
        "options": {
            "order_type": plan.order_type,
            "limit_price": plan.limit_price,
            "on_stop_failure": plan.on_stop_failure,
            "confirm": ask.confirm,
            "allow_delayed": ask.allow_delayed,
            "dry_run": plan.dry_run,
            "force": ask.force,
        },
    }


def _say_banner(ask: _Ask, plan: Plan, settings: Settings, desk: Desk) -> None:
    from ibkit.cli.sale_text import banner

    if ask.json:
        # A person who watches a JSON run still needs the key if it is cut short.
        output.warn(f"key {plan.key}")
        return
    output.say(banner(plan, settings, desk.account_id))
    output.say()


def _tell(ask: _Ask, plan: Plan, settings: Settings, desk: Desk, sale: Sale) -> int:
    """The result: on stdout what was done, on stderr the failures, and the truth as the last line."""
    from ibkit.cli.sale_text import document, last_line, leg_text, tables

    failure = sale.first_failure
    if ask.json:
        if sale.outcome == "failed" and failure is not None:
            error = IbkitError(failure.message, code=failure.code or "E-UPSTREAM", remedy=failure.remedy)
            error.details.update(document(plan, settings, desk.account_id, sale))
            output.report(error, json=True)
        else:
            output.emit(document(plan, settings, desk.account_id, sale))
        return sale.exit_code
    for leg, result in sale.results:
        output.say(leg_text(leg, result) + "\n")
        if not result.success:
            code = result.code or "E-UPSTREAM"
            output.report(IbkitError(result.message, code=code, remedy=result.remedy), json=False)
    if not ask.dry_run and sale.results:
        output.say(tables(sale, plan.symbol) + "\n")
    if ask.start_cleanup and sale.good:
        output.warn(
            "note: --start-cleanup makes sure the background worker runs; this version of ibkit has no worker yet, so "
            "nothing was started. The stops stand at IBKR and need none."
        )
    if sale.critical:
        output.warn(f"Check with: ibkit orders list; ibkit intents show {_intent_hint(desk, sale)}")
    output.say(last_line(sale, dry_run=ask.dry_run))
    return sale.exit_code


def _intent_hint(desk: Desk, sale: Sale) -> str:
    """The key of the first leg in doubt: the journal finds the intent by it."""
    return next((str(result.key) for _, result in sale.results if result.critical and result.key), "")
