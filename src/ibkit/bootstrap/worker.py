"""The worker as a process: one for each login of a state directory, found, started and stopped through its lease.

Two locks: one by the settings' login, taken before the network is touched, so that others find the worker at once; one
by the user name that IBKR tells, because two sign-ins of one user name must not both be watched.
Source: requirements SES-05, SES-07, OPT-11, OPS-10.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio

from ibkit.bootstrap.alerting import PARTS, Alerting, alerting_of, beside, connection_of, whose_of
from ibkit.bootstrap.audit_heads import AuditHeads
from ibkit.bootstrap.auditing import note_settings
from ibkit.bootstrap.automatic_syncs import AutomaticSyncs, KeptLogin
from ibkit.bootstrap.clients import client_of
from ibkit.bootstrap.daily_backups import DailyBackups
from ibkit.bootstrap.desks import Books, Desk, desk_of, open_books
from ibkit.bootstrap.edge import edges, machine_clock
from ibkit.bootstrap.flex_books import open_flex
from ibkit.bootstrap.jobs import JobEngine
from ibkit.bootstrap.measuring import Measuring
from ibkit.bootstrap.pauses import paused_until, waiting_in
from ibkit.bootstrap.portfolios import open_portfolios
from ibkit.bootstrap.session_book import CHECK_EVERY_S, OF_SETTINGS, PART, WISH_EVERY_S, SessionBook, open_session_book
from ibkit.bootstrap.session_look import DataLook, login_of, look
from ibkit.bootstrap.worker_loop import Outage, WorkerLoop
from ibkit.client import Client
from ibkit.clock import SystemClock
from ibkit.errors import ConfigError, IbkitError, NotFound, StorageError, TradingError
from ibkit.model import AccountId, Environment
from ibkit.settings import Settings, load
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.store.lease import Lease
from ibkit.trading import Observer
from ibkit.trading.connection import retry_after
from ibkit.trading.timeline import unobserved
from ibkit.trading.watching.rounds import RoundReport

__all__ = ["Worker", "open_worker", "start_worker_if_none", "stop_worker", "watches", "worker_lease", "worker_status"]

log = logging.getLogger(__name__)

STARTS_WITHIN_S = 20.0
STOPS_WITHIN_S = 10.0
_ASK_EVERY_S = 0.1
_TELLS_WITHIN_S = 20.0


def worker_lease(settings: Settings) -> Lease:
    """Of the settings' login: the environment, the address and what names the login there, none of it secret.

    Users who authorised one consumer share its key: their logins differ by the access token.
    """
    method, first, second = settings.method, settings.oauth1, settings.oauth2
    names = (first.consumer_key, first.access_token, second.client_id, second.credential)
    login = "|".join((settings.environment.value, method.value, settings.address.api, *(name or "" for name in names)))
    return Lease(settings.state_dir / "worker", f"login-{hashlib.sha256(login.encode()).hexdigest()[:16]}")


def worker_status(settings: Settings) -> Mapping[str, Any] | None:
    """What the running worker says of itself; None where none runs."""
    lease = worker_lease(settings)
    return lease.read() or ({"state": "starting"} if lease.held() else None)


def watches(status: Mapping[str, Any], account_id: AccountId) -> bool:
    """Whether the worker that says `status` watches that account; one that is still signing in has not said so."""
    return account_id in status.get("accounts", (account_id,))


def stop_worker(settings: Settings) -> bool:
    """Ask the worker to end and wait for it, at most 10 s; False where none runs. TradingError where it stays."""
    lease = worker_lease(settings)
    status = lease.read()
    if status is None:
        return False
    os.kill(int(status["pid"]), signal.SIGTERM)
    if not _comes(lambda: not lease.held(), within_s=STOPS_WITHIN_S + 2):
        raise TradingError(
            f"The worker (process {status['pid']}) has not ended within {STOPS_WITHIN_S:.0f} s",
            code="E-IDEM-BUSY",
            remedy=f"Look at its log; `kill -9 {status['pid']}` ends it without losing anything.",
        )
    return True


def start_worker_if_none(settings: Settings) -> bool:
    """Start a worker in the background unless one runs: True where it was started, False where one ran already.

    It outlives this process and writes to `worker/….log` of the state directory. It is never started for live money,
    which a person has to ask for, nor for the simulated broker inside this process: ConfigError, TradingError.
    """
    if settings.mock:
        raise ConfigError("There is nothing to watch: the simulated broker ends with this process", code="E-VALIDATION")
    lease = worker_lease(settings)
    if lease.held():
        return False
    if settings.environment is Environment.LIVE:
        raise TradingError(
            "Live trading not confirmed: a worker that trades live money is not started by itself",
            code="E-LIVE",
            remedy="Start it with `ibkit worker --live`.",
        )
    process = _spawn(settings)
    if not _comes(lambda: lease.held() or process.poll() is not None, within_s=STARTS_WITHIN_S) or not lease.held():
        raise IbkitError(
            "The worker could not be started",
            code="E-INTERNAL",
            remedy=f"Look into {settings.state_dir / 'worker'}, or start it by hand: `ibkit worker`.",
        )
    return True


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "ibkit"]
    if settings.file is not None:
        words += ["--env-file", str(settings.file.resolve())]
    # What flags of this command have set holds for the worker, too.
    flags = {name: found.value.reveal() for name, found in settings.sources.items() if found.source == "flag"}
    if load(env_file=settings.file, require_method=False).account_id is None:
        flags.pop("IBKR_ACCOUNT_ID", None)  # one worker for the login: the next sale may be of another account
    of_user = [] if settings.of_user is None else ["--user", settings.of_user[0], "--connection", settings.of_user[1]]
    folder = settings.state_dir / "worker"
    # `parents` alone would leave the state directory open to others
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    log = os.open(folder / "worker.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  - our own program, its words are ours
            [*words, "worker", *of_user],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **flags},
            start_new_session=True,  # a Ctrl-C at this terminal is not meant for it
        )
    finally:
        os.close(log)


def _comes(met: Callable[[], bool], *, within_s: float) -> bool:
    """Another process is waited for, so the machine's own time counts."""
    clock = SystemClock()
    until = clock.monotonic() + within_s
    while not met():
        if clock.monotonic() >= until:
            return False
        time.sleep(_ASK_EVERY_S)
    return True


