"""Before any route: who may connect at all, from which pages, and what every answer carries.

Source: requirements GWY-10, SEC-03.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from ibkit.errors import ConfigError, IbkitError, NotFound, NotPermitted
from ibkit.service.browsers import SAFE
from ibkit.service.problems import problem_of
from ibkit.spans import traced

__all__ = ["Addresses", "Door", "check_binding", "decoded", "origins_of"]

log = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = "GET, POST, DELETE, PATCH"
HEADERS = "Authorization, Idempotency-Key, Content-Type"
_EXPOSED = "Location, Retry-After, X-Trace-Id"
_ORDERS = ("/broker-order", "/api/broker-order", "/api/option-sale")
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Who may connect. proxy: the one whose X-Forwarded-For is believed, None for none."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    proxy: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None

    @classmethod
    def of(cls, allowed: tuple[str, ...], proxy: str | None) -> Addresses:
        """From ALLOWED_CLIENT_IPS and TRUSTED_PROXY. ConfigError naming the one that is no address."""
        networks = tuple(_network("ALLOWED_CLIENT_IPS", text) for text in allowed)
        return cls(networks=networks, proxy=None if proxy is None else _network("TRUSTED_PROXY", proxy))

    def client(self, peer: str, forwarded: list[str]) -> str:
        """Whose request it is: the peer, or behind the trusted proxy whom it names last."""
        if self.proxy is None or not _within(peer, (self.proxy,)) or not forwarded:
            return peer
        return forwarded[-1].rpartition(",")[2].strip()

    def over_tls(self, peer: str, told: list[str]) -> bool:
        """Whether the trusted proxy says (X-Forwarded-Proto) that TLS ends at it."""
        believed = self.proxy is not None and _within(peer, (self.proxy,))
        return believed and told != [] and told[-1].rpartition(",")[2].strip().lower() == "https"

    def allows(self, address: str) -> bool:
        return _within(address, self.networks)


def _network(name: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ConfigError(
            f"Setting invalid: {name}: {text} is no address and no network",
            remedy="Use addresses and networks like 127.0.0.1 or 10.8.0.0/24, separated by commas.",
        ) from None


def _is_here(host: str) -> bool:
    """Whether a browser would keep to TLS for every service of this machine, or for a bare address."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _within(address: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    plain = getattr(found, "ipv4_mapped", None) or found
    return any(plain in network for network in networks)


def check_binding(host: str, allowed: tuple[str, ...], *, production: bool) -> None:
    """ConfigError where production would listen to other machines without saying to which."""
    if host in ("localhost", *_LOOPBACK):
        return
    if production and set(allowed) <= set(_LOOPBACK):
        raise ConfigError(
            f"Setting invalid: HOST: {host} is reachable from other machines, and ALLOWED_CLIENT_IPS names none",
            remedy="Set ALLOWED_CLIENT_IPS to who may connect, or HOST=127.0.0.1 behind a proxy.",
        )


def origins_of(frontend_url: str | None) -> frozenset[str]:
    """The origins of FRONTEND_URL (comma separated), without a path. ConfigError for a wildcard."""
    found = set()
    for text in (frontend_url or "").split(","):
        origin = text.strip().rstrip("/")
        if not origin:
            continue
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not host or "*" in host or "/" in host:
            raise ConfigError(
                f"Setting invalid: FRONTEND_URL: {origin} is no origin",
                remedy="Use origins like https://app.example.com, separated by commas.",
            )
        found.add(origin.lower())
    return frozenset(found)


