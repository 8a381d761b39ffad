"""A login that a service keeps: signed in as soon as that is possible, looked at every 30 s, and asked for its desk.

    closed   nobody is signed in yet, or journal and broker have not been compared: orders are refused with the reason
    open     `recover` has run for every account; each order then asks again for what its own account needs

What is known of it is held here, so that telling it costs no call. Source: requirements GWY-05, MON-01, MON-04, OPS-10.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from ibkit.bootstrap.alerting import PARTS, Alerting, alerting_of, beside, connection_of
from ibkit.bootstrap.clients import client_of
from ibkit.bootstrap.desks import Books, Desk, desk_of, open_books
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.measuring import Measuring
from ibkit.bootstrap.quote_lines import QuoteLines
from ibkit.bootstrap.worker import Worker, worker_lease
from ibkit.bootstrap.worker_loop import WorkerLoop
from ibkit.client import Client
from ibkit.client.opening import Step
from ibkit.clock import Clock
from ibkit.errors import AuthError, Effect, IbkitError, InFlight, NotFound, SessionUnavailable
from ibkit.model import AccountId, Environment
from ibkit.settings import Settings
from ibkit.store.lease import Lease
from ibkit.trading import Observer
from ibkit.trading.alerting import Signs
from ibkit.trading.alerting.incident import Happening
from ibkit.trading.intent import IntentState
from ibkit.trading.timeline import unobserved

if TYPE_CHECKING:
    from ibkit.bootstrap.trading_client import TradingClient

__all__ = ["CHECK_EVERY_S", "FRESH_S", "Connection", "Health", "open_connection"]

log = logging.getLogger(__name__)

CHECK_EVERY_S = 30.0
FRESH_S = 90.0
"""A check that is older proves nothing any more. MON-01."""
FOLLOW_EVERY_S = 5.0
_MOST_FOLLOWED = 200
REACH_WITHIN_S = 60.0
_WATCH_AGAIN_S = 30.0

Confirm = Callable[[AccountId, bool], bool]


def _nobody_asked(account_id: AccountId, validated: bool) -> bool:
    """Of live money: nobody has asked for it."""
    return False


@dataclass(slots=True)
class Health:
    """The last look at a login. error: why it failed, None where it worked."""

    checked_at: datetime | None = None
    succeeded_at: datetime | None = None
    error: IbkitError | None = None


@dataclass(kw_only=True)
class Connection:
    """books: open from the start, so that orders can be read while IBKR is away. confirm: as in `open_worker`.

    another: makes a second client of the login, to try the sign-in on.
    """

    settings: Settings
    client: TradingClient
    books: Books
    another: Callable[[], Client]
    alerting: Alerting
    measuring: Measuring
    observe: Observer = unobserved
    confirm: Confirm = _nobody_asked
    desks: dict[AccountId, Desk] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    watching: bool = False
    _opening: anyio.Lock = field(default_factory=anyio.Lock)
    _recovered: bool = False
    _signs: Signs = field(init=False)
    quote_lines: QuoteLines = field(init=False)

    def __post_init__(self) -> None:
        self.quote_lines = QuoteLines(self.client.stream, self.clock)
        self._signs = Signs(connection_of(self.settings))

    @property
    def clock(self) -> Clock:
        return self.books.clock

    @property
    def journal(self) -> Any:
        """That of the books, which also tells the orders of one user (`SqliteJournal.of_keys`)."""
        return self.books.journal

    @property
    def environment(self) -> Environment:
        return self.settings.environment

    @property
    def open(self) -> bool:
        """Orders are taken: journal and broker have been compared since the start."""
        return self._recovered

    @property
    def steps(self) -> Mapping[str, Step]:
        return self.client.steps

    @property
    def state(self) -> str:
        return self.client.state.value

    @property
    def connected(self) -> bool:
        """All four steps hold, and the last look, of at most 90 s ago, worked."""
        held = self.health
        if held.error is not None or held.succeeded_at is None:
            return False
        fresh = (self.clock.now() - held.succeeded_at).total_seconds() < FRESH_S
        return fresh and all(step.success for step in self.steps.values())

    async def desk(self, account_id: AccountId | None = None) -> Desk:
        """The desk of that account, of the settings' one, or of the only one; signs in where nobody has yet.

        NotFound (E-NOT-FOUND) for an account that is not of this login, E-ACC-AMBIGUOUS where one must be named.
        """
        if not self._recovered:
            await self.reach()
        if account_id is None:
            account_id = await self.client.selected_account(self.settings.account_id)
        found = self.desks.get(account_id)
        if found is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "account"})
        return found

    async def reach(self) -> None:
        """Sign in, make a desk for each account, and let journal and broker agree; what is there already is left alone.

        At most a minute: whoever asks for an order is told what is missing instead of waiting for ever.
        """
        late = SessionUnavailable("The session is not open yet", code="E-SES-INIT", effect=Effect.NONE)
        try:
            async with self._opening:
                if self._recovered:
                    return
                with anyio.move_on_after(REACH_WITHIN_S) as limit:
                    await self._open()
                if limit.cancelled_caught:
                    raise late
        except IbkitError as error:
            self._failed(error)
            raise
        self._worked()

    async def _open(self) -> None:
        await self.client.connect()
        if not self.desks:
            self.desks = await self._desks()
        first = next(iter(self.desks.values()))
        await first.gateway.recover(*self.desks)
        self._recovered = True

    async def _desks(self) -> dict[AccountId, Desk]:
        chosen = self.settings.account_id
        accounts = [chosen] if chosen is not None else [each.account_id for each in await self.client.accounts()]
        live = self.environment is Environment.LIVE
        validated = await self.books.paper_validated() if live else True
        confirmed = live and all(self.confirm(account_id, validated) for account_id in accounts)
        first = await desk_of(
            self.settings,
            self.client,
            self.books,
            live_confirmed=confirmed,
            observe=self.observe,
            account_id=accounts[0],
        )
        return {account_id: dataclasses.replace(first, account_id=account_id) for account_id in accounts}

    # -- keeping it -----------------------------------------------------------------------------------------------

    async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
        """Sign in, look every 30 s, follow open orders, and with `watch` all that `ibkit worker` does; until `stop`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._lasting, self._check_for_ever)
            tasks.start_soon(self._lasting, self._follow_for_ever)
            tasks.start_soon(self._lasting, self.quote_lines.run)
            if watch:
                tasks.start_soon(self._lasting, lambda: self._watch_for_ever(stop))
            await stop.wait()
            tasks.cancel_scope.cancel()

    async def _lasting(self, work: Callable[[], Awaitable[None]]) -> None:
        """A fault of ours in one of these must not take down the others, nor the process that takes orders."""
        while True:
            try:
                await work()
                return
            except Exception:
                log.exception("a task of the login failed; it begins again")
            await self.clock.sleep(_WATCH_AGAIN_S)

    async def check(self) -> Health:
        """One look, now: the brokerage session's own word."""
        try:
            if not self._recovered:
                await self.reach()
            status = await self.client.status()
            if not status.ready:
                await self.client.keeper.beat()
                status = await self.client.status()
            if status.ready:
                self._worked()
            else:
                self._failed(SessionUnavailable())
        except IbkitError as error:
            self._failed(error)
        return self.health

    async def _check_for_ever(self) -> None:
        while True:
            await self.check()
            await self.clock.sleep(CHECK_EVERY_S)

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                followed = await self.follow()
            except IbkitError as error:  # the disk, or a login that has ended; the next look tells more
                log.warning("open orders could not be followed", extra={"code": error.code})
                followed = 0
            await self.clock.sleep(max(FOLLOW_EVERY_S, followed / 10))

    async def follow(self) -> int:
        """One look at every acknowledged order, by its number: how many there were."""
        followed = 0
        for account_id, desk in tuple(self.desks.items()):
            for intent in (await self.books.journal.open_orders(account_id))[:_MOST_FOLLOWED]:
                if intent.state is IntentState.ACKED:
                    followed += 1
                    await desk.gateway.refreshed(intent)
        return followed

    async def _watch_for_ever(self, stop: anyio.Event) -> None:
        """The watch over sold options and open orders, unless a worker of this login has it already."""
        while not stop.is_set():
            try:
                if self._recovered:
                    await self._watch(stop)
            except InFlight:
                log.debug("another process watches this login")
            except IbkitError as error:
                log.warning("the watch ended", extra={"code": error.code})
            await self.clock.sleep(_WATCH_AGAIN_S if self._recovered else 0.5)

    async def _watch(self, stop: anyio.Event) -> None:
        desks = tuple(self.desks.values())
        loop = WorkerLoop(
            rounds=[desk.rounds() for desk in desks],
            stream=self.client.stream,
            clock=self.clock,
            poll_s=60.0,
            observe=self.observe,
            chance=edges().chance,
        )
        if self.settings.mock:
            await self._watched(loop.run, stop)
            return
        user = hashlib.sha256(desks[0].broker.username.encode()).hexdigest()[:16]
        lease = worker_lease(self.settings)
        by_name = Lease(self.settings.state_dir / "worker", f"user-{user}")
        async with (
            lease.hold(clock=self.clock, what="the watch over this login"),
            by_name.hold(clock=self.clock, what=f"the watch over IBKR user {desks[0].broker.username}"),
        ):
            worker = Worker(
                settings=self.settings,
                client=self.client,
                desks=desks,
                loop=loop,
                lease=lease,
                since=self.clock.now(),
                alerting=self.alerting,
            )
            loop.published = worker.publish
            loop.heard = lambda failure: self._tell(self._signs.heard(failure, self.clock.now()))
            self.measuring.watch(loop.standing, desks[0].broker.username)
            await self._watched(worker.run, stop)

    async def _watched(self, run: Callable[[anyio.Event], Awaitable[None]], stop: anyio.Event) -> None:
        self.watching = True
        try:
            await run(stop)
        finally:
            self.watching = False

    def _tell(self, happenings: Iterable[Happening]) -> None:
        self.alerting.dispatcher.tell(*happenings)

    def _worked(self) -> None:
        now = self.clock.now()
        self.health.checked_at = self.health.succeeded_at = now
        self.health.error = None

    def _failed(self, error: IbkitError) -> None:
        if self.health.error is None or self.health.error.code != error.code:
            level = logging.WARNING if isinstance(error, AuthError) else logging.INFO
            log.log(level, "the login is not usable", extra={"code": error.code})
        self._tell(self._signs.failed(error, self.clock.now()))
        self.health.checked_at, self.health.error = self.clock.now(), error


