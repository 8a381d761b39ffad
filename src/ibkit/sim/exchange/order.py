r"""One order inside the simulated exchange, and its executions.

    parked --yes--> live --> filled            parked: waits behind a question
      |              |  \--> cancelled         live:   PreSubmitted or Submitted, by what it waits for
      no             |  \--> rejected          saved:  sent with `deactivated`
      |              \--> pending_cancel --> cancelled | filled
    declined

Source: docs/facts/orders.md §3.2, §8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ibkit.sim.exchange.tickets import Side, SimTicket

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument

__all__ = ["Execution", "Reading", "SimOrder", "State"]

State = Literal["parked", "live", "pending_cancel", "filled", "cancelled", "rejected", "saved", "declined"]
Reading = tuple[Decimal, Decimal]
"""Price and size of one look at the side of the market that a stop watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill; quantity is positive, commission what it cost, positive.

    legs: of a combo's fill, what was done in each contract; its own price is the net one, its commission theirs in all.
    """

    id: str
    order: SimOrder
    at: datetime
    instrument: Instrument
    side: Side
    price: Decimal
    quantity: Decimal
    commission: Decimal
    exchange: str
    legs: tuple[Execution, ...] = ()

    @property
    def net_amount(self) -> Decimal:
        """Without commission, positive on both sides. Source: docs/facts/orders.md §11."""
        return self.price * self.quantity * self.instrument.multiplier


@dataclass(slots=True, eq=False, kw_only=True)
class SimOrder:
    """ticket: its terms now; a modification puts another one here.

    since:  the last change that matters to matching; ticks after it count.
    stop_now: where the stop of a trailing order stands; None before it has seen the market.
    limit_now: where its limit stands, or that of a pegged order, once it has moved.
    last_hit: a stop's first qualifying look at the market, which a second one would confirm.
    cancel_at: when a cancel under way takes effect. stuck: a scenario lets nothing more of it be filled.
    events: what happened to it, oldest first; only ever appended to.
    """

    id: int
    account: str
    username: str
    ticket: SimTicket
    placed_at: datetime
    request_id: int
    state: State
    since: datetime
    origin: Literal["api", "tws"] = "api"
    accepted_at: datetime | None = None
    parent: SimOrder | None = None
    children: list[SimOrder] = field(default_factory=list)
    group: str | None = None
    """Orders with the same group reduce each other by their fills."""
    elected_at: datetime | None = None
    stop_now: Decimal | None = None
    limit_now: Decimal | None = None
    last_hit: Reading | None = None
    cancel_at: datetime | None = None
    reject_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    replaces: int | None = None
    """Id of the rejected order that a prompt's "Yes" sent again as this one."""
    stuck: bool = False
    executions: list[Execution] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def conid(self) -> int:
        return self.ticket.instrument.conid

    @property
    def ref(self) -> str | None:
        return self.ticket.ref

    @property
    def total(self) -> Decimal:
        return self.ticket.quantity

    @property
    def filled(self) -> Decimal:
        return sum((execution.quantity for execution in self.executions), Decimal(0))

    @property
    def remaining(self) -> Decimal:
        return self.total - self.filled

    @property
    def commission(self) -> Decimal:
        return sum((execution.commission for execution in self.executions), Decimal(0))

    @property
    def working(self) -> bool:
        """It can still be filled."""
        return self.state in ("live", "pending_cancel")

    @property
    def waits(self) -> bool:
        """It is held until the market reaches its stop or its trigger."""
        return self.ticket.kind.waits is not None and self.elected_at is None

    @property
    def stop(self) -> Decimal | None:
        """Where its stop or trigger stands now; None of a trailing order that has seen no market yet."""
        return self.stop_now if self.ticket.kind.trails else self.ticket.stop

    @property
    def limit(self) -> Decimal | None:
        """Where its limit stands now; of a relative order its limit, not where it rests."""
        relative = self.ticket.order_type == "REL"
        return self.ticket.limit if relative or self.limit_now is None else self.limit_now

    def active_quantity(self, *, child_activation: str) -> Decimal:
        """How much of it may trade now: a bracket child follows what its parent has filled."""
        if self.parent is None:
            return self.remaining
        open_part = self.parent.filled
        if child_activation == "complete" and self.parent.working:
            open_part = Decimal(0)
        return max(Decimal(0), min(self.total, open_part) - self.filled)

    def note(self, at: datetime, event: str, request_id: int, **facts: Any) -> None:
        self.events.append({"at": at, "event": event, "request_id": request_id, **facts})
