"""Small in-memory stand-ins for the ports of `trading`: a broker with scriptable faults, a journal, records, alerts.

The broker keeps the ground truth (`accepted`: every order it ever took) apart from what its reads show, so a test
can compare what we say with what is.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from ibkit.clock import ManualClock
from ibkit.errors import (
    IbkitError,
    InFlight,
    InvalidRequest,
    KeyReused,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    StorageError,
    TradingError,
    Unreachable,
)
from ibkit.model import (
    Accepted,
    AcceptedRow,
    Account,
    AccountId,
    AccountSummary,
    AlreadyRegistered,
    Answer,
    Asked,
    Availability,
    CancelAck,
    Conid,
    Contract,
    Environment,
    Fill,
    GroupKind,
    Increments,
    Key,
    Order,
    OrderId,
    OrderStatus,
    OrderTicket,
    OrderType,
    Position,
    Preview,
    Question,
    QuestionId,
    Quote,
    Ref,
    Rejected,
    Right,
    SecType,
    SendPermit,
    Side,
    TimeInForce,
    Username,
)
from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.events import (
    Claimed,
    Decided,
    Event,
    IntentId,
    Operation,
    Planned,
    Replying,
    Sending,
    Stage,
    TakenOver,
)
from ibkit.trading.intent import Intent, IntentState, fold, fold_all
from ibkit.trading.ports import ControlsMoved, Fenced, FillsRead, Lane, Leg, OrdersRead, SessionMark, lane_of
from ibkit.trading.ref import leg_ref
from ibkit.trading.risk import (
    DailyPnl,
    Halt,
    LimitChange,
    Limits,
    OpenOrder,
    Released,
    RiskState,
    Scope,
    Sent,
    SessionHealth,
    TradingHours,
    Usage,
    default_limits,
    layered,
)
from ibkit.trading.risk.bookkeeping import (
    REJECTS_FOR,
    confirmable,
    day_start,
    open_orders,
    people_needed,
    prepared,
    same_halt,
    same_person,
)
from ibkit.trading.selling.trade import Trade, TradeStatus

ACCOUNT = AccountId("DU1234567")
USER = Username("edge1234")
START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)  # a Friday, 10:30 in New York
GRID = Increments(((Decimal(0), Decimal("0.01")), (Decimal(3), Decimal("0.05"))))
SPY = Contract(conid=Conid(756733), symbol="SPY", sec_type=SecType.STOCK, exchange="SMART")


def option(strike: str = "629", right: Right = Right.PUT, expiry: date = date(2026, 11, 20)) -> Contract:
    return Contract(
        conid=Conid(700_000_000 + int(Decimal(strike) * 10) + (500_000 if right is Right.CALL else 0)),
        symbol="SPY",
        sec_type=SecType.OPTION,
        multiplier=Decimal(100),
        expiry=expiry,
        strike=Decimal(strike),
        right=right,
        trading_class="SPY",
        underlying_conid=SPY.conid,
    )


def stock_ticket(quantity: str = "10", **changes: object) -> OrderTicket:
    ticket = OrderTicket(
        account_id=ACCOUNT, contract=SPY, side=Side.BUY, order_type=OrderType.MARKET, quantity=Decimal(quantity)
    )
    return dataclasses.replace(ticket, **changes)  # type: ignore[arg-type]


@dataclass
class Held:
    """One order at the broker, as it truly is."""

    order_id: OrderId
    ticket: OrderTicket
    ref: Ref | None
    status: OrderStatus
    visible_at: datetime
    session: int
    filled: Decimal = Decimal(0)
    average: Decimal | None = None
    reason: str | None = None
    parent: OrderId | None = None
    group: str = ""


@dataclass
class Group:
    """One request: its first order and those beside it."""

    ticket: OrderTicket
    ref: Ref
    others: tuple[OrderTicket, ...] = ()
    kind: GroupKind | None = None


@dataclass
class Plan:
    """What the next placement (or reply) meets.

    fault: ok, reject, unsent, lost_before, lost_after, s400, s400_but_placed, s429, late, inactive, foreign
    asks:  message ids of the questions to come first, one tuple each.
    refuse_legs: places (from 1) of the other orders of a group that are refused while the first is taken.
    """

    fault: str = "ok"
    asks: tuple[tuple[str, ...], ...] = ()
    delay_s: float = 0.0
    refuse_legs: tuple[int, ...] = ()


@dataclass
class FakeBroker:
    """Fits `trading.ports.Broker`. `plans` are met one by one; when they are used up all is well."""

    clock: ManualClock
    username: Username = USER
    plans: deque[Plan] = field(default_factory=deque)
    reply_faults: deque[str] = field(default_factory=deque)
    read_faults: deque[bool] = field(default_factory=deque)
    waits: deque[float] = field(default_factory=deque)
    cancel_faults: deque[str] = field(default_factory=deque)
    dedupe: bool = True
    release_on_confirm: bool = False
    paper: bool | None = True
    fills: bool = True
    fill_price: Decimal | None = None
    fill_part: Decimal | None = None
    reject_stops: int = 0
    stop_status: OrderStatus = OrderStatus.PRE_SUBMITTED
    quote_of: Callable[[Conid], Quote] | None = None
    on_bytes: Callable[[str, Ref | str], None] | None = None
    accepted: list[Held] = field(default_factory=list)
    executions: list[Fill] = field(default_factory=list)
    parked: dict[Ref, tuple[Group, Plan]] = field(default_factory=dict)
    questions: dict[QuestionId, Ref] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    later: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    session: int = 1
    orders_read: bool = False
    fills_read: bool = False
    read_by_others: list[tuple[float, OrdersRead]] = field(default_factory=list)
    known_refs: set[Ref] = field(default_factory=set)
    net_liquidation: Decimal = Decimal(1_000_000)
    rates: dict[str, Decimal] = field(default_factory=dict)
    serial: int = 0

    # -- what a test says --------------------------------------------------------------------------------------

    def new_session(self) -> None:
        self.session += 1
        self.orders_read = self.fills_read = False
        self.questions.clear()

    def sent(self, name: str) -> int:
        return sum(call.split()[0] == name for call in self.calls)

    def fill(self, order_id: OrderId, quantity: Decimal, price: Decimal) -> None:
        held = next(h for h in self.accepted if h.order_id == order_id)
        before = (held.average or Decimal(0)) * held.filled
        held.filled += quantity
        held.average = (before + quantity * price) / held.filled
        if held.filled == held.ticket.quantity:
            held.status = OrderStatus.FILLED
        self._wake_and_end_others(held)
        self.serial += 1
        self.executions.append(
            Fill(
                execution_id=f"0000e0d5.{self.serial:08x}.01.01",
                order_id=order_id,
                account_id=held.ticket.account_id,
                conid=held.ticket.contract.conid,
                side=held.ticket.side,
                quantity=quantity,
                price=price,
                fee=Decimal("0.65") * quantity,
                at=self.clock.now(),
                ref=held.ref,
            )
        )

    # -- the port ------------------------------------------------------------------------------------------------

    async def mark(self) -> SessionMark:
        return SessionMark(str(self.session), self.clock.now().date())

    async def is_paper(self) -> bool | None:
        return self.paper

    async def accounts(self) -> tuple[Account, ...]:
        return (
            Account(
                account_id=ACCOUNT,
                display_name="Demo",
                currency="USD",
                kind="INDIVIDUAL",
                environment=Environment.PAPER,
            ),
        )

    async def summary(self, account_id: AccountId) -> AccountSummary:
        raise NotFound("the fake keeps no balances")

    async def positions(self, account_id: AccountId) -> tuple[Position, ...]:
        held: dict[Conid, tuple[Contract, Decimal]] = {}
        for order in self.accepted:
            whole = order.ticket.contract
            signed = order.filled if order.ticket.side is Side.BUY else -order.filled
            for part, ratio in [(leg.contract, leg.ratio) for leg in whole.legs] or [(whole, 1)]:
                contract, quantity = held.get(part.conid, (part, Decimal(0)))
                held[contract.conid] = (contract, quantity + signed * ratio)
        return tuple(
            Position(
                account_id=account_id,
                contract=contract,
                quantity=quantity,
                average_price=None,
                market_price=None,
                market_value=quantity * contract.multiplier,
                realized_pnl=None,
                unrealized_pnl=None,
            )
            for contract, quantity in held.values()
            if quantity
        )

    async def underlying(self, symbol: str) -> Contract:
        return SPY

    async def option(self, symbol: str, *, expiry: date, strike: Decimal, right: Right) -> Contract:
        if strike % 1:
            raise NotFound(f"Contract not found: {symbol} {strike}", code="E-CONTRACT")
        return option(str(strike), right, expiry)

    async def option_strikes(
        self, symbol: str, *, expiry: date, right: Right, near: Decimal | None = None, at_most: int | None = None
    ) -> tuple[Contract, ...]:
        strikes = sorted(range(620, 720), key=lambda strike: abs(strike - (near or 0)))[:at_most]
        return tuple(option(str(strike), right, expiry) for strike in sorted(strikes))

    async def increments(self, contract: Contract, *, side: Side) -> Increments:
        return GRID

    async def quote(self, conid: Conid) -> Quote:
        if self.quote_of is not None:
            return self.quote_of(conid)
        if conid == SPY.conid:
            return quote(conid, "630.00", "630.02")
        return quote(conid, "0.62", "0.63")

    async def quotes(self, conids: tuple[Conid, ...]) -> tuple[Quote, ...]:
        return tuple([await self.quote(conid) for conid in conids])

    async def preview(self, ticket: OrderTicket) -> Preview:
        self.calls.append("preview")
        return Preview(initial_margin_change=Decimal(12_000), commission=Decimal("1.95"))

    async def place(
        self,
        ticket: OrderTicket,
        *,
        ref: Ref,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        permit: SendPermit | None = None,
    ) -> Answer:
        assert bool(others) == (group is not None), "a group has a kind and more than one order"
        self._work_off()
        await self._permitted(permit)
        sent = Group(ticket, ref, others, group)
        self.calls.append(f"place {ticket.label}")
        plan = self.plans.popleft() if self.plans else Plan()
        if plan.fault == "unsent":
            self.calls[-1] = f"unsent {ticket.label}"
            raise Unreachable("connection refused")
        self._bytes("place", ref)
        if plan.fault == "reject":
            return Rejected("YOUR ORDER IS NOT ACCEPTED")
        if plan.fault == "lost_before":
            raise OutcomeUnknown("no answer within 30 s")
        if plan.fault == "s400":
            raise InvalidRequest("Bad Request: no bridge")
        if plan.fault == "s429":
            raise RateLimited("Too many requests")
        if plan.fault == "late":
            self.later.append((self.clock.now() + timedelta(seconds=8), lambda: self._settle_late(sent, plan)))
            raise OutcomeUnknown("no answer within 30 s")
        if ticket.order_type is OrderType.STOP and self.reject_stops:
            self.reject_stops -= 1
            return Rejected("stop orders are not accepted")
        answer = self._settle(sent, plan)
        if plan.fault == "lost_after":
            raise OutcomeUnknown("no answer within 30 s")
        if plan.fault == "s400_but_placed":
            raise InvalidRequest("Bad Request")
        if plan.fault == "foreign" and isinstance(answer, Accepted):
            return dataclasses.replace(answer, ref=Ref("ib-somebodyelse"))
        return answer

    async def reply(
        self, question_id: QuestionId, *, confirmed: bool, ref: Ref | None = None, permit: SendPermit | None = None
    ) -> Answer:
        self._work_off()
        await self._permitted(permit)
        self.calls.append(f"reply {'yes' if confirmed else 'no'}")
        fault = self.reply_faults.popleft() if self.reply_faults else "ok"
        if fault == "unsent":
            self.calls[-1] = "unsent reply"
            raise Unreachable("connection refused")
        self._bytes("reply", question_id)
        if fault == "lost_before":
            raise OutcomeUnknown("no answer within 30 s")
        asked = self.questions.pop(question_id, None)
        if asked is None or asked not in self.parked:
            raise InvalidRequest(f"reply id not found: '{question_id}'")
        sent, plan = self.parked.pop(asked)
        if not confirmed:
            answer: Answer = Rejected("Order not confirmed ")
        else:
            answer = self._settle(sent, plan, confirming=True)
            if self.release_on_confirm:
                for other, (waiting, _) in list(self.parked.items()):
                    del self.parked[other]
                    self._accept_group(waiting, Plan())
        if fault == "lost_after":
            raise OutcomeUnknown("no answer within 30 s")
        return answer

    async def modify(self, order_id: OrderId, ticket: OrderTicket, *, permit: SendPermit | None = None) -> Answer:
        await self._permitted(permit)
        self.calls.append(f"modify {order_id}")
        fault = self.cancel_faults.popleft() if self.cancel_faults else "ok"
        held = self._held(order_id)
        if held is None or held.status.terminal:
            return Rejected("the order cannot be changed")
        if fault != "lost_before":
            held.ticket = ticket
        if fault != "ok":
            raise OutcomeUnknown("no answer within 30 s")
        return Accepted(order_id, held.status, held.ref)

    async def cancel(self, account_id: AccountId, order_id: OrderId, *, permit: SendPermit | None = None) -> CancelAck:
        await self._permitted(permit)
        self.calls.append(f"cancel {order_id}")
        fault = self.cancel_faults.popleft() if self.cancel_faults else "ok"
        held = self._held(order_id)
        if fault == "lost_before":
            raise OutcomeUnknown("no answer within 30 s")
        if fault in ("refused_but_late", "lost_but_late") and held is not None:  # carried out all the same (F13, F27)
            gone = held
            self.later.append((self.clock.now() + timedelta(seconds=8), lambda: self._cancelled(gone)))
            refused = fault == "refused_but_late"
            raise OutcomeUnknown("Bad Request: timed out", details={"status": 400} if refused else {})
        if held is None or held.status.terminal:
            raise InvalidRequest(f"OrderID {order_id} doesn't exist")
        self._cancelled(held)
        if fault == "lost_after":
            raise OutcomeUnknown("no answer within 30 s")
        return CancelAck(order_id, "Request was submitted")

    def _cancelled(self, held: Held) -> None:
        """Its children end with it, and each child with its sibling. docs/facts/orders.md §1.7 item 8."""
        held.status = OrderStatus.CANCELLED
        for other in self.accepted:
            family = other.parent is not None and other.parent in (held.order_id, held.parent)
            if family and not other.status.terminal:
                other.status = OrderStatus.CANCELLED

    async def read_orders(self, account_id: AccountId) -> OrdersRead:
        self._work_off()
        self.calls.append("orders")
        if self.read_faults and self.read_faults.popleft():
            raise OutcomeUnknown("no answer within 15 s")
        first, self.orders_read = not self.orders_read, True
        mark = await self.mark()
        if first:
            return OrdersRead((), complete=False, first=True, mark=mark)
        rows = [self._row(held) for held in self.accepted if held.visible_at <= self.clock.now()]
        rows += [self._parked_row(ref, sent.ticket) for ref, (sent, _) in self.parked.items()]
        return OrdersRead(tuple(rows), complete=True, first=False, mark=mark)

    async def recent_orders(self, account_id: AccountId, *, within_s: float) -> OrdersRead:
        """The truth, as the controls see it; what reads may lie about is the business of the other lists."""
        self._work_off()
        rows = [self._row(held) for held in self.accepted if not held.status.terminal]
        rows += [self._parked_row(ref, sent.ticket) for ref, (sent, _) in self.parked.items()]
        return OrdersRead(tuple(rows), complete=True, first=False, mark=await self.mark())

    def orders_read_since(self, account_id: AccountId, asked_at: float) -> tuple[OrdersRead, ...]:
        """What others have read; nobody else reads here but where a test says so."""
        return tuple(read for at, read in self.read_by_others if at >= asked_at)

    async def daily_pnl(self, account_id: AccountId, *, select: bool = False) -> DailyPnl | None:
        return DailyPnl(daily=Decimal(0), net_liquidation=self.net_liquidation, at=self.clock.now())

    async def trading_hours(self, contract: Contract) -> TradingHours | None:
        day = (self.clock.now() - timedelta(hours=1), self.clock.now() + timedelta(hours=5))
        return TradingHours(regular=(day,), extended=(day,), until=self.clock.now() + timedelta(days=6))

    async def exchange_rate(self, currency: str) -> Decimal | None:
        return self.rates.get(currency)

    async def session_health(self) -> SessionHealth:
        return SessionHealth(authenticated=True, competing=False, at=self.clock.now(), skew_s=0.0)

    async def read_fills(self, account_id: AccountId, *, days: int = 1) -> FillsRead:
        self._work_off()
        self.calls.append("trades")
        if self.read_faults and self.read_faults.popleft():
            raise OutcomeUnknown("no answer within 15 s")
        first, self.fills_read = not self.fills_read, True
        mark = await self.mark()
        hidden = {held.order_id for held in self.accepted if held.visible_at > self.clock.now()}
        shown = tuple(fill for fill in self.executions if fill.order_id not in hidden)
        return FillsRead(() if first else shown, first=first, mark=mark)

    async def order(self, order_id: OrderId) -> Order | None:
        self._work_off()
        held = self._held(order_id)
        return None if held is None else self._row(held)

    # -- inside --------------------------------------------------------------------------------------------------

    async def _permitted(self, permit: SendPermit | None) -> None:
        """What stands between the journal and the wire: `waits` are the seconds that each call has to queue."""
        self.clock.advance(self.waits.popleft() if self.waits else 0.0)
        if permit is None:
            return
        if self.clock.monotonic() <= permit.send_by:
            try:
                await permit.check()
            except IbkitError as error:
                error.details["unsent"] = True
                raise
        if self.clock.monotonic() > permit.send_by:
            raise Unreachable("it would have left too late", code="E-TIMEOUT", details={"late": True})

    def _bytes(self, name: str, what: Ref | str) -> None:
        if self.on_bytes is not None:
            self.on_bytes(name, what)

    def _work_off(self) -> None:
        due = [item for item in self.later if item[0] <= self.clock.now()]
        self.later = [item for item in self.later if item not in due]
        for _, act in due:
            act()

    def _held(self, order_id: OrderId) -> Held | None:
        return next((held for held in self.accepted if held.order_id == order_id), None)

    def _settle_late(self, sent: Group, plan: Plan) -> None:
        self._settle(sent, dataclasses.replace(plan, fault="ok"))

    def _settle(self, sent: Group, plan: Plan, *, confirming: bool = False) -> Answer:
        ref = sent.ref
        if self.dedupe and not confirming and ref in self.known_refs:
            return AlreadyRegistered(ref)
        self.known_refs.add(ref)
        if plan.asks:
            self.serial += 1
            question_id = QuestionId(f"q-{self.serial}")
            self.questions[question_id] = ref
            self.parked[ref] = (sent, dataclasses.replace(plan, asks=plan.asks[1:]))
            return Asked(Question(question_id, plan.asks[0], tuple(f"text of {asked}" for asked in plan.asks[0])))
        return self._accept_group(sent, plan)

    def _accept_group(self, sent: Group, plan: Plan) -> Accepted:
        """One answer to the whole request, the others in no order. docs/facts/orders.md §1.7."""
        first = self._accept(sent.ticket, sent.ref, plan)
        if sent.kind is not None:
            first.group = first.order_id if sent.kind is GroupKind.BRACKET else f"oco-{first.order_id}"
        rows = []
        for number, ticket in enumerate(sent.others, start=1):
            sibling = sent.kind is GroupKind.OCA
            ref = leg_ref(sent.ref, number) if sibling else None
            if number in plan.refuse_legs:
                rows.append(AcceptedRow(None, OrderStatus.UNKNOWN, ref, text="Order couldn't be submitted"))
                continue
            parent = None if sibling else first.order_id
            held = self._accept(ticket, ref, plan, parent=parent, group=first.group)
            rows.append(AcceptedRow(held.order_id, held.status, ref, parent))
        self._wake_and_end_others(first)
        return Accepted(first.order_id, first.status, sent.ref, others=tuple(reversed(rows)))

    def _wake_and_end_others(self, held: Held) -> None:
        """A parent's fill wakes its children; a fill of one of several ends the others."""
        for other in self.accepted:
            if other is held or not held.filled or other.status.terminal:
                continue
            if other.parent == held.order_id and other.status is OrderStatus.PENDING_SUBMIT:
                other.status = self._working_status(other.ticket)
            elif held.group and other.group == held.group and other.parent == held.parent and held.status.terminal:
                other.status = OrderStatus.CANCELLED

    def _working_status(self, ticket: OrderTicket) -> OrderStatus:
        return self.stop_status if ticket.order_type.waits else OrderStatus.SUBMITTED

    def _accept(
        self, ticket: OrderTicket, ref: Ref | None, plan: Plan, *, parent: OrderId | None = None, group: str = ""
    ) -> Held:
        self.serial += 1
        status = OrderStatus.PENDING_SUBMIT if parent is not None else self._working_status(ticket)
        if plan.fault == "inactive":
            status = OrderStatus.INACTIVE
        visible = self.clock.now() + timedelta(seconds=plan.delay_s)
        held = Held(OrderId(str(1_000 + self.serial)), ticket, ref, status, visible, self.session)
        held.parent, held.group = parent or ticket.parent_id, group
        if plan.fault == "inactive":
            held.reason = "margin"
        self.accepted.append(held)
        if self.fills and ticket.order_type is OrderType.MARKET and status is OrderStatus.SUBMITTED:
            derivative = ticket.contract.sec_type in (SecType.OPTION, SecType.COMBO)
            price = self.fill_price or (Decimal("0.62") if derivative else Decimal(630))
            self.fill(held.order_id, self.fill_part or ticket.quantity, price)
        return held

    def _row(self, held: Held) -> Order:
        ticket = held.ticket
        return Order(
            order_id=held.order_id,
            account_id=ticket.account_id,
            conid=ticket.contract.conid,
            side=ticket.side,
            order_type=ticket.order_type.value,
            status=held.status,
            raw_status=held.status.value,
            total=ticket.quantity,
            filled=held.filled,
            remaining=ticket.quantity - held.filled,
            average_price=held.average,
            limit_price=ticket.limit_price,
            stop_price=ticket.stop_price,
            tif="GTC" if ticket.tif is TimeInForce.GTC else "CLOSE",
            ref=held.ref,
            parent_id=held.parent,
            group=held.group,
            conidex=ticket.contract.conidex if ticket.contract.legs else "",
            reason=held.reason,
        )

    def _parked_row(self, ref: Ref, ticket: OrderTicket) -> Order:
        held = Held(OrderId(f"9{sum(ref.encode())}"), ticket, ref, OrderStatus.INACTIVE, self.clock.now(), self.session)
        return dataclasses.replace(self._row(held), parked=True)


