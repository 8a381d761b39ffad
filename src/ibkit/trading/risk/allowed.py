"""What may be traded at all: RC-03 accounts, RC-04 symbols, RC-05 kinds of contract, RC-06 order types."""

from __future__ import annotations

from ibkit.model import OrderTicket, OrderType, SecType
from ibkit.trading.risk.case import Case, Reading, parts_of
from ibkit.trading.risk.limits import Mode
from ibkit.trading.risk.names import show_value

__all__ = ["accounts", "kinds", "order_types", "symbols"]


def accounts(case: Case) -> Reading:
    """RC-03."""
    control, name, allowed = "RC-03", "account_not_allowed", case.limits.allowed_accounts
    if allowed is None:
        return case.passes(control, name, case.account_id, "any")
    if case.account_id.upper() in allowed:
        return case.passes(control, name, case.account_id, show_value(allowed))
    message = f"Account {case.account_id} is not among the accounts that may trade"
    return case.refuses(control, name, case.account_id, show_value(allowed), message=message)


def symbols(case: Case) -> Reading:
    """RC-04: by symbol or conid, each leg of a combination and each order of a group."""
    control, name, allowed = "RC-04", "symbol_not_allowed", case.limits.allowed_symbols
    parts = [part for ticket in case.tickets for part in parts_of(ticket.contract)]
    shown = ", ".join(dict.fromkeys(part.symbol for part in parts))
    if allowed is None:
        return case.passes(control, name, shown, "any")
    for part in parts:
        if part.symbol.upper() not in allowed and str(part.conid) not in allowed:
            message = f"{part.symbol} ({part.conid}) is not among the symbols that may be traded"
            return case.refuses(control, name, part.symbol, show_value(allowed), message=message)
    return case.passes(control, name, shown, show_value(allowed))


def kinds(case: Case) -> Reading:
    """RC-05: a combination is as allowed as its legs."""
    control, name, allowed = "RC-05", "sectype_not_allowed", case.limits.sec_types
    for ticket in case.tickets:
        for part in parts_of(ticket.contract):
            if part.sec_type not in allowed or (part.sec_type is SecType.COMBO and not part.legs):
                message = f"Contracts of type {part.sec_type.value} are not allowed (allowed: {show_value(allowed)})"
                return case.refuses(control, name, part.sec_type.value, show_value(allowed), message=message)
    return case.passes(control, name, _shown_kinds(case), show_value(allowed))


def order_types(case: Case) -> Reading:
    """RC-06: the type, and how long it may stand."""
    control, name, limits = "RC-06", "order_type_not_allowed", case.limits
    for ticket in case.tickets:
        kind = ticket.order_type
        if kind not in limits.order_types:
            return _refused(case, kind.value, show_value(limits.order_types), "Orders of type")
        tifs = limits.stop_tifs if kind.waits else limits.tifs
        if ticket.tif not in tifs:
            return _refused(case, f"{kind.value} {ticket.tif.value}", show_value(tifs), "Orders that are")
        if kind is OrderType.MARKET and _unguarded(case):
            message = "Market orders are allowed only while control RC-11 refuses unsafe ones"
            return case.refuses(control, name, kind.value, "RC-11", message=message)
    return case.passes(control, name, _shown_types(case.tickets), show_value(limits.order_types))


def _unguarded(case: Case) -> bool:
    """A market order of live money without the guard that must stand before it."""
    return case.limits.environment.value == "live" and case.limits.market_orders is not Mode.REFUSE


def _refused(case: Case, value: str, allowed: str, words: str) -> Reading:
    message = f"{words} {value} are not allowed (allowed: {allowed})"
    return case.refuses("RC-06", "order_type_not_allowed", value, allowed, message=message)


def _shown_kinds(case: Case) -> str:
    parts = [part.sec_type.value for ticket in case.tickets for part in parts_of(ticket.contract)]
    return ", ".join(dict.fromkeys(parts))


def _shown_types(tickets: tuple[OrderTicket, ...]) -> str:
    return ", ".join(dict.fromkeys(f"{ticket.order_type.value} {ticket.tif.value}" for ticket in tickets))
