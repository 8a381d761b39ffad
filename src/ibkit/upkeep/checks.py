"""What `ibkit verify` looks at, without the network: one `Check` for each thing, in the order in which to mend them.

Requirement SET-04. Every failure is one of the catalogue's codes with its remedy; nothing here prints.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ibkit.errors import ConfigError, IbkitError
from ibkit.model import AuthMethod, Secret
from ibkit.settings import Settings, masked, read_file
from ibkit.settings.credentials import private_key_of, text_of
from ibkit.settings.named_secrets import is_named, name_in

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["Check", "Mark", "check_all", "method_shown"]

T = TypeVar("T")
_NO_EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
_NINE_LETTERS = re.compile(r"[A-Z]{9}")
_KNOWN_OTHERS = re.compile(r"TESTCONS|[0-9a-f]{25}|[A-Z0-9]{9}")
_MAKE_KEYS = "ibkit keys generate (or point the variables at the files you have)"


class Mark(enum.Enum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Check:
    """said: what was found, in words. remedy: what to do, for WARN and FAIL."""

    name: str
    mark: Mark
    said: str
    code: str | None = None
    remedy: str | None = None


def check_all(settings: Settings, *, now: datetime) -> list[Check]:
    """All checks that fit the chosen method; where none is chosen, those of OAuth 1.0a."""
    by_method = {AuthMethod.OAUTH1A: _oauth1, AuthMethod.OAUTH2: _oauth2, AuthMethod.GATEWAY: _gateway}
    return [*_settings(settings), *by_method[method_shown(settings)](settings), *_common(settings, now)]


def method_shown(settings: Settings) -> AuthMethod:
    """The method in use, else the one that was begun or wanted, else OAuth 1.0a: it needs the most explaining."""
    if settings.choice is not None:
        return settings.choice.method
    if settings.general.method != "auto":
        return AuthMethod(settings.general.method)
    begun = {"IBKR_CLIENT_ID", "IBKR_CLIENT_KEY_ID", "IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PATH"} & set(
        settings.sources
    )
    return AuthMethod.OAUTH2 if begun and "IB_CONSUMER_KEY" not in settings.sources else AuthMethod.OAUTH1A


def _settings(settings: Settings) -> Iterator[Check]:
    if settings.file is not None:
        yield Check("settings file", Mark.OK, str(settings.file))
    else:
        yield Check("settings file", Mark.WARN, "none (looked for ./.env and ./config/.env)", None, "ibkit init")
    for each in settings.problems:
        yield Check(", ".join(each.names) or "settings", Mark.FAIL, each.message, each.code, each.remedy)
    if settings.unknown:
        yield Check("unknown settings", Mark.WARN, f"not used: {', '.join(settings.unknown)}", None, "Remove them.")
    if settings.choice is not None:
        yield Check("sign-in", Mark.OK, f"{settings.choice.method.value} ({settings.choice.reason})")
    elif settings.mock:
        yield Check("sign-in", Mark.OK, "none needed: BROKER_PROVIDER=mock")
    else:
        # The problems themselves follow below, variable by variable.
        first = settings.method_problems[0]
        shown = method_shown(settings).value
        remedy = f"ibkit init --method {shown}" if first.code == "E-NOT-CONFIGURED" else None
        yield Check("sign-in", Mark.FAIL, f"{first.message} (checking for {shown})", first.code, remedy)


def _oauth1(settings: Settings) -> Iterator[Check]:
    given = settings.oauth1
    passphrase = _text(settings, "IB_KEY_PASSPHRASE", given.key_passphrase)
    yield _variable(settings, "IB_ACCESS_TOKEN_SECRET", given.access_token_secret, "E-SECRET-MISSING")
    signing, signature_check = _private_key(
        settings, "IB_SIGNATURE_KEY_PATH", given.signature_key_path, passphrase, _MAKE_KEYS
    )
    yield signature_check
    opening, encryption_check = _private_key(
        settings, "IB_ENCRYPTION_KEY_PATH", given.encryption_key_path, passphrase, _MAKE_KEYS
    )
    yield encryption_check
    yield _missing_is_made(_attempt("IB_DH_PARAM_PATH", lambda: _dh_params(given.dh_param_path))[1], _MAKE_KEYS)
    yield _variable(settings, "IB_CONSUMER_KEY", given.consumer_key, "E-CONFIG-PARTIAL")
    if given.consumer_key:
        yield _consumer_key(given.consumer_key)
    yield _variable(settings, "IB_ACCESS_TOKEN", given.access_token, "E-CONFIG-PARTIAL")
    yield Check("IB_REALM", Mark.OK, given.realm)
    for key, path in ((signing, given.signature_key_path), (opening, given.encryption_key_path)):
        if key is not None:
            yield _public_file(key, path)
    if signing is not None and opening is not None:
        yield from _two_keys(signing, opening, _text(settings, "IB_ACCESS_TOKEN_SECRET", given.access_token_secret))


def _oauth2(settings: Settings) -> Iterator[Check]:
    given = settings.oauth2
    passphrase = _text(settings, "IBKR_PRIVATE_KEY_PASSPHRASE", given.private_key_passphrase)
    yield _variable(settings, "IBKR_CLIENT_ID", given.client_id, "E-CONFIG-PARTIAL")
    yield _variable(settings, "IBKR_CLIENT_KEY_ID", given.client_key_id, "E-CONFIG-PARTIAL")
    if given.private_key is not None:
        name = "IBKR_PRIVATE_KEY"
        key, check = _attempt(name, lambda: _loaded(name, _needed_text(settings, name, given.private_key), passphrase))
        yield check
    elif given.private_key_path is not None:
        remedy = "ibkit keys generate --kind oauth2"
        key, check = _private_key(settings, "IBKR_PRIVATE_KEY_PATH", given.private_key_path, passphrase, remedy)
        yield check
        if key is not None:
            yield _public_file(key, given.private_key_path)
    else:
        yield Check(
            "IBKR_PRIVATE_KEY",
            Mark.FAIL,
            "neither IBKR_PRIVATE_KEY nor IBKR_PRIVATE_KEY_PATH is set",
            "E-CONFIG-PARTIAL",
            "ibkit keys generate --kind oauth2, then set IBKR_PRIVATE_KEY_PATH",
        )
    yield _variable(settings, "IBKR_CREDENTIAL", given.credential, "E-CONFIG-PARTIAL")
    if given.allowed_ip:
        yield Check("IBKR_ALLOWED_IP", Mark.OK, given.allowed_ip)
    else:
        yield Check(
            "IBKR_ALLOWED_IP",
            Mark.FAIL,
            "not set",
            "E-IP",
            "Set IBKR_ALLOWED_IP to the public IPv4 address IBKR knows.",
        )
    yield Check("IBKR_SCOPE", Mark.OK, given.scope)


def _gateway(settings: Settings) -> Iterator[Check]:
    try:
        yield Check("gateway address", Mark.OK, settings.gateway_address.base)
    except ValueError as error:
        yield Check("gateway address", Mark.FAIL, str(error), "E-CONFIG", "Correct IBKR_API_ENDPOINT.")


def _common(settings: Settings, now: datetime) -> Iterator[Check]:
    if not settings.vault.has_key:
        said = "not set: tokens are not kept between runs"
        remedy = "ibkit vault generate-keys --write"
        yield Check("ENCRYPTION_KEY", Mark.WARN, said, None, remedy)
    elif not any("ENCRYPTION_KEY" in each.names for each in settings.problems):
        yield _attempt("ENCRYPTION_KEY", lambda: _ring(settings))[1]
    yield _state_directory(settings.state_dir)
    yield _database(settings.database_url)
    if now < _NO_EARLIER:
        yield Check("clock", Mark.FAIL, f"it says {now:%Y-%m-%d}", "E-OA1-CLOCK", "Synchronise the system clock (NTP).")
    else:
        yield Check("clock", Mark.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC (`ibkit auth test` compares it with IBKR's)")


def _variable(settings: Settings, name: str, value: object, code: str) -> Check:
    if value is None:
        if code == "E-SECRET-MISSING":
            error = ConfigError(code=code)
            return Check(name, Mark.FAIL, "not set", code, error.remedy)
        return Check(name, Mark.FAIL, "not set", code, f"Set {name} (IBKR's portal shows it).")
    shown = masked(value) if isinstance(value, Secret) or name == "IB_ACCESS_TOKEN" else str(value)
    return Check(name, Mark.OK, f"{shown} ({settings.source(name)})")


def _consumer_key(key: str) -> Check:
    name = "consumer key's form"
    if _NINE_LETTERS.fullmatch(key):
        return Check(name, Mark.OK, "nine letters")
    if _NINE_LETTERS.fullmatch(key.upper()):
        said = "it has lower-case letters, and the portal turned them into capitals without saying so"
        return Check(name, Mark.FAIL, said, "E-CONFIG", f"Set IB_CONSUMER_KEY={key.upper()}.")
    if _KNOWN_OTHERS.fullmatch(key):
        return Check(name, Mark.OK, "a form IBKR uses")
    said = "IBKR's portal takes nine letters A-Z, this is something else"
    return Check(name, Mark.WARN, said, None, "Compare IB_CONSUMER_KEY with the portal.")


def _text(settings: Settings, name: str, value: Secret[str] | None) -> Secret[str] | None:
    """What a reference stands for; where it cannot be read, the reference, at which the check then fails."""
    try:
        return text_of(settings, name, value)
    except ConfigError:
        return value


def _needed_text(settings: Settings, name: str, value: Secret[str] | None) -> Secret[str]:
    found = text_of(settings, name, value)
    assert found is not None
    return found


def _private_key(
    settings: Settings, name: str, path: Path, passphrase: Secret[str] | None, make: str
) -> tuple[RSAPrivateKey | None, Check]:
    def load() -> tuple[RSAPrivateKey, str]:
        key, told = _loaded(name, private_key_of(settings, name, path), passphrase)
        if is_named(str(path)):
            return key, f"{name_in(str(path))} of the {settings.vault.provider}: {told}"
        mode = stat.S_IMODE(path.stat().st_mode)
        return key, f"{path}: RSA {key.key_size}, mode {mode:04o}"

    key, check = _attempt(name, load)
    return key, _missing_is_made(check, make)


def _missing_is_made(check: Check, make: str) -> Check:
    return dataclasses.replace(check, remedy=make) if check.code == "E-KEY-MISSING" else check


def _loaded(name: str, pem: Secret[str], passphrase: Secret[str] | None) -> tuple[RSAPrivateKey, str]:
    from ibkit.wire.keys import load_private_key

    key = load_private_key(pem, what=name, passphrase=passphrase, thorough=True)
    return key, f"RSA {key.key_size}"


def _dh_params(path: Path) -> tuple[object, str]:
    from ibkit.wire.dh import check_params, parse_params_pem

    params = parse_params_pem(read_file("IB_DH_PARAM_PATH", path))
    check_params(params)
    return params, f"{path}: safe prime of {params.prime.bit_length()} bits, generator 2"


def _public_file(key: RSAPrivateKey, private: Path) -> Check:
    """The file for the portal beside the private one: private_x.pem → public_x.pem."""
    from ibkit.wire.keys import check_pair, load_public_key

    public = private.with_name(private.name.replace("private", "public"))
    name = public.name
    if public == private or not public.is_file():
        said = f"{private.name} has no public file beside it; compare with the portal by hand"
        return Check(f"public key of {private.name}", Mark.SKIP, said)

    def compare() -> tuple[None, str]:
        check_pair(key, load_public_key(read_file(name, public), what=str(public)), what=str(public))
        return None, f"belongs to {private.name}"

    return _attempt(name, compare)[1]


def _two_keys(signing: RSAPrivateKey, opening: RSAPrivateKey, secret: Secret[str] | None) -> Iterator[Check]:
    from ibkit.client.auth.oauth1 import swapped_keys
    from ibkit.wire.oauth1_tokens import decrypt_access_token_secret

    if signing.public_key().public_numbers() == opening.public_key().public_numbers():
        yield Check(
            "two keys",
            Mark.FAIL,
            "signature and encryption key are the same; IBKR wants two",
            "E-KEY-MISMATCH",
            "Point IB_SIGNATURE_KEY_PATH and IB_ENCRYPTION_KEY_PATH at the two files of `ibkit keys generate`.",
        )
    if secret is None:
        return

    def decrypt() -> tuple[None, str]:
        try:
            plain = decrypt_access_token_secret(opening, secret)
        except ConfigError as error:
            raise swapped_keys(signing, secret) or error from None
        return None, f"opens with the encryption key ({len(plain)} bytes)"

    yield _attempt("access token secret", decrypt)[1]


def _ring(settings: Settings) -> tuple[None, str]:
    from ibkit.bootstrap import ring_of

    ring = ring_of(settings)
    assert ring is not None
    return None, f"64 hex digits, key id {ring.current_id}"


def _state_directory(directory: Path) -> Check:
    name = "state directory"
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Check(name, Mark.OK, f"{directory}{'' if directory.exists() else ' (made when needed)'}")
    remedy = f"Make {place} writable for you, or set IBKIT_STATE_DIR to another place."
    return Check(name, Mark.FAIL, f"{directory} cannot be written", "E-DB", remedy)


def _database(url: Secret[str]) -> Check:
    name, text = "database", url.reveal()
    scheme, _, rest = text.partition("://")
    if not scheme.startswith("sqlite"):
        return Check(name, Mark.SKIP, "PostgreSQL: not asked, because verify uses no network (`ibkit db upgrade` does)")
    file = rest.partition("?")[0].removeprefix("/")
    if file in ("", ":memory:"):
        return Check(name, Mark.WARN, "in memory: nothing outlives the run", None, "Name a file in DATABASE_URL.")
    path = Path(file)
    if not path.exists():
        checked = _state_directory(path.parent)
        return Check(name, checked.mark, f"{path} (made when needed)", checked.code, checked.remedy)
    try:
        # Read-only: looking must not create or change anything.
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check(name, Mark.FAIL, f"{path}: {error}", "E-DB", "Check DATABASE_URL; restore the file from a backup.")
    return Check(name, Mark.OK, str(path))


def _attempt(name: str, work: Callable[[], tuple[T, str]]) -> tuple[T | None, Check]:
    """OK with the words `work` gives, or FAIL with the code and remedy of its error."""
    try:
        value, said = work()
    except IbkitError as error:
        return None, Check(name, Mark.FAIL, error.message, error.code, error.remedy)
    return value, Check(name, Mark.OK, said)
