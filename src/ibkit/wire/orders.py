"""Orders on the wire: placing, questions, preview, modify, cancel, the live list, status, trades.

Source: docs/facts/orders.md.
"""

from __future__ import annotations

from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs, Resend

_FACTS = "docs/facts/orders.md"

PLACE_ORDERS = Endpoint(
    "POST",
    "/iserver/account/{account_id}/orders",
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # a lost answer may be a live order: find it by ref instead
    lane=Lane.ORDERS,
    source=f"{_FACTS} §1",
)
PREVIEW_ORDERS = Endpoint(
    "POST",
    "/iserver/account/{account_id}/orders/whatif",
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    source=f"{_FACTS} §5",
)
REPLY = Endpoint(
    "POST",
    "/iserver/reply/{question_id}",
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # a second reply meets 400 "reply id not found" and hides what the first did
    lane=Lane.ORDERS,
    source=f"{_FACTS} §3.1",
)
MODIFY_ORDER = Endpoint(
    "POST",
    "/iserver/account/{account_id}/order/{order_id}",
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,
    lane=Lane.ORDERS,
    source=f"{_FACTS} §6",
)
CANCEL_ORDER = Endpoint(
    "DELETE",
    "/iserver/account/{account_id}/order/{order_id}",
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # repeating is safe, but trading decides it and journals it first
    lane=Lane.ORDERS,
    source=f"{_FACTS} §7",
)
LIVE_ORDERS = Endpoint(
    "GET",
    "/iserver/account/orders",
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    limit=Limit(1, 5.0),
    source=f"{_FACTS} §9",
)
ORDER_STATUS = Endpoint(
    "GET",
    "/iserver/account/order/status/{order_id}",
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    source=f"{_FACTS} §10",
)
TRADES = Endpoint(
    "GET",
    "/iserver/account/trades",
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    limit=Limit(1, 5.0),
    source=f"{_FACTS} §11",
)
