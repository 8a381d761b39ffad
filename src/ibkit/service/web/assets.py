"""What a browser fetches once: under an address that names the content of them all, so that it may be kept for ever.

One name for all files, so that a module finds the others beside it.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.errors import NotFound
from ibkit.service.requests import AnyRequest, headers_of

__all__ = ["Asset", "address", "asset_routes", "assets", "digest"]

_KINDS = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "png": "image/png",
    "woff2": "font/woff2",
}
_KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """packed: by gzip; a page itself is never packed, for it holds a token beside what others wrote (BREACH)."""

    name: str
    kind: str
    raw: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """By name, like `vendor/htmx.js`."""
    return {each.name: each for each in _found("", files("ibkit.service.web").joinpath("static"))}


def _found(before: str, folder: Traversable) -> list[Asset]:
    made: list[Asset] = []
    for entry in folder.iterdir():
        kind = _KINDS.get(entry.name.rpartition(".")[2])
        if entry.is_dir():
            made += _found(f"{before}{entry.name}/", entry)
        elif kind is not None:
            raw = entry.read_bytes()
            made.append(Asset(f"{before}{entry.name}", kind, raw, gzip.compress(raw, 9, mtime=0)))
    return made


@cache
def digest() -> str:
    """Of all files together."""
    read = hashlib.sha256()
    for name, each in sorted(assets().items()):
        read.update(f"{name} {len(each.raw)} ".encode())
        read.update(each.raw)
    return read.hexdigest()[:12]


def address(name: str) -> str:
    """Where the page finds it."""
    return f"/assets/{digest()}/{name}"


def asset_routes() -> list[HTTPRouteHandler]:
    @get("/assets/{path:path}")
    async def asset(request: AnyRequest) -> Response[bytes]:
        version, _, name = str(request.path_params["path"]).strip("/").partition("/")
        found = assets().get(name)
        if found is None or version != digest():
            raise NotFound(code="E-NOT-FOUND", details={"thing": "file"})
        headers = {"Cache-Control": _KEPT, "Vary": "Accept-Encoding"}
        packs = any("gzip" in each for each in headers_of(request, "accept-encoding"))
        if packs and len(found.packed) < len(found.raw):
            headers["Content-Encoding"] = "gzip"
            return Response(found.packed, media_type=found.kind, headers=headers)
        return Response(found.raw, media_type=found.kind, headers=headers)

    return [asset]
