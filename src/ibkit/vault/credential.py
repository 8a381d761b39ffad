"""What is kept of a sign-in at IBKR: which fields a method has, which of them are ever shown, and its state.

    put ─→ inactive ─ test passed ─→ active          the one in use; another one's test that passes takes its place
              └────── test failed ─→ error           kept with the reason; the active one stays in use

There is no field for a password of IBKR or a code of its second factor, and a field that is not listed here is refused
(VLT-11). Requirements VLT-07, VLT-08.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from ibkit.errors import ConfigError, InvalidRequest, discreet
from ibkit.model import (
    AccountId,
    AuthMethod,
    Credentials,
    Environment,
    GatewayLogin,
    OAuth1Credentials,
    OAuth2Credentials,
    Secret,
    Username,
    mask,
)

__all__ = [
    "FIELDS",
    "Draft",
    "Field",
    "Kind",
    "MaskedCredential",
    "OpenCredential",
    "Status",
    "check_names",
    "is_never_stored",
    "shown",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEVER = re.compile(r"passw|2fa|otp|two.?factor|second.?factor|\bpin\b", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:RSA |ENCRYPTED )?PRIVATE KEY-----")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9]{3,20}", re.ASCII)
_LONGEST_LABEL, _LARGEST_FIELD = 200, 64 * 1024


class Status(enum.Enum):
    INACTIVE = "inactive"
    ACTIVE = "active"
    ERROR = "error"


class Kind(enum.Enum):
    """How a field may be read: as it is, by its first characters, or as stars."""

    PLAIN = "plain"
    NAME = "name"
    SECRET = "secret"  # noqa: S105  # a kind, not one
    PRIVATE_KEY = "private key"


@dataclass(frozen=True, slots=True)
class Field:
    kind: Kind
    required: bool = False


FIELDS: Mapping[AuthMethod, Mapping[str, Field]] = {
    AuthMethod.GATEWAY: {
        "address": Field(Kind.PLAIN, required=True),
        "ca": Field(Kind.PLAIN),
        "username": Field(Kind.NAME),
        "account_id": Field(Kind.PLAIN),
    },
    AuthMethod.OAUTH1A: {
        "consumer_key": Field(Kind.NAME, required=True),
        "access_token": Field(Kind.SECRET),
        "access_token_secret": Field(Kind.SECRET),
        "signature_key": Field(Kind.PRIVATE_KEY, required=True),
        "encryption_key": Field(Kind.PRIVATE_KEY, required=True),
        "key_passphrase": Field(Kind.SECRET),
        "dh_params": Field(Kind.SECRET, required=True),
        "realm": Field(Kind.PLAIN),
        "username": Field(Kind.NAME),
        "account_id": Field(Kind.PLAIN),
    },
    AuthMethod.OAUTH2: {
        "client_id": Field(Kind.NAME, required=True),
        "client_key_id": Field(Kind.NAME, required=True),
        "private_key": Field(Kind.PRIVATE_KEY, required=True),
        "key_passphrase": Field(Kind.SECRET),
        "credential": Field(Kind.NAME, required=True),
        "allowed_ip": Field(Kind.PLAIN, required=True),
        "scope": Field(Kind.PLAIN),
        "account_id": Field(Kind.PLAIN),
    },
}
"""Field by method. access_token and access_token_secret come later where a third party is authorised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Credentials as somebody gives them. user_id: "" for the owner of a single-user installation.

    fingerprints: of the keys among the fields, SHA-256 of the public half: by these a person knows a key again.

    Raises InvalidRequest (E-VALIDATION, E-KEY-FORMAT) where the form is wrong; no value is repeated in it.
    """

    user_id: str
    connection_id: str
    method: AuthMethod
    environment: Environment
    fields: Mapping[str, Secret[str]]
    label: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)


@discreet
def _check(draft: Draft) -> None:
    if not _NAME.fullmatch(draft.connection_id):
        raise _wrong("connection_id", "use 1 to 64 letters, digits, dots, dashes or underscores")
    if draft.user_id and not _NAME.fullmatch(draft.user_id):
        raise _wrong("user_id", "use 1 to 64 letters, digits, dots, dashes or underscores")
    if len(draft.label) > _LONGEST_LABEL:
        raise _wrong("label", f"at most {_LONGEST_LABEL} characters")
    check_names(draft.method, draft.fields)
    known = FIELDS[draft.method]
    for name, value in draft.fields.items():
        if len(value.reveal()) > _LARGEST_FIELD or "\0" in value.reveal():
            raise _wrong(name, f"at most {_LARGEST_FIELD} characters, none of them NUL")
        if known[name].kind is Kind.PRIVATE_KEY and not _PRIVATE_KEY.search(value.reveal()):
            raise InvalidRequest(f"Private key is not valid PEM: {name}", code="E-KEY-FORMAT", details={"field": name})
    ca, account_id = draft.fields.get("ca"), draft.fields.get("account_id")
    if ca is not None and not _FINGERPRINT.fullmatch(ca.reveal()):
        # No path of a file: whoever gives credentials need not be who owns this machine's files.
        raise _wrong("ca", "use the certificate's SHA-256 fingerprint, 64 hex digits")
    if account_id is not None and not _ACCOUNT.fullmatch(account_id.reveal()):
        raise _wrong("account_id", "use an account id like DU1234567")


@discreet
def check_names(method: AuthMethod, fields: Mapping[str, Secret[str]]) -> None:
    """InvalidRequest (E-VALIDATION) where a field is none of the method's, or one that it needs is missing."""
    known = FIELDS[method]
    for name in fields:
        if name in known:
            continue
        if _NEVER.search(name):
            raise InvalidRequest(
                f"Invalid request: {name}: passwords of IBKR and codes of its second factor are never stored",
                remedy=f"Leave {name} out. The gateway's login happens in its own page.",
                details={"field": name},
            )
        raise _wrong(name, f"{method.value} has no such field; it has {', '.join(known)}")
    missing = [name for name, field in known.items() if field.required and not fields.get(name)]
    if missing:
        raise InvalidRequest(
            f"Invalid request: {method.value} needs {', '.join(missing)}",
            remedy=f"Give {', '.join(missing)}.",
            details={"missing": missing},
        )