@dataclass(kw_only=True)
class Worker:
    """A signed-in login under watch. desks: one for each account."""

    settings: Settings
    client: Client
    desks: tuple[Desk, ...]
    loop: WorkerLoop
    lease: Lease
    since: datetime
    alerting: Alerting
    book: SessionBook
    data: DataLook = field(default_factory=DataLook)

    async def once(self) -> tuple[RoundReport, ...]:
        """One whole round of every account, and then one try to tell people of it, at most 20 s."""
        reports = await self.loop.once()
        self.publish()
        with anyio.move_on_after(_TELLS_WITHIN_S):
            try:
                await self.alerting.dispatcher.once()
            except StorageError as error:
                log.warning("alerts could not be told", extra={"code": error.code, "why": error.message})
        return reports

    async def run(self, stop: anyio.Event) -> None:
        """Round after round until `stop`, then to the end of the round under way, at most 8 s.

        A log-out of the connection, by whichever process, ends it, too.
        """
        self.publish()
        async with anyio.create_task_group() as tasks:
            ends = anyio.Event()

            async def end() -> None:
                await stop.wait()
                ends.set()

            tasks.start_soon(end)
            tasks.start_soon(self._keep_book, ends)
            await self.loop.run(ends)
            tasks.cancel_scope.cancel()

    async def _keep_book(self, ends: anyio.Event) -> None:
        """The looks at the session that are not rounds: every 30 s, sooner after a failure or a broken stream."""
        clock, due, broken = self.client.clock, 0.0, None
        while True:
            if not await self.book.wanted():
                log.warning("the connection was logged out: the worker ends")
                self.book.left_alone()
                ends.set()
                return
            stream = self.loop.standing
            if stream.stream == "down" and stream.stream_since != broken:
                due, broken = 0.0, stream.stream_since
            if clock.monotonic() >= due:
                due = clock.monotonic() + await self._look()
            await clock.sleep(min(WISH_EVERY_S, max(_ASK_EVERY_S, due - clock.monotonic())))

    async def _look(self) -> float:
        """Seconds until the next one."""
        try:
            await look(self.client)
            await self.data.take(self.client)
        except IbkitError as error:
            await self.book.failed(error)
            return retry_after(error, self.book.standing.attempts, edges().chance())
        login, accounts = login_of(self.client), self.client.keeper.opening.accounts
        await self.book.worked(login, accounts, missing=self.data.missing)
        return min(CHECK_EVERY_S, self.settings.session.keepalive_interval)

    def publish(self) -> None:
        """Told as far as the disk takes it: the watch goes on without."""
        try:
            self.lease.write(self.status())
        except StorageError as error:
            log.warning("the worker's status could not be written", extra={"code": error.code})

    def status(self) -> dict[str, Any]:
        """What `ibkit worker status` shows."""
        standing = self.loop.standing
        reports = standing.reports
        paused = paused_until(self.book.standing, self.client)
        return {
            "pid": os.getpid(),
            "since": self.since.isoformat(),
            "state": "running",
            "username": self.desks[0].broker.username,
            "environment": self.settings.environment.value,
            "accounts": [desk.account_id for desk in self.desks],
            "poll_s": self.loop.poll_s,
            "rounds": standing.rounds,
            "last_round_at": standing.last_round_at.isoformat() if standing.last_round_at else None,
            "session": self.client.state.name.lower().replace("_", " "),
            "paused_until": paused.isoformat() if paused else None,
            "stream": standing.stream,
            "stream_since": standing.stream_since.isoformat() if standing.stream_since else None,
            "alerts": sorted({alert.message for report in reports.values() for alert in report.open_alerts}),
            "unmanaged": [
                f"{position.quantity.normalize():f} {position.contract.label}"
                for report in reports.values()
                for position in report.unmanaged
            ],
            "failures": [f"{error.code}: {error.message}" for report in reports.values() for error in report.failures],
        }


