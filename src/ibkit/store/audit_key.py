"""The key that signs the audit log's heads: made at its first use, in the state directory, readable by us alone.

    <state>/audit/signing_key.pem    Ed25519, PKCS 8, mode 600; the directory 700
    <state>/audit/public_key.pem     for those who check, mode 644
    <state>/audit/trusted/*.pem      public keys of others that sign the same log: other machines, an earlier key

It lies beside the database on purpose: who can write only the database (another machine, a database user) cannot sign.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError, StorageError, discreet
from ibkit.model import Secret
from ibkit.vault.chain import Signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["public_key_at", "public_key_of", "public_pem", "signer_at", "trusted_at", "trusted_files"]

_PRIVATE, _PUBLIC, _OTHERS = "signing_key.pem", "public_key.pem", "trusted"
_LARGEST = 4096
_KEY_BYTES = 32


def signer_at(directory: Path, random: Callable[[int], bytes]) -> Signer:
    """The signer of the key in `directory`, made where there is none. ConfigError (E-KEY-…), StorageError.

    random: n → n bytes from a cryptographic source. Two processes that make it at once end up with one and the same.
    """
    secret = _read(directory / _PRIVATE)
    if secret is None:
        _make(directory, random)
        secret = _read(directory / _PRIVATE)
        assert secret is not None, "it was made, here or by another process"
    return Signer(secret)


def public_key_at(directory: Path) -> str | None:
    """The public key (hex) that belongs to the key in `directory`; None where there is none yet."""
    secret = _read(directory / _PRIVATE)
    return None if secret is None else Signer(secret).public_key


def trusted_at(directory: Path) -> frozenset[str]:
    """The public keys (hex) that a person has put into `trusted` of `directory`. ConfigError (E-KEY-FORMAT)."""
    return frozenset(public_key_of(file) for file in trusted_files(directory))


def trusted_files(directory: Path) -> list[Path]:
    return sorted((directory / _OTHERS).glob("*.pem"))


def public_key_of(file: Path) -> str:
    """The public key (hex) in a PEM file, as another machine wrote it. ConfigError (E-KEY-FORMAT)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(file.read_bytes()[:_LARGEST])
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no public key in PEM form"
        raise ConfigError(f"{file} cannot be read: {reason}", code="E-KEY-FORMAT", remedy=_HOW) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{file} holds a key of another kind than Ed25519", code="E-KEY-FORMAT", remedy=_HOW)
    return key.public_bytes_raw().hex()


def public_pem(public_key: str) -> str:
    """A public key (hex) in the form that others read."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


_HOW = "Give the audit/public_key.pem of the state directory that signed it."


@discreet
def _read(path: Path) -> Secret[bytes] | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"The audit key {path} cannot be read: {error.strerror}", remedy=_REMEDY) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name != "nt" and mode & 0o077:
            raise ConfigError(
                f"Private key file permissions too open: {path} ({mode & 0o777:o})",
                code="E-KEY-PERMS",
                remedy=f"Run `chmod 600 {path}`; if others could read it, move it away: a new one is made.",
            )
        try:
            key = load_pem_private_key(file.read(_LARGEST), password=None)
        except (ValueError, TypeError):
            key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds no Ed25519 key", code="E-KEY-FORMAT", remedy=_REMEDY)
    return Secret(key.private_bytes_raw())


_REMEDY = "Restore it from a backup, or move it away: a new one is made, and the old public key still checks old heads."


@discreet
def _make(directory: Path, random: Callable[[int], bytes]) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(random(_KEY_BYTES))
    private, public = directory / _PRIVATE, directory / _PUBLIC
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = private.with_name(f"{_PRIVATE}.{random(6).hex()}")
        try:
            _write(fresh, _pem(key), 0o600)
            # A link fails where the name is taken: the first of two processes wins, and nobody sees half a key.
            with contextlib.suppress(FileExistsError):
                os.link(fresh, private)
                beside = public.with_name(f"{_PUBLIC}.{random(6).hex()}")
                _write(beside, public_pem(key.public_key().public_bytes_raw().hex()).encode(), 0o644)
                beside.replace(public)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"State directory {directory} cannot be written: {error.strerror}",
            remedy="Make it writable for you, or choose another with IBKIT_STATE_DIR.",
        ) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
