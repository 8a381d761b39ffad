"""Token calls of the two OAuth methods. Signing them stands in `oauth1.py` and `oauth2.py`.

Source: docs/facts/auth-and-sessions.md §1.5-1.8, §2.2-2.5.
"""

from __future__ import annotations

from ibkit.wire.endpoint import Base, Endpoint, Lane, Needs, Resend

_FACTS = "docs/facts/auth-and-sessions.md"


def _token_call(path: str, section: str, *, base: Base = Base.API, method: str = "POST") -> Endpoint:
    # A token call is never repeated by the transport: the keeper decides, and counts its attempts (AUTH-20).
    return Endpoint(
        method,
        path,
        needs=Needs.NOTHING,
        resend=Resend.NEVER,
        lane=Lane.SESSION,
        base=base,
        source=f"{_FACTS} {section}",
    )


REQUEST_TOKEN = _token_call("/oauth/request_token", "§1.5")
ACCESS_TOKEN = _token_call("/oauth/access_token", "§1.7")
LIVE_SESSION_TOKEN = _token_call("/oauth/live_session_token", "§1.8")
OAUTH2_TOKEN = _token_call("/oauth2/api/v1/token", "§2.2", base=Base.ROOT)
SSO_SESSIONS = _token_call("/gw/api/v1/sso-sessions", "§2.3", base=Base.ROOT)
ECHO_HTTPS = _token_call("/gw/api/v1/echo/https", "§2.5", base=Base.ROOT, method="GET")
ECHO_SIGNED_JWT = _token_call("/gw/api/v1/echo/signed-jwt", "§2.5", base=Base.ROOT)