@asynccontextmanager
async def open_worker(
    settings: Settings,
    *,
    poll_s: float,
    compete: bool = False,
    patient: bool = True,
    confirm: Callable[[AccountId, bool], bool] = lambda account_id, validated: False,
    observe: Observer = unobserved,
) -> AsyncIterator[Worker]:
    """The lease, the books, the login and a desk for each account (that of the settings, or all of the login's).

    patient: wait for a login that is not there yet, instead of failing. InFlight where another worker has the lease.
    confirm: of live money, asked for each account, with whether paper was validated: whether a person asked for it.
    """
    async with AsyncExitStack() as stack:
        measuring = Measuring(connection_of(settings), worker=True)
        observe = measuring.counting(observe)
        client = client_of(settings, compete=compete or None, upto=None, meter=measuring.meter)
        measuring.signed_in_at = lambda: client.keeper.signed_in_at
        clock = client.clock
        lease = worker_lease(settings)
        what = "the watch over this login"
        await stack.enter_async_context(lease.hold(clock=clock, what=what))
        if settings.of_user is None:
            await note_settings(settings)
        since = clock.now()
        lease.write({"pid": os.getpid(), "since": since.isoformat(), "state": "signing in"})
        books = await stack.enter_async_context(open_books(settings, clock=clock, also=(*PARTS, PART)))
        assert books.records is not None, "the worker keeps its records in the database"
        whose = whose_of(settings, books.records)
        alerting = alerting_of(settings, books.records, alerts=books.alerts, clock=clock, whose=whose)
        row = await _row_of_user(settings, SqlConnections(books.records))
        book = await stack.enter_async_context(open_session_book(settings, books.records, alerting, clock, row=row))
        await book.want(True)  # who starts a worker wants the connection, whatever was before
        await book.trying()
        if patient and edges().keep_alive:
            recorder = measuring.recorder(settings, books, clock)
            for each in (alerting.dispatcher.run, recorder.run, *_upkeep(settings, alerting)):
                await stack.enter_async_context(beside(each))
        book.waiting = waiting_in(books.trades, books.alerts)
        client.keeper.beaten = book.beaten
        client.keeper.beats = lambda: book.keeps
        await stack.enter_async_context(client)
        if patient:
            desks = await _patiently(
                lambda: _desks(settings, client, books, confirm, observe), lease, book, observe, since
            )
        else:
            desks = await _desks(settings, client, books, confirm, observe)
        username = desks[0].broker.username
        user = hashlib.sha256(username.encode()).hexdigest()[:16]
        by_name = Lease(settings.state_dir / "worker", f"user-{user}")
        await stack.enter_async_context(by_name.hold(clock=clock, what=f"the watch over IBKR user {username}"))
        worker = _worker(
            settings, client, desks, lease, poll_s=poll_s, since=since, observe=observe, alerting=alerting, book=book
        )
        worker.loop.heard = lambda failure: book.tell(book.signs.heard(failure, clock.now()))
        measuring.watch(worker.loop.standing, desks[0].broker.username)
        if patient and edges().keep_alive:
            await stack.enter_async_context(_syncing(settings, client, book, alerting, measuring))
        yield worker


