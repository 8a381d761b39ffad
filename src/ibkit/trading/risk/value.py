"""What an order is worth or may lose, at worst: the figure behind RC-08, RC-14, RC-17 and RC-29.

    bought, or sold stock    price x multiplier x quantity, at the worst price at which it could trade
    short option             loss at the stop that is planned for it, else the margin of a naked one
    combination of options   the largest loss over its strikes, and margin for what no long leg covers
    group                    a bracket: its parent; one cancels all: its largest member

Margin of a naked option: the larger of premium + 20 % of the underlying - amount out of the money, and
premium + 10 % of the strike. Source: docs/facts/orders.md §12.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ibkit.model import ComboLeg, Contract, GroupKind, OrderTicket, Quote, Right, SecType, Side, TrailKind
from ibkit.trading.risk.case import Case
from ibkit.trading.risk.facts import Market

__all__ = ["case_value", "net_middle", "reference_price", "ticket_value", "uncovered"]

_OPTIONS = (SecType.OPTION, SecType.FUTURE_OPTION)
_ZERO = Decimal(0)


def case_value(case: Case) -> Decimal | None:
    """In USD: the largest of the orders that open something (they exclude each other), 0 where none does.

    None where a price or an exchange rate is missing. The orders of a bracket that are no proper children add up.
    """
    values: list[Decimal] = []
    for ticket in case.openers:
        value = ticket_value(case, ticket)
        worth = None if value is None else case.usd(value, ticket.contract.currency)
        if worth is None:
            return None
        values.append(worth)
    if not values:
        return _ZERO
    return max(values) if _exclude_each_other(case) else sum(values, _ZERO)


def ticket_value(case: Case, ticket: OrderTicket) -> Decimal | None:
    """In the contract's currency; None where a price is missing."""
    contract = ticket.contract
    if contract.legs:
        return _combo_value(case, ticket)
    market = case.market(contract)
    price = reference_price(ticket, market.quote)
    if price is None:
        return None
    units = contract.multiplier * ticket.quantity
    if contract.sec_type not in _OPTIONS or ticket.side is Side.BUY:
        return price * units
    if case.facts.planned_stop is not None:
        return max(case.facts.planned_stop - price, _ZERO) * units
    margin = _naked_margin(contract, price, market)
    return None if margin is None else margin * units


def reference_price(ticket: OrderTicket, quote: Quote | None) -> Decimal | None:
    """The price at which it could trade at worst.

    A buyer pays at most its limit; without one, the highest of its trigger and the market. A seller's sale is worth
    the highest of all: its limit, its trigger, the market.
    """
    buys = ticket.side is Side.BUY
    if buys and ticket.limit_price is not None:
        return ticket.limit_price
    side = None if quote is None else (quote.ask if buys else quote.bid)
    market = (side or quote.best) if quote is not None else None
    known = [ticket.limit_price, ticket.stop_price, market, _trail_trigger(ticket, market)]
    prices = [price for price in known if price is not None]
    return max(prices, default=None)


def net_middle(case: Case, contract: Contract) -> Decimal | None:
    """The middle of the market for one combination, from its legs' quotes; None where one has no two sides."""
    total = _ZERO
    for leg in contract.legs:
        quote = case.market(leg.contract).quote
        if quote is None or not quote.usable or quote.mid is None:
            return None
        total += leg.ratio * quote.mid
    return total


def uncovered(ticket: OrderTicket) -> Decimal:
    """Option contracts that the ticket sells without a long leg that covers them (same right, expires no earlier)."""
    contract = ticket.contract
    if contract.legs:
        legs = _signed(ticket)
        found = sum((_naked(legs, right)[0] for right in Right), _ZERO)
        return found * ticket.quantity
    sells = contract.sec_type in _OPTIONS and ticket.side is Side.SELL
    return ticket.quantity if sells else _ZERO


def _exclude_each_other(case: Case) -> bool:
    """Of an OCA group one order fills; of a bracket whose only opener is its parent there is just one."""
    return case.group is GroupKind.OCA or len(case.openers) == 1


def _trail_trigger(ticket: OrderTicket, market: Decimal | None) -> Decimal | None:
    """Where a buyer's trailing stop without a first trigger begins; a seller's lies below the market."""
    if ticket.trail is None or ticket.stop_price is not None or market is None or ticket.side is Side.SELL:
        return None
    percent = ticket.trail.kind is TrailKind.PERCENT
    return market + (market * ticket.trail.amount / 100 if percent else ticket.trail.amount)


