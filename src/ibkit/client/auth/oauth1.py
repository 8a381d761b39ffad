"""OAuth 1.0a: from an access token to a live session token, and the three-legged way to an access token.

    first party:  live_session_token
    third party:  Authorisation.begin → the user's browser → Authorisation.finish → live_session_token

Source: docs/facts/auth-and-sessions.md §1; requirements AUTH-03 to AUTH-08.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ibkit.client.auth.clock_check import check_clock
from ibkit.client.auth.grant import Grant, Random, own_root
from ibkit.errors import ConfigError, CredentialsRejected, UnexpectedAnswer, discreet
from ibkit.model import AuthMethod, OAuth1Credentials, Secret
from ibkit.wire import dh, oauth1_tokens
from ibkit.wire.http import Request, Response
from ibkit.wire.keys import load_private_key
from ibkit.wire.oauth1 import Signer, live_session_token, proves_live_session_token

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["Authorisation", "OAuth1Auth", "load_material", "realm_of", "swapped_keys"]

LIFE = timedelta(hours=24)
_SURELY_AN_EXPIRY = timedelta(minutes=10)
_DEMO_CONSUMER, _DEMO_REALM = "TESTCONS", "test_realm"


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """The keys as objects, the secret opened; held in memory only."""

    signature_key: RSAPrivateKey
    secret: Secret[bytes]
    dh_params: dh.DhParams


def realm_of(credentials: OAuth1Credentials) -> str:
    """`test_realm` goes with IBKR's demonstration consumer and with nothing else (§1.1)."""
    return _DEMO_REALM if credentials.consumer_key == _DEMO_CONSUMER else credentials.realm


def signature_key(credentials: OAuth1Credentials) -> RSAPrivateKey:
    """The key that signs token calls. Raises ConfigError (E-KEY-FORMAT)."""
    return load_private_key(
        credentials.signature_key, what="IB_SIGNATURE_KEY_PATH", passphrase=credentials.key_passphrase
    )


@discreet
def load_material(credentials: OAuth1Credentials) -> Material:
    """Reads the keys and opens the secret. Raises ConfigError: E-KEY-FORMAT, E-OA1-DH, E-SECRET-MISSING,
    E-SECRET-DECRYPT."""
    if not credentials.access_token or not credentials.access_token_secret:
        raise ConfigError(code="E-SECRET-MISSING")
    signing = signature_key(credentials)
    opening = load_private_key(
        credentials.encryption_key, what="IB_ENCRYPTION_KEY_PATH", passphrase=credentials.key_passphrase
    )
    params = dh.parse_params_pem(credentials.dh_params)
    dh.check_params(params, thorough=False)
    try:
        secret = oauth1_tokens.decrypt_access_token_secret(opening, credentials.access_token_secret)
    except ConfigError as error:
        raise swapped_keys(signing, credentials.access_token_secret) or error from None
    return Material(signing, Secret(secret), params)


def swapped_keys(signing: RSAPrivateKey, secret: Secret[str]) -> ConfigError | None:
    """The error to show when it is the signature key that opens the secret; None when it does not."""
    try:
        oauth1_tokens.decrypt_access_token_secret(signing, secret)
    except ConfigError:
        return None
    return ConfigError(
        "The signature key opens the access token secret: the two key files are swapped",
        code="E-SECRET-DECRYPT",
        remedy="Exchange IB_SIGNATURE_KEY_PATH and IB_ENCRYPTION_KEY_PATH.",
    )


@dataclass(frozen=True, slots=True, repr=False)
class _Exchange:
    """One Diffie-Hellman exchange. Its numbers stay in here: no local of a function that can fail holds them."""

    material: Material
    exponent: int

    def challenge(self) -> int:
        return dh.challenge(self.material.dh_params, self.exponent)

    def token(self, response: int) -> Secret[bytes]:
        """The live session token. Raises UnexpectedAnswer (E-OA1-LST) for a number that would make K known to all."""
        if not dh.is_fit(self.material.dh_params, response):
            raise UnexpectedAnswer(
                "Live session token refused by us: the other side's public value is outside 2..p-2", code="E-OA1-LST"
            )
        shared = dh.shared_secret(self.material.dh_params, self.exponent, response)
        return Secret(live_session_token(shared, self.material.secret.reveal()))


