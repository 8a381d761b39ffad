"""Our own HTTP interface, asked from inside the process with the visitor's own cookie.

A page has no rights of its own: who may see or do what, limits, rates and the audit log are the interface's, once.
What changes something carries the form's CSRF token, which the interface checks as it does for any browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec

from ibkit.service.door import App, Message, Scope, decoded

__all__ = ["Inside", "Told"]

_COPIED = (b"cookie", b"host", b"origin", b"sec-fetch-site", b"user-agent")
_WHO = "/api/me"
"""What every page asks once: by it the page is counted as a read."""
_NOTED = ("address", "trace_id")
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer. data: of the document, what stands under `data` where it has that. cookies: of Set-Cookie."""

    status: int
    body: Any
    cookies: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def data(self) -> Any:
        return self.body.get("data", self.body) if isinstance(self.body, dict) else self.body

    @property
    def problem(self) -> Mapping[str, Any]:
        """code, message, remedy (lines), trace_id, details of a refusal; empty of an answer."""
        found = self.body.get("error") if isinstance(self.body, dict) and not self.ok else None
        return found if isinstance(found, dict) else {}

    @property
    def field_errors(self) -> Mapping[str, str]:
        """What is wrong with each field, by its name."""
        told = self.problem.get("details", {}).get("errors", [])
        return {str(each["field"]): str(each["message"]) for each in told if isinstance(each, dict) and "field" in each}


@dataclass(frozen=True, slots=True)
class Inside:
    """app: the interface. scope: of the visitor's request. used: whether the visitor did something just now.

    A path is given as a browser would send it: names in it are encoded.
    """

    app: App
    scope: Scope
    csrf: str = field(default="", repr=False)
    used: bool = True

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Told:
        return await self._call("GET", path, query=_asked(query))

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Told:
        """key: the Idempotency-Key."""
        headers = [(b"x-csrf-token", self.csrf.encode("latin-1", "replace"))]
        if key is not None:
            headers.append((b"idempotency-key", key.encode("latin-1", "replace")))
        raw = b"" if body is None else _encoder.encode(body)
        if body is not None:
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
        return await self._call(method, path, query=_asked(query), headers=headers, body=raw)

    async def file(self, path: str, query: Mapping[str, Any] | None = None) -> tuple[bytes, dict[str, str]] | Told:
        """A file with the header that names it; what was answered in its place."""
        heard = await self._heard("GET", path, query=_asked(query))
        if heard.status >= 400:
            return heard.told()
        name = heard.headers.get("content-disposition", "attachment")
        return b"".join(heard.parts), {"Content-Disposition": name}

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
    ) -> Told:
        return (await self._heard(method, path, query=query, headers=headers, body=body)).told()

    async def _heard(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
    ) -> _Heard:
        own = [(name, value) for name, value in self.scope["headers"] if name.lower() in _COPIED]
        # Only what the door noted: the framework keeps there how far the visitor's own answer is.
        state = {**{n: v for n, v in self.scope.get("state", {}).items() if n in _NOTED}, "used": self.used}
        state["within_page"] = path != _WHO
        scope: Scope = {
            **{name: self.scope[name] for name in ("type", "asgi", "http_version", "scheme", "server", "client")},
            "method": method,
            "path": decoded(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [*own, *(headers or [])],
            "state": state,
        }
        heard = _Heard(body)
        await self.app(scope, heard.receive, heard.send)
        return heard


def _asked(query: Mapping[str, Any] | None) -> str:
    """Without what is empty: a field that was left alone is no filter."""
    return urlencode({name: value for name, value in (query or {}).items() if value not in (None, "")})


@dataclass(slots=True)
class _Heard:
    """Both ends of one exchange."""

    body: bytes
    status: int = 0
    cookies: list[str] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def receive(self) -> Message:
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
            self.cookies = [
                value.decode("latin-1") for name, value in message["headers"] if name.lower() == b"set-cookie"
            ]
        else:
            self.parts.append(message.get("body", b""))

    def told(self) -> Told:
        raw = b"".join(self.parts)
        return Told(self.status, _decoder.decode(raw) if raw else None, tuple(self.cookies))
