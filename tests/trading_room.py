"""A trading room with fakes around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from fakes import ACCOUNT, START, FakeBroker, MemoryJournal, MemoryTrades, Plan
from ibkit.clock import ManualClock
from ibkit.model import Environment
from ibkit.trading.closing.closer import PositionCloser
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.questions import Asker, QuestionPolicy, unasked
from ibkit.trading.risk import Limits, default_limits
from ibkit.trading.selling.seller import OptionSeller
from ibkit.trading.telling import Teller, untold
from ibkit.trading.timeline import Step
from ibkit.trading.watching.watchdog import Watchdog


@dataclass
class Room:
    """Everything of one process; `restart` is what a crash and a new start leave: broker, journal and records."""

    clock: ManualClock
    broker: FakeBroker
    journal: MemoryJournal
    trades: MemoryTrades
    limits: Limits
    questions: QuestionPolicy = field(default_factory=QuestionPolicy)
    steps: list[Step] = field(default_factory=list)
    resend: bool = False
    live_confirmed: bool = False
    asker: Asker = unasked
    told: Teller = untold
    gateway: OrderGateway = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.journal._busy.clear()
        self.journal.risk.base = lambda _environment: self.limits
        self.gateway = OrderGateway(
            self.broker,
            self.journal,
            environment=self.limits.environment,
            risk=self.journal.risk,
            clock=self.clock,
            questions=self.questions,
            live_confirmed=self.live_confirmed,
            resend_same_ref=self.resend,
            alerts=self.journal.alerts,
            asker=self.asker,
            observe=self.steps.append,
            told=self.told,
        )

    @property
    def seller(self) -> OptionSeller:
        numbers = iter(range(1, 1000))
        return OptionSeller(
            self.broker,
            self.gateway,
            trades=self.trades,
            alerts=self.journal.alerts,
            clock=self.clock,
            account_id=ACCOUNT,
            random=lambda size: next(numbers).to_bytes(size, "big"),
            fill_timeout_s=20.0,
            max_strike_distance_pct=Decimal(5),
            observe=self.steps.append,
        )

    @property
    def closer(self) -> PositionCloser:
        return PositionCloser(
            self.broker,
            self.gateway,
            trades=self.trades,
            alerts=self.journal.alerts,
            clock=self.clock,
            account_id=ACCOUNT,
            observe=self.steps.append,
        )

    @property
    def guard(self) -> Watchdog:
        """Looks and tells, and sends nothing."""
        return self.watchdog(acts=False)

    def watchdog(self, **changes: object) -> Watchdog:
        return Watchdog(
            **{  # type: ignore[arg-type]
                "broker": self.broker,
                "gateway": self.gateway,
                "trades": self.trades,
                "alerts": self.journal.alerts,
                "clock": self.clock,
                "account_id": ACCOUNT,
                "observe": self.steps.append,
                "me": "ibkit",
                **changes,
            }
        )

    async def started(self) -> None:
        """As after a start at which journal and broker agreed; what was called for that is forgotten."""
        await self.gateway.recover(ACCOUNT)
        self.broker.calls.clear()

    def plan(self, *faults: str, **more: object) -> None:
        """What the next placements meet."""
        self.broker.plans.extend(Plan(fault, **more) for fault in faults)  # type: ignore[arg-type]


def make_room(**changes: object) -> Room:
    clock = ManualClock(START)
    room = {
        "clock": clock,
        "broker": FakeBroker(clock),
        "journal": MemoryJournal(clock),
        "trades": MemoryTrades(),
        "limits": default_limits(Environment.PAPER),
    }
    return Room(**{**room, **changes})  # type: ignore[arg-type]