def quote(conid: Conid, bid: str | None, ask: str | None, availability: Availability = Availability.REAL_TIME) -> Quote:
    return Quote(
        conid=conid,
        bid=None if bid is None else Decimal(bid),
        ask=None if ask is None else Decimal(ask),
        last=None if bid is None else Decimal(bid),
        bid_size=Decimal(40),
        ask_size=Decimal(25),
        availability=availability,
    )


class MemoryAlerts:
    """Fits `trading.ports.Alerts`."""

    def __init__(self) -> None:
        self.all: list[Alert] = []

    async def put(self, alert: Alert) -> Alert:
        for index, there in enumerate(self.all):
            if (there.kind, there.subject) == (alert.kind, alert.subject) and there.closed_at is None:
                self.all[index] = dataclasses.replace(
                    there, message=alert.message, severity=alert.severity, details=alert.details
                )
                return self.all[index]
        stored = dataclasses.replace(alert, alert_id=f"a-{len(self.all) + 1}")
        self.all.append(stored)
        return stored

    async def open(self, *, kind: AlertKind | None = None) -> tuple[Alert, ...]:
        return tuple(a for a in self.all if a.closed_at is None and (kind is None or a.kind is kind))

    async def close(self, kind: AlertKind, subject: str, *, at: datetime, note: str) -> None:
        self.all = [
            dataclasses.replace(a, closed_at=at, closed_note=note)
            if (a.kind, a.subject, a.closed_at) == (kind, subject, None)
            else a
            for a in self.all
        ]


