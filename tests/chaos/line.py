"""The line to the broker: hands requests to the simulator's server core, with faults, crashes, lies and a witness.

The witness looks at the journal at the very moment a request that may change something arrives (S4).
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.serving.server import Outcome
from ibkit.wire.http import Request, Response

from .checker import Delivery, States
from .clock import ChaosClock
from .crashes import Mortality
from .faults import Fault, Weather

__all__ = ["Broker", "Line", "kind_of"]

_STRANGER = {"acct": "DU7777777", "account": "DU7777777"}


def kind_of(method: str, path: str) -> str:
    """place, modify, cancel, reply, orders, trades, or read for all the rest."""
    if path.endswith("/orders"):
        return "place" if method == "POST" else "orders"
    if "/iserver/reply/" in path:
        return "reply"
    if "/order/" in path and "/account/" in path and "status" not in path:
        return "cancel" if method == "DELETE" else "modify"
    return "trades" if path.endswith("/trades") else "read"


class Broker:
    """The simulator as the schedule sees it: whose request is whose, who sees what when, and what was delivered.

    keys: quantity (or the target of a cancel) → key: the tracer, which survives a changed client order id.
    shown_after: seconds after which an order can be read, drawn for each order.
    """

    def __init__(self, simulator: Simulator, clock: ChaosClock, dice: random.Random) -> None:
        self.simulator = simulator
        self.clock = clock
        self._dice = dice
        self.keys: dict[tuple[str, str], str] = {}
        self.deliveries: list[Delivery] = []
        self.breaches: list[str] = []
        self.journal: States | None = None
        self.delays: tuple[float, ...] = (0.0,)
        self.scope = "day"
        self.ref_style = ""
        self._shown_after: dict[int, float] = {}
        self._sessions: dict[int, str] = {}
        self._questions: dict[str, str] = {}
        self.note: Callable[[str], None] = lambda _text: None
        self.received = 0

    def deliver(self, request: Request, kind: str, *, late: bool = False, again: bool = False) -> Outcome:
        """The server core's answer, after the witness looked. again: the request that a fault had held back."""
        path = request.url.split("?")[0]
        name, confirmed = _named(kind, path, request.body)
        key = self._key_of(kind, path, request.body)
        if kind in ("place", "modify", "cancel", "reply"):
            assert self.journal is not None
            breach = self.journal.unannounced(kind, name, confirmed=confirmed, late=late, now=self.clock.now())
            if breach:
                self.breaches.append(breach)
                self.note(breach)
        self.received += 1
        number = self.received
        known = len(self.simulator.world.exchange.orders)
        outcome = self.simulator.server.handle(request, face="gateway", late=again)
        self._remember_new(known)
        if kind in ("place", "modify", "cancel", "reply") and not outcome.late:
            self.deliveries.append(Delivery(number, self.clock.monotonic(), kind, key, True, name))
            self._remember_question(outcome, key)
            self.note(
                f"#{number} {kind} {key} {confirmed if kind == 'reply' else ''}: {outcome.status} {outcome.body[:70]!r}"
            )
        return outcome

    def lost(self, request: Request, kind: str) -> None:
        """The bytes left, but never arrived."""
        path = request.url.split("?")[0]
        key, name = self._key_of(kind, path, request.body), _named(kind, path, request.body)[0]
        self.deliveries.append(Delivery(0, self.clock.monotonic(), kind, key, False, name))

    def _key_of(self, kind: str, path: str, body: bytes) -> str:
        if kind == "reply":
            return self._questions.get(path.rsplit("/", 1)[-1], "")
        if kind == "cancel":
            return self.keys.get((kind, path.rsplit("/", 1)[-1]), "")
        if kind in ("place", "modify"):
            sent = json.loads(body)
            ticket = sent["orders"][0] if "orders" in sent else sent
            return self.keys.get((kind, f"{float(ticket['quantity']):g}"), "")
        return ""

    def _remember_question(self, outcome: Outcome, key: str) -> None:
        if not outcome.body.startswith(b'[{"id"'):
            return
        with contextlib.suppress(ValueError):  # cut by a fault: nobody can answer it
            self._questions[json.loads(outcome.body)[0]["id"]] = key

    def _remember_new(self, known: int) -> None:
        orders = self.simulator.world.exchange.orders
        if len(orders) == known:
            return
        gateway = self.simulator.world.logins.gateway
        brokerage = gateway.brokerage if gateway is not None else None
        for order_id in list(orders)[known:]:
            self._shown_after[order_id] = self._dice.choice(self.delays)
            self._sessions[order_id] = brokerage.id if brokerage is not None else ""

    def visible(self, order: SimOrder) -> bool:
        """Whether the lists show it by now, in this session."""
        since = order.accepted_at or order.placed_at
        if (self.clock.now() - since).total_seconds() < self._shown_after.get(order.id, 0.0):
            return False
        gateway = self.simulator.world.logins.gateway
        now = gateway.brokerage.id if gateway is not None and gateway.brokerage is not None else ""
        return self.scope == "day" or self._sessions.get(order.id, now) == now

    def filtered(self, kind: str, outcome: Outcome) -> Outcome:
        """What the lists show: lagging, bound to the session, refs as this broker spells them (F70, F72, F74)."""
        if kind not in ("orders", "trades") or outcome.status != 200:
            return outcome
        try:
            body = json.loads(outcome.body)
        except ValueError:
            return outcome
        rows = body.get("orders") if kind == "orders" and isinstance(body, dict) else body
        if not isinstance(rows, list):
            return outcome
        orders = self.simulator.world.exchange.orders
        name = "orderId" if kind == "orders" else "order_id"
        if kind == "orders":
            rows = [row for row in rows if self.visible(orders[row[name]])]
        else:
            # Executions are not bound to the session; they lag like the list.
            scope, self.scope = self.scope, "day"
            rows = [row for row in rows if self.visible(orders[row[name]])]
            self.scope = scope
        for row in rows:
            if "order_ref" in row:
                row["order_ref"] = _spelt(row["order_ref"], self.ref_style)
                if not row["order_ref"]:
                    del row["order_ref"]
        body = {**body, "orders": rows} if kind == "orders" else rows
        return replace(outcome, body=json.dumps(body).encode())


