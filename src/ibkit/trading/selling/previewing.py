"""The result of a dry run: what a sale would be, by our arithmetic, IBKR's what-if and the limits. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import OrderTicket, Preview
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.ports import Broker
from ibkit.trading.selling.market import Market
from ibkit.trading.selling.preview import LegPreview, LimitReading, SalePreview
from ibkit.trading.selling.result import named, numbers
from ibkit.trading.selling.sale import SaleRequest
from ibkit.trading.selling.trade import TradeResult
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["SalePreviewer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SalePreviewer:
    broker: Broker
    gateway: OrderGateway
    clock: Clock
    observe: Observer

    async def show(self, request: SaleRequest, market: Market, ticket: OrderTicket) -> TradeResult:
        """success: IBKR would take the order. What our own limits would say is in its warnings."""
        margin = await self.broker.preview(ticket)
        limits, remarks = await self._limits(request, market, ticket)
        entry = ticket.limit_price or market.quote.bid
        assert entry is not None, "a usable quote has a bid"
        figures = numbers(request, market, entry, request.quantity)
        preview = SalePreview(
            legs=tuple(
                LegPreview(side=side, contract=contract, quote=quote)
                for (side, contract), quote in zip(market.structure.legs, market.leg_quotes, strict=True)
            ),
            quantity=request.quantity,
            entry=entry,
            credit=figures["credit"],
            stop=figures["stop_loss"],
            trail=figures["trail"],
            take_profit=figures["take_profit"],
            exit_at=request.exits.exit_at,
            max_risk=figures["max_risk"],
            max_loss=figures["max_loss"],
            break_even=market.structure.break_even(entry),
            margin=margin,
            limits=limits,
        )
        details = {**market.snapshot, **_figures(margin)}
        told = Step(kind=StepKind.PREVIEW, at=self.clock.now(), text="preview by IBKR, nothing sent", details=details)
        self.observe(told)
        refused = margin.error is not None
        message = f"Dry run: would sell {request.quantity.normalize():f} {market.label} at about {entry}"
        return TradeResult(
            success=not refused,
            **named(request, market),
            **figures,
            message=f"Order would be rejected by IBKR: {margin.error}" if refused else message,
            code="E-ORD-REJECT" if refused else "",
            remedy="Change the order as the reason says." if refused else "",
            dry_run=True,
            warnings=(*market.warnings, *margin.warnings, *remarks),
            details=details,
            preview=preview,
        )

    async def _limits(
        self, request: SaleRequest, market: Market, ticket: OrderTicket
    ) -> tuple[tuple[LimitReading, ...], tuple[str, ...]]:
        """How near each limit is, and what is to be said of them: the sale itself asks them again, and fails closed."""
        try:
            readings = await self.gateway.assess(ticket, facts=market.facts(request))
        except IbkitError as error:
            return (), (f"the limits could not be read: {error.message}",)
        refusals = (f"would be refused: {each.objection.text}" for each in readings if each.objection is not None)
        return tuple(LimitReading.of(reading) for reading in readings), tuple(refusals)


def _figures(margin: Preview) -> dict[str, str]:
    """The margin as facts for machines."""
    figures = {
        "initial_margin_change": margin.initial_margin_change,
        "maintenance_margin_change": margin.maintenance_margin_change,
        "commission": margin.commission,
        "equity_after": margin.equity_after,
    }
    return {name: f"{value:f}" for name, value in figures.items() if value is not None}
