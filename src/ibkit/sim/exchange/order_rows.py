"""Orders, order status and trades as IBKR displays them.

Source: docs/facts/orders.md §9, §10, §11.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.model import average_price
from ibkit.sim.exchange.order import Execution, SimOrder
from ibkit.sim.market.names import contract_line, name_of, plain, price_text, short_contract

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["filter_word", "live_row", "placement_row", "status_of", "status_row", "trade_row"]

_CCP = {
    "filled": "Filled",
    "cancelled": "Cancelled",
    "rejected": "Cancelled",
    "parked": "Pending Submit",
    "saved": "Inactive",
}
"""What a saved order shows is assumed; the others are §9's words."""
_CCP_CODES = {"filled": "2"}
"""Only "2" is documented (§10); everything else shows the "0" of the documented working order."""
_COLOURS = {"Inactive": ("#000000", "#AFAFAF"), "Filled": ("#FFFFFF", "#000000"), "Cancelled": ("#FFFFFF", "#000000")}
_WORKING_COLOURS = ("#FFFFFF", "#0000CC")
_FILTERS = {
    "PendingSubmit": "pending_submit",
    "PreSubmitted": "pre_submitted",
    "Submitted": "submitted",
    "Filled": "filled",
    "PendingCancel": "pending_cancel",
    "Cancelled": "cancelled",
    "Inactive": "inactive",
}


def status_of(world: World, order: SimOrder, now: datetime) -> str:
    """The status word, by what the order waits for. Source: docs/facts/orders.md §8."""
    if order.state != "live":
        words = {"pending_cancel": "PendingCancel", "filled": "Filled", "cancelled": "Cancelled"}
        return words.get(order.state, "Inactive")
    dormant = order.parent is not None and world.exchange.active_quantity(order) == 0
    at_the_open = order.ticket.tif == "OPG" or not world.calendar.is_open(now)
    return "PreSubmitted" if dormant or order.waits or at_the_open else "Submitted"


def filter_word(status: str) -> str:
    """The word that `filters` has for a status."""
    return _FILTERS[status]


def placement_row(world: World, order: SimOrder, now: datetime) -> dict[str, Any]:
    """A row of the answer to placing, replying or modifying. A new child still reads PendingSubmit (§1.8)."""
    status = status_of(world, order, now)
    if order.parent is not None and status == "PreSubmitted" and order.placed_at == now and order.parent.filled == 0:
        status = "PendingSubmit"
    row = {"order_id": str(order.id), "order_status": status, "encrypt_message": "1"}
    if order.ref is not None:
        row["local_order_id"] = order.ref
    if order.parent is not None:
        row["parent_order_id"] = str(order.parent.id)
    return row


def live_row(world: World, order: SimOrder, now: datetime) -> dict[str, Any]:
    """A row of the live list; keys that do not apply are left out, as IBKR does."""
    ticket, instrument = order.ticket, order.ticket.instrument
    status = status_of(world, order, now)
    background, foreground = _COLOURS.get(status, _WORKING_COLOURS)
    row: dict[str, Any] = {
        "acct": order.account,
        "exchange": "SMART",
        "conidex": instrument.conidex,
        "conid": order.conid,
        "account": order.account,
        "orderId": order.id,
        "cashCcy": instrument.currency,
        "sizeAndFills": _size_and_fills(order),
        "orderDesc": _description(order, with_symbol=order.state == "filled"),
        "description1": instrument.symbol,
        "ticker": instrument.symbol,
        "secType": instrument.sec_type,
        "listingExchange": instrument.listing_exchange,
        "remainingQuantity": float(order.remaining),
        "filledQuantity": float(order.filled),
        "totalSize": float(order.total),
        "companyName": name_of(world, instrument),
        "status": status,
        "order_ccp_status": _CCP.get(order.state, "Submitted"),
        "outsideRTH": ticket.outside_rth,
        "origOrderType": ticket.kind.code,
        "supportsTaxOpt": "1",
        # The time it was submitted, not of its last fill: IBKR's own trap (§9, recorded).
        "lastExecutionTime": _stamp(order.placed_at),
        "orderType": ticket.kind.display,
        "price": price_text(order.limit),
        "bgColor": background,
        "fgColor": foreground,
        "isEventTrading": "0",
        "timeInForce": "CLOSE" if ticket.tif == "DAY" else ticket.tif,
        "lastExecutionTime_r": _milliseconds(order.placed_at),
        "side": ticket.side,
    }
    if order.state == "filled":
        del row["exchange"], row["outsideRTH"]
    if instrument.sec_type != "STK":
        row["description2"] = short_contract(instrument)
    if ticket.cash_quantity is not None:
        row["totalCashSize"] = float(ticket.cash_quantity)
    if order.ref is not None:
        row["order_ref"] = order.ref
    if order.parent is not None:
        row["parentId"] = order.parent.id
    if order.group is not None:
        row["ocaGroupId"] = order.group
    if ticket.kind.waits is not None:
        row["stop_price"] = price_text(order.stop)
        if ticket.kind.stop == "auxPrice":
            row["auxPrice"] = price_text(order.stop)
    if ticket.offset is not None:
        row["auxPrice"] = price_text(ticket.offset)
    if order.executions:
        row["avgPrice"] = price_text(_average(order))
    if order.state in ("cancelled", "rejected") and order.reason is not None:
        row["order_cancellation_by_system_reason"] = order.reason
    return row


