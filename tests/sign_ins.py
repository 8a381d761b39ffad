"""The other half of the sign-ins, in a few plain lines: pair tests wire it to the client without a transport."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import padding

from ibkit.model import OAuth1Credentials, OAuth2Credentials, Secret, Username
from ibkit.wire import dh, keys, oauth1
from ibkit.wire.http import Request, Response

KEYS = Path(__file__).parent / "keys"
PAIR = KEYS / "simpaper1"
NOW = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
PLAIN_SECRET = bytes(range(100, 132))
BASE = "https://api.ibkr.com"
GROUP = dh.parse_params_pem((KEYS / "dhparam.pem").read_text())

T = TypeVar("T")


def text(name: str) -> str:
    return (PAIR / name).read_text()


def sealed_secret() -> Secret[str]:
    public = keys.load_public_key(text("public_encryption.pem"), what="public")
    return Secret(base64.b64encode(public.encrypt(PLAIN_SECRET, padding.PKCS1v15())).decode())


def oauth1_credentials(**changes: Any) -> OAuth1Credentials:
    given: dict[str, Any] = {
        "consumer_key": "SIMCONSUM",
        "access_token": "9a1c0f5e7b3d2468ace0",
        "access_token_secret": sealed_secret(),
        "signature_key": Secret(text("private_signature.pem")),
        "encryption_key": Secret(text("private_encryption.pem")),
        "dh_params": (KEYS / "dhparam.pem").read_text(),
    }
    return OAuth1Credentials(**(given | changes))


def oauth2_credentials(**changes: Any) -> OAuth2Credentials:
    given: dict[str, Any] = {
        "client_id": "SimClient",
        "client_key_id": "main",
        "private_key": Secret(text("private_oauth2.pem")),
        "credential": Username("simuser"),
        "ip": "203.0.113.7",
    }
    return OAuth2Credentials(**(given | changes))


def reply(body: object, status: int = 200, *, date: datetime = NOW) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {"date": format_datetime(date, usegmt=True)}, raw)


def error(words: str, status: int = 401, *, date: datetime = NOW) -> Response:
    return reply({"error": words, "statusCode": status}, status, date=date)


@dataclass
class Server:
    """answers: what to say instead, one for each request to come; None is the honest answer."""

    date: datetime = NOW
    exponent: int = 987654321987654321
    proof_of: str = "SIMCONSUM"
    lifetime_ms: int = 86_400_000
    answers: list[Response | None] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    token: bytes = b""

    def __call__(self, request: Request) -> Response:
        self.seen.append(request)
        said = self.answers.pop(0) if self.answers else None
        if said is not None:
            return said
        return {
            "/v1/api/oauth/request_token": self._request_token,
            "/v1/api/oauth/access_token": self._access_token,
            "/v1/api/oauth/live_session_token": self._live_session_token,
            "/oauth2/api/v1/token": self._oauth2_token,
            "/gw/api/v1/sso-sessions": self._sso_session,
            "/gw/api/v1/echo/signed-jwt": self._echo,
        }[request.url.removeprefix(BASE)](request)

    def _pairs(self, request: Request, prepend: str = "") -> dict[str, str]:
        pairs = oauth1.parse_authorization(request.headers["Authorization"])
        base = oauth1.base_string(request.method, request.url, pairs, prepend=prepend)
        public = keys.load_public_key(text("public_signature.pem"), what="public")
        assert oauth1.verify_rsa(public, base, pairs["oauth_signature"])
        return pairs

    def _request_token(self, request: Request) -> Response:
        assert self._pairs(request)["oauth_callback"] == "oob"
        return reply({"oauth_token": "e0d75b4c5c1d2c0f2af7"}, date=self.date)

    def _access_token(self, request: Request) -> Response:
        pairs = self._pairs(request)
        assert (pairs["oauth_token"], pairs["oauth_verifier"]) == ("e0d75b4c5c1d2c0f2af7", "61c107f1849b0acbe0a3")
        answer = {"is_paper": True, "oauth_token": "9a1c", "oauth_token_secret": sealed_secret().reveal()}
        return reply(answer, date=self.date)

    def _live_session_token(self, request: Request) -> Response:
        pairs = self._pairs(request, PLAIN_SECRET.hex())
        challenge = int(pairs["diffie_hellman_challenge"], 16)
        raw = dh.java_bytes(pow(challenge, self.exponent, GROUP.prime))
        self.token = hmac.new(raw, PLAIN_SECRET, hashlib.sha1).digest()
        answer = {
            "diffie_hellman_response": f"{pow(2, self.exponent, GROUP.prime):x}",
            "live_session_token_signature": hmac.new(self.token, self.proof_of.encode(), hashlib.sha1).hexdigest(),
            "live_session_token_expiration": int(pairs["oauth_timestamp"]) * 1000 + self.lifetime_ms,
        }
        return reply(answer, date=self.date)

    def _oauth2_token(self, request: Request) -> Response:
        return reply({"access_token": f"step1-{len(self.seen)}", "expires_in": 86399, "scope": "x"}, date=self.date)

    def _sso_session(self, request: Request) -> Response:
        return reply({"active": True, "access_token": f"bearer-{len(self.seen)}"}, date=self.date)

    def _echo(self, request: Request) -> Response:
        answer = {"requestMethod": "POST", "securityPolicy": "SIGNED_JWT", "queryParameters": {}}
        return reply(answer, date=self.date)


def drive(steps: Generator[Request, Response, T], server: Server) -> T:
    """Hands each request to the server and each answer back, as the keeper does over a transport."""
    try:
        request = next(steps)
        while True:
            request = steps.send(server(request))
    except StopIteration as end:
        return end.value
