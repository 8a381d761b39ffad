"""The operations of selling options, as the description of the interface tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service.operation import Operation
from ibkit.service.sale_answer import SaleAnswer, SalePreviewAnswer
from ibkit.service.sale_wish import SaleWish

__all__ = ["SALES"]

_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 424, 429, 502, 503, 504, 507)
_KEY_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{16,128}$"}
_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Names this sale. Repeated it goes on where it was and never sells twice; with another sale 422.",
    "schema": _KEY_SCHEMA,
    "example": "4f1c2f0e-6f0b-4f6e-9d67-0a8f3c1f5b11",
}
_NAMED: Mapping[str, Any] = {
    "name": "key",
    "in": "path",
    "required": True,
    "description": "The sale's Idempotency-Key.",
    "schema": _KEY_SCHEMA,
    "example": "4f1c2f0e-6f0b-4f6e-9d67-0a8f3c1f5b11",
}
_PUT = {"side": "put", "symbol": "SPY", "expiry": "2026-11-20", "quantity": 1}
_WISHES = {
    "put": {**_PUT, "put_strike": 625, "stop_multiple": 5},
    "strangle": {**_PUT, "side": "both", "delta": 0.16, "trail_pct": 50, "take_profit_pct": 50},
    "condor": {**_PUT, "side": "both", "put_strike": 620, "call_strike": 640, "width": 5},
    "live": {**_PUT, "put_strike": 625, "live": True, "confirm_account": "U1234567", "account_id": "U1234567"},
}

SALES: tuple[Operation, ...] = (
    Operation(
        path="/api/option-sale",
        method="post",
        name="sellOptions",
        summary="Sell a put, a call or both, alone or as spreads, each with a stop; at most once for its key",
        answers={200: SaleAnswer, 201: SaleAnswer, 202: SaleAnswer},
        errors=_ERRORS,
        takes=SaleWish,
        examples=_WISHES,
        parameters=(_KEY,),
    ),
    Operation(
        path="/api/option-sale/preview",
        method="post",
        name="previewOptionSale",
        summary="What a sale would be: legs, credit, stops, margin, losses, and what each limit says; nothing is sent",
        answers={200: SalePreviewAnswer},
        errors=_ERRORS,
        takes=SaleWish,
        examples=_WISHES,
    ),
    Operation(
        path="/api/option-sale/{key}",
        method="get",
        name="showOptionSale",
        summary="How a sale of yours stands, by its key",
        answers={200: SaleAnswer},
        errors=(400, 401, 403, 404, 503),
        parameters=(_NAMED,),
    ),
)
