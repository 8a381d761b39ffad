"""`ibkit serve` as a process: API and worker on one event loop, from the first byte to a graceful end.

    start   settings checked, port taken, the login opened; orders wait until journal and broker agree (`Connection`)
    end     new orders are refused (503), those under way get 8 s, whatever is left is the journal's; 10 s in all

Source: architecture §2; requirements GWY-06, MON-03, SEC-03.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypedDict

import anyio
import uvicorn
from anyio.abc import TaskGroup
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ibkit.bootstrap.alerting import beside, connection_of, open_alerting
from ibkit.bootstrap.audit_heads import AuditHeads
from ibkit.bootstrap.auditing import AuditQueue, note_settings
from ibkit.bootstrap.automatic_syncs import AutomaticSyncs, KeptLogin
from ibkit.bootstrap.clients import clock_of
from ibkit.bootstrap.connections import Confirm, Connection
from ibkit.bootstrap.credential_desk import CredentialDesk, open_credential_desk
from ibkit.bootstrap.daily_backups import DailyBackups
from ibkit.bootstrap.edge import edges, machine_clock
from ibkit.bootstrap.flex_books import open_flex
from ibkit.bootstrap.jobs import JobEngine
from ibkit.bootstrap.maintenance import Maintenance
from ibkit.bootstrap.multi_user import check_licence, earlier_owner_of, without_own_login
from ibkit.bootstrap.portfolios import open_portfolios
from ibkit.bootstrap.processes import ending_by_force
from ibkit.bootstrap.reminders import Reminders
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.bootstrap.vaults import open_vault, ring_of
from ibkit.clock import SystemClock
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import Secret
from ibkit.service.app import Service, make_app
from ibkit.service.brokers import Adapter, Brokers, IbkrAdapter, Login, MockAdapter
from ibkit.service.cancelling import Cancelling
from ibkit.service.carrying import Carrying
from ibkit.service.connection_documents import shown_id
from ibkit.service.connection_events import ConnectionEvents
from ibkit.service.door import App, check_binding
from ibkit.service.events import LONGEST_MESSAGE
from ibkit.service.findings import Findings
from ibkit.service.heads import LARGEST_HEAD, bounded
from ibkit.service.health import Layers
from ibkit.service.key_making import KeyMaking
from ibkit.service.logins import Logins
from ibkit.service.onboarding_routes import demo_wanted
from ibkit.service.order_events import OrderEvents
from ibkit.service.orders import Orders
from ibkit.service.own_connections import OwnConnections
from ibkit.service.people_desk import PeopleDesk, open_people, refused_by_broker
from ibkit.service.quote_events import QuoteEvents
from ibkit.service.rates import Rates, rates_of_reads
from ibkit.service.sales import Sales
from ibkit.service.waiting_questions import WaitingQuestions
from ibkit.settings import Settings
from ibkit.store.vault import SqlVault
from ibkit.users.principal import Authenticator, Role

__all__ = ["Running", "open_service", "serve"]

log = logging.getLogger(__name__)

DRAIN_S = 8.0
_IDLE_S = 10


def nobody(account_id: str, validated: bool) -> bool:
    """Live money that nobody asked for."""
    return False


@dataclass(frozen=True, slots=True)
class Running:
    """An open service: its application, and how it ends."""

    service: Service
    app: App
    carrying: Carrying
    stop: anyio.Event

    async def drain(self) -> int:
        """Take no more orders, and wait for those under way, at most 8 s: how many are left to the journal."""
        self.service.stopping = True
        with anyio.move_on_after(DRAIN_S):
            await self.carrying.drain(DRAIN_S)
            await self.service.cancelling.settled(DRAIN_S)
        left = len(self.carrying)
        self.stop.set()
        return left


@asynccontextmanager
async def open_service(
    settings: Settings,
    authenticator: Authenticator | None = None,
    *,
    watch: bool = True,
    confirm: Confirm = nobody,
    adapters: Sequence[Adapter] = (),
) -> AsyncIterator[Running]:
    """The service without a socket. authenticator: instead of the users of DATABASE_URL.

    adapters: brokers besides ibkr and mock. ConfigError, StorageError.
    """
    settings, earlier_owner = await _checked(settings)
    known: list[Adapter] = [IbkrAdapter(settings=settings, confirm=confirm), MockAdapter(settings=settings), *adapters]
    stop = anyio.Event()
    clock = _TimeOfMarket() if settings.mock else clock_of(settings)
    findings = Findings(settings, lambda: service.alerting)
    monotonic = SystemClock().monotonic
    async with (
        _one_error(),
        open_people(settings, clock=machine_clock(), monotonic=monotonic, tell=findings.tell) as people,
        open_connection_rows(settings) as rows,
        _credentials(settings) as credentials,
        _audit(settings) as audit,
        open_portfolios(settings, clock, tell=findings.tell_of) as portfolios,
        open_flex(settings, portfolios, tell=findings.tell_of, credentials=credentials) as flex,
        anyio.create_task_group() as tasks,
    ):
        brokers = Brokers(known, default=settings.general.provider, tasks=tasks, stop=stop, watch=watch)
        carrying = Carrying(tasks)
        own = OwnConnections(settings, brokers, rows, clock, desk=credentials, confirm=confirm, audit=audit)
        logins = Logins(brokers, own)
        orders = Orders(logins, carrying, people.users.clock, earlier_owner=earlier_owner)
        service = Service(
            settings=settings,
            authenticator=authenticator or people.users.authenticator,
            people=people,
            brokers=brokers,
            orders=orders,
            questions=WaitingQuestions(orders.may_see, monotonic=monotonic, now=people.users.clock.now),
            sales=Sales(logins, carrying, people.users.clock),
            order_events=OrderEvents(brokers, SystemClock(), lambda: service.stopping),
            quote_events=QuoteEvents(logins, lambda: service.stopping),
            layers=_layers(lambda: service, settings, people, credentials, watch=watch),
            **_rates(monotonic),
            reads=rates_of_reads(monotonic),
            clock=clock,
            random=edges().random,
            own=own,
            logins=logins,
            connection_events=ConnectionEvents(own, SystemClock(), lambda: service.stopping),
            cancelling=Cancelling(tasks, edges().random),
            portfolios=portfolios,
            flex=flex,
            keys=KeyMaking(settings, tasks, people.users.clock, credentials),
            credentials=credentials,
        )
        await _begin(service, findings, tasks, watch=watch)
        try:
            yield Running(service, make_app(service), carrying, stop)
        finally:
            service.stopping = True
            stop.set()
            tasks.cancel_scope.cancel()


async def _checked(settings: Settings) -> tuple[Settings, str]:
    """The settings as the service uses them, and whose the orders of before there were users are. ConfigError."""
    ring_of(settings)  # a key that is no key stops the start, not the first order
    if settings.web.second_step != "none" and not settings.vault.has_key:
        raise ConfigError(
            "Setting missing: ENCRYPTION_KEY: REQUIRE_SECOND_STEP needs it, to keep the secrets of authenticator apps",
            code="E-ENC-KEY",
        )
    await check_licence(settings)
    return without_own_login(settings), await earlier_owner_of(settings)


async def _begin(service: Service, findings: Findings, tasks: TaskGroup, *, watch: bool) -> None:
    """What runs beside the requests."""
    if isinstance(service.clock, _TimeOfMarket):
        service.clock.login = lambda: service.connection
    owners = [each for each in await service.people.users.store.users() if each.role is Role.OWNER]
    if owners:  # of whoever becomes the first one later their sign-in does it
        await service.portfolios.books.adopt(min(owners, key=lambda each: each.created_at).user_id)
    service.maintenance = Maintenance(service.settings, machine_clock(), tell=findings.tell_of)
    await service.maintenance.look()
    tasks.start_soon(service.maintenance.run)
    await _open_logins(service, tasks)
    _look_after(service.settings, findings, tasks, watch=watch)
    _sync(service, tasks)


class _TimeOfMarket(SystemClock):
    """What time it is for the simulated market, once it is there: figures carry its time, and their age is told by it.

    Waiting is the machine's own.
    """

    login: Callable[[], Connection | None] | None = None

    def now(self) -> datetime:
        login = None if self.login is None else self.login()
        return super().now() if login is None else login.clock.now()


class _Rates(TypedDict):
    """Counted apart: orders, what takes them back, and what else goes to the broker."""

    rates: Rates
    cancels: Rates
    acts: Rates


def _rates(monotonic: Callable[[], float]) -> _Rates:
    return {
        "rates": Rates(monotonic),
        "cancels": Rates(monotonic, what="cancels", safe="Or stop trading: the kill switch cancels all."),
        "acts": Rates(monotonic, what="requests", safe="Nothing was changed."),
    }


def _layers(
    service: Callable[[], Service],
    settings: Settings,
    people: PeopleDesk,
    credentials: CredentialDesk | None,
    *,
    watch: bool,
) -> Layers:
    return Layers(
        settings,
        lambda: service().connection,
        lambda: tuple(service().brokers.opened.values()),
        users=people.users.store,
        vault=None if credentials is None else credentials.vault,
        watch=watch,
        stopping=lambda: service().stopping,
    )


async def _open_logins(service: Service, tasks: TaskGroup) -> None:
    """The settings' login or those of users; each, and each that is opened later, carries on what was left to it."""
    brokers, own = service.brokers, service.own

    def opened_one(key: str, login: Login) -> None:
        if isinstance(login, Connection):
            login.refused = partial(refused_by_broker, service.people, login.book.row.user_id)
            login.asker = service.questions.asker(key, login.clock)
        tasks.start_soon(_resume_left, service, key, login.clock.now())

    own.opened_one = opened_one
    if await demo_wanted(service):
        brokers.default = "mock"
    name = brokers.default
    if not brokers.adapters[name].missing() and (service.simulated or not own.of_users):
        opened_one(name, await brokers.login(name))
    tasks.start_soon(own.keep, lambda: service.stopping)


