"""OAuth 1.0a as IBKR speaks it: base string, signatures, header, the live session token. No I/O, no clock.

    base = prepend + METHOD + "&" + enc(URL) + "&" + enc("k1=v1&k2=v2…")      keys sorted by bytes, one round of enc
    header = OAuth realm="…", k="v", …                                         realm first, the rest sorted

`Signer` is the short way for API calls (a few microseconds); the plain functions beside it are the long way that
vectors and pair tests check it against. The calls that lead to a token stand in `oauth1_tokens.py`.
Source: docs/facts/auth-and-sessions.md §1.2-1.4, §1.8.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote_plus, unquote_plus

from ibkit.errors import InvalidRequest
from ibkit.wire.dh import java_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

__all__ = [
    "HMAC_SHA256",
    "RSA_SHA256",
    "QueryStyle",
    "Signer",
    "authorization_header",
    "base_string",
    "encode",
    "live_session_token",
    "live_session_token_proof",
    "parse_authorization",
    "proves_live_session_token",
    "sign_hmac",
    "sign_rsa",
    "verify_hmac",
    "verify_rsa",
]

RSA_SHA256 = "RSA-SHA256"
HMAC_SHA256 = "HMAC-SHA256"
LIVE_SESSION_TOKEN_BYTES = 20


class QueryStyle(enum.Enum):
    """What becomes of a URL's query in the base string. IBKR takes each; we send BARE. Source: §1.3 of the facts."""

    BARE = "bare"
    """URL without query; the query is not signed."""
    LISTED = "listed"
    """URL without query; decoded query and form pairs join the sorted list."""
    IN_URL = "in_url"
    """URL with the query as sent."""
    IN_URL_DECODED = "in_url_decoded"
    """URL with the query percent-decoded, as .NET prints it; nobody should start doing so."""


def encode(text: str) -> str:
    """Percent-encoding in which only `A-Z a-z 0-9 - . _ ~` stay; a blank becomes `+`, as ibind has it."""
    return quote_plus(text, safe="")


def base_string(
    method: str,
    url: str,
    pairs: Mapping[str, str],
    *,
    style: QueryStyle = QueryStyle.BARE,
    form: Iterable[tuple[str, str]] = (),
    prepend: str = "",
) -> str:
    """The text that is signed.

    url:     as sent, with its query.
    pairs:   the header's pairs; `realm` and `oauth_signature` are left out here.
    form:    pairs of a form body; they count in style LISTED only. A JSON body is never signed.
    prepend: lower-case hex of the decrypted access token secret, for the live session token request alone.
    """
    address, _, query = url.partition("?")
    signed = {name: value for name, value in pairs.items() if name not in ("realm", "oauth_signature")}
    if style is QueryStyle.LISTED:
        signed.update(parse_qsl(query, keep_blank_values=True))
        signed.update(form)
    elif style is QueryStyle.IN_URL and query:
        address = f"{address}?{query}"
    elif style is QueryStyle.IN_URL_DECODED and query:
        decoded = "&".join(f"{name}={value}" for name, value in parse_qsl(query, keep_blank_values=True))
        address = f"{address}?{decoded}"
    joined = "&".join(f"{name}={signed[name]}" for name in sorted(signed))
    return f"{prepend}{method.upper()}&{encode(address)}&{encode(joined)}"


def sign_rsa(key: RSAPrivateKey, text: str) -> str:
    """RSASSA-PKCS1-v1_5 over SHA-256, base64 on one line, not yet percent-encoded."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def verify_rsa(key: RSAPublicKey, text: str, signature: str) -> bool:
    """signature: base64, percent-decoded."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        key.verify(base64.b64decode(signature, validate=True), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def sign_hmac(token: bytes, text: str) -> str:
    """HMAC-SHA256 under the 20 bytes of the live session token, base64, not yet percent-encoded."""
    return base64.b64encode(hmac.digest(token, text.encode(), "sha256")).decode()


def verify_hmac(token: bytes, text: str, signature: str) -> bool:
    """signature: base64, percent-decoded. Compared in constant time."""
    return hmac.compare_digest(sign_hmac(token, text).encode(), signature.encode())


def authorization_header(pairs: Mapping[str, str], signature: str, realm: str, *, realm_first: bool = True) -> str:
    """signature: base64; it is percent-encoded here. realm_first=False sorts the realm among the rest."""
    shown = {**pairs, "oauth_signature": encode(signature)}
    if not realm_first:
        shown["realm"] = realm
    listed = ", ".join(f'{name}="{shown[name]}"' for name in sorted(shown))
    return f'OAuth realm="{realm}", {listed}' if realm_first else f"OAuth {listed}"


