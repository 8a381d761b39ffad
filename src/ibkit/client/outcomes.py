"""What to do after an attempt: the one place that decides whether a call is repeated."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import urlsplit

from ibkit.errors import Effect, IbkitError, OutcomeUnknown, RateLimited, UnexpectedAnswer, Unreachable
from ibkit.model import AuthMethod
from ibkit.wire.endpoint import Endpoint, Resend
from ibkit.wire.http import Response
from ibkit.wire.refusals import Cure, cure_of

__all__ = ["Verdict", "before_sending", "in_maintenance", "moved", "nobody_answered", "verdict"]


class Verdict(enum.Enum):
    RAISE = "raise"
    REPEAT = "repeat after a pause"
    SIGN_IN = "sign in, then repeat once"
    OPEN_BROKERAGE = "ssodh/init, then repeat once"
    ASK_ACCOUNTS = "GET /iserver/accounts, then repeat once"


def verdict(endpoint: Endpoint, error: IbkitError, response: Response, *, mended: bool) -> Verdict:
    """Whether, and after what, the same call may go out again.

    A call that may have changed something never does. A cure is tried once for each call: the second failure is
    the caller's to see.
    """
    if endpoint.resend is Resend.NEVER:
        return Verdict.RAISE
    cure = cure_of(response.status, str(error.details.get("reason", "")))
    if error.code in ("E-IP", "E-OA1-CONSUMER"):
        return Verdict.RAISE
    match cure:
        case Cure.SIGN_IN | Cure.OPEN_BROKERAGE | Cure.ASK_ACCOUNTS:
            return Verdict.RAISE if mended else Verdict[cure.name]
        case Cure.WAIT:
            return Verdict.REPEAT
        case None:
            return Verdict.REPEAT if isinstance(error, RateLimited) else Verdict.RAISE


def moved(error: Unreachable | OutcomeUnknown, endpoint: Endpoint, method: AuthMethod, base_url: str) -> IbkitError:
    """A transport's error with the code and remedy that fit this broker address; a read's has no effect.

    What our own side held back has its words already, and is as it was.
    """
    if error.details.get("unsent"):
        return error
    cause = error.details.get("cause")
    details = {**error.details, "path": endpoint.path}
    if isinstance(error, Unreachable):
        code = error.code if cause is None else _code_of(str(cause), method)
        place = urlsplit(base_url)
        port = str(place.port or 443)
        message = _unreachable_message(code, place.netloc, error.message)
        found = Unreachable(message, code=code, details={**details, "port": port})
        found.__cause__ = error
        return found
    code = error.code if cause is None else "E-TIMEOUT" if cause == "timeout" else "E-API-CONNECT"
    effect = Effect.UNKNOWN if endpoint.resend is Resend.NEVER else Effect.NONE
    message = f"{endpoint.method} {endpoint.path}: {error.message}"
    unknown = OutcomeUnknown(message, code=code, effect=effect, details=details)
    unknown.__cause__ = error
    return unknown


def nobody_answered(endpoint: Endpoint, error: IbkitError) -> bool:
    """Whether a read failed because IBKR is not there: in its reset window that was planned. A gateway here is ours.

    Of an order the words stay: what became of it is asked by them.
    """
    return endpoint.resend is not Resend.NEVER and error.code in ("E-API-CONNECT", "E-TIMEOUT")


def in_maintenance(error: IbkitError, until: datetime) -> IbkitError:
    """The error as one of IBKR's reset window, which ends at `until`: its kind and effect stay."""
    kind = type(error) if isinstance(error, Unreachable | OutcomeUnknown) else UnexpectedAnswer
    return kind(
        f"IBKR maintenance until about {until:%H:%M} UTC ({error.message})",
        code="E-MAINT",
        effect=error.effect,
        details={**error.details, "until": until.isoformat()},
    )


def _code_of(cause: str, method: AuthMethod) -> str:
    if method is AuthMethod.GATEWAY and cause == "refused":
        return "E-GW-DOWN"
    if method is AuthMethod.GATEWAY and cause == "tls":
        return "E-GW-TLS"
    return "E-API-CONNECT"


def _unreachable_message(code: str, place: str, reason: str) -> str:
    if code == "E-GW-DOWN":
        return f"IBKR Client Portal Gateway not running: connection refused at {place}"
    if code == "E-GW-TLS":
        return f"Gateway certificate problem at {place}: {reason}"
    return f"Failed to connect to Interactive Brokers API at {place}: {reason}"


@contextmanager
def before_sending() -> Iterator[None]:
    """A failed sign-in says nothing of the call that it was for: of that, no byte has left."""
    try:
        yield
    except IbkitError as error:
        error.details["unsent"] = True
        raise
