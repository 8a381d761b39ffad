"""What may stop a sale before any order: a late hour, a far strike, a quote that is no base for one."""

from __future__ import annotations

from datetime import datetime, time
from decimal import Decimal

from ibkit.errors import ConfigError, InvalidRequest, NotFound, NotPermitted, TradingError
from ibkit.model import Availability, Quote, Right, Side
from ibkit.trading.selling.sale import NEW_YORK, SaleRequest

__all__ = ["check_exit_at", "check_last_minute", "check_quote", "check_strike"]

_LAST_MINUTE = time(15, 55)


def check_last_minute(request: SaleRequest, now: datetime) -> None:
    """No expiry in the past; a same-day sale after 15:55 New York time only with force (requirement OPT-04)."""
    local = now.astimezone(NEW_YORK)
    if request.expiry < local.date():
        raise NotFound(
            f"Expiry {request.expiry:%Y%m%d} is in the past",
            code="E-EXPIRY",
            remedy="Choose a later expiry with --expiry.",
        )
    if request.expiry == local.date() and local.time() >= _LAST_MINUTE and not request.force:
        raise NotFound(
            f"{local:%H:%M} in New York: too late to sell an option that expires today",
            code="E-EXPIRY",
            remedy="Choose a later expiry with --expiry, or repeat with --force.",
        )


def check_exit_at(request: SaleRequest, now: datetime) -> None:
    """The planned exit lies ahead, and not beyond the option's last day. ConfigError (E-VALIDATION) names it."""
    at = request.exits.exit_at
    if at is not None and not (now < at and at.astimezone(NEW_YORK).date() <= request.expiry):
        shown = f"{at.astimezone(NEW_YORK):%Y-%m-%d %H:%M}"
        raise ConfigError(
            f"Invalid request: exit_at: {shown} in New York is past, or after the expiry",
            code="E-VALIDATION",
            remedy="Name a moment between now and the option's last day.",
            details={"field": "exit_at"},
        )


def check_strike(
    request: SaleRequest, *, underlying: Decimal | None, strikes: tuple[Decimal, ...], most_pct: Decimal
) -> str:
    """A warning for a strike in the money, else empty. Raises TradingError (E-STRIKE-GUARD, E-QUOTE).

    strikes: those listed, for a suggestion. most_pct: MAX_STRIKE_DISTANCE_PCT.
    """
    if underlying is None or underlying <= 0:
        if request.force:
            return f"no price of {request.symbol} is known: the strike was not checked"
        raise InvalidRequest(
            f"No price of {request.symbol} is known, so the strike cannot be checked",
            code="E-QUOTE",
            remedy="Wait for market hours, or repeat with --force.",
        )
    distance = abs(request.strike - underlying) / underlying * 100
    if distance > most_pct and not request.force:
        near = _nearest_out_of_the_money(request.right, underlying, strikes)
        suggestion = (
            f" Nearest out of the money: {', '.join(f'{strike.normalize():f}' for strike in near)}." if near else ""
        )
        raise TradingError(
            f"Strike {request.strike.normalize():f} is {distance:.1f} % away from {request.symbol} at {underlying}",
            code="E-STRIKE-GUARD",
            remedy=f"Pass a nearer strike, or --force.{suggestion}",
            details={"distance_pct": f"{distance:.1f}", "suggested": [str(strike) for strike in near]},
        )
    inside = request.strike > underlying if request.right is Right.PUT else request.strike < underlying
    return f"strike {request.strike.normalize():f} is in the money ({request.symbol} at {underlying})" if inside else ""


def _nearest_out_of_the_money(right: Right, underlying: Decimal, strikes: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if right is Right.PUT:
        return tuple(sorted((strike for strike in strikes if strike < underlying), reverse=True)[:3])
    return tuple(sorted(strike for strike in strikes if strike > underlying)[:3])


def check_quote(request: SaleRequest, quote: Quote, side: Side = Side.SELL) -> None:
    """Whether an order may be based on `quote` (requirements TRD-07, TRD-08).

    side: what the sale does with it; of a leg that is bought only the ask counts, far ones have no bid.
    """
    match quote.availability:
        case Availability.NOT_SUBSCRIBED:
            raise NotPermitted("No market data available: not subscribed", code="E-MD-NONE")
        case Availability.NO_ACKNOWLEDGEMENT:
            raise NotPermitted(code="E-MD-ACK")
        case Availability.DELAYED | Availability.FROZEN | Availability.FROZEN_DELAYED if not request.allow_delayed:
            word = quote.availability.name.lower().replace("_", " ")
            raise NotPermitted(
                f"Quote not usable for an order: it is only {word}",
                code="E-QUOTE",
                remedy="Repeat with --allow-delayed to sell on it all the same.",
            )
        case _:
            pass  # real time, or not said: judged by its prices
    if quote.bid is None and quote.ask is None:
        raise NotPermitted("No market data available: neither bid nor ask came", code="E-MD-NONE")
    usable = quote.usable if side is Side.SELL else quote.ask is not None and quote.ask > 0
    if not usable or quote.halted:
        halted = ", halted" if quote.halted else ""
        raise NotPermitted(f"Quote not usable (bid {quote.bid}, ask {quote.ask}{halted})", code="E-QUOTE")