class OAuth1Auth:
    """Signs in with an access token, signs each call with the live session token.

    machine_now: the machine's own clock, where `now` follows a simulator's hour: the broker's Date header may agree
    with either.
    """

    method = AuthMethod.OAUTH1A
    settle_s = 0.0

    def __init__(
        self,
        credentials: OAuth1Credentials,
        *,
        base_url: str,
        random: Random,
        machine_now: Callable[[], datetime] | None = None,
    ) -> None:
        self._credentials = credentials
        self._root = own_root(base_url)
        self._random = random
        self._machine_now = machine_now
        self._material: Material | None = None
        self._signing: tuple[Grant, Signer] | None = None

    def handshake(self, now: Callable[[], datetime]) -> Generator[Request, Response, Grant]:
        given = self._credentials
        if self._material is None:
            self._material = load_material(given)
        material = self._material
        consumer = oauth1_tokens.Consumer(
            self._root.rstrip("/"), given.consumer_key, realm_of(given), material.signature_key
        )
        exchange = _Exchange(material, dh.private_exponent(self._random))
        response = yield oauth1_tokens.live_session_token_request(
            consumer,
            access_token=given.access_token or "",
            secret=material.secret.reveal(),
            challenge=exchange.challenge(),
            nonce=self._random(16).hex(),
            timestamp=int(now().timestamp()),
        )
        check_clock(response, now, self._machine_now)
        answer = oauth1_tokens.read_live_session_token(response)
        token = exchange.token(answer.response)
        if not proves_live_session_token(token.reveal(), given.consumer_key, answer.live_session_token_signature):
            raise CredentialsRejected("Live session token verification failed", code="E-OA1-LST")
        obtained_at = now()
        return Grant(
            method=self.method,
            token=token,
            obtained_at=obtained_at,
            expires_at=_expiry(answer.live_session_token_expiration, obtained_at),
            label=given.consumer_key,
        )

    def stream_proof(self, grant: Grant) -> tuple[tuple[str, Secret[str]], ...]:
        """The access token, not the live session token (docs/facts/auth-and-sessions.md §1.10)."""
        token = self._credentials.access_token
        return () if token is None else (("oauth_token", Secret(token)),)

    def sign(self, request: Request, grant: Grant, now: datetime) -> Request:
        url = request.url
        if not url.startswith(self._root):
            raise ConfigError(f"an OAuth signature is for {self._root} only")
        if self._signing is None or self._signing[0] is not grant:
            self._signing = grant, self._signer(grant)
        proof = self._signing[1].authorization(request.method, url, int(now.timestamp()))
        return Request(request.method, url, {**request.headers, "Authorization": proof}, request.body)

    def _signer(self, grant: Grant) -> Signer:
        token = grant.token.reveal()
        assert isinstance(token, bytes), "a live session token is bytes"
        return Signer(
            consumer_key=self._credentials.consumer_key,
            access_token=self._credentials.access_token or "",
            realm=realm_of(self._credentials),
            token=token,
            random=_InBlocks(self._random),
        )


class _InBlocks:
    """Nonces from blocks of 4 kB: a system call for each costs 10 µs where another thread waits for the GIL."""

    __slots__ = ("_at", "_block", "_source")

    def __init__(self, source: Random) -> None:
        self._source = source
        self._block = b""
        self._at = 0

    def __call__(self, size: int) -> bytes:
        start = self._at
        if start + size > len(self._block):
            self._block, start = self._source(max(4096, size)), 0
        self._at = start + size
        return self._block[start : self._at]


def _expiry(stated_ms: int, now: datetime) -> datetime:
    """IBKR's text calls the figure the moment of computation, its practice is the moment of expiry (§1.8): a figure
    about now can only be the former. Never more than 24 hours (§1.9)."""
    latest = now + LIFE
    try:
        stated = datetime.fromtimestamp(stated_ms / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return latest
    return min(stated, latest) if stated > now + _SURELY_AN_EXPIRY else latest


class Authorisation:
    """The third party's way to a user's access token; see docs/facts/auth-and-sessions.md §1.5-1.7."""

    def __init__(
        self,
        credentials: OAuth1Credentials,
        *,
        base_url: str,
        random: Random,
        machine_now: Callable[[], datetime] | None = None,
    ) -> None:
        self._credentials = credentials
        self._root = own_root(base_url)
        self._random = random
        self._machine_now = machine_now
        self._consumer: oauth1_tokens.Consumer | None = None

    def _who(self) -> oauth1_tokens.Consumer:
        if self._consumer is None:
            given = self._credentials
            self._consumer = oauth1_tokens.Consumer(
                self._root.rstrip("/"), given.consumer_key, realm_of(given), signature_key(given)
            )
        return self._consumer

    def begin(self, now: Callable[[], datetime], *, callback: str = "oob") -> Generator[Request, Response, str]:
        """Returns a request token, good for about ten minutes. Raises CredentialsRejected (E-OA1-…)."""
        response = yield oauth1_tokens.request_token_request(
            self._who(), nonce=self._random(16).hex(), timestamp=int(now().timestamp()), callback=callback
        )
        check_clock(response, now, self._machine_now)
        return oauth1_tokens.read_request_token(response)

    def url(self, request_token: str, redirect_uri: str | None = None) -> str:
        """The page on which the user agrees; it ends with a verifier."""
        return oauth1_tokens.authorisation_url(self._root.rstrip("/"), request_token, redirect_uri)

    def finish(
        self, request_token: str, verifier: str, now: Callable[[], datetime]
    ) -> Generator[Request, Response, oauth1_tokens.AccessToken]:
        """Exchanges the verifier, which works once, for the access token. Raises CredentialsRejected (E-OA1-…)."""
        response = yield oauth1_tokens.access_token_request(
            self._who(),
            request_token=request_token,
            verifier=verifier,
            nonce=self._random(16).hex(),
            timestamp=int(now().timestamp()),
        )
        check_clock(response, now, self._machine_now)
        return oauth1_tokens.read_access_token(response)
