"""Whose credentials: keys for sealing and the sealing itself; and the chain of the audit log.

No I/O; `cryptography` is imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkit.vault.act import HERE, Act, Auditor, Result
from ibkit.vault.seal import KeyRing, Place, open_sealed, seal

__all__ = [
    "HERE",
    "Act",
    "Auditor",
    "EncryptionKeys",
    "KeyRing",
    "Place",
    "Result",
    "generate_encryption_keys",
    "open_sealed",
    "seal",
]


@dataclass(frozen=True, slots=True)
class EncryptionKeys:
    """key: 64 hex digits for `ENCRYPTION_KEY`. iv: 24 hex digits, only for reading data of the old fixed-IV format."""

    key: str = field(repr=False)
    iv: str = field(repr=False)


def generate_encryption_keys() -> EncryptionKeys:
    """Fresh keys from the operating system's random source (VLT-01)."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return EncryptionKeys(key=AESGCM.generate_key(256).hex(), iv=AESGCM.generate_key(128)[:12].hex())
