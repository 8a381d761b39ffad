"""What callers want in a schedule: orders of several kinds in three contracts, changes and cancels of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ibkit.model import Conid, Contract, Key, OrderTicket, OrderType, Right, SecType, Side, TimeInForce
from ibkit.sim.serving.inprocess import Simulator
from ibkit.trading.outcome import Outcome

from .broker import Broker
from .checker import Asked
from .fates import Fates
from .process import ACCOUNT

__all__ = ["KINDS", "SPY", "Wish", "Workload"]

MOST_ORDERS = 5
KINDS = ("market", "near", "far", "far", "stop", "option")
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
    followed: bool = False
    asked: int = 0

    @property
    def terms(self) -> Asked:
        """What the judge compares with the broker's ledger."""
        terms: dict[str, Any] = {"target": self.target}
        if self.ticket is not None:
            terms |= _plain(self.ticket)
        return Asked(self.key, self.operation, terms)


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
    ) -> None:
        """kinds: of order, one drawn for each wish. followed: share of working orders that are changed or cancelled."""
        self._kinds = kinds
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
                self._wish("place", self._ticket(dice, Decimal(number)), number)

    def follow(self, outcome: Outcome, wish: Wish) -> None:
        """Sometimes an order that works is changed or cancelled, by an intent of its own."""
        if wish.operation != "place" or wish.followed or outcome.state.value != "acked" or outcome.order_id is None:
            return
        assert wish.ticket is not None
        wish.followed = True
        number, price = int(wish.ticket.quantity), wish.ticket.limit_price
        dice = self._fates.dice(f"after wish {number}")
        draw = dice.random()
        if draw < self._followed * 0.45:
            self._wish("cancel", None, number, str(outcome.order_id))
        elif draw < self._followed and price is not None:
            option = wish.ticket.contract.sec_type is SecType.OPTION
            quantity = Decimal(5 + number) if option else Decimal(50 + number)
            step = _CENT * 5 if option else Decimal(1)
            changed = dataclasses.replace(wish.ticket, quantity=quantity, limit_price=price - step)
            self._wish("modify", changed, number, str(outcome.order_id))

    def _wish(self, operation: str, ticket: OrderTicket | None, number: int, target: str = "") -> None:
        wish = Wish(Key(f"chaos-{operation}-{number}-{self._seed:08d}"), operation, ticket, target)
        self.wishes.append(wish)
        name = target if operation == "cancel" else f"{float(ticket.quantity):g}" if ticket else ""
        self._broker.keys[(operation, name)] = wish.key
        self._note(f"wish {wish.key}: {ticket.label if ticket else 'cancel'} {target}")

    def _ticket(self, dice: random.Random, quantity: Decimal) -> OrderTicket:
        kind = dice.choice(self._kinds)
        if kind == "option":
            return self._option_ticket(dice, quantity)
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
        tif = TimeInForce.GTC if kind != "market" and dice.random() < 0.3 else TimeInForce.DAY
        return OrderTicket(account_id=ACCOUNT, contract=contract, side=side, quantity=quantity, tif=tif, **more)

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

    def _option(self, right: Right) -> Contract:
        world = self._simulator.world
        spot, today = self._price(SPY.conid), world.now.date()
        instruments = world.instruments
        expiry = next(row for row in instruments.expiries("SPY", today) if row.day > today + timedelta(days=7))
        strike = min(instruments.strikes("SPY", expiry.day), key=lambda strike: abs(strike - spot * Decimal("0.98")))
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


def _plain(ticket: OrderTicket) -> Mapping[str, Any]:
    return {
        "account": str(ticket.account_id),
        "conid": int(ticket.contract.conid),
        "side": ticket.side.value,
        "quantity": ticket.quantity,
        "order_type": ticket.order_type.value,
        "limit": ticket.limit_price,
        "stop": ticket.stop_price,
        "tif": ticket.tif.value,
    }
