"""Text of an older product, sealed with one fixed nonce. It is only read; nothing is ever written so (VLT-03).

    <ciphertext hex>:<tag hex>        AES-256-GCM(vault key, text) with ENCRYPTION_IV as nonce, no associated data

One nonce for many texts breaks GCM, and nothing binds such text to its place: whoever reads it seals it anew at once.
Source: requirement VLT-03 for the form; that there is no associated data is *assumed* (a text that has some is
refused with E-ENC, so a wrong guess loses nothing).
"""

from __future__ import annotations

import re

from ibkit.errors import ConfigError, StorageError, discreet
from ibkit.model import Secret
from ibkit.vault.seal import KeyRing

__all__ = ["is_fixed_iv", "iv_from_hex", "open_fixed_iv"]

_FORM = re.compile(r"(?:[0-9a-fA-F]{2})*:[0-9a-fA-F]{32}")
_IV = re.compile(r"[0-9a-fA-F]{24}")


def is_fixed_iv(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


@discreet
def iv_from_hex(text: Secret[str]) -> Secret[bytes]:
    """`ENCRYPTION_IV` as bytes. Raises ConfigError (E-ENC-KEY)."""
    digits = text.reveal().strip()
    if not _IV.fullmatch(digits):
        raise ConfigError(
            f"Encryption failed: ENCRYPTION_IV has {len(digits)} characters where 24 hex digits are expected",
            code="E-ENC-KEY",
            remedy="Set ENCRYPTION_IV as the older product had it, or remove it where nothing of it is left.",
        )
    return Secret(bytes.fromhex(digits))


@discreet
def open_fixed_iv(text: str, ring: KeyRing, iv: Secret[bytes] | None) -> Secret[bytes]:
    """What the older product sealed with any key of the ring. Raises StorageError (E-ENC)."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if iv is None:
        raise StorageError(
            "Encryption failed: a stored secret has the old fixed-IV format, and ENCRYPTION_IV is not set",
            code="E-ENC",
            remedy="Set ENCRYPTION_IV as the older product had it; what is read is then sealed anew.",
        )
    sealed, tag = text.split(":")
    for key in ring:
        try:
            return Secret(AESGCM(key.reveal()).decrypt(iv.reveal(), bytes.fromhex(sealed + tag), None))
        except InvalidTag:
            continue
    raise StorageError(
        "Encryption failed: a stored secret of the old fixed-IV format opens with none of the keys", code="E-ENC"
    )
