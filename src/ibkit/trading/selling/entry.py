"""The entry order of a sale: sent, waited for, its rest cancelled; and what is said where it sold nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown, StorageError
from ibkit.model import OrderTicket
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ref import derive_ref
from ibkit.trading.selling.hurry import Hurry
from ibkit.trading.selling.market import Market, MarketReader
from ibkit.trading.selling.records import SaleRecords
from ibkit.trading.selling.result import rejected
from ibkit.trading.selling.sale import SaleRequest
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["EntryOrder", "NothingSold", "may_have_sold"]


@dataclass(frozen=True, slots=True)
class NothingSold:
    """The order came to nothing, or it is not known what it came to; `error` says which."""

    entry: Intent
    error: IbkitError


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOrder:
    gateway: OrderGateway
    reader: MarketReader
    records: SaleRecords
    clock: Clock
    fill_timeout_s: float
    observe: Observer

    async def sell(
        self, request: SaleRequest, market: Market, ticket: OrderTicket, hurry: Hurry
    ) -> Intent | NothingSold:
        """The entry's intent, over, with what it sold and at which average; raises what refused it.

        The average may stay None where nobody can say it.
        """
        try:
            outcome = await self.gateway.submit(
                ticket, key=request.key, confirm=request.confirm, purpose="entry", facts=market.facts(request)
            )
        except IbkitError as error:
            await self._close_record(request, error)
            raise
        entry = outcome.intent
        if not outcome.accepted:
            refusal = outcome.error
            assert refusal is not None, "what was not accepted has its reason"
            await self._close_record(request, refusal)
            raise refusal
        if entry.state is IntentState.ACKED:
            entry = await self.gateway.wait_for_fill(entry, within_s=self.fill_timeout_s, hurried=hurry)
        late = not entry.final
        if late:
            entry = await self._cancel_rest(entry)
        if entry.filled == 0:
            return await self._nothing_sold(request, entry, late=late)
        if not entry.final:
            message = f"CRITICAL: {entry.label}: the rest could not be cancelled and may still fill unprotected"
            self._tell(StepKind.CRITICAL, message)
            await self.records.unprotected(entry.ref, message)
        entry = await self._priced(entry, market)
        average = entry.average_price
        self._tell(
            StepKind.FILL,
            f"sold {entry.filled.normalize():f} of {request.quantity.normalize():f} at {average}",
            order=entry.order_id or "",
            price="" if average is None else f"{average:f}",
        )
        return entry

    async def _cancel_rest(self, entry: Intent) -> Intent:
        status = entry.order_status.value if entry.order_status else ""
        share = f"{entry.filled.normalize():f} of {entry.ticket.quantity.normalize():f}"
        self._tell(StepKind.CANCEL, f"filled {share} in time (status {status}): cancelling the rest")
        try:
            return await self.gateway.cancel_rest(entry)
        except IbkitError as error:
            self._tell(StepKind.CANCEL, f"the cancel failed: {error.message}")
        return await self.gateway.wait_for_fill(entry, within_s=5.0)

    async def _priced(self, entry: Intent, market: Market) -> Intent:
        """`entry` with the average price of what it sold; without one only where nobody can say it."""
        if entry.average_price is not None:
            return entry
        average = await self.records.average_of(entry) or entry.ticket.limit_price or market.quote.bid
        if average is None:
            try:
                average = await self.reader.price_of(market.structure)
            except IbkitError as error:
                self._tell(StepKind.FILL, f"IBKR says no price of what was sold, nor a quote: {error.message}")
        return dataclasses.replace(entry, average_price=average)

    async def _close_record(self, request: SaleRequest, error: IbkitError) -> None:
        """Closes the pending record, unless an order of this key may be alive: another run's, or on other terms."""
        try:
            known = await self.gateway.find(request.key)
        except StorageError:
            return
        if known is None or not may_have_sold(known):
            ref = derive_ref(tenant=self.gateway.tenant, environment=self.gateway.environment, key=request.key)
            await self.records.sold_nothing(ref, error)

    async def _nothing_sold(self, request: SaleRequest, entry: Intent, *, late: bool) -> NothingSold:
        """late: we cancelled it for its time, so what the broker says of its end is our doing, no refusal."""
        if entry.final and entry.state is not IntentState.UNKNOWN_NEEDS_HUMAN:
            if entry.state is IntentState.REJECTED_LATE or (entry.reason and not late):
                raise rejected(entry)
            status = entry.order_status.value if entry.order_status else ""
            error = IbkitError(
                f"Order not filled within {self.fill_timeout_s:g} s (status {status})", code="E-ORD-TIMEOUT"
            )
        else:
            error = OutcomeUnknown(
                f"CRITICAL: {entry.label} is order {entry.order_id}: it did not fill in time and its cancel is not "
                "confirmed; it may still fill unprotected",
                code="E-ORD-UNKNOWN",
            )
            await self.records.unprotected(entry.ref, error.message)
        await self._close_record(request, error)
        return NothingSold(entry, error)

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def may_have_sold(entry: Intent) -> bool:
    """Whether the journal cannot exclude that this entry has sold, or will yet sell, something."""
    alive = entry.state in (IntentState.ACKED, IntentState.UNKNOWN_NEEDS_HUMAN) or entry.state.may_have_left
    return alive or entry.filled > 0
