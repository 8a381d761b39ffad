"""Order calls, translated for the desk and the exchange.

Source: docs/facts/orders.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from ibkit.sim.exchange import preview
from ibkit.sim.exchange.desk import Answer, Asked, Caller, Prompted, Refused
from ibkit.sim.exchange.order_rows import filter_word, live_row, placement_row, status_of, status_row, trade_row
from ibkit.sim.exchange.refusals import FRACTION, planned_price
from ibkit.sim.exchange.tickets import BadTicket, SimTicket, read_ticket
from ibkit.sim.handlers.accounts import brokerage_of, known_account
from ibkit.sim.routing import ApiError, Call, Reply, handles
from ibkit.wire.executions import TRADES
from ibkit.wire.orders import (
    ANSWER_PROMPT,
    CANCEL_ORDER,
    LIVE_ORDERS,
    MODIFY_ORDER,
    ORDER_STATUS,
    PLACE_ORDERS,
    PREVIEW_ORDERS,
    REPLY,
)
from ibkit.wire.session import RESET_SUPPRESSION, SUPPRESS_QUESTIONS

_MOST_SUPPRESSED = 51
"""Source: docs/facts/orders.md §3.3."""
_PROMPT = (
    "If your order is not immediately executable, our systems may, depending on market conditions, reject your order "
    "if its limit price is more than the allowed amount away from the reference price at that time. If this happens, "
    "you will not receive a fill. This is a control designed to ensure that we comply with our regulatory obligations "
    "to avoid submitting disruptive orders to the marketplace.\nUse the Price Management Algo?"
)
_MOST_DAYS = 7
_MOST_ROWS = 1000


@handles(PLACE_ORDERS)
def place_orders(call: Call) -> Reply:
    account = known_account(call, call.path["account_id"])
    tickets = _tickets(call, account)
    return _answer(call, call.world.exchange.desk.place(_caller(call, account), tickets, call.now))


@handles(REPLY)
def reply_to_question(call: Call) -> Reply:
    confirmed = call.body.get("confirmed") if isinstance(call.body, Mapping) else None
    if not isinstance(confirmed, bool):
        # A text instead of a boolean is a 500 (§3.1).
        raise ApiError(500, None)
    caller = _caller(call, brokerage_of(call).selected_account or "")
    answer = call.world.exchange.desk.reply(caller, call.path["question_id"], confirmed, call.now)
    reply = _answer(call, answer)
    if call.world.quirks.reply_bare_object and isinstance(reply.body, list) and "order_id" in reply.body[0]:
        return Reply(reply.body[0])
    return reply


@handles(PREVIEW_ORDERS)
def preview_orders(call: Call) -> Reply:
    account = known_account(call, call.path["account_id"])
    tickets = _tickets(call, account)
    return Reply(preview.preview_row(call.world, _caller(call, account), tickets, call.now))


@handles(MODIFY_ORDER)
def modify_order(call: Call) -> Reply:
    account = known_account(call, call.path["account_id"])
    order_id = _order_id(call.path["order_id"])
    order = call.world.exchange.orders.get(order_id)
    if order is None or order.account != account:
        return _refusal(Refused(f"OrderID {order_id} doesn't exist", 400))
    ticket = _resolved(call, _read(call, call.body))
    _check_hours(call, ticket)
    return _answer(call, call.world.exchange.desk.modify(_caller(call, account), order_id, ticket, call.now))


@handles(CANCEL_ORDER)
def cancel_order(call: Call) -> Reply:
    account = known_account(call, call.path["account_id"])
    desk = call.world.exchange.desk
    order_id = _order_id(call.path["order_id"])
    if order_id == -1:
        desk.cancel_all(account, call.now)
        return Reply({"msg": "Request was submitted", "order_id": -1, "conid": -1, "account": None})
    answer = desk.cancel(account, order_id, call.now)
    if isinstance(answer, Refused):
        return _refusal(answer)
    order, done = answer
    # A cancel that is done at once names neither contract nor account (§7, recorded).
    return Reply(
        {
            "msg": "Request was submitted",
            "order_id": order.id,
            "conid": -1 if done else order.conid,
            "account": None if done else order.account,
        }
    )


@handles(LIVE_ORDERS)
def live_orders(call: Call) -> Reply:
    brokerage, quirks = brokerage_of(call), call.world.quirks
    call.world.exchange.desk.note_read(call.session.user.username)
    account = _chosen_account(call)
    first = not brokerage.orders_primed
    brokerage.orders_primed = True
    forced = call.query.get("force", "").lower() == "true"
    words = [word for word in call.query.get("filters", "").lower().split(",") if word]
    if forced or words:
        # docs/facts/websocket.md §5.4, the trap.
        brokerage.sor_silenced = not forced and quirks.filters_silence_sor
    if first and brokerage.switched and quirks.after_switch == "empty" and not forced:
        return Reply({"orders": [], "snapshot": True})
    if forced or (first and not quirks.orders_first_call_rows):
        return Reply({"orders": [], "snapshot": False})
    if words and quirks.filtered_orders_empty:
        return Reply({"orders": [], "snapshot": False})
    orders = call.world.exchange.of_today(account, call.now) if account else []
    wanted = set(words) - {"sort_by_time"}
    if wanted:
        orders = [o for o in orders if filter_word(status_of(call.world, o, call.now)) in wanted]
    if "sort_by_time" in words:
        orders.sort(key=lambda o: (not o.working, -o.placed_at.timestamp()))
    rows = [live_row(call.world, order, call.now) for order in orders[:_MOST_ROWS]]
    return Reply({"orders": rows, "snapshot": not first})


@handles(ORDER_STATUS)
def order_status(call: Call) -> Reply:
    call.world.exchange.desk.note_read(call.session.user.username)
    order_id = _order_id(call.path["order_id"])
    order = call.world.exchange.orders.get(order_id)
    mine = {account.id for account in call.session.user.accounts}
    if order is None or order.account not in mine or order.state == "declined":
        raise ApiError(400, {"error": f"OrderID {order_id} doesn't exist", "statusCode": 400})
    if order.state == "parked":
        status = call.world.quirks.parked_status
        raise ApiError(status, {"error": "Order not found", "statusCode": status})
    if order not in call.world.exchange.of_today(order.account, call.now):
        # Orders of an earlier day (§10 [spec]).
        raise ApiError(503, {"error": "Service Unavailable", "statusCode": 503})
    return Reply(status_row(call.world, order, call.now))


@handles(TRADES)
def trades(call: Call) -> Reply:
    brokerage = brokerage_of(call)
    call.world.exchange.desk.note_read(call.session.user.username)
    asked = call.query.get("days", "")
    if asked.isdigit():
        # A number of days stays in force for later calls that name none (§11, recorded).
        brokerage.trades_days = max(1, min(_MOST_DAYS, int(asked)))
    if not brokerage.trades_primed:
        brokerage.trades_primed = True
        return Reply([])
    account = _chosen_account(call)
    found = call.world.exchange.executions(account, call.now, days=brokerage.trades_days or 1) if account else []
    return Reply([trade_row(call.world, execution) for execution in found])


@handles(SUPPRESS_QUESTIONS)
def suppress_questions(call: Call) -> Reply:
    ids = call.body.get("messageIds") if isinstance(call.body, Mapping) else None
    fine = isinstance(ids, list) and 0 < len(ids) <= _MOST_SUPPRESSED and all(isinstance(id_, str) for id_ in ids)
    if not fine:
        raise ApiError(500, None)
    brokerage_of(call).suppressed.update(ids)  # type: ignore[arg-type]  # a list of texts, checked above
    return Reply({"status": "submitted"})


@handles(RESET_SUPPRESSION)
def reset_suppression(call: Call) -> Reply:
    brokerage_of(call).suppressed.clear()
    return Reply({"status": "submitted"})


@handles(ANSWER_PROMPT)
def answer_prompt(call: Call) -> Reply:
    """The answer is a bare JSON text (§3.4)."""
    body = call.body if isinstance(call.body, Mapping) else {}
    order_id, request, option = body.get("orderId"), body.get("reqId"), body.get("text")
    caller = _caller(call, brokerage_of(call).selected_account or "")
    desk = call.world.exchange.desk
    known = isinstance(order_id, int) and option in ("Yes", "No")
    if not known or not desk.pick(caller, int(order_id or 0), str(request), str(option), call.now):
        raise ApiError(400, {"error": "Bad Request: no such prompt", "statusCode": 400})
    return Reply('"Request was submitted"')


def _tickets(call: Call, account: str) -> list[SimTicket]:
    """The tickets of a placement or preview, orders by amount turned into whole shares."""
    bodies = call.body.get("orders") if isinstance(call.body, Mapping) else None
    if not isinstance(bodies, list) or not bodies:
        raise ApiError(400, {"error": "Bad Request: orders required", "statusCode": 400})
    tickets = [_resolved(call, _read(call, body)) for body in bodies]
    for ticket in tickets:
        if ticket.account is not None and ticket.account != account:
            known_account(call, ticket.account)
        _check_hours(call, ticket)
    return tickets


def _check_hours(call: Call, ticket: SimTicket) -> None:
    """A stop for outside hours is refused while the market is open. [recorded, §1.2]"""
    if ticket.order_type == "STP" and ticket.outside_rth and call.world.calendar.is_open(call.now):
        # That the text has the form of the other attribute's is assumed.
        raise ApiError(500, {"error": "invalid order attribute : Outside RTH"})


def _read(call: Call, body: Any) -> SimTicket:
    try:
        return read_ticket(body, call.world.instruments)
    except BadTicket as bad:
        raise ApiError(bad.status, None if bad.error is None else {"error": bad.error}) from None


def _resolved(call: Call, ticket: SimTicket) -> SimTicket:
    """An amount of money buys whole shares, rounded down; less than one is refused (§1.5)."""
    if ticket.cash_quantity is None:
        return ticket
    price = planned_price(call.world, ticket, call.now)
    shares = (ticket.cash_quantity / price).to_integral_value(rounding=ROUND_FLOOR) if price else Decimal(0)
    if shares < 1 or ticket.instrument.sec_type != "STK":
        raise ApiError(200, {"error": FRACTION})
    return ticket.with_quantity(shares)


def _caller(call: Call, account: str) -> Caller:
    brokerage = brokerage_of(call)
    return Caller(
        username=call.session.user.username,
        account=account,
        suppressed=brokerage.suppressed,
        has_line=lambda conid: conid in brokerage.market_lines,
    )


def _chosen_account(call: Call) -> str | None:
    """The account asked for, else the session's; None for a user without accounts."""
    asked = call.query.get("accountId")
    return known_account(call, asked) if asked else brokerage_of(call).selected_account


