"""What every transport promises, tried over a real TLS socket: at most one copy, and the truth about a failure."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import anyio
import pytest
import trustme

from ibkit.client.transports.aiohttp import AiohttpTransport
from ibkit.client.transports.pyreqwest import PyreqwestTransport
from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.wire.http import Request, Response

JSON = {"Content-Type": "application/json"}


def order(url: str, path: str) -> Request:
    return Request("POST", url + path, JSON, b'{"orders":[]}')


@pytest.mark.requirement("TRD-22", "LIM-04")
@pytest.mark.parametrize("path", ["/close", "/half"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "GET", "PUT"])
def test_a_broken_answer_is_an_unknown_outcome_of_one_copy(serving, connect, path, method) -> None:
    async def run() -> None:
        async with serving() as server:
            transport = connect(server.url)
            with pytest.raises(OutcomeUnknown) as caught:
                await transport.send(Request(method, server.url + path, JSON, b"{}"), timeout_s=5)
            await transport.aclose()
            assert caught.value.details["cause"] == "broken"
            assert server.copies == {f"{method} {path}": 1}

    anyio.run(run)


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_a_call_that_changes_something_is_not_resent_when_a_kept_connection_was_dead(serving, connect, method) -> None:
    """aiohttp resends PUT and DELETE once on a dead kept-alive connection: they must not use one."""

    async def run() -> None:
        async with serving() as server:
            transport = connect(server.url)
            await transport.send(Request("GET", server.url + "/fine"), timeout_s=5)
            with pytest.raises(OutcomeUnknown):
                await transport.send(Request(method, server.url + "/close", JSON, b"{}"), timeout_s=5)
            await transport.aclose()
            assert server.copies[f"{method} /close"] == 1

    anyio.run(run)


@pytest.mark.requirement("LIM-05")
@pytest.mark.parametrize("path", ["/stall", "/drip"])
def test_the_time_limit_is_of_the_whole_exchange_and_the_connection_is_not_used_again(serving, connect, path) -> None:
    async def run() -> None:
        async with serving() as server:
            transport = connect(server.url)
            began = time.monotonic()
            with pytest.raises(OutcomeUnknown) as caught:
                await transport.send(order(server.url, path), timeout_s=0.3)
            assert time.monotonic() - began < 2
            assert caught.value.code == "E-TIMEOUT"
            used = server.connections
            assert (await transport.send(Request("GET", server.url + "/fine"), timeout_s=5)).status == 200
            assert server.connections == used + 1
            await transport.aclose()
            assert server.copies[f"POST {path}"] == 1

    anyio.run(run)


@pytest.mark.requirement("TRD-22")
def test_a_refused_connection_says_that_nothing_left(connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://localhost:{free.getsockname()[1]}"

    async def run() -> None:
        transport = connect(url)
        with pytest.raises(Unreachable) as caught:
            await transport.send(order(url, "/orders"), timeout_s=5)
        await transport.aclose()
        assert caught.value.details["cause"] == "refused"

    anyio.run(run)


@pytest.mark.requirement("LIM-05")
def test_a_peer_that_never_finishes_the_handshake_says_that_nothing_left(authority) -> None:
    async def run() -> None:
        async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
            writer.close()

        listener = await asyncio.start_server(silence, "127.0.0.1", 0)
        url = f"https://localhost:{listener.sockets[0].getsockname()[1]}"
        transport = PyreqwestTransport(ca=authority.cert_pem.bytes(), direct=True, connect_timeout_s=0.3)
        with pytest.raises(Unreachable) as caught:
            await transport.send(order(url, "/orders"), timeout_s=5)
        await transport.aclose()
        listener.close()
        assert caught.value.details["cause"] == "timeout"

    anyio.run(run)


@pytest.mark.requirement("AUTH-17")
def test_a_certificate_of_another_authority_is_refused_before_anything_is_sent(serving, connect) -> None:
    async def run() -> None:
        async with serving(trustme.CA()) as server:
            transport = connect(server.url)
            with pytest.raises(Unreachable) as caught:
                await transport.send(order(server.url, "/orders"), timeout_s=5)
            await transport.aclose()
            assert caught.value.details["cause"] == "tls"
            assert not server.copies

    anyio.run(run)


def test_answers_come_as_they_are(serving, connect) -> None:
    async def run() -> list[Response]:
        async with serving() as server:
            transport = connect(server.url)
            answers = [
                await transport.send(Request("GET", server.url + path), timeout_s=5)
                for path in ("/redirect", "/html", "/gzip", "/fine")
            ]
            await transport.aclose()
            return answers

    redirect, html, zipped, fine = anyio.run(run)
    assert redirect.status == 302
    assert (html.status, html.body) == (502, b"<html>busy</html>")
    assert zipped.body == b'{"a":1}'
    assert fine.headers["x-trace"] == "abc"


@pytest.mark.parametrize("path", ["/huge", "/bomb"])
def test_an_endless_body_is_cut_off(serving, connect, path) -> None:
    async def run() -> None:
        async with serving() as server:
            transport = connect(server.url)
            with pytest.raises(OutcomeUnknown) as caught:
                await transport.send(Request("GET", server.url + path), timeout_s=20)
            await transport.aclose()
            assert caught.value.details["cause"] == "cut"

    anyio.run(run)


def test_every_call_has_a_length_and_a_user_agent_and_no_cookie_comes_back(serving, connect) -> None:
    async def run() -> list[str]:
        async with serving() as server:
            transport = connect(server.url)
            await transport.send(Request("GET", server.url + "/cookie"), timeout_s=5)
            await transport.send(Request("POST", server.url + "/empty"), timeout_s=5)
            await transport.send(order(server.url, "/orders"), timeout_s=5)
            await transport.aclose()
            return [head.lower() for head in server.heads]

    cookie, empty, placed = anyio.run(run)
    assert "content-length: 0\r\n" in empty
    assert "content-length: 13\r\n" in placed
    assert placed.count("content-length") == 1
    for head in (cookie, empty, placed):
        assert "user-agent: ibkit" in head
        assert "cookie:" not in head
        assert "accept-encoding:" in head


@pytest.mark.requirement("TRD-01")
def test_closing_leaves_nothing_open(serving, authority: trustme.CA) -> None:
    async def run(make) -> None:
        async with serving() as server:
            transport = make(server.url)
            for _ in range(20):
                await transport.send(Request("GET", server.url + "/fine"), timeout_s=5)
            await transport.aclose()
            assert server.connections == 1

    pem = authority.cert_pem.bytes()
    anyio.run(run, lambda url: PyreqwestTransport(ca=pem, direct=True))
    anyio.run(run, lambda url: AiohttpTransport(url, ca=pem))


@pytest.mark.requirement("FUT-08")
@pytest.mark.parametrize("kind", [PyreqwestTransport, AiohttpTransport])
def test_a_transport_for_long_answers_takes_them_and_cuts_off_the_rest(serving, authority, kind) -> None:
    """A Flex statement may be longer than any other answer."""
    pem = authority.cert_pem.bytes()

    async def run(limit: int) -> int:
        async with serving() as server:
            options = {"ca": pem, "body_limit": limit}
            transport = kind(server.url, **options) if kind is AiohttpTransport else kind(direct=True, **options)
            try:
                answer = await transport.send(Request("GET", server.url + "/bomb"), timeout_s=30)
                return len(answer.body)
            finally:
                await transport.aclose()

    assert anyio.run(run, 80 * 1024 * 1024) == 64 * 1024 * 1024
    with pytest.raises(OutcomeUnknown) as caught:
        anyio.run(run, 1024 * 1024)
    assert caught.value.details["cause"] == "cut"
