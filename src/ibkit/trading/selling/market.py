"""What is read of the market before a sale, and what of it may say no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, NotPermitted
from ibkit.model import Availability, Conid, Contract, Increments, Quote, Side
from ibkit.trading import risk
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Broker
from ibkit.trading.risk import Facts
from ibkit.trading.selling.checks import check_exit_at, check_last_minute, check_quote, check_strike
from ibkit.trading.selling.exits import ExitPrices, exit_prices
from ibkit.trading.selling.sale import SaleRequest
from ibkit.trading.selling.structure import Structure, long_strike, net_quote
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["Market", "MarketReader"]

_SUGGESTED_FROM = 8
"""Strikes around the market that a suggestion is made from: each costs a look-up at IBKR."""

_GREEKS_WITHIN_S, _GREEKS_STEP_S = 6.0, 0.5
"""Source: docs/facts/contracts-and-market-data.md §2.1 (1-5 s after bid and ask, or never out of hours)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What was read before a sale. quote: of what is sold, of a vertical the net one; leg_quotes: as structure.legs."""

    structure: Structure
    quote: Quote
    quote_at: datetime
    underlying_price: Decimal | None
    sell_grid: Increments
    buy_grid: Increments
    leg_quotes: tuple[Quote, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def contract(self) -> Contract:
        return self.structure.contract

    @property
    def label(self) -> str:
        return self.structure.label

    @property
    def snapshot(self) -> Mapping[str, str]:
        """Column market_snapshot of the record."""
        prices = {
            "bid": self.quote.bid,
            "ask": self.quote.ask,
            "last": self.quote.last,
            "underlying_price": self.underlying_price,
        }
        known = {name: f"{price:f}" for name, price in prices.items() if price is not None}
        return {**known, "availability": self.quote.availability.value}

    def prices(self, request: SaleRequest, entry: Decimal) -> ExitPrices | None:
        """The exits after an entry at `entry` on average; None where it brought nothing to measure them by."""
        return exit_prices(request.exits, entry, self.buy_grid, most=self.structure.width)

    def facts(self, request: SaleRequest) -> Facts:
        """What the risk controls are told of it, so that it is not read again."""
        planned = request.limit_price or self.quote.bid
        prices = None if planned is None else self.prices(request, planned)
        return Facts(
            quote=self.quote if self.quote.usable else None,
            quote_at=self.quote_at if self.quote.usable else None,
            increments=self.sell_grid,
            underlying_price=self.underlying_price,
            planned_stop=None if prices is None else prices.stop,
            markets=self._leg_markets,
        )

    @property
    def _leg_markets(self) -> Mapping[Conid, risk.Market]:
        """Of a vertical, whose legs the controls judge one by one."""
        if self.structure.long is None:
            return {}
        legs = [contract for _, contract in self.structure.legs]
        return {
            contract.conid: risk.Market(quote=quote, quote_at=self.quote_at, underlying_price=self.underlying_price)
            for contract, quote in zip(legs, self.leg_quotes, strict=False)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketReader:
    broker: Broker
    clock: Clock
    max_strike_distance_pct: Decimal
    observe: Observer

    async def look(self, request: SaleRequest) -> Market:
        """Contract, underlying, strike and quote: everything that may still say no without an order."""
        check_last_minute(request, self.clock.now())
        check_exit_at(request, self.clock.now())
        structure = await self._structure(request)
        for _, contract in structure.legs:
            self._tell(StepKind.CONTRACT, f"{contract.label} is contract {contract.conid}", conid=str(contract.conid))
        underlying = await self.broker.underlying(request.symbol)
        spot = (await self.broker.quote(underlying.conid)).best
        warning = await self._checked_strike(request, spot)
        sell_grid, buy_grid = await self._grids(structure)
        legs = await (self._with_greeks(structure) if request.dry_run else self._quotes(structure))
        for quote, (side, _) in zip(legs, structure.legs, strict=True):
            check_quote(request, quote, side)
        market = Market(
            structure=structure,
            quote=_whole(structure, legs),
            quote_at=self.clock.now(),
            underlying_price=spot,
            sell_grid=sell_grid,
            buy_grid=buy_grid,
            leg_quotes=legs,
            warnings=tuple(filter(None, (warning,))),
        )
        if not market.quote.usable:
            raise NotPermitted(
                f"{market.label} brings nothing at the market: bid {market.quote.bid}, ask {market.quote.ask}",
                code="E-QUOTE",
                remedy="Choose a nearer strike or a greater --width.",
            )
        text = f"bid {market.quote.bid}, ask {market.quote.ask}; {request.symbol} at {spot}"
        self._tell(StepKind.QUOTE, text, **market.snapshot)
        return market

    async def resumed(self, request: SaleRequest, known: Intent) -> Market:
        """The market of a sale that was begun: no check may stop it from being protected now."""
        structure = _structure_of(known.ticket.contract)
        if structure is None or not _asked_for(structure, request):
            structure = await self._structure(request)
        self._tell(StepKind.RECOVERY, f"this key is known: {known.label} is {known.state.value}", ref=known.ref)
        sell_grid, buy_grid = await self._grids(structure)
        return Market(
            structure=structure,
            quote=Quote(conid=structure.contract.conid),
            quote_at=self.clock.now(),
            underlying_price=None,
            sell_grid=sell_grid,
            buy_grid=buy_grid,
        )

    async def price_of(self, structure: Structure) -> Decimal | None:
        """What the whole is worth now, as well as anybody says: the last resort for a stop's price."""
        quotes = await self._quotes(structure)
        return _whole(structure, quotes).best

    async def _structure(self, request: SaleRequest) -> Structure:
        short = await self._option(request, request.strike)
        if request.width is None:
            return Structure(short)
        return Structure(short, await self._option(request, long_strike(request.strike, request.right, request.width)))

    async def _option(self, request: SaleRequest, strike: Decimal) -> Contract:
        return await self.broker.option(request.symbol, expiry=request.expiry, strike=strike, right=request.right)

    async def _grids(self, structure: Structure) -> tuple[Increments, Increments]:
        """For selling, for buying."""
        contract = structure.contract
        return (
            await grid_of(self.broker, contract, side=Side.SELL),
            await grid_of(self.broker, contract, side=Side.BUY),
        )

    async def _quotes(self, structure: Structure) -> tuple[Quote, ...]:
        if structure.long is None:
            return (await self.broker.quote(structure.short.conid),)
        return await self.broker.quotes((structure.short.conid, structure.long.conid))

    async def _with_greeks(self, structure: Structure) -> tuple[Quote, ...]:
        """For a preview, which shows deltas: they are computed, and come seconds after bid and ask."""
        deadline = self.clock.monotonic() + _GREEKS_WITHIN_S
        while True:
            quotes = await self._quotes(structure)
            waits = any(quote.delta is None and quote.availability is Availability.REAL_TIME for quote in quotes)
            if not waits or self.clock.monotonic() >= deadline:
                return quotes
            await self.clock.sleep(_GREEKS_STEP_S)

    async def _checked_strike(self, request: SaleRequest, spot: Decimal | None) -> str:
        try:
            return check_strike(request, underlying=spot, strikes=(), most_pct=self.max_strike_distance_pct)
        except IbkitError as error:
            if error.code != "E-STRIKE-GUARD":
                raise
        # Only a refused strike is worth the walk through the chain: the suggestion is made from it.
        listed = await self.broker.option_strikes(
            request.symbol, expiry=request.expiry, right=request.right, near=spot, at_most=_SUGGESTED_FROM
        )
        strikes = tuple(contract.strike for contract in listed if contract.strike is not None)
        return check_strike(request, underlying=spot, strikes=strikes, most_pct=self.max_strike_distance_pct)

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _whole(structure: Structure, quotes: tuple[Quote, ...]) -> Quote:
    return quotes[0] if structure.long is None else net_quote(structure.contract, quotes)


def _structure_of(contract: Contract) -> Structure | None:
    """What a sale's ticket names; None for a combination that no sale makes."""
    if not contract.legs:
        return Structure(contract)
    parts = {leg.ratio: leg.contract for leg in contract.legs}
    return Structure(parts[1], parts[-1]) if len(contract.legs) == 2 and set(parts) == {1, -1} else None


def _asked_for(structure: Structure, request: SaleRequest) -> bool:
    short = structure.short
    asked = (request.symbol, request.strike, request.right, request.expiry, request.width)
    return (short.symbol, short.strike, short.right, short.expiry, structure.width) == asked
