"""Session calls: tickle, status, init, validate, logout, reauthenticate, suppression of questions.

Source: docs/facts/auth-and-sessions.md §3.
"""

from __future__ import annotations

from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs, Resend

_FACTS = "docs/facts/auth-and-sessions.md"

TICKLE = Endpoint(
    "POST",
    "/tickle",
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    limit=Limit(1, 1.0),
    also=("GET",),
    source=f"{_FACTS} §3.7",
)
AUTH_STATUS = Endpoint(
    "POST",
    "/iserver/auth/status",
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    also=("GET",),
    source=f"{_FACTS} §3.5",
)
SSODH_INIT = Endpoint(
    "POST",
    "/iserver/auth/ssodh/init",
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    resend=Resend.NEVER,
    also=("GET",),
    source=f"{_FACTS} §3.6",
)
REAUTHENTICATE = Endpoint(
    "POST",
    "/iserver/reauthenticate",
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    also=("GET",),
    source=f"{_FACTS} §3.8",
)
SSO_VALIDATE = Endpoint(
    "GET",
    "/sso/validate",
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    limit=Limit(1, 60.0),
    source=f"{_FACTS} §3.3",
)
LOGOUT = Endpoint(
    "POST", "/logout", needs=Needs.OUTER_SESSION, lane=Lane.SESSION, also=("GET",), source=f"{_FACTS} §3.8"
)
ONE_USER = Endpoint("GET", "/one/user", needs=Needs.OUTER_SESSION, lane=Lane.SESSION, source=f"{_FACTS} §3.8")
SUPPRESS_QUESTIONS = Endpoint(
    "POST", "/iserver/questions/suppress", lane=Lane.SESSION, source="docs/facts/orders.md §3.3"
)
RESET_SUPPRESSION = Endpoint(
    "POST", "/iserver/questions/suppress/reset", lane=Lane.SESSION, source="docs/facts/orders.md §3.3"
)