def is_never_stored(name: str) -> bool:
    """Whether a field of this name would be for a password of IBKR or a code of its second factor (VLT-11)."""
    return _NEVER.search(name) is not None


def _wrong(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid request: {name}: {reason}", remedy=f"Correct {name}.", details={"field": name})


def shown(method: AuthMethod, name: str, value: Secret[str]) -> str:
    """What may be seen of a field: names by their first four characters, keys and tokens by less (VLT-07)."""
    kind = FIELDS[method][name].kind if name in FIELDS[method] else Kind.SECRET
    if kind is Kind.PLAIN:
        return value.reveal()
    if kind is Kind.NAME:
        return f"{value.reveal()[:4]}****" if len(value.reveal()) > 4 else "****"
    return mask(value.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedCredential:
    """What reading gives. fields: name to what may be seen of it; None where it cannot be opened (another key).

    fingerprints: as in `Draft`.

    created_at: when the connection was first given. changed_at: when these secrets were. version: counts the changes.
    """

    credential_id: str
    user_id: str
    connection_id: str
    method: AuthMethod
    environment: Environment
    label: str
    status: Status
    last_error: str | None
    created_at: datetime
    changed_at: datetime
    last_used_at: datetime | None
    last_connected_at: datetime | None
    version: int
    fields: Mapping[str, str | None]
    fingerprints: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCredential:
    """Credentials for use: never answered to anybody, never logged."""

    credential_id: str
    user_id: str
    connection_id: str
    method: AuthMethod
    environment: Environment
    version: int
    fields: Mapping[str, Secret[str]]

    @property
    def account_id(self) -> AccountId | None:
        account = self._text("account_id")
        return AccountId(account) if account else None

    @property
    def address(self) -> str | None:
        """Of the gateway; None for the cloud."""
        return self._text("address")

    def login(self) -> Credentials:
        """What the client signs in with."""
        match self.method:
            case AuthMethod.GATEWAY:
                return GatewayLogin(username=self._username())
            case AuthMethod.OAUTH1A:
                return OAuth1Credentials(
                    consumer_key=self._needed("consumer_key").reveal(),
                    access_token=self._text("access_token"),
                    access_token_secret=self.fields.get("access_token_secret"),
                    signature_key=self._needed("signature_key"),
                    encryption_key=self._needed("encryption_key"),
                    dh_params=self._needed("dh_params").reveal(),
                    key_passphrase=self.fields.get("key_passphrase"),
                    realm=self._text("realm") or "limited_poa",
                    username=self._username(),
                )
            case AuthMethod.OAUTH2:
                return OAuth2Credentials(
                    client_id=self._needed("client_id").reveal(),
                    client_key_id=self._needed("client_key_id").reveal(),
                    private_key=self._needed("private_key"),
                    credential=Username(self._needed("credential").reveal()),
                    ip=self._needed("allowed_ip").reveal(),
                    scope=self._text("scope") or "sso-sessions.write",
                    key_passphrase=self.fields.get("key_passphrase"),
                )
            case _ as unreachable:
                assert_never(unreachable)

    def _needed(self, name: str) -> Secret[str]:
        value = self.fields.get(name)
        if value is None:
            raise ConfigError(
                f"IBKR settings incomplete: {name} of the connection {self.connection_id}",
                code="E-CONFIG-PARTIAL",
                remedy="Store the credentials of this connection anew.",
            )
        return value

    def _text(self, name: str) -> str | None:
        value = self.fields.get(name)
        return value.reveal() if value else None

    def _username(self) -> Username | None:
        name = self._text("username")
        return Username(name) if name else None
