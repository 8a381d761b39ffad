"""Settings → a client that is ready to sign in: clock, transport, sign-in method and token cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.trading_client import TradingClient
from ibkit.bootstrap.vaults import ring_of
from ibkit.client.auth.gateway import GatewayAuth
from ibkit.client.auth.grant import Auth
from ibkit.client.auth.oauth1 import OAuth1Auth
from ibkit.client.auth.oauth2 import OAuth2Auth
from ibkit.client.shared_slots import SharedSlots
from ibkit.client.tokens import TokenCache
from ibkit.clock import Clock, OffsetClock, SystemClock
from ibkit.errors import ConfigError
from ibkit.model import (
    AccountId,
    AuthMethod,
    Credentials,
    Environment,
    GatewayLogin,
    OAuth1Credentials,
    OAuth2Credentials,
    Username,
)
from ibkit.settings import MethodChoice, Settings, load, load_defaults
from ibkit.trading import Observer
from ibkit.trading.timeline import unobserved
from ibkit.wire.endpoint import Needs

if TYPE_CHECKING:
    from ibkit.client.metering import Meter
    from ibkit.client.transport import Transport

__all__ = [
    "client_of",
    "clock_of",
    "connect",
    "open_client",
    "read_settings",
    "token_cache_of",
    "with_stored_token",
]

log = logging.getLogger(__name__)

_CLOCK_TIMEOUT_S = 5.0


def read_settings(
    *,
    flags: dict[str, str] | None = None,
    env_file: Path | None = None,
    require_method: bool = True,
) -> Settings:
    """The settings, with the access token of an earlier `ibkit auth authorize` where they hold none (AUTH-05)."""
    found = load(flags=flags, env_file=env_file, require_method=False)
    found = with_stored_token(found)
    if require_method and not found.mock:
        _ = found.method  # raises what is missing
    return found


def with_stored_token(settings: Settings) -> Settings:
    missing = [problem for problem in settings.method_problems if problem.code == "E-SECRET-MISSING"]
    oauth1 = settings.oauth1
    if not missing or not settings.vault.has_key or oauth1.consumer_key is None or oauth1.access_token is not None:
        return settings
    cache = TokenCache(
        settings.state_dir / "tokens",
        environment=settings.environment,
        method=AuthMethod.OAUTH1A,
        identity=oauth1.consumer_key,
        ring=ring_of(settings),
        random=edges().random,
    )
    stored = cache.load_access_token()
    if stored is None:
        return settings
    return dataclasses.replace(
        settings,
        oauth1=dataclasses.replace(oauth1, access_token=stored.token, access_token_secret=stored.secret),
        choice=MethodChoice(
            AuthMethod.OAUTH1A, "OAuth 1.0a: consumer key set, access token stored by `auth authorize`"
        ),
        method_problems=(),
    )


def token_cache_of(settings: Settings, credentials: Credentials) -> TokenCache | None:
    """Where the sign-in is kept between runs. The gateway's login is the gateway's to keep."""
    if isinstance(credentials, GatewayLogin):
        return None
    return TokenCache.of(
        settings.state_dir / "tokens",
        credentials,
        environment=settings.environment,
        base_url=settings.cloud_address.base,
        ring=ring_of(settings),
        random=edges().random,
        owner=settings.owner,
    )


def clock_of(settings: Settings) -> Clock:
    """The machine's clock, or one that follows the simulator that APP_CLOCK names."""
    given = edges().clock
    if given is not None:
        return given
    if settings.general.clock is None:
        return SystemClock()
    return OffsetClock(_hour_of_simulator(settings.general.clock) - datetime.now(UTC))


def _hour_of_simulator(control_url: str) -> datetime:
    # One question to this very machine (settings/checks.py refuses any other host), before there is any client.
    from urllib.error import URLError
    from urllib.request import ProxyHandler, build_opener

    url = f"{control_url.rstrip('/')}/__sim/clock"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=_CLOCK_TIMEOUT_S) as answer:
            told = datetime.fromisoformat(json.load(answer)["now"])
    except (URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Setting invalid: APP_CLOCK: no simulator answers at {control_url}",
            remedy="Start it again (`ibkit sim`), take its new settings file, or remove APP_CLOCK.",
        ) from error
    return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


def auth_of(credentials: Credentials, *, base_url: str, settle_s: float = 3.0) -> Auth:
    """The sign-in that these credentials are for."""
    random = edges().random
    match credentials:
        case GatewayLogin():
            return GatewayAuth(credentials)
        case OAuth1Credentials():
            return OAuth1Auth(credentials, base_url=base_url, random=random, machine_now=_machine_now)
        case OAuth2Credentials():
            return OAuth2Auth(
                credentials, base_url=base_url, random=random, settle_s=settle_s, machine_now=_machine_now
            )


def _machine_now() -> datetime:
    return datetime.now(UTC)


def transport_of(settings: Settings) -> Transport:
    """The wire: TLS checked against the system's authorities, a named authority, or the pinned gateway."""
    given = edges().transport
    if given is not None:
        return given(settings)
    from ibkit.bootstrap.tls import transport_for

    return transport_for(settings)


