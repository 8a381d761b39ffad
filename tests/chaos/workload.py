"""What callers want in a schedule: orders of several kinds, alone and in groups, changes and cancels of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Environment,
    GroupKind,
    Key,
    OrderTicket,
    OrderType,
    Right,
    SecType,
    Side,
    TimeInForce,
    Trail,
    TrailKind,
    combo_of,
)
from ibkit.sim.serving.inprocess import Simulator
from ibkit.trading.outcome import Outcome
from ibkit.trading.ref import child_key, derive_ref

from .broker import Broker
from .checker import Asked
from .fates import Fates
from .group_checker import CLOSES
from .process import ACCOUNT
from .troubles import OTHER_ACCOUNT

__all__ = ["GROUPED", "KINDS", "SPY", "Wish", "Workload"]

MOST_ORDERS = 5
KINDS = ("market", "near", "far", "far", "stop", "option")
GROUPED = ("bracket", "bracket", "market bracket", "oca", "oca", "combo", "trail", "near", "far")
"""Kinds of a schedule of groups, with what trades around them."""
SPY = Contract(
    conid=Conid(756733), symbol="SPY", sec_type=SecType.STOCK, exchange="ARCA", currency="USD", multiplier=Decimal(1)
)
AAPL = dataclasses.replace(SPY, conid=Conid(265598), symbol="AAPL", exchange="NASDAQ")
_CENT = Decimal("0.01")


@dataclass(slots=True)
class Wish:
    """One intent of the workload, and the caller that wants it."""

    key: Key
    operation: str
    ticket: OrderTicket | None
    target: str = ""
    others: tuple[OrderTicket, ...] = ()
    group: GroupKind | None = None
    account: AccountId = ACCOUNT
    followed: bool = False
    asked: int = 0
    done: bool = False
    """Of a wish without an intent of its own (cancel everything): it was carried out, or given up with an alert."""

    @property
    def terms(self) -> Asked:
        """What the judge compares with the broker's ledger."""
        terms: dict[str, Any] = {"target": self.target}
        if self.ticket is not None:
            terms |= _plain(self.ticket)
        group = "" if self.group is None else self.group.value
        return Asked(self.key, self.operation, terms, tuple(_plain(other) for other in self.others), group)


