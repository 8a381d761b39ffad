"""Heads of requests have a measure, with either parser of HTTP: bytes, lines, time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ibkit.service.heads import LARGEST_HEAD, MOST_LINES, bounded
from service_desks import Served

pytestmark = pytest.mark.requirement("GWY-11")

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
PARSERS: list[Any] = [HttpToolsProtocol, H11Protocol]


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"%d" % size})


@asynccontextmanager
async def server(parser: Any, within_s: float) -> AsyncIterator[int]:
    config = uvicorn.Config(
        _echo,
        http=bounded(parser, within_s=within_s),
        h11_max_incomplete_event_size=LARGEST_HEAD + 1,
        lifespan="off",
        log_config=None,
        ws="none",
    )
    running = uvicorn.Server(config)
    running.install_signal_handlers = lambda: None
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        while not running.started:  # noqa: ASYNC110  # uvicorn tells it by an attribute
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        running.should_exit = True
        await task


async def say(port: int, *parts: bytes, pause_s: float = 0.02) -> bytes:
    """All that is answered until the other side closes, or one answer to each of `parts`' whole requests came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), 5)
    except (ConnectionError, OSError):
        return b""
    finally:
        writer.close()


def run(parser: Any, work: Callable[[int], Any], *, within_s: float = 30.0) -> Any:
    async def inner() -> Any:
        async with server(parser, within_s) as port:
            return await work(port)

    return asyncio.run(inner())


CLOSE = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "parts",
    [
        (GET, b"X: " + b"x" * LARGEST_HEAD + b"\r\n" + CLOSE),
        (GET, *[b"X: " + b"x" * 4000 + b"\r\n"] * 9),
        (GET + b"".join(b"X%d: 1\r\n" % number for number in range(MOST_LINES + 1)) + CLOSE,),
        (b"GET /" + b"x" * LARGEST_HEAD + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE,),
    ],
    ids=["one header", "many parts", "many lines", "address"],
)
def test_a_head_beyond_its_measure_is_431_and_the_end_of_the_connection(parser: Any, parts: tuple[bytes, ...]) -> None:
    said = run(parser, lambda port: say(port, *parts))
    assert said.startswith(b"HTTP/1.1 431 "), said[:200]
    assert b'"code":"E-VALIDATION"' in said
    assert said.count(b"HTTP/1.1") == 1
    check_heads(said)


def check_heads(said: bytes) -> None:
    head = said.partition(b"\r\n\r\n")[0].lower()
    assert b"x-content-type-options: nosniff" in head
    assert b"frame-ancestors 'none'" in head
    assert b"application/problem+json" in head


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    "words", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET / HTTP/1.1\r\nno header\r\n\r\n"]
)
def test_what_is_no_http_has_the_headers_of_every_answer(parser: Any, words: bytes) -> None:
    said = run(parser, lambda port: say(port, words))
    assert said.startswith(b"HTTP/1.1 400 "), said[:200]
    assert b"it is no HTTP" in said
    assert said.count(b"HTTP/1.1 ") == 1
    check_heads(said)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_head_sent_byte_by_byte_is_closed_when_its_time_is_over(parser: Any) -> None:
    began = time.monotonic()
    said = run(parser, lambda port: say(port, *[bytes([each]) for each in GET], pause_s=0.05), within_s=0.4)
    assert said == b""
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("parser", PARSERS)
def test_a_connection_that_says_nothing_is_closed(parser: Any) -> None:
    assert run(parser, lambda port: say(port), within_s=0.3) == b""


@pytest.mark.parametrize("parser", PARSERS)
def test_what_has_its_measure_is_answered_however_it_is_cut(parser: Any) -> None:
    """A large body is no head, nor is a head that comes in two; the second request of a connection counts anew."""
    body = b"b" * (3 * LARGEST_HEAD)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    large = GET + b"X: " + b"x" * (LARGEST_HEAD // 2) + b"\r\n"
    for parts in ((post, large + CLOSE), (post[:30], post[30:], large, CLOSE), (large + b"\r\n", large + CLOSE)):
        said = run(parser, lambda port, parts=parts: say(port, *parts))
        assert said.count(b"HTTP/1.1 200 ") == 2, said[:300]


def test_the_service_has_these_bounds(mock_service: Served) -> None:
    where = urlsplit(mock_service.address)
    for lines in (10_000, 1):
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as call:
            call.sendall(GET + b"".join(b"X%d: %s\r\n" % (n, b"y" * (65_536 // lines)) for n in range(lines)))
            assert call.recv(64).startswith(b"HTTP/1.1 431 ")
