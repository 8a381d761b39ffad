"""Tokens kept between runs: sealed, one file for each environment, identity and kind, in the state directory.

    <state>/tokens/<environment>-<hash of method and identity>.<kind>       mode 600, directory 700

Nothing is written without a vault key; then tokens live for the run. A file that cannot be read is discarded with
a warning: the worst that follows is one more sign-in. Requirement AUTH-09.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from ibkit.client.auth.grant import Grant, Random, own_root
from ibkit.errors import IbkitError, StorageError
from ibkit.model import AuthMethod, Environment, OAuth1Credentials, OAuth2Credentials, Secret
from ibkit.vault import KeyRing, Place, key_id_of, open_sealed, seal
from ibkit.wire.oauth1_tokens import AccessToken

__all__ = ["TokenCache"]

_S = TypeVar("_S", bound=msgspec.Struct)
_LOG = logging.getLogger(__name__)
_LARGEST = 64 * 1024


class _Grant(msgspec.Struct, tag="grant"):
    token: bytes
    is_text: bool
    obtained_at: datetime
    expires_at: datetime | None
    label: str
    binding: str


class _AccessToken(msgspec.Struct, tag="access"):
    token: str
    secret: str
    """Still encrypted to the encryption key: a second lock."""
    is_paper: bool | None


class _RequestToken(msgspec.Struct, tag="request"):
    token: str
    expires_at: datetime


class TokenCache:
    """The tokens of one identity.

    identity: consumer key or client id; names the files.
    binding:  what else a grant is good for only (address, access token, user name): another binding, another login.
    ring:     None keeps nothing.
    """

    def __init__(
        self,
        directory: Path,
        *,
        environment: Environment,
        method: AuthMethod,
        identity: str,
        ring: KeyRing | None,
        random: Random,
        binding: str = "",
        warn: Callable[[str], None] = _LOG.warning,
    ) -> None:
        self._binding = hashlib.sha256(binding.encode()).hexdigest()
        self._directory = directory
        self._method = method
        self._ring = ring
        self._random = random
        self._warn = warn
        digest = hashlib.sha256(f"{method.value}\0{identity}".encode()).hexdigest()[:24]
        self._stem = f"{environment.value}-{digest}"

    @classmethod
    def of(
        cls,
        directory: Path,
        credentials: OAuth1Credentials | OAuth2Credentials,
        *,
        environment: Environment,
        base_url: str,
        ring: KeyRing | None,
        random: Random,
        owner: str = "",
        warn: Callable[[str], None] = _LOG.warning,
    ) -> TokenCache:
        """The cache that belongs to `credentials` at `base_url`.

        owner: whose credentials; who types another's names in must not find what that one has signed in to (VLT-09).
        """
        if isinstance(credentials, OAuth1Credentials):
            identity, more = credentials.consumer_key, credentials.access_token or ""
        else:
            identity, more = credentials.client_id, f"{credentials.credential}\0{credentials.ip}"
        if owner:
            identity = f"{identity}\0{owner}"
        return cls(
            directory,
            environment=environment,
            method=credentials.method,
            identity=identity,
            ring=ring,
            random=random,
            binding=f"{own_root(base_url)}\0{more}",
            warn=warn,
        )

    @property
    def keeps(self) -> bool:
        """Whether anything outlives the run."""
        return self._ring is not None

    def path(self, kind: str = "grant") -> Path:
        return self._directory / f"{self._stem}.{kind}"

    def load(self, now: datetime) -> Grant | None:
        """The kept grant, unless it is over. now: aware."""
        kept = self._read("grant", _Grant)
        if kept is None or kept.binding != self._binding:
            return None
        if kept.expires_at is not None and kept.expires_at <= now:
            return None
        token: Secret[bytes] | Secret[str] = Secret(kept.token.decode()) if kept.is_text else Secret(kept.token)
        return Grant(self._method, token, kept.obtained_at, kept.expires_at, kept.label)

    def save(self, grant: Grant) -> None:
        """Raises StorageError if the state directory cannot be written."""
        token = grant.token.reveal()
        raw = token.encode() if isinstance(token, str) else token
        kept = _Grant(
            raw, isinstance(token, str), grant.obtained_at.astimezone(UTC), grant.expires_at, grant.label, self._binding
        )
        self._write("grant", kept)

    def discard(self) -> None:
        """Forget the grant: it was refused, or is to be renewed."""
        self._remove("grant")

    def load_access_token(self) -> AccessToken | None:
        """What an earlier `ibkit auth authorize` obtained."""
        kept = self._read("access", _AccessToken)
        return None if kept is None else AccessToken(kept.token, Secret(kept.secret), kept.is_paper)

    def save_access_token(self, access: AccessToken) -> None:
        self._write("access", _AccessToken(access.token, access.secret.reveal(), access.is_paper))

    def load_request_token(self, now: datetime) -> str | None:
        kept = self._read("request", _RequestToken)
        return None if kept is None or kept.expires_at <= now else kept.token

    def save_request_token(self, token: str, expires_at: datetime) -> None:
        self._write("request", _RequestToken(token, expires_at))

    def discard_request_token(self) -> None:
        self._remove("request")

    def _place(self, kind: str) -> Place:
        return Place(user="", record=f"tokens/{self._stem}", field=kind)

    def _read(self, kind: str, type_: type[_S]) -> _S | None:
        if self._ring is None:
            return None
        path = self.path(kind)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"the token file {path} cannot be read ({error.strerror}); signing in anew")
            return None
        try:
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                    raise StorageError("it is open to other users")
                sealed = file.read(_LARGEST).decode("ascii")
            content = msgspec.json.decode(open_sealed(sealed, self._place(kind), self._ring).reveal(), type=type_)
        except (IbkitError, msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            reason = error.message if isinstance(error, IbkitError) else "it is damaged"
            self._warn(f"the token file {path} is discarded: {reason}; signing in anew")
            self._remove(kind)
            return None
        if key_id_of(sealed) != self._ring.current_id:  # the vault's key was changed: the old one is to be removable
            with contextlib.suppress(StorageError):
                self._write(kind, content)
        return content

    def _write(self, kind: str, content: msgspec.Struct) -> None:
        if self._ring is None:
            return
        sealed = seal(Secret(msgspec.json.encode(content)), self._place(kind), self._ring, self._random)
        path = self.path(kind)
        fresh = path.with_name(f"{path.name}.{self._random(6).hex()}")
        try:
            # `parents` alone would leave the state directory open to others
            self._directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            # O_EXCL and the mode at creation: there is no moment in which others could read or plant it.
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(sealed.encode("ascii"))
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    fresh.unlink()
                raise
        except OSError as error:
            raise StorageError(
                f"State directory {self._directory} cannot be written: {error.strerror}",
                remedy=f"Make {self._directory} writable for you, or choose another place with XDG_STATE_HOME.",
            ) from error

    def _remove(self, kind: str) -> None:
        with contextlib.suppress(OSError):
            self.path(kind).unlink()
