"""Whose credentials: keys for sealing and the sealing itself; and the chain of the audit log.

No I/O; `cryptography` is imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkit.vault.act import HERE, Act, Auditor, Result
from ibkit.vault.credential import FIELDS, Draft, MaskedCredential, OpenCredential, Status
from ibkit.vault.passphrase import open_with_passphrase, seal_with_passphrase
from ibkit.vault.seal import KeyRing, Place, key_from_hex, key_id_of, open_sealed, seal
from ibkit.vault.sealer import Sealer

__all__ = [
    "FIELDS",
    "HERE",
    "Act",
    "Auditor",
    "Draft",
    "EncryptionKeys",
    "KeyRing",
    "MaskedCredential",
    "OpenCredential",
    "Place",
    "Result",
    "Sealer",
    "Status",
    "generate_encryption_keys",
    "key_from_hex",
    "key_id_of",
    "open_sealed",
    "open_with_passphrase",
    "seal",
    "seal_with_passphrase",
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
