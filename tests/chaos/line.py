"""The line to the broker: one process's transport, with faults, crashes and lies."""

from __future__ import annotations

import random
from collections.abc import Callable

from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.sim.serving.server import Outcome
from ibkit.wire.http import Request, Response

from .broker import CHANGING, Broker, kind_of
from .crashes import Mortality
from .faults import Fault, Weather
from .lies import lying

__all__ = ["Line"]

_CONNECT_TIMEOUT_S = 5.0
_LATEST_S = 55.0
"""So long a request may be on its way after we gave up: less than the settle window of 60 s."""
_TURN_S = 0.02
_LOST = frozenset({"request lost", "answer lost", "reset in the request", "answer cut", "peer stalls", "late delivery"})


class Line:
    """Fits `client.transport.Transport`. alive: raises Crash once its process is dead. step: the newest journal row."""

    def __init__(
        self,
        broker: Broker,
        weather: Weather,
        mortality: Mortality,
        *,
        alive: Callable[[], None],
        step: Callable[[], str],
    ) -> None:
        self._broker = broker
        self._weather = weather
        self._mortality = mortality
        self._alive = alive
        self._step = step
        broker.connect_anew()

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self._alive()
        if request.method in ("POST", "PUT"):
            # Every HTTP library sends the length of a body it holds.
            headers = {**request.headers, "Content-Length": str(len(request.body))}
            request = Request(request.method, request.url, headers, request.body)
        kind = kind_of(request.method, request.url.split("?")[0])
        changing = kind in CHANGING
        first = "K11" if kind == "reply" else "K5"
        if changing:
            self._mortality.point(first, "before")
        struck = self._weather.draw(kind, self._step())
        if struck is not None and struck[0].unsent:
            await self._unsent(struck[0].unsent)
        if changing:
            self._broker.leaves(request, kind)
            self._die_in_flight(request, kind, first)
        outcome = await self._carried(request, kind, struck, timeout_s)
        self._alive()
        if changing:
            self._pass("K6 after", "K7 before")
        await self._broker.clock.sleep(_TURN_S)
        self._alive()
        if outcome.drop or outcome.cut is not None:
            raise _broken()
        if outcome.status == 429:
            self._broker.refused_for_pacing()
        if changing:
            self._pass("K7 after", "K8 before", "K8 after", *(["K11 after"] if kind == "reply" else []))
        return Response(outcome.status, {name.lower(): value for name, value in outcome.headers}, outcome.body)

    def _pass(self, *points: str) -> None:
        for point in points:
            self._mortality.point(*point.split())

    async def _unsent(self, cause: str) -> None:
        """As the transports tell it (tests/client/transports): no byte left."""
        if cause == "timeout":
            await self._broker.clock.sleep(_CONNECT_TIMEOUT_S)
        raise Unreachable("the connection could not be made", code="E-API-CONNECT", details={"cause": cause})

    def _die_in_flight(self, request: Request, kind: str, first: str) -> None:
        """Death between the first and the last byte: the peer never had it all, or has it all and acts on it soon."""
        try:
            self._mortality.point(first, "in flight")
        except BaseException:
            delay = self._mortality.delay()
            self._broker.clock.later(delay, lambda: self._broker.deliver(request, kind, late=True))
            raise
        try:
            self._mortality.point("K6", "before")
        except BaseException:
            self._broker.lost(request, kind)
            raise

    async def _carried(
        self, request: Request, kind: str, struck: tuple[Fault, random.Random] | None, timeout_s: float
    ) -> Outcome:
        broker, clock = self._broker, self._broker.clock
        if struck is None:
            outcome = broker.deliver(request, kind)
            if kind in CHANGING and outcome.status == 200:
                broker.stale(outcome, kind, line=id(self))
            return broker.filtered(kind, outcome)
        fault, dice = struck
        if kind == "reply" and b"false" in request.body and fault.name in _LOST:
            broker.seen["decline lost"] += 1
        if fault.slow:
            return await self._slow(request, kind, fault, dice, timeout_s)
        if fault.lie == "400 now, carried out later":
            clock.later(dice.choice([2.0, 8.0]), lambda: broker.deliver(request, kind, late=True))
            return Outcome(
                400, (("content-type", "application/json"),), b'{"error":"Bad Request: timed out","statusCode":400}'
            )
        if fault.sim:
            late = fault.sim in ("delay", "delay-before")
            seconds = dice.choice([timeout_s / 2, timeout_s + 1, _LATEST_S]) if late else 0.0
            broker.simulator.world.faults.add(fault.request_fault(seconds))
        outcome = broker.deliver(request, kind)
        broker.simulator.world.faults.clear()
        if outcome.late:
            return await self._late(request, kind, outcome, timeout_s)
        await self._wait(outcome.delay_s, timeout_s)
        if fault.lie in ("stale", "endless"):
            return broker.stale(outcome, kind, line=id(self)) if fault.lie == "stale" else broker.never_ends(outcome)
        outcome = broker.filtered(kind, outcome)
        return lying(outcome, fault.lie, kind) if fault.lie else outcome

    async def _wait(self, seconds: float, timeout_s: float) -> None:
        """An answer that comes so much later, or too late."""
        await self._broker.clock.sleep(min(seconds, timeout_s))
        self._alive()
        if seconds > timeout_s:
            raise OutcomeUnknown(f"no answer within {timeout_s:g} s", code="E-TIMEOUT", details={"cause": "timeout"})

    async def _slow(self, request: Request, kind: str, fault: Fault, dice: random.Random, timeout_s: float) -> Outcome:
        broker = self._broker
        if fault.slow == "queue":  # all connections of the pool are in use until the time is up
            await self._wait(timeout_s + 1, timeout_s)
        known = set(broker.simulator.world.exchange.orders)
        outcome = broker.deliver(request, kind)
        if fault.slow == "endless":
            raise OutcomeUnknown(
                "IBKR's answer is too long and was cut off", code="E-UPSTREAM", details={"cause": "cut"}
            )
        if fault.slow == "drip":
            await self._wait(float(len(outcome.body)), timeout_s)
            return outcome
        for order in [order for id_, order in broker.simulator.world.exchange.orders.items() if id_ not in known]:
            broker.fill(order, dice.choice([1, None]))
        await self._wait(dice.choice([0.3, 2.0, 8.0]), timeout_s)
        return outcome

    async def _late(self, request: Request, kind: str, outcome: Outcome, timeout_s: float) -> Outcome:
        broker, clock = self._broker, self._broker.clock
        if outcome.delay_s > timeout_s:
            clock.later(outcome.delay_s, lambda: broker.deliver(request, kind, late=True, again=True))
        await self._wait(outcome.delay_s, timeout_s)
        return broker.filtered(kind, broker.deliver(request, kind, late=True, again=True))

    async def aclose(self) -> None:
        """Nothing to close."""


def _broken() -> OutcomeUnknown:
    return OutcomeUnknown("the connection broke", code="E-API-CONNECT", details={"cause": "broken"})