def _sync(service: Service, tasks: TaskGroup) -> None:
    """By the clock, the accounts of every login that is kept here."""
    if not edges().keep_alive:
        return

    def logins() -> tuple[KeptLogin, ...]:
        there = service.brokers.opened.values() if service.own.of_users else (service.connection,)
        return tuple(
            KeptLogin(
                user_id=each.book.row.user_id,
                connection_id=shown_id(each.book.row),
                client=each.client,
                up=each.wanted and not each.idleness.now and each.state.is_up,
                metrics=each.measuring.metrics,
                name=connection_of(each.settings),
            )
            for each in there
            if isinstance(each, Connection)
        )

    engine = JobEngine(service.settings, machine_clock())
    syncs = AutomaticSyncs(
        service.settings, service.portfolios, service.clock, logins, of_users=service.own.of_users, engine=engine
    )
    syncs.paused = lambda: service.maintenance is not None and service.maintenance.current is not None
    service.flex.register(engine)
    tasks.start_soon(syncs.run)


def _look_after(settings: Settings, findings: Findings, tasks: TaskGroup, *, watch: bool) -> None:
    """Backups every day, unless a worker beside the service makes them; every minute how far the audit log has come."""
    if edges().keep_alive:
        tasks.start_soon(AuditHeads(settings=settings, clock=machine_clock()).run)
    if watch and edges().keep_alive:
        tasks.start_soon(DailyBackups(settings=settings, clock=machine_clock(), tell=findings.tell_of).run)


