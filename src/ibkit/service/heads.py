"""The head of a request has a measure: so many bytes, so many lines, so much time. What is beyond any is closed.

    bytes, lines   431 with a problem, and the connection ends: a parser keeps what it was given
    time           closed without an answer: who sends a head byte by byte holds a connection that others need
    no HTTP        400 with a problem and the headers of every other answer, which uvicorn's own has not

uvicorn bounds neither with its quick parser, and the time with none. Source: reliability rules §6.1.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

from ibkit.errors import ConfigError
from ibkit.service.door import ALWAYS
from ibkit.service.problems import problem_of
from ibkit.service.refusals import Refusal

__all__ = ["LARGEST_HEAD", "MOST_LINES", "WITHIN_S", "bounded"]

LARGEST_HEAD: Final = 32 * 1024
MOST_LINES: Final = 200
WITHIN_S: Final = 10.0
_END: Final = b"\r\n\r\n"


def bounded(protocol: Any, *, within_s: float = WITHIN_S) -> Any:
    """A protocol class of uvicorn's with these bounds."""

    class Bounded(protocol):  # type: ignore[misc]  # uvicorn chooses the class when it starts
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._size = self._lines = 0
            self._tail = b""
            self._too_slow: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            if self.cycle is not None and self.cycle.more_body:
                super().data_received(data)
                return
            if self._too_slow is None:
                self._begin()
            joined = self._tail + data
            end = joined.find(_END)
            head = joined if end < 0 else joined[:end]
            self._size += len(head) - len(self._tail)
            self._lines += head.count(b"\n") - self._tail.count(b"\n")
            if self._size > LARGEST_HEAD or self._lines > MOST_LINES:
                self._refuse()
                return
            self._tail = head[-len(_END) + 1 :]
            super().data_received(data)
            if end >= 0:
                self._done()

        def connection_lost(self, exc: Exception | None) -> None:
            self._done()
            super().connection_lost(exc)

        def _begin(self) -> None:
            self._size = self._lines = 0
            self._tail = b""
            self._too_slow = self.loop.call_later(within_s, self.transport.close)

        def _done(self) -> None:
            if self._too_slow is not None:
                self._too_slow.cancel()
                self._too_slow = None

        def _refuse(self) -> None:
            self._end(b"431 Request Header Fields Too Large", _too_large())

        def send_400_response(self, msg: str) -> None:
            """In uvicorn's place. msg: its own words, which say nothing of what was wrong."""
            self._end(b"400 Bad Request", _no_http())

        def _end(self, status: bytes, refusal: Refusal) -> None:
            self._done()
            if self.cycle is None or self.cycle.response_complete:  # else into the middle of an answer
                self.transport.write(_answer(status, refusal))
            self.transport.close()

    return Bounded


def _answer(status: bytes, refusal: Refusal) -> bytes:
    reply = problem_of(refusal, trace_id=uuid.uuid4().hex, path="")
    lines = [b"HTTP/1.1 " + status, b"Connection: close", *(b"%s: %s" % pair for pair in ALWAYS)]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in reply.headers.items()]
    lines.append(b"Content-Length: %d" % len(reply.body))
    return b"\r\n".join(lines) + _END + reply.body


def _no_http() -> Refusal:
    remedy = "Send HTTP/1.1; a client that speaks TLS has to go through the proxy that ends it."
    return Refusal(400, ConfigError("Invalid request: it is no HTTP", code="E-VALIDATION", remedy=remedy))


def _too_large() -> Refusal:
    why = f"they are more than {LARGEST_HEAD} bytes or {MOST_LINES} lines"
    details = {"errors": [{"field": "headers", "message": why}]}
    return Refusal(
        431,
        ConfigError(
            f"Invalid request: headers: {why}",
            code="E-VALIDATION",
            remedy="Send a shorter address and fewer headers.",
            details=details,
        ),
    )
