"""What a placed order, its preview, or a cancel of everything looks like to a person, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ibkit.cli import output
from ibkit.errors import IbkitError

if TYPE_CHECKING:
    from ibkit.model import OrderTicket, Preview
    from ibkit.trading import CancelAllResult, Outcome

__all__ = ["cancelled_all", "placed", "previewed"]


def previewed(ticket: OrderTicket, others: tuple[OrderTicket, ...], preview: Preview, *, json: bool) -> None:
    """IBKR's own what-if of the order; of a bracket of its parent."""
    if json:
        output.emit({"ticket": ticket.label, "others": [other.label for other in others], "preview": preview})
        return
    output.say(f"Order      {ticket.label}")
    for other in others:
        output.say(f"  then     {other.label}")
    rows = (
        ("Amount", preview.amount),
        ("Commission", preview.commission),
        ("Margin", _change(preview.initial_margin_change, preview.initial_margin_after)),
        ("Kept", _change(preview.maintenance_margin_change, preview.maintenance_margin_after)),
        ("Equity", preview.equity_after),
    )
    for name, value in rows:
        if value is not None:
            output.say(f"{name:<11}{value}")
    for warning in preview.warnings:
        output.warn(f"IBKR warns: {output.one_line(warning, 300)}")
    if preview.error:
        output.warn(f"IBKR would refuse it: {output.one_line(preview.error, 300)}")


def _change(change: Any, after: Any) -> str | None:
    return None if change is None else f"{change:+,f} to {after if after is not None else '?'}"


def placed(outcome: Outcome, *, json: bool) -> int:
    """Tell how it ended; the exit code."""
    from ibkit.trading.ref import own_key

    intent = outcome.intent
    error = outcome.error
    if json:
        output.emit(
            {
                "key": own_key(intent.key),
                "intent": intent.intent_id,
                "what": intent.label,
                "state": intent.state,
                "order_id": intent.order_id,
                "order_status": intent.order_status,
                "filled": intent.filled,
                "average_price": intent.average_price,
                "cached": outcome.cached,
                "legs": [
                    {"number": leg.number, "order_id": leg.order_id, "status": leg.status, "text": leg.text}
                    for leg in outcome.legs
                ],
                "code": None if error is None else error.code,
                "message": None if error is None else error.message,
            }
        )
    elif error is None:
        status = intent.order_status.value if intent.order_status is not None else intent.state.value
        again = ", as before" if outcome.cached else ""
        output.say(f"Order {intent.order_id}: {intent.ticket.label}: {status}{again}")
        for leg in outcome.legs:
            output.say(f"  with {leg.order_id}: {leg.status.value}")
        output.say(f"Key {own_key(intent.key)}: repeating it never places a second order.")
    if error is None:
        return 0
    output.report(error, json=json)
    return error.exit_code


def cancelled_all(result: CancelAllResult, *, json: bool, beside: Mapping[str, Any] | None = None) -> int:
    """Tell what a cancel of everything came to; the exit code: 7 where orders may still stand.

    beside: what else belongs into the one JSON document.
    """
    error = None
    if not result.complete:
        left = ", ".join(f"{row.order_id} ({row.raw_status})" for row in result.left) or "no complete list was shown"
        error = IbkitError(f"Not proven that all orders are cancelled: {left}", code="E-ORD-UNKNOWN")
    if json:
        output.emit(
            {
                **(beside or {}),
                "account": result.account_id,
                "cancelled": result.cancelled,
                "left": [row.order_id for row in result.left],
                "errors": dict(result.errors),
                "complete": result.complete,
            }
        )
    else:
        for order_id in result.cancelled:
            output.say(f"Order {order_id} is cancelled.")
        if not (result.cancelled or result.left):
            output.say("No working orders.")
        for order_id, message in result.errors:
            output.warn(f"order {order_id}: {message}")
    if error is None:
        return 0
    output.report(error, json=json)
    return 7
