"""`ibkit quote`: bid, ask and last of a stock, an index or an option."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import day, number, right_of, wrong
from ibkit.cli.flags import ByUser, Compete, Json, option
from ibkit.cli.running import go, signed_in
from ibkit.model import Conid, Quote

__all__ = ["app"]

app = cyclopts.App(name="quote", help="Bid, ask and last of a stock or an option.")


@app.default
def quote(
    symbol: Annotated[str | None, cyclopts.Parameter(help="Like SPY.")] = None,
    /,
    *,
    expiry: Annotated[str | None, option("Of an option: YYYYMMDD.")] = None,
    strike: Annotated[str | None, option("Of an option: the strike.")] = None,
    right: Annotated[str | None, option("Of an option: P or C.")] = None,
    conid: Annotated[int | None, option("The contract by its number, instead of all that.")] = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> None:
    """Bid, ask and last of a stock, an index or an option."""
    settings = context.load_settings(by=by)
    of_option = (expiry, strike, right)
    if (symbol is None) == (conid is None):
        raise wrong("symbol", "give a symbol, or --conid")
    if any(of_option) and not all(of_option):
        raise wrong("--expiry, --strike and --right", "an option needs all three")

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            if symbol is None:
                assert conid is not None
                label, wanted = str(conid), Conid(conid)
            elif expiry and strike and right:
                contract = await ib.option(
                    symbol,
                    expiry=day("--expiry", expiry),
                    strike=number("--strike", strike),
                    right=right_of("--right", right),
                )
                label, wanted = contract.label, contract.conid
            else:
                label, wanted = symbol.upper(), (await ib.underlying(symbol)).conid
            found = await ib.quote(wanted)
        if json:
            output.emit(found)
        else:
            output.say(_text(label, found))

    go(work)


def _text(label: str, quote: Quote) -> str:
    sizes = [
        ("bid", quote.bid, quote.bid_size),
        ("ask", quote.ask, quote.ask_size),
        ("last", quote.last, None),
    ]
    parts = [f"{name} {value}" + (f" x {size}" if size is not None else "") for name, value, size in sizes]
    notes = [quote.availability.name.lower().replace("_", " ")]
    notes += ["last is yesterday's close"] if quote.last_is_close else []
    notes += ["halted"] if quote.halted else []
    more = [f"delta {quote.delta:.3f}"] if quote.delta is not None else []
    return f"{label}: {', '.join(part.replace('None', '-') for part in [*parts, *more])} ({', '.join(notes)})"
