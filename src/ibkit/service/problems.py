"""Errors as `application/problem+json`: the code, the message, the remedy and a trace id, never a traceback.

Source: requirement ERR-02.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from ibkit.errors import IbkitError, RateLimited
from ibkit.service.refusals import Refusal

__all__ = ["PROBLEM_JSON", "Problem", "ProblemError", "Reply", "encode", "problem_of"]

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"


class ProblemError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    message: str
    remedy: list[str]
    trace_id: str
    details: dict[str, Any]


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    title: str
    status: int
    detail: str
    error: ProblemError


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent: status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)


def encode(value: Any) -> bytes:
    """JSON of an answer: decimals as exact numbers."""
    return _encoder.encode(value)


def problem_of(error: IbkitError | Refusal, *, trace_id: str, path: str, now: datetime | None = None) -> Reply:
    """The answer that tells `error`; it is logged by its code and trace id.

    now: by the clock of the login, for a pause that IBKR asks for.
    """
    status, headers = (error.status, error.headers) if isinstance(error, Refusal) else (0, {})
    told = error.error if isinstance(error, Refusal) else error
    status = status or told.http_status
    headers = {**_headers(told, status, now), **headers, "Content-Type": PROBLEM_JSON, "X-Trace-Id": trace_id}
    level = logging.ERROR if status >= 500 else logging.INFO
    log.log(level, "refused", extra={"code": told.code, "trace_id": trace_id, "path": path, "status": status})
    remedy = [line for line in told.remedy.split("\n") if line]
    problem = Problem(
        type=f"urn:ibkit:error:{told.code}",
        title=told.entry.when,
        status=status,
        detail=f"{told.message.rstrip('.')}. {remedy[0] if remedy else ''}".strip(),
        error=ProblemError(
            code=told.code,
            message=told.message,
            remedy=remedy,
            trace_id=trace_id,
            details={name: value for name, value in told.details.items() if name not in _INWARD},
        ),
    )
    return Reply(status, headers, encode(problem))


_INWARD = ("unsent", "late", "path", "excerpt", "body")
"""Of details: what says where in our own work it happened, or what a broker wrote; the log has it."""


def _headers(error: IbkitError, status: int, now: datetime | None) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if "retry_after" in error.details:
        return {"Retry-After": str(error.details["retry_after"])}
    if isinstance(error, RateLimited) and error.retry_at is not None and now is not None:
        return {"Retry-After": str(max(1, round((error.retry_at - now).total_seconds())))}
    return {}
