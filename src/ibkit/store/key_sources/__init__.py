"""Where the vault's keys come from (VLT-06). Keys are held in memory alone, each in a `Secret`.

    env        ENCRYPTION_KEY, ENCRYPTION_KEY_PREVIOUS; a new key goes into the settings file
    file       ENCRYPTION_KEY_FILE: a key a line
    keyring    the operating system's own, entry ENCRYPTION_KEYRING_NAME of the service "ibkit"
    command    what ENCRYPTION_KEY_COMMAND prints: a key a line; it makes none
    aws-kms    ENCRYPTION_KEY_FILE: a key a line, each wrapped by the key ENCRYPTION_KMS_KEY_ID of AWS KMS

Newest first everywhere: the first one seals, the others only open. Everything here blocks.
"""

from __future__ import annotations

from typing import Protocol

from ibkit.model import Secret
from ibkit.vault import generate_encryption_keys

__all__ = ["KeySource", "Keys", "fresh_key"]

Keys = tuple[Secret[str], ...]
"""Each 64 hex digits, newest first."""


class KeySource(Protocol):
    """ConfigError (E-ENC-KEY) of every verb says which source failed, and nothing of what it holds."""

    @property
    def name(self) -> str:
        """What people call it: `file /etc/ibkit/keys`."""
        ...

    def read(self) -> Keys:
        """Every key; none where it was never given one."""
        ...

    def put(self, key: Secret[str] | None) -> None:
        """Keep a key as the newest, a fresh one for None; the others stay. On return it is safe from a power cut."""
        ...


def fresh_key() -> Secret[str]:
    return Secret(generate_encryption_keys().key)
