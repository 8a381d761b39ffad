"""Sealed text: AES-256-GCM with a data key for each record, bound to the place where it is stored.

    v1.<key id>.<wrapped data key>.<nonce>.<ciphertext+tag>        four parts base64url without padding

    data key       32 random bytes
    wrapped key    nonce (12) + AES-256-GCM(vault key, data key) + tag (16), AAD = "ibkit wrap" + the binding
    ciphertext     AES-256-GCM(data key, text) + tag (16), AAD = "ibkit text" + the binding
    binding        format version, key id, user, record, field: each as 4-byte length and UTF-8
    key id         first 8 hex digits of SHA-256("ibkit key id" + vault key)

Moving sealed text to another user, record or field makes it unreadable, as does changing a bit. The binding names the
vault key, so a new vault key means sealing anew (`rewrap`). Requirement VLT-02.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ibkit.errors import ConfigError, StorageError, discreet
from ibkit.model import Secret

__all__ = [
    "KeyRing",
    "Place",
    "check_value",
    "key_from_hex",
    "key_id_of",
    "open_check",
    "open_sealed",
    "prefix_of",
    "rewrap",
    "seal",
]

VERSION = "v1"
KEY_BYTES, NONCE_BYTES = 32, 12
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_CHECK = b"ibkit vault check"


@dataclass(frozen=True, slots=True)
class Place:
    """Where sealed text belongs. user: "" for the owner of a single-user installation."""

    user: str
    record: str
    field: str


@discreet
def key_from_hex(text: Secret[str]) -> Secret[bytes]:
    """`ENCRYPTION_KEY` as bytes. Raises ConfigError (E-ENC-KEY)."""
    digits = text.reveal().strip()
    if not _HEX.fullmatch(digits):
        raise ConfigError(
            f"Encryption key malformed: {len(digits)} characters where 64 hex digits are expected", code="E-ENC-KEY"
        )
    if len(set(digits.lower())) == 1:
        raise ConfigError("Encryption key malformed: all its digits are the same", code="E-ENC-KEY")
    return Secret(bytes.fromhex(digits))


class KeyRing:
    """The vault key that seals, and the older ones that still open."""

    __slots__ = ("_by_id", "_current")

    def __init__(self, current: Secret[bytes], previous: Sequence[Secret[bytes]] = ()) -> None:
        for key in (current, *previous):
            assert len(key.reveal()) == KEY_BYTES, "a vault key has 32 bytes"
        self._current = key_id(current)
        self._by_id = {key_id(key): key for key in (*previous, current)}

    @classmethod
    def from_hex(cls, current: Secret[str], previous: Sequence[Secret[str]] = ()) -> KeyRing:
        """From `ENCRYPTION_KEY` and the items of `ENCRYPTION_KEY_PREVIOUS`. Raises ConfigError (E-ENC-KEY)."""
        return cls(key_from_hex(current), [key_from_hex(key) for key in previous])

    @property
    def current_id(self) -> str:
        return self._current

    def key(self, id_: str) -> Secret[bytes] | None:
        return self._by_id.get(id_)

    def ids(self) -> frozenset[str]:
        return frozenset(self._by_id)

    def __iter__(self) -> Iterator[Secret[bytes]]:
        """Every key, the current one last."""
        return iter(self._by_id.values())

    def alone(self) -> KeyRing:
        """The current key without the older ones: what still opens with it needs them no longer."""
        return KeyRing(self._by_id[self._current])

    def __repr__(self) -> str:
        return f"KeyRing({self._current}, {len(self._by_id) - 1} previous)"


def key_id(key: Secret[bytes]) -> str:
    return hashlib.sha256(b"ibkit key id" + key.reveal()).hexdigest()[:8]


def prefix_of(id_: str) -> str:
    """How all text begins that is sealed with the key of this id."""
    return f"{VERSION}.{id_}."


def key_id_of(sealed: str) -> str:
    """The id of the key that text was sealed with, as the text says; "" for text of another format."""
    parts = sealed.split(".", 2)
    return parts[1] if len(parts) == 3 and parts[0] == VERSION else ""


def seal(text: Secret[bytes], place: Place, ring: KeyRing, random: Callable[[int], bytes]) -> str:
    """`text` sealed with the ring's current key.

    random: n → n bytes from a cryptographic source; data key and nonces come from it.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    vault_key = ring.key(ring.current_id)
    assert vault_key is not None
    data_key, wrap_nonce, nonce = random(KEY_BYTES), random(NONCE_BYTES), random(NONCE_BYTES)
    binding = _binding(ring.current_id, place)
    wrapped = wrap_nonce + AESGCM(vault_key.reveal()).encrypt(wrap_nonce, data_key, b"ibkit wrap" + binding)
    sealed = AESGCM(data_key).encrypt(nonce, text.reveal(), b"ibkit text" + binding)
    return ".".join((VERSION, ring.current_id, _encode(wrapped), _encode(nonce), _encode(sealed)))