@asynccontextmanager
async def _audit(settings: Settings) -> AsyncIterator[AuditQueue]:
    """For what is done to no open connection; opened at its first act."""
    await note_settings(settings)
    queue = AuditQueue(settings)
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def _credentials(settings: Settings) -> AsyncIterator[CredentialDesk | None]:
    """The users' credentials; None with ENABLE_MULTI_USER=false. Beside it, reminders of what grows old.

    ConfigError (E-ENC-KEY), StorageError.
    """
    async with AsyncExitStack() as stack:
        desk: CredentialDesk | None = None
        vault: SqlVault | None = None
        if settings.general.multi_user:
            desk = await stack.enter_async_context(open_credential_desk(settings))
            vault = desk.vault
        elif settings.vault.has_key and edges().keep_alive:
            try:
                vault = await stack.enter_async_context(open_vault(settings))
            except IbkitError as error:  # one user's service stores nothing there: it does not end for want of it
                log.warning("nothing is reminded of: the vault cannot be opened", extra={"code": error.code})
        if vault is not None and edges().keep_alive:
            alerting = await stack.enter_async_context(open_alerting(settings))
            reminders = Reminders(settings=settings, vault=vault, alerting=alerting)
            await stack.enter_async_context(beside(alerting.dispatcher.run))
            await stack.enter_async_context(beside(reminders.run))
        yield desk


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """What a task group wraps in a group, although it is one error, comes out as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


async def _resume_left(service: Service, key: str, began: datetime) -> None:
    """Once journal and broker agree, what an earlier process took in and did not send is carried on."""
    while not service.stopping:
        login = service.brokers.opened.get(key)
        if not isinstance(login, Connection) or login.open:
            break
        await anyio.sleep(0.1)
    if key not in service.brokers.opened:
        return
    try:
        count = await service.orders.resume_left(key, before=began)
    except IbkitError as error:  # the login is gone again; recovery settles what is left
        log.warning("orders of an earlier run wait for the next recovery", extra={"code": error.code})
        return
    if count:
        log.warning("orders of an earlier run are carried on", extra={"count": count})


async def until_signal() -> None:
    """SIGINT or SIGTERM, heard in the main thread only."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


