"""Whose call is this? The gateway's one login, a signed OAuth 1.0a header, or an SSO bearer.

Source: docs/facts/auth-and-sessions.md §1.2-1.4, §2.4, §8 rows 3-5 and 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ibkit.sim.logins.logins import Session
from ibkit.sim.logins.oauth1_check import Signed, hmac_verifies, missing_pairs, parse_header
from ibkit.sim.routing import ApiError
from ibkit.sim.world import World

__all__ = ["bearer_session", "check_timestamp", "not_authenticated", "oauth_error", "signed_session", "use_nonce"]


def not_authenticated() -> ApiError:
    """What /iserver really says for 401. §8 row 8 [recorded]."""
    return ApiError(401, {"error": "not authenticated", "statusCode": 401}, content_type="application/json")


def oauth_error(world: World, reason: str) -> ApiError:
    """A refusal of the OAuth 1.0a layer; its number changes with each call. §0.3 [forum]."""
    number = world.rng("oauth errors").randint(10_000, 999_999)
    return ApiError(
        401, {"error": f"id: {number}, error: {reason}", "statusCode": 401}, content_type="application/json"
    )


def check_timestamp(world: World, text: str, clocks: tuple[datetime, ...]) -> None:
    """Unix seconds, near one of the clocks. §1.2, §8 row 3."""
    stamp = int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0
    tolerance = world.quirks.timestamp_tolerance_s
    if stamp <= 0 or not any(abs(stamp - clock.timestamp()) <= tolerance for clock in clocks):
        raise oauth_error(world, "invalid timestamp")


def use_nonce(world: World, pairs: Mapping[str, str]) -> None:
    """In the strict mode a repeated (consumer, token, timestamp, nonce) is refused. §1.2, §8 row 4."""
    if not world.quirks.strict_nonce:
        return
    names = ("oauth_consumer_key", "oauth_token", "oauth_timestamp", "oauth_nonce")
    used = tuple(pairs.get(name, "") for name in names)
    if used in world.logins.used_nonces:
        raise oauth_error(world, "nonce was used before")
    world.logins.used_nonces[used] = None


def signed_session(world: World, signed: Signed, clocks: tuple[datetime, ...]) -> Session:
    """The session of a call signed with a live session token. A logged-out one is returned too, marked as such.

    Refused: 401 of the OAuth layer for a consumer or timestamp, else the plain 401.
    """
    pairs = signed.pairs
    if missing_pairs(pairs, "oauth_token") or pairs["oauth_signature_method"] != "HMAC-SHA256":
        raise not_authenticated()
    consumer = world.logins.consumers.get(pairs["oauth_consumer_key"])
    if consumer is None or consumer.realm != pairs["realm"] or world.faults.on("invalid-consumer"):
        raise oauth_error(world, "invalid consumer")
    check_timestamp(world, pairs["oauth_timestamp"], clocks)
    token = world.logins.access_tokens.get(pairs["oauth_token"])
    if token is None or token.consumer_key != consumer.key:
        raise not_authenticated()
    for live in reversed(world.logins.live_session_tokens.get(token.token, [])):
        if live.expires_at > world.now and hmac_verifies(signed, live.token, world.quirks.query_signing):
            use_nonce(world, pairs)
            return live.session
    raise not_authenticated()


def read_pairs(header: str) -> dict[str, str]:
    """The pairs of an OAuth header; none if it is not one."""
    return parse_header(header) or {}


def bearer_session(world: World, token: str, peer: str) -> Session:
    """The session of an SSO bearer; a caller from another address than its `ip` is refused. §2.3, §8 row 20."""
    bearer = world.logins.sso_bearers.get(token)
    if bearer is None:
        raise not_authenticated()
    wanted = world.quirks.client_ip or peer
    if wanted != "*" and wanted not in bearer.ips:
        raise not_authenticated()
    return bearer.session