_PAIR = re.compile(r'\s*([A-Za-z0-9_]+)\s*=\s*"([^"]*)"\s*(?:,|$)')


def parse_authorization(header: str) -> dict[str, str]:
    """The pairs of an `Authorization: OAuth …` header, `realm` among them, the signature percent-decoded.

    Raises InvalidRequest if it is not such a header or a name stands in it twice.
    """
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "oauth":
        raise InvalidRequest("the Authorization header is not OAuth")
    pairs: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _PAIR.match(rest, at)
        if match is None or match[1] in pairs:
            raise InvalidRequest("the Authorization header is malformed")
        pairs[match[1]] = match[2]
        at = match.end()
    if "oauth_signature" in pairs:
        # base64 uses "+", which unquote_plus would take for a blank where a client left it bare.
        pairs["oauth_signature"] = unquote_plus(pairs["oauth_signature"].replace("+", "%2B"))
    return pairs


def live_session_token(shared_secret: int, access_token_secret: bytes) -> bytes:
    """The 20 bytes that sign every request after the handshake.

    shared_secret:       K of the Diffie-Hellman exchange; its Java bytes are the HMAC's key.
    access_token_secret: decrypted, raw bytes, not their hex text.
    Source: docs/facts/auth-and-sessions.md §1.8 derivation, steps 2-3.
    """
    return hmac.digest(java_bytes(shared_secret), access_token_secret, "sha1")


def live_session_token_proof(token: bytes, consumer_key: str) -> str:
    """What IBKR sends as `live_session_token_signature`: 40 hex digits. Source: §1.8 derivation, step 4."""
    return hmac.digest(token, consumer_key.encode(), "sha1").hex()


def proves_live_session_token(token: bytes, consumer_key: str, proof: str) -> bool:
    """Whether IBKR derived the same token. Compared in constant time."""
    return hmac.compare_digest(live_session_token_proof(token, consumer_key).encode(), proof.lower().encode())


_BACKWARDS_S = 300
_REMEMBERED_ADDRESSES = 512


class Signer:
    """Signs API calls of one user with one live session token, style BARE.

    Whatever is the same in every call is encoded once: the start of the list here, the address on first use.
    """

    __slots__ = ("_addresses", "_head", "_keyed", "_last", "_list_head", "_random", "_tail")

    def __init__(
        self, *, consumer_key: str, access_token: str, realm: str, token: bytes, random: Callable[[int], bytes]
    ) -> None:
        assert len(token) == LIVE_SESSION_TOKEN_BYTES
        self._random = random
        self._keyed = hmac.new(token, digestmod=hashlib.sha256)
        self._head = f'OAuth realm="{realm}", oauth_consumer_key="{consumer_key}", oauth_nonce="'
        self._list_head = encode(f"oauth_consumer_key={consumer_key}&oauth_nonce=")
        self._tail = encode(f"&oauth_token={access_token}"), access_token
        self._addresses: dict[tuple[str, str], str] = {}
        self._last = 0

    def authorization(self, method: str, url: str, timestamp: int) -> str:
        """The Authorization header for one attempt: fresh nonce (32 hex digits), `timestamp` in whole seconds."""
        address = url.partition("?")[0]
        start = self._addresses.get((method, address))
        if start is None:
            start = self._remember(method, address)
        # IBKR wants timestamps that never fall (§1.2); a small step back of the clock must not break signing.
        if self._last - _BACKWARDS_S < timestamp < self._last:
            timestamp = self._last
        else:
            self._last = timestamp
        nonce = self._random(16).hex()
        tail, access_token = self._tail
        mac = self._keyed.copy()
        mac.update(
            f"{start}{nonce}%26oauth_signature_method%3DHMAC-SHA256%26oauth_timestamp%3D{timestamp}{tail}".encode()
        )
        signature = binascii.b2a_base64(mac.digest(), newline=False).decode()
        signature = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        return (
            f'{self._head}{nonce}", oauth_signature="{signature}", oauth_signature_method="HMAC-SHA256", '
            f'oauth_timestamp="{timestamp}", oauth_token="{access_token}"'
        )

    def _remember(self, method: str, address: str) -> str:
        if len(self._addresses) >= _REMEMBERED_ADDRESSES:
            # Order ids make new addresses without end; starting over costs 20 µs each for the common ones.
            self._addresses.clear()
        start = f"{method.upper()}&{encode(address)}&{self._list_head}"
        self._addresses[method, address] = start
        return start