async def serve(
    settings: Settings,
    authenticator: Authenticator | None = None,
    *,
    host: str,
    port: int,
    watch: bool = True,
    confirm: Confirm = nobody,
    ready: Callable[[str], None] = lambda address: None,
    welcome: Callable[[Secret[str], datetime], None] = lambda link, until: None,
    until: Callable[[], Awaitable[None]] = until_signal,
) -> int:
    """Serve until `until` returns: how many orders were left to the journal. ready: told of the address.

    welcome: told of the first owner's one-time link where there is nobody yet, and until when it is good.
    """
    check_binding(host, settings.web.allowed_client_ips, production=settings.general.app_env == "production")
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listening(host, port))
        running = await stack.enter_async_context(open_service(settings, authenticator, watch=watch, confirm=confirm))
        server = _Server(_config(running.app))
        begin = stack.enter_context(ending_by_force())
        left = 0
        async with _one_error(), anyio.create_task_group() as tasks:

            async def end() -> None:
                nonlocal left
                begin()
                left = await running.drain()
                server.should_exit = True

            async def wait() -> None:
                await until()
                await end()

            tasks.start_soon(wait)
            name, bound = listener.getsockname()[:2]
            address = f"http://{f'[{name}]' if ':' in name else name}:{bound}"
            if authenticator is None and (first := await running.service.people.users.keeper.first_link()):
                # Behind the #, which no browser sends and no log of a proxy sees.
                welcome(Secret(f"{address}/welcome#{first.token.reveal()}"), first.expires_at)
            ready(address)
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    return left


class _Server(uvicorn.Server):
    """Signals are ours: they drain first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=bounded(AutoHTTPProtocol),
        h11_max_incomplete_event_size=LARGEST_HEAD + 1,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=1,
        ws="websockets-sansio",
        ws_max_size=LONGEST_MESSAGE,
        ws_per_message_deflate=False,
        limit_concurrency=1_000,
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """ConfigError where the address is taken, or none of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1_024)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"Setting invalid: HOST, PORT: {host}:{port} cannot be listened on: {getattr(error, 'strerror', error)}",
            remedy="Choose another with --port or PORT, or end the program that has it.",
        ) from error
    with listener:
        yield listener