class Workload:
    """The wishes of one schedule. The quantity is the tracer: no two orders of a schedule share one."""

    def __init__(
        self,
        seed: int,
        fates: Fates,
        simulator: Simulator,
        broker: Broker,
        note: Callable[[str], None],
        *,
        kinds: tuple[str, ...] = KINDS,
        followed: float = 0.65,
        cancels_all: float = 0.0,
        environment: Environment = Environment.PAPER,
    ) -> None:
        """kinds: of order, one drawn for each wish. followed: share of working orders that are changed or cancelled.

        cancels_all: chance that somebody cancels everything, too.
        """
        self._kinds = kinds
        self._environment = environment
        self._followed = followed
        self._seed = seed
        self._fates = fates
        self._simulator = simulator
        self._broker = broker
        self._note = note
        self.wishes: list[Wish] = []
        for number in range(1, fates.dice("work").randint(1, MOST_ORDERS) + 1):
            dice = fates.given(f"wish {number}")
            if dice is not None:
                self._draw(dice, number)
        if cancels_all and fates.roll("cancel all", cancels_all) is not None:
            self.wishes.append(Wish(Key(f"chaos-everything-{seed:08d}"), "cancel all", None))

    def spread(self, dice: random.Random) -> None:
        """Some of the orders are of the login's other account, whose figures IBKR tells once it is selected."""
        for wish in self.wishes:
            if wish.ticket is None or dice.random() < 0.5:
                continue
            wish.account = AccountId(OTHER_ACCOUNT)
            wish.ticket = dataclasses.replace(wish.ticket, account_id=wish.account)
            wish.others = tuple(dataclasses.replace(other, account_id=wish.account) for other in wish.others)
            self._note(f"wish {wish.key}: of {wish.account}")

    def follow(self, outcome: Outcome, wish: Wish) -> None:
        """Sometimes an order that works is changed or cancelled, by an intent of its own."""
        if wish.operation != "place" or wish.followed or outcome.state.value != "acked" or outcome.order_id is None:
            return
        assert wish.ticket is not None
        wish.followed = True
        number, price = int(wish.ticket.quantity), wish.ticket.limit_price
        dice = self._fates.dice(f"after wish {number}")
        draw = dice.random()
        if wish.group is not None:
            if draw < self._followed * 0.3:
                self._wish("cancel", None, number, str(outcome.order_id), account=wish.account)
            return
        if draw < self._followed * 0.45:
            self._wish("cancel", None, number, str(outcome.order_id), account=wish.account)
        elif draw < self._followed and price is not None and not wish.ticket.contract.legs:
            option = wish.ticket.contract.sec_type is SecType.OPTION
            quantity = Decimal(5 + number) if option else Decimal(50 + number)
            step = _CENT * 5 if option else Decimal(1)
            changed = dataclasses.replace(wish.ticket, quantity=quantity, limit_price=price - step)
            self._wish("modify", changed, number, str(outcome.order_id), account=wish.account)

    def _draw(self, dice: random.Random, number: int) -> None:
        kind = dice.choice(self._kinds)
        if kind == "bracket" or kind == "market bracket":
            parent, *others = self._bracket(dice, Decimal(number), market=kind == "market bracket")
            self._wish("place", parent, number, others=tuple(others), group=GroupKind.BRACKET)
        elif kind == "oca":
            first, *others = self._oca(dice, Decimal(number))
            self._wish("place", first, number, others=tuple(others), group=GroupKind.OCA)
        else:
            self._wish("place", self._ticket(kind, dice, Decimal(number)), number)

    def _wish(
        self,
        operation: str,
        ticket: OrderTicket | None,
        number: int,
        target: str = "",
        *,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        account: AccountId = ACCOUNT,
    ) -> None:
        key = Key(f"chaos-{operation}-{number}-{self._seed:08d}")
        wish = Wish(key, operation, ticket, target, others, group, account)
        self.wishes.append(wish)
        name = target if operation == "cancel" else f"{float(ticket.quantity):g}" if ticket else ""
        self._broker.keys[(operation, name)] = wish.key
        if group is GroupKind.BRACKET:
            # What closes a broken bracket has any quantity up to the bracket's: only its ref tells whose it is.
            for step in CLOSES:
                closing = child_key(wish.key, step)
                ref = derive_ref(tenant="local", environment=self._environment, key=closing)
                self._broker.refs[ref] = closing
        self._note(f"wish {wish.key}: {ticket.label if ticket else 'cancel'} {target}{_told(wish)}")

    # --- tickets -----------------------------------------------------------------------------------------------

    def _ticket(self, kind: str, dice: random.Random, quantity: Decimal) -> OrderTicket:
        if kind == "option":
            return self._option_ticket(dice, quantity)
        if kind == "combo":
            return self._vertical(dice, quantity)
        contract = dice.choice([SPY, SPY, AAPL])
        side = dice.choice([Side.BUY, Side.SELL])
        price = self._price(contract.conid).quantize(Decimal(1))
        more: dict[str, Any] = {"order_type": OrderType.MARKET}
        away = Decimal(1) if side is Side.SELL else Decimal(-1)
        if kind == "near":
            more = {"order_type": OrderType.LIMIT, "limit_price": price - away * 2}
        elif kind == "far":
            more = {"order_type": OrderType.LIMIT, "limit_price": price + away * (10 if contract is SPY else 5)}
        elif kind == "stop":
            more = {"order_type": OrderType.STOP, "stop_price": price - away * 15}
        elif kind == "trail":
            trail = dice.choice([Trail(Decimal(4)), Trail(Decimal(2), TrailKind.PERCENT)])
            more = {"order_type": OrderType.TRAIL, "stop_price": price - away * 5, "trail": trail}
        tif = TimeInForce.GTC if kind != "market" and dice.random() < 0.3 else TimeInForce.DAY
        return OrderTicket(account_id=ACCOUNT, contract=contract, side=side, quantity=quantity, tif=tif, **more)

    def _bracket(self, dice: random.Random, quantity: Decimal, *, market: bool) -> tuple[OrderTicket, ...]:
        """A parent with its stop, mostly also with an order that takes the profit; half of the stops trail."""
        contract = dice.choice([SPY, AAPL])
        side = dice.choice([Side.BUY, Side.SELL])
        price = self._price(contract.conid).quantize(Decimal(1))
        better = Decimal(1) if side is Side.BUY else Decimal(-1)
        entry = price + better * dice.choice([Decimal(2), Decimal(2), Decimal(-6)])
        more: dict[str, Any] = {"order_type": OrderType.MARKET}
        if not market:
            more = {"order_type": OrderType.LIMIT, "limit_price": entry}
        parent = OrderTicket(account_id=ACCOUNT, contract=contract, side=side, quantity=quantity, **more)
        exit_ = dataclasses.replace(parent, side=side.opposite, order_type=OrderType.MARKET, limit_price=None)
        stop = dataclasses.replace(exit_, order_type=OrderType.STOP, stop_price=price - better * 12)
        if dice.random() < 0.3:
            stop = dataclasses.replace(stop, order_type=OrderType.TRAIL, trail=Trail(Decimal(5)))
        profit = dataclasses.replace(exit_, order_type=OrderType.LIMIT, limit_price=price + better * 12)
        return (parent, profit, stop) if dice.random() < 0.75 else (parent, stop)

    def _oca(self, dice: random.Random, quantity: Decimal) -> tuple[OrderTicket, ...]:
        """Two or three orders of one side at prices of their own, of which at most one trades soon."""
        contract = dice.choice([SPY, AAPL])
        side = dice.choice([Side.BUY, Side.SELL])
        price = self._price(contract.conid).quantize(Decimal(1))
        away = Decimal(1) if side is Side.SELL else Decimal(-1)
        steps = [Decimal(8), Decimal(9), Decimal(7)][: dice.choice([2, 2, 3])]
        if dice.random() < 0.5:
            steps[dice.randrange(len(steps))] = Decimal(-2)
        return tuple(
            OrderTicket(
                account_id=ACCOUNT,
                contract=contract,
                side=side,
                quantity=quantity,
                order_type=OrderType.LIMIT,
                limit_price=price + away * step,
            )
            for step in steps
        )

    def _vertical(self, dice: random.Random, quantity: Decimal) -> OrderTicket:
        """A spread of two puts, sold or bought as one order near its net price."""
        upper = self._option(Right.PUT)
        lower = self._option(Right.PUT, below=upper)
        side = dice.choice([Side.SELL, Side.BUY])
        price = self._price(upper.conid) - self._price(lower.conid)
        at = max(_CENT * 5, (price * dice.choice([Decimal("0.9"), Decimal("1.1")])).quantize(_CENT * 5))
        return OrderTicket(
            account_id=ACCOUNT,
            contract=combo_of([(upper, 1), (lower, -1)]),
            side=side,
            quantity=quantity,
            order_type=OrderType.LIMIT,
            limit_price=(at / (_CENT * 5)).quantize(Decimal(1)) * _CENT * 5,
        )

    def _option_ticket(self, dice: random.Random, quantity: Decimal) -> OrderTicket:
        """A put that is sold, or a call that is bought, a week and more from its expiry."""
        side = dice.choice([Side.SELL, Side.SELL, Side.BUY])
        contract = self._option(Right.PUT if side is Side.SELL else Right.CALL)
        price = self._price(contract.conid)
        at = (price * dice.choice([Decimal("0.97"), Decimal("1.04")])).quantize(Decimal("0.05")) + _CENT * 5
        return OrderTicket(
            account_id=ACCOUNT,
            contract=contract,
            side=side,
            quantity=quantity,
            order_type=OrderType.LIMIT,
            limit_price=at,
        )

    def _option(self, right: Right, below: Contract | None = None) -> Contract:
        """Near the money; below: the next lower strike of the same expiry."""
        world = self._simulator.world
        spot, today = self._price(SPY.conid), world.now.date()
        instruments = world.instruments
        expiry = next(row for row in instruments.expiries("SPY", today) if row.day > today + timedelta(days=7))
        strikes = instruments.strikes("SPY", expiry.day)
        strike = min(strikes, key=lambda strike: abs(strike - spot * Decimal("0.98")))
        if below is not None:
            assert below.strike is not None, "an option has a strike"
            strike = max(lower for lower in strikes if lower < below.strike)
        found = instruments.option("SPY", expiry.day, strike, right.value, expiry.trading_class)
        assert found is not None, (expiry, strike)
        return Contract(
            conid=Conid(found.conid),
            symbol="SPY",
            sec_type=SecType.OPTION,
            currency="USD",
            multiplier=Decimal(100),
            expiry=found.expiry,
            strike=found.strike,
            right=right,
            trading_class=found.trading_class,
            underlying_conid=SPY.conid,
        )

    def _price(self, conid: int) -> Decimal:
        world = self._simulator.world
        quote = world.market.quote(conid, world.now)
        return quote.last or quote.mark or Decimal(1)


def _told(wish: Wish) -> str:
    if wish.group is None:
        return ""
    return f"with {wish.group.value}: {', '.join(other.label for other in wish.others)}"


def _plain(ticket: OrderTicket) -> Mapping[str, Any]:
    return {
        "account": str(ticket.account_id),
        "conid": None if ticket.contract.legs else int(ticket.contract.conid),
        "conidex": ticket.contract.conidex if ticket.contract.legs else None,
        "side": ticket.side.value,
        "quantity": ticket.quantity,
        "order_type": ticket.order_type.value,
        "limit": ticket.limit_price,
        "stop": ticket.stop_price,
        "tif": ticket.tif.value,
        "trailing": None if ticket.trail is None else ticket.trail.amount,
    }