class MemoryJournal:
    """Fits `trading.ports.Journal`; `fail` makes every write a StorageError.

    generation, serials: what decisions to send must rest on (limits and kill switches; sends of each account).
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.intents: dict[IntentId, Intent] = {}
        self.log: dict[IntentId, list[Event]] = {}
        self.alerts = MemoryAlerts()
        self.fail: Callable[[tuple[Event, ...]], bool] = lambda events: False
        self.restored = False
        self.generation = 0
        self.serials: dict[AccountId, int] = {}
        self.epochs: dict[Username, int] = {}
        self.tombstones: dict[tuple[str, Environment, Key], datetime] = {}
        self.risk = MemoryRiskBook(self)
        self._busy: set[Username] = set()

    async def plan(self, planned: Planned) -> tuple[Intent, bool]:
        there = await self.by_key(tenant=planned.tenant, environment=planned.environment, key=planned.key)
        if there is not None:
            return there, False
        if self.fail((planned,)):
            raise StorageError("Database problem: the disk is full")
        intent = fold(None, planned)
        self.intents[intent.intent_id], self.log[intent.intent_id] = intent, [planned]
        return intent, True

    async def append(
        self, intent: Intent, *events: Event, alert: Alert | None = None, legs: tuple[Leg, ...] = ()
    ) -> Intent:
        after = intent
        for event in events:
            after = fold(after, event)
        self._check(after, events)
        if self.intents[intent.intent_id].version != intent.version:
            raise InFlight("moved by another")
        if self.fail(events):
            raise StorageError("Database problem: the disk is full")
        self.intents[intent.intent_id] = after
        self.log[intent.intent_id] += events
        account = intent.planned.account_id
        if intent.operation in (Operation.PLACE, Operation.MODIFY):
            self.serials[account] = self.serials.get(account, 0) + sum(isinstance(e, Sending) for e in events)
        for leg in legs:
            if leg.planned.intent_id not in self.intents and _spent(leg.planned) not in self.tombstones:
                self.intents[leg.planned.intent_id] = fold_all((leg.planned, leg.attached))
                self.log[leg.planned.intent_id] = [leg.planned, leg.attached]
        if alert is not None:
            await self.alerts.put(alert)
        return after

    def _check(self, after: Intent, events: tuple[Event, ...]) -> None:
        sends = any(isinstance(event, Claimed | TakenOver | Sending | Replying) for event in events)
        if sends and after.epoch != self.epochs.get(lane_of(after.planned), 0):
            raise Fenced("another has taken over the lane")
        account = after.planned.account_id
        present = self.generation, self.serials.get(account, 0)
        decided = [e for e in events if isinstance(e, Decided) and e.passed and e.stage is not Stage.INTAKE]
        if any((event.generation, event.serial) != present for event in decided):
            raise ControlsMoved("limits, kill switches or sends changed since it was judged")

    async def get(self, intent_id: IntentId) -> Intent | None:
        return self.intents.get(intent_id)

    async def by_key(self, *, tenant: str, environment: Environment, key: Key) -> Intent | None:
        wanted = (tenant, environment, key)
        if wanted in self.tombstones:
            raise KeyReused("its record is purged")
        return next((i for i in self.intents.values() if _spent(i.planned) == wanted), None)

    async def events(self, intent_id: IntentId) -> tuple[Event, ...]:
        return tuple(self.log.get(intent_id, ()))

    async def unfinished(self, username: Username) -> tuple[Intent, ...]:
        return tuple(i for i in self._sorted() if not i.final and i.planned.username == username)

    async def reducing(self, parent: IntentId) -> tuple[Intent, ...]:
        return tuple(i for i in self._sorted() if i.planned.reduces == parent)

    async def denied(self, username: Username, *, since: datetime) -> tuple[Intent, ...]:
        return tuple(
            i
            for i in self._sorted()
            if i.state.denies and not i.resolved and i.planned.username == username and i.updated_at >= since
        )

    async def recent(self, *, limit: int = 50) -> tuple[Intent, ...]:
        return tuple(reversed(self._sorted()))[:limit]

    async def purge(self, now: datetime) -> int:
        gone = [wanted for wanted, purged_at in self.tombstones.items() if now - purged_at >= timedelta(days=400)]
        self.tombstones = {key: at for key, at in self.tombstones.items() if key not in gone}
        due = [i for i in self._sorted() if self._may_go(i, now)]
        for intent in due:
            self.tombstones[_spent(intent.planned)] = now
            del self.intents[intent.intent_id], self.log[intent.intent_id]
        return len(gone) + len(due)

    def _may_go(self, intent: Intent, now: datetime) -> bool:
        """Not what may still move, nor a part of a family of which another part may not go."""
        return self._is_due(intent, now) and all(self._is_due(kin, now) for kin in self._family(intent))

    def _family(self, intent: Intent) -> list[Intent]:
        of = {intent.intent_id, intent.planned.reduces, intent.planned.leg_of} - {None}
        return [i for i in self._sorted() if of & {i.intent_id, i.planned.reduces, i.planned.leg_of}]

    def _is_due(self, intent: Intent, now: datetime) -> bool:
        open_ = intent.state is IntentState.UNKNOWN_NEEDS_HUMAN and not intent.resolved
        return intent.final and not open_ and now - intent.updated_at >= timedelta(days=30)

    async def clear_restored(self) -> None:
        self.restored = False

    async def legs(self, parent: IntentId) -> tuple[Intent, ...]:
        sent = self.intents.get(parent)
        places = {ack.order_id: ack.number for ack in sent.legs if ack.number} if sent is not None else {}
        found = [i for i in self._sorted() if i.planned.leg_of == parent]
        return tuple(sorted(found, key=lambda leg: places.get(leg.order_id, len(found) + 1)))

    async def controls(self, account_id: AccountId) -> tuple[int, int]:
        return self.generation, self.serials.get(account_id, 0)

    async def still_held(self, intent: Intent) -> None:
        if intent.epoch != self.epochs.get(lane_of(intent.planned), 0):
            raise Fenced(f"Order {intent.intent_id}: another process has taken over")

    async def open_orders(self, account_id: AccountId) -> tuple[Intent, ...]:
        return tuple(i for i in self._sorted() if i.planned.account_id == account_id and not i.final and i.order_id)

    async def by_order(self, account_id: AccountId, order_id: OrderId) -> Intent | None:
        kinds = (Operation.PLACE, Operation.EXTERNAL)
        found = (
            i
            for i in self._sorted()
            if i.planned.account_id == account_id and i.order_id == order_id and i.operation in kinds
        )
        return next(found, None)

    async def usernames(self, account_ids: Collection[AccountId]) -> tuple[Username, ...]:
        names = (
            i.planned.username
            for i in self._sorted()
            if i.planned.account_id in account_ids and (not i.final or (i.state.denies and not i.resolved))
        )
        return tuple(sorted(set(names)))

    @asynccontextmanager
    async def conversation(self, username: Username, *, wait_s: float) -> AsyncIterator[Lane]:
        deadline = self._clock.monotonic() + wait_s
        while username in self._busy:
            if self._clock.monotonic() >= deadline:
                raise InFlight(f"the order conversation of {username} is busy")
            await self._clock.sleep(0.05)
        self._busy.add(username)
        self.epochs[username] = self.epochs.get(username, 0) + 1
        try:
            yield Lane(username, self.epochs[username])
        finally:
            self._busy.discard(username)

    def _sorted(self) -> list[Intent]:
        return sorted(self.intents.values(), key=lambda intent: intent.planned.at)


def _spent(planned: Planned) -> tuple[str, Environment, Key]:
    return planned.tenant, planned.environment, planned.key


class MemoryTrades:
    """Fits `trading.ports.Trades`; `fail` makes every write a StorageError."""

    def __init__(self) -> None:
        self.rows: dict[str, Trade] = {}
        self.fail = False

    async def check(self) -> None:
        if self.fail:
            raise StorageError("Database problem: unreachable")

    async def put(self, trade: Trade) -> None:
        await self.check()
        self.rows[trade.trade_id] = trade

    async def get(self, trade_id: str) -> Trade | None:
        await self.check()
        return self.rows.get(trade_id)

    async def trades(
        self,
        *,
        account_id: AccountId | None = None,
        symbol: str | None = None,
        status: TradeStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Trade, ...]:
        found = [
            trade
            for trade in self.rows.values()
            if (account_id is None or trade.account_id == account_id)
            and (symbol is None or trade.symbol == symbol)
            and (status is None or trade.status is status)
            and (since is None or trade.created_at >= since)
            and (until is None or trade.created_at < until)
        ]
        return tuple(sorted(found, key=lambda trade: trade.created_at, reverse=True))


class MemoryRiskBook:
    """Fits `trading.risk.RiskBook`; what left and what is open it reads from the journal's events."""

    def __init__(self, journal: MemoryJournal, *, base: Callable[[Environment], Limits] = default_limits) -> None:
        self._journal = journal
        self.base = base
        self.changes: list[LimitChange] = []
        self.halted: list[Halt] = []

    async def state(self, scope: Scope, at: datetime, *, read_at: datetime | None = None) -> RiskState:
        limits, sources = layered(self.base(scope.environment), self.changes, scope)
        standing = (h for h in self.halted if h.environment is scope.environment and h.released_at is None)
        return RiskState(
            limits=limits,
            halts=tuple(halt for halt in standing if halt.until is None or at < halt.until),
            usage=self._usage(scope.account_id, at, read_at or at),
            generation=self._journal.generation,
            serial=self._journal.serials.get(scope.account_id, 0),
            sources=sources,
        )

    async def limits(self, scope: Scope) -> Limits:
        return layered(self.base(scope.environment), self.changes, scope)[0]

    async def generation(self) -> int:
        return self._journal.generation

    async def change(self, change: LimitChange) -> LimitChange:
        wanted = prepared(change, self.changes, self.base(change.environment))
        self.changes.append(dataclasses.replace(wanted, number=len(self.changes) + 1))
        self._journal.generation += 1
        return self.changes[-1]

    async def confirm(self, number: int, *, by: str, at: datetime) -> LimitChange:
        confirmed = confirmable(self.changes, number, by=by, at=at)
        self.changes[number - 1] = confirmed
        self._journal.generation += 1
        return confirmed

    async def halt(self, *halts: Halt) -> tuple[Halt, ...]:
        return tuple([self._put(halt) for halt in halts])

    async def release(self, *numbers: int, by: str, note: str, at: datetime) -> Released:
        for number in numbers:
            if not any(halt.number == number and halt.released_at is None for halt in self.halted):
                raise NotFound(f"There is no halt {number} to release")
            halt = self.halted[number - 1]
            if any(self._is_unknown(i, halt) for i in self._journal.intents.values()):
                raise TradingError(f"Halt {number} stays", code="E-ORD-UNKNOWN")
        for number in numbers:
            self._say(number, by.strip(), at)
        asked = [self.halted[number - 1] for number in numbers]
        return Released(
            ended=tuple(halt for halt in asked if halt.released_at is not None),
            waiting=tuple(halt for halt in asked if halt.released_at is None),
        )

    async def history(self, *, limit: int = 100) -> tuple[LimitChange | Halt, ...]:
        return tuple(sorted([*self.changes, *self.halted], key=lambda entry: entry.at, reverse=True)[:limit])

    async def halts(self) -> tuple[Halt, ...]:
        return tuple(halt for halt in reversed(self.halted) if halt.released_at is None)

    def _put(self, halt: Halt) -> Halt:
        for other in self.halted:
            over = other.released_at is not None or (other.until is not None and halt.at >= other.until)
            if same_halt(halt, other) and not over:
                return other
        self.halted.append(dataclasses.replace(halt, number=len(self.halted) + 1))
        self._journal.generation += 1
        return self.halted[-1]

    def _say(self, number: int, by: str, at: datetime) -> None:
        halt = self.halted[number - 1]
        said = [name for name in halt.released_by.split("\n") if name]
        if not any(same_person(name, by) for name in said):
            ends = len(said) + 1 >= people_needed(halt.environment)
            self.halted[number - 1] = dataclasses.replace(
                halt, released_by="\n".join([*said, by]), released_at=at if ends else None
            )
            self._journal.generation += 1

    @staticmethod
    def _is_unknown(intent: Intent, halt: Halt) -> bool:
        return (
            intent.state is IntentState.UNKNOWN_NEEDS_HUMAN
            and not intent.resolved
            and intent.planned.environment is halt.environment
            and halt.account_id in ("", intent.planned.account_id)
        )

    def _sent(self, account_id: AccountId) -> list[Sent]:
        found = []
        for intent in self._journal.intents.values():
            ticket, value = intent.planned.ticket, None
            if ticket is None or intent.planned.account_id != account_id or intent.operation is Operation.CANCEL:
                continue
            for event in self._journal.log[intent.intent_id]:
                value = event.value if isinstance(event, Decided) else value
                if isinstance(event, Sending):
                    found.append(
                        Sent(
                            intent_id=intent.intent_id,
                            at=event.at,
                            operation=intent.operation,
                            contract=ticket.contract.conidex,
                            side=ticket.side,
                            quantity=ticket.quantity,
                            price=ticket.limit_price if ticket.limit_price is not None else ticket.stop_price,
                            value_usd=value,
                        )
                    )
        return found

    def _usage(self, account_id: AccountId, at: datetime, read_at: datetime) -> Usage:
        sent = self._sent(account_id)
        today = [each for each in sent if each.at >= day_start(at)]
        values = [each.value_usd for each in today]
        mine = [i for i in self._journal.intents.values() if i.planned.account_id == account_id]
        refused = (IntentState.REJECTED_BROKER, IntentState.REJECTED_LATE)
        unknown = [i for i in mine if i.state is IntentState.UNKNOWN_NEEDS_HUMAN and not i.resolved]
        tickets = [t for i in unknown if i.planned.ticket for t in (i.planned.ticket, *i.planned.others)]
        return Usage(
            sent=tuple(each for each in sent if each.at > at - timedelta(seconds=60)),
            sent_today=len(today),
            value_today=None if None in values else sum((value for value in values if value is not None), Decimal(0)),
            rejects=tuple(i.updated_at for i in mine if i.state in refused and i.updated_at > at - REJECTS_FOR),
            unknown=frozenset(t.contract.conidex for t in tickets)
            | {leg.contract.conidex for t in tickets for leg in t.contract.legs},
            open=tuple(order for i in mine if self._counts(i, read_at) for order in self._orders(i, sent)),
        )

    @staticmethod
    def _counts(intent: Intent, read_at: datetime) -> bool:
        if intent.operation not in (Operation.PLACE, Operation.MODIFY):
            return False
        if intent.state is IntentState.UNKNOWN_NEEDS_HUMAN:
            return not intent.resolved
        if intent.final:
            ended = (IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED_LATE)
            return intent.operation is Operation.PLACE and intent.state in ended and intent.updated_at >= read_at
        return intent.state not in (IntentState.INTENT, IntentState.CLAIMED)

    def _orders(self, intent: Intent, sent: list[Sent]) -> tuple[OpenOrder, ...]:
        own = [each for each in sent if each.intent_id == (intent.planned.leg_of or intent.intent_id)]
        parent = self._journal.intents.get(intent.planned.leg_of) if intent.planned.leg_of else None
        return open_orders(
            intent.planned,
            intent.state,
            order_id=intent.order_id or "",
            sent=sum((each.quantity for each in own), Decimal(0)),
            value_usd=own[-1].value_usd if own else None,
            parent=None if parent is None else parent.planned,
        )
