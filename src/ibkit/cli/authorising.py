"""The three-legged authorisation from the command line: request token → browser → verifier → access token.

Requirement AUTH-05; docs/facts/auth-and-sessions.md §1.5-1.7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ibkit.client.auth.oauth1 import Authorisation
from ibkit.client.tokens import TokenCache
from ibkit.errors import ConfigError
from ibkit.model import AuthMethod, OAuth1Credentials
from ibkit.settings import MethodChoice, Settings
from ibkit.wire.http import Request, Response
from ibkit.wire.oauth1_tokens import AccessToken

if TYPE_CHECKING:
    from ibkit.client.transport import Transport

__all__ = ["begin", "finish", "third_party_settings", "with_access_token"]

T = TypeVar("T")
REQUEST_TOKEN_LIFE = timedelta(minutes=10)
_TIMEOUT_S = 15.0


def third_party_settings(settings: Settings) -> Settings:
    """The settings as OAuth 1.0a, whether or not there is an access token yet. Raises ConfigError."""
    if settings.oauth1.consumer_key is None:
        raise ConfigError(
            "IBKR settings incomplete: IB_CONSUMER_KEY (oauth1a)",
            code="E-CONFIG-PARTIAL",
            remedy="Set IB_CONSUMER_KEY; then run `ibkit verify`.",
        )
    return dataclasses.replace(settings, choice=MethodChoice(AuthMethod.OAUTH1A, "authorisation"), method_problems=())


def with_access_token(settings: Settings, access: AccessToken) -> Settings:
    """These settings, signing in with `access`."""
    given = dataclasses.replace(settings.oauth1, access_token=access.token, access_token_secret=access.secret)
    return dataclasses.replace(settings, oauth1=given)


async def begin(settings: Settings) -> tuple[str, str, bool]:
    """A request token, the page on which the user agrees, and whether the token is kept for `finish`."""
    from ibkit.bootstrap import clock_of

    way, cache, now = _way(settings), _cache(settings), clock_of(settings).now
    token = await _drive(settings, way.begin(now))
    cache.save_request_token(token, now() + REQUEST_TOKEN_LIFE)
    return token, way.url(token), cache.keeps


async def finish(settings: Settings, verifier: str, token: str | None) -> tuple[AccessToken, bool]:
    """The access token, and whether it is kept. token: the request token, where none is kept.

    Raises ConfigError where no request token is known, CredentialsRejected (E-OA1-TOKEN) where IBKR refuses.
    """
    from ibkit.bootstrap import clock_of

    way, cache, now = _way(settings), _cache(settings), clock_of(settings).now
    token = token or cache.load_request_token(now())
    if token is None:
        raise ConfigError(
            "No request token is waiting: it was never asked for, is older than 10 minutes, or was not kept",
            code="E-OA1-TOKEN",
            remedy="Run `ibkit auth authorize` again, open its page, then repeat with the new verifier (and --token).",
        )
    access = await _drive(settings, way.finish(token, verifier, now))
    # A verifier works once, whatever comes after.
    cache.discard_request_token()
    cache.save_access_token(access)
    return access, cache.keeps


def _credentials(settings: Settings) -> OAuth1Credentials:
    credentials = settings.credentials()
    assert isinstance(credentials, OAuth1Credentials), "the settings were read as OAuth 1.0a"
    return credentials


def _way(settings: Settings) -> Authorisation:
    from ibkit.bootstrap import edges
    from ibkit.clock import SystemClock

    return Authorisation(
        _credentials(settings),
        base_url=settings.cloud_address.base,
        random=edges().random,
        machine_now=SystemClock().now,
    )


def _cache(settings: Settings) -> TokenCache:
    from ibkit.bootstrap import edges, ring_of

    assert settings.oauth1.consumer_key is not None
    return TokenCache(
        settings.state_dir / "tokens",
        environment=settings.environment,
        method=AuthMethod.OAUTH1A,
        identity=settings.oauth1.consumer_key,
        ring=ring_of(settings),
        random=edges().random,
    )


async def _drive(settings: Settings, steps: Generator[Request, Response, T]) -> T:
    from ibkit.bootstrap.clients import transport_of
    from ibkit.client.core import HEADERS

    transport: Transport = transport_of(settings)
    try:
        request = next(steps)
        while True:
            carried = Request(request.method, request.url, {**HEADERS, **request.headers}, request.body)
            request = steps.send(await transport.send(carried, timeout_s=_TIMEOUT_S))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        await transport.aclose()