@dataclass(slots=True, kw_only=True)
class Door:
    """An ASGI application around another. trace_id: makes one. refused: how many were turned away, by address.

    tell: told of each of them. answered: of each request that was let in: method, route, status, seconds.
    noted: waits until what was changed stands in the audit log; orders by the API do not wait: the journal has them.
    """

    app: App
    addresses: Addresses
    origins: frozenset[str]
    trace_id: Callable[[], str]
    tell: Callable[[str], Awaitable[None]]
    noted: Callable[[], Awaitable[None]]
    answered: Callable[[str, str, int, float], None]
    monotonic: Callable[[], float]
    refused: dict[str, int] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        trace_id = self.trace_id()
        scope.setdefault("state", {})["trace_id"] = trace_id
        given = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        peer = (scope.get("client") or ("", 0))[0]
        address = self.addresses.client(peer, [value for name, value in given if name == b"x-forwarded-for"])
        scope["state"]["address"] = address
        origin = next((value for name, value in given if name == b"origin"), "")
        added = self._cors(origin)
        protos, hosts = ([value for name, value in given if name == each] for each in (b"x-forwarded-proto", b"host"))
        if self.addresses.over_tls(peer, protos) and not any(_is_here(host) for host in hosts):
            added.append(_HSTS)
        if not self.addresses.allows(address):
            await self._turn_away(scope, send, address, trace_id)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        scope["path"] = _with_its_slashes(scope)
        if "//" in scope["path"]:  # a proxy's rules for paths would not know it as the one without
            error = NotFound("Not found: this address", code="E-NOT-FOUND", remedy="/openapi.json lists all addresses.")
            await _refuse(send, error, trace_id=trace_id, path=scope["path"])
            return
        asked_method = next((value for name, value in given if name == b"access-control-request-method"), "")
        if scope["method"] == "OPTIONS" and origin and asked_method:
            await _answer(send, 204, [*ALWAYS, *added])
            return

        began = self.monotonic()
        changes = scope["method"] not in SAFE and not scope["path"].startswith(_ORDERS)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                if changes:
                    await self.noted()
                present = {name.lower() for name, _ in message["headers"]}
                always = (*ALWAYS, *added, (b"x-trace-id", trace_id.encode()))
                more = [pair for pair in always if pair[0] not in present]
                message = {**message, "headers": [*message["headers"], *more]}
                route = str(scope.get("path_template", ""))  # as Litestar has found it
                self.answered(scope["method"], route, message["status"], self.monotonic() - began)
            await send(message)

        with traced(trace_id):  # every line of the request, and of the order that it begins, is found by it
            await self.app(scope, receive, sent)

    def _cors(self, origin: str) -> list[tuple[bytes, bytes]]:
        told = [(b"vary", b"Origin")] if self.origins else []
        if not origin or origin.lower() not in self.origins:
            return told
        return [
            *told,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-methods", METHODS.encode()),
            (b"access-control-allow-headers", HEADERS.encode()),
            (b"access-control-expose-headers", _EXPOSED.encode()),
            (b"access-control-max-age", b"600"),
        ]

    async def _turn_away(self, scope: Scope, send: Send, address: str, trace_id: str) -> None:
        if len(self.refused) < 10_000 or address in self.refused:
            self.refused[address] = self.refused.get(address, 0) + 1
        log.warning("a client was turned away", extra={"address": address, "trace_id": trace_id})
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})  # not accepted: the upgrade is answered with 403
        else:
            error = NotPermitted("Forbidden: this address may not connect", code="E-FORBIDDEN")
            await _refuse(send, error, trace_id=trace_id, path=scope["path"])
        await self._count(address, trace_id)

    async def _count(self, address: str, trace_id: str) -> None:
        try:
            await self.tell(address)
        except IbkitError as error:  # they have their answer; the list of failures is not worth a fault
            log.warning("a refused address could not be counted", extra={"code": error.code, "trace_id": trace_id})


async def _refuse(send: Send, error: IbkitError, *, trace_id: str, path: str) -> None:
    reply = problem_of(error, trace_id=trace_id, path=path)
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    await _answer(send, reply.status, [*ALWAYS, *headers], reply.body)


def _with_its_slashes(scope: Scope) -> str:
    sent = bytes(scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    return decoded(sent) if "%2f" in sent.lower() else str(scope["path"])


def decoded(sent: str) -> str:
    """The path in which an encoded slash divides nothing: it stands as `%2F`, so that a name may hold one (SYN-04)."""
    return "/".join(unquote(segment).replace("/", "%2F") for segment in sent.split("/"))


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
