"""`ibkit trade roll`: what is rolled to what, shown before it is done, and how it went."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.cli import output
from ibkit.cli.asking import today_in_new_york, wrong
from ibkit.cli.preview_text import preview_document, preview_text
from ibkit.client.strikes import DELTA_WITHIN, expiry_in, suggest
from ibkit.errors import IbkitError
from ibkit.model import Key, Quote
from ibkit.trading.closing.roll import RollResult, RollTo
from ibkit.trading.selling.structure import net_quote
from ibkit.trading.selling.trade import TradeStatus

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import Intent, Trade, TradeResult

__all__ = ["RollAsk", "roll"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollAsk:
    """The flags. What is None stays as it is in the trade."""

    trade_id: str
    expiry: date | None
    dte: int | None
    strike: Decimal | None
    delta: Decimal | None
    width: Decimal | None
    confirm: tuple[str, ...]
    allow_delayed: bool
    force: bool
    dry_run: bool
    yes: bool
    json: bool

    def checked(self) -> RollAsk:
        if all(each is None for each in (self.expiry, self.dte, self.strike, self.delta, self.width)):
            raise wrong("--expiry", "nothing says to what: give --expiry, --dte, --strike, --delta or --width")
        for name, value in (("--strike", self.strike), ("--width", self.width)):
            if value is not None and value <= 0:
                raise wrong(name, f"{value} is not above 0")
        if self.delta is not None and not 0 < self.delta < 1:
            raise wrong("--delta", f"{self.delta} does not lie between 0 and 1")
        if self.dte is not None and not 0 <= self.dte <= 3650:
            raise wrong("--dte", f"{self.dte} is no number of days from 0 on")
        return self

    @property
    def options(self) -> dict[str, Any]:
        return {"confirm": self.confirm, "allow_delayed": self.allow_delayed, "force": self.force}


async def roll(ask: RollAsk, desk: Desk, key: Key) -> int:
    """Show it, ask a person who is there, do it, tell it: the exit code."""
    from ibkit.cli.records import trade_named

    trade = await trade_named(desk.books.trades, ask.trade_id)
    roller = desk.roller()
    progress = await roller.progress(key)
    to = await _to(ask, desk, trade, progress.selling)
    asks = not ask.json and not ask.yes and sys.stdin.isatty() and sys.stdout.isatty()
    if progress.begun:
        output.warn(f"note: key {key} has begun this roll: it goes on where it was")
    elif trade.status is TradeStatus.OPEN and trade.entry_price is not None and (ask.dry_run or asks):
        looked = await roller.preview(trade, to, quantity=trade.quantity, **ask.options)
        quote = await _quote(desk, trade)
        if ask.dry_run and ask.json and looked.success:
            output.emit(_preview_document(trade, quote, looked))
            return 0
        if not looked.success:
            return output.report(
                IbkitError(looked.message, code=looked.code or "E-UPSTREAM", remedy=looked.remedy), json=ask.json
            )
        output.say(_preview_text(trade, quote, looked))
        if ask.dry_run:
            output.say("Dry run completed: no order was sent.")
            return 0
        if not _yes():
            output.say("Nothing was rolled.")
            return 5
    return _tell(await roller.roll(trade, to, key=key, **ask.options), json=ask.json)


async def _to(ask: RollAsk, desk: Desk, trade: Trade, selling: Intent | None) -> RollTo:
    """What is sold instead; a sale that has begun keeps what it was begun with."""
    if selling is not None:
        contract = selling.ticket.contract
        short = next((leg.contract for leg in contract.legs if leg.ratio > 0), contract)
        assert short.strike is not None, "an option has a strike"
        assert short.expiry is not None, "an option has an expiry"
        strikes = [leg.contract.strike for leg in contract.legs if leg.contract.strike is not None]
        return RollTo(strike=short.strike, expiry=short.expiry, width=max(strikes) - min(strikes) if strikes else None)
    expiry = ask.expiry or trade.expiration
    if ask.dte is not None:
        today = today_in_new_york(desk.clock.now())
        expiry = await expiry_in(desk.client, trade.symbol, ask.dte, today=today)
    strike = ask.strike or trade.strike_price
    if ask.delta is not None:
        found = await suggest(
            desk.client,
            trade.symbol,
            expiry=expiry,
            right=trade.right,
            most_pct=desk.settings.trading.max_strike_distance_pct,
            delta=float(ask.delta),
            within=DELTA_WITHIN,
        )
        strike = found.strike
    return RollTo(strike=strike, expiry=expiry, width=ask.width or trade.width)


async def _quote(desk: Desk, trade: Trade) -> Quote:
    """What closing costs (ask)."""
    contract = trade.contract
    if not contract.legs:
        return await desk.broker.quote(contract.conid)
    return net_quote(contract, await desk.broker.quotes(tuple(leg.contract.conid for leg in contract.legs)))


def _yes() -> bool:
    # Blocking on purpose: nothing else may happen before the answer.
    try:
        return input("Roll it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _about(quote: Quote, looked: TradeResult) -> Decimal | None:
    """What a roll brings for each, about; None where closing has no price."""
    if quote.ask is None or looked.entry_price is None:
        return None
    return looked.entry_price - quote.ask


def _preview_text(trade: Trade, quote: Quote, looked: TradeResult) -> str:
    assert looked.preview is not None, "a preview that worked has its figures"
    net = _about(quote, looked)
    told = "not known" if net is None else f"{'credit' if net >= 0 else 'debit'} {abs(net)} each"
    return "\n".join(
        [
            f"Close  {trade.quantity.normalize():f} {trade.label}, sold at {trade.entry_price}, at about {quote.ask}",
            f"Sell   {looked.message.removeprefix('Dry run: would sell ')}",
            preview_text(looked.preview),
            f"  {'Net':<13}about {told}",
        ]
    )


def _preview_document(trade: Trade, quote: Quote, looked: TradeResult) -> dict[str, Any]:
    return {
        "dry_run": True,
        "trade_id": trade.trade_id,
        "close": {"option": trade.label, "quantity": trade.quantity, "entry": trade.entry_price, "ask": quote.ask},
        "sell": preview_document(looked.preview),
        "net": _about(quote, looked),
    }


def _tell(result: RollResult, *, json: bool) -> int:
    """0 rolled; 6 closed, but nothing new is open; 7 in doubt or without a stop; else the code of the reason."""
    close, sale = result.close, result.sale
    document = {
        "success": result.success,
        "message": result.message,
        "flat": result.flat,
        "unsure": result.unsure,
        "net": result.net,
        "net_amount": result.net_amount,
        "closed_at": None if close is None else close.exit_price,
        "stop_restored": close is not None and close.stop_restored,
        "sold_at": None if sale is None or not sale.sold else sale.entry_price,
        "order_id": None if sale is None else sale.order_id,
        "stop_order_id": None if sale is None else sale.stop_order_id,
        "trade_id": None if sale is None or not sale.sold else sale.trade_id,
    }
    if result.success:
        if json:
            output.emit(document)
        else:
            output.say(result.message)
            output.say("Rolled: the old trade is closed, the new one has a working stop.")
        return 0
    error = IbkitError(result.message, code=result.code or "E-UPSTREAM", remedy=result.remedy)
    error.details.update(document)
    code = output.report(error, json=json)
    return 7 if result.unsure or (sale is not None and sale.critical) else 6 if result.flat else code