def status_row(world: World, order: SimOrder, now: datetime) -> dict[str, Any]:
    """Order status, with both sets of names for fills that sources show (§10)."""
    ticket, instrument = order.ticket, order.ticket.instrument
    status = status_of(world, order, now)
    # A working order's two are the other way round than in the list. Source: docs/facts/orders.md §9, §10 [spec].
    background, foreground = _COLOURS.get(status, _WORKING_COLOURS[::-1])
    done = order.state not in ("live", "saved")
    description = _description(order, with_symbol=order.state == "filled")
    average = price_text(_average(order)) or "0.00"
    row: dict[str, Any] = {
        "sub_type": None,
        "request_id": str(order.request_id),
        "server_id": str(order.replaces or 0),
        "order_id": order.id,
        "conidex": instrument.conidex,
        "conid": order.conid,
        "symbol": instrument.symbol,
        "side": ticket.side[0],
        "contract_description_1": instrument.symbol,
        "listing_exchange": instrument.listing_exchange,
        "option_acct": "c",
        "company_name": name_of(world, instrument),
        "size": _decimal_text(order.remaining),
        "total_size": _decimal_text(order.total),
        "currency": instrument.currency,
        "account": order.account,
        "order_type": ticket.kind.code,
        "cum_fill": _decimal_text(order.filled),
        "order_status": status,
        "order_ccp_status": _CCP_CODES.get(order.state, "0"),
        "order_status_description": order.reason or f"Order {status}",
        "tif": ticket.tif,
        "fg_color": foreground,
        "bg_color": background,
        "order_not_editable": done,
        "editable_fields": "" if done else "\u001e",
        "cannot_cancel_order": done,
        "deactivate_order": False,
        "sec_type": instrument.sec_type,
        "available_chart_periods": "#R|1",
        "order_description": description,
        "order_description_with_contract": _description(order, with_symbol=True),
        "alert_active": 0,
        "child_order_type": "0",
        "order_clearing_account": order.account,
        "size_and_fills": f"{plain(order.filled)}/{plain(order.total)}",
        "exit_strategy_display_price": _own_price(order) or "0.0",
        "exit_strategy_chart_description": "" if done else _chart_description(order),
        "average_price": average,
        "exit_strategy_tool_availability": "0" if done else "1",
        "allowed_duplicate_opposite": True,
        "order_time": _stamp(order.placed_at),
        "limit_price": price_text(order.limit),
        "stop_price": price_text(order.stop),
        "outside_rth": ticket.outside_rth,
        "all_or_none": ticket.all_or_none,
        "order_desc": description,
        "fill_price": average,
        "avg_fill_price": average,
        "last_fill_price": price_text(order.executions[-1].price) if order.executions else "0.00",
        "filled_quantity": _decimal_text(order.filled),
        "remaining_quantity": _decimal_text(order.remaining),
        "total_cash_size": _decimal_text(ticket.cash_quantity or Decimal(0)),
        "price": price_text(order.limit) or "0.0",
        "use_price_mgmt_algo": False,
        "is_event_trading": "0",
        "clearing_id": "IB",
        "clearing_name": "IB",
    }
    if order.parent is not None:
        row["parent_order_id"] = str(order.parent.id)
    if order.group is not None:
        row |= {"oca_group_id": order.group, "oca_group_type": "ReduceOnFillNonBlock"}
    if order.children:
        row["children_order_ids"] = ",".join(str(child.id) for child in order.children)
    if order.state in ("cancelled", "rejected") and order.reason is not None:
        row["order_cancellation_by_system_reason"] = order.reason
    if world.quirks.status_shows_ref and order.ref is not None:
        row["order_ref"] = order.ref
    return row


