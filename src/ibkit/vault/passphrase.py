"""Sealing with a passphrase, for what leaves this machine: the secrets of a backup.

    magic "IBKS1" | log2 N, r, p (a byte each) | salt (16) | nonce (12) | AES-256-GCM of the text, tag (16) at its end

The key is scrypt of the passphrase with that salt and those costs (RFC 7914); all bytes before the ciphertext, and the
place the text was sealed for, are authenticated with it. So another program can open it with nothing but this page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ibkit.errors import ConfigError, StorageError, discreet
from ibkit.model import Secret

__all__ = ["SHORTEST", "open_with_passphrase", "seal_with_passphrase"]

MAGIC = b"IBKS1"
SHORTEST = 12
"""Characters of a passphrase: who has the file may guess for years."""
_LOG2_N, _R, _P = 17, 8, 1
"""128 MiB and some four tenths of a second for each guess. Source: OWASP ASVS 5.0, appendix C, scrypt."""
_MOST_LOG2_N, _MOST_R, _MOST_P = 20, 16, 4
"""A file may ask for no more: opening it must not take the machine's memory."""
_SALT, _NONCE = 16, 12
_HEAD = len(MAGIC) + 3 + _SALT + _NONCE


@discreet
def seal_with_passphrase(
    text: Secret[bytes], passphrase: Secret[str], *, place: str, random: Callable[[int], bytes]
) -> bytes:
    """`text` sealed for `place` (what it is part of). random: n → n bytes from a cryptographic source. ConfigError."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(passphrase.reveal()) < SHORTEST:
        raise ConfigError(
            "Invalid request: passphrase: it is too short",
            code="E-VALIDATION",
            remedy=f"Use at least {SHORTEST} characters; five words by chance are easy to remember and hard to guess.",
        )
    head = MAGIC + bytes((_LOG2_N, _R, _P)) + random(_SALT) + random(_NONCE)
    return head + AESGCM(_key(passphrase, head)).encrypt(head[-_NONCE:], text.reveal(), head + place.encode())


@discreet
def open_with_passphrase(sealed: bytes, passphrase: Secret[str], *, place: str) -> Secret[bytes]:
    """The text, if it was sealed for `place` with this passphrase. StorageError (E-ENC)."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head, rest = sealed[:_HEAD], sealed[_HEAD:]
    if len(head) < _HEAD or not head.startswith(MAGIC):
        raise _failed("it is not sealed text of this version", "Take a backup that this ibkit has made.")
    log2_n, r, p = head[len(MAGIC) : len(MAGIC) + 3]
    if not (1 <= log2_n <= _MOST_LOG2_N and 1 <= r <= _MOST_R and 1 <= p <= _MOST_P):
        raise _failed("its costs are out of bounds", "Take another copy of the file.")
    try:
        return Secret(AESGCM(_key(passphrase, head)).decrypt(head[-_NONCE:], rest, head + place.encode()))
    except InvalidTag:
        # Not chained: a wrong passphrase and a changed file look alike, on purpose.
        raise _failed(
            "wrong passphrase, or the file was changed", "Repeat with the passphrase it was made with."
        ) from None


def _key(passphrase: Secret[str], head: bytes) -> bytes:
    log2_n, r, p = head[len(MAGIC) : len(MAGIC) + 3]
    salt = head[len(MAGIC) + 3 : -_NONCE]
    n = 1 << log2_n
    return hashlib.scrypt(
        passphrase.reveal().encode(), salt=salt, n=n, r=r, p=p, dklen=32, maxmem=256 * n * r * p + (1 << 20)
    )


def _failed(reason: str, remedy: str) -> StorageError:
    return StorageError(
        f"Encryption failed: the sealed secrets cannot be opened: {reason}", code="E-ENC", remedy=remedy
    )
