"""Tokens that nobody issued, as in threat TM-13: for the reader of tokens, and for the service over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from user_desks import KEY, START

__all__ = ["FORGED", "GOOD", "HEADER", "made"]

SECOND = int(START.timestamp())
HEADER = {"alg": "HS256", "typ": "JWT"}
GOOD: dict[str, Any] = {
    "sub": "1" * 32,
    "iat": SECOND,
    "exp": SECOND + 86_400,
    "jti": "2" * 32,
    "iss": "ibkit",
    "aud": "ibkit-api",
    "scope": "orders:live orders:paper read",
    "gen": 2,
    "auth_time": SECOND,
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def made(header: object, claims: object, *, key: bytes = KEY.reveal().encode(), digest: str = "sha256") -> str:
    """As somebody would who knows `key`."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.new(key, signed.encode(), getattr(hashlib, digest)).digest())}"


def rs256(header: dict[str, Any]) -> str:
    signed = f"{part(header)}.{part(GOOD)}"
    return f"{signed}.{part(RSA_KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def claims(**changed: object) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | changed).items() if value is not None}


def respelled(token: str) -> str:
    """The same bytes in another spelling of base64: the last character carries bits that mean nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


# Many are signed with the right key: whoever reads tokens must not rely on nobody having it.
FORGED: dict[str, Callable[[], str]] = {
    "no signature, alg none": lambda: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(GOOD)}.",
    "alg none in another case": lambda: f"{part({'alg': 'nOnE', 'typ': 'JWT'})}.{part(GOOD)}.",
    "alg none, signed all the same": lambda: made({"alg": "none", "typ": "JWT"}, GOOD),
    "signature left away": lambda: made(HEADER, GOOD).rsplit(".", 1)[0] + ".",
    "two parts": lambda: made(HEADER, GOOD).rsplit(".", 1)[0],
    "another key": lambda: made(HEADER, GOOD, key=b"k" * 32),
    "an empty key": lambda: made(HEADER, GOOD, key=b""),
    "RS256, signed with a key of theirs": lambda: rs256({"alg": "RS256", "typ": "JWT"}),
    "a public key used as the secret of HS256": lambda: made(HEADER, GOOD, key=PUBLIC_PEM),
    "HS512 with the right key": lambda: made({"alg": "HS512", "typ": "JWT"}, GOOD, digest="sha512"),
    "HS384 with the right key": lambda: made({"alg": "HS384", "typ": "JWT"}, GOOD, digest="sha384"),
    "kid is a path": lambda: made(HEADER | {"kid": "../../../../dev/null"}, GOOD, key=b""),
    "kid is SQL": lambda: made(HEADER | {"kid": "x' UNION SELECT 'k' --"}, GOOD, key=b"k"),
    "jku": lambda: made(HEADER | {"jku": "https://attacker.example/keys.json"}, GOOD),
    "x5u": lambda: made(HEADER | {"x5u": "https://attacker.example/cert.pem"}, GOOD),
    "jwk": lambda: made(HEADER | {"jwk": {"kty": "oct", "k": part(b"k" * 32)}}, GOOD, key=b"k" * 32),
    "crit": lambda: made(HEADER | {"crit": ["exp"], "exp": 1}, GOOD),
    "b64 false": lambda: made(HEADER | {"crit": ["b64"], "b64": False}, GOOD),
    "wrong typ": lambda: made({"alg": "HS256", "typ": "at+jwt"}, GOOD),
    "wrong aud": lambda: made(HEADER, claims(aud="another-api")),
    "aud of the second step": lambda: made(HEADER, claims(aud="ibkit-code")),
    "aud a list": lambda: made(HEADER, claims(aud=["ibkit-api"])),
    "wrong iss": lambda: made(HEADER, claims(iss="https://attacker.example")),
    "expired": lambda: made(HEADER, claims(iat=SECOND - 90_000, exp=SECOND - 3_600, auth_time=SECOND - 90_000)),
    "no exp": lambda: made(HEADER, claims(exp=None)),
    "a century of life": lambda: made(HEADER, claims(exp=SECOND + 100 * 365 * 86_400)),
    "exp as text": lambda: made(HEADER, claims(exp=str(SECOND + 86_400))),
    "exp infinite": lambda: made(HEADER, json.dumps(GOOD | {"exp": float("inf")}).encode()),
    "issued in the future": lambda: made(HEADER, claims(iat=SECOND + 3_600, exp=SECOND + 7_200)),
    "nbf in the far future": lambda: made(HEADER, claims(nbf=SECOND + 10**9)),
    "signed in after it was issued": lambda: made(HEADER, claims(auth_time=SECOND + 10)),
    "live orders although nobody signed in": lambda: made(HEADER, claims(auth_time=None)),
    "a megabyte": lambda: made(HEADER, claims(pad="x" * 1_000_000)),
    "a claim twice": lambda: made(HEADER, (json.dumps(GOOD)[:-1] + f',"exp":{SECOND + 9}}}').encode()),
    "an unknown claim": lambda: made(HEADER, claims(role="owner")),
    "an unknown scope": lambda: made(HEADER, claims(scope="read everything")),
    "a user id in other digits": lambda: made(HEADER, claims(sub="١" * 32)),
    "a user id with a tail": lambda: made(HEADER, claims(sub="1" * 32 + "\n")),
    "the same in another spelling": lambda: respelled(made(HEADER, GOOD)),
    "padded": lambda: made(HEADER, GOOD) + "=",
    "white space": lambda: made(HEADER, GOOD).replace(".", ". ", 1),
    "full-width dots": lambda: made(HEADER, GOOD).replace(".", "．"),
    "five parts": lambda: made(HEADER, GOOD) + ".e30.e30",
    "claims a list": lambda: made(HEADER, [GOOD]),
    "claims deep": lambda: made(HEADER, b"[" * 5_000 + b"]" * 5_000),
    "header with blanks": lambda: made(json.dumps(HEADER).encode(), GOOD),
    "empty": lambda: "",
    "lone surrogate": lambda: "\ud800." * 3,
    "NUL": lambda: made(HEADER, GOOD).replace(".", ".\0", 1),
    "a machine key of nobody": lambda: "ibk_" + "0" * 16 + "_" + "0" * 64,
    "a machine key that is SQL": lambda: "ibk_' OR 1=1 --_" + "0" * 64,
}
