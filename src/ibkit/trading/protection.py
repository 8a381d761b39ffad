"""Keeping a sold option protected: the stop, tried again only after a certain refusal, else the way back.

| the stop …                                  | then                                                        |
|---------------------------------------------|-------------------------------------------------------------|
| works (PreSubmitted or Submitted)           | protected                                                   |
| has filled already                          | stopped out: the position is closed                         |
| was surely refused                          | up to 3 tries within 10 s, each a new intent                |
| is in an unknown state, or acknowledged and | nothing more is sent: a second stop, or buying back beside  |
| not seen working                            | a live stop, would turn the position round                  |
| could not be placed                         | `close`: bought back at market; `alert`: left, and said     |

Source: requirement TRD-14, architecture §10 ruling 5.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, StorageError
from ibkit.model import Increments, Key, OrderStatus, OrderTicket, OrderType, Side
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ref import child_key
from ibkit.trading.risk import Facts
from ibkit.trading.sale import OnStopFailure, stop_ticket
from ibkit.trading.timeline import Observer, Step, StepKind
from ibkit.trading.tracking import is_working_or_final

__all__ = ["STOP_TRIES", "Protected", "Protection", "Standing", "close_key", "stop_key"]

STOP_TRIES = 3
STOP_WINDOW_S = 10.0
_BETWEEN_TRIES_S = 2.0
_WORKING_WITHIN_S = 10.0


def stop_key(entry: Key, attempt: int, covered: Decimal = Decimal(0)) -> Key:
    """covered: what earlier stops protect already; a stop for what was sold since is another order."""
    beyond = f"-beyond-{covered.normalize():f}" if covered else ""
    return child_key(entry, f"stop-{attempt}{beyond}")


def close_key(entry: Key) -> Key:
    return child_key(entry, "close")


class Standing(enum.Enum):
    """How the position stands after the attempt to protect it."""

    PROTECTED = "protected"
    STOPPED_OUT = "stopped out"
    BOUGHT_BACK = "bought back"
    UNPROTECTED = "unprotected"
    UNSURE = "unsure"


_BADNESS = (
    Standing.STOPPED_OUT,
    Standing.BOUGHT_BACK,
    Standing.PROTECTED,
    Standing.UNPROTECTED,
    Standing.UNSURE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """stop, close: the intents of the last stop and of the buy-back, where there were any. tries: all stops."""

    standing: Standing
    stop: Intent | None = None
    close: Intent | None = None
    reasons: tuple[str, ...] = ()
    tries: tuple[Intent, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    gateway: OrderGateway
    clock: Clock
    fill_timeout_s: float
    observe: Observer

    async def protect(
        self,
        entry: Intent,
        *,
        stop: Decimal | None,
        increments: Increments,
        on_failure: OnStopFailure,
        confirm: tuple[str, ...],
        hurried: Callable[[], bool],
    ) -> Protected:
        """A working stop for what `entry` sold, or what is left to do without one. Raises nothing of the broker's.

        stop: its price; None where nobody can say at what price was sold, which leaves only the way back.

        Asked again for the same entry it finds its own stops and goes on where it was: what they cover is not
        protected twice, and what the entry sold since gets a stop of its own.
        """
        earlier = await self._earlier_stops(entry)
        covered = sum((found.ticket.quantity for found in earlier), Decimal(0))
        left = entry.filled - covered
        if left <= 0 and earlier:
            return self._all_stand(earlier)
        done = await self._protect_rest(entry, left, covered, stop, increments, on_failure, confirm, hurried)
        if not earlier:
            return done
        sure = all(_standing(found) is Standing.PROTECTED for found in earlier)
        standing = done.standing if sure or done.standing is not Standing.PROTECTED else Standing.UNSURE
        reasons = (*done.reasons, f"{covered.normalize():f} of {entry.filled.normalize():f} have an earlier stop")
        return dataclasses.replace(done, standing=standing, reasons=reasons, tries=(*earlier, *done.tries))

    async def _earlier_stops(self, entry: Intent) -> tuple[Intent, ...]:
        """The stops of `entry` that work, may work, or have closed their part of it."""
        try:
            undoing = await self.gateway.journal.reducing(entry.intent_id)
        except StorageError:
            return ()  # then no new order can be written down, and so none leaves
        stops = [
            await self.gateway.confirm_working(each, within_s=_WORKING_WITHIN_S)
            for each in undoing
            if each.planned.purpose == "stop"
        ]
        return tuple(each for each in stops if each.order_id is not None and _standing(each) is not None)

    def _all_stand(self, earlier: tuple[Intent, ...]) -> Protected:
        """Nothing has to be sent: how the stops of an earlier run stand, the worst of them."""
        worst = max(earlier, key=lambda each: _BADNESS.index(_standing(each) or Standing.UNSURE))
        return self._stands(_standing(worst) or Standing.UNSURE, worst, earlier, tuple(each.reason for each in earlier))

    async def _protect_rest(
        self,
        entry: Intent,
        quantity: Decimal,
        covered: Decimal,
        stop: Decimal | None,
        increments: Increments,
        on_failure: OnStopFailure,
        confirm: tuple[str, ...],
        hurried: Callable[[], bool],
    ) -> Protected:
        """Up to three tries of a stop for `quantity`, and what follows when none works."""
        if stop is None:
            unpriced = Protected(standing=Standing.UNPROTECTED, reasons=("nobody says at what price was sold",))
            return await self._way_back(entry, quantity, unpriced, on_failure, confirm)
        ticket = stop_ticket(entry.ticket, quantity=quantity, stop=stop)
        reasons: list[str] = []
        tries: list[Intent] = []
        begun = self.clock.monotonic()
        for attempt in range(1, STOP_TRIES + 1):
            self._tell(StepKind.STOP, f"stop {attempt} of {STOP_TRIES}: {ticket.label}", stop=str(stop))
            key = stop_key(entry.key, attempt, covered)
            intent, reason = await self._try_stop(entry, ticket, key, increments, confirm)
            if intent is not None:
                tries.append(intent)
                standing = _standing(intent)
                if standing is not None:
                    return self._stands(standing, intent, tuple(tries), (*reasons, intent.reason))
            reasons.append(reason or (intent.reason if intent is not None else ""))
            self._tell(StepKind.REFUSED, f"stop {attempt} not placed: {reasons[-1]}")
            if intent is not None and intent.state is IntentState.NOT_PLACED:
                begun = self.clock.monotonic()  # proving its absence took a minute of its own: not the tries' time
            if self.clock.monotonic() - begun + _BETWEEN_TRIES_S > STOP_WINDOW_S:
                break
            if attempt < STOP_TRIES and not hurried():
                await self.clock.sleep(_BETWEEN_TRIES_S)
        left = Protected(
            standing=Standing.UNPROTECTED,
            stop=tries[-1] if tries else None,
            reasons=tuple(dict.fromkeys(filter(None, reasons))),
            tries=tuple(tries),
        )
        return await self._way_back(entry, quantity, left, on_failure, confirm)

    async def _way_back(
        self,
        entry: Intent,
        quantity: Decimal,
        left: Protected,
        on_failure: OnStopFailure,
        confirm: tuple[str, ...],
    ) -> Protected:
        return await self._buy_back(entry, quantity, left, confirm) if on_failure is OnStopFailure.CLOSE else left

    async def _try_stop(
        self, entry: Intent, ticket: OrderTicket, key: Key, increments: Increments, confirm: tuple[str, ...]
    ) -> tuple[Intent | None, str]:
        """The stop's intent once it works or has ended, or None and why nothing was sent."""
        try:
            outcome = await self.gateway.submit(
                ticket,
                key=key,
                confirm=confirm,
                purpose="stop",
                reduces=entry.intent_id,
                facts=Facts(increments=increments),
            )
            if outcome.state is not IntentState.ACKED:
                error = outcome.error
                return outcome.intent, "" if error is None else error.message
            return await self.gateway.confirm_working(outcome.intent, within_s=_WORKING_WITHIN_S), ""
        except IbkitError as error:
            stored = await self._stored(key)
            return (stored, "") if stored is not None and stored.state.may_have_left else (None, error.message)

    async def _stored(self, key: Key) -> Intent | None:
        try:
            return await self.gateway.find(key)
        except StorageError:
            return None

    def _stands(
        self, standing: Standing, intent: Intent, tries: tuple[Intent, ...], reasons: tuple[str, ...]
    ) -> Protected:
        status = intent.order_status.value if intent.order_status else intent.state.value
        kind = StepKind.STOP_WORKING if standing is Standing.PROTECTED else StepKind.STOP
        text = f"stop order {intent.order_id}: {status}"
        self._tell(kind, text, order=intent.order_id or "", status=status)
        return Protected(
            standing=standing, stop=intent, reasons=tuple(dict.fromkeys(filter(None, reasons))), tries=tries
        )

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
                return Protected(
                    standing=Standing.BOUGHT_BACK, stop=left.stop, close=close, reasons=reasons, tries=left.tries
                )
            error = outcome.error
            reasons = (*reasons, error.message if error else f"buy-back is {_status(close)}")
        except IbkitError as error:
            reasons = (*reasons, f"buy-back: {error.message}")
        standing = Standing.UNSURE if close is not None and not close.final else Standing.UNPROTECTED
        if close is not None and close.state is IntentState.UNKNOWN_NEEDS_HUMAN:
            standing = Standing.UNSURE
        return Protected(standing=standing, stop=left.stop, close=close, reasons=reasons, tries=left.tries)

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _standing(intent: Intent) -> Standing | None:
    """What the stop's intent says of the position; None where it surely came to nothing and may be tried anew."""
    match intent.state:
        case IntentState.FILLED:
            return Standing.STOPPED_OUT
        case IntentState.ACKED:
            return Standing.PROTECTED if is_working_or_final(intent) else Standing.UNSURE
        case IntentState.UNKNOWN_NEEDS_HUMAN:
            return Standing.UNSURE
        case IntentState.CANCELLED | IntentState.REJECTED_LATE:
            return Standing.UNSURE if intent.filled else None
        case state if state.may_have_left:
            return Standing.UNSURE
        case _:
            return None


def _status(intent: Intent) -> str:
    return (intent.order_status or OrderStatus.UNKNOWN).value
