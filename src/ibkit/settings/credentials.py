"""Key files → the credentials of the chosen method. Nothing is read before somebody signs in (TST-03, AUTH-09)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError, discreet
from ibkit.model.credentials import Credentials, GatewayLogin, OAuth1Credentials, OAuth2Credentials
from ibkit.model.identity import AuthMethod, Username
from ibkit.model.secret import Secret
from ibkit.wire.keys import describe, how_to_convert

if TYPE_CHECKING:
    from ibkit.settings.value import Settings

__all__ = ["read_credentials", "read_file", "read_private_key"]

_LARGEST = 65_536


@discreet
def read_credentials(settings: Settings) -> Credentials:
    """Everything the chosen method needs, checked as far as the file system shows it."""
    match settings.method:
        case AuthMethod.GATEWAY:
            expected = settings.oauth2.credential
            return GatewayLogin(username=Username(expected) if expected else None)
        case AuthMethod.OAUTH1A:
            return _oauth1(settings)
        case AuthMethod.OAUTH2:
            return _oauth2(settings)


@discreet
def read_private_key(name: str, path: Path) -> Secret[str]:
    """PEM text of a private key file. E-KEY-MISSING, E-KEY-PERMS, E-KEY-FORMAT; `name` is its variable.

    The file that was opened is the one that is judged: it must be ours (or root's), no link, and closed to others.
    """
    return Secret(_text(name, path, private=True))


def read_file(name: str, path: Path) -> str:
    """Text of a key or parameter file. E-KEY-MISSING when it is not there, E-KEY-FORMAT when it is no text."""
    return _text(name, path, private=False)


def _text(name: str, path: Path, *, private: bool) -> str:
    details = {"variable": name, "path": str(path)}
    try:
        data = _read(name, path, private=private)
    except FileNotFoundError:
        raise ConfigError(
            f"Key file not found: {path} ({name})",
            code="E-KEY-MISSING",
            remedy=f"Run `ibkit keys generate` and point {name} at the new file.",
            details=details,
        ) from None
    except IsADirectoryError:
        raise _unreadable(name, path, "it is a directory") from None
    except PermissionError:
        raise ConfigError(
            f"Key file cannot be read: {path} ({name})",
            code="E-KEY-PERMS",
            remedy=f"Make it yours, then run `chmod 600 {path}`.",
            details=details,
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _too_open(name, path, "it is a symbolic link", f"Point {name} at the file itself.") from None
        raise _unreadable(name, path, error.strerror or type(error).__name__) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        kind = describe(data)
        raise _unreadable(name, path, f"it is not text but {kind}", how_to_convert(kind)) from None
    if not text.strip():
        raise _unreadable(name, path, "it is empty")
    return text


def _read(name: str, path: Path, *, private: bool) -> bytes:
    guarded = private and os.name == "posix"
    # O_NONBLOCK: a pipe in the place of a key must not hold us up.
    flags = os.O_RDONLY | (os.O_NOFOLLOW | os.O_NONBLOCK if guarded else 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  # Path.open takes no flags
        about = os.fstat(file.fileno())
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError
        if guarded and not stat.S_ISREG(about.st_mode):
            raise _unreadable(name, path, "it is no ordinary file")
        if guarded and about.st_uid not in (0, os.geteuid()):
            raise _too_open(name, path, "it belongs to another user", f"Make a copy of your own: chmod 600 {path}.")
        mode = stat.S_IMODE(about.st_mode)
        if guarded and mode & 0o077:
            raise _too_open(name, path, f"{mode:04o}", f"Run `chmod 600 {path}`.")
        return file.read(_LARGEST) if about.st_size <= _LARGEST else b"\xff"


def _too_open(name: str, path: Path, why: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"Private key file permissions too open: {path} ({why})",
        code="E-KEY-PERMS",
        remedy=remedy,
        details={"variable": name, "path": str(path)},
    )


def _unreadable(name: str, path: Path, why: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(
        f"Private key is not valid PEM: {path}: {why}" if "DH" not in name else f"Parameters unreadable: {path}: {why}",
        code="E-OA1-DH" if "DH" in name else "E-KEY-FORMAT",
        remedy=remedy,
        details={"variable": name, "path": str(path)},
    )


def _oauth1(settings: Settings) -> OAuth1Credentials:
    oauth1 = settings.oauth1
    assert oauth1.consumer_key is not None, "the method was chosen, so its credentials are there"
    # TESTCONS belongs to IBKR's test realm. Source: docs/facts/auth-and-sessions.md §1.2.
    realm = "test_realm" if oauth1.consumer_key == "TESTCONS" and "IB_REALM" not in settings.sources else oauth1.realm
    return OAuth1Credentials(
        consumer_key=oauth1.consumer_key,
        access_token=oauth1.access_token,
        access_token_secret=oauth1.access_token_secret,
        signature_key=read_private_key("IB_SIGNATURE_KEY_PATH", oauth1.signature_key_path),
        encryption_key=read_private_key("IB_ENCRYPTION_KEY_PATH", oauth1.encryption_key_path),
        dh_params=read_file("IB_DH_PARAM_PATH", oauth1.dh_param_path),
        key_passphrase=oauth1.key_passphrase,
        realm=realm,
        username=Username(settings.oauth2.credential) if settings.oauth2.credential else None,
    )


def _oauth2(settings: Settings) -> OAuth2Credentials:
    oauth2 = settings.oauth2
    assert oauth2.client_id is not None
    assert oauth2.client_key_id is not None
    assert oauth2.credential is not None
    if oauth2.private_key is not None:
        # Both ways of writing a key into one line are known (CFG-07).
        key = Secret(oauth2.private_key.reveal().strip("\"'").replace("\\n", "\n"))
    else:
        assert oauth2.private_key_path is not None
        key = read_private_key("IBKR_PRIVATE_KEY_PATH", oauth2.private_key_path)
    return OAuth2Credentials(
        client_id=oauth2.client_id,
        client_key_id=oauth2.client_key_id,
        private_key=key,
        credential=Username(oauth2.credential),
        ip=oauth2.allowed_ip or "",
        scope=oauth2.scope,
        key_passphrase=oauth2.private_key_passphrase,
    )
