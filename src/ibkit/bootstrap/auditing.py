"""Into the audit log of DATABASE_URL: an act at once, or behind the back of whoever trades.

    record_now     what a command has done, on disk when it returns
    AuditQueue     what a trading desk has done: told without waiting, written by a thread of its own; `kept` waits

An order never waits for the audit log, and none fails because of it. What cannot be written is kept and tried again
with the next act and at the end; what is left then is told. So is what retention leaves standing, as an alert.
"""

from __future__ import annotations

import getpass
import logging
import queue
import threading
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from ibkit.bootstrap.edge import edges, machine_clock, using
from ibkit.clock import Clock
from ibkit.errors import ConfigError, Effect, IbkitError, TradingError
from ibkit.settings import Settings
from ibkit.settings.groups import VARIABLES
from ibkit.vault import Act, Result
from ibkit.vault.act import HERE

if TYPE_CHECKING:
    from ibkit.model import Question
    from ibkit.settings.sources import Found
    from ibkit.store.audit import AuditLog
    from ibkit.trading import Intent
    from ibkit.trading.events import Planned
    from ibkit.trading.questions import Asker, Said
    from ibkit.vault.chain import Signer

__all__ = [
    "AuditQueue",
    "audit_clock",
    "audit_log",
    "audit_path",
    "local_actor",
    "note_settings",
    "record_now",
    "result_of",
    "trusted_keys",
]

_LOG = logging.getLogger(__name__)
_READ_ONLY, _SETTING = "settings.read_only", "settings.changed"
_OWN = ("IBKR_READ_ONLY", "HOST", "PORT", "APP_ENV_FILE")
"""The first has an action of its own; the others are of one process."""
_MOST_KEPT = 10_000
"""Acts that wait for a database that does not answer; those after them are counted only."""
_AT_ONCE = 200
"""Acts in one transaction."""
_KEPT_S = 2.0
"""How long an answer waits for what it did to be on disk; later it is told all the same."""
_END_S = 5.0
"""How long the end of a run waits for the last of them."""


def local_actor() -> str:
    """Who uses this machine: `cli:<login name>`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return "cli:unknown"


def audit_path(settings: Settings) -> Path:
    """Where the key that signs the audit log is kept."""
    return settings.state_dir / "audit"


def audit_clock() -> Clock:
    """The machine's clock, also where orders follow a simulator's: an audit log tells when it really was."""
    return machine_clock()


def audit_log(settings: Settings) -> AuditLog:
    """The log, for `async with`. StorageError on entering."""
    from ibkit.store.audit import AuditLog
    from ibkit.store.audit_key import signer_at, trusted_at

    folder, random = audit_path(settings), edges().random
    return AuditLog(
        settings.database_url,
        clock=audit_clock(),
        signer=lambda: signer_at(folder, random),
        trusted=lambda: trusted_at(folder),
    )


def signer_of(settings: Settings) -> Signer:
    """Made where there is none. ConfigError (E-KEY-…), StorageError."""
    from ibkit.store.audit_key import signer_at

    return signer_at(audit_path(settings), edges().random)


def trusted_keys(settings: Settings) -> frozenset[str]:
    """Whose heads and anchors count here: our own key's, and those of `audit/trusted/`. ConfigError (E-KEY-…)."""
    from ibkit.store.audit_key import public_key_at, trusted_at

    folder = audit_path(settings)
    own = public_key_at(folder)
    return trusted_at(folder) | ({own} if own else set())


async def record_now(settings: Settings, *acts: Act) -> None:
    """StorageError, ConfigError (a DATABASE_URL that is none)."""
    async with audit_log(settings) as log:
        await log.record(*acts)


async def note_settings(settings: Settings) -> None:
    """An entry for each setting that is not as it was when a service or worker of this database last began.

    Of a secret, and of what names a login, a mark alone, by which one sees that it is another. Where each listens, and
    what was left at its default, is not told.
    """
    try:
        async with audit_log(settings) as log:
            signer = await anyio.to_thread.run_sync(signer_of, settings)
            last = await log.entries(action=_READ_ONLY, limit=1)
            was = str(last[0].details.get("value")) if last else "false"
            told = await log.entries(action=_SETTING, limit=1000)
            before = {each.object: str(each.details.get("value", "")) for each in reversed(told)}
            now = {name: _shown(name, found, signer) for name, found in settings.sources.items() if name not in _OWN}
            is_now = "true" if settings.general.read_only else "false"
            changed = [
                (_READ_ONLY, "IBKR_READ_ONLY", was, is_now),
                *((_SETTING, name, before.get(name, ""), now.get(name, "")) for name in sorted({*before, *now})),
            ]
            at, actor = audit_clock().now(), local_actor()
            acts = [
                Act(at=at, actor=actor, action=action, object=name, details={"value": value, "before": earlier})
                for action, name, earlier, value in changed
                if earlier != value
            ]
            if acts:
                await log.record(*acts)
    except IbkitError as error:  # what begins tells of its database by itself
        _LOG.warning("the audit log does not know of the settings", extra={"code": error.code})