def _upkeep(settings: Settings, alerting: Alerting) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
    """What a trading process does for the installation besides."""
    yield DailyBackups(settings=settings, clock=machine_clock(), tell=alerting.tell).run
    yield AuditHeads(settings=settings, clock=machine_clock()).run


async def _row_of_user(settings: Settings, rows: SqlConnections) -> ConnectionRow | None:
    """As which a user's connection is kept; None for that of the settings. NotFound where it was deleted."""
    if settings.of_user is None:
        return None
    row = await rows.get(*settings.of_user)
    if row is None:
        raise NotFound(code="E-NOT-FOUND", details={"thing": "connection"})
    return row


@asynccontextmanager
async def _syncing(
    settings: Settings, client: Client, book: SessionBook, alerting: Alerting, measuring: Measuring
) -> AsyncIterator[None]:
    """By the clock, the accounts of this login, while the block runs."""

    user_id, connection_id = settings.of_user or ("", OF_SETTINGS)

    def logins() -> tuple[KeptLogin, ...]:
        kept = KeptLogin(
            user_id=user_id,
            connection_id=connection_id,
            client=client,
            up=book.standing.state.is_up,
            metrics=measuring.metrics,
            name=connection_of(settings),
        )
        return (kept,)

    async with open_portfolios(settings, client.clock, tell=alerting.tell) as desk:
        engine = JobEngine(settings, machine_clock())
        syncs = AutomaticSyncs(settings, desk, client.clock, logins, of_users=bool(user_id), engine=engine)
        async with open_flex(settings, desk, tell=alerting.tell) as flex:
            flex.register(engine)
            async with beside(syncs.run):
                yield


async def _patiently(
    sign_in: Callable[[], Awaitable[tuple[Desk, ...]]],
    lease: Lease,
    book: SessionBook,
    observe: Observer,
    since: datetime,
) -> tuple[Desk, ...]:
    """Until somebody is signed in. What trying again does not mend is raised: ConfigError, TradingError."""
    clock = book.clock
    outage = Outage("sign-in", clock, observe, edges().chance)
    while True:
        try:
            desks = await sign_in()
            break
        except IbkitError as error:
            if isinstance(error, ConfigError | TradingError):
                raise
            wait = outage.failed(error)
            await book.failed(error)
            lease.write(
                {
                    "pid": os.getpid(),
                    "since": since.isoformat(),
                    "state": "waiting for a login",
                    "failures": [f"{error.code}: {error.message}"],
                }
            )
            await clock.sleep(wait)
    outage.ends()
    return desks


def _worker(
    settings: Settings,
    client: Client,
    desks: tuple[Desk, ...],
    lease: Lease,
    *,
    poll_s: float,
    since: datetime,
    observe: Observer,
    alerting: Alerting,
    book: SessionBook,
) -> Worker:
    loop = WorkerLoop(
        rounds=[desk.rounds() for desk in desks],
        stream=client.stream,
        clock=client.clock,
        poll_s=poll_s,
        observe=observe,
        chance=edges().chance,
    )
    worker = Worker(
        settings=settings, client=client, desks=desks, loop=loop, lease=lease, since=since, alerting=alerting, book=book
    )
    loop.published = worker.publish
    return worker


async def _desks(
    settings: Settings,
    client: Client,
    books: Books,
    confirm: Callable[[AccountId, bool], bool],
    observe: Observer,
) -> tuple[Desk, ...]:
    await client.connect()
    if settings.account_id is not None:
        accounts = [settings.account_id]
    else:
        accounts = [account.account_id for account in await client.accounts()]
    live = settings.environment is Environment.LIVE
    validated = await books.paper_validated() if live else True
    confirmed = frozenset(each for each in accounts if live and confirm(each, validated))
    if live and not confirmed:
        raise TradingError(
            f"Live trading not confirmed: of {', '.join(accounts)} none may be traded by this worker", code="E-LIVE"
        )
    first = await desk_of(settings, client, books, live_confirmed=confirmed, observe=observe, account_id=accounts[0])
    return tuple(dataclasses.replace(first, account_id=account_id) for account_id in accounts)
