"""The words and numbers in which a sale is reported."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkit.errors import IbkitError, Refused
from ibkit.trading.intent import Intent
from ibkit.trading.outcome import refusal_code
from ibkit.trading.selling import book
from ibkit.trading.selling.exit_orders import close_key
from ibkit.trading.selling.market import Market
from ibkit.trading.selling.protection import Protected
from ibkit.trading.selling.sale import NEW_YORK, OnStopFailure, SaleRequest, trade_id_of
from ibkit.trading.selling.standing import Standing, role_of
from ibkit.trading.selling.structure import long_strike
from ibkit.trading.selling.trade import ExitReason, OrderRole, Trade, TradeResult

__all__ = [
    "closed_result",
    "completed_trade",
    "failure",
    "named",
    "numbers",
    "protected_result",
    "rejected",
]


def named(request: SaleRequest, market: Market | None) -> dict[str, Any]:
    """The fields of a TradeResult that name what is sold, and the sale."""
    wide = request.width
    return {
        "symbol": request.symbol,
        "strike": request.strike,
        "long_strike": None if wide is None else long_strike(request.strike, request.right, wide),
        "right": request.right.value,
        "expiry": request.expiry,
        "key": request.key,
        "contract_id": None if market is None else market.structure.short.conid,
        "exit_at": request.exits.exit_at,
    }


def numbers(request: SaleRequest, market: Market, entry: Decimal, quantity: Decimal) -> dict[str, Any]:
    """credit = entry x multiplier x quantity; max_risk = (stop - entry) x multiplier x quantity, None without stop."""
    prices = market.prices(request, entry)
    units = market.contract.multiplier * quantity
    credit = entry * units
    return {
        "entry_price": entry,
        "stop_loss": None if prices is None else prices.stop,
        "trail": None if prices is None else prices.trail,
        "take_profit": None if prices is None else prices.profit,
        "credit": credit,
        "max_risk": None if prices is None else (prices.stop - entry) * units,
        "max_loss": market.structure.max_loss(credit, quantity),
    }


def rejected(entry: Intent) -> IbkitError:
    reason = entry.reason or (entry.order_status.value if entry.order_status else "no reason given")
    return Refused(f"Order rejected by IBKR: {reason}", code=refusal_code(reason))


def failure(request: SaleRequest, error: IbkitError, *, trade_id: str) -> TradeResult:
    """The result of a sale that an error ended; unsure where an order may be alive behind it."""
    unsure = error.code == "E-ORD-UNKNOWN"
    marked = not unsure or error.message.startswith("CRITICAL")
    return TradeResult(
        success=False,
        **named(request, None),
        message=error.message if marked else f"CRITICAL: {error.message}",
        code=error.code,
        remedy=error.remedy,
        unsure=unsure,
        dry_run=request.dry_run,
        trade_id=None if request.dry_run else trade_id,
        details={name: str(value) for name, value in error.details.items()},
    )


def closed_result(request: SaleRequest, trade: Trade) -> TradeResult:
    """The result of a repeated key whose trade is over: told from its record, nothing is sent."""
    reason = "" if trade.exit_reason is None else f" ({trade.exit_reason.value.replace('_', ' ')})"
    backs = {link.key for link in trade.links if link.role is OrderRole.CLOSE}
    bad = trade.exit_reason is ExitReason.MANUAL and close_key(request.key) in backs
    message = f"Sold {trade.quantity:f} {trade.label} at {trade.entry_price}; closed at {trade.exit_price}{reason}"
    entry, stop = trade.entry_price, trade.stop_loss_price
    units = trade.multiplier * trade.quantity
    base = TradeResult(
        success=not bad,
        **{**named(request, None), "contract_id": trade.conid},
        entry_price=entry,
        stop_loss=stop,
        credit=None if entry is None else entry * units,
        max_risk=None if entry is None or stop is None else (stop - entry) * units,
        message=message,
        order_id=trade.ibkr_order_id,
        stop_order_id=trade.stop_loss_order_id,
        take_profit=trade.take_profit_price,
        take_profit_order_id=trade.take_profit_order_id,
        filled_quantity=trade.quantity,
        trade_id=trade.trade_id,
        closed=True,
    )
    return _critical(base, f"stop loss not placed: {message}", "E-STOP-FAILED") if bad else base


def protected_result(
    request: SaleRequest,
    market: Market,
    entry: Intent,
    protected: Protected,
    *,
    warnings: tuple[str, ...],
) -> TradeResult:
    """The result of a sale that sold something, however its protection went."""
    average = entry.average_price or Decimal(0)
    stop, profit = protected.stop, protected.profit
    base = TradeResult(
        success=False,
        **named(request, market),
        **numbers(request, market, average, entry.filled),
        order_id=entry.order_id,
        filled_quantity=entry.filled,
        stop_order_id=None if stop is None else stop.order_id,
        take_profit_order_id=None if profit is None else profit.order_id,
        trade_id=trade_id_of(entry.ref),
        warnings=warnings,
        details=dict(market.snapshot),
    )
    if profit is None:
        base = dataclasses.replace(base, take_profit=None)
    if stop is not None and stop.ticket.stop_price != base.stop_loss:
        # A repeated key: what stands at IBKR counts, not what this run would have asked for.
        base = _with_stop(base, stop.ticket.stop_price, market.contract.multiplier)
    rest = "" if entry.filled == request.quantity else f" (of {request.quantity.normalize():f}; the rest was cancelled)"
    sold = f"Sold {entry.filled.normalize():f} {market.label} at {average}{rest}"
    return _standing_told(request, base, market.label, entry, protected, sold)


def _standing_told(
    request: SaleRequest, base: TradeResult, label: str, entry: Intent, protected: Protected, sold: str
) -> TradeResult:
    why = "; ".join(protected.reasons)
    price = protected.exit_average
    match protected.standing:
        case Standing.PROTECTED:
            message = f"{sold}, {_exits_told(request, base)}"
            if not entry.final:
                message = f"{message}, but the rest of the entry order may still fill"
                return _critical(base, message, "E-ORD-UNKNOWN", unsure=True)
            if request.exits.take_profit is not None and base.take_profit is None:
                lacks = f"without its take profit{f' ({why})' if why else ''}"
                base = dataclasses.replace(base, warnings=(*base.warnings, f"the stop stands {lacks}"))
            return dataclasses.replace(base, success=True, message=message)
        case Standing.STOPPED_OUT:
            message = f"{sold}; its stop has filled already at {price}"
            return dataclasses.replace(base, success=True, closed=True, message=message)
        case Standing.PROFIT_TAKEN:
            message = f"{sold}; it was bought back with gain at {price}, which ended its stop"
            return dataclasses.replace(base, success=True, closed=True, message=message)
        case Standing.CLOSED_BY_HAND:
            message = f"{sold}; the account holds it no more: closed by hand, so no stop was placed"
            return dataclasses.replace(base, success=True, closed=True, message=message)
        case Standing.BOUGHT_BACK:
            message = f"stop loss not placed for {label}: {sold}, bought back at {price} ({why})"
            return dataclasses.replace(_critical(base, message, "E-STOP-FAILED"), closed=True)
        case Standing.UNPROTECTED:
            tried = "could not be bought back" if request.on_stop_failure is OnStopFailure.CLOSE else "was left"
            message = f"stop loss not placed for {label}: {sold}; the position {tried} and is still open ({why})"
            return _critical(base, message, "E-STOP-FAILED", unsure=True)
        case Standing.UNSURE:
            exits = "stop" if request.exits.take_profit is None else "exits"
            message = f"{sold}, but the state of its {exits} or buy-back is not known ({why})"
            return _critical(base, message, "E-ORD-UNKNOWN", unsure=True)


def _exits_told(request: SaleRequest, base: TradeResult) -> str:
    trailing = f"trailing by {base.trail.label} " if base.trail is not None else ""
    text = f"stop {base.stop_loss} {trailing}is working (order {base.stop_order_id})"
    if base.take_profit is not None:
        text += f", take profit {base.take_profit} (order {base.take_profit_order_id})"
    if request.exits.exit_at is not None:
        text += f", to be closed at {request.exits.exit_at.astimezone(NEW_YORK):%Y-%m-%d %H:%M} New York"
    return text


def _with_stop(base: TradeResult, stop: Decimal | None, multiplier: Decimal) -> TradeResult:
    if stop is None or base.entry_price is None:
        return dataclasses.replace(base, stop_loss=stop, max_risk=None)
    risk = (stop - base.entry_price) * multiplier * base.filled_quantity
    return dataclasses.replace(base, stop_loss=stop, max_risk=risk)


def _critical(base: TradeResult, message: str, code: str, *, unsure: bool = False) -> TradeResult:
    remedy = IbkitError(code=code).remedy
    return dataclasses.replace(base, message=f"CRITICAL: {message}", code=code, remedy=remedy, unsure=unsure)


def completed_trade(trade: Trade, entry: Intent, protected: Protected, *, at: datetime) -> Trade:
    """The record after the sale: what was sold, its orders, and its exit where it has ended already."""
    stands = protected.standing in (Standing.PROTECTED, Standing.UNSURE)
    stop = protected.stop if stands else None
    profit = protected.profit if stands or protected.standing is Standing.PROFIT_TAKEN else None
    stop_loss = stop.ticket.stop_price if stop is not None else None
    trade = book.sold(trade, entry, at=at, stop=stop, stop_loss=stop_loss, profit=profit)
    links = [book.link_of(entry, OrderRole.ENTRY), *(book.link_of(tried, role_of(tried)) for tried in protected.tries)]
    if protected.close is not None:
        links.append(book.link_of(protected.close, OrderRole.CLOSE))
    trade = book.with_links(trade, *links)
    reason = _ENDS.get(protected.standing)
    if reason is None:
        return trade
    if protected.standing is Standing.CLOSED_BY_HAND and trade.expiration < at.astimezone(NEW_YORK).date():
        reason = ExitReason.EXPIRED
    return book.closed(trade, at=at, price=protected.exit_average, reason=reason)


_ENDS = {
    Standing.STOPPED_OUT: ExitReason.STOPPED_OUT,
    Standing.PROFIT_TAKEN: ExitReason.TAKE_PROFIT,
    Standing.BOUGHT_BACK: ExitReason.MANUAL,
    Standing.CLOSED_BY_HAND: ExitReason.MANUAL,
}