class Line:
    """One process's transport. Fits `client.transport.Transport`."""

    def __init__(
        self, broker: Broker, weather: Weather, mortality: Mortality, *, alive: Callable[[], None], dice: random.Random
    ) -> None:
        self._broker = broker
        self._weather = weather
        self._mortality = mortality
        self._alive = alive
        self._dice = dice
        self.slowest_late_s = 55.0

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self._alive()
        clock = self._broker.clock
        if request.method in ("POST", "PUT"):
            headers = {**request.headers, "Content-Length": str(len(request.body))}
            request = Request(request.method, request.url, headers, request.body)
        kind = kind_of(request.method, request.url.split("?")[0])
        changing = kind in ("place", "modify", "cancel", "reply")
        first = "K11" if kind == "reply" else "K5"
        if changing:
            self._mortality.point(first, "before")
        fault = self._weather.draw(kind)
        if fault is not None and fault.unsent:
            await clock.sleep(5.0 if fault.name == "connect black hole" else 0.0)
            raise Unreachable("the connection could not be made", code="E-API-CONNECT", details={"cause": "refused"})
        if changing:
            self._die_in_flight(request, kind, first)
        outcome = await self._carried(request, kind, fault, timeout_s)
        self._alive()
        if changing:
            self._mortality.point("K6", "after")
            self._mortality.point("K7", "before")
        await clock.sleep(0.02)
        self._alive()
        if outcome.drop or outcome.cut is not None:
            raise OutcomeUnknown("the connection broke", details={"cause": "broken"})
        if changing:
            self._mortality.point("K7", "after")
            self._mortality.point("K8", "before")
            self._mortality.point("K8", "after")
            if kind == "reply":
                self._mortality.point("K11", "after")
        headers = {name.lower(): value for name, value in outcome.headers}
        return Response(outcome.status, headers, outcome.body)

    def _die_in_flight(self, request: Request, kind: str, first: str) -> None:
        """Death between the first and the last byte: the peer never had it all, or has it all and acts on it soon."""
        try:
            self._mortality.point("K5" if first == "K5" else "K11", "in flight")
        except BaseException:
            delay = self._dice.choice([0.0, 0.3, 2.0])
            self._broker.clock.later(delay, lambda: self._broker.deliver(request, kind, late=True))
            raise
        try:
            self._mortality.point("K6", "before")
        except BaseException:
            self._broker.lost(request, kind)
            raise

    async def _carried(self, request: Request, kind: str, fault: Fault | None, timeout_s: float) -> Outcome:
        broker, clock = self._broker, self._broker.clock
        if fault is None:
            return broker.filtered(kind, broker.deliver(request, kind))
        if fault.lie == "400 now, carried out later":
            clock.later(self._dice.choice([2.0, 8.0]), lambda: broker.deliver(request, kind, late=True))
            return Outcome(
                400, (("content-type", "application/json"),), b'{"error":"Bad Request: timed out","statusCode":400}'
            )
        if fault.sim:
            slow = fault.sim in ("delay", "delay-before")
            seconds = self._dice.choice([timeout_s / 2, timeout_s + 1, self.slowest_late_s]) if slow else 0.0
            broker.simulator.world.faults.add(fault.request_fault(seconds))
        outcome = broker.deliver(request, kind)
        broker.simulator.world.faults.clear()
        if outcome.late:
            return await self._late(request, kind, outcome, timeout_s)
        if outcome.delay_s > timeout_s:
            await clock.sleep(timeout_s)
            raise OutcomeUnknown(f"no answer within {timeout_s:g} s", details={"cause": "timeout"})
        await clock.sleep(outcome.delay_s)
        outcome = broker.filtered(kind, outcome)
        return _lying(outcome, fault.lie, kind) if fault.lie else outcome

    async def _late(self, request: Request, kind: str, outcome: Outcome, timeout_s: float) -> Outcome:
        broker, clock = self._broker, self._broker.clock
        if outcome.delay_s > timeout_s:
            clock.later(outcome.delay_s, lambda: broker.deliver(request, kind, late=True, again=True))
            await clock.sleep(timeout_s)
            raise OutcomeUnknown(f"no answer within {timeout_s:g} s", details={"cause": "timeout"})
        await clock.sleep(outcome.delay_s)
        self._alive()
        return broker.filtered(kind, broker.deliver(request, kind, late=True, again=True))

    async def aclose(self) -> None:
        """Nothing to close."""


