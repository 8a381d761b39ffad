"""What does not leave past the order gateway, and what is told of a call that may not leave any more."""

from __future__ import annotations

from ibkit.errors import TradingError, Unreachable
from ibkit.wire.endpoint import Endpoint
from ibkit.wire.http import Request
from ibkit.wire.orders import CHANGES_ORDERS, PREVIEW_ORDERS, changes_orders

__all__ = ["harmless", "refuse_orders", "too_late"]


def refuse_orders(endpoint: Endpoint, request: Request) -> None:
    """There is one door for orders, and it has a key: whoever asks IBKR past it forgets the order when it crashes."""
    if endpoint in CHANGES_ORDERS or changes_orders(request.method, request.url):
        raise TradingError(
            f"{request.method} {endpoint.path} changes orders, which only the order gateway may",
            remedy="Use ib.place, ib.modify, ib.cancel or ib.sell_option_with_stop of ibkit.connect(): they keep a "
            "journal and limits.",
            details={"unsent": True},
        )


def too_late(endpoint: Endpoint) -> Unreachable:
    return Unreachable(
        f"{endpoint.method} {endpoint.path} was not sent: it would have left too late",
        code="E-TIMEOUT",
        remedy="Nothing was sent; it may be tried again.",
        details={"late": True},
    )


def harmless(endpoint: Endpoint) -> bool:
    """A preview books nothing. Source: docs/facts/orders.md §5."""
    return endpoint is PREVIEW_ORDERS