def _naked_margin(contract: Contract, premium: Decimal, market: Market) -> Decimal | None:
    spot, strike = market.underlying_price, contract.strike
    if spot is None or strike is None:
        return None
    beyond = spot - strike if contract.right is Right.PUT else strike - spot
    return max(premium + spot * 20 / 100 - max(beyond, _ZERO), premium + strike / 10)


# -- combinations ----------------------------------------------------------------------------------------------------


def _signed(ticket: OrderTicket) -> tuple[ComboLeg, ...]:
    """The legs as this ticket trades them: selling the whole turns each ratio round."""
    sign = 1 if ticket.side is Side.BUY else -1
    return tuple(ComboLeg(leg.contract, sign * leg.ratio) for leg in ticket.contract.legs)


def _combo_value(case: Case, ticket: OrderTicket) -> Decimal | None:
    legs = _signed(ticket)
    if any(leg.contract.sec_type not in _OPTIONS or leg.contract.strike is None for leg in legs):
        return _gross(case, ticket, legs)
    cost = _cost(case, ticket, legs)
    naked = _naked_value(case, legs)
    if cost is None or naked is None:
        return None
    worst = max(cost - _payoff(legs, leg.contract.strike or _ZERO) for leg in legs)
    return (max(worst, _ZERO) + naked) * ticket.contract.multiplier * ticket.quantity


def _cost(case: Case, ticket: OrderTicket, legs: Sequence[ComboLeg]) -> Decimal | None:
    """What one costs us: by its limit, else by what the legs' quotes ask and bid.

    A leg that is bought needs its ask alone: nobody bids for an option that is all but worthless.
    """
    if ticket.limit_price is not None:
        return ticket.limit_price if ticket.side is Side.BUY else -ticket.limit_price
    total = _ZERO
    for leg in legs:
        quote = case.market(leg.contract).quote
        price = None if quote is None else _side(quote, buys=leg.ratio > 0)
        if price is None:
            return None
        total += leg.ratio * price
    return total


def _side(quote: Quote, *, buys: bool) -> Decimal | None:
    if quote.usable:
        return quote.ask if buys else quote.bid
    return quote.ask if buys and quote.ask and not quote.bid else None


def _payoff(legs: Sequence[ComboLeg], spot: Decimal) -> Decimal:
    """What one is worth when its options end with the underlying at `spot`.

    A long leg that ends before a short one of its right is worth nothing by then.
    """
    total = _ZERO
    for leg in legs:
        strike = leg.contract.strike or _ZERO
        inside = strike - spot if leg.contract.right is Right.PUT else spot - strike
        if leg.ratio < 0 or _lasts(leg, legs):
            total += leg.ratio * max(inside, _ZERO)
    return total


def _lasts(leg: ComboLeg, legs: Sequence[ComboLeg]) -> bool:
    """Whether a long leg lives at least as long as every short one of its right."""
    ends = leg.contract.expiry
    shorts = [other.contract.expiry for other in legs if other.ratio < 0 and other.contract.right is leg.contract.right]
    return all(ends is not None and other is not None and ends >= other for other in shorts)


def _naked(legs: Sequence[ComboLeg], right: Right) -> tuple[Decimal, tuple[ComboLeg, ...]]:
    """How many short legs of that right no long one covers, of one combination; and the short legs."""
    shorts = tuple(leg for leg in legs if leg.ratio < 0 and leg.contract.right is right)
    longs = [leg for leg in legs if leg.ratio > 0 and leg.contract.right is right and _lasts(leg, legs)]
    sold, bought = sum(-leg.ratio for leg in shorts), sum(leg.ratio for leg in longs)
    return Decimal(max(sold - bought, 0)), shorts


def _naked_value(case: Case, legs: Sequence[ComboLeg]) -> Decimal | None:
    """Margin per unit of the short legs that nothing covers, each counted like the dearest of its right."""
    total = _ZERO
    for right in Right:
        count, shorts = _naked(legs, right)
        if not count:
            continue
        margins: list[Decimal] = []
        for leg in shorts:
            market = case.market(leg.contract)
            premium = None if market.quote is None else market.quote.ask or market.quote.best
            margin = None if premium is None else _naked_margin(leg.contract, premium, market)
            if margin is None:
                return None
            margins.append(margin)
        total += count * max(margins)
    return total


def _gross(case: Case, ticket: OrderTicket, legs: Sequence[ComboLeg]) -> Decimal | None:
    """Legs that are no options do not offset each other here: all of them count in full."""
    total = _ZERO
    for leg in legs:
        quote = case.market(leg.contract).quote
        price = None if quote is None else (quote.ask if leg.ratio > 0 else quote.bid) or quote.best
        if price is None:
            return None
        total += abs(leg.ratio) * price * leg.contract.multiplier
    return total * ticket.quantity