def _named(kind: str, path: str, body: bytes) -> tuple[str, bool | None]:
    if kind == "place":
        return str(json.loads(body)["orders"][0].get("cOID")), None
    if kind == "reply":
        return path.rsplit("/", 1)[-1], json.loads(body)["confirmed"]
    return path.rsplit("/", 1)[-1], None


def _spelt(ref: str, style: str) -> str:
    return {"upper": ref.upper(), "cut": ref[:24], "missing": ""}.get(style, ref)


def _lying(outcome: Outcome, lie: str, kind: str) -> Outcome:
    """The same answer, changed. What is not fitting stays as it was."""
    if outcome.status != 200:
        return outcome
    try:
        body = json.loads(outcome.body)
    except ValueError:
        return outcome
    return replace(outcome, body=json.dumps(_changed(body, lie, kind)).encode())


def _changed(body: Any, lie: str, kind: str) -> Any:
    if kind == "orders" and isinstance(body, dict):
        return _changed_list(body, lie)
    if kind == "trades" and isinstance(body, list) and lie == "strangers":
        return [*body, *({**row, **_STRANGER, "accountCode": "DU7777777"} for row in body)]
    match lie:
        case "shape":
            return {"answer": {"rows": body}}
        case "rows":
            return [*body, {"order_id": "987654", "order_status": "Submitted"}] if isinstance(body, list) else body
        case "null":
            return None
    row = body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else body
    if not isinstance(row, dict) or "order_id" not in row:
        return body
    match lie:
        case "account":
            row = {**row, "account": "DU7777777", "acct": "DU7777777"}
        case "ref":
            row = {**row, "local_order_id": "ib-somebody-elses-order-of-today"}
        case "no id":
            row = {name: value for name, value in row.items() if name != "order_id"}
        case "status":
            row = {**row, "order_status": "Levitating"}
    return [row] if isinstance(body, list) else row


def _changed_list(body: dict[str, Any], lie: str) -> dict[str, Any]:
    rows = body.get("orders", [])
    match lie:
        case "empty":
            return {"orders": [], "snapshot": False}
        case "strangers":
            return {**body, "orders": [*rows, *({**row, **_STRANGER} for row in rows)]}
        case "cut":
            stranger = {"orderId": 1, "conid": 1, "side": "BUY", "status": "Filled", "totalSize": 1.0, **_STRANGER}
            return {**body, "orders": [stranger] * 1000}
        case _:
            return body
