"""What is kept of a secret that is long and random: its SHA-256. Words that people choose are for argon2 instead."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from ibkit.model import Secret

__all__ = ["Random", "digest", "new_id", "new_secret"]

Random = Callable[[int], bytes]
"""n → n random bytes from a cryptographic source (`secrets.token_bytes`)."""
_SECRET_BYTES = 32


def digest(secret: Secret[str]) -> str:
    """64 hex digits."""
    return hashlib.sha256(secret.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def new_secret(random: Random) -> Secret[str]:
    """256 random bits as 43 characters that need no escaping in a header, a cookie or an address."""
    return Secret(base64.urlsafe_b64encode(random(_SECRET_BYTES)).rstrip(b"=").decode())


def new_id(random: Random) -> str:
    """32 hex digits that nobody guesses and nothing tells."""
    return random(16).hex()
