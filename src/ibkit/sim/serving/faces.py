"""The two TLS faces and the plain control face, over aiohttp. They carry bytes; every decision is the server core's."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from aiohttp import HttpVersion11, WSMsgType, web
from multidict import CIMultiDict

from ibkit.errors import ConfigError, IbkitError
from ibkit.sim.serving.certificates import face_files, make_face_certificate
from ibkit.sim.serving.control import PREFIX, Control
from ibkit.sim.serving.server import Face, Outcome, SimServer
from ibkit.sim.serving.stream import Stream, open_stream
from ibkit.wire.http import Request

__all__ = ["Faces", "check_port"]

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_BODY = 16 * 1024 * 1024
_NO_TYPE = "x-ibkit-no-content-type"
_LOOK_EVERY_S = 0.05
"""How often an open WebSocket looks for frames that are due."""
_MAX_COMMAND = 1024 * 1024


class Faces:
    """Listens on three ports of `host`; 0 picks a free one. `folder` holds the certificates."""

    def __init__(
        self, server: SimServer, *, folder: Path, host: str = "127.0.0.1", gateway_port: int = 0, cloud_port: int = 0
    ) -> None:
        self._server = server
        self._folder = folder
        self._host = host
        self._wanted = {"gateway": gateway_port, "cloud": cloud_port, "control": 0}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._runners: list[web.AppRunner] = []
        self._control = Control(server, rotate=self.rotate)
        self.ports: dict[str, int] = {}

    @property
    def gateway_url(self) -> str:
        return f"https://{self._name}:{self.ports['gateway']}"

    @property
    def cloud_url(self) -> str:
        return f"https://{self._name}:{self.ports['cloud']}"

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['control']}"

    @property
    def _name(self) -> str:
        return "localhost" if self._host in ("127.0.0.1", "localhost", "0.0.0.0", "::1") else self._host  # noqa: S104

    async def start(self) -> None:
        """Open all three. Raises E-GW-PORT-TAKEN when a port is in use; then nothing stays open."""
        try:
            await self._open("gateway", self._api("gateway"), self._host)
            await self._open("cloud", self._api("cloud"), self._host)
            # The control face moves clocks and shows requests: it never leaves this machine.
            await self._open("control", self._control_only, "127.0.0.1")
        except BaseException:
            await self.stop()
            raise
        names = dict.fromkeys((self._name, "localhost", "127.0.0.1", self._host))
        self._server.use_urls(tuple(f"https://{name}:{self.ports['cloud']}" for name in names))

    async def stop(self) -> None:
        """Close the ports and every connection."""
        for runner in reversed(self._runners):
            await runner.cleanup()
        self._runners.clear()

    def rotate(self) -> None:
        """New certificates by the same CA, for connections from now on."""
        for face, context in self._contexts.items():
            make_face_certificate(self._folder, face, self._host, datetime.now(UTC))
            context.load_cert_chain(*face_files(self._folder, face))

    async def _open(self, name: str, handler: _Handler, host: str) -> None:
        context = None
        if name != "control":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(*face_files(self._folder, name))
            self._contexts[name] = context
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{tail:.*}", handler)
        app.on_response_prepare.append(_tidy_headers)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        port = self._wanted[name]
        site = web.TCPSite(runner, host, port, ssl_context=context, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise _cannot_listen(name, host, port, error) from error
        self.ports[name] = runner.addresses[0][1]

    def _api(self, face: Face) -> _Handler:
        async def answer(incoming: web.Request) -> web.StreamResponse:
            body = await incoming.read()
            if incoming.path.startswith(PREFIX):
                return self._control_answer(incoming, body)
            base = self._server.bases[0] if face == "cloud" else "https://localhost"
            request = Request(incoming.method, base + incoming.raw_path, _headers(incoming), body)
            peer = incoming.remote or "127.0.0.1"
            if incoming.headers.get("upgrade", "").lower() == "websocket":
                opened = open_stream(self._server, request, face=face, peer=peer)
                if isinstance(opened, Stream):
                    return await _serve_stream(incoming, opened)
                return await _send(incoming, opened, chunked=face == "gateway")
            outcome = self._server.handle(request, face=face, peer=peer)
            if outcome.delay_s:
                # Faults are told in seconds of the wall: a client's deadline runs there too.
                await asyncio.sleep(outcome.delay_s)
            if outcome.late:
                outcome = self._server.handle(request, face=face, peer=peer, late=True)
            return await _send(incoming, outcome, chunked=face == "gateway")

        return answer

    async def _control_only(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        if incoming.path.startswith(PREFIX):
            return self._control_answer(incoming, body)
        return web.json_response({"error": f"only {PREFIX}… is served here"}, status=404)

    def _control_answer(self, incoming: web.Request, body: bytes) -> web.Response:
        status, answer = self._control.handle(incoming.method, incoming.path, body)
        return web.Response(status=status, body=answer, content_type="application/json")


def _headers(incoming: web.Request) -> dict[str, str]:
    """Each name once; of a repeated one the values joined, as RFC 9110 allows."""
    return {name: ", ".join(incoming.headers.getall(name)) for name in dict.fromkeys(incoming.headers)}


async def _serve_stream(incoming: web.Request, stream: Stream) -> web.StreamResponse:
    """Carry frames both ways until one side ends it. No pings and no compression of our own (§1.2)."""
    socket_ = web.WebSocketResponse(compress=False, max_msg_size=_MAX_COMMAND, timeout=1.0)
    try:
        await socket_.prepare(incoming)
        while not socket_.closed:
            await _tell(socket_, stream)
            if stream.over:
                break
            try:
                heard = await socket_.receive(_LOOK_EVERY_S)
            except TimeoutError:
                continue
            if heard.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                data = heard.data
                stream.receive(data if isinstance(data, str) else data.decode("utf-8", "replace"))
            elif heard.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                break
        if stream.dropped:
            _break(incoming, gently=False)
        elif stream.close_code is not None:
            await socket_.close(code=stream.close_code)
    except ConnectionError:
        pass  # the caller is gone
    finally:
        stream.close()
    return socket_


async def _tell(socket_: web.WebSocketResponse, stream: Stream) -> None:
    for frame in stream.due():
        if isinstance(frame, str):
            await socket_.send_str(frame)
        else:
            await socket_.send_bytes(frame)


async def _send(incoming: web.Request, outcome: Outcome, *, chunked: bool) -> web.StreamResponse:
    """chunked: as the gateway program does with every body. Source: docs/facts/auth-and-sessions.md §3.11."""
    if outcome.drop:
        _break(incoming, gently=False)
        return web.Response(status=500)
    headers = CIMultiDict(outcome.headers)
    if "content-type" not in headers:
        headers[_NO_TYPE] = "1"
    if outcome.cut is None:
        whole = web.Response(status=outcome.status, headers=headers, body=outcome.body)
        if chunked and outcome.status != 204 and incoming.version >= HttpVersion11 and incoming.method != "HEAD":
            whole.enable_chunked_encoding()
        return whole
    response = web.StreamResponse(status=outcome.status, headers=headers)
    response.content_length = len(outcome.body)
    with contextlib.suppress(ConnectionError):
        await response.prepare(incoming)
        await response.write(outcome.body[: outcome.cut])
    _break(incoming, gently=True)
    return response


def _break(incoming: web.Request, *, gently: bool) -> None:
    """End the connection under the caller's feet. gently: what was written still goes out."""
    if incoming.transport is not None:
        incoming.transport.close() if gently else incoming.transport.abort()


async def _tidy_headers(_incoming: web.Request, response: web.StreamResponse) -> None:
    """Take out what aiohttp adds and IBKR does not send."""
    response.headers.popall("Server", None)
    if response.headers.popall(_NO_TYPE, None):
        response.headers.popall("Content-Type", None)


def check_port(name: str, host: str, port: int) -> None:
    """Raise E-GW-PORT-TAKEN, or ConfigError for the address, now rather than after keys were made; 0 is always free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise _cannot_listen(name, host, port, error) from error


def _cannot_listen(name: str, host: str, port: int, error: OSError) -> IbkitError:
    option = f"--{name}-port"
    if error.errno == errno.EADDRINUSE:
        return IbkitError(
            f"Port {port} is used by another program",
            code="E-GW-PORT-TAKEN",
            remedy=f"Choose another with {option} <port>, or let {option} 0 pick a free one. "
            "On macOS AirPlay Receiver uses port 5000.",
            details={"port": port, "host": host},
        )
    return ConfigError(
        f"Cannot listen on {host}:{port}: {error.strerror or error}",
        remedy=f"Choose another port with {option}, or another address with --host.",
    )
