"""RSA as the simulated servers need it, from RFC 8017 in a few lines: check a signature, encrypt a secret.

Written apart from the client's signing on purpose: a mistake there must not hide here (docs/style.md, adding things).
"""

from __future__ import annotations

import hashlib
import hmac
import random

from ibkit.sim.logins.logins import RsaPublicKey

__all__ = ["encrypt", "verifies"]

_SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
"""DigestInfo of SHA-256. Source: RFC 8017 §9.2, note 1."""


def verifies(key: RsaPublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is RSASSA-PKCS1-v1_5 over SHA-256 of `message` under `key`. Source: RFC 8017 §8.2.2."""
    length = (key.n.bit_length() + 7) // 8
    number = int.from_bytes(signature, "big")
    if len(signature) != length or number >= key.n:
        return False
    digest_info = _SHA256_PREFIX + hashlib.sha256(message).digest()
    expected = b"\x00\x01" + b"\xff" * (length - len(digest_info) - 3) + b"\x00" + digest_info
    return hmac.compare_digest(pow(number, key.e, key.n).to_bytes(length, "big"), expected)


def encrypt(key: RsaPublicKey, plain: bytes, chance: random.Random) -> bytes:
    """RSAES-PKCS1-v1_5 of `plain`, padded from `chance` so that one seed gives one text. Source: RFC 8017 §7.2.1."""
    length = (key.n.bit_length() + 7) // 8
    padding = bytes(chance.randint(1, 255) for _ in range(length - len(plain) - 3))
    assert len(padding) >= 8, "the secret is too long for this key"
    block = b"\x00\x02" + padding + b"\x00" + plain
    return pow(int.from_bytes(block, "big"), key.e, key.n).to_bytes(length, "big")
