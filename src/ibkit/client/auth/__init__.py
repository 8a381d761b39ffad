"""Signing in: three methods behind one protocol, none of which does I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ibkit.client.auth.grant import Auth, Grant, Random
from ibkit.model import Credentials, GatewayLogin, OAuth1Credentials

__all__ = ["Auth", "Grant", "Random", "make_auth"]


def make_auth(
    credentials: Credentials,
    *,
    base_url: str,
    random: Random | None = None,
    settle_s: float = 3.0,
    machine_now: Callable[[], datetime] | None = None,
) -> Auth:
    """The sign-in that fits `credentials`. The OAuth code is imported only where it is used.

    base_url:    scheme and host of IBKR's cloud (a path `/v1/api` is ignored); the gateway method needs none.
    random:      `secrets.token_bytes` unless a test says otherwise.
    settle_s:    pause after the SSO step of OAuth 2.0.
    machine_now: the machine's own clock; by default the real one.
    """
    if isinstance(credentials, GatewayLogin):
        from ibkit.client.auth.gateway import GatewayAuth

        return GatewayAuth(credentials)
    if random is None:
        import secrets

        random = secrets.token_bytes
    if machine_now is None:
        from ibkit.clock import SystemClock

        machine_now = SystemClock().now
    if isinstance(credentials, OAuth1Credentials):
        from ibkit.client.auth.oauth1 import OAuth1Auth

        return OAuth1Auth(credentials, base_url=base_url, random=random, machine_now=machine_now)
    from ibkit.client.auth.oauth2 import OAuth2Auth

    return OAuth2Auth(credentials, base_url=base_url, random=random, settle_s=settle_s, machine_now=machine_now)
