"""The calls that lead to a live session token, and how their answers read.

    request_token → (authorisation page) → access_token → live_session_token
    first parties start at live_session_token: the portal gave them the access token

Source: docs/facts/auth-and-sessions.md §1.5-1.8.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from ibkit.errors import ConfigError, CredentialsRejected, IbkitError, discreet
from ibkit.model import Secret
from ibkit.wire.endpoint import Endpoint
from ibkit.wire.http import Request, Response
from ibkit.wire.keys import rsa_plain
from ibkit.wire.login import ACCESS_TOKEN, LIVE_SESSION_TOKEN, REQUEST_TOKEN
from ibkit.wire.login_errors import address_error, reason_of, unavailable_error, unreadable_error
from ibkit.wire.oauth1 import RSA_SHA256, authorization_header, base_string, sign_rsa

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = [
    "AccessToken",
    "Consumer",
    "LiveSessionAnswer",
    "access_token_request",
    "authorisation_url",
    "decrypt_access_token_secret",
    "live_session_token_request",
    "read_access_token",
    "read_live_session_token",
    "read_request_token",
    "refused",
    "request_token_request",
]

_T = TypeVar("_T")
_AUTHORISE_AT_IBKR = "https://www.interactivebrokers.com/authorize"


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who signs the token calls. base_url: scheme and host, without /v1/api."""

    base_url: str
    consumer_key: str
    realm: str
    signature_key: RSAPrivateKey

    def __repr__(self) -> str:
        return f"Consumer({self.consumer_key!r} at {self.base_url})"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """secret: base64, encrypted to the public encryption key. is_paper: None where IBKR does not say."""

    token: str
    secret: Secret[str]
    is_paper: bool | None


class LiveSessionAnswer(msgspec.Struct, frozen=True):
    """diffie_hellman_response: hex. live_session_token_expiration: Unix milliseconds, read as the moment of expiry
    (§1.8: every client does, and it fits what they receive)."""

    diffie_hellman_response: str
    live_session_token_signature: str
    live_session_token_expiration: int

    @property
    def response(self) -> int:
        return int(self.diffie_hellman_response, 16)


class _RequestTokenAnswer(msgspec.Struct):
    oauth_token: str


class _AccessTokenAnswer(msgspec.Struct):
    oauth_token: str
    oauth_token_secret: str
    is_paper: bool | None = None
    is_true: bool | None = None
    """What IBKR's OpenAPI schema calls is_paper (§1.7)."""


def request_token_request(consumer: Consumer, *, nonce: str, timestamp: int, callback: str = "oob") -> Request:
    """POST /oauth/request_token: third parties only."""
    return _signed(consumer, REQUEST_TOKEN, {"oauth_callback": callback}, nonce=nonce, timestamp=timestamp)


def access_token_request(
    consumer: Consumer, *, request_token: str, verifier: str, nonce: str, timestamp: int
) -> Request:
    """POST /oauth/access_token: a verifier works once."""
    pairs = {"oauth_token": request_token, "oauth_verifier": verifier}
    return _signed(consumer, ACCESS_TOKEN, pairs, nonce=nonce, timestamp=timestamp)


def live_session_token_request(
    consumer: Consumer, *, access_token: str, secret: bytes, challenge: int, nonce: str, timestamp: int
) -> Request:
    """POST /oauth/live_session_token. secret: the decrypted access token secret. challenge: A = g^a mod p."""
    pairs = {"oauth_token": access_token, "diffie_hellman_challenge": f"{challenge:x}"}
    return _signed(consumer, LIVE_SESSION_TOKEN, pairs, nonce=nonce, timestamp=timestamp, prepend=secret.hex())


def _signed(
    consumer: Consumer,
    endpoint: Endpoint,
    pairs: dict[str, str],
    *,
    nonce: str,
    timestamp: int,
    prepend: str = "",
) -> Request:
    pairs = {
        "oauth_consumer_key": consumer.consumer_key,
        "oauth_nonce": nonce,
        "oauth_signature_method": RSA_SHA256,
        "oauth_timestamp": str(timestamp),
        **pairs,
    }
    url = consumer.base_url + endpoint.url_path()
    signature = sign_rsa(consumer.signature_key, base_string(endpoint.method, url, pairs, prepend=prepend))
    return Request(
        endpoint.method, url, headers={"Authorization": authorization_header(pairs, signature, consumer.realm)}
    )


