"""The words and numbers in which a sale is reported."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkit.errors import IbkitError, Refused
from ibkit.model import Contract, Increments, Preview, Quote
from ibkit.trading import book
from ibkit.trading.intent import Intent
from ibkit.trading.outcome import refusal_code
from ibkit.trading.protection import Protected, Standing
from ibkit.trading.sale import OnStopFailure, SaleRequest, stop_price, trade_id_of
from ibkit.trading.trade import ExitReason, OrderRole, Trade, TradeResult

__all__ = [
    "closed_result",
    "completed_trade",
    "failure",
    "named",
    "numbers",
    "planned_entry",
    "preview_figures",
    "protected_result",
    "rejected",
]


def named(request: SaleRequest, contract: Contract | None) -> dict[str, Any]:
    """The fields of a TradeResult that name the option and the sale."""
    return {
        "symbol": request.symbol,
        "strike": request.strike,
        "right": request.right.value,
        "expiry": request.expiry,
        "key": request.key,
        "contract_id": None if contract is None else contract.conid,
    }


def numbers(
    request: SaleRequest, contract: Contract, grid: Increments, entry: Decimal, quantity: Decimal
) -> dict[str, Any]:
    """credit = entry x multiplier x quantity; max_risk = (stop - entry) x multiplier x quantity."""
    stop = stop_price(entry, request.stop_multiple, grid)
    units = contract.multiplier * quantity
    return {
        "entry_price": entry,
        "stop_loss": stop,
        "credit": entry * units,
        "max_risk": (stop - entry) * units,
    }


def planned_entry(request: SaleRequest, quote: Quote) -> Decimal | None:
    """What the sale will bring at worst, before it is made."""
    return request.limit_price or quote.bid


def preview_figures(preview: Preview) -> dict[str, str]:
    figures = {
        "initial_margin_change": preview.initial_margin_change,
        "maintenance_margin_change": preview.maintenance_margin_change,
        "commission": preview.commission,
        "equity_after": preview.equity_after,
    }
    return {name: f"{value:f}" for name, value in figures.items() if value is not None}


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
    bad = trade.exit_reason is ExitReason.MANUAL and trade.stop_loss_price is None
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
        filled_quantity=trade.quantity,
        trade_id=trade.trade_id,
        closed=True,
    )
    return _critical(base, f"stop loss not placed: {message}", "E-STOP-FAILED") if bad else base


def protected_result(
    request: SaleRequest,
    contract: Contract,
    grid: Increments,
    entry: Intent,
    protected: Protected,
    *,
    warnings: tuple[str, ...],
    details: dict[str, str],
) -> TradeResult:
    """The result of a sale that sold something, however its protection went."""
    average = entry.average_price or Decimal(0)
    base = TradeResult(
        success=False,
        **named(request, contract),
        **numbers(request, contract, grid, average, entry.filled),
        order_id=entry.order_id,
        filled_quantity=entry.filled,
        stop_order_id=None if protected.stop is None else protected.stop.order_id,
        trade_id=trade_id_of(entry.ref),
        warnings=warnings,
        details=details,
    )
    if protected.stop is not None and protected.stop.ticket.stop_price != base.stop_loss:
        # A repeated key: what stands at IBKR counts, not what this run would have asked for.
        base = _with_stop(base, protected.stop.ticket.stop_price, contract)
    rest = "" if entry.filled == request.quantity else f" (of {request.quantity.normalize():f}; the rest was cancelled)"
    sold = f"Sold {entry.filled.normalize():f} {contract.label} at {average}{rest}"
    why = "; ".join(protected.reasons)
    match protected.standing:
        case Standing.PROTECTED:
            message = f"{sold}, stop {base.stop_loss} is working (order {base.stop_order_id})"
            if not entry.final:
                message = f"{message}, but the rest of the entry order may still fill"
                return _critical(base, message, "E-ORD-UNKNOWN", unsure=True)
            return dataclasses.replace(base, success=True, message=message)
        case Standing.STOPPED_OUT:
            price = None if protected.stop is None else protected.stop.average_price
            message = f"{sold}; its stop has filled already at {price}"
            return dataclasses.replace(base, success=True, closed=True, message=message)
        case Standing.BOUGHT_BACK:
            price = None if protected.close is None else protected.close.average_price
            message = f"stop loss not placed for {contract.label}: {sold}, bought back at {price} ({why})"
            return dataclasses.replace(_critical(base, message, "E-STOP-FAILED"), closed=True)
        case Standing.UNPROTECTED:
            tried = "could not be bought back" if request.on_stop_failure is OnStopFailure.CLOSE else "was left"
            message = (
                f"stop loss not placed for {contract.label}: {sold}; the position {tried} and is still open ({why})"
            )
            return _critical(base, message, "E-STOP-FAILED", unsure=True)
        case Standing.UNSURE:
            message = f"{sold}, but the state of its stop or buy-back is not known ({why})"
            return _critical(base, message, "E-ORD-UNKNOWN", unsure=True)


def _with_stop(base: TradeResult, stop: Decimal | None, contract: Contract) -> TradeResult:
    if stop is None or base.entry_price is None:
        return dataclasses.replace(base, stop_loss=stop, max_risk=None)
    risk = (stop - base.entry_price) * contract.multiplier * base.filled_quantity
    return dataclasses.replace(base, stop_loss=stop, max_risk=risk)


def _critical(base: TradeResult, message: str, code: str, *, unsure: bool = False) -> TradeResult:
    remedy = IbkitError(code=code).remedy
    return dataclasses.replace(base, message=f"CRITICAL: {message}", code=code, remedy=remedy, unsure=unsure)


def completed_trade(trade: Trade, entry: Intent, protected: Protected, *, at: datetime) -> Trade:
    """The record after the sale: what was sold, its orders, and its exit where it has ended already."""
    working = protected.stop if protected.standing in (Standing.PROTECTED, Standing.UNSURE) else None
    stop_loss = working.ticket.stop_price if working is not None else None
    trade = book.sold(trade, entry, at=at, stop=working, stop_loss=stop_loss)
    links = [book.link_of(entry, OrderRole.ENTRY), *(book.link_of(tried, OrderRole.STOP) for tried in protected.tries)]
    if protected.close is not None:
        links.append(book.link_of(protected.close, OrderRole.CLOSE))
    trade = book.with_links(trade, *links)
    match protected.standing:
        case Standing.STOPPED_OUT if protected.stop is not None:
            price = protected.stop.average_price
            return book.closed(trade, at=at, price=price, reason=ExitReason.STOPPED_OUT)
        case Standing.BOUGHT_BACK if protected.close is not None:
            price = protected.close.average_price
            return book.closed(trade, at=at, price=price, reason=ExitReason.MANUAL)
        case _:
            return trade
