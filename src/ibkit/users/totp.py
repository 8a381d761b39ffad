"""The second step: codes of an authenticator app (RFC 6238: SHA-1, 30 s, 6 digits), and recovery codes.

A code is good once: the step it belongs to is kept, and only a later one is accepted. A step to either side is allowed
for clocks that are apart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote, urlencode

from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.users.digests import Random, digest
from ibkit.users.ports import Sealing
from ibkit.users.user import User, unauthorized

__all__ = [
    "SECRET_BYTES",
    "code_at",
    "enrolment_address",
    "new_recovery_codes",
    "with_code_used",
    "with_totp",
    "with_totp_confirmed",
    "without_totp",
]

SECRET_BYTES = 20
"""Of SHA-1's own length. Source: RFC 4226 §4 R6, at least 128 bits, 160 recommended."""
STEP_S, DIGITS, DRIFT = 30, 6, 1
_RECOVERY_CODES, _RECOVERY_BYTES = 10, 16


def code_at(secret: Secret[bytes], step: int, *, digits: int = DIGITS, algorithm: str = "sha1") -> str:
    """The code of the `step`th 30 seconds since 1970. Source: RFC 4226 §5.3, RFC 6238 §4."""
    mac = hmac.new(secret.reveal(), struct.pack(">Q", step), getattr(hashlib, algorithm)).digest()
    place = mac[-1] & 0x0F
    number = int.from_bytes(mac[place : place + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def enrolment_address(name: str, secret: Secret[bytes]) -> Secret[str]:
    """`otpauth://totp/…`, which an authenticator app reads, mostly as a QR code."""
    query = urlencode({"secret": base64.b32encode(secret.reveal()).decode(), "issuer": "ibkit"})
    return Secret(f"otpauth://totp/ibkit:{quote(name)}?{query}")


def with_totp(user: User, sealed: str) -> User:
    """Begun; in force only when a first code has shown that the app has it. ConfigError where one is in force."""
    if user.needs_code:
        raise ConfigError(
            f"Invalid request: {user.name} has a second step already",
            code="E-VALIDATION",
            remedy="Take it off first: `ibkit user totp NAME --off`.",
        )
    return replace(user, totp_secret=sealed, totp_since=None, totp_step=0, recovery=())


def with_totp_confirmed(
    user: User, code: str, recovery: tuple[Secret[str], ...], sealing: Sealing, now: datetime
) -> User:
    """In force. AuthError for a wrong code, or where nothing was begun."""
    if not user.totp_secret or user.totp_since is not None:
        raise unauthorized()
    used = _used(user, code, sealing, now)
    if used is None:
        raise unauthorized()
    return replace(used, totp_since=now, recovery=tuple(digest(each) for each in recovery))


def without_totp(user: User) -> User:
    return replace(user, totp_secret="", totp_since=None, totp_step=0, recovery=())


def with_code_used(user: User, code: str, sealing: Sealing, now: datetime) -> User:
    """`code` used up: one of the app, or a recovery code. AuthError where it is wrong or was used before."""
    if not user.needs_code:
        raise unauthorized()
    # A recovery code first: it is for days on which the other way is shut, also by a vault key that is gone.
    changed = _recovered(user, code) or _used(user, code, sealing, now)
    if changed is None:
        raise unauthorized()
    return changed


def new_recovery_codes(random: Random) -> tuple[Secret[str], ...]:
    """Ten of them, 128 bits each: `abcd-efgh-ijkl-mnop-qrst-uvwx-yz`. Shown once.

    So many that their plain digest can be kept. Source: OWASP ASVS 5.0 V6.5.2 (112 bits), V11.5.1 (128).
    """
    codes = []
    for _ in range(_RECOVERY_CODES):
        text = base64.b32encode(random(_RECOVERY_BYTES)).decode().rstrip("=").lower()
        codes.append(Secret("-".join(text[i : i + 4] for i in range(0, len(text), 4))))
    return tuple(codes)


def _used(user: User, code: str, sealing: Sealing, now: datetime) -> User | None:
    secret = sealing.open(user.user_id, user.totp_secret)
    typed, current = code.replace(" ", ""), int(now.timestamp()) // STEP_S
    found = None
    # All of them are compared, also after a hit: the time tells nothing.
    for step in range(current - DRIFT, current + DRIFT + 1):
        same = hmac.compare_digest(code_at(secret, step).encode(), typed.encode("utf-8", "replace"))
        if same and step > user.totp_step:
            found = step
    return None if found is None else replace(user, totp_step=found)


def _recovered(user: User, code: str) -> User | None:
    typed = digest(Secret(_grouped(code)))
    left = tuple(each for each in user.recovery if not hmac.compare_digest(each, typed))
    return None if len(left) == len(user.recovery) else replace(user, recovery=left)


def _grouped(code: str) -> str:
    """As it was printed, however it was typed."""
    letters = "".join(code.lower().replace("-", "").split())[:64]
    return "-".join(letters[i : i + 4] for i in range(0, len(letters), 4))
