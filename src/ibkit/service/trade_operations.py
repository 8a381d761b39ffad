"""The operations on trades, as the description of the interface tells them."""

from __future__ import annotations

from ibkit.service.operation import Operation, query
from ibkit.service.trade_documents import TradeList, TradePerformanceAnswer

__all__ = ["TRADES"]

_DAY = {"type": "string", "format": "date"}
_FILTERS = (
    query("symbol", {"type": "string", "minLength": 1, "maxLength": 12}, "Only of this underlying."),
    query("since", _DAY, "First day, in UTC."),
    query("until", _DAY, "Last day, in UTC."),
    query("account_id", {"type": "string", "minLength": 1, "maxLength": 32}, "Only of this account."),
    query("broker", {"type": "string", "minLength": 1, "maxLength": 32}, "At which broker; the configured one's."),
    query("connection_id", {"type": "string", "minLength": 1, "maxLength": 64}, "By which of your connections."),
)
_ERRORS = (400, 401, 403, 404, 409, 422, 503)

TRADES: tuple[Operation, ...] = (
    Operation(
        path="/api/trades",
        method="get",
        name="listTrades",
        summary="Your trades of the option seller, newest first",
        answers={200: TradeList},
        errors=_ERRORS,
        parameters=(
            query("status", {"enum": ["open", "closed"]}, "Only open or closed ones."),
            *_FILTERS,
            query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 200}, "How many at most."),
        ),
    ),
    Operation(
        path="/api/trades/performance",
        method="get",
        name="tradePerformance",
        summary="Closed trades as a whole: wins, losses, total, and the days",
        answers={200: TradePerformanceAnswer},
        errors=_ERRORS,
        parameters=_FILTERS,
    ),
)
