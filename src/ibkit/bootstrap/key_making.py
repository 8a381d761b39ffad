"""The keys that IBKR's portal asks for, made without openssl: for `ibkit keys generate` and for the page that connects.

What is made is text; where it is kept, in files (`keyfiles`) or in the vault, is for whoever asked.
Source: requirement SET-01; docs/facts/auth-and-sessions.md §1.1.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Literal

from ibkit.bootstrap import primes
from ibkit.model import Secret

__all__ = ["DH_BITS", "FILES", "TO_UPLOAD", "TRIES_ON_AVERAGE", "Kind", "Stage", "Tell", "make_files", "public_files"]

Kind = Literal["oauth1a", "oauth2"]
DH_BITS = 2048
TRIES_ON_AVERAGE = 3_000
"""Numbers that are tested until one is a safe prime of that size."""
FILES: Mapping[Kind, tuple[str, ...]] = {
    "oauth1a": (
        "private_signature.pem",
        "public_signature.pem",
        "private_encryption.pem",
        "public_encryption.pem",
        "dhparam.pem",
    ),
    "oauth2": ("private_oauth2.pem", "public_oauth2.pem"),
}
TO_UPLOAD: Mapping[Kind, tuple[str, ...]] = {
    kind: tuple(name for name in names if not name.startswith("private")) for kind, names in FILES.items()
}


class Stage(enum.StrEnum):
    KEYS = "keys"
    PRIME = "prime"


Tell = Callable[[Stage, int], None]
"""Told of the stage, and of the prime how many numbers have been tried. What it raises ends the work."""


def make_files(kind: Kind, tell: Tell, *, passphrase: Secret[str] | None = None, apart: bool = False) -> dict[str, str]:
    """File name → its text, in the order of `FILES`. apart: see `primes.search`."""
    from ibkit.wire.dh import DhParams, write_params_pem
    from ibkit.wire.keys import make_key_pair

    tell(Stage.KEYS, 0)
    if kind == "oauth2":
        private, public = make_key_pair(passphrase=passphrase)
        return {"private_oauth2.pem": private.reveal(), "public_oauth2.pem": public}
    signature, encryption = make_key_pair(passphrase=passphrase), make_key_pair(passphrase=passphrase)
    tell(Stage.PRIME, 0)
    more = {"apart": True} if apart else {}
    prime = primes.search(DH_BITS, lambda tried: tell(Stage.PRIME, tried), **more)
    return {
        "private_signature.pem": signature[0].reveal(),
        "public_signature.pem": signature[1],
        "private_encryption.pem": encryption[0].reveal(),
        "public_encryption.pem": encryption[1],
        "dhparam.pem": write_params_pem(DhParams(prime)),
    }


def public_files(signature_key: Secret[str], encryption_key: Secret[str], dh_params: Secret[str]) -> dict[str, str]:
    """What is uploaded for OAuth 1.0a, from what is kept. ConfigError for a key that is none."""
    return {
        "public_signature.pem": _public(signature_key, "signature key"),
        "public_encryption.pem": _public(encryption_key, "encryption key"),
        "dhparam.pem": dh_params.reveal(),
    }


def _public(private: Secret[str], what: str) -> str:
    from cryptography.hazmat.primitives import serialization

    from ibkit.wire.keys import load_private_key

    key = load_private_key(private, what=what).public_key()
    raw = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return raw.decode("ascii")