def _order_id(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ApiError(400, {"error": f"OrderID {text} doesn't exist", "statusCode": 400}) from None


def _answer(call: Call, answer: Answer) -> Reply:
    """The desk's answer in its wire shape (§2)."""
    if isinstance(answer, Refused):
        return _refusal(answer)
    if isinstance(answer, Asked):
        messages = answer.question.messages
        return Reply(
            [
                {
                    "id": answer.question.id,
                    "message": [message.text for message in messages],
                    "isSuppressed": False,
                    "messageIds": [message.id for message in messages],
                    "messageOptions": ["Yes", "No"],
                }
            ]
        )
    if isinstance(answer, Prompted):
        return Reply(prompt_row(answer))
    return Reply([_row(call, row.order, row.text, call.now) for row in answer.rows])


def prompt_row(prompted: Prompted) -> dict[str, Any]:
    """§2 shape 4."""
    return {
        "orderId": prompted.order.id,
        "reqId": prompted.request,
        "dismissable": [],
        "text": _PROMPT,
        "options": ["Yes", "No"],
        "type": "M",
        "messageId": "p12",
        "prompt": True,
    }


def _row(call: Call, order: Any, text: str | None, now: datetime) -> dict[str, Any]:
    if order is None:
        return {"order_id": "-1", "order_status": "Failed", "error": None, "warning_message": "-1", "text": text}
    return placement_row(call.world, order, now)


def _refusal(refused: Refused) -> Reply:
    if refused.status == 200 or refused.text.startswith("reply id not found"):
        return Reply({"error": refused.text}, refused.status)
    return Reply({"error": refused.text, "statusCode": refused.status}, refused.status)
