"""OAuth 2.0 as IBKR speaks it: client assertion, SSO session JWS, bearer, echo; and checking them. No I/O.

    assertion (RS256) → POST /oauth2/api/v1/token → access token → POST /gw/api/v1/sso-sessions (JWS) → SSO bearer

JWS compact form, members in the order alg, kid, typ, no blanks: the bytes that PyJWT writes too.
Source: docs/facts/auth-and-sessions.md §2.2-2.5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from ibkit.errors import CredentialsRejected, IbkitError
from ibkit.model import Secret
from ibkit.wire.http import Request, Response
from ibkit.wire.login import ECHO_HTTPS, ECHO_SIGNED_JWT, OAUTH2_TOKEN, SSO_SESSIONS
from ibkit.wire.login_errors import address_error, reason_of, unavailable_error, unreadable_error

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

__all__ = [
    "AccessGrant",
    "Client",
    "assertion_claims",
    "assertion_problem",
    "bearer",
    "echo_https_request",
    "echo_request",
    "read_echo",
    "read_sso_session",
    "read_token",
    "sign_jws",
    "sso_session_request",
    "token_request",
    "verify_jws",
]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM = "application/x-www-form-urlencoded"
_JWT = "application/jwt"
SSO_LIFE_S = 86_400
ASSERTION_LIFE_S = 60
ECHO_LIFE_S = 60


@dataclass(frozen=True, slots=True)
class Client:
    """Who signs. base_url: scheme and host, without a path. key_id: the `kid` IBKR knows the public key by."""

    base_url: str
    client_id: str
    key_id: str
    key: RSAPrivateKey

    def __repr__(self) -> str:
        return f"Client({self.client_id!r} at {self.base_url})"


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """What the token endpoint gives. expires_in: seconds from its answer."""

    access_token: Secret[str]
    expires_in: int
    scope: str


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: int
    scope: str = ""


class _SsoAnswer(msgspec.Struct):
    access_token: str
    active: bool = True


def sign_jws(key: RSAPrivateKey, claims: Mapping[str, Any], *, key_id: str) -> str:
    """`claims` as a compact JWS, RS256; members in the given order."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    header = {"alg": "RS256", "kid": key_id, "typ": "JWT"}
    text = f"{_base64url(msgspec.json.encode(header))}.{_base64url(msgspec.json.encode(claims))}"
    return f"{text}.{_base64url(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def verify_jws(compact: str, keys: Mapping[str, RSAPublicKey]) -> dict[str, Any] | None:
    """The claims of an RS256 JWS signed by the key its `kid` names; None for anything else. Times are not judged."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    parts = compact.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (msgspec.json.decode(_unbase64url(part), type=dict[str, Any]) for part in parts[:2])
        key = keys.get(str(header.get("kid")))
        if header.get("alg") != "RS256" or key is None:
            return None
        key.verify(_unbase64url(parts[2]), f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError, InvalidSignature):
        return None
    return claims


def assertion_claims(client: Client, *, now: int, jti: str, life_s: int = ASSERTION_LIFE_S) -> dict[str, Any]:
    """Claims of the client assertion: audience is the token URL; jti is random (AUTH-11).

    now: whole Unix seconds. `iat` stands 10 s back, against a clock that runs ahead of IBKR's (§7 trap 30).
    """
    return {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.base_url + OAUTH2_TOKEN.url_path(),
        "exp": now + life_s - 10,
        "iat": now - 10,
        "jti": jti,
    }


def assertion_problem(
    compact: str,
    keys: Mapping[str, RSAPublicKey],
    *,
    client_id: str,
    now: int,
    base_url: str = "https://api.ibkr.com",
    tolerance_s: int = 0,
) -> str | None:
    """What is wrong with a client assertion, or None. For vectors and pair tests; the simulator judges by itself."""
    claims = verify_jws(compact, keys)
    if claims is None:
        return "signature, algorithm or key id"
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        return "iss or sub"
    if claims.get("aud") not in ("/token", base_url + OAUTH2_TOKEN.url_path()):
        return "aud"
    expires, issued = claims.get("exp"), claims.get("iat")
    if not isinstance(expires, int) or not isinstance(issued, int):
        return "exp or iat missing"
    if expires <= now - tolerance_s:
        return "expired"
    return "issued in the future" if issued > now + tolerance_s else None


def token_request(client: Client, assertion: str, *, scope: str) -> Request:
    """POST /oauth2/api/v1/token. scope: names separated by blanks."""
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": _ASSERTION_TYPE,
        "client_assertion": assertion,
        "scope": scope,
    }
    url = client.base_url + OAUTH2_TOKEN.url_path()
    return Request(OAUTH2_TOKEN.method, url, headers={"Content-Type": _FORM}, body=urlencode(form).encode())


def read_token(response: Response) -> AccessGrant:
    """Raises CredentialsRejected (E-OA2-TOKEN, E-IP), SessionUnavailable, RateLimited, UnexpectedAnswer."""
    step = "OAuth 2.0 token"
    if response.status != 200:
        raise _refused(response, step, "E-OA2-TOKEN", "OAuth failed: IBKR refused the client assertion")
    try:
        answer = msgspec.json.decode(response.body, type=_TokenAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable_error(response, step) from error
    return AccessGrant(Secret(answer.access_token), answer.expires_in, answer.scope)


def sso_session_request(
    client: Client, access_token: Secret[str], *, credential: str, ip: str, now: int, life_s: int = SSO_LIFE_S
) -> Request:
    """POST /gw/api/v1/sso-sessions: the body is the compact JWS itself. ip: our public IPv4 as IBKR sees it."""
    claims = {"ip": ip, "credential": credential, "iss": client.client_id, "exp": now + life_s, "iat": now}
    return _jws_request(client, SSO_SESSIONS.url_path(), access_token, claims)


def echo_request(client: Client, access_token: Secret[str], claims: Mapping[str, Any], *, now: int) -> Request:
    """POST /gw/api/v1/echo/signed-jwt: the cheap way to try a key, its kid and a clock. Source: §2.5."""
    stamped = {**claims, "iss": client.client_id, "exp": now + ECHO_LIFE_S, "iat": now}
    return _jws_request(client, ECHO_SIGNED_JWT.url_path(), access_token, stamped)


def echo_https_request(base_url: str, access_token: Secret[str]) -> Request:
    """GET /gw/api/v1/echo/https."""
    return Request(ECHO_HTTPS.method, base_url + ECHO_HTTPS.url_path(), headers={"Authorization": bearer(access_token)})


def _jws_request(client: Client, path: str, access_token: Secret[str], claims: Mapping[str, Any]) -> Request:
    body = sign_jws(client.key, claims, key_id=client.key_id).encode()
    headers = {"Authorization": bearer(access_token), "Content-Type": _JWT}
    return Request("POST", client.base_url + path, headers=headers, body=body)


def bearer(token: Secret[str]) -> str:
    """The Authorization header's value."""
    return f"Bearer {token.reveal()}"