def _shown(name: str, found: Found, signer: Signer) -> str:
    variable = VARIABLES[name]
    if variable.hidden or variable.credential or "_COMMAND" in name:
        return f"set, mark {signer.mark(found.value)}"
    return found.value.reveal()


def result_of(error: IbkitError) -> Result:
    """What an error says of the act that it ended."""
    if error.effect is Effect.UNKNOWN:
        return Result.UNKNOWN
    refused = isinstance(error, TradingError) or error.code == "E-FORBIDDEN"
    return Result.REFUSED if refused else Result.FAILED


class AuditQueue:
    """The acts of a trading desk, on their way to the log. Nothing is opened before the first of them.

    warn: told once at the end, where some of them could not be written, or entries are due that did not go.
    """

    def __init__(self, settings: Settings, *, warn: Callable[[str], None] = _LOG.warning) -> None:
        self._settings = settings
        self._edges = edges()
        self._clock = audit_clock()
        self._warn = warn
        self._acts: queue.SimpleQueue[Callable[[], Act] | threading.Event | None] = queue.SimpleQueue()
        self._asked: list[threading.Event] = []
        """Set when all that was told before is on disk."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._waiting: list[Act] = []
        self._told = 0
        self._settled = 0
        """Of what was told: on disk, or lost."""
        self._lost = 0
        self._here = ""
        self._problem = ""
        self._failing = False
        self._not_purged: IbkitError | None = None
        self._purged_on: date | None = None

    def tell(self, make: Callable[[], Act]) -> None:
        """Have what `make` gives written soon; it is called in another thread, for even that is no order's business."""
        with self._starting:
            if self._thread is None:
                # A daemon: a process that ends without closing does not wait. The journal knows its orders anyway.
                self._thread = threading.Thread(target=anyio.run, args=(self._work,), name="audit log", daemon=True)
                self._thread.start()
            self._told += 1
        self._acts.put(make)

    def note(
        self,
        action: str,
        object_: str,
        *,
        actor: str | None = None,
        address: str = HERE,
        result: Result = Result.OK,
        **details: Any,
    ) -> None:
        """Something a person has done. actor: None for who runs this program."""
        at, by = self._clock.now(), actor or local_actor()
        self.tell(
            lambda: Act(at=at, actor=by, action=action, object=object_, result=result, address=address, details=details)
        )

    def act_here(self) -> None:
        """Orders are placed by who runs this program, whosever they are."""
        self._here = local_actor()

    def order(self, planned: Planned, found: Intent | IbkitError) -> None:
        """Fits `trading.telling.Teller`."""
        at, by = self._clock.now(), self._here
        self.tell(lambda: order_act(planned, found, at, by=by))

    def asking(self, asker: Asker) -> Asker:
        """`asker`, whose persons' answers are told."""

        async def ask(intent: Intent, question: Question, within_s: float) -> Said | None:
            said = await asker(intent, question, within_s)
            if said is not None:
                self.note(
                    "orders.question",
                    intent.intent_id,
                    result=Result.OK if said.yes else Result.REFUSED,
                    answer="yes" if said.yes else "no",
                    by=said.who,
                    messages=", ".join(question.message_ids),
                    account=intent.planned.account_id,
                )
            return said

        return ask

    async def kept(self, within_s: float = _KEPT_S) -> bool:
        """Wait until what was told so far is on disk, so long at most; whether it is.

        For what an answer says is done, and nothing else writes down: a process that is killed after it has told of it.
        """
        if self._settled == self._told:
            return True
        if self._failing or self._thread is None:
            return False
        written = threading.Event()
        self._acts.put(written)
        return await anyio.to_thread.run_sync(written.wait, within_s)

    async def close(self) -> None:
        """Returns when everything is written, or after five seconds."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._acts.put(None)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(thread.join, _END_S)
        left = self._lost + len(self._waiting) + self._acts.qsize()
        if left or thread.is_alive():
            why = self._problem or "the database does not answer"
            self._warn(f"note: {max(left, 1)} acts are not in the audit log: {why}")
        if self._not_purged is not None:
            self._warn(f"note: {self._not_purged.message}. {self._not_purged.remedy}".rstrip())

    async def _work(self) -> None:
        """The thread, until `close`. Opened once for all; after a failure anew with what comes next."""
        with using(self._edges):  # those of whoever made the queue: a new thread has none
            await self._write_all()

    async def _write_all(self) -> None:
        more = self._gather()
        while True:
            try:
                async with audit_log(self._settings) as log:
                    while True:
                        await self._write(log)
                        if not more:
                            return
                        more = self._gather()
            except Exception as error:  # noqa: BLE001  # whatever it is, the acts are kept, and the next ones come
                self._problem = error.message if isinstance(error, IbkitError) else repr(error)
                self._failing = True
                if not more:
                    return
                more = self._gather()

    def _gather(self) -> bool:
        """What was told by now, at least one thing, joins what waits; False where it was the last."""
        # Blocks this thread's own loop, which has nothing else to do.
        found = [self._acts.get()]
        while len(found) < _AT_ONCE and found[-1] is not None and not self._acts.empty():
            found.append(self._acts.get())
        for make in found:
            if make is None:
                return False
            if isinstance(make, threading.Event):
                self._asked.append(make)
                continue
            if len(self._waiting) >= _MOST_KEPT:
                self._lose()
                continue
            try:
                self._waiting.append(make())
            except (IbkitError, AssertionError) as error:  # a mistake of ours must not end the log of all others
                self._lose()
                self._problem = str(error)
        return True

    def _lose(self) -> None:
        self._lost += 1
        self._settled += 1

    async def _write(self, log: AuditLog) -> None:
        """All that waits, and once a day of a process what retention asks for."""
        while self._waiting:
            some = self._waiting[:_AT_ONCE]
            await log.record(*some)
            del self._waiting[: len(some)]
            self._settled += len(some)
        self._failing = False
        while self._asked:
            self._asked.pop().set()
        if self._purged_on != self._clock.now().date():
            self._purged_on = self._clock.now().date()
            await self._purge(log)

    async def _purge(self, log: AuditLog) -> None:
        """What holds it up holds up no act: it is told, and tried again tomorrow."""
        try:
            await log.purge()
            self._not_purged = None
        except IbkitError as error:
            _LOG.warning("old audit entries did not go", extra={"code": error.code, "why": error.message})
            if "withheld" not in error.details and not isinstance(error, ConfigError):
                return  # the database is busy or away
            self._not_purged = error
            try:
                await _note_alert(self._settings, error)
            except IbkitError as failed:
                _LOG.warning("an alert could not be noted", extra={"code": failed.code, "why": failed.message})


async def _note_alert(settings: Settings, error: IbkitError) -> None:
    """On disk; whichever process has a dispatcher delivers it."""
    from ibkit.bootstrap.alerting import open_alerting
    from ibkit.store.audit_retention import ASK_A_PERSON
    from ibkit.trading.alert import Severity
    from ibkit.trading.alerting import EventKind, Happening

    async with open_alerting(settings) as alerting:
        happening = Happening(
            event=EventKind.SECURITY_FINDING,
            severity=Severity.WARNING if error.details.get("withheld") in ASK_A_PERSON else None,
            subject="retention of the audit log",
            message=error.message,
            remedy=error.remedy,
            at=alerting.clock.now(),
        )
        await alerting.incidents.note(happening, channels=await alerting.channels.all())


def order_act(planned: Planned, found: Intent | IbkitError, at: datetime, *, by: str = "") -> Act:
    """What became of an order, a change or a cancel. by: who asked for it in the name of its user."""
    from ibkit.trading.intent import Intent

    intent = found if isinstance(found, Intent) else Intent(planned=planned, updated_at=planned.at)
    details: dict[str, Any] = {
        "account": planned.account_id,
        "environment": planned.environment,
        "key": planned.key,
        "purpose": planned.purpose,
        "terms": intent.label,
        "api_key": planned.api_key,
        "strategy": planned.strategy,
    }
    if by and planned.user:
        details["user"] = planned.user
    if isinstance(found, IbkitError):
        result = result_of(found)
        details |= {"code": found.code, "reason": found.message}
    else:
        result = _result_of_state(found)
        details |= {
            "state": found.state,
            "order": found.order_id,
            "code": found.code,
            "reason": found.reason,
            "control": found.control,
        }
    return Act(
        at=at,
        actor=by or planned.user or local_actor(),
        action=f"orders.{planned.operation.value}",
        object=planned.intent_id,
        result=result,
        details=details,
    )


def _result_of_state(intent: Intent) -> Result:
    from ibkit.trading.outcome import Outcome

    error = Outcome(intent).error
    if error is None:
        return Result.OK
    if error.effect is Effect.UNKNOWN:
        return Result.UNKNOWN
    return Result.REFUSED
