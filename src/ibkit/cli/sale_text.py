"""A sale in words, and as one JSON document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkit.bootstrap.sales import Plan
from ibkit.cli.preview_text import exit_time, preview_document, preview_text
from ibkit.cli.selling import shown
from ibkit.cli.tables import orders_table, positions_table
from ibkit.model import AccountId, Key, to_cents
from ibkit.settings import Settings
from ibkit.trading import TradeResult
from ibkit.trading.ref import own_key
from ibkit.trading.selling.legs import Leg, Sale

__all__ = ["banner", "document", "last_line", "leg_text", "tables"]


def banner(plan: Plan, settings: Settings, account_id: AccountId) -> str:
    """What is about to be done, where, and for whom."""
    title = (
        "Dry run: sell options, each with a stop (no order is sent)"
        if plan.dry_run
        else "Sell options, each with a stop"
    )
    if settings.mock:
        title = f"SIMULATED. {title}"
    spread = any(leg.width is not None for leg in plan.legs)
    legs = " and ".join(f"{leg.word}{' spread' if spread else ''} {leg.strikes}" for leg in plan.legs)
    price = "at market" if plan.ask.limit_price is None else f"at a limit of {plan.ask.limit_price}"
    method = (
        "in process" if settings.mock else f"{settings.method.value}, {settings.address.host}:{settings.address.port}"
    )
    back = "bought back at market" if plan.ask.on_stop_failure == "close" else "left, with an alert"
    rows = [
        ("Side", legs),
        ("Symbol", f"{plan.symbol}, expiry {plan.expiry:%Y%m%d}"),
        ("Quantity", f"{plan.ask.quantity} each, {price}"),
        ("Stop", f"{_stop(plan)}; if none can be placed: {back}"),
        *([("Profit", f"bought back at {_bare(plan.ask.take_profit)} x entry price")] if plan.ask.take_profit else []),
        *([("Exit", exit_time(plan.ask.exit_at))] if plan.ask.exit_at else []),
        ("Account", f"{account_id} ({settings.environment.value})"),
        ("Signed in", method),
        ("Key", f"{own_key(Key(plan.key))} (--key repeats this sale and never sells twice)"),
    ]
    return "\n".join([title, *(f"  {name:<10}{value}" for name, value in rows)])


def _stop(plan: Plan) -> str:
    if plan.ask.trail is not None:
        return f"trailing by {plan.ask.trail.label}"
    return f"{_bare(plan.ask.stop_multiple)} x entry price"


def leg_text(leg: Leg, result: TradeResult) -> str:
    """One leg: what was sold and what protects it; of a failure the truth, without its code."""
    label = f"{result.symbol} {result.expiry:%Y%m%d} {leg.strikes} {result.right}" if result.expiry else leg.word
    lines = [f"{leg.word.upper()}  {label}"]
    if result.dry_run and result.success and result.preview is not None:
        lines.append(preview_text(result.preview))
    elif result.sold:
        lines.append(f"  sold {_bare(result.filled_quantity)} at {result.entry_price}, order {result.order_id}")
        lines += _exits(result)
        loss = f", maximum loss {_money(result.max_loss)}" if result.long_strike is not None else ""
        lines.append(f"  credit {_money(result.credit)}, maximum risk {_money(result.max_risk)}{loss}")
    else:
        lines.append("  not sold" if not result.critical else f"  {result.message}")
    lines += [f"  note: {warning}" for warning in result.warnings]
    return "\n".join(lines)


def _exits(result: TradeResult) -> list[str]:
    if not result.success or result.closed:
        return [f"  {result.message}"]
    trailing = "" if result.trail is None else f" trailing by {result.trail.label}"
    lines = [f"  stop {result.stop_loss}{trailing} is working, order {result.stop_order_id}"]
    if result.take_profit is not None:
        lines.append(f"  take profit {result.take_profit} is working, order {result.take_profit_order_id}")
    if result.exit_at is not None:
        lines.append(f"  to be closed at {exit_time(result.exit_at)}")
    return lines


def tables(sale: Sale, symbol: str) -> str:
    """Working orders and positions, as the broker shows them afterwards."""
    lines = [
        "Working orders"
        + (
            f" (the first {len(shown(sale.working))} of {len(sale.working)})"
            if len(shown(sale.working)) < len(sale.working)
            else ""
        )
    ]
    lines.append(orders_table(shown(sale.working), sale.names, sale.names_by_order) if sale.working else "none")
    lines += ["", f"Positions in {symbol}"]
    lines.append(positions_table(sale.positions) if sale.positions else "none")
    lines += [f"note: {note}" for note in sale.notes]
    return "\n".join(lines)


def last_line(sale: Sale, *, dry_run: bool) -> str:
    """The truth in one line."""
    of = len(sale.results) + len(sale.not_started)
    begun = " Interrupted." if sale.interrupted else ""
    left = f" Not started: {', '.join(leg.word for leg in sale.not_started)}." if sale.not_started else ""
    match sale.outcome:
        case "completed" if dry_run:
            return "Dry run completed: no order was sent."
        case "completed":
            over = sum(result.closed for _, result in sale.results)
            stands = "each with a working stop" if not over else f"{over} closed again already"
            stands += ", the rest with a working stop" if 0 < over < sale.good else ""
            return f"Completed: {sale.good} of {of} legs sold, {stands}.{begun}"
        case "critical":
            worst = next(result.message for _, result in sale.results if result.critical)
            return f"{worst if worst.startswith('CRITICAL') else 'CRITICAL: ' + worst}.{left}{begun}".replace("..", ".")
        case "partly":
            failed = [leg.word for leg, result in sale.results if not result.success]
            why = f" Not sold: {', '.join(failed)}." if failed else ""
            verb = "would be sold" if dry_run else "sold and protected"
            return f"Partly completed: {sale.good} of {of} legs {verb}.{why}{left}{begun}"
        case _:
            return f"Failed: nothing was sold.{left}{begun}" if not dry_run else "Dry run failed: no order was sent."


def document(plan: Plan, settings: Settings, account_id: AccountId, sale: Sale) -> dict[str, Any]:
    """The one JSON document of `--json`."""
    return {
        "outcome": sale.outcome,
        "exit_code": sale.exit_code,
        "message": last_line(sale, dry_run=plan.dry_run),
        "simulated": settings.mock,
        "environment": settings.environment.value,
        "method": None if settings.mock else settings.method.value,
        "account_id": account_id,
        "symbol": plan.symbol,
        "expiry": f"{plan.expiry:%Y%m%d}",
        "quantity": plan.ask.quantity,
        "stop_multiple": plan.ask.stop_multiple if plan.ask.trail is None else None,
        "trail": None if plan.ask.trail is None else plan.ask.trail.label,
        "take_profit": plan.ask.take_profit,
        "exit_at": plan.ask.exit_at,
        "key": own_key(Key(plan.key)),
        "dry_run": plan.dry_run,
        "interrupted": sale.interrupted,
        "legs": [_leg(leg, result) for leg, result in sale.results],
        "not_started": [leg.word for leg in sale.not_started],
        "working_orders": shown(sale.working),
        "positions": sale.positions,
        "notes": sale.notes,
    }


def _leg(leg: Leg, result: TradeResult) -> dict[str, Any]:
    return {
        "side": leg.word,
        "success": result.success,
        "symbol": result.symbol,
        "strike": result.strike,
        "long_strike": result.long_strike,
        "right": result.right,
        "expiry": f"{result.expiry:%Y%m%d}" if result.expiry else None,
        "contract_id": result.contract_id,
        "filled_quantity": result.filled_quantity,
        "entry_price": result.entry_price,
        "stop_loss": result.stop_loss,
        "credit": None if result.credit is None else to_cents(result.credit),
        "max_risk": None if result.max_risk is None else to_cents(result.max_risk),
        "max_loss": None if result.max_loss is None else to_cents(result.max_loss),
        "trail": None if result.trail is None else result.trail.label,
        "take_profit": result.take_profit,
        "order_id": result.order_id,
        "stop_order_id": result.stop_order_id,
        "take_profit_order_id": result.take_profit_order_id,
        "closed": result.closed,
        "message": result.message,
        "code": result.code or None,
        "remedy": result.remedy or None,
        "key": own_key(Key(result.key)) if result.key else result.key,
        "trade_id": result.trade_id,
        "warnings": result.warnings,
        "details": result.details,
        "preview": preview_document(result.preview),
    }


def _bare(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _money(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:.2f}"
