"""The verifying side of OAuth 1.0a, from the published rules and nothing of the client's code.

    Authorization: OAuth realm="limited_poa", oauth_consumer_key="…", …, oauth_signature="…"
    base = prepend + METHOD & enc(URL) & enc(k1=v1&k2=v2…)      one round of encoding

Source: docs/facts/auth-and-sessions.md §1.2-1.8.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

from ibkit.sim.logins.logins import RsaPublicKey
from ibkit.sim.logins.rsa import verifies
from ibkit.sim.quirks import QueryStyle

try:
    import gmpy2
except ImportError:  # the extra `fast` is not installed; plain pow gives the same numbers
    gmpy2 = None

__all__ = ["DhAnswer", "Signed", "answer_challenge", "hmac_verifies", "missing_pairs", "parse_header", "rsa_verifies"]

_PAIR = re.compile(r'\s*([A-Za-z_0-9]+)\s*=\s*"([^"]*)"\s*(?:,|$)')
_ALWAYS = (
    "realm",
    "oauth_consumer_key",
    "oauth_nonce",
    "oauth_timestamp",
    "oauth_signature_method",
    "oauth_signature",
)


def parse_header(header: str) -> dict[str, str] | None:
    """The pairs of an `OAuth` header, decoded, in any order; None if it is not one."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "oauth":
        return None
    pairs: dict[str, str] = {}
    at = 0
    while at < len(rest):
        found = _PAIR.match(rest, at)
        if found is None or found[1] in pairs:
            return None
        pairs[found[1]] = unquote(found[2])
        at = found.end()
    return pairs


def missing_pairs(pairs: Mapping[str, str], *extra: str) -> list[str]:
    """Names that the header lacks, of those that every call needs and of `extra`."""
    return [name for name in (*_ALWAYS, *extra) if not pairs.get(name)]


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it may have been signed.

    bases: `https://host[:port]` under which a client may know us; path: as sent; query: as sent, without `?`.
    form:  pairs of a form body, which join the list in the listed style.
    """

    method: str
    bases: tuple[str, ...]
    path: str
    query: str
    pairs: Mapping[str, str]
    form: tuple[tuple[str, str], ...] = ()

    def base_strings(self, style: QueryStyle) -> Iterator[str]:
        """Every base string that IBKR is known to take for this request. Source: §1.3, "What about the query?"."""
        header = [(name, value) for name, value in self.pairs.items() if name not in ("realm", "oauth_signature")]
        for base in self.bases:
            url = base + self.path
            if style in ("any", "bare") or not (self.query or self.form):
                yield self._base_string(url, header, quote_plus)
            if self.query or self.form:
                yield from self._with_query(url, header, style)

    def _with_query(self, url: str, header: list[tuple[str, str]], style: QueryStyle) -> Iterator[str]:
        if style in ("any", "listed"):
            listed = [*header, *parse_qsl(self.query, keep_blank_values=True), *self.form]
            yield self._base_string(url, listed, quote_plus)
            yield self._base_string(url, listed, quote)
        if style in ("any", "in_url") and self.query:
            # The query as sent, and decoded: one client signs what .NET's Uri.ToString() prints.
            for query in dict.fromkeys((self.query, unquote(self.query), unquote_plus(self.query))):
                yield self._base_string(f"{url}?{query}", header, quote_plus)
                yield self._base_string(f"{url}?{query}", header, quote)

    def _base_string(self, url: str, pairs: Iterable[tuple[str, str]], encoder: object) -> str:
        enc = quote_plus if encoder is quote_plus else quote
        ordered = "&".join(f"{name}={value}" for name, value in sorted(pairs, key=lambda pair: pair[0].encode()))
        return f"{self.method.upper()}&{enc(url, safe='~')}&{enc(ordered, safe='~')}"


def rsa_verifies(signed: Signed, key: RsaPublicKey, style: QueryStyle, *, prepend: bytes = b"") -> bool:
    """Whether the header's RSA-SHA256 signature fits. prepend: the plain secret, for the live session token call."""
    signature = _signature(signed.pairs)
    return signature is not None and any(
        verifies(key, signature, (prepend.hex() + base).encode()) for base in signed.base_strings(style)
    )


def hmac_verifies(signed: Signed, token: bytes, style: QueryStyle) -> bool:
    """Whether the header's HMAC-SHA256 signature fits the live session token."""
    signature = _signature(signed.pairs)
    return signature is not None and any(
        hmac.compare_digest(hmac.digest(token, base.encode(), hashlib.sha256), signature)
        for base in signed.base_strings(style)
    )


def _signature(pairs: Mapping[str, str]) -> bytes | None:
    try:
        return base64.b64decode(pairs["oauth_signature"], validate=True)
    except (KeyError, binascii.Error):
        return None


@dataclass(frozen=True, slots=True)
class DhAnswer:
    """response: B in lower-case hex without padding. proof: 40 hex digits by which the client checks its token."""

    response: str
    token: bytes
    proof: str


def answer_challenge(
    *, prime: int, generator: int, challenge: str, exponent: int, secret: bytes, consumer_key: str
) -> DhAnswer | None:
    """The server's half of the exchange; None if `challenge` is no number of the group. Source: §1.8 derivation."""
    if not re.fullmatch(r"[0-9a-fA-F]+", challenge) or not 2 <= int(challenge, 16) <= prime - 2:
        return None
    shared = _power(int(challenge, 16), exponent, prime)
    # Java's BigInteger.toByteArray: shortest form, with a sign byte when the top bit would be set.
    key = shared.to_bytes(shared.bit_length() // 8 + 1, "big")
    token = hmac.digest(key, secret, hashlib.sha1)
    proof = hmac.digest(token, consumer_key.encode(), hashlib.sha1).hex()
    return DhAnswer(f"{_power(generator, exponent, prime):x}", token, proof)


def _power(base: int, exponent: int, modulus: int) -> int:
    return int(gmpy2.powmod(base, exponent, modulus)) if gmpy2 is not None else pow(base, exponent, modulus)
