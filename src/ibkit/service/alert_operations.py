"""The operations on alerts, as the description of the interface tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service.alert_documents import (
    AcknowledgeForm,
    AlertAnswer,
    AlertChannelAnswer,
    AlertChannelForm,
    AlertChannelKept,
    AlertChannelList,
    AlertChannelSwitch,
    AlertList,
    AlertTestForm,
    AlertTests,
)
from ibkit.service.operation import Operation, query

__all__ = ["ALERTS"]

_ID: Mapping[str, Any] = {
    "name": "alert_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    "example": "0a4c2f0e-6f0b-4f6e-9d67-0a8f3c1f5b11",
}
_CHANNEL: Mapping[str, Any] = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    "example": "pager",
}
_WRITES = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)

ALERTS: tuple[Operation, ...] = (
    Operation(
        path="/api/alerts",
        method="get",
        name="listAlerts",
        summary="Your alerts, the open ones first, with what became of each message",
        answers={200: AlertList},
        errors=(400, 401, 403, 422, 503),
        parameters=(
            query("closed", {"enum": ["true", "false"], "default": "true"}, "Those that are over, too."),
            query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "How many at most."),
        ),
    ),
    Operation(
        path="/api/alerts/{alert_id}/acknowledge",
        method="post",
        name="acknowledgeAlert",
        summary="Say that you look after it: it is told no more, unless it grows worse",
        answers={200: AlertAnswer},
        errors=_WRITES,
        takes=AcknowledgeForm,
        examples={"plain": {}, "noted": {"note": "I am at IBKR's order window"}},
        parameters=(_ID,),
    ),
    Operation(
        path="/api/alerts/channels",
        method="get",
        name="listAlertChannels",
        summary="By which channels people are told, with masked addresses and the last result",
        answers={200: AlertChannelList},
        errors=(400, 401, 403, 503),
    ),
    Operation(
        path="/api/alerts/channels",
        method="post",
        name="keepAlertChannel",
        summary="Store a channel of yours (or, as administrator, of the installation), or change it by its name",
        answers={200: AlertChannelKept},
        errors=(*_WRITES, 409, 507),
        takes=AlertChannelForm,
        examples={
            "webhook": {"name": "pager", "address": "https://hooks.example.com/ibkit", "severities": ["critical"]},
            "chat": {"name": "desk", "address": "slack://TokenA/TokenB/TokenC", "of_installation": True},
        },
    ),
    Operation(
        path="/api/alerts/channels/{name}",
        method="delete",
        name="removeAlertChannel",
        summary="Forget a stored channel",
        answers={200: AlertChannelAnswer},
        errors=(400, 401, 403, 404, 409, 422, 429, 503),
        parameters=(
            _CHANNEL,
            query("of_installation", {"enum": ["true", "false"]}, "Of two by that name that one; else one's own."),
        ),
    ),
    Operation(
        path="/api/alerts/channels/{name}/switch",
        method="post",
        name="switchAlertChannel",
        summary="Switch a stored channel on or off",
        answers={200: AlertChannelAnswer},
        errors=(*_WRITES, 409),
        takes=AlertChannelSwitch,
        examples={"off": {"enabled": False}},
        parameters=(_CHANNEL,),
    ),
    Operation(
        path="/api/alerts/test",
        method="post",
        name="testAlertChannels",
        summary="Send a test message by your channels now, and tell what each answered",
        answers={200: AlertTests},
        errors=_WRITES,
        takes=AlertTestForm,
        examples={"all": {}, "one": {"channel": "webhook"}},
    ),
)
