"""Settings → a trading desk: a signed-in client, the journal, the records, and the one door that orders leave by."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.bootstrap.auditing import AuditQueue
from ibkit.bootstrap.clients import client_of, clock_of
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.processes import is_alive, owner_name
from ibkit.client import Client, IbkrBroker
from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.model import AccountId, Environment
from ibkit.settings import Settings
from ibkit.store import open_journal, open_json_lines, open_trades
from ibkit.store.heartbeats import FileHeartbeats
from ibkit.trading import (
    Alerts,
    Journal,
    Observer,
    OptionSeller,
    OrderGateway,
    PositionCloser,
    QuestionPolicy,
    RiskBook,
    Trades,
    Watchdog,
)
from ibkit.trading.closing.close_all import CloseAll
from ibkit.trading.closing.roll import PositionRoller
from ibkit.trading.questions import Asker, unasked
from ibkit.trading.selling.trade import ExitReason, RecordState, Trade, TradeStatus
from ibkit.trading.telling import untold
from ibkit.trading.timeline import unobserved
from ibkit.trading.watching.dead_man import DeadMan
from ibkit.trading.watching.rounds import Rounds

if TYPE_CHECKING:
    from ibkit.store.database import Database

__all__ = [
    "VALIDATION_KEY",
    "Books",
    "Desk",
    "heartbeats_path",
    "journal_path",
    "open_books",
    "open_desk",
    "paper_validated",
    "trades_journal_path",
]

VALIDATION_KEY = "paper-validation-"
"""Keys of `ibkit trade validate` begin so; a closed trade of such a key is the proof that it passed (OPT-08)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What lasts, without a broker. audit, records (the database of the trades): None with `--no-db`."""

    journal: Journal
    trades: Trades
    alerts: Alerts
    risk: RiskBook
    clock: Clock
    records: Database | None = None
    audit: AuditQueue | None = None

    async def paper_validated(self) -> bool:
        return await paper_validated(self.trades)


async def paper_validated(trades: Trades) -> bool:
    """Whether this installation has once sold, protected and closed on paper, all the way."""
    return any(_is_validation(trade) for trade in await trades.trades(status=TradeStatus.CLOSED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One account of one login, ready to trade. observe: told of each step, in order.

    user_id: whose orders they are that name nobody, "" for nobody's.
    """

    settings: Settings
    client: Client
    broker: IbkrBroker
    books: Books
    gateway: OrderGateway
    account_id: AccountId
    observe: Observer
    user_id: str = ""

    @property
    def clock(self) -> Clock:
        return self.books.clock

    def seller(self) -> OptionSeller:
        return OptionSeller(
            self.broker,
            self.gateway,
            trades=self.books.trades,
            alerts=self.books.alerts,
            clock=self.clock,
            account_id=self.account_id,
            random=edges().random,
            fill_timeout_s=self.settings.trading.fill_timeout,
            max_strike_distance_pct=self.settings.trading.max_strike_distance_pct,
            observe=self.observe,
        )

    def closer(self) -> PositionCloser:
        return PositionCloser(
            self.broker,
            self.gateway,
            trades=self.books.trades,
            alerts=self.books.alerts,
            clock=self.clock,
            account_id=self.account_id,
            fill_timeout_s=self.settings.trading.fill_timeout,
            observe=self.observe,
        )

    def roller(self) -> PositionRoller:
        return PositionRoller(gateway=self.gateway, closer=self.closer(), seller=self.seller())

    def close_all(self) -> CloseAll:
        return CloseAll(
            broker=self.broker,
            gateway=self.gateway,
            closer=self.closer(),
            clock=self.clock,
            account_id=self.account_id,
        )

    def guard(self) -> Watchdog:
        """Looks after sold options at the start of a command: alerts, but no orders; those are the worker's."""
        return self.watchdog(acts=False)

    def watchdog(self, *, acts: bool = True) -> Watchdog:
        return Watchdog(
            broker=self.broker,
            gateway=self.gateway,
            trades=self.books.trades,
            alerts=self.books.alerts,
            clock=self.clock,
            account_id=self.account_id,
            observe=self.observe,
            fill_timeout_s=self.settings.trading.fill_timeout,
            acts=acts,
            all_shorts=self.settings.trading.watch_all_shorts,
            alive=is_alive,
            me=owner_name(),
        )

    def rounds(self) -> Rounds:
        """What the worker does again and again."""
        return Rounds(
            gateway=self.gateway,
            watchdog=self.watchdog(),
            alerts=self.books.alerts,
            clock=self.clock,
            account_id=self.account_id,
            dead_man=DeadMan(
                gateway=self.gateway,
                heartbeats=FileHeartbeats(heartbeats_path(self.settings)),
                risk=self.books.risk,
                clock=self.clock,
                account_id=self.account_id,
                observe=self.observe,
            ),
        )


def journal_path(settings: Settings) -> Path:
    return settings.state_dir / "journal.db"


def heartbeats_path(settings: Settings) -> Path:
    return settings.state_dir / "heartbeats"


