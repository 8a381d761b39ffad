"""A login that a service keeps: signed in as soon as that is possible, looked at every 30 s, and asked for its desk.

    closed     nobody is signed in yet, or journal and broker have not been compared: orders are refused with the reason
    open       `recover` has run for every account; each order then asks again for what its own account needs
    put down   somebody logged it out, here or by a command: nothing is sent until somebody connects it

What is known of it is held here, so that telling it costs no call. Source: requirements GWY-05, MON-01, MON-04, OPS-10.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from ibkit.bootstrap.account_reader import AccountReader
from ibkit.bootstrap.alerting import Alerting
from ibkit.bootstrap.connection_watch import ConnectionWatch
from ibkit.bootstrap.desks import Books, Desk, desk_of
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.idleness import Idleness
from ibkit.bootstrap.measuring import Measuring
from ibkit.bootstrap.quote_lines import QuoteLines
from ibkit.bootstrap.session_book import CHECK_EVERY_S, OF_SETTINGS, WISH_EVERY_S, SessionBook
from ibkit.bootstrap.session_look import DataLook, login_of, look
from ibkit.client import Client
from ibkit.client.opening import Step
from ibkit.client.outcomes import Verdict
from ibkit.clock import Clock
from ibkit.errors import (
    AuthError,
    CredentialsRejected,
    Effect,
    IbkitError,
    NotFound,
    OutcomeUnknown,
    SessionUnavailable,
    TradingError,
)
from ibkit.model import AccountId, Environment, Question, Username
from ibkit.settings import Settings
from ibkit.trading import Observer
from ibkit.trading.connection import ConnectionState, Standing, retry_after
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.questions import Asker, Said, unasked
from ibkit.trading.timeline import unobserved
from ibkit.wire.session import AUTH_STATUS

if TYPE_CHECKING:
    from ibkit.bootstrap.trading_client import TradingClient

__all__ = ["FRESH_S", "Confirm", "Connection", "logged_out", "nobody_asked", "was_refused"]

log = logging.getLogger(__name__)

FRESH_S = 90.0
"""A check that is older proves nothing any more. MON-01."""
FOLLOW_EVERY_S = 5.0
_MOST_FOLLOWED = 200
REACH_WITHIN_S = 60.0
LEAVE_WITHIN_S = 10.0
_GLANCE_S = 0.1
_AGAIN_S = 30.0

Confirm = Callable[[AccountId, bool], bool]


def nobody_asked(account_id: AccountId, validated: bool) -> bool:
    """Of live money: nobody has asked for it."""
    return False


async def _unheard() -> None:
    """Nobody counts."""


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
    book: SessionBook
    observe: Observer = unobserved
    confirm: Confirm = nobody_asked
    desks: dict[AccountId, Desk] = field(default_factory=dict)
    watch: ConnectionWatch = field(init=False)
    idleness: Idleness = field(init=False)
    wanted: bool = True
    data: DataLook = field(default_factory=DataLook)
    _opening: anyio.Lock = field(default_factory=anyio.Lock)
    _looking: anyio.Lock = field(default_factory=anyio.Lock)
    _recovered: bool = False
    refused: Callable[[], Awaitable[None]] = field(default=_unheard)
    """Told of each sign-in whose credentials IBKR refused."""
    asker: Asker = unasked
    """A person to show questions that the rules alone would decline; whoever it is when the question comes."""
    quote_lines: QuoteLines = field(init=False)
    reader: AccountReader = field(init=False)
    _asked: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.quote_lines = QuoteLines(self.client.stream, self.clock)
        self.reader = AccountReader(self)
        self.client.keeper.beaten = self._beaten
        self.client.keeper.beats = lambda: self.book.keeps and not self.idleness.now
        self.client.keeper.shut = None if self.wanted else logged_out
        self.watch = ConnectionWatch(self)
        self.idleness = Idleness(self)

    @property
    def watching(self) -> bool:
        """The watch over sold options is in this process."""
        return self.watch.on

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
    def health(self) -> Standing:
        """The last look at it."""
        return self.book.standing

    @property
    def state(self) -> ConnectionState:
        """As the last look found it; one that is too old says nothing any more."""
        held = self.health
        if held.state.is_up and not self._fresh:
            return ConnectionState.ERROR
        return held.state

    @property
    def _fresh(self) -> bool:
        succeeded_at = self.health.succeeded_at
        return succeeded_at is not None and (self.clock.now() - succeeded_at).total_seconds() < FRESH_S

    @property
    def connected(self) -> bool:
        """All four steps hold, and the last look, of at most 90 s ago, worked."""
        return self.state.is_up and self._fresh and all(step.success for step in self.steps.values())

    def is_of(self, username: Username) -> bool:
        """Whether IBKR knows this login by that name; False before it is known."""
        return bool(self.desks) and self.client.keeper.username == username

    def is_called(self, connection_id: str | None) -> bool:
        """Whether a caller who names `connection_id`, or none, means this one."""
        return connection_id is None or connection_id == (
            self.book.row.connection_id if self.book.row.user_id else OF_SETTINGS
        )

    async def desk(self, account_id: AccountId | None = None) -> Desk:
        """The desk of that account, of the settings' one, or of the only one; signs in where nobody has yet.

        NotFound (E-NOT-FOUND) for an account that is not of this login, E-ACC-AMBIGUOUS where one must be named,
        E-NOT-CONNECTED after a logout.
        """
        if not self.wanted:
            raise logged_out()
        self.used()
        if not self._recovered:
            await self.reach()
        elif self.health.state is ConnectionState.CONFIGURED:  # it rested: what was open at IBKR may have ended
            self._raised(await self.check(older_than_s=1.0))
        if account_id is None:
            account_id = await self.client.selected_account(self.settings.account_id)
        found = self.desks.get(account_id)
        if found is None:
            raise NotFound(code="E-NOT-FOUND", details={"thing": "account"})
        return found

    def used(self) -> None:
        """Somebody uses it; one that rested is connected again."""
        if self.idleness.used():
            self._asked.set()

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
            await self._failed(error)
            raise
        await self._worked()

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
        confirmed = frozenset(each for each in accounts if live and self.confirm(each, validated))
        first = await desk_of(
            self.settings,
            self.client,
            self.books,
            live_confirmed=confirmed,
            asker=self._ask,
            observe=self.observe,
            account_id=accounts[0],
        )
        return {account_id: dataclasses.replace(first, account_id=account_id) for account_id in accounts}

    async def _ask(self, intent: Intent, question: Question, within_s: float) -> Said | None:
        return await self.asker(intent, question, within_s)

    # -- keeping it -----------------------------------------------------------------------------------------------

    async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
        """Sign in, look every 30 s, follow open orders, and with `watch` all that `ibkit worker` does; until `stop`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._lasting, self._check_for_ever)
            tasks.start_soon(self._lasting, self._follow_for_ever)
            tasks.start_soon(self._lasting, self.quote_lines.run)
            tasks.start_soon(self._lasting, self.reader.run)
            if watch:
                tasks.start_soon(self._lasting, lambda: self.watch.for_ever(stop))
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
            await self.clock.sleep(_AGAIN_S)

    async def check(self, *, older_than_s: float = 0.0) -> Standing:
        """One look, now: the brokerage session's own word. older_than_s: one that is younger will do."""
        async with self._looking:
            checked_at = self.health.checked_at
            young = checked_at is not None and (self.clock.now() - checked_at).total_seconds() < older_than_s
            if self.wanted and not young:
                await self._look()
        return self.health

    async def beat(self) -> Standing:
        """One tickle, and a look, for whoever keeps it alive by hand. Raises what they fail by."""
        if not self.wanted:
            raise logged_out()
        try:
            await self.client.keeper.beat()
        except IbkitError as error:
            self._beaten(error)
            await self._failed(error)
            raise
        self._beaten(None)
        return self._raised(await self.check())

    async def _look(self) -> None:
        try:
            if not self._recovered:
                await self.reach()
            await look(self.client)
            await self.data.take(self.client)
        except IbkitError as error:
            if error is not self.health.error:  # `reach` has told its own
                await self._failed(error)
        else:
            await self._worked()

    async def _check_for_ever(self) -> None:
        """By the interval of the keep-alive, at most 30 s; after a failure sooner, with growing pauses (SES-07)."""
        due = self.clock.monotonic()
        while True:
            await self.follow_wish()
            if self.wanted and await self.idleness.began():
                await self.book.rests()
            asked, self._asked = self._asked.is_set(), anyio.Event()
            if self.wanted and not self.idleness.now and (asked or self.clock.monotonic() >= due):
                held = await self.check()
                due = self.clock.monotonic() + self._pause_after(held)
            await self._pause(
                min(WISH_EVERY_S, max(0.0, due - self.clock.monotonic()))
                if self.wanted and not self.idleness.now
                else WISH_EVERY_S
            )

    def _pause_after(self, held: Standing) -> float:
        if held.error is None:
            return min(CHECK_EVERY_S, self.settings.session.keepalive_interval)
        return retry_after(held.error, held.attempts, edges().chance())

    async def _pause(self, seconds: float) -> None:
        """Until the time is up, or somebody asks for a look."""
        async with anyio.create_task_group() as tasks:

            async def time_up() -> None:
                await self.clock.sleep(seconds)
                tasks.cancel_scope.cancel()

            tasks.start_soon(time_up)
            await self._asked.wait()
            tasks.cancel_scope.cancel()

    def _beaten(self, error: IbkitError | None) -> None:
        self.book.beaten(error)
        if error is not None:
            self.doubt()

    def doubt(self) -> None:
        """Something beside the looks says that it is down: look now, not at the end of the half minute."""
        if self.health.error is None:
            self._asked.set()

    # -- what a person asks for -----------------------------------------------------------------------------------

    async def follow_wish(self) -> None:
        """Whether it is wanted may have been said to another process: leave it, or take it up again."""
        wanted = await self.book.wanted()
        if wanted and not self.wanted:
            self._take_up()
            await self.book.trying()
        elif self.wanted and not wanted:
            log.info("the connection was logged out by another process")
            self.book.left_alone()
            await self._leave()
        elif self.wanted and self.book.asked_anew:
            self._take_up()
            self._asked.set()
        self.book.asked_anew = False

    async def bring_up(self) -> Standing:
        """Connect, whatever was before: a pause after failed sign-ins is over, too. Raises what it fails by."""
        await self.book.want(True)
        self._take_up()
        await self.book.trying()
        return self._raised(await self.check())

    async def reopen(self, *, compete: bool = False) -> Standing:
        """Open the brokerage session anew, in the login that is there, between two orders. Raises what it fails by.

        compete: take it over from another login of the user name, this once. Source: SES-08.
        """
        keeper, before = self.client.keeper, self.client.keeper.opener.compete
        await self.book.want(True)
        self._take_up()
        await self.book.trying()
        async with self._looking:
            keeper.opener.compete = compete or before
            try:
                await self._talked_out()
                if keeper.level > 0:
                    await keeper.mend(Verdict.OPEN_BROKERAGE, AUTH_STATUS, keeper.generation)
            except IbkitError as error:
                await self._failed(error)
                raise
            finally:
                keeper.opener.compete = before
        held = self._raised(await self.check())
        if compete:
            await self.book.taken_over()
        return held

    def _take_up(self) -> None:
        self.wanted = True
        self.used()
        self.client.keeper.shut = None
        self.client.keeper.backoff.reset()

    async def log_out(self) -> IbkitError | None:
        """End the login here and at IBKR: what IBKR could not be told because of, None where it was. StorageError."""
        await self.book.want(False)
        return await self._leave()

    async def let_go(self) -> IbkitError | None:
        """End the login here and at IBKR, but not for good: other credentials take the place of these. As `log_out`."""
        return await self._leave()

    async def _leave(self) -> IbkitError | None:
        self.wanted = self._recovered = False
        self.client.keeper.shut = logged_out  # whatever is under way here must not sign in anew
        self.watch.end()
        failure: IbkitError | None = None
        with anyio.move_on_after(LEAVE_WITHIN_S) as limit:
            try:
                await self._talked_out()
                if self.client.keeper.level > 0:
                    await self.client.logout()
            except IbkitError as error:
                failure = error
        if limit.cancelled_caught:
            failure = OutcomeUnknown(code="E-TIMEOUT", details={"n": LEAVE_WITHIN_S})
        with anyio.CancelScope(shield=True):
            await self.client.keeper.forget()
        return failure

    async def _talked_out(self) -> None:
        """An order that is being talked about has its answer first."""
        for _ in range(round(LEAVE_WITHIN_S / _GLANCE_S)):
            if self.client.keeper.conversations == 0:
                return
            await self.clock.sleep(_GLANCE_S)

    def _raised(self, held: Standing) -> Standing:
        if held.error is not None:
            raise held.error
        return held

    # -- beside it ------------------------------------------------------------------------------------------------

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                followed = await self.follow() if self.wanted else 0
            except IbkitError as error:  # the disk, or a login that has ended; the next look tells more
                log.warning("open orders could not be followed", extra={"code": error.code})
                self.doubt()
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

    async def _worked(self) -> None:
        login, accounts = login_of(self.client), self.client.keeper.opening.accounts
        await self.book.worked(login, accounts, missing=self.data.missing)

    async def _failed(self, error: IbkitError) -> None:
        if self.health.error is None or self.health.error.code != error.code:
            level = logging.WARNING if isinstance(error, AuthError) else logging.INFO
            log.log(level, "the login is not usable", extra={"code": error.code})
        await self.book.failed(error)
        if was_refused(error):
            await self.refused()


def was_refused(error: IbkitError | None) -> bool:
    """Whether IBKR was asked with these credentials, and did not take them."""
    return isinstance(error, CredentialsRejected) and error.code != "E-AUTH-BACKOFF"


def logged_out() -> TradingError:
    """What every order is refused by until somebody connects it."""
    return TradingError(
        "The connection was logged out",
        code="E-NOT-CONNECTED",
        remedy="Connect it first: POST /api/ibkr/connect, `ibkit session connect`, or authenticate() of the session.",
    )
