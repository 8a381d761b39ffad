"""Session calls: tickle, status, init, validate, reauthenticate, logout, the user.

Source: docs/facts/auth-and-sessions.md §3.3-3.8.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ibkit.sim.logins import sessions
from ibkit.sim.logins.logins import Session
from ibkit.sim.routing import ApiError, Call, Json, handles
from ibkit.wire.session import AUTH_STATUS, LOGOUT, ONE_USER, REAUTHENTICATE, SSO_VALIDATE, SSODH_INIT, TICKLE

__all__ = ["gone"]


def gone(status: int = 410) -> ApiError:
    """§8 row 17. The body is assumed: ibind looks for the word `gone` in it (§3.12 [checked])."""
    words = {410: "gone", 503: "Service Unavailable"}
    return ApiError(status, {"error": words[status], "statusCode": status})


@handles(TICKLE)
def tickle(call: Call) -> Json:
    """§3.7: three members are absent under OAuth 1.0a."""
    answer: dict[str, Any] = {"session": call.session.id}
    if call.session.method != "oauth1a":
        answer |= {
            "ssoExpires": _sso_expires(call),
            "collission": False,
            "userId": call.session.user.user_id,
        }
    status = sessions.status_object(call.world, call.session, fail=False)
    return answer | {"hmds": {"error": "no bridge"}, "iserver": {"authStatus": status}}


def _sso_expires(call: Call) -> int:
    """Milliseconds on a clock that falls one for one and renews itself near zero."""
    full = call.world.quirks.sso_expires_ms
    return full - _ms(call.now, since=call.session.opened_at) % full


def _ms(moment: datetime, *, since: datetime | None = None) -> int:
    seconds = moment.timestamp() if since is None else (moment - since).total_seconds()
    return int(seconds * 1000)


@handles(AUTH_STATUS)
def auth_status(call: Call) -> Json:
    return sessions.status_object(call.world, call.session, fail=True)


@handles(SSODH_INIT)
def ssodh_init(call: Call) -> Json:
    """§3.6: `compete` and `publish` come as JSON, as a form or in the query."""
    faults = call.world.faults
    if faults.take("sso-dh-500") or faults.on("init-refused"):
        raise ApiError(500, {"error": "failed to generate sso dh token"})
    given = {**call.query, **(call.body if isinstance(call.body, dict) else {})}
    if _flag(given.get("publish"), default=True) is False:
        # The body of this 500 is not recorded: assumed to be that of any other 500 with a bad body.
        raise ApiError(500, {"error": "publish must be true"})
    if call.session.logged_out and call.world.quirks.gateway_init_after_logout != 200:
        raise gone(call.world.quirks.gateway_init_after_logout)
    return sessions.init(call.world, call.session, compete=_flag(given.get("compete"), default=False))


def _flag(value: object, *, default: bool) -> bool:
    if value is None:
        return default
    return value if isinstance(value, bool) else str(value).lower() == "true"


@handles(REAUTHENTICATE)
def reauthenticate(call: Call) -> Json:
    """§3.8: revives the brokerage session in the background, competing for it as the gateway does."""
    revive(call.session, call)
    return {"message": "triggered"}


def revive(session: Session, call: Call) -> None:
    """Open the brokerage session again, unless a scenario keeps it shut."""
    if session.brokerage is None and not call.world.faults.on("init-refused"):
        sessions.init(call.world, session, compete=True)


@handles(SSO_VALIDATE)
def sso_validate(call: Call) -> Json:
    """§3.3. Not for OAuth 1.0a; what that is told is not recorded, 401 is assumed."""
    session, user = call.session, call.session.user
    if session.method == "oauth1a":
        raise ApiError(401, {"error": "not authenticated", "statusCode": 401})
    answer: dict[str, Any] = {
        "USER_ID": user.user_id,
        "USER_NAME": user.username,
        "RESULT": not call.world.faults.on("validate-refused"),
        "AUTH_TIME": _ms(session.opened_at),
        "SF_ENABLED": False,
        "IS_FREE_TRIAL": False,
        "CREDENTIAL": user.username,
        "IP": call.world.quirks.client_ip or "127.0.0.1",
        "EXPIRES": _sso_expires(call),
        "QUALIFIED_FOR_MOBILE_AUTH": None,
        "LANDING_APP": "UNIVERSAL",
        "IS_MASTER": False,
        "lastAccessed": _ms(call.now),
        "LOGIN_TYPE": 2 if user.is_paper else 1,
        "PAPER_USER_NAME": user.username,
        "features": {
            "env": "PROD",
            "wlms": True,
            "realtime": True,
            "bond": True,
            "optionChains": True,
            "calendar": True,
            "newMf": True,
        },
        "region": "NJ",
    }
    if session.method == "oauth2":
        # Names from §3.3; types as ibauth 0.1.6 insists on them, values assumed.
        answer |= {
            "IS_PENDING_APPLICANT": False,
            "CREDENTIAL_TYPE": 1,
            "UNIQUE_LOGIN_ID": str(user.user_id),
            "HARDWARE_INFO": f"{session.id[:8]}|{sessions.MAC}",
            "SF_CONFIG": "",
            "COUNTERPARTY": "IBLLC",
            "TOKEN": session.id,
            "took": 3,
        }
    return answer


@handles(LOGOUT)
def logout(call: Call) -> Json:
    """§3.8, §8 row 27: on the gateway the login lives on, under OAuth the outer session ends."""
    if call.session.method == "gateway":
        sessions.lose_brokerage(call.session)
        call.session.connected = False
        call.session.logged_out = True
    else:
        sessions.end(call.world, call.session, logged_out=True)
    return {"status": True}


@handles(ONE_USER)
def one_user(call: Call) -> Json:
    """§3.11 step 3 needs USER_NAME and no more; the rest of the real answer is not recorded."""
    user = call.session.user
    return {"USER_NAME": user.username, "USER_ID": user.user_id}
