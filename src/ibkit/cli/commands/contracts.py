"""`ibkit contracts`: find contracts and list option strikes."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import day, right_of, today_in_new_york, wrong
from ibkit.cli.flags import ByUser, Compete, Json, option
from ibkit.cli.running import go, signed_in
from ibkit.model import Contract, Right

__all__ = ["app"]

app = cyclopts.App(name="contracts", help="Find contracts and list option strikes.")


@app.command
def find(
    symbol: str,
    /,
    *,
    exchange: Annotated[str | None, option("The exchange, where a symbol is listed on several.")] = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> None:
    """The stock, ETF or index that a symbol means, on its American listing."""
    settings = context.load_settings(by=by)

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            found = await ib.underlying(symbol, exchange=exchange)
        if json:
            output.emit(found)
        else:
            output.say(f"{found.symbol}  conid {found.conid}  {found.sec_type.value}  {found.description}".rstrip())

    go(work)


@app.command
def options(
    symbol: str,
    /,
    *,
    expiry: Annotated[str | None, option("YYYYMMDD [default: today in New York].")] = None,
    right: Annotated[str | None, option("P or C [default: both].")] = None,
    near: Annotated[int, option("How many strikes around the price; 0 for all.")] = 20,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> None:
    """The options of one expiry: strikes and contract ids."""
    settings = context.load_settings(by=by)
    if near < 0:
        raise wrong("--near", "use 0 or more")
    rights = [right_of("--right", right)] if right else [Right.PUT, Right.CALL]
    wanted = day("--expiry", expiry) if expiry else None

    async def work() -> None:
        found: list[Contract] = []
        async with signed_in(settings, compete=compete) as ib:
            expires = wanted or today_in_new_york(ib.clock.now())
            under = await ib.underlying(symbol)
            price = (await ib.quote(under.conid)).best if near else None
            limited = near if price is not None and near else None
            for each in rights:
                found += await ib.option_strikes(symbol, expiry=expires, right=each, near=price, at_most=limited)
        if json:
            output.emit(found)
            return
        price_said = f", {symbol.upper()} at {price}" if price is not None else ""
        output.say(f"{symbol.upper()} options of {expires:%Y%m%d}{price_said}")
        rows = [(c.strike, c.right, c.trading_class, c.conid, c.label) for c in found]
        output.say(output.table(("Strike", "Right", "Class", "Conid", "Contract"), rows, right={0, 3}))

    go(work)


@app.command
def expiries(
    symbol: str, /, *, count: int = 10, compete: Compete = False, by: ByUser = None, json: Json = False
) -> None:
    """The next days on which options of a symbol expire."""
    settings = context.load_settings(by=by)

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            today = today_in_new_york(ib.clock.now())
            found = (await ib.expiries(symbol, on_or_after=today, at_least=count))[:count]
        if json:
            output.emit(found)
        else:
            output.say("\n".join(f"{expires:%Y%m%d  %A}" for expires in found))

    go(work)
