"""The verifying side of OAuth 2.0: compact JWS under RS256, from RFC 7515 in a few lines, and IBKR's claims.

Source: docs/facts/auth-and-sessions.md §2.2, §2.3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ibkit.sim.logins.logins import OAuth2Client
from ibkit.sim.logins.rsa import verifies

__all__ = ["BadToken", "Jws", "check_times", "hs256_token", "read_jws", "verify_jws"]

_PART = re.compile(r"[A-Za-z0-9_-]+")


class BadToken(Exception):
    """A token that must be refused; its text says why, as a problem's `detail`. not_jws: it has not even the form."""

    def __init__(self, reason: str, *, not_jws: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_jws = not_jws


@dataclass(frozen=True, slots=True)
class Jws:
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes


def read_jws(text: str) -> Jws:
    """A compact JWS taken apart, nothing of it believed yet. Raises BadToken."""
    parts = text.strip().split(".")
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts[:2]):
        raise BadToken("not a compact JWS", not_jws=True)
    try:
        header, claims = (json.loads(_decode(part)) for part in parts[:2])
        signature = _decode(parts[2])
    except (ValueError, binascii.Error) as error:
        raise BadToken("not a compact JWS", not_jws=True) from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise BadToken("not a compact JWS", not_jws=True)
    return Jws(header, claims, ".".join(parts[:2]).encode(), signature)


def verify_jws(jws: Jws, clients: Mapping[str, OAuth2Client]) -> OAuth2Client:
    """The client that signed it: named by `iss`, by the key that `kid` names. Raises BadToken."""
    if jws.header.get("alg") != "RS256":
        raise BadToken("the algorithm must be RS256")
    client = clients.get(str(jws.claims.get("iss")))
    if client is None:
        raise BadToken("unknown client")
    key = client.keys.get(str(jws.header.get("kid")))
    if key is None:
        raise BadToken("unknown key id")
    if not verifies(key, jws.signature, jws.signing_input):
        raise BadToken("signature verification failed")
    return client


def check_times(claims: Mapping[str, Any], clocks: Iterable[datetime], tolerance_s: float) -> None:
    """Refuse a token that by no clock is valid now: `exp` in the past, or `iat` too far in the future."""
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(expires, int | float) or isinstance(expires, bool):
        raise BadToken("exp is missing")
    if issued is not None and (not isinstance(issued, int | float) or isinstance(issued, bool)):
        raise BadToken("iat is not a number")
    moments = [clock.timestamp() for clock in clocks]
    if not any(now < expires for now in moments):
        raise BadToken("the token has expired")
    if issued is not None and not any(issued <= now + tolerance_s and now < expires for now in moments):
        raise BadToken("the token was issued in the future")


def hs256_token(claims: Mapping[str, Any], key: bytes) -> str:
    """A token as IBKR hands them out; opaque to clients."""
    head = _encode(b'{"typ":"JWT","alg":"HS256"}') + "." + _encode(json.dumps(claims, separators=(",", ":")).encode())
    return head + "." + _encode(hmac.digest(key, head.encode(), hashlib.sha256))


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
