"""Cases for the risk controls: a world in which all is well, and what a test changes of it."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, timedelta
from decimal import Decimal

from fakes import ACCOUNT, GRID, SPY, START, option, quote, stock_ticket
from ibkit.model import (
    AccountId,
    ComboLeg,
    Conid,
    Contract,
    Environment,
    GroupKind,
    Order,
    OrderId,
    OrderStatus,
    OrderTicket,
    OrderType,
    Ref,
    Right,
    SecType,
    Side,
)
from ibkit.trading.events import IntentId, Operation, Stage
from ibkit.trading.risk import (
    CONTROLS,
    LIVE_LIMITS,
    PAPER_LIMITS,
    Case,
    Facts,
    Halt,
    HaltMode,
    Holding,
    Limits,
    Market,
    OpenOrder,
    Reading,
    Scope,
    Sent,
    SessionHealth,
    State,
    TradingHours,
    Usage,
)

LIVE_ACCOUNT = AccountId("U1234567")
NOW = START
HOURS = TradingHours(
    regular=((NOW - timedelta(hours=1), NOW + timedelta(hours=5)),),
    extended=((NOW - timedelta(hours=6), NOW + timedelta(hours=9)),),
    until=NOW + timedelta(days=6),
)
HEALTH = SessionHealth(authenticated=True, competing=False, at=NOW, skew_s=0.5)
GOOD = Facts(
    broker_is_paper=True,
    quote=quote(SPY.conid, "99.90", "100.00"),
    quote_at=NOW,
    increments=GRID,
    hours=HOURS,
    position=Decimal(0),
    open_short_options=Decimal(0),
    positions={},
    read_at=NOW,
    others=(),
    net_liquidation=Decimal(1_000_000),
    daily_pnl=Decimal(0),
    pnl_at=NOW,
    health=HEALTH,
)
LIVE_FACTS = dataclasses.replace(GOOD, broker_is_paper=False, live_confirmed=True)
LIVE = dataclasses.replace(
    LIVE_LIMITS,
    live_enabled_until=date(2026, 12, 1),
    allowed_accounts=frozenset({LIVE_ACCOUNT}),
    allowed_symbols=frozenset({"SPY"}),
)
SHORT = Decimal(-3)
_JUDGES = {control.number: control.judge for control in CONTROLS}


def case(
    *tickets: OrderTicket,
    limits: Limits = PAPER_LIMITS,
    facts: Facts | None = None,
    usage: Usage | None = None,
    halts: tuple[Halt, ...] = (),
    stage: Stage = Stage.SEND,
    now: datetime = NOW,
    operation: Operation = Operation.PLACE,
    account: AccountId | None = None,
    **more: object,
) -> Case:
    """Of `tickets` (one of ten shares, if none are given) in the good world. more: fields of the case, or of Facts."""
    live = limits.environment is Environment.LIVE
    account = account or (LIVE_ACCOUNT if live else ACCOUNT)
    facts = facts or (LIVE_FACTS if live else GOOD)
    of_facts = {name: more.pop(name) for name in list(more) if name in Facts.__dataclass_fields__}
    if operation is not Operation.CANCEL:
        tickets = tuple(dataclasses.replace(t, account_id=account) for t in tickets or (stock_ticket("10"),))
    return Case(
        operation=operation,
        scope=Scope(environment=limits.environment, account_id=account, symbol="SPY"),
        tickets=tickets,
        facts=dataclasses.replace(facts, **of_facts),
        limits=limits,
        usage=usage or Usage(),
        halts=halts,
        stage=stage,
        now=now,
        made_at=more.pop("made_at", START),
        expires_at=more.pop("expires_at", START + timedelta(seconds=limits.max_age_s)),
        **{"intent_id": "ib-this", **more},
    )


def read(control: str, given: Case) -> Reading:
    """What one control says, whatever the others do."""
    return _JUDGES[control](given)


def state_of(control: str, given: Case) -> State:
    return read(control, given).state


def limit_order(price: str, quantity: str = "1", **changes: object) -> OrderTicket:
    return stock_ticket(quantity, order_type=OrderType.LIMIT, limit_price=Decimal(price), **changes)


def stop_order(price: str, quantity: str = "1", **changes: object) -> OrderTicket:
    return stock_ticket(quantity, order_type=OrderType.STOP, stop_price=Decimal(price), **changes)


def sale(quantity: str = "3", **changes: object) -> OrderTicket:
    return stock_ticket(quantity, **{"contract": option(), "side": Side.SELL, **changes})


def spread(*legs: tuple[str, int, Right], expiries: tuple[date, ...] = ()) -> Contract:
    """A combination of SPY options: (strike, ratio, right) each."""
    days = expiries or (date(2026, 11, 20),) * len(legs)
    return Contract(
        conid=Conid(28812380),
        symbol="SPY",
        sec_type=SecType.COMBO,
        multiplier=Decimal(100),
        legs=tuple(
            ComboLeg(dataclasses.replace(option(strike, right, day), conid=_conid(strike, right, day)), ratio)
            for (strike, ratio, right), day in zip(legs, days, strict=True)
        ),
    )


def _conid(strike: str, right: Right, day: date) -> Conid:
    return Conid(int(f"{day:%y%m%d}{int(Decimal(strike) * 10):05d}{1 if right is Right.CALL else 0}"))


def spread_order(contract: Contract, price: str | None, quantity: str = "1", side: Side = Side.BUY) -> OrderTicket:
    return stock_ticket(
        quantity,
        contract=contract,
        side=side,
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        limit_price=None if price is None else Decimal(price),
    )


def markets(contract: Contract, *quotes: tuple[str, str], spot: str | None = "630", at: datetime = NOW) -> dict:
    """Quotes of the legs, in their order."""
    return {
        leg.contract.conid: Market(
            quote=quote(leg.contract.conid, bid, ask),
            quote_at=at,
            increments=GRID,
            underlying_price=None if spot is None else Decimal(spot),
            hours=HOURS,
        )
        for leg, (bid, ask) in zip(contract.legs, quotes, strict=True)
    }


def holding(quantity: str, value: str | None = "0", contract: Contract = SPY) -> dict:
    worth = None if value is None else Decimal(value)
    return {contract.conid: Holding(quantity=Decimal(quantity), value_usd=worth)}


def foreign(
    side: Side = Side.BUY, remaining: str = "10", contract: Contract = SPY, order_id: str = "7", ref: str | None = None
) -> Order:
    quantity = Decimal(remaining)
    return Order(
        order_id=OrderId(order_id),
        account_id=ACCOUNT,
        conid=contract.conid,
        side=side,
        order_type="LMT",
        status=OrderStatus.SUBMITTED,
        raw_status="Submitted",
        total=quantity,
        filled=Decimal(0),
        remaining=quantity,
        ref=None if ref is None else Ref(ref),
        conidex=contract.conidex if contract.legs else "",
    )


def ours(ticket: OrderTicket, name: str = "ib-open", *, value: str | None = "0", **more: object) -> OpenOrder:
    return OpenOrder(
        intent_id=IntentId(name),
        ticket=ticket,
        **{"sent": ticket.quantity, "value_usd": None if value is None else Decimal(value), **more},
    )


def left(
    ticket: OrderTicket | None = None,
    *,
    ago_s: float = 0.5,
    name: str = "ib-sent",
    value: str | None = "1000",
    operation: Operation = Operation.PLACE,
) -> Sent:
    ticket = ticket or stock_ticket("10")
    return Sent(
        intent_id=IntentId(name),
        at=NOW - timedelta(seconds=ago_s),
        operation=operation,
        contract=ticket.contract.conidex,
        side=ticket.side,
        quantity=ticket.quantity,
        price=ticket.limit_price if ticket.limit_price is not None else ticket.stop_price,
        value_usd=None if value is None else Decimal(value),
    )


def halt(mode: HaltMode = HaltMode.BLOCK_NEW, **changes: object) -> Halt:
    return Halt(**{"environment": Environment.PAPER, "mode": mode, "by": "ada", "note": "", "at": NOW, **changes})


def bracket(parent: OrderTicket, *children: OrderTicket, **more: object) -> Case:
    return case(parent, *children, group=GroupKind.BRACKET, **more)


def oca(*tickets: OrderTicket, **more: object) -> Case:
    return case(*tickets, group=GroupKind.OCA, **more)
