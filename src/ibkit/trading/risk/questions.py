"""RC-28: a question of IBKR is answered with yes only while our own control of the same risk is on, and tighter."""

from __future__ import annotations

from decimal import Decimal

from ibkit.model import Contract, Environment, OrderTicket
from ibkit.trading.risk.case import Case, Reading, is_derivative
from ibkit.trading.risk.limits import IBKR_COLLAR_PCT, IBKR_MAX_SHARES, IBKR_MAX_VALUE, Limits

__all__ = ["covers", "tied_controls"]


def tied_controls(case: Case) -> Reading:
    """RC-28. Which questions may be confirmed at all, and which control each is tied to: trading/questions.py."""
    control, name = "RC-28", "question_not_covered"
    for tied in case.tied:
        if not all(covers(tied, ticket, case.limits) for ticket in case.tickets):
            message = f"IBKR asks about a risk that our control {tied} does not cover"
            return case.refuses(control, name, tied, "on, and tighter", message=message, code="E-ORD-QUESTION")
    return case.passes(control, name, ", ".join(case.tied) or "nothing asked")


def covers(control: str, ticket: OrderTicket, limits: Limits) -> bool:
    """On paper the tied control must be on; on live it must also be at least as tight as IBKR's own."""
    live, contract = limits.environment is Environment.LIVE, ticket.contract
    match control:
        case "RC-07":
            most = limits.max_option_contracts if is_derivative(contract) else limits.max_shares
            return _within(most, IBKR_MAX_SHARES, live=live)
        case "RC-08":
            most = limits.max_order_value
            return most is not None and (not live or most < IBKR_MAX_VALUE)
        case "RC-10":
            return _within(_collar(contract, limits), IBKR_COLLAR_PCT, live=live)
        case "RC-12":
            return limits.ticks
        case _:
            return False


def _within(most: Decimal | None, theirs: Decimal, *, live: bool) -> bool:
    return most is not None and (not live or most <= theirs)


def _collar(contract: Contract, limits: Limits) -> Decimal | None:
    return limits.option_collar_pct if is_derivative(contract) else limits.collar_pct
