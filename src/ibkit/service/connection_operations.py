"""The operations on connections, as the description of the interface tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service.connection_documents import (
    ConnectionInfo,
    ConnectionList,
    ConnectionWish,
    DeletedConnection,
    LoggedOut,
    SessionHistory,
    SessionStatus,
    TakeOver,
)
from ibkit.service.connection_status import ConnectionStatus, ConnectionTest
from ibkit.service.health import BrokerHealth
from ibkit.service.onboarding_documents import ONBOARDING
from ibkit.service.operation import Operation, query

__all__ = ["CONNECTIONS"]

_NAME = {"type": "string", "minLength": 1, "maxLength": 64}
_WHICH = (query("connection_id", _NAME, "Which of your connections; your default one by default."),)
_DAYS = query("days", {"type": "integer", "minimum": 1, "maximum": 90, "default": 7}, "How far back.")
_AFTER = query("after", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "Those after this number first.")
_PLACE: Mapping[str, Any] = {
    "name": "connection_id",
    "in": "path",
    "required": True,
    "schema": _NAME,
    "example": "second",
}
_READ_ERRORS = (400, 401, 403, 404, 409, 422, 503)
_ACT_ERRORS = (400, 401, 403, 404, 409, 422, 424, 429, 502, 503, 504)
_OWN_ERRORS = (400, 401, 403, 404, 409, 422, 429, 503)

CONNECTIONS: tuple[Operation, ...] = (
    *ONBOARDING,
    Operation(
        path="/api/ibkr/status",
        method="get",
        name="connectionStatus",
        summary="How the login stands, from what is known; no call is made",
        answers={200: ConnectionStatus},
        errors=_READ_ERRORS,
        parameters=_WHICH,
        counted=False,
    ),
    Operation(
        path="/api/ibkr/test",
        method="post",
        name="testConnection",
        summary="Run the four steps of the sign-in now, and read the accounts",
        answers={200: ConnectionTest},
        errors=_READ_ERRORS,
        parameters=_WHICH,
    ),
    Operation(
        path="/api/ibkr/session",
        method="get",
        name="sessionStatus",
        summary="The session, looked at now unless it was within five seconds, with its three clocks",
        answers={200: SessionStatus},
        errors=_READ_ERRORS,
        parameters=_WHICH,
    ),
    Operation(
        path="/api/ibkr/session/history",
        method="get",
        name="sessionHistory",
        summary="Sessions, events and availability of the last days",
        answers={200: SessionHistory},
        errors=_READ_ERRORS,
        parameters=(*_WHICH, _DAYS),
    ),
    Operation(
        path="/api/ibkr/events",
        method="get",
        name="connectionEvents",
        summary="What happens to your connections as server-sent events (event: connection); also as a WebSocket",
        answers={200: None},
        errors=(400, 401, 403, 422, 429, 503),
        parameters=(_AFTER,),
    ),
    Operation(
        path="/api/ibkr/connect",
        method="post",
        name="connect",
        summary="Connect; a pause after failed sign-ins is over, too",
        answers={200: SessionStatus},
        errors=_ACT_ERRORS,
        parameters=_WHICH,
    ),
    Operation(
        path="/api/ibkr/reconnect",
        method="post",
        name="reconnect",
        summary="Open the brokerage session anew",
        answers={200: SessionStatus},
        errors=_ACT_ERRORS,
        parameters=_WHICH,
    ),
    Operation(
        path="/api/ibkr/take-over",
        method="post",
        name="takeOver",
        summary="Take the session over from another login of the user name",
        answers={200: SessionStatus},
        errors=(*_ACT_ERRORS, 413, 415),
        takes=TakeOver,
        examples={"confirmed": {"confirm": True}},
        parameters=_WHICH,
    ),
    Operation(
        path="/api/ibkr/logout",
        method="post",
        name="logout",
        summary="Log out; nothing is sent until somebody connects again",
        answers={200: LoggedOut},
        errors=_ACT_ERRORS,
        parameters=_WHICH,
    ),
    Operation(
        path="/api/ibkr/connections",
        method="get",
        name="listConnections",
        summary="Your connections, the default one first",
        answers={200: ConnectionList},
        errors=(400, 401, 403, 503),
    ),
    Operation(
        path="/api/ibkr/connections",
        method="post",
        name="createConnection",
        summary="A further connection; its credentials follow (ENABLE_MULTI_USER)",
        answers={201: ConnectionInfo},
        errors=(*_OWN_ERRORS, 413, 415),
        takes=ConnectionWish,
        examples={
            "cloud": {"connection_id": "second", "method": "oauth2", "environment": "paper", "label": "Second login"},
            "gateway": {"connection_id": "desk", "method": "gateway", "address": "https://localhost:5001"},
        },
    ),
    Operation(
        path="/api/ibkr/connections/{connection_id}/default",
        method="post",
        name="setDefaultConnection",
        summary="Make it the one that is meant where none is named",
        answers={200: ConnectionList},
        errors=_OWN_ERRORS,
        parameters=(_PLACE,),
    ),
    Operation(
        path="/api/ibkr/connections/{connection_id}",
        method="delete",
        name="deleteConnection",
        summary="Log it out and delete it with its credentials and history",
        answers={200: DeletedConnection},
        errors=_OWN_ERRORS,
        parameters=(_PLACE,),
    ),
    Operation(
        path="/health/broker/{connection_id}",
        method="get",
        name="connectionHealth",
        summary="Whether this connection of yours reaches the broker",
        answers={200: BrokerHealth, 503: BrokerHealth},
        errors=(400, 401, 403, 404),
        parameters=(_PLACE,),
    ),
)