def client_of(
    settings: Settings,
    *,
    compete: bool | None = None,
    upto: Needs | None = Needs.PRIMED_ACCOUNTS,
    keep_alive: bool = True,
    clock: Clock | None = None,
    live_account: str | None = None,
    observe: Observer = unobserved,
    meter: Meter | None = None,
    kept_sign_in: bool = True,
) -> TradingClient:
    """A client of the chosen method; it signs in when it is entered, as far as `upto`.

    kept_sign_in: go on with the sign-in of an earlier run; without it the credentials themselves are proven.
    live_account, observe: as in `TradingClient`. meter: as in `Core`; not for the simulated broker in this process.
    """
    if settings.mock:
        from ibkit.bootstrap.mock import mock_client

        return mock_client(settings, upto=upto, live_account=live_account, observe=observe)
    credentials = settings.credentials()
    base_url = settings.address.base
    clock = clock or clock_of(settings)
    return TradingClient(
        settings,
        live_account=live_account,
        observe=observe,
        auth=auth_of(credentials, base_url=base_url, settle_s=settings.oauth2.settle_seconds),
        base_url=base_url,
        transport=transport_of(settings),
        clock=clock,
        username=_username_of(credentials),
        account_id=settings.account_id,
        read_only=settings.general.read_only,
        compete=settings.session.allow_compete if compete is None else compete,
        open_to=upto,
        keep_alive_s=settings.session.keepalive_interval if keep_alive and edges().keep_alive else None,
        grants=token_cache_of(settings, credentials) if kept_sign_in else None,
        rotate_after=timedelta(hours=settings.oauth1.rotation_hours),
        overrides=settings.general.endpoint_overrides,
        region=settings.general.region,
        shared=SharedSlots(_slots_path(settings, credentials), clock),
        meter=meter,
        cache=settings.runtime.cache,
    )


def _slots_path(settings: Settings, credentials: Credentials) -> Path:
    """One file for each login, named so that nothing of it can be read off."""
    match credentials:
        case OAuth1Credentials():
            login = f"oauth1 {credentials.consumer_key} {credentials.username or ''}"
        case OAuth2Credentials():
            login = f"oauth2 {credentials.client_id} {credentials.credential}"
        case GatewayLogin():
            login = f"gateway {credentials.username or ''}"
    name = hashlib.sha256(f"{settings.address.base} {login}".encode()).hexdigest()[:16]
    return settings.state_dir / "pace" / f"{name}.json"


def _username_of(credentials: Credentials) -> Username | None:
    return credentials.credential if isinstance(credentials, OAuth2Credentials) else credentials.username


@asynccontextmanager
async def open_client(
    settings: Settings,
    *,
    compete: bool | None = None,
    upto: Needs | None = Needs.PRIMED_ACCOUNTS,
    keep_alive: bool = True,
    live_account: str | None = None,
    observe: Observer = unobserved,
) -> AsyncIterator[TradingClient]:
    """The client of these settings, signed in; closed at the end."""
    async with client_of(
        settings, compete=compete, upto=upto, keep_alive=keep_alive, live_account=live_account, observe=observe
    ) as ib:
        yield ib


@asynccontextmanager
async def connect(
    *,
    env_file: str | Path | None = None,
    settings: Settings | None = None,
    credentials: Credentials | None = None,
    base_url: str | None = None,
    ca: str | Path | None = None,
    account_id: str | None = None,
    environment: str | Environment | None = None,
    read_only: bool | None = None,
    compete: bool = False,
    clock: Clock | None = None,
    transport: Transport | None = None,
    keep_alive: bool = True,
    state_dir: str | Path | None = None,
    live_account: str | None = None,
    observe: Observer = unobserved,
) -> AsyncIterator[TradingClient]:
    """A client that is signed in, for `async with`.

    Without arguments, method and credentials come from the environment or a settings file. With `credentials` no
    setting is read at all: base_url, ca and the rest say what is needed.

    state_dir:    where the order journal is kept, IBKIT_STATE_DIR by default.
    live_account: names the account whose live money may be traded, besides `environment="live"`.
    observe:      told of each step of an order.

    Raises ConfigError, AuthError, Unreachable as `ibkit.errors` tells.
    """
    flags = _flags(account_id, environment, read_only, state_dir)
    if credentials is None:
        given = settings or read_settings(flags=flags, env_file=_path(env_file))
        if settings is not None and state_dir is not None:
            given = dataclasses.replace(given, general=dataclasses.replace(given.general, state_dir=Path(state_dir)))
        async with open_client(
            given, compete=compete or None, keep_alive=keep_alive, live_account=live_account, observe=observe
        ) as ib:
            yield ib
        return
    from ibkit.bootstrap.tls import default_address, explicit_transport

    address = default_address(credentials, base_url)
    async with TradingClient(
        load_defaults(flags),
        live_account=live_account,
        observe=observe,
        auth=auth_of(credentials, base_url=address.base),
        base_url=address.base,
        transport=transport or explicit_transport(address, _path(ca)),
        clock=clock or edges().clock or SystemClock(),
        username=_username_of(credentials),
        account_id=AccountId(account_id) if account_id else None,
        read_only=bool(read_only),
        compete=compete,
        keep_alive_s=30.0 if keep_alive and edges().keep_alive else None,
    ) as ib:
        yield ib


def _flags(
    account_id: str | None,
    environment: str | Environment | None,
    read_only: bool | None,
    state_dir: str | Path | None,
) -> dict[str, str]:
    env = environment.value if isinstance(environment, Environment) else environment
    given = {
        "IBKR_ACCOUNT_ID": account_id,
        "IBKR_ENV": env,
        "IBKR_READ_ONLY": None if read_only is None else str(read_only).lower(),
        "IBKIT_STATE_DIR": None if state_dir is None else str(state_dir),
    }
    return {name: value for name, value in given.items() if value is not None}


def _path(value: str | Path | None) -> Path | None:
    return Path(value) if value is not None else None
