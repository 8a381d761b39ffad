"""`ibkit trade`: the whole way once, with one contract, on paper (TST-04); and rolling what was sold (TRD-19)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import day, number, right_of, today_in_new_york
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Account, AllowDelayed, ByUser, Compete, Json, Live, Yes, YesLive, flag, option
from ibkit.cli.running import go
from ibkit.errors import IbkitError, TradingError
from ibkit.model import Environment, Key, Right
from ibkit.settings import Settings

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import Trade

__all__ = ["app"]

app = cyclopts.App(name="trade", help="Validate the whole way on paper, or roll a trade.")


@dataclass(slots=True)
class Report:
    """steps: what was checked, with what was found."""

    option: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    trade_id: str | None = None
    realized_pnl: Decimal | None = None


@app.command
def validate(
    *,
    symbol: Annotated[str, option("The underlying.")] = "SPY",
    right: Annotated[Literal["P", "C"], option("Put or call.")] = "P",
    strike: Annotated[str | None, option("The strike [default: near a delta of 0.16].")] = None,
    expiry: Annotated[str | None, option("YYYYMMDD [default: today in New York].")] = None,
    stop_multiple: Annotated[str, option("The stop's price, as a multiple of the entry price.")] = "3.0",
    account: Account = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Sell one contract with its stop on a paper account, check all of it, and buy it back. Live trading needs this."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)
    if settings.environment is Environment.LIVE:
        raise TradingError(
            "The validation trades on paper only, but IBKR_ENV is live",
            code="E-LIVE",
            remedy="Set IBKR_ENV=paper and use a paper account.",
        )
    wanted = number("--strike", strike) if strike is not None else None
    multiple = number("--stop-multiple", stop_multiple)
    expires = day("--expiry", expiry) if expiry else None

    async def work() -> Report:
        return await _validate(
            settings, symbol.upper(), right_of("--right", right), wanted, expires, multiple, compete=compete, json=json
        )

    with audited("live.validate", symbol.upper(), settings=settings) as entry:
        entry.skipped = settings.mock  # the simulated broker forgets it
        report = go(work)
        entry.details |= {"option": report.option, "trade": report.trade_id, "pnl": report.realized_pnl}
    if json:
        output.emit(
            {
                "success": True,
                "option": report.option,
                "steps": [{"step": name, "found": found} for name, found in report.steps],
                "trade_id": report.trade_id,
                "realized_pnl": report.realized_pnl,
            }
        )
    else:
        output.say(f"Validated on paper: {report.option}, result {report.realized_pnl}. Live trading is possible now.")
    return 0


@app.command
def roll(
    trade_id: str,
    /,
    *,
    expiry: Annotated[str | None, option("YYYYMMDD [default: the trade's own].")] = None,
    dte: Annotated[int | None, option("Instead of it: the first expiry so many days away, or later.")] = None,
    strike: Annotated[str | None, option("The new strike [default: the trade's own].")] = None,
    delta: Annotated[str | None, option("Choose it by its delta instead: the nearest, within 0.05 of it.")] = None,
    width: Annotated[str | None, option("Of a spread [default: the trade's own].")] = None,
    key: Annotated[
        str | None, option("Names this roll; repeated, it goes on where it was [default: a new one, printed].")
    ] = None,
    confirm: Annotated[
        tuple[str, ...], option("Message id of an IBKR question to answer with yes; may be repeated.")
    ] = (),
    dry_run: Annotated[bool, flag("Look, check and preview; send no order.")] = False,
    yes: Yes = False,
    allow_delayed: AllowDelayed = False,
    force: Annotated[bool, flag("Sell far strikes, too.")] = False,
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Close a trade and sell it anew further out or at another strike, with the same plan of exits.

    Its stop comes off only for the close, and is put back if that fails. The first characters of the id will do.
    """
    from ibkit.cli.desk import at_desk, key_or_new, look_after_earlier
    from ibkit.cli.rolling import RollAsk
    from ibkit.cli.rolling import roll as work_of
    from ibkit.cli.sale_flags import check_conflicts
    from ibkit.trading.ref import own_key

    check_conflicts({"--expiry": expiry, "--dte": dte, "--strike": strike, "--delta": delta})
    ask = RollAsk(
        trade_id=trade_id,
        expiry=None if expiry is None else day("--expiry", expiry),
        dte=dte,
        strike=None if strike is None else number("--strike", strike),
        delta=None if delta is None else number("--delta", delta),
        width=None if width is None else number("--width", width),
        confirm=confirm,
        allow_delayed=allow_delayed,
        force=force,
        dry_run=dry_run,
        yes=yes,
        json=json,
    ).checked()

    async def work(desk: Desk) -> int:
        own = key_or_new(key, desk)
        output.warn(f"key {own_key(own)}")
        await look_after_earlier(desk)
        return await work_of(ask, desk, own)

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=by)


