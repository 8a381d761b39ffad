"""Spans and trace ids: what belongs to one request, told to OpenTelemetry where the program uses it.

Nothing is imported: a program that records spans has loaded `opentelemetry.trace` itself, and in any other there is
nobody to tell. A span is made for an order's way and for each call to IBKR, none for a tick. Attributes are names,
numbers and codes, never an account, an order's content or a secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Span", "recording", "span", "trace_id", "traced"]

_trace: ContextVar[str] = ContextVar("ibkit_trace", default="")
_API = "opentelemetry.trace"


class Span:
    """One span, or none where nobody records."""

    __slots__ = ("_span",)

    def __init__(self, inner: Any = None) -> None:
        self._span = inner

    def set(self, name: str, value: str | int | float | bool) -> None:
        if self._span is not None:
            self._span.set_attribute(name, value)

    def failed(self, code: str) -> None:
        """It ended with this error; the text stays out of it, for it may quote the broker."""
        if self._span is not None:
            api = sys.modules[_API]
            self._span.set_attribute("error.type", code)
            self._span.set_status(api.Status(api.StatusCode.ERROR, code))


_NONE = Span()


def recording() -> bool:
    """Whether somebody may listen, or lines are to be found by a trace id."""
    return _API in sys.modules or bool(_trace.get())


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[Span]:
    """The block as a span of that name; the current one is its parent."""
    api = sys.modules.get(_API)
    if api is None:
        yield _NONE
        return
    tracer = api.get_tracer("ibkit")
    # What is raised within is not recorded: an exception's text and frames are no attributes.
    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as inner:
        current = Span(inner)
        try:
            yield current
        except Exception as error:
            current.failed(str(getattr(error, "code", type(error).__name__)))
            raise


def trace_id() -> str | None:
    """The id of the request under way: ours where `traced` gave one, else that of the recorded span; None: neither."""
    ours = _trace.get()
    if ours:
        return ours
    api = sys.modules.get(_API)
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


@contextmanager
def traced(name: str) -> Iterator[None]:
    """Everything within belongs to the request `name`: its log lines, its errors."""
    token = _trace.set(name)
    try:
        yield
    finally:
        _trace.reset(token)
