"""Simulators for tests: in process, with ready keys, on a clock that only the test moves.

The callers sign with their own few lines over `cryptography`, not with ibkit's client, so that a test of the simulator
needs no other part of ibkit.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ibkit.sim.logins.users import UserKeys
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL, TRADING_MOMENT, Simulator
from ibkit.wire.http import Request, Response

__all__ = ["KEYS", "Caller", "OAuth1Caller", "OAuth2Caller", "jws", "make_simulator"]

KEYS = Path(__file__).resolve().parent / "keys"
EXPONENT = 0xA1B2C3D4E5F60718293A4B5C6D7E8F90A1B2C3D4E5F60718293A4B5C6D7E8F91


def make_simulator(*scenarios: str, start: datetime = TRADING_MOMENT, seed: int = 7, **quirks: Any) -> Simulator:
    """A simulator with the given scenarios and quirks, 10:30 in New York on a Friday unless told otherwise."""
    return Simulator.at(
        start, keys=KEYS, seed=seed, scenarios=scenarios or ("ok",), quirks=Quirks().with_values(quirks)
    )


class Caller:
    """Plain requests to one face, as curl would send them."""

    face = "gateway"

    def __init__(self, simulator: Simulator, face: str | None = None, *, peer: str = "127.0.0.1") -> None:
        self.simulator = simulator
        self.face = face or self.face
        self.base = CLOUD_URL if self.face == "cloud" else GATEWAY_URL
        self.peer = peer

    def headers_for(self, method: str, url: str, form: Mapping[str, str] | None) -> dict[str, str]:
        return {}

    def __call__(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        headers: Mapping[str, str | None] | None = None,
        wait: float = 0.25,
    ) -> Response:
        """The answer at once. body: bytes as they are, anything else as JSON. A header of None is left out.

        wait: so many seconds pass before, so that pacing is not in the way.
        """
        self.simulator.advance(wait)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = self.base + path
        sent: dict[str, str | None] = {"User-Agent": "test", **self.headers_for(method, url, None)}
        if method == "POST":
            sent["Content-Length"] = str(len(raw))
        sent.update(headers or {})
        given = {name: value for name, value in sent.items() if value is not None}
        request = Request(method, url, given, raw)
        outcome = self.simulator.server.handle(request, face=self.face, peer=self.peer)
        return Response(outcome.status, {name.lower(): value for name, value in outcome.headers}, outcome.body)


def _pem(path: Path) -> Any:
    return load_pem_private_key(path.read_bytes(), None)


def rsa_sign(path: Path, text: str) -> bytes:
    return _pem(path).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())


class OAuth1Caller(Caller):
    """Signs as IBKR's guide says. `sign_in` runs the handshake; then every call is signed with its token."""

    face = "cloud"

    def __init__(self, simulator: Simulator, user: int | UserKeys = 0, *, style: str = "bare") -> None:
        super().__init__(simulator)
        self.keys = simulator.users[user] if isinstance(user, int) else user
        self.style = style
        self.token: bytes | None = None
        self._nonces = itertools.count(1)
        self.change: Any = None
        """Called with the header pairs before they are signed."""

    def pairs(self, method: str, **more: str) -> dict[str, str]:
        return {
            "oauth_consumer_key": self.keys.consumer_key,
            "oauth_nonce": f"nonce{next(self._nonces):015d}",
            "oauth_timestamp": str(int(self.simulator.clock.now().timestamp())),
            "oauth_signature_method": method,
            **more,
        }

    def base_string(self, method: str, url: str, pairs: Mapping[str, str]) -> str:
        listed = "&".join(f"{name}={pairs[name]}" for name in sorted(pairs))
        return f"{method}&{quote_plus(url, safe='~')}&{quote_plus(listed, safe='~')}"

    def header(self, pairs: Mapping[str, str], signature: bytes) -> str:
        signed = {**pairs, "oauth_signature": quote(base64.b64encode(signature), safe=""), "realm": self.keys.realm}
        return "OAuth " + ", ".join(f'{name}="{value}"' for name, value in sorted(signed.items()))

    def token_call(self, path: str, **more: str) -> Response:
        """A call of the token phase, signed with the signature key (the secret prepended for the LST)."""
        pairs = self.pairs("RSA-SHA256", **more)
        if self.change:
            self.change(pairs)
        prepend = ""
        if path.endswith("live_session_token"):
            prepend = self.secret().hex()
        base = prepend + self.base_string("POST", self.base + path, pairs)
        header = self.header(pairs, rsa_sign(self.keys.signature_key, base))
        return Caller.__call__(self, "POST", path, headers={"Authorization": header})

    def secret(self) -> bytes:
        cipher = base64.b64decode(self.keys.access_token_secret)
        return _pem(self.keys.encryption_key).decrypt(cipher, padding.PKCS1v15())

    def handshake(self) -> Response:
        """The live session token call; on success the token is kept."""
        prime = self.simulator.directory.dh.prime
        answer = self.token_call(
            "/v1/api/oauth/live_session_token",
            oauth_token=self.keys.access_token,
            diffie_hellman_challenge=f"{pow(2, EXPONENT, prime):x}",
        )
        if answer.status == 200:
            given = json.loads(answer.body)
            shared = pow(int(given["diffie_hellman_response"], 16), EXPONENT, prime)
            key = shared.to_bytes(shared.bit_length() // 8 + 1, "big")
            self.token = hmac.digest(key, self.secret(), hashlib.sha1)
        return answer

    def sign_in(self, *, init: bool = True, prime: bool = True) -> OAuth1Caller:
        """Handshake, init, the pause until it is established, and GET accounts."""
        assert self.handshake().status == 200
        if init:
            assert self("POST", "/v1/api/iserver/auth/ssodh/init", {"publish": True, "compete": True}).status == 200
            self.simulator.advance(self.simulator.world.quirks.starting_s)
            if prime:
                assert self("GET", "/v1/api/iserver/accounts").status == 200
        return self

    def headers_for(self, method: str, url: str, form: Mapping[str, str] | None) -> dict[str, str]:
        if self.token is None:
            return {}
        pairs = self.pairs("HMAC-SHA256", oauth_token=self.keys.access_token)
        if self.change:
            self.change(pairs)
        signed_url = url if self.style == "in_url" else url.split("?")[0]
        base = self.base_string(method, signed_url, pairs)
        return {"Authorization": self.header(pairs, hmac.digest(self.token, base.encode(), hashlib.sha256))}


def jws(path: Path, kid: str, claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
    """A compact JWS under RS256. header: members that differ from the usual."""
    parts = ({"alg": "RS256", "typ": "JWT", "kid": kid, **(header or {})}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    signing_input = ".".join(encoded)
    return f"{signing_input}.{base64.urlsafe_b64encode(rsa_sign(path, signing_input)).rstrip(b'=').decode()}"


class OAuth2Caller(Caller):
    """Token, SSO session, then the bearer on every call."""

    face = "cloud"

    def __init__(self, simulator: Simulator, user: int = 0) -> None:
        super().__init__(simulator)
        self.keys = simulator.users[user]
        self.access_token = ""
        self.bearer = ""

    def now(self) -> int:
        return int(self.simulator.clock.now().timestamp())

    def assertion(self, *, header: Mapping[str, object] | None = None, **claims: object) -> str:
        default: dict[str, object] = {
            "iss": self.keys.client_id,
            "sub": self.keys.client_id,
            "aud": "/token",
            "iat": self.now() - 10,
            "exp": self.now() + 60,
        }
        given = {name: value for name, value in {**default, **claims}.items() if value is not None}
        return jws(self.keys.oauth2_key, self.keys.client_key_id, given, header)

    def token_call(self, assertion: str | None = None, **form: str) -> Response:
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion if assertion is not None else self.assertion(),
            "scope": "sso-sessions.write echo.read echo.write",
            **form,
        }
        answer = Caller.__call__(
            self,
            "POST",
            "/oauth2/api/v1/token",
            urlencode(fields).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Authorization": None},
        )
        if answer.status == 200:
            self.access_token = json.loads(answer.body)["access_token"]
        return answer

    def gw(self, method: str, path: str, body: bytes = b"", *, content_type: str = "application/jwt") -> Response:
        """A /gw call with the step-1 token."""
        headers = {"Authorization": f"Bearer {self.access_token}", "Content-Type": content_type}
        return Caller.__call__(self, method, path, body, headers=headers)

    def sso(self, **claims: object) -> Response:
        default: dict[str, object] = {
            "credential": self.keys.user.username,
            "ip": "127.0.0.1",
            "iss": self.keys.client_id,
            "iat": self.now() - 10,
            "exp": self.now() + 86400,
        }
        given = {name: value for name, value in {**default, **claims}.items() if value is not None}
        body = jws(self.keys.oauth2_key, self.keys.client_key_id, given).encode()
        answer = self.gw("POST", "/gw/api/v1/sso-sessions", body)
        if answer.status == 200:
            self.bearer = json.loads(answer.body)["access_token"]
        return answer

    def sign_in(self) -> OAuth2Caller:
        """Token, SSO session, init, established."""
        assert self.token_call().status == 200
        assert self.sso().status == 200
        assert self("POST", "/v1/api/iserver/auth/ssodh/init", {"publish": True, "compete": True}).status == 200
        self.simulator.advance(self.simulator.world.quirks.starting_s)
        return self

    def headers_for(self, method: str, url: str, form: Mapping[str, str] | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