def trade_row(world: World, execution: Execution) -> dict[str, Any]:
    """One execution."""
    order, instrument = execution.order, execution.instrument
    verb = "Bought" if execution.side == "BUY" else "Sold"
    price = price_text(execution.price)
    row: dict[str, Any] = {
        "execution_id": execution.id,
        "symbol": instrument.symbol,
        "supports_tax_opt": "1",
        "side": execution.side[0],
        "order_description": f"{verb} {plain(execution.quantity)} @ {price} on {execution.exchange}",
        "trade_time": execution.at.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S"),
        "trade_time_r": _milliseconds(execution.at),
        "size": float(execution.quantity),
        "price": price,
        "submitter": order.username or order.account,
        "exchange": execution.exchange,
        "commission": price_text(execution.commission) or "0.00",
        "net_amount": float(execution.net_amount),
        "account": order.account,
        "accountCode": order.account,
        "account_allocation_name": order.account,
        "company_name": name_of(world, instrument),
        "contract_description_1": contract_line(instrument),
        "sec_type": instrument.sec_type,
        "listing_exchange": instrument.listing_exchange,
        "conid": instrument.conid,
        "conidEx": instrument.conidex,
        "clearing_id": "IB",
        "clearing_name": "IB",
        "liquidation_trade": "0",
        "is_event_trading": "0",
        "order_id": order.id,
    }
    if order.ref is not None:
        row["order_ref"] = order.ref
    return row


def _average(order: SimOrder) -> Decimal | None:
    mean = average_price(tuple((e.price, e.quantity) for e in order.executions))
    return None if mean is None else mean.quantize(Decimal("0.00000001")).normalize()


def _size_and_fills(order: SimOrder) -> str:
    """`0/5` while it works, `5` when complete."""
    if order.state == "filled":
        return plain(order.total)
    return f"{plain(order.filled)}/{plain(order.total)}"


def _description(order: SimOrder, *, with_symbol: bool) -> str:
    """`Sell 1 Limit 2.50, Day`, or with the contract, `Sold 1 SPY Aug21'26 540 PUT Limit 2.50, Day`."""
    ticket = order.ticket
    past = order.state == "filled"
    verb = {"BUY": "Bought" if past else "Buy", "SELL": "Sold" if past else "Sell"}[ticket.side]
    shown = ["" if ticket.trail is None else f"{price_text(ticket.trail.amount)}{'%' if ticket.trail.per_cent else ''}"]
    shown += [price_text(price) for price in (order.stop, ticket.offset, order.limit)]
    prices = " ".join(text for text in shown if text)
    words = [verb, plain(order.total)]
    if with_symbol:
        words.append(contract_line(ticket.instrument))
    words.append(ticket.kind.display)
    if prices:
        words.append(prices)
    return f"{' '.join(words)}, {'Day' if ticket.tif == 'DAY' else ticket.tif}"


def _chart_description(order: SimOrder) -> str:
    verb = "Buy" if order.ticket.side == "BUY" else "Sell"
    price = _own_price(order)
    return f"{verb} {plain(order.total)} @ {price}" if price else f"{verb} {plain(order.total)}"


def _own_price(order: SimOrder) -> str:
    """Its limit, else its stop; empty where it has neither."""
    return price_text(order.limit if order.limit is not None else order.stop)


def _decimal_text(number: Decimal) -> str:
    """`1.0`."""
    text = plain(number)
    return text if "." in text else f"{text}.0"


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%y%m%d%H%M%S")


def _milliseconds(at: datetime) -> int:
    # Whole seconds, as in the captures.
    return int(at.timestamp()) * 1000
