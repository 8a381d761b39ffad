"""A command's entry in the audit log: one for each action, written when it is over, however it ended.

    with audited("limits.set", "max_shares") as entry:
        ...
        entry.details["new"] = "20"

What cannot be written is said, and the action stands: a kill switch has to work without a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ibkit.cli import context, output
from ibkit.errors import IbkitError
from ibkit.vault import Act, Result

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["Noted", "audited", "login_of"]


@dataclass(slots=True)
class Noted:
    """What is going to stand there. settled: the result whatever comes after it. skipped: nothing was done."""

    object: str
    details: dict[str, Any] = field(default_factory=dict)
    settled: Result | None = None
    skipped: bool = False


@contextmanager
def audited(action: str, object_: str, *, settings: Settings | None = None, **details: Any) -> Iterator[Noted]:
    """An entry for what is done within. An IbkitError that leaves is told there, too: refused, failed or unknown.

    settings: whose database; those of this run, if not given.
    """
    noted = Noted(object_, details)
    try:
        yield noted
    except IbkitError as error:
        from ibkit.bootstrap.auditing import result_of

        if error.code == "E-VALIDATION" and noted.settled is None:
            raise  # what was not understood was not attempted
        noted.details |= {"code": error.code, "reason": error.message}
        _write(action, noted, noted.settled or result_of(error), settings)
        raise
    if not noted.skipped:
        _write(action, noted, noted.settled or Result.OK, settings)


def login_of(settings: Settings) -> str:
    """Which login a sign-in is for, without what it is proven by: `oauth1a SIMC****`, `oauth2 simuser`, `gateway`."""
    from ibkit.model import AuthMethod
    from ibkit.settings import masked

    if settings.mock:
        return "simulated"
    if settings.choice is None:
        return "not configured"
    match settings.choice.method:
        case AuthMethod.OAUTH1A:
            return f"oauth1a {masked(settings.oauth1.consumer_key or '')}"
        case AuthMethod.OAUTH2:
            return f"oauth2 {settings.oauth2.credential or ''}".rstrip()
        case AuthMethod.GATEWAY:
            return f"gateway {settings.gateway_address.host}:{settings.gateway_address.port}"


def _write(action: str, noted: Noted, result: Result, settings: Settings | None) -> None:
    from ibkit.bootstrap.auditing import audit_clock, local_actor, record_now
    from ibkit.cli.running import go

    try:
        used = settings or context.load_settings(require_method=False)
        act = Act(
            at=audit_clock().now(),
            actor=local_actor(),
            action=action,
            object=noted.object,
            result=result,
            details=noted.details,
        )
        go(lambda: record_now(used, act))
    except IbkitError as error:
        output.warn(f"note: {action} is not in the audit log: {error.message}. {error.remedy}".rstrip())
