"""A small TLS server that counts what arrives and misbehaves on request."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trustme

from ibkit.client.transport import Transport
from ibkit.client.transports.aiohttp import AiohttpTransport
from ibkit.client.transports.pyreqwest import PyreqwestTransport


@dataclass
class Server:
    """behave: what to do with the request whose head was read; copies: how often each `METHOD path` came."""

    port: int = 0
    copies: Counter[str] = field(default_factory=Counter)
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def answer(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(head).encode() + body


async def _serve(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    server.connections += 1
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split("\r\n")[0].split(" ")
            length = next(
                (int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0
            )
            await reader.readexactly(length)
            server.copies[f"{method} {path}"] += 1
            server.heads.append(head)
            if not await _behave(path, writer):
                break
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
        pass  # the client went away, or the test is over
    finally:
        writer.close()


async def _behave(path: str, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection lives on."""
    match path:
        case "/close":
            return False
        case "/half":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{")
            await writer.drain()
            return False
        case "/stall":
            await asyncio.sleep(30)
            return False
        case "/drip":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            for _ in range(100):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        case "/redirect":
            writer.write(answer(b"", "302 Found", "Location: https://example.org/"))
        case "/html":
            writer.write(answer(b"<html>busy</html>", "502 Bad Gateway", "Content-Type: text/html"))
        case "/gzip":
            writer.write(answer(gzip.compress(b'{"a":1}'), "200 OK", "Content-Encoding: gzip"))
        case "/huge":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
            for _ in range(1600):
                writer.write(bytes(65536))
                await writer.drain()
        case "/bomb":
            writer.write(answer(gzip.compress(bytes(64 * 1024 * 1024)), "200 OK", "Content-Encoding: gzip"))
        case "/cookie":
            writer.write(answer(b"{}", "200 OK", "Set-Cookie: api=secret; Secure"))
        case "/once":
            writer.write(answer(b"{}"))
            await writer.drain()
            return False
        case _:
            writer.write(answer(b"{}", "200 OK", "X-Trace: abc"))
    await writer.drain()
    return True


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serving(authority: trustme.CA) -> Callable[..., object]:
    """`async with serving() as server`: on a free port of the loopback, with a certificate of `authority`."""

    @asynccontextmanager
    async def run(ca: trustme.CA = authority) -> AsyncIterator[Server]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        server = Server()
        listener = await asyncio.start_server(
            lambda reader, writer: _serve(server, reader, writer), "127.0.0.1", 0, ssl=context
        )
        server.port = listener.sockets[0].getsockname()[1]
        try:
            yield server
        finally:
            listener.close()

    return run


Make = Callable[[Server], Awaitable[Transport]]


@pytest.fixture(params=["pyreqwest", "aiohttp"])
def connect(request: pytest.FixtureRequest, authority: trustme.CA) -> Callable[[str], Transport]:
    """Makes one of the two transports for an address."""
    pem = authority.cert_pem.bytes()
    if request.param == "pyreqwest":
        return lambda url: PyreqwestTransport(ca=pem, direct=True)
    return lambda url: AiohttpTransport(url, ca=pem)
