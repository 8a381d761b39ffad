"""Session calls: tickle, status, init, validate, logout, reauthenticate, suppression of questions.

Source: docs/facts/auth-and-sessions.md §3.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs, Resend

_FACTS = "docs/facts/auth-and-sessions.md"


class ServerInfo(msgspec.Struct):
    serverName: str | None = None
    serverVersion: str | None = None


class BrokerageStatus(msgspec.Struct):
    """The object of status, init and tickle. Source: §3.4."""

    authenticated: bool | None = None
    established: bool | None = None
    competing: bool | None = None
    connected: bool | None = None
    passed: bool | None = None
    message: str | None = None
    fail: str | None = None
    MAC: str | None = None
    hardware_info: str | None = None
    serverInfo: ServerInfo | None = None

    @property
    def ready(self) -> bool:
        """Logged in and loaded. Servers that leave `established` out mean yes by `authenticated`."""
        return self.authenticated is True and self.established is not False and self.competing is not True

    @property
    def taken(self) -> bool:
        """Another login has the name: it says so, or init was refused for want of `compete`. Source: §3.6."""
        return self.competing is True or "compete" in (self.fail or "").lower()


class _IServerPart(msgspec.Struct):
    authStatus: BrokerageStatus | None = None


class Tickle(msgspec.Struct):
    """Source: §3.7; `ssoExpires`, `userId` are absent under OAuth 1.0a."""

    session: str | None = None
    ssoExpires: int | None = None
    collission: bool | None = None
    userId: int | None = None
    iserver: _IServerPart | None = None

    @property
    def status(self) -> BrokerageStatus:
        if self.iserver is None or self.iserver.authStatus is None:
            return BrokerageStatus()
        return self.iserver.authStatus


class Validation(msgspec.Struct):
    """Source: §3.3. LOGIN_TYPE: 1 live, 2 paper. EXPIRES: milliseconds left."""

    RESULT: bool | None = None
    USER_ID: int | None = None
    USER_NAME: str | None = None
    CREDENTIAL: str | None = None
    LOGIN_TYPE: int | None = None
    PAPER_USER_NAME: str | None = None
    AUTH_TIME: int | None = None
    EXPIRES: int | None = None
    IP: str | None = None
    region: str | None = None


class InitRequest(msgspec.Struct):
    publish: bool
    compete: bool


class LoggedOut(msgspec.Struct):
    status: bool | None = None
    confirmed: bool | None = None


class Triggered(msgspec.Struct):
    message: str | None = None


class SuppressRequest(msgspec.Struct):
    messageIds: list[str]


class Submitted(msgspec.Struct):
    status: str | None = None


TICKLE = Endpoint(
    "POST",
    "/tickle",
    gives=Tickle,
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    limit=Limit(1, 1.0),
    also=("GET",),
    source=f"{_FACTS} §3.7",
)
AUTH_STATUS = Endpoint(
    "POST",
    "/iserver/auth/status",
    gives=BrokerageStatus,
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    also=("GET",),
    source=f"{_FACTS} §3.5",
)
SSODH_INIT = Endpoint(
    "POST",
    "/iserver/auth/ssodh/init",
    takes=InitRequest,
    gives=BrokerageStatus,
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    resend=Resend.NEVER,
    also=("GET",),
    source=f"{_FACTS} §3.6",
)
REAUTHENTICATE = Endpoint(
    "POST",
    "/iserver/reauthenticate",
    gives=Triggered,
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    also=("GET",),
    source=f"{_FACTS} §3.8",
)
SSO_VALIDATE = Endpoint(
    "GET",
    "/sso/validate",
    gives=Validation,
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    limit=Limit(1, 60.0),
    source=f"{_FACTS} §3.3",
)
LOGOUT = Endpoint(
    "POST",
    "/logout",
    gives=LoggedOut,
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    also=("GET",),
    source=f"{_FACTS} §3.8",
)
ONE_USER = Endpoint(
    "GET",
    "/one/user",
    gives=dict[str, Any],
    needs=Needs.OUTER_SESSION,
    lane=Lane.SESSION,
    source=f"{_FACTS} §3.8",
)
SUPPRESS_QUESTIONS = Endpoint(
    "POST",
    "/iserver/questions/suppress",
    takes=SuppressRequest,
    gives=Submitted,
    lane=Lane.SESSION,
    source="docs/facts/orders.md §3.3",
)
RESET_SUPPRESSION = Endpoint(
    "POST",
    "/iserver/questions/suppress/reset",
    gives=Submitted,
    lane=Lane.SESSION,
    source="docs/facts/orders.md §3.3",
)
