"""At what price: RC-09 fresh quote, RC-10 collar, RC-11 market orders, RC-12 grid of prices and lots."""

from __future__ import annotations

from decimal import Decimal

from ibkit.model import Contract, OrderTicket, OrderType, Quote, Rounding, SecType, Side, round_price
from ibkit.trading.risk.case import Case, Reading, is_derivative, parts_of
from ibkit.trading.risk.limits import Mode
from ibkit.trading.risk.value import net_middle

__all__ = ["UNPRICED", "collar", "fresh_quote", "market_orders", "price_grid"]

UNPRICED = (OrderType.MARKET, OrderType.MARKET_ON_CLOSE)
"""They trade at whatever the market is."""
_OPTIONS = (SecType.OPTION, SecType.FUTURE_OPTION, SecType.COMBO)


def fresh_quote(case: Case) -> Reading:
    """RC-09: what is valued with a quote needs one that is young, of each leg of a combination."""
    control, name, allowed_s = "RC-09", "quote_stale", case.limits.quote_age_s
    needed = [ticket for ticket in case.openers if _needs_quote(case, ticket)]
    for ticket in needed:
        for part in parts_of(ticket.contract):
            market = case.market(part)
            if market.quote is not None and case.fresh(market.quote_at, allowed_s):
                continue
            age = "no quote"
            if market.quote is not None and market.quote_at is not None:
                age = f"{(case.now - market.quote_at).total_seconds():.1f} s old"
            message = f"The order cannot be valued: {age}, a quote of at most {allowed_s:g} s is needed"
            return case.refuses(control, name, age, f"{allowed_s:g} s", message=message, known=False)
    return case.passes(control, name, "fresh" if needed else "not needed", f"{allowed_s:g} s")


def collar(case: Case) -> Reading:
    """RC-10: a limit on the wrong side of the market by too much, where the order would trade badly at once.

    A limit that waits away from the market can only trade better than it, so that side is free.
    """
    control, name = "RC-10", "price_collar"
    worst: Reading | None = None
    for ticket in case.openers:
        limit, width = ticket.limit_price, _width(case, ticket.contract)
        if limit is None or width is None:
            continue
        middle = _middle(case, ticket.contract)
        if middle is None:
            message = "The limit price cannot be judged: no market price is known"
            return case.refuses(control, name, f"{limit:f}", f"{width:f} %", message=message, known=False)
        reach = abs(middle) * width / 100
        if ticket.contract.sec_type in _OPTIONS:
            reach = max(reach, case.limits.option_collar_floor)
        worse = limit - middle if ticket.side is Side.BUY else middle - limit
        if worse > reach:
            message = f"Limit price {limit:f} is more than {reach:.2f} beyond the market at {middle:f}"
            return case.refuses(control, name, f"{limit:f}", f"{width:f} %", message=message, headroom=reach - worse)
        if worst is None or reach - worse < (worst.headroom or reach):
            worst = case.passes(control, name, f"{limit:f}", f"{width:f} %", reach - worse)
    return worst or case.off(control, name)


def market_orders(case: Case) -> Reading:
    """RC-11: a market order only into a market that is seen, and narrow."""
    control, name, mode = "RC-11", "market_order_unsafe", case.limits.market_orders
    unpriced = [ticket for ticket in case.openers if ticket.order_type in UNPRICED]
    if mode is Mode.OFF or not unpriced:
        return case.off(control, name)
    for ticket in unpriced:
        for part in parts_of(ticket.contract):
            why = _unsafe(case, part)
            if why and mode is Mode.REFUSE:
                message = f"A market order is not safe: {why}. Use a limit"
                return case.refuses(control, name, why, f"{case.limits.market_spread_pct:f} %", message=message)
            if why:
                text = f"a market order is not safe: {why}"
                return case.warns(control, name, why, f"{case.limits.market_spread_pct:f} %", text)
    return case.passes(control, name, "narrow market", f"{case.limits.market_spread_pct:f} %")


def price_grid(case: Case) -> Reading:
    """RC-12: prices on the contract's grid, positive and sane; derivatives in whole contracts."""
    control, name = "RC-12", "tick_size"
    if not case.limits.ticks:
        return case.off(control, name)
    for ticket in case.tickets:
        if is_derivative(ticket.contract) and ticket.quantity != ticket.quantity.to_integral_value():
            message = f"Quantity {ticket.quantity:f} is not a whole number of contracts"
            return case.refuses(control, name, f"{ticket.quantity:f}", "whole contracts", message=message)
        for price in _prices(ticket):
            message, known = _off_grid(case, ticket.contract, price)
            if message:
                return case.refuses(control, name, f"{price:f}", "", message=message, known=known)
    return case.passes(control, name, "on the grid")


def _needs_quote(case: Case, ticket: OrderTicket) -> bool:
    unpriced = ticket.limit_price is None and ticket.stop_price is None
    valued = case.limits.max_order_value is not None and unpriced
    return valued or (_width(case, ticket.contract) is not None and ticket.limit_price is not None)


def _width(case: Case, contract: Contract) -> Decimal | None:
    """The width of the collar in per cent, None where it is off."""
    return case.limits.option_collar_pct if contract.sec_type in _OPTIONS else case.limits.collar_pct


def _middle(case: Case, contract: Contract) -> Decimal | None:
    if contract.legs:
        return net_middle(case, contract)
    quote = case.market(contract).quote
    if quote is None:
        return None
    return quote.mid if quote.usable else quote.best


def _unsafe(case: Case, contract: Contract) -> str:
    """Why a market order in it is not safe; empty where it is."""
    market = case.market(contract)
    quote = market.quote
    if quote is None or not case.fresh(market.quote_at, case.limits.market_quote_age_s):
        return f"no quote of the last {case.limits.market_quote_age_s:g} s"
    spread = _spread_pct(quote)
    if spread is None:
        return "the market has no two sides"
    if spread > case.limits.market_spread_pct:
        return f"the spread is {spread:.2f} % of the price"
    return ""


def _spread_pct(quote: Quote) -> Decimal | None:
    if not quote.usable or quote.bid is None or quote.ask is None or not quote.mid:
        return None
    return (quote.ask - quote.bid) * 100 / quote.mid


def _prices(ticket: OrderTicket) -> tuple[Decimal, ...]:
    """What must lie on the grid: limit and trigger. A trail and an offset are distances, which IBKR rounds itself."""
    return tuple(price for price in (ticket.limit_price, ticket.stop_price) if price is not None)


def _off_grid(case: Case, contract: Contract, price: Decimal) -> tuple[str, bool]:
    """What is wrong with a price, empty where nothing is; and whether the grid was known."""
    grid = case.market(contract).increments
    if price <= 0 and not contract.legs:
        return f"Price {price:f} is not positive", True
    if abs(price) > case.limits.max_price:
        return f"Price {price:f} is above {case.limits.max_price:f}, which makes no sense", True
    if grid is None:
        return "The contract's price increments are not known", False
    if not grid.fits(price):
        below, above = (round_price(price, grid, way) for way in (Rounding.DOWN, Rounding.UP))
        return f"Price {price:f} is not on the contract's grid of {grid.at(price):f}: {below:f} and {above:f} are", True
    return "", True