def authorisation_url(base_url: str, request_token: str, redirect_uri: str | None = None) -> str:
    """Where the user's browser goes to agree. IBKR's page, or the simulator's own beside its API.

    Source: docs/facts/auth-and-sessions.md §1.6.
    """
    host = urlsplit(base_url).hostname or ""
    page = _AUTHORISE_AT_IBKR if host.endswith((".ibkr.com", ".interactivebrokers.com")) else f"{base_url}/authorize"
    query = {"oauth_token": request_token} | ({"redirect_uri": redirect_uri} if redirect_uri else {})
    return f"{page}?{urlencode(query)}"


def read_request_token(response: Response) -> str:
    """The request token; raises as `refused` says."""
    return _decode(response, _RequestTokenAnswer, "request token").oauth_token


def read_access_token(response: Response) -> AccessToken:
    """The access token and its encrypted secret; raises as `refused` says."""
    answer = _decode(response, _AccessTokenAnswer, "access token")
    is_paper = answer.is_true if answer.is_paper is None else answer.is_paper
    return AccessToken(answer.oauth_token, Secret(answer.oauth_token_secret), is_paper)


def read_live_session_token(response: Response) -> LiveSessionAnswer:
    """The other side's half of the exchange; raises as `refused` says."""
    answer = _decode(response, LiveSessionAnswer, "live session token")
    try:
        int(answer.diffie_hellman_response, 16)
    except ValueError as error:
        raise unreadable_error(response, "live session token") from error
    return answer


def _decode(response: Response, type_: type[_T], step: str) -> _T:
    if response.status != 200:
        raise refused(response, step)
    try:
        return msgspec.json.decode(response.body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # A refusal may hide in a 200 (docs/facts/auth-and-sessions.md §0.3).
        if reason_of(response) and not response.body.lstrip().startswith(b"<"):
            raise refused(response, step) from error
        raise unreadable_error(response, step) from error


def refused(response: Response, step: str) -> IbkitError:
    """Why IBKR refused this step, as exactly as its words allow. Source: §1.8 failures, §1.5, §1.7."""
    unavailable = unavailable_error(response, step)
    if unavailable is not None:
        return unavailable
    reason = reason_of(response)
    address = address_error(reason)
    if address is not None:
        return address
    low = reason.lower()
    details = {"status": response.status, "step": step, "reason": reason}
    if "invalid consumer" in low:
        return CredentialsRejected(
            "IBKR does not know this consumer key, or it is not active yet", code="E-OA1-CONSUMER", details=details
        )
    if "no access secret key found" in low:
        return CredentialsRejected(
            f"IBKR knows no such access token of this consumer (step {step})",
            code="E-OA1-TOKEN",
            remedy="The access token belongs to another consumer or was replaced: generate a new one in the portal.",
            details=details,
        )
    if "timestamp" in low:
        return CredentialsRejected(
            f"IBKR refused the timestamp of the signed request: {reason}", code="E-OA1-CLOCK", details=details
        )
    if step == "live session token":
        if response.status in (400, 411):
            return CredentialsRejected(
                f"IBKR refused the form of the live session token request: {reason or response.status}",
                code="E-OA1-SIGNATURE",
                details=details,
            )
        return CredentialsRejected("IBKR rejected the OAuth signature", code="E-OA1-SIGNATURE", details=details)
    return CredentialsRejected(
        f"OAuth token request failed at step {step}: {reason or f'status {response.status}'}",
        code="E-OA1-TOKEN",
        details=details,
    )


@discreet
def decrypt_access_token_secret(key: RSAPrivateKey, secret: Secret[str]) -> bytes:
    """The plain secret. Raises ConfigError (E-SECRET-DECRYPT).

    Source: docs/facts/auth-and-sessions.md §1.1 (base64 of RSA PKCS#1 v1.5), §7 trap 6.
    """
    size = (key.key_size + 7) // 8
    try:
        sealed = base64.b64decode("".join(secret.reveal().split()), validate=True)
    except (binascii.Error, ValueError):
        # The cause is not chained: its text may quote the value.
        raise ConfigError("The access token secret is not base64 text", code="E-SECRET-DECRYPT") from None
    if len(sealed) != size:
        raise ConfigError(
            f"The access token secret has {len(sealed)} bytes where the encryption key's {size} are expected: "
            "it was cut, or belongs to a key of another size",
            code="E-SECRET-DECRYPT",
        )
    plain = rsa_plain(key, sealed)
    if plain is None:
        raise ConfigError(
            "The access token secret does not open with this encryption key: it belongs to another one",
            code="E-SECRET-DECRYPT",
        )
    return plain
