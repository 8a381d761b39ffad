"""What somebody pasted or uploaded as credentials, judged before it is stored: keys, parameters, tokens, names.

Everything that can be told without asking IBKR is told here, by the name of its field, and nothing of a value is
repeated. What passes is normalised: line breaks, quotes and blanks around it. Source: reliability rules §6.4.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError, InvalidRequest, discreet
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.vault import FIELDS, Draft
from ibkit.vault.credential import Kind, check_names
from ibkit.wire import dh
from ibkit.wire.keys import clean_pem, load_private_key
from ibkit.wire.oauth1_tokens import decrypt_access_token_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["checked_draft", "fingerprint_of"]

_NINE_LETTERS = re.compile(r"[A-Z]{9}")
_CONSUMER_KEYS = re.compile(r"[A-Z]{9}|TESTCONS|[0-9a-f]{25}|[A-Z0-9]{9}")
"""Nine letters as the portal takes them, and other forms of IBKR. Source: docs/facts/auth-and-sessions.md."""
_WORTH_PROVING = 4096
"""Bits: above it one quick test of a prime has to do, for the proof takes seconds and anybody may ask for it."""
Named = Callable[[str], str]


@discreet
def checked_draft(
    method: AuthMethod,
    fields: Mapping[str, Secret[str]],
    *,
    user_id: str,
    connection_id: str,
    environment: Environment,
    label: str = "",
    named: Named = lambda name: name,
) -> Draft:
    """What may be stored, with the fingerprints of its keys. Blocks for up to a second.

    named: how the asker calls a field. Raises ConfigError (E-KEY-FORMAT, E-OA1-DH, E-SECRET-DECRYPT, E-SECRET-MISSING)
    and InvalidRequest (E-VALIDATION).
    """
    check_names(method, fields)
    known = FIELDS[method]
    clean: dict[str, Secret[str]] = {}
    for name, value in fields.items():
        if known[name].kind is Kind.PRIVATE_KEY:
            clean[name] = Secret(clean_pem(value.reveal()))
        elif name == "key_passphrase":  # blanks at its ends may be part of it
            clean[name] = value
        else:
            clean[name] = Secret(value.reveal().strip())
        if not clean[name]:
            raise _wrong(named(name), "it is blank")
    passphrase = clean.get("key_passphrase")
    keys = {name: _key(fields[name], named(name), passphrase) for name in clean if known[name].kind is Kind.PRIVATE_KEY}
    match method:
        case AuthMethod.OAUTH1A:
            _check_oauth1(clean, keys, named)
        case AuthMethod.OAUTH2:
            _check_ip(clean["allowed_ip"], named("allowed_ip"))
        case AuthMethod.GATEWAY:
            pass  # its address is judged by who knows the operator's: `vault_logins.check_gateway`
    return Draft(
        user_id=user_id,
        connection_id=connection_id,
        method=method,
        environment=environment,
        label=label,
        fields=clean,
        fingerprints={name: fingerprint_of(key) for name, key in keys.items()},
    )


def fingerprint_of(key: RSAPrivateKey) -> str:
    """SHA-256 of the public half (DER of SubjectPublicKeyInfo), `SHA256:` and base64 without padding.

    As `openssl pkey -in private.pem -pubout -outform der | openssl dgst -sha256 -binary | base64` says it.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).rstrip(b"=").decode()


def _key(pem: Secret[str], what: str, passphrase: Secret[str] | None) -> RSAPrivateKey:
    key = load_private_key(pem, what=what, passphrase=passphrase)
    if key.key_size <= _WORTH_PROVING:
        key = load_private_key(pem, what=what, passphrase=passphrase, thorough=True)
    return key


def _check_oauth1(fields: dict[str, Secret[str]], keys: dict[str, RSAPrivateKey], named: Named) -> None:
    consumer_key = fields["consumer_key"].reveal()
    if not _CONSUMER_KEYS.fullmatch(consumer_key):
        why = "it is not nine letters A-Z, as the portal takes them"
        if _NINE_LETTERS.fullmatch("".join(consumer_key.split()).upper()):
            why = "it has small letters or blanks; the portal made it nine capitals"
        raise _wrong(named("consumer_key"), why)
    signing, opening = keys["signature_key"], keys["encryption_key"]
    if signing.public_key().public_numbers() == opening.public_key().public_numbers():
        raise _wrong(named("encryption_key"), f"it is the same key as {named('signature_key')}; IBKR wants two")
    params = dh.parse_params_pem(fields["dh_params"].reveal())
    provable = params.prime.bit_length() <= _WORTH_PROVING
    dh.check_params(params, thorough=provable)
    if not provable and dh.power(2, params.prime - 1, params.prime) != 1:
        raise ConfigError("Diffie-Hellman parameters invalid: its prime is not a prime number", code="E-OA1-DH")
    token, secret = fields.get("access_token"), fields.get("access_token_secret")
    if token is not None and secret is None:
        raise ConfigError(
            f"{named('access_token_secret')} is missing beside {named('access_token')}", code="E-SECRET-MISSING"
        )
    if token is None and secret is not None:
        raise _wrong(named("access_token"), f"it is missing beside {named('access_token_secret')}")
    if secret is not None:
        _check_secret(signing, opening, secret, named)


def _check_secret(signing: RSAPrivateKey, opening: RSAPrivateKey, secret: Secret[str], named: Named) -> None:
    try:
        decrypt_access_token_secret(opening, secret)
    except ConfigError as error:
        if not _opens(signing, secret):
            raise
        raise ConfigError(
            f"{named('signature_key')} opens the access token secret: the two keys are swapped",
            code="E-SECRET-DECRYPT",
            remedy=f"Exchange {named('signature_key')} and {named('encryption_key')}.",
        ) from error


def _opens(key: RSAPrivateKey, secret: Secret[str]) -> bool:
    try:
        decrypt_access_token_secret(key, secret)
    except ConfigError:
        return False
    return True


def _check_ip(value: Secret[str], what: str) -> None:
    try:
        ipaddress.IPv4Address(value.reveal())
    except ValueError:
        raise _wrong(what, "use the IPv4 address that IBKR has registered, like 203.0.113.7") from None


def _wrong(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid request: {name}: {reason}", remedy=f"Correct {name}.", details={"field": name})
