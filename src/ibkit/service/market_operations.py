"""The operations of looking around the market, as the description of the interface tells them."""

from __future__ import annotations

from ibkit.service.market_documents import ChainAnswer, ContractsFound
from ibkit.service.market_routes import MOST_STRIKES
from ibkit.service.operation import Operation, query
from ibkit.service.requests import LONGEST_SYMBOL

__all__ = ["MARKET"]

_ERRORS = (400, 401, 403, 404, 409, 422, 424, 502, 503, 504)
_SYMBOL = {"type": "string", "minLength": 1, "maxLength": LONGEST_SYMBOL}
_WHERE = (
    query("broker", {"type": "string", "maxLength": 32}, "Whose; the configured broker's by default."),
    query("connection_id", {"type": "string", "maxLength": 64}, "By which of your connections; your default one's."),
)


MARKET: tuple[Operation, ...] = (
    Operation(
        path="/api/contracts",
        method="get",
        name="findContracts",
        summary="What a symbol may mean: contracts with their exchange, and the months of their options",
        answers={200: ContractsFound},
        errors=_ERRORS,
        parameters=({**query("q", _SYMBOL, "The symbol."), "required": True, "example": "SPY"}, *_WHERE),
    ),
    Operation(
        path="/api/options/chain",
        method="get",
        name="optionChain",
        summary="The puts and calls of one day around the price, with quotes and greeks",
        answers={200: ChainAnswer},
        errors=_ERRORS,
        parameters=(
            {**query("symbol", _SYMBOL, "The underlying."), "required": True, "example": "SPY"},
            query("expiry", {"type": "string", "format": "date"}, "The day; the next one that is listed by default."),
            query(
                "strikes",
                {"type": "integer", "minimum": 1, "maximum": MOST_STRIKES, "default": 20},
                "How many strikes, those nearest to the price.",
            ),
            *_WHERE,
        ),
    ),
)
