"""`ibkit positions`: what an account holds, and closing it (TRD-19)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import number, wrong
from ibkit.cli.flags import Account, ByUser, Compete, Json, Live, Yes, YesLive, flag, option
from ibkit.cli.running import go, signed_in
from ibkit.cli.tables import positions_table
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import Conid

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import CloseResult
    from ibkit.trading.closing.close_all import CloseAllResult

__all__ = ["app"]

app = cyclopts.App(name="positions", help="What an account holds, and closing it.")

_Key = Annotated[str | None, option("Names this close; the same key never closes twice [default: a new one, printed].")]
_Confirm = Annotated[tuple[str, ...], option("Message id of an IBKR question to answer with yes; may be repeated.")]


@app.command(name="list")
def list_(
    *,
    account: Account = None,
    zero: Annotated[bool, flag("Closed positions that IBKR still lists, too.")] = False,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> None:
    """All positions of an account, or an error; never a part of them."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            found = await ib.positions(zero=zero, fresh=True)
        if json:
            output.emit(found)
        elif not found:
            output.say("No positions.")
        else:
            output.say(positions_table(found))

    go(work)


@app.command
def close(
    conid: int,
    /,
    *,
    limit_price: Annotated[str | None, option("Close at this price or better, instead of at market.")] = None,
    key: _Key = None,
    confirm: _Confirm = (),
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Close a position, whole; its stop and take profit are taken off first, and put back if it fails.

    A leg of a spread closes the spread.
    """
    from ibkit.cli.desk import at_desk, key_or_new, look_after_earlier
    from ibkit.trading.ref import own_key

    limit = None if limit_price is None else number("--limit-price", limit_price)
    if limit is not None and limit <= 0:
        raise wrong("--limit-price", f"{limit} is not above 0")

    async def work(desk: Desk) -> int:
        own = key_or_new(key, desk)
        output.warn(f"key {own_key(own)}")
        await look_after_earlier(desk)
        result = await desk.closer().close_position(Conid(conid), key=own, limit_price=limit, confirm=confirm)
        return tell_close(result, json=json)

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=by)


@app.command
def close_all(
    *,
    yes: Yes = False,
    key: _Key = None,
    confirm: _Confirm = (),
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Cancel the account's orders and close all of its options at market, one by one, each told."""
    if not yes:
        raise ConfigError(
            "Nothing was done: close-all closes every option of the account at market",
            code="E-VALIDATION",
            remedy="Repeat with --yes.",
        )
    from ibkit.cli.desk import at_desk, key_or_new, look_after_earlier
    from ibkit.trading.ref import own_key

    async def work(desk: Desk) -> int:
        own = key_or_new(key, desk)
        output.warn(f"key {own_key(own)}")
        await look_after_earlier(desk)
        return _tell_all(await desk.close_all().run(key=own, confirm=confirm), json=json)

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=by)


def tell_close(result: CloseResult, *, json: bool) -> int:
    """What became of one close, and the exit code: 0 closed, 7 in doubt, else that of the reason."""
    if result.success:
        if json:
            output.emit(close_document(result))
        else:
            pnl = "" if result.realized_pnl is None else f", result {result.realized_pnl:.2f}"
            output.say(f"{result.message}{pnl}")
        return 0
    error = IbkitError(result.message, code=result.code or "E-UPSTREAM", remedy=result.remedy)
    error.details.update(close_document(result))
    output.report(error, json=json)
    return 7 if result.unsure else error.exit_code


def close_document(result: CloseResult) -> dict[str, Any]:
    return {
        "success": result.success,
        "message": result.message,
        "code": result.code or None,
        "exit_price": result.exit_price,
        "quantity": result.quantity,
        "order_id": result.order_id,
        "realized_pnl": result.realized_pnl,
        "trade_id": result.trade_id,
        "stop_restored": result.stop_restored,
        "by_exit": result.by_exit,
        "unsure": result.unsure,
    }


def _tell_all(result: CloseAllResult, *, json: bool) -> int:
    done = sum(each.success for _, each in result.closed)
    code = 7 if result.unsure else 0 if result.success else 6 if done else 5
    if json:
        output.emit(
            {
                "success": result.success,
                "exit_code": code,
                "cancelled": result.cancelled,
                "standing": [{"order": name, "why": why} for name, why in result.standing],
                "closed": [{"position": name, **close_document(each)} for name, each in result.closed],
                "kept": [{"position": name, "why": why} for name, why in result.kept],
            }
        )
        return code
    for name in result.cancelled:
        output.say(f"cancelled  {name}")
    for name, why in result.standing:
        output.say(f"STANDING   {name}: {why}")
    for name, each in result.closed:
        output.say(f"{'closed' if each.success else 'NOT CLOSED':<11}{name}: {each.message}")
    for name, why in result.kept:
        output.say(f"KEPT       {name}: {why}")
    left = len(result.closed) - done + len(result.kept)
    total = sum((each.realized_pnl for _, each in result.closed if each.realized_pnl is not None), Decimal(0))
    if not result.closed and not result.kept:
        output.say("No options are held." if result.success else "No options are held, but orders stand.")
    else:
        state = "All closed" if result.success else f"{left} left open"
        output.say(f"{state}: {done} of {len(result.closed) + len(result.kept)}, result {total:.2f}.")
    return code