@asynccontextmanager
async def open_connection(
    settings: Settings, *, observe: Observer = unobserved, confirm: Confirm = _nobody_asked
) -> AsyncIterator[Connection]:
    """The books and a client that is not signed in yet. ConfigError, StorageError; nothing is sent."""
    async with AsyncExitStack() as stack:
        measuring = Measuring(connection_of(settings))
        settings, another = await _clients(settings, stack, measuring)
        client = another(True)
        measuring.signed_in_at = lambda: client.keeper.signed_in_at
        books = await stack.enter_async_context(open_books(settings, clock=client.clock, also=PARTS))
        assert books.records is not None, "the service keeps its records in the database"
        alerting = alerting_of(settings, books.records, alerts=books.alerts, clock=client.clock)
        if edges().keep_alive:
            await stack.enter_async_context(beside(alerting.dispatcher.run))
            await stack.enter_async_context(beside(measuring.recorder(settings, books, client.clock).run))
        await stack.enter_async_context(client)
        yield Connection(
            settings=settings,
            client=client,
            books=books,
            another=lambda: another(False),
            alerting=alerting,
            measuring=measuring,
            observe=measuring.counting(observe),
            confirm=confirm,
        )


async def _clients(
    settings: Settings, stack: AsyncExitStack, measuring: Measuring
) -> tuple[Settings, Callable[[bool], TradingClient]]:
    """The settings as they hold here, and what makes a client, which keeps its session alive or does not."""
    if not settings.mock:
        return settings, lambda lasting: client_of(settings, upto=None, keep_alive=lasting, meter=measuring.meter)
    from ibkit.bootstrap.mock import mock_client, running_world

    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ibkit-mock-")))
    general = dataclasses.replace(settings.general, state_dir=place, account_id=None, environment=Environment.PAPER)
    settings = dataclasses.replace(settings, general=general)
    world = await stack.enter_async_context(running_world())
    return settings, lambda lasting: mock_client(settings, upto=None, world=world)
