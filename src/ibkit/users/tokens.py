"""User tokens: JWTs that we sign (HS256) and that only we read.

    header  {"alg":"HS256","typ":"JWT"}, byte for byte: no token chooses its algorithm or key
    claims  sub user id · iat, exp seconds · jti · iss, aud constants · scope words · gen of the user's tokens ·
            auth_time when a person proved who they are, absent where nobody did

A token is accepted only in the exact bytes in which it was issued. Threat TM-13; RFC 8725.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ibkit.errors import ConfigError, discreet
from ibkit.model import AccountId, Secret
from ibkit.users.principal import Scope

if TYPE_CHECKING:
    from joserfc.jwk import OctKey

__all__ = ["LARGEST_TOKEN", "LEEWAY", "LONGEST_LIFE", "Audience", "Claims", "TokenSigner"]

LARGEST_TOKEN = 8 * 1024
LEEWAY = timedelta(seconds=30)
LONGEST_LIFE = timedelta(days=31)
_SHORTEST_KEY = 32
_ISSUER = "ibkit"
_HEADER = {"alg": "HS256", "typ": "JWT"}
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MORE = {"auth_time", "accounts"}
_ACCOUNT = re.compile(r"[A-Za-z0-9]{3,20}")
_NEEDED = {"sub", "iat", "exp", "jti", "iss", "aud", "scope", "gen"}
_LATEST = 253_402_300_799
"""The last second of the year 9999, beyond which there is no datetime."""


class Audience(enum.StrEnum):
    """What a token is for: one for the API does not pass where a code is awaited, nor the other way round."""

    API = "ibkit-api"
    CODE = "ibkit-code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says, checked. Instants are whole seconds.

    accounts: those it is confined to; None for all of the user's.
    """

    user_id: str
    token_id: str
    issued_at: datetime
    expires_at: datetime
    scopes: frozenset[Scope]
    generation: int
    signed_in_at: datetime | None = None
    audience: Audience = Audience.API
    accounts: frozenset[AccountId] | None = None


class TokenSigner:
    """Issues and reads tokens with one key, of at least 32 bytes. ConfigError (E-CONFIG) for a shorter one."""

    def __init__(self, key: Secret[str]) -> None:
        raw = key.reveal().encode()
        if len(raw) < _SHORTEST_KEY:
            raise ConfigError(
                f"Setting invalid: JWT_SECRET: it has {len(raw)} bytes, at least {_SHORTEST_KEY} are needed",
                remedy="Make one with `openssl rand -base64 48`, or unset it: ibkit then makes and keeps its own.",
            )
        self._key = Secret(raw)
        self._joserfc_key: OctKey | None = None
        self._header = _encoded(json.dumps(_HEADER, separators=(",", ":")).encode())

    def issue(self, claims: Claims) -> Secret[str]:
        """The token. The live scope needs a person who signed in: without signed_in_at it is our own mistake."""
        assert claims.signed_in_at is not None or Scope.ORDERS_LIVE not in claims.scopes, "nobody signed in"
        values: dict[str, object] = {
            "sub": claims.user_id,
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
            "jti": claims.token_id,
            "iss": _ISSUER,
            "aud": claims.audience.value,
            "scope": " ".join(sorted(claims.scopes)),
            "gen": claims.generation,
        }
        if claims.signed_in_at is not None:
            values["auth_time"] = int(claims.signed_in_at.timestamp())
        if claims.accounts is not None:
            values["accounts"] = " ".join(sorted(claims.accounts))
        return Secret(self._signed(json.dumps(values, separators=(",", ":")).encode()))

    @discreet
    def read(self, token: Secret[str], *, audience: Audience, now: datetime) -> Claims | None:
        """What it says, None for anything that is wrong with it: forged, mangled, over, or for something else."""
        text = token.reveal()
        if len(text) > LARGEST_TOKEN:
            return None
        parts = text.split(".")
        if len(parts) != 3 or not all(_SEGMENT.fullmatch(part) for part in parts) or parts[0] != self._header:
            return None
        payload = self._verified(text)
        # Base64 has several spellings of the same bytes: only the one that we wrote is ours.
        if payload is None or not hmac.compare_digest(self._signed(payload), text):
            return None
        return _checked(payload, audience=audience, now=now)

    def _signed(self, payload: bytes) -> str:
        from joserfc import jws

        return jws.serialize_compact(_HEADER, payload, self._imported(), ["HS256"])

    def _verified(self, text: str) -> bytes | None:
        from joserfc import jws
        from joserfc.errors import JoseError

        try:
            return jws.deserialize_compact(text, self._imported(), ["HS256"]).payload
        except (JoseError, ValueError, binascii.Error):
            return None

    def _imported(self) -> OctKey:
        if self._joserfc_key is None:
            from joserfc.jwk import OctKey

            self._joserfc_key = OctKey.import_key(self._key.reveal())
        return self._joserfc_key


def _checked(payload: bytes, *, audience: Audience, now: datetime) -> Claims | None:
    try:
        values = json.loads(payload.decode(), object_pairs_hook=_without_twins, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not values.keys() >= _NEEDED or values.keys() - _NEEDED - _MORE:
        return None
    issued, expires, generation = (_whole(values[name]) for name in ("iat", "exp", "gen"))
    signed_in = _whole(values["auth_time"]) if "auth_time" in values else None
    scopes = _scopes(values["scope"])
    if issued is None or expires is None or generation is None or scopes is None:
        return None
    accounts = _accounts(values["accounts"]) if "accounts" in values else None
    if "accounts" in values and accounts is None:
        return None
    if (
        values["iss"] != _ISSUER
        or values["aud"] != audience.value
        or not _is_id(values["sub"])
        or not _is_id(values["jti"])
    ):
        return None
    second, leeway = now.timestamp(), LEEWAY.total_seconds()
    if (
        issued > second + leeway
        or expires <= second - leeway
        or not 0 < expires - issued <= LONGEST_LIFE.total_seconds()
    ):
        return None
    if "auth_time" in values and (signed_in is None or signed_in > issued):
        return None
    if signed_in is None and Scope.ORDERS_LIVE in scopes:
        return None
    return Claims(
        user_id=values["sub"],
        token_id=values["jti"],
        issued_at=_instant(issued),
        expires_at=_instant(expires),
        scopes=scopes,
        generation=generation,
        signed_in_at=None if signed_in is None else _instant(signed_in),
        audience=audience,
        accounts=accounts,
    )


def _accounts(value: object) -> frozenset[AccountId] | None:
    """None where it is not what we write: a token that means to be confined must never be read as one that is not."""
    words = value.split(" ") if isinstance(value, str) else []
    if not words or words != sorted(set(words)) or not all(_ACCOUNT.fullmatch(word) for word in words):
        return None
    return frozenset(AccountId(word) for word in words)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a claim stands twice")
    return found


def _refused(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _whole(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LATEST
    return math.trunc(value) if fits and isinstance(value, int) else None


def _scopes(value: object) -> frozenset[Scope] | None:
    if not isinstance(value, str):
        return None
    try:
        return frozenset(Scope(word) for word in value.split(" ") if word)
    except ValueError:
        return None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
