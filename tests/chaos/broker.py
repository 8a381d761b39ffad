"""The broker as a schedule sees it: the simulator's server core, with a witness at its door and lists that may lag.

The witness looks at the journal at the very moment a request that may change something arrives (S4).
"""

from __future__ import annotations

import contextlib
import json
import random
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.logins import sessions
from ibkit.sim.logins.logins import Brokerage
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.serving.server import Face, Outcome
from ibkit.wire.http import Request

from .checker import Delivery, States
from .clock import ChaosClock
from .fates import Fates
from .guards import Guards
from .lies import body_of

__all__ = ["CHANGING", "USERNAME", "Broker", "kind_of"]

USERNAME = "simpaper1"
_BOX_AFTER, _BOX_WITHIN_S, _BOX_S = 3, 60.0, 600.0
"""As requirement LIM-03 has it: a client stays away for ten minutes."""
_REFUSALS = (b'"error"', b'"dismissable"')
CHANGING = frozenset({"place", "modify", "cancel", "reply"})


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
    """Whose request is whose, who sees what when, and what was delivered.

    keys:   quantity (or the target of a cancel) → key: the tracer, which survives a changed client order id.
    refs:   client order id → key, of orders that ibkit places by itself (what closes a broken bracket).
    places: number of an order → its place in the array of the request that brought it.
    delays: seconds after which an order can be read, one of them drawn for each order.
    scope:  the lists show the orders of the "day", or of the "session".
    suppress: question ids that the client asked never to be asked.
    race:   chance that a cancel meets a fill on its way (F49).
    """

    def __init__(self, simulator: Simulator, clock: ChaosClock, fates: Fates, states: States, *, face: Face) -> None:
        self.simulator = simulator
        self.clock = clock
        self.face: Face = face
        self._fates = fates
        self._states = states
        self._dice: random.Random = fates.dice("visibility")
        self.keys: dict[tuple[str, str], str] = {}
        self.refs: dict[str, str] = {}
        self.places: dict[int, int] = {}
        self.guards: Guards | None = None
        self.nothing_may_leave = False
        """The journal is an older copy: an order, a change or a yes would be sent by somebody who has forgotten."""
        self.may_be_restored = False
        """An older copy of the journal will be put in its place."""
        self._announced: set[tuple[str, str, bool | None]] = set()
        self.deliveries: list[Delivery] = []
        self.breaches: list[str] = []
        self.seen: Counter[str] = Counter()
        self.delays: tuple[float, ...] = (0.0,)
        self.scope = "day"
        self.ref_style = ""
        self.suppress: frozenset[str] = frozenset()
        self.race = 0.0
        self._shown_after: dict[int, float] = {}
        self._sessions: dict[int, str] = {}
        self._questions: dict[str, str] = {}
        self._opened_by_us: set[str] = set()
        self._heard: dict[tuple[int, str], Outcome] = {}
        self._endless: dict[str, Outcome] = {}
        self._first_of: dict[str, str] = {}
        self._cancelling: dict[int, tuple[Request, str]] = {}
        self.note: Callable[[str], None] = lambda _text: None
        self.received = 0
        self._refused_at: deque[float] = deque(maxlen=_BOX_AFTER)
        self.boxed_until = 0.0
        """Of the clock that never goes back; see `refused_for_pacing`."""

    # --- the door ----------------------------------------------------------------------------------------------

    def deliver(self, request: Request, kind: str, *, late: bool = False, again: bool = False) -> Outcome:
        """The server core's answer, after the witness looked. again: the request that a fault had held back."""
        if kind not in CHANGING:
            self._watch_filters(request, kind)
            return self._handled(request, again)
        path = request.url.split("?")[0]
        name, confirmed = _named(kind, path, request.body)
        key = self._key_of(kind, path, request)
        breach = ""
        if not late or (kind, name, confirmed) not in self._announced:
            breach = self._states.unannounced(kind, name, confirmed=confirmed, late=late, now=self.clock.now())
        if kind == "place" and not late:  # in whatever session it arrives by then, it left in one that was told
            breach = breach or self._still_asked()
        if breach:
            self.breaches.append(breach)
            self.note(breach)
        if kind == "cancel":
            self._race_with_a_fill(name)
        before = self.received
        outcome = self._asked_on(request, name, confirmed, again) if name in self._endless else None
        outcome = outcome or self._handled(request, again)
        if not outcome.late:
            number = self.received if self.received > before else 0  # 0: the core has not seen it
            self.deliveries.append(Delivery(number, self.clock.monotonic(), kind, key, True, name))
            self._remember_question(outcome, key)
            answer = confirmed if kind == "reply" else ""
            self.note(f"#{self.received} {kind} {key} {answer}: {outcome.status} {outcome.body[:70]!r}")
        return outcome

    def leaves(self, request: Request, kind: str) -> None:
        """The witness at our own door: what a kill switch stops does not even leave (S9)."""
        name, confirmed = _named(kind, request.url.split("?")[0], request.body)
        if kind == "cancel":
            # Several intents may cancel one order: the one that is being sent is meant.
            self._cancelling[id(request)] = (
                request,
                self._states.key_of_cancel(name) or self.keys.get((kind, name), ""),
            )
        if self.may_be_restored and not self._states.unannounced(
            kind, name, confirmed=confirmed, late=False, now=self.clock.now()
        ):
            self._announced.add((kind, name, confirmed))  # an older copy may have forgotten it when it arrives late
        if self.nothing_may_leave and (kind in ("place", "modify") or confirmed):
            self.breaches.append(f"F100: {kind} {name} leaves from a journal that is an older copy")
        if self.guards is None:
            return
        breach = self.guards.leaving(kind, name, confirmed=confirmed)
        if breach:
            self.breaches.append(breach)
            self.note(breach)

    def lost(self, request: Request, kind: str) -> None:
        """The bytes left, but never arrived."""
        path = request.url.split("?")[0]
        key, name = self._key_of(kind, path, request), _named(kind, path, request.body)[0]
        self.deliveries.append(Delivery(0, self.clock.monotonic(), kind, key, False, name))

    def stale(self, outcome: Outcome, kind: str, *, line: int) -> Outcome:
        """What an earlier call of this kind was answered, in this one's place (F14); this answer is kept for later.

        line: whose connections; two processes at once hear nothing of each other.

        Acknowledgements and questions alone. A refusal names no order, so that an earlier one cannot be told from ours:
        that no connection is used again after a time-out is all that stands before it (tests/client/transports).
        """
        earlier = self._heard.get((line, kind), outcome)
        if outcome.status == 200 and not any(word in outcome.body for word in _REFUSALS):
            self._heard[line, kind] = outcome
        return earlier

    def connect_anew(self) -> None:
        """A new process has new connections: no earlier answer waits in them. The penalty box is the address's."""
        self._heard.clear()

    def refused_for_pacing(self) -> None:
        """A 429 went to the process. At its third in a minute it has to keep out for ten, whatever is mended."""
        now = self.clock.monotonic()
        self._refused_at.append(now)
        if len(self._refused_at) == _BOX_AFTER and now - self._refused_at[0] <= _BOX_WITHIN_S:
            self.boxed_until = now + _BOX_S

    def never_ends(self, outcome: Outcome) -> Outcome:
        """The question in this answer is followed by another for every yes, until somebody says no (F37)."""
        if outcome.body.startswith(b'[{"id"') and outcome.status == 200:
            self._endless[json.loads(outcome.body)[0]["id"]] = outcome
            self.seen["endless chain"] += 1
        return outcome

    def _asked_on(self, request: Request, name: str, confirmed: bool | None, again: bool) -> Outcome:
        first = self._endless.pop(name)
        body = json.loads(first.body)
        if not confirmed:
            url = f"{request.url.rsplit('/', 1)[0]}/{self._first_of.get(name, name)}"
            return self._handled(Request(request.method, url, request.headers, request.body), again)
        asked = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        self._first_of[asked] = self._first_of.get(name, name)
        following = replace(first, body=json.dumps([{**body[0], "id": asked}]).encode())
        self._endless[asked] = following
        return following

    def _handled(self, request: Request, again: bool) -> Outcome:
        self.received += 1
        known, before = len(self.simulator.world.exchange.orders), self.brokerage
        accepted = self._accepted
        outcome = self.simulator.server.handle(request, face=self.face, late=again)
        self._remember_new(known, request)
        self.seen["release of parked orders"] += self._accepted > accepted + 1
        self.seen["prompt p12"] += b'"dismissable"' in outcome.body
        after = self.brokerage
        if after is not None and after is not before and request.url.endswith("/ssodh/init"):
            self._opened_by_us.add(after.id)
        return outcome

    def _watch_filters(self, request: Request, kind: str) -> None:
        """F73: a filtered read of the orders silences their stream, so we never filter."""
        if kind == "orders" and "filters=" in request.url:
            self.breaches.append("F73: the orders were read through a filter")

    def _still_asked(self) -> str:
        """F44: what a new brokerage session must be told before an order is sent in it."""
        brokerage = self.brokerage
        if brokerage is None or brokerage.id not in self._opened_by_us or self.suppress <= brokerage.suppressed:
            return ""
        return f"F44: an order in session {brokerage.id}, in which nothing was suppressed"

    def _race_with_a_fill(self, order_id: str) -> None:
        order = self.simulator.world.exchange.orders.get(int(order_id)) if order_id.isdigit() else None
        if order is None or self.race == 0 or not order.working:
            return
        dice = self._fates.roll("race", self.race)
        if dice is not None:
            self._fates.tell(f"a fill of {order_id} is on its way, too (F49)")
            self.seen["fill races a cancel"] += 1
            self.clock.later(dice.choice([0.0, 0.05, 0.15]), lambda: self.fill(order))

    def fill(self, order: SimOrder, quantity: int | None = None) -> None:
        """Let a working order trade at its own price, whatever the market says; nothing where it works no more."""
        world = self.simulator.world
        world.advance(self.clock.now())
        ticket = order.ticket
        price = ticket.limit or ticket.stop or world.market.quote(order.conid, world.now).last
        with contextlib.suppress(LookupError, TypeError, ValueError):
            world.exchange.fill(order.id, price, None if quantity is None else type(price)(quantity), world.now)

    def traded(self, conid: int, side: str) -> Decimal:
        """How much of the contract was ever bought, or sold."""
        executions = (
            part
            for order in self.simulator.world.exchange.orders.values()
            for execution in order.executions
            for part in (execution.legs or (execution,))
        )
        found = (each.quantity for each in executions if (each.instrument.conid, each.side) == (conid, side))
        return sum(found, Decimal(0))

    def quantity_of(self, order_id: str) -> Decimal | None:
        order = self.simulator.world.exchange.orders.get(int(order_id)) if order_id.isdigit() else None
        return None if order is None else order.total

    def shown_since(self, moment: datetime, account_id: str) -> list[SimOrder]:
        """Orders of the account that work, and that the lists have shown since that moment at the latest."""
        return [
            order
            for order in self.simulator.world.exchange.orders.values()
            if order.state == "live"
            and order.account == account_id
            and order.accepted_at is not None
            and order.accepted_at + timedelta(seconds=self._shown_after.get(order.id, 0.0)) < moment
            and self.visible(order)
        ]

    # --- whose it is -------------------------------------------------------------------------------------------

    @property
    def brokerage(self) -> Brokerage | None:
        """The brokerage session that answers us now."""
        logins = self.simulator.world.logins
        if self.face == "gateway":
            return logins.gateway.brokerage if logins.gateway is not None else None
        ours = [s for s in sessions.sessions_of(self.simulator.world, USERNAME) if s.method != "gateway"]
        return next((session.brokerage for session in reversed(ours) if session.brokerage is not None), None)

    @property
    def _accepted(self) -> int:
        return sum(order.accepted_at is not None for order in self.simulator.world.exchange.orders.values())

    def _key_of(self, kind: str, path: str, request: Request) -> str:
        if kind == "reply":
            return self._questions.get(path.rsplit("/", 1)[-1], "")
        if kind == "cancel":
            return self._cancelling[id(request)][1]
        sent = json.loads(request.body)
        ticket = sent["orders"][0] if "orders" in sent else sent
        if ticket.get("cOID") in self.refs:
            return self.refs[ticket["cOID"]]
        return self.keys.get((kind, f"{float(ticket['quantity']):g}"), "")

    def _remember_question(self, outcome: Outcome, key: str) -> None:
        if not outcome.body.startswith(b'[{"id"'):
            return
        with contextlib.suppress(ValueError):  # cut by a fault: nobody can answer it
            self._questions[json.loads(outcome.body)[0]["id"]] = key

    def _remember_new(self, known: int, request: Request) -> None:
        orders = self.simulator.world.exchange.orders
        if len(orders) == known:
            return
        self._remember_places([orders[order_id] for order_id in list(orders)[known:]], request)
        brokerage = self.brokerage
        for order_id in list(orders)[known:]:
            self._shown_after[order_id] = self._dice.choice(self.delays)
            self._sessions[order_id] = brokerage.id if brokerage is not None else ""

    def _remember_places(self, new: list[SimOrder], request: Request) -> None:
        """Which ticket of the request each of its orders came from: by its terms, in the order of the array."""
        if not request.url.split("?")[0].endswith("/orders"):
            return
        free = dict(enumerate(json.loads(request.body)["orders"]))
        for order in new:
            place = next((place for place, ticket in free.items() if _came_from(order, ticket)), None)
            if place is not None:
                del free[place]
                self.places[order.id] = place

    # --- what its lists show -----------------------------------------------------------------------------------

    def visible(self, order: SimOrder, *, scope: str = "") -> bool:
        """Whether the lists show it by now, in this session."""
        since = order.accepted_at or order.placed_at
        if (self.clock.now() - since).total_seconds() < self._shown_after.get(order.id, 0.0):
            return False
        brokerage = self.brokerage
        now = brokerage.id if brokerage is not None else ""
        return (scope or self.scope) == "day" or self._sessions.get(order.id, now) == now

    def filtered(self, kind: str, outcome: Outcome) -> Outcome:
        """What the lists show: lagging, bound to the session, refs as this broker spells them (F70, F72, F74)."""
        if kind not in ("orders", "trades"):
            return outcome
        body = body_of(outcome)
        rows = body.get("orders") if kind == "orders" and isinstance(body, dict) else body
        if not isinstance(rows, list):
            return outcome
        orders = self.simulator.world.exchange.orders
        if kind == "orders":
            rows = [row for row in rows if self.visible(orders[row["orderId"]])]
        else:
            # Executions are not bound to the session; they lag like the list.
            rows = [row for row in rows if self.visible(orders[row["order_id"]], scope="day")]
        for row in rows:
            if "order_ref" in row:
                row["order_ref"] = _spelt(row["order_ref"], self.ref_style)
                if not row["order_ref"]:
                    del row["order_ref"]
        body = {**body, "orders": rows} if kind == "orders" else rows
        return replace(outcome, body=json.dumps(body).encode())


def _came_from(order: SimOrder, sent: dict[str, Any]) -> bool:
    """Side, type and prices: the orders of a group of ours differ in them."""
    ticket = order.ticket
    if (ticket.side, ticket.order_type) != (sent["side"], sent["orderType"]):
        return False
    price = ticket.stop if ticket.order_type in ("STP", "TRAIL") else ticket.limit
    wanted = sent.get("price")
    return (price is None and wanted is None) or (None not in (price, wanted) and float(price) == float(wanted))


def _named(kind: str, path: str, body: bytes) -> tuple[str, bool | None]:
    if kind == "place":
        return str(json.loads(body)["orders"][0].get("cOID")), None
    if kind == "reply":
        return path.rsplit("/", 1)[-1], json.loads(body)["confirmed"]
    return path.rsplit("/", 1)[-1], None


def _spelt(ref: str, style: str) -> str:
    return {"upper": ref.upper(), "cut": ref[:24], "missing": ""}.get(style, ref)