@discreet
def open_sealed(sealed: str, place: Place, ring: KeyRing) -> Secret[bytes]:
    """The text, if it was sealed for `place` with a key of the ring. Raises StorageError (E-ENC)."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    parts = sealed.split(".")
    if len(parts) != 5 or parts[0] != VERSION:
        raise _failed("it is not sealed text of this version")
    vault_key = ring.key(parts[1])
    if vault_key is None:
        raise _failed(f"it was sealed with the key {parts[1][:8]}, which is not configured", key_id=parts[1][:8])
    binding = _binding(parts[1], place)
    try:
        wrapped, nonce, text = (_decode(part) for part in parts[2:])
        data_key = AESGCM(vault_key.reveal()).decrypt(
            wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], b"ibkit wrap" + binding
        )
        return Secret(AESGCM(data_key).decrypt(nonce, text, b"ibkit text" + binding))
    except (InvalidTag, ValueError, binascii.Error):
        # Not chained: which of the steps failed is nobody's business.
        raise _failed("it was changed, or belongs to another place") from None


@discreet
def rewrap(sealed: str, place: Place, ring: KeyRing, random: Callable[[int], bytes]) -> str:
    """`sealed` anew under the ring's current key, proven to open with that key alone. Raises StorageError (E-ENC)."""
    text = open_sealed(sealed, place, ring)
    fresh = seal(text, place, ring, random)
    if open_sealed(fresh, place, ring.alone()) != text:
        raise _failed("sealed anew, it does not open to the same")
    return fresh


def check_value(ring: KeyRing, random: Callable[[int], bytes]) -> str:
    """A known text under the current key: what is stored beside the data to know the key again (VLT-04)."""
    return seal(Secret(_CHECK), _check_place(ring.current_id), ring, random)


def open_check(sealed: str, id_: str, ring: KeyRing) -> None:
    """Proves that the ring has the key `id_` that a stored check value was made with. StorageError (E-ENC)."""
    if key_id_of(sealed) != id_ or open_sealed(sealed, _check_place(id_), ring) != Secret(_CHECK):
        raise _failed("the check value of its key was changed")


def _check_place(id_: str) -> Place:
    return Place(user="", record=f"keys/{id_}", field="check")


def _binding(id_: str, place: Place) -> bytes:
    # Lengths in front: ("ab", "c") must not read like ("a", "bc").
    parts = [part.encode() for part in (VERSION, id_, place.user, place.record, place.field)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(raw) != text:  # the last character has bits that mean nothing: only one spelling is ours
        raise ValueError
    return raw


def _failed(reason: str, **details: str) -> StorageError:
    """details: `key_id` of a key that is not configured, for those who may read the keys again."""
    message = f"Encryption failed: the stored secret cannot be read: {reason}"
    return StorageError(message, code="E-ENC", details=details)
