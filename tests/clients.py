"""Clients for tests: each of the three sign-ins against a simulator in process, on the clock they share."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ibkit.client.auth.gateway import GatewayAuth
from ibkit.client.auth.grant import Auth
from ibkit.client.auth.oauth1 import OAuth1Auth
from ibkit.client.auth.oauth2 import OAuth2Auth
from ibkit.client.client import Client
from ibkit.model import AuthMethod, GatewayLogin, OAuth1Credentials, OAuth2Credentials, Secret, SendPermit, Username
from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL, Simulator

__all__ = ["make_auth", "make_client", "permit"]


def make_auth(
    simulator: Simulator, method: AuthMethod, *, user: int = 0, chance: Callable[[int], bytes] | None = None
) -> Auth:
    """The sign-in of the simulator's `user`th user, with a seeded source of chance."""
    keys = simulator.users[user]
    chance = chance or random.Random(f"client/{user}").randbytes
    username = Username(keys.user.username)
    if method is AuthMethod.GATEWAY:
        return GatewayAuth(GatewayLogin())
    if method is AuthMethod.OAUTH1A:
        return OAuth1Auth(
            OAuth1Credentials(
                consumer_key=keys.consumer_key,
                access_token=keys.access_token,
                access_token_secret=Secret(keys.access_token_secret),
                signature_key=Secret(keys.signature_key.read_text()),
                encryption_key=Secret(keys.encryption_key.read_text()),
                dh_params=keys.dhparam.read_text(),
                username=username,
            ),
            base_url=CLOUD_URL,
            random=chance,
        )
    return OAuth2Auth(
        OAuth2Credentials(
            client_id=keys.client_id,
            client_key_id=keys.client_key_id,
            private_key=Secret(keys.oauth2_key.read_text()),
            credential=username,
            ip="127.0.0.1",
        ),
        base_url=CLOUD_URL,
        random=chance,
    )


def make_client(
    simulator: Simulator, method: AuthMethod = AuthMethod.OAUTH1A, *, user: int = 0, **options: Any
) -> Client:
    """A client without a keep-alive task: the test moves the clock and calls `keeper.beat()` where it wants one."""
    gateway = method is AuthMethod.GATEWAY
    return Client(
        auth=make_auth(simulator, method, user=user),
        base_url=GATEWAY_URL if gateway else CLOUD_URL,
        clock=simulator.clock,
        **{
            "transport": simulator.transport("gateway" if gateway else "cloud"),
            "keep_alive_s": None,
            "chance": lambda: 0.5,
            **options,
        },
    )


def permit(ib: Client, *, within_s: float = 60.0) -> SendPermit:
    """What the order gateway hands to each order call."""
    return SendPermit(ib.clock.monotonic() + within_s)