def trades_journal_path(settings: Settings) -> Path:
    """Where `--no-db` writes trades, until `ibkit trades import-journal` stores them."""
    return settings.state_dir / "trades.jsonl"


@asynccontextmanager
async def open_books(
    settings: Settings, *, no_db: bool = False, clock: Clock | None = None, also: Collection[str] = ()
) -> AsyncIterator[Books]:
    """The journal, the trade records and the alerts. StorageError (E-DB) where one of them cannot be used.

    no_db: trades go to a file of JSON lines instead of the database, and nothing to the audit log; the journal is
    always local. also: parts of the database besides the trades that are used through `records`.
    """
    clock = clock or clock_of(settings)
    async with AsyncExitStack() as stack:
        settings = _apart(settings, stack)
        _make_state_dir(settings.state_dir)
        journal = await stack.enter_async_context(open_journal(journal_path(settings), clock=clock))
        trades: Trades
        records: Database | None = None
        if no_db:
            trades = await stack.enter_async_context(open_json_lines(trades_journal_path(settings), clock=clock))
        else:
            opened = await stack.enter_async_context(open_trades(settings.database_url.reveal(), also=also))
            trades, records = opened, opened.records
        await trades.check()
        audit = None if no_db else AuditQueue(settings)
        if audit is not None:
            stack.push_async_callback(audit.close)
        yield Books(
            journal=journal,
            trades=trades,
            alerts=journal.alerts,
            risk=journal.risk,
            clock=clock,
            records=records,
            audit=audit,
        )


@asynccontextmanager
async def open_desk(
    settings: Settings,
    *,
    compete: bool | None = None,
    no_db: bool = False,
    live_confirmed: bool = False,
    observe: Observer = unobserved,
) -> AsyncIterator[Desk]:
    """A desk for the settings' account, or the only one of the login.

    live_confirmed: a person has asked for live trading by name (control RC-01).
    """
    clock = clock_of(settings) if not settings.mock else None
    async with AsyncExitStack() as stack:
        client = client_of(settings, compete=compete, clock=clock)
        books = await stack.enter_async_context(open_books(settings, no_db=no_db, clock=client.clock))
        await stack.enter_async_context(client)
        yield await desk_of(settings, client, books, live_confirmed=live_confirmed, observe=observe)


async def desk_of(
    settings: Settings,
    client: Client,
    books: Books,
    *,
    live_confirmed: bool | frozenset[AccountId] = False,
    asker: Asker = unasked,
    observe: Observer = unobserved,
    account_id: AccountId | None = None,
    user_id: str = "",
) -> Desk:
    """A desk around what is open already.

    live_confirmed: a person has asked for live trading by name (control RC-01): of every account, or of these.
    asker: whom to show questions that the policy alone would decline. account_id: before that of the settings.
    user_id: as in `Desk`.
    """
    broker = IbkrBroker(client)
    await broker.identify()
    account_id = account_id or await client.selected_account(settings.account_id)
    await broker.prime(account_id)
    audit = books.audit
    if audit is not None and live_confirmed:
        for confirmed in (account_id,) if isinstance(live_confirmed, bool) else sorted(live_confirmed):
            audit.note("live.confirm", confirmed)
    gateway = OrderGateway(
        broker,
        books.journal,
        environment=settings.environment,
        risk=books.risk,
        clock=client.clock,
        questions=QuestionPolicy(frozenset(settings.trading.auto_confirm)),
        owner=owner_name(),
        live_confirmed=live_confirmed,
        resend_same_ref=settings.trading.resend_same_coid,
        asker=asker if audit is None or asker is unasked else audit.asking(asker),
        alerts=books.alerts,
        observe=observe,
        told=untold if audit is None else audit.order,
        user=user_id,
    )
    return Desk(
        settings=settings,
        client=client,
        broker=broker,
        books=books,
        gateway=gateway,
        account_id=account_id,
        observe=observe,
        user_id=user_id,
    )


def _make_state_dir(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(
            f"Database problem: the state directory {directory} cannot be made: {error.strerror or error}",
            remedy="Make it writable for you, or choose another with IBKIT_STATE_DIR.",
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StorageError(
            f"Database problem: the state directory {directory} cannot be written",
            remedy=f"Run `chmod u+rwx {directory}`, or choose another with IBKIT_STATE_DIR.",
        )


def _apart(settings: Settings, stack: AsyncExitStack) -> Settings:
    """The simulated broker in the process forgets at its end, so its journal must not outlive it."""
    if not settings.mock:
        return settings
    import dataclasses

    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ibkit-mock-")))
    general = dataclasses.replace(settings.general, state_dir=place)
    database = dataclasses.replace(settings.database, url=None, name=None)
    return dataclasses.replace(settings, general=general, database=database)


def _is_validation(trade: Trade) -> bool:
    return (
        trade.environment is Environment.PAPER
        and trade.record_state is RecordState.COMPLETE
        and trade.exit_reason is ExitReason.MANUAL
        and any(link.key.startswith(VALIDATION_KEY) for link in trade.links)
    )
