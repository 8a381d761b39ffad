"""What an IBKR error answer means: status and words to one error of our tree.

Source: docs/facts/auth-and-sessions.md §0.3, §3.10, §4.6.
"""

from __future__ import annotations

import enum
import re

from ibkit.errors import (
    AuthError,
    Effect,
    IbkitError,
    InvalidRequest,
    NotFound,
    NotPermitted,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SessionExpired,
    SessionUnavailable,
    UnexpectedAnswer,
)
from ibkit.model import AuthMethod
from ibkit.wire.codec import excerpt, said
from ibkit.wire.endpoint import Endpoint, Resend
from ibkit.wire.http import Response

__all__ = ["Cure", "cure_of", "refusal"]


class Cure(enum.Enum):
    """What would have to be done before the same call can succeed."""

    SIGN_IN = "sign in"
    OPEN_BROKERAGE = "ssodh/init"
    ASK_ACCOUNTS = "GET /iserver/accounts"
    WAIT = "wait"


_ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")


def cure_of(status: int, text: str) -> Cure | None:
    """None: nothing we do would change the answer."""
    words = text.lower()
    if "query /accounts first" in words:
        return Cure.ASK_ACCOUNTS
    if "no bridge" in words or "init session first" in words:
        return Cure.OPEN_BROKERAGE
    if status == 401 or words == "no session":
        return Cure.SIGN_IN
    if status in (502, 503, 504):
        return Cure.WAIT
    return None


def refusal(endpoint: Endpoint, response: Response, method: AuthMethod) -> IbkitError:
    """The error for an answer that is no success: a status of 300 and more, or words hidden in a 200.

    Where a lost order could stand behind it (`Resend.NEVER`), everything but a hidden 200 is `OutcomeUnknown`, with
    `details["status"]` and `details["reason"]`: a proxy's 4xx proves nothing (reliability rules F19-F27).
    """
    words = said(response)
    status = response.status
    details: dict[str, object] = {"status": status, "reason": words.text, "path": endpoint.path}
    known = _known(endpoint, response, method, words.text, details)
    if endpoint.resend is Resend.NEVER and status >= 300:
        unknown = OutcomeUnknown(known.message, code=known.code, remedy=known.remedy, details=details)
        unknown.__cause__ = known
        return unknown
    return known


def _known(
    endpoint: Endpoint, response: Response, method: AuthMethod, text: str, details: dict[str, object]
) -> IbkitError:
    status = response.status
    asked = f"{endpoint.method} {endpoint.path}"
    cure = cure_of(status, text)
    if cure is Cure.OPEN_BROKERAGE:
        return SessionUnavailable(f"no brokerage session: {text}", details=details)
    if cure is Cure.ASK_ACCOUNTS:
        return SessionUnavailable(f"the brokerage session is new: {text}", details=details)
    address = _ADDRESS.search(text)
    if status in (401, 403) and address is not None:
        return NotPermitted(
            f"This server's IP address is not allowed: {address[0]} ({text})",
            code="E-IP",
            details={**details, "ip": address[0]},
        )
    if method is AuthMethod.GATEWAY and status in (401, 403, 404) and "access denied" in text.lower():
        if status == 404:
            return NotPermitted(
                "Gateway refuses this address: Access Denied",
                code="E-GW-IP",
                remedy="Add this machine's address to ips.allow in the gateway's root/conf.yaml and start it anew.",
                details=details,
            )
        return SessionExpired("Not authenticated with IBKR: Access Denied", code="E-GW-NOAUTH", details=details)
    if cure is Cure.SIGN_IN:
        return _signed_out(method, text, details)
    if method is AuthMethod.GATEWAY and endpoint.path == "/tickle" and status >= 400 and status not in (429, 503):
        return UnexpectedAnswer(
            f"Gateway not responding: it answered {status} to /tickle",
            code="E-GW-NORESP",
            excerpt=excerpt(response.body),
            effect=Effect.NONE,
            details=details,
        )
    if status == 429:
        return RateLimited(f"IBKR's rate limit reached by {asked}", details=details)
    if status == 403:
        return NotPermitted(f"IBKR does not permit {asked}: {text or 'no reason given'}", details=details)
    if status == 404 and not text:
        return Refused(f"IBKR endpoint not found: {endpoint.path}", code="E-ENDPOINT", details=details)
    if status == 404:
        return NotFound(f"{asked}: {text}", code="E-NOT-FOUND", details=details)
    if status == 410:
        return SessionExpired(f"IBKR says the session of this host is gone (410) to {asked}", details=details)
    if 300 <= status < 400:
        return UnexpectedAnswer(
            f"IBKR redirects {asked} ({status}); redirects are not followed",
            code="E-API-CONNECT",
            excerpt=excerpt(response.body),
            effect=Effect.NONE,
            details=details,
        )
    if 400 <= status < 500:
        return InvalidRequest(f"IBKR refused {asked} ({status}): {text or 'no reason given'}", details=details)
    if status >= 500:
        return UnexpectedAnswer(
            f"IBKR answered {status} to {asked}" + (f": {text}" if text else ""),
            excerpt=excerpt(response.body),
            effect=Effect.NONE,
            details=details,
        )
    return Refused(f"IBKR refused {asked}: {text}", details=details)


def _signed_out(method: AuthMethod, text: str, details: dict[str, object]) -> AuthError:
    if method is AuthMethod.GATEWAY:
        return SessionExpired(
            f"Not authenticated with IBKR{': ' if text else ''}{text}", code="E-GW-NOAUTH", details=details
        )
    if "invalid consumer" in text.lower():
        return SessionExpired(f"IBKR does not know this consumer key: {text}", code="E-OA1-CONSUMER", details=details)
    return SessionExpired(
        f"IBKR no longer accepts the sign-in{': ' if text else ''}{text}", code="E-AUTH-FAILED", details=details
    )
