"""OAuth 2.0: client assertion → access token → SSO session → bearer on every call.

Source: docs/facts/auth-and-sessions.md §2; requirements AUTH-11, AUTH-12.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timedelta
from typing import Any

from ibkit.client.auth.clock_check import TOLERANCE_S, check_clock
from ibkit.client.auth.grant import Grant, Random, own_root
from ibkit.errors import ConfigError
from ibkit.model import AuthMethod, OAuth2Credentials, Secret
from ibkit.wire import oauth2
from ibkit.wire.http import Request, Response
from ibkit.wire.keys import load_private_key

__all__ = ["OAuth2Auth"]

_REUSE_UNTIL = timedelta(seconds=60)
# An assertion lives 60 s: a clock further off than that is the likely cause of a refusal (§7 trap 30).
_ASSERTION_TOLERANCE_S = 60.0
SESSION_LIFE = timedelta(hours=24)


class OAuth2Auth:
    """The access token of step 1 is kept and used again until a minute before it ends; the grant is the SSO bearer.

    settle_s: the pause IBKR needs after a fresh SSO session (`SSO_SETTLE_SECONDS`); the caller keeps it.
    """

    method = AuthMethod.OAUTH2

    def __init__(
        self,
        credentials: OAuth2Credentials,
        *,
        base_url: str,
        random: Random,
        settle_s: float = 3.0,
        machine_now: Callable[[], datetime] | None = None,
    ) -> None:
        self.settle_s = settle_s
        self._credentials = credentials
        self._root = own_root(base_url)
        self._random = random
        self._machine_now = machine_now
        self._client: oauth2.Client | None = None
        self._access: tuple[Secret[str], datetime] | None = None
        self._bearer: tuple[Grant, Secret[str]] | None = None

    def handshake(self, now: Callable[[], datetime]) -> Generator[Request, Response, Grant]:
        reused = self._access is not None and now() < self._access[1]
        access = yield from self.access_token(now)
        response = yield self._sso_request(access, now)
        if response.status == 401 and reused:
            # The kept token of step 1 is over before its time: once more from the start.
            self._access = None
            access = yield from self.access_token(now)
            response = yield self._sso_request(access, now)
        if response.status != 200:
            self._access = None
        check_clock(response, now, self._machine_now)
        token = oauth2.read_sso_session(response)
        obtained_at = now()
        # No expires_in is given: the bearer lives as long as the outer session, 24 hours at most (§2.3, §4.3).
        return Grant(self.method, token, obtained_at, obtained_at + SESSION_LIFE, self._credentials.client_id)

    def access_token(self, now: Callable[[], datetime]) -> Generator[Request, Response, Secret[str]]:
        """Step 1 alone: the token that /gw calls take. Raises CredentialsRejected (E-OA2-TOKEN, E-IP, E-OA1-CLOCK)."""
        if self._access is not None and now() < self._access[1]:
            return self._access[0]
        client = self._who()
        claims = oauth2.assertion_claims(client, now=int(now().timestamp()), jti=self._random(16).hex())
        # The assertion gets no name here: an error report that prints locals would show it.
        response = yield oauth2.token_request(
            client, oauth2.sign_jws(client.key, claims, key_id=client.key_id), scope=self._credentials.scope
        )
        tolerance_s = TOLERANCE_S if response.status == 200 else _ASSERTION_TOLERANCE_S
        check_clock(response, now, self._machine_now, tolerance_s=tolerance_s)
        answer = oauth2.read_token(response)
        until = now() + timedelta(seconds=answer.expires_in) - _REUSE_UNTIL
        self._access = answer.access_token, until
        return answer.access_token

    def echo(
        self, claims: Mapping[str, Any], now: Callable[[], datetime]
    ) -> Generator[Request, Response, dict[str, Any]]:
        """Tries key, key id and clock with IBKR's signed echo (§2.5); needs the scope `echo.write`."""
        access = yield from self.access_token(now)
        response = yield oauth2.echo_request(self._who(), access, claims, now=int(now().timestamp()))
        return oauth2.read_echo(response)

    def sign(self, request: Request, grant: Grant, now: datetime) -> Request:
        if not request.url.startswith(self._root):
            raise ConfigError(f"a bearer token is for {self._root} only")
        if self._bearer is None or self._bearer[0] is not grant:
            token = grant.token.reveal()
            assert isinstance(token, str), "an SSO bearer is text"
            self._bearer = grant, Secret(oauth2.bearer(Secret(token)))
        headers = dict(request.headers)
        headers["Authorization"] = self._bearer[1].reveal()
        return Request(request.method, request.url, headers, request.body)

    def stream_proof(self, grant: Grant) -> tuple[tuple[str, Secret[str]], ...]:
        token = grant.token.reveal()
        assert isinstance(token, str), "an SSO bearer is text"
        return (("bearer_token", Secret(token)),)

    def _sso_request(self, access: Secret[str], now: Callable[[], datetime]) -> Request:
        return oauth2.sso_session_request(
            self._who(),
            access,
            credential=self._credentials.credential,
            ip=self._credentials.ip,
            now=int(now().timestamp()),
        )

    def _who(self) -> oauth2.Client:
        if self._client is None:
            given = self._credentials
            key = load_private_key(given.private_key, what="IBKR_PRIVATE_KEY", passphrase=given.key_passphrase)
            self._client = oauth2.Client(self._root.rstrip("/"), given.client_id, given.client_key_id, key)
        return self._client
