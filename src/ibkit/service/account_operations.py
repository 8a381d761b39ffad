"""The operations on accounts and positions, as the description of the interface tells them."""

from __future__ import annotations

from ibkit.service.account_documents import AccountNow, PositionsAnswer
from ibkit.service.operation import Operation, query

__all__ = ["ACCOUNTS"]

_WHOSE = (
    query("account_id", {"type": "string", "minLength": 1, "maxLength": 32}, "The connection's account by default."),
    query("broker", {"type": "string", "maxLength": 32}, "At which broker; the configured one by default."),
    query("connection_id", {"type": "string", "maxLength": 64}, "Of which of your connections; your default one's."),
)
_ERRORS = (400, 401, 403, 404, 409, 422, 424, 429, 502, 503, 504)

ACCOUNTS: tuple[Operation, ...] = (
    Operation(
        path="/api/account",
        method="get",
        name="showAccount",
        summary="What an account is worth, with margins and results, and how old each answer is",
        answers={200: AccountNow},
        errors=_ERRORS,
        parameters=_WHOSE,
        counted=False,
    ),
    Operation(
        path="/api/positions",
        method="get",
        name="listPositions",
        summary="What an account holds at the latest prices, and what protects it",
        answers={200: PositionsAnswer},
        errors=_ERRORS,
        parameters=_WHOSE,
        counted=False,
    ),
)