def read_sso_session(response: Response) -> Secret[str]:
    """The SSO bearer. Raises CredentialsRejected (E-OA2-SSO, E-IP), SessionUnavailable, RateLimited,
    UnexpectedAnswer."""
    step = "SSO session"
    if response.status != 200:
        raise _refused(response, step, "E-OA2-SSO", "SSO session failed")
    try:
        answer = msgspec.json.decode(response.body, type=_SsoAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable_error(response, step) from error
    if not answer.active:
        raise CredentialsRejected("SSO session failed: IBKR says it is not active", code="E-OA2-SSO")
    return Secret(answer.access_token)


def read_echo(response: Response) -> dict[str, Any]:
    """requestMethod, securityPolicy, queryParameters; errors as for the SSO session."""
    if response.status != 200:
        raise _refused(response, "echo", "E-OA2-TOKEN", "IBKR refused the echo call")
    try:
        return msgspec.json.decode(response.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable_error(response, "echo") from error


def _refused(response: Response, step: str, code: str, message: str) -> IbkitError:
    # 500 is listed among the failures of both calls (§2.2, §2.3) as trouble inside IBKR: it is not held against our
    # credentials. An address in the words comes first, whatever the status.
    reason = reason_of(response)
    address = address_error(reason)
    if address is not None:
        return address
    unavailable = unavailable_error(response, step)
    if unavailable is not None:
        return unavailable
    details = {"status": response.status, "step": step, "reason": reason}
    return CredentialsRejected(f"{message}: {reason or response.status}", code=code, details=details)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
