"""Keeping a sold position protected: its exits, tried again only after a certain refusal, else the way back.

| the stop …                                  | then                                                        |
|---------------------------------------------|-------------------------------------------------------------|
| works (PreSubmitted or Submitted)           | protected                                                   |
| has filled already                          | stopped out: the position is closed                         |
| the limit order beside it has filled        | profit taken: the position is closed                        |
| was surely refused                          | up to 3 tries within 10 s, each a new intent                |
| is in an unknown state, or acknowledged and | nothing more is sent: a second stop, or buying back beside  |
| not seen working                            | a live stop, would turn the position round                  |
| has nothing to protect any more (by_hand)   | none is placed: closed by hand                              |
| could not be placed                         | `close`: bought back at market; `alert`: left, and said     |

Source: requirement TRD-14, architecture §10 ruling 5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Increments, OrderStatus, OrderTicket, OrderType, Side
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.selling.by_hand import HeldPositions
from ibkit.trading.selling.exit_orders import STOP_TRIES, ExitKeys, ExitOrders, close_key
from ibkit.trading.selling.exits import ExitPrices, exit_tickets
from ibkit.trading.selling.sale import OnStopFailure
from ibkit.trading.selling.standing import Exits, Standing, standing_of, worst
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["STOP_TRIES", "Protected", "Protection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """stop, profit, close: the exits that stand (or were tried last) and the buy-back. tries: all exits begun."""

    standing: Standing
    stop: Intent | None = None
    profit: Intent | None = None
    close: Intent | None = None
    reasons: tuple[str, ...] = ()
    tries: tuple[Intent, ...] = field(default=())

    @property
    def exit_average(self) -> Decimal | None:
        """What it was bought back at, where its exits or the buy-back closed it."""
        if self.close is not None and self.standing is Standing.BOUGHT_BACK:
            return self.close.average_price
        return None if self.stop is None else Exits(self.stop, self.profit).average


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    gateway: OrderGateway
    orders: ExitOrders
    held: HeldPositions
    clock: Clock
    fill_timeout_s: float
    observe: Observer

    async def protect(
        self,
        entry: Intent,
        *,
        prices: ExitPrices | None,
        increments: Increments,
        on_failure: OnStopFailure,
        confirm: tuple[str, ...],
        hurried: Callable[[], bool],
        earlier_run: bool = False,
    ) -> Protected:
        """Working exits for what `entry` sold, or what is left to do without them. Raises nothing of the broker's.

        prices: None where nobody can say at what price was sold, or that price gives none: only the way back is left.
        earlier_run: the entry was sent before this run, so that a person may have closed the position meanwhile.

        Asked again for the same entry it finds its own exits and goes on where it was: what they cover is not
        protected twice, and what the entry sold since gets exits of its own.
        """
        earlier = await self.orders.standing(entry)
        covered = sum((found.quantity for found in earlier), Decimal(0))
        left, part = entry.filled - covered, None
        if left > 0 and earlier_run and not await self._begun(entry):
            held = await self.held.of(entry, expected=entry.filled)
            if held is not None and held.short <= covered:
                self._tell(StepKind.STOP, f"the account is short {held.short:f} of it: what was sold is closed by hand")
                return self._stand(earlier) if earlier else Protected(standing=Standing.CLOSED_BY_HAND)
            if held is not None and held.whole <= covered:
                why = f"the account is short {held.short:f} of the sold leg, but the legs no longer match"
                return Protected(standing=Standing.UNPROTECTED, reasons=(why,))
            if held is not None and held.whole - covered < left:
                left = part = held.whole - covered
        if left <= 0 and earlier:
            return self._stand(earlier)
        keys = ExitKeys.of_entry(entry.key, covered=covered, left=part)
        done = await self._protect_rest(entry, left, keys, prices, increments, on_failure, confirm, hurried)
        if not earlier:
            return done
        sure = all(standing_of(found) is Standing.PROTECTED for found in earlier)
        standing = done.standing if sure or done.standing is not Standing.PROTECTED else Standing.UNSURE
        reasons = (*done.reasons, f"{covered.normalize():f} of {entry.filled.normalize():f} have an earlier stop")
        before = tuple(each for found in earlier for each in found.members)
        return dataclasses.replace(done, standing=standing, reasons=reasons, tries=(*before, *done.tries))

    async def _begun(self, entry: Intent) -> bool:
        """Whether a buy-back of ours has begun: then what the account holds is our own doing."""
        return await self.gateway.find(close_key(entry.key)) is not None

    def _stand(self, earlier: tuple[Exits, ...]) -> Protected:
        """Nothing has to be sent: how the exits of an earlier run stand, the worst of them."""
        by_standing = {standing_of(each) or Standing.UNSURE: each for each in earlier}
        standing = worst(*by_standing)
        shown = by_standing[standing]
        members = tuple(each for found in earlier for each in found.members)
        reasons = tuple(dict.fromkeys(each.reason for each in members if each.reason))
        return Protected(standing=standing, stop=shown.stop, profit=shown.profit, reasons=reasons, tries=members)

    async def _protect_rest(
        self,
        entry: Intent,
        quantity: Decimal,
        keys: ExitKeys,
        prices: ExitPrices | None,
        increments: Increments,
        on_failure: OnStopFailure,
        confirm: tuple[str, ...],
        hurried: Callable[[], bool],
    ) -> Protected:
        if prices is None:
            left = Protected(standing=Standing.UNPROTECTED, reasons=(_why_no_price(entry),))
        else:
            stop, profit = exit_tickets(entry.ticket, quantity=quantity, prices=prices)
            placed = await self.orders.place(
                entry,
                stop,
                profit,
                keys=keys,
                increments=increments,
                confirm=confirm,
                hurried=hurried,
            )
            last = placed.exits.stop if placed.exits is not None else (placed.tries[-1] if placed.tries else None)
            left = Protected(
                standing=placed.standing or Standing.UNPROTECTED,
                stop=last,
                profit=None if placed.exits is None else placed.exits.profit,
                reasons=placed.reasons,
                tries=placed.tries,
            )
            if placed.standing is not None:
                return left
        return await self._buy_back(entry, quantity, left, confirm) if on_failure is OnStopFailure.CLOSE else left

    async def _buy_back(self, entry: Intent, quantity: Decimal, left: Protected, confirm: tuple[str, ...]) -> Protected:
        ticket = OrderTicket(
            account_id=entry.ticket.account_id,
            contract=entry.ticket.contract,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            quantity=quantity,
        )
        self._tell(StepKind.BUY_BACK, f"no stop could be placed, buying back: {ticket.label}")
        reasons = left.reasons
        close: Intent | None = None
        try:
            outcome = await self.gateway.submit(
                ticket, key=close_key(entry.key), confirm=confirm, purpose="close", reduces=entry.intent_id
            )
            close = outcome.intent
            if close.state is IntentState.ACKED:
                close = await self.gateway.wait_for_fill(close, within_s=self.fill_timeout_s)
            if close.state is IntentState.FILLED:
                self._tell(StepKind.BUY_BACK, f"bought back at {close.average_price}", order=close.order_id or "")
                return dataclasses.replace(left, standing=Standing.BOUGHT_BACK, close=close)
            error = outcome.error
            reasons = (*reasons, error.message if error else f"buy-back is {_status(close)}")
        except IbkitError as error:
            reasons = (*reasons, f"buy-back: {error.message}")
        standing = Standing.UNSURE if close is not None and not close.final else Standing.UNPROTECTED
        if close is not None and close.state is IntentState.UNKNOWN_NEEDS_HUMAN:
            standing = Standing.UNSURE
        return dataclasses.replace(left, standing=standing, close=close, reasons=reasons)

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _why_no_price(entry: Intent) -> str:
    average = entry.average_price
    return "nobody says at what price was sold" if average is None else f"no stop follows from an entry at {average}"


def _status(intent: Intent) -> str:
    return (intent.order_status or OrderStatus.UNKNOWN).value
