"""What can go wrong, as one tree. The class alone says what to do: give up, try again, look first, ask a person.

    IbkitError                 .code .remedy .effect .details .request_id
    ├─ ConfigError             our settings or arguments; nothing was sent
    ├─ StorageError            our database or state directory
    ├─ AuthError               CredentialsRejected · SessionExpired · SessionTaken · SessionUnavailable
    ├─ Refused                 IBKR said no: InvalidRequest · NotFound · NotPermitted · RateLimited(.retry_at)
    ├─ Unreachable             not delivered; safe to try again
    ├─ OutcomeUnknown          delivered, or perhaps; look before resending
    ├─ UnexpectedAnswer        IBKR said something we cannot read (.excerpt, scrubbed)
    └─ TradingError            our own rules said no: LimitExceeded · KeyReused · InFlight · Unprotected · …

Every error carries a code of `error_catalogue.py`; the message and remedy may be more specific than the table's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from ibkit.error_catalogue import CATALOGUE, Entry

__all__ = [
    "AuthError",
    "ConfigError",
    "CredentialsRejected",
    "Effect",
    "IbkitError",
    "InFlight",
    "InvalidRequest",
    "KeyReused",
    "LimitExceeded",
    "NotFound",
    "NotPermitted",
    "OutcomeUnknown",
    "RateLimited",
    "Refused",
    "SessionExpired",
    "SessionTaken",
    "SessionUnavailable",
    "StorageError",
    "TradingError",
    "UnexpectedAnswer",
    "Unprotected",
    "Unreachable",
    "discreet",
    "frameless",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_E = TypeVar("_E", bound=BaseException)


class Effect(enum.Enum):
    """What is known of the call that failed: it surely did nothing, or nobody can say."""

    NONE = "none"
    UNKNOWN = "unknown"


class IbkitError(Exception):
    """Base of everything ibkit raises on purpose.

    code:    a code of the catalogue, e.g. "E-GW-DOWN"; decides the exit code and the HTTP status.
    details: facts for machines, e.g. {"control": "max_quantity"}; never a secret.
    """

    default_code = "E-UPSTREAM"
    default_effect = Effect.NONE

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        remedy: str | None = None,
        effect: Effect | None = None,
        details: Mapping[str, object] | None = None,
        request_id: str | None = None,
    ) -> None:
        self.code = code or self.default_code
        entry = CATALOGUE[self.code]
        self.effect = effect or self.default_effect
        self.details: dict[str, object] = dict(details or {})
        self.message = message or _filled(entry.message, self.details)
        self.remedy = remedy if remedy is not None else _filled(entry.remedy, self.details)
        self.request_id = request_id
        super().__init__(self.message)

    @property
    def entry(self) -> Entry:
        return CATALOGUE[self.code]

    @property
    def exit_code(self) -> int:
        return self.entry.exit

    @property
    def http_status(self) -> int:
        return self.entry.http


def _filled(text: str, details: Mapping[str, object]) -> str:
    """The catalogue's text with `<name>` as `details` say."""
    for name, value in details.items():
        text = text.replace(f"<{name}>", str(value))
    return text


class ConfigError(IbkitError):
    """Our settings or arguments are wrong; nothing was sent."""

    default_code = "E-CONFIG"


class StorageError(IbkitError):
    """The database or the state directory cannot be used. `details["full"]`: because the disk has no room."""

    default_code = "E-DB"

    @property
    def http_status(self) -> int:
        return 507 if self.details.get("full") else super().http_status


class AuthError(IbkitError):
    """We are not, or no longer, signed in."""

    default_code = "E-AUTH-FAILED"


class CredentialsRejected(AuthError):
    """IBKR refused the credentials; a person must act, trying again will not help."""


class SessionExpired(AuthError):
    """The login or the brokerage session is over; signing in again may help."""

    default_code = "E-SES-EXPIRED"


class SessionTaken(AuthError):
    """Another login holds the brokerage session of this user name."""

    default_code = "E-SES-COMPETING"


class SessionUnavailable(AuthError):
    """The brokerage session could not be opened (yet)."""

    default_code = "E-SES-INIT"


class Refused(IbkitError):
    """IBKR said no, and nothing happened."""

    default_code = "E-ORD-REJECT"


class InvalidRequest(Refused):
    """IBKR says the request itself is wrong."""

    default_code = "E-VALIDATION"


class NotFound(Refused):
    """The thing asked for does not exist at IBKR."""

    default_code = "E-CONTRACT"


class NotPermitted(Refused):
    """Signed in, but not allowed."""

    default_code = "E-PERM-API"


class RateLimited(Refused):
    """IBKR's pacing limit; `retry_at` says when the next call is safe."""

    default_code = "E-RATE"

    def __init__(self, message: str = "", *, retry_at: datetime | None = None, **rest: object) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]  # same keywords, passed through
        self.retry_at = retry_at


class Unreachable(IbkitError):
    """The request was not delivered: no byte of it reached IBKR. Safe to try again."""

    default_code = "E-API-CONNECT"


class OutcomeUnknown(IbkitError):
    """The request was delivered, or perhaps; look before sending anything again."""

    default_code = "E-TIMEOUT"
    default_effect = Effect.UNKNOWN


class UnexpectedAnswer(IbkitError):
    """IBKR said something we cannot read. `excerpt` is its scrubbed beginning."""

    default_code = "E-UPSTREAM"
    default_effect = Effect.UNKNOWN

    def __init__(self, message: str = "", *, excerpt: str = "", **rest: object) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]  # same keywords, passed through
        self.excerpt = excerpt


class TradingError(IbkitError):
    """Our own rules said no."""

    default_code = "E-RISK"


class LimitExceeded(TradingError):
    """A risk control refused; `details["control"]` names it (reliability rules RC-…)."""


class KeyReused(TradingError):
    """The key already names another order."""

    default_code = "E-IDEM-CONFLICT"


class InFlight(TradingError):
    """The order of this key is still being worked on."""

    default_code = "E-IDEM-BUSY"


class Unprotected(TradingError):
    """A sold option stands without a working stop."""

    default_code = "E-STOP-FAILED"


def frameless(error: _E) -> _E:
    """`error` and what led to it, without their frames: the locals of a library that sends hold what it sends."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def discreet(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """For functions that read secrets: an IbkitError leaves them without the frames, causes and arguments within.

    What it has to say stands in its message. Reporters that print the locals of each frame would print the rest.
    """

    @wraps(function)
    def border(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except IbkitError as error:
            bare = error
        del args, kwargs
        bare.__cause__ = bare.__context__ = None
        raise bare.with_traceback(None)

    return border
