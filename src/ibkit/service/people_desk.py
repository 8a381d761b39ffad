"""What the routes of people work with: the users, how often they may be asked, and the audit log of what was done.

An entry is on its way to the log before the answer leaves, which waits for it a moment (`app.Service.noted`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ibkit.bootstrap.auditing import AuditQueue, result_of
from ibkit.bootstrap.users import UserDesk, open_users
from ibkit.clock import Clock
from ibkit.errors import IbkitError, StorageError
from ibkit.service.rates import Rates
from ibkit.settings import Settings
from ibkit.users import Principal
from ibkit.users.attempts import network_of
from ibkit.users.ports import TellFinding
from ibkit.vault import Result

__all__ = ["ANONYMOUS", "Noted", "PeopleDesk", "open_people", "refused_by_broker"]

log = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
"""The actor of a sign-in that failed."""
_SIGN_INS_PER_MINUTE = 30
_CHANGES_PER_MINUTE = 60


@dataclass(slots=True)
class Noted:
    """What is going to stand in the log. skipped: nothing came of it, or not yet. waiting: for a second person."""

    actor: str
    object: str
    details: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleDesk:
    """sign_ins: tries to sign in, by network; changes: of users and keys, by user."""

    users: UserDesk
    audit: AuditQueue
    sign_ins: Rates
    changes: Rates

    def one_sign_in(self, address: str) -> None:
        """RateLimited (E-RATE) beyond 30 a minute from a network, whatever they are: each costs a hash and an entry."""
        self.sign_ins.take(network_of(address))

    @contextmanager
    def noting(self, action: str, *, actor: str, address: str, object_: str, **details: Any) -> Iterator[Noted]:
        """An entry for what is done within, however it ends; what was not understood was not attempted."""
        noted = Noted(actor, object_, details)
        try:
            yield noted
        except IbkitError as error:
            if error.code != "E-VALIDATION" and not noted.skipped:
                more = {**noted.details, "code": error.code}
                self._note(action, noted, address, _result_of(error), more)
            raise
        if not noted.skipped:
            result = Result.WAITING if noted.waiting else Result.OK
            self._note(action, noted, address, result, noted.details)

    def by(self, who: Principal, address: str) -> Callable[..., Any]:
        """`noting` for what `who` does: `with by("users.role", user_id, role=…)`."""

        def noting(action: str, object_: str, **details: Any) -> Any:
            return self.noting(action, actor=who.user_id, address=address, object_=object_, **details)

        return noting

    def _note(self, action: str, noted: Noted, address: str, result: Result, details: dict[str, Any]) -> None:
        self.audit.note(action, noted.object, actor=noted.actor, address=address, result=result, **details)


async def refused_by_broker(people: PeopleDesk, user_id: str, *, address: str = "local") -> None:
    """A login that IBKR refused is a failure of its user's. What cannot be written down ends nothing. MON-11."""
    try:
        await people.users.sign_ins.refused_by_broker(user_id, address=address)
    except StorageError as error:
        log.warning("a login that IBKR refused could not be counted", extra={"code": error.code})


def _result_of(error: IbkitError) -> Result:
    """Who has to wait was refused by us; what IBKR calls so elsewhere is a failure of its own."""
    return Result.REFUSED if error.code == "E-RATE" else result_of(error)


@asynccontextmanager
async def open_people(
    settings: Settings, *, clock: Clock, monotonic: Callable[[], float], tell: TellFinding
) -> AsyncIterator[PeopleDesk]:
    """tell: told of findings. ConfigError (JWT_SECRET, libraries), StorageError."""
    audit = AuditQueue(settings)
    try:
        async with open_users(settings, clock=clock, tell=tell) as users:
            yield PeopleDesk(
                users=users,
                audit=audit,
                sign_ins=Rates(monotonic, limit=_SIGN_INS_PER_MINUTE, what="sign-ins", safe="Nothing was tried."),
                changes=Rates(monotonic, limit=_CHANGES_PER_MINUTE, what="changes", safe="Nothing was changed."),
            )
    finally:
        await audit.close()
