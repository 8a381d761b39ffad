"""The OpenAPI 3.1 description: written from the structs that the handlers take and give, and one table of operations.

Every object is closed (`additionalProperties: false`) but those that are maps by their nature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec

from ibkit.service.account_operations import ACCOUNTS
from ibkit.service.alert_operations import ALERTS
from ibkit.service.browsers import COOKIE
from ibkit.service.connection_operations import CONNECTIONS
from ibkit.service.credentials import (
    CredentialOverview,
    CredentialTest,
    CredentialWish,
    DeletedCredentials,
    KeptCredentials,
)
from ibkit.service.health import BrokerHealth, Health, Liveness, Readiness
from ibkit.service.ledger_operations import LEDGERS
from ibkit.service.market_operations import MARKET
from ibkit.service.metric_routes import METRICS
from ibkit.service.operation import Operation, query
from ibkit.service.order_answer import STATUSES, OrderAnswer, OrderList
from ibkit.service.order_timeline import OrderTimeline
from ibkit.service.order_wish import OrderChange, OrderWish
from ibkit.service.people_operations import PEOPLE
from ibkit.service.portfolio_operations import PORTFOLIOS
from ibkit.service.previews import OrderPreview
from ibkit.service.problems import PROBLEM_JSON, Problem
from ibkit.service.question_documents import AnswerForm, QuestionAnswered, QuestionList
from ibkit.service.sale_answer import SaleAnswer
from ibkit.service.sale_operations import SALES
from ibkit.service.trade_operations import TRADES
from ibkit.service.upkeep_routes import UPKEEP

__all__ = ["OPERATIONS", "BrokerInfo", "BrokerList", "Operation", "document"]

_REF = "#/components/schemas/{name}"


class BrokerInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    configured: bool
    missing: list[str]
    capabilities: list[str]


class BrokerList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[BrokerInfo]


_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Names this order. Repeated with the same order it gives that order; with another one 422.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{16,128}$"},
    "example": "4f1c2f0e-6f0b-4f6e-9d67-0a8f3c1f5b11",
}
_ID: Mapping[str, Any] = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    "example": "ib-a2c4e6a2c4e6a2c4e6a2c4e6a2c4e6a2",
}

_QUESTION: Mapping[str, Any] = {
    "name": "question_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    "example": "07a13a5a-4a48-44a5-bb25-5ab37b79186c",
}

_FILTERS = (
    query("broker", {"type": "string", "maxLength": 32}, "Whose orders; the configured broker's by default."),
    query("connection_id", {"type": "string", "maxLength": 64}, "By which of your connections; your default one's."),
    query("status", {"enum": ["open", *STATUSES]}, "Only those that stand so; open: all that may still work."),
    query("symbol", {"type": "string", "minLength": 1, "maxLength": 12}, "Only of this symbol."),
    query("since", {"type": "string", "format": "date-time"}, "Only those created then or later."),
    query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "How many at most."),
    query("cursor", {"type": "string", "maxLength": 64}, "`next` of the page before."),
)
_SINCE = (
    query("since", {"type": "string"}, "A moment, or the id of an event: what changed since then is told first."),
)
_LINES = (
    query("broker", {"type": "string", "maxLength": 32}, "Whose quotes; the configured broker's by default."),
    query("connection_id", {"type": "string", "maxLength": 64}, "By which of your connections; your default one's."),
    query("symbols", {"type": "string", "maxLength": 400}, "Stocks, separated by commas."),
    query("conids", {"type": "string", "maxLength": 400}, "IBKR's numbers of contracts, separated by commas."),
)
_MARKET = {"broker": "ibkr", "action": "buy", "symbol": "AAPL", "qty": 100, "order_type": "market"}
_WISHES = {
    "market": {**_MARKET, "time_in_force": "day"},
    "limit": {**_MARKET, "order_type": "limit", "limit_price": 180.5, "time_in_force": "gtc"},
    "bracket": {**_MARKET, "order_type": "limit", "limit_price": 180.5, "take_profit": 190, "stop_loss": 175},
    "option": {
        "broker": "ibkr",
        "action": "sell",
        "symbol": "SPY",
        "qty": 1,
        "expiry": "20261120",
        "strike": 629,
        "right": "P",
        "order_type": "limit",
        "limit_price": 1.25,
    },
}
_CONNECTION_ID: Mapping[str, Any] = {
    "name": "connection_id",
    "in": "path",
    "required": True,
    "description": "Your name for a connection; not `test` or `activate`.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
    "example": "paper-2",
}
_PEM = "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"
_CREDENTIALS = {
    "oauth2": {
        "method": "oauth2",
        "environment": "paper",
        "clientId": "MyFirm-Paper",
        "clientKeyId": "main",
        "privateKey": _PEM,
        "credential": "mypaperuser",
        "allowedIp": "203.0.113.7",
    },
    "oauth1a": {
        "method": "oauth1a",
        "environment": "paper",
        "consumerKey": "MYFIRMABC",
        "accessToken": "0123456789abcdef0123",
        "accessTokenSecret": "the text that the portal shows, base64",
        "signatureKey": _PEM,
        "encryptionKey": _PEM,
        "dhParams": "-----BEGIN DH PARAMETERS-----\n...\n-----END DH PARAMETERS-----\n",
    },
    "gateway": {"method": "gateway", "address": "https://localhost:5000", "username": "mypaperuser"},
}
_CREDENTIAL_READS = (400, 401, 403, 404, 503)
_CREDENTIAL_WRITES = (400, 401, 403, 404, 422, 429, 503)


def _for_connection(*operations: Operation) -> Iterator[Operation]:
    """Each for the connection `default`, and for one that is named."""
    base = "/api/settings/ibkr"
    for operation in operations:
        yield operation
        yield replace(
            operation,
            path=f"{base}/{{connection_id}}{operation.path.removeprefix(base)}",
            name=f"{operation.name}OfConnection",
            parameters=(_CONNECTION_ID,),
        )


_ORDER_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 424, 429, 502, 503, 504, 507)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/broker-order",
        method="post",
        name="placeOrder",
        summary="Place an order at most once for its key",
        answers={200: OrderAnswer, 201: OrderAnswer, 202: OrderAnswer},
        errors=_ORDER_ERRORS,
        takes=OrderWish,
        examples=_WISHES,
        parameters=(_KEY,),
        also_under_api=True,
    ),
    Operation(
        path="/broker-order",
        method="get",
        name="listOrders",
        summary="Your orders, newest first",
        answers={200: OrderList},
        errors=(400, 401, 403, 422, 503),
        parameters=_FILTERS,
        also_under_api=True,
    ),
    Operation(
        path="/broker-order/preview",
        method="post",
        name="previewOrder",
        summary="What an order would cost, and what each limit says of it; nothing is sent",
        answers={200: OrderPreview},
        errors=_ORDER_ERRORS,
        takes=OrderWish,
        examples=_WISHES,
        also_under_api=True,
    ),
    Operation(
        path="/broker-order/events",
        method="get",
        name="orderEvents",
        summary="Changes of your orders as server-sent events (event: order); also as a WebSocket",
        answers={200: None},
        errors=(400, 401, 403, 422, 429),
        parameters=_SINCE,
        also_under_api=True,
    ),
    Operation(
        path="/quotes/events",
        method="get",
        name="quoteEvents",
        summary="Quotes as they change, as server-sent events (event: quote); also as a WebSocket",
        answers={200: None},
        errors=(400, 401, 403, 404, 409, 422, 424, 429, 502, 503, 504),
        parameters=_LINES,
        also_under_api=True,
    ),
    Operation(
        path="/broker-order/{order_id}",
        method="get",
        name="showOrder",
        summary="One of your orders",
        answers={200: OrderAnswer},
        errors=(400, 401, 403, 404, 503),
        parameters=(_ID,),
        also_under_api=True,
    ),
    Operation(
        path="/broker-order/{order_id}/timeline",
        method="get",
        name="showOrderTimeline",
        summary="What happened to one of your orders, from the journal to reconciliation",
        answers={200: OrderTimeline},
        errors=(400, 401, 403, 404, 503),
        parameters=(_ID,),
        also_under_api=True,
    ),
    Operation(
        path="/broker-order/{order_id}",
        method="delete",
        name="cancelOrder",
        summary="Cancel an order; one that has ended is told as it is",
        answers={200: OrderAnswer, 202: OrderAnswer},
        errors=_ORDER_ERRORS,
        parameters=(_ID,),
        also_under_api=True,
    ),
    Operation(
        path="/broker-order/{order_id}",
        method="patch",
        name="changeOrder",
        summary="Change a working order at most once for its key",
        answers={200: OrderAnswer, 202: OrderAnswer},
        errors=_ORDER_ERRORS,
        takes=OrderChange,
        examples={"price": {"limit_price": 181.25}, "size": {"qty": 50}},
        parameters=(_ID, _KEY),
        also_under_api=True,
    ),
    Operation(
        path="/api/brokers",
        method="get",
        name="listBrokers",
        summary="Who can be traded with, and what each can do",
        answers={200: BrokerList},
        errors=(400, 401, 403),
    ),
    Operation(
        path="/api/questions",
        method="get",
        name="listQuestions",
        summary="IBKR's questions that wait for a person; whoever asks this is asked, for half a minute",
        answers={200: QuestionList},
        errors=(400, 401, 403),
        counted=False,
    ),
    Operation(
        path="/api/questions/{question_id}/answer",
        method="post",
        name="answerQuestion",
        summary="Answer one of them; the first answer counts",
        answers={200: QuestionAnswered},
        errors=(400, 401, 403, 404, 408, 409, 413, 415, 422, 429),
        takes=AnswerForm,
        examples={"yes": {"answer": True}, "no": {"answer": False}},
        parameters=(_QUESTION,),
    ),
    *CONNECTIONS,
    *ACCOUNTS,
    *ALERTS,
    *TRADES,
    Operation(
        path="/api/settings/ibkr",
        method="get",
        name="showCredentials",
        summary="Your credentials as masks: of the connection `default`, and of all",
        answers={200: CredentialOverview},
        errors=_CREDENTIAL_READS,
    ),
    *_for_connection(
        Operation(
            path="/api/settings/ibkr",
            method="post",
            name="putCredentials",
            summary="Store credentials of a connection; those in use stay in use until these have passed their test",
            answers={200: KeptCredentials},
            errors=(*_CREDENTIAL_WRITES, 413, 415),
            takes=CredentialWish,
            examples=_CREDENTIALS,
        ),
        Operation(
            path="/api/settings/ibkr",
            method="delete",
            name="deleteCredentials",
            summary="Delete all that is stored of a connection",
            answers={200: DeletedCredentials},
            errors=_CREDENTIAL_WRITES,
        ),
        Operation(
            path="/api/settings/ibkr/test",
            method="post",
            name="testCredentials",
            summary="Sign in with what waits, else with what is in use; what passes is in use from then on",
            answers={200: CredentialTest},
            errors=_CREDENTIAL_WRITES,
        ),
        Operation(
            path="/api/settings/ibkr/activate",
            method="post",
            name="activateCredentials",
            summary="Put what waits in use, after its test; refused with whatever the test failed by",
            answers={200: KeptCredentials},
            errors=(*_CREDENTIAL_WRITES, 409, 424, 502, 504),
        ),
    ),
    Operation(
        path="/api/settings/ibkr/{connection_id}",
        method="get",
        name="showConnectionCredentials",
        summary="Your credentials of one connection as masks",
        answers={200: KeptCredentials},
        errors=_CREDENTIAL_READS,
        parameters=(_CONNECTION_ID,),
    ),
    Operation(
        path="/livez",
        method="get",
        name="live",
        summary="Whether the process lives",
        answers={200: Liveness},
        signed=False,
    ),
    Operation(
        path="/readyz",
        method="get",
        name="ready",
        summary="Whether it takes orders, and which layer is down",
        answers={200: Readiness, 503: Readiness},
        signed=False,
    ),
    Operation(
        path="/health",
        method="get",
        name="health",
        summary="All layers",
        answers={200: Health, 503: Health},
        signed=False,
    ),
    Operation(
        path="/health/broker",
        method="get",
        name="brokerHealth",
        summary="Whether the broker is reached",
        answers={200: BrokerHealth, 503: BrokerHealth},
        signed=False,
    ),
    *PEOPLE,
    *PORTFOLIOS,
    *LEDGERS,
    *METRICS,
    *UPKEEP,
    *MARKET,
    *SALES,
)


@cache
def document() -> dict[str, Any]:
    """The whole description, as JSON takes it."""
    kinds = dict.fromkeys(
        kind
        for operation in OPERATIONS
        for kind in (*operation.answers.values(), operation.takes, Problem)
        if kind is not None
    )
    _, schemas = msgspec.json.schema_components(list(kinds), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, operation.name)
    for operation in OPERATIONS:
        if operation.also_under_api:
            place = paths.setdefault(f"/api{operation.path}", {})
            place[operation.method] = _described(operation, f"{operation.name}UnderApi")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ibkit",
            "version": version("ibkit"),
            "description": "Orders at Interactive Brokers that are never sent twice.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: _numbers(schema) for name, schema in sorted(schemas.items())},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "browser": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _described(operation: Operation, name: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": name,
        "summary": operation.summary,
        "security": [{"bearer": []}, {"browser": []}] if operation.signed else [],
        "responses": {
            **{str(status): _answer(status, kind, operation) for status, kind in operation.answers.items()},
            **{str(status): _problem() for status in _errors(operation)},
        },
    }
    if operation.parameters:
        told["parameters"] = [dict(each) for each in operation.parameters]
    if operation.takes is not None:
        told["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REF.format(name=operation.takes.__name__)},
                    "examples": {name: {"value": value} for name, value in operation.examples.items()},
                }
            },
        }
    if operation.takes_file:
        content: dict[str, dict[str, Any]] = {
            each: {"schema": {"type": "object" if "json" in each else "string"}} for each in operation.takes_file
        }
        content[operation.takes_file[0]]["examples"] = {
            key: {"value": each} for key, each in operation.examples.items()
        }
        told["requestBody"] = {"required": True, "content": content}
    return told


def _errors(operation: Operation) -> list[int]:
    reads = operation.signed and operation.counted and operation.method == "get"
    return sorted({*operation.errors, *((429,) if reads else ())})


def _answer(status: int, kind: type[msgspec.Struct] | None, operation: Operation) -> dict[str, Any]:
    if operation.gives_file:
        content = {each: {"schema": {"type": "string"}} for each in operation.gives_file}
        return {"description": "the file", "content": content}
    if kind is None:
        return {"description": "events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    placed = kind in (OrderAnswer, SaleAnswer)
    words = {201: "placed", 202: "not settled yet; see Location and Retry-After"} if placed else {}
    told: dict[str, Any] = {
        "description": words.get(status, "as asked"),
        "content": {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}},
    }
    if placed and status in (201, 202):
        told["headers"] = {"Location": {"schema": {"type": "string"}}}
    return told


def _problem() -> dict[str, Any]:
    schema = {"$ref": _REF.format(name=Problem.__name__)}
    return {"description": "refused, with code and remedy", "content": {PROBLEM_JSON: {"schema": schema}}}


def _numbers(schema: Any) -> Any:
    """Decimals are exact JSON numbers here; msgspec would describe them as texts."""
    match schema:
        case {"type": "string", "format": "decimal", **rest}:
            return {"type": "number", **rest}
        case dict():
            return {name: _numbers(value) for name, value in schema.items()}
        case list():
            return [_numbers(value) for value in schema]
        case _:
            return schema