async def _validate(
    settings: Settings,
    symbol: str,
    right: Right,
    strike: Decimal | None,
    expires: date | None,
    multiple: Decimal,
    *,
    compete: bool,
    json: bool,
) -> Report:
    from ibkit.bootstrap.desks import VALIDATION_KEY
    from ibkit.bootstrap.live_locks import refuse_before_connecting
    from ibkit.cli.desk import enter_desk, key_or_new, look_after_earlier
    from ibkit.client.strikes import suggest
    from ibkit.trading import check_key, child_key

    refuse_before_connecting(settings, live=False)
    report = Report()

    def step(name: str, found: str) -> None:
        report.steps.append((name, found))
        if not json:
            output.say(f"OK   {name:<24}{found}")

    async with AsyncExitStack() as stack:
        desk = await enter_desk(stack, settings, yes_live=None, compete=compete, json=json)
        await look_after_earlier(desk)
        step("signed in", f"{desk.account_id}, paper")
        expiry = expires or today_in_new_york(desk.clock.now())
        if strike is None:
            most = settings.trading.max_strike_distance_pct
            found = await suggest(desk.client, symbol, expiry=expiry, right=right, most_pct=most)
            strike = found.contract.strike
            assert strike is not None, "a listed option has a strike"
        key = check_key(f"{VALIDATION_KEY}{key_or_new(None)}")
        sold = await desk.seller().sell_option_with_stop(symbol, strike, right.value, multiple, 1, expiry, key=key)
        if not sold.success:
            raise TradingError(sold.message, code=sold.code or "E-UPSTREAM", remedy=sold.remedy)
        assert sold.contract_id is not None, "what was sold has a contract"
        report.option = f"{symbol} {expiry:%Y%m%d} {strike.normalize():f} {right.value}"
        step("sold 1 contract", f"{report.option} at {sold.entry_price}, order {sold.order_id}")
        step("stop working", f"at {sold.stop_loss}, order {sold.stop_order_id}")
        await _check_stop(desk, sold.stop_order_id)
        step("stop seen at IBKR", "in the list of live orders")
        trade = await _record(desk, sold.trade_id)
        step("recorded", f"trade {trade.trade_id}")
        closed = await desk.closer().close_position(sold.contract_id, key=child_key(Key(key), "buy-back"))
        if not closed.success:
            raise TradingError(closed.message, code=closed.code or "E-UPSTREAM", remedy=closed.remedy)
        step("stop cancelled, closed", f"bought back at {closed.exit_price}, order {closed.order_id}")
        trade = await _record(desk, sold.trade_id)
        if trade.exit_reason is None or trade.exit_reason.value != "manual":
            raise TradingError(
                f"The trade record {trade.trade_id} does not say that it was closed by hand",
                code="E-DB",
                remedy="Look at it with `ibkit trades show`.",
            )
        step("record closed", f"result {trade.realized_pnl}")
        report.trade_id, report.realized_pnl = trade.trade_id, trade.realized_pnl
    return report


async def _check_stop(desk: Desk, order_id: str | None) -> None:
    """The stop stands in the broker's own list, not only in an answer to us."""
    for _ in range(3):
        read = await desk.broker.read_orders(desk.account_id)
        if any(order.order_id == order_id and order.status.working for order in read.orders):
            return
        await desk.clock.sleep(1.0)
    raise IbkitError(
        f"CRITICAL: the stop, order {order_id}, is not among the live orders",
        code="E-STOP-FAILED",
        remedy="Look at `ibkit orders list` and IBKR's own order window; close the position if the stop is not there.",
    )


async def _record(desk: Desk, trade_id: str | None) -> Trade:
    trade = await desk.books.trades.get(trade_id or "")
    if trade is None:
        raise TradingError("The trade was not recorded", code="E-DB", remedy="Check DATABASE_URL and the disk.")
    return trade
