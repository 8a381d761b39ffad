"""A browser's sign-in: the cookie, and what a request that changes something has to carry beside it.

    cookie   __Host-ibkit: this host alone, over TLS or on this machine, unseen by scripts, sent from our pages only
    header   X-CSRF-Token on every method but GET and HEAD; it follows from the cookie, and another site reads neither
    origin   Origin and Sec-Fetch-Site, where the browser sends them, name this very host; the upgrade to a WebSocket,
             which no rule of browsers keeps other pages from, has to have the Origin

A request with an Authorization header is judged by that alone: no other page can make a browser send one.
Source: requirement UI-01; reliability rules, threats TM-06, TM-09.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

from ibkit.errors import ConfigError, NotPermitted
from ibkit.model import Secret
from ibkit.service.refusals import Refusal
from ibkit.settings.addresses import is_loopback
from ibkit.users.browser import ABSOLUTE, csrf_fits
from ibkit.users.principal import Principal

__all__ = [
    "COOKIE",
    "CSRF_HEADER",
    "SAFE",
    "Browsers",
    "check_own_page",
    "check_token",
    "cookie_of",
    "cookie_over",
    "cookie_with",
    "from_own_page",
]

Asking = ASGIConnection[Any, Any, Any, Any]
"""A request, or the upgrade to a WebSocket."""

COOKIE = "__Host-ibkit"
CSRF_HEADER = "x-csrf-token"
_RULES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_LONGEST = 128
SAFE = frozenset({"GET", "HEAD"})


class Browsers(Protocol):
    async def session_of(self, cookie: Secret[str], *, address: str, used: bool = True) -> Principal:
        """Who sits at the browser with `cookie`. AuthError (E-APP-AUTH), as for a token.

        used: False where nobody did anything: the session then grows idle all the same.
        """
        ...


def cookie_with(cookie: Secret[str]) -> str:
    """The value of Set-Cookie."""
    return f"{COOKIE}={cookie.reveal()}; Max-Age={int(ABSOLUTE.total_seconds())}; {_RULES}"


def cookie_over() -> str:
    """The value of Set-Cookie that takes it away."""
    return f"{COOKIE}=; Max-Age=0; {_RULES}"


def cookie_of(request: Asking) -> Secret[str] | None:
    """Ours among the cookies of the request. Refusal 400 where it stands twice."""
    found: list[Secret[str]] = []
    for name, value in request.scope["headers"]:
        if name.lower() == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                word, _, text = pair.strip().partition("=")
                if word == COOKIE:
                    found.append(Secret(text[:_LONGEST]))
    if len(found) > 1:
        why = ConfigError(
            f"Invalid request: the cookie {COOKIE} stands twice", code="E-VALIDATION", remedy="Send it once."
        )
        raise Refusal(400, why)
    return found[0] if found else None


def check_own_page(request: Asking) -> None:
    """NotPermitted (E-FORBIDDEN) where the browser says that another site's page asks. Other clients say nothing."""
    sites = _all(request, b"sec-fetch-site")
    if (_all(request, b"origin") and not from_own_page(request)) or any(site != "same-origin" for site in sites):
        raise NotPermitted(
            "Forbidden: the request comes from another site's page",
            code="E-FORBIDDEN",
            remedy="Use the service's own pages; a program of yours sends a token in Authorization instead.",
        )


def from_own_page(request: Asking) -> bool:
    """Whether its Origin is there, and names this very host."""
    origins, hosts = _all(request, b"origin"), _all(request, b"host")
    return bool(origins) and len(hosts) == 1 and all(_host(origin) == hosts[0].lower() for origin in origins)


def check_token(request: Asking, cookie: Secret[str]) -> None:
    """NotPermitted (E-FORBIDDEN) without the token of this very session."""
    given = _all(request, CSRF_HEADER.encode())
    if len(given) != 1 or not csrf_fits(cookie, Secret(given[0])):
        raise NotPermitted(
            "Forbidden: the header X-CSRF-Token is missing, or not this session's",
            code="E-FORBIDDEN",
            remedy="Send csrf_token of the sign-in, or of GET /api/me, in X-CSRF-Token.",
        )


def _host(origin: str) -> str:
    """`example.org:8000` of `https://example.org:8000`; nothing that is a host for `null` and the like.

    Nor for plain http of another machine: whoever is on the way could have made that page, and the cookie is never
    sent there.
    """
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return ""
    trusted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    return parts.netloc if trusted else ""


def _all(request: Asking, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in request.scope["headers"] if name.lower() == wanted]
