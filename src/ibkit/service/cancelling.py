"""Cancelling every working order once a person has stopped trading: a task for each open login, answered when asked.

    POST /api/kill {"mode": "cancel-all"}    the halts first, on disk; then these; the answer waits 5 s for them at most
    GET /api/kill                            how they stand, until the next press

Per account it is what `ibkit kill --cancel-all` does (`trading/cancel_all.py`). A login that is not there within 30 s
is an alert, as orders are that still work then: a person has to look at IBKR. Source: reliability rules §7 (RC-02).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import anyio
from anyio.abc import TaskGroup

from ibkit.bootstrap.connections import Connection
from ibkit.errors import IbkitError, NotFound, Unreachable
from ibkit.model import AccountId, Environment
from ibkit.service.brokers import Login, OrderDesk, broker_of
from ibkit.trading import CancelAllResult
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.ref import make_key

__all__ = ["CancelRun", "Cancelling"]

log = logging.getLogger(__name__)

REACH_WITHIN_S = 30.0


@dataclass(slots=True, kw_only=True)
class CancelRun:
    """One account of one login, or a login of which none is known yet (account_id empty).

    key: of the login among the open ones. by: the user who pressed. result, error: what came of it, one of the two.
    """

    key: str
    environment: Environment
    account_id: str
    by: str
    began_at: datetime
    result: CancelAllResult | None = None
    error: IbkitError | None = None

    @property
    def broker(self) -> str:
        return broker_of(self.key)

    @property
    def state(self) -> Literal["running", "done", "incomplete", "failed"]:
        if self.error is not None:
            return "failed"
        if self.result is None:
            return "running"
        return "done" if self.result.complete else "incomplete"


@dataclass(slots=True)
class _Work:
    """What one press has begun at one login, and its runs."""

    runs: list[CancelRun]
    done: anyio.Event = field(default_factory=anyio.Event)


class Cancelling:
    """tasks: of the service, which end with it. random: n → n bytes from a cryptographic source."""

    def __init__(self, tasks: TaskGroup, random: Callable[[int], bytes]) -> None:
        self._tasks = tasks
        self._random = random
        self._work: dict[tuple[str, str], _Work] = {}

    @property
    def runs(self) -> list[CancelRun]:
        """Of the last press, and those of earlier ones that go on."""
        return [run for work in self._work.values() for run in work.runs]

    def begin(self, logins: dict[str, Login], *, account_id: str, by: str) -> None:
        """At each of these logins by its key; what is under way there already is not begun twice.

        account_id: only this one, where a login has it; "" for all.
        """
        self._work = {name: work for name, work in self._work.items() if not work.done.is_set()}
        for key, login in logins.items():
            if (key, account_id) not in self._work:
                run = CancelRun(
                    key=key,
                    environment=login.environment,
                    account_id=account_id,
                    by=by,
                    began_at=login.clock.now(),
                )
                work = self._work[key, account_id] = _Work([run])
                self._tasks.start_soon(self._carry, work, login, account_id)

    async def settled(self, within_s: float) -> bool:
        """Whether all came to their end within that time."""
        with anyio.move_on_after(within_s):
            for work in tuple(self._work.values()):
                await work.done.wait()
        return all(work.done.is_set() for work in self._work.values())

    async def _carry(self, work: _Work, login: Login, account_id: str) -> None:
        (first,) = work.runs
        try:
            desks = await _desks(login, account_id)
            work.runs = [_of(first, desk.account_id) for desk in desks]
            async with anyio.create_task_group() as tasks:
                for run, desk in zip(work.runs, desks, strict=True):
                    tasks.start_soon(self._cancel, run, login, desk, len(desks))
        except NotFound:  # it is another login's account
            work.runs = []
        except IbkitError as error:
            await _failed(first, login, error)
        except Exception:  # a fault of ours must not end the orders of others
            log.exception("a cancel of everything failed", extra={"login": first.key})
            await _failed(first, login, IbkitError(code="E-INTERNAL"))
        finally:
            work.done.set()

    async def _cancel(self, run: CancelRun, login: Login, desk: OrderDesk, sharing: int) -> None:
        try:
            key = make_key(self._random)
            account_id = desk.account_id
            run.result = await desk.gateway.cancel_all(account_id, key=key, user=run.by, sharing=sharing)
        except IbkitError as error:  # the disk
            await _failed(run, login, error)


async def _desks(login: Login, account_id: str) -> list[OrderDesk]:
    """Those of its accounts, signed in."""
    with anyio.move_on_after(REACH_WITHIN_S):
        first = await login.desk(AccountId(account_id)) if account_id else None
        if first is not None:
            return [first]
        if isinstance(login, Connection):
            if not login.wanted:
                await login.desk()  # raises what it says to others: somebody logged it out
            await login.reach()
            return list(login.desks.values())
        return [await login.desk()]
    raise Unreachable(f"The login was not there within {REACH_WITHIN_S:.0f} s", code="E-TIMEOUT")


def _of(run: CancelRun, account_id: AccountId) -> CancelRun:
    return CancelRun(key=run.key, environment=run.environment, account_id=account_id, by=run.by, began_at=run.began_at)


async def _failed(run: CancelRun, login: Login, error: IbkitError) -> None:
    run.error = error
    log.error("not all orders are cancelled", extra={"login": run.key, "code": error.code, "why": error.message})
    if not isinstance(login, Connection):
        return
    alert = Alert(
        kind=AlertKind.CANCEL_ALL,
        severity=Severity.CRITICAL,
        subject=run.account_id or run.key,
        message=f"CRITICAL: {run.account_id or run.broker}: orders may still work, for they could not be cancelled: "
        f"{error.message}",
        at=login.clock.now(),
        details={"account": run.account_id, "code": error.code},
    )
    try:
        await login.books.alerts.put(alert)
    except IbkitError as failed:
        log.error("an alert could not be kept", extra={"code": failed.code})
