"""What may be there already: RC-21 a twin under another key, RC-22 an order of which nobody knows."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from ibkit.model import OrderTicket
from ibkit.trading.events import Operation
from ibkit.trading.risk.book import Sent
from ibkit.trading.risk.case import Case, Reading, parts_of
from ibkit.trading.risk.limits import Mode

__all__ = ["DUPLICATE_WINDOW", "duplicates", "unknowns"]

DUPLICATE_WINDOW = timedelta(seconds=10)


def duplicates(case: Case) -> Reading:
    """RC-21: same contract, side, quantity and price under another key within ten seconds."""
    control, name, mode = "RC-21", "possible_duplicate", case.limits.duplicates
    if mode is Mode.OFF or case.operation is not Operation.PLACE:
        return case.off(control, name)
    since = case.now - DUPLICATE_WINDOW
    placed = [sent for sent in case.sent if sent.at > since and sent.operation is Operation.PLACE]
    for ticket in case.tickets:
        twin = next((sent for sent in placed if _twins(ticket, sent)), None)
        if twin is None:
            continue
        ago = (case.now - twin.at).total_seconds()
        text = f"the same order left {ago:.1f} s ago under another key"
        limit = f"{DUPLICATE_WINDOW.total_seconds():g} s"
        if mode is Mode.REFUSE and not case.allow_duplicate and not case.exits:
            message = f"This may be a duplicate: {text}. Ask for it with allow_duplicate if it is not"
            return case.refuses(control, name, f"{ago:.1f} s", limit, message=message)
        return case.warns(control, name, f"{ago:.1f} s", limit, text)
    return case.passes(control, name, "no twin")


def unknowns(case: Case) -> Reading:
    """RC-22: while nobody knows whether an earlier order of the contract exists, no further one is placed."""
    control, name, mode = "RC-22", "unknown_outstanding", case.limits.unknowns
    if mode is Mode.OFF:
        return case.off(control, name)
    for ticket in case.tickets:
        keys = {ticket.contract.conidex, *(part.conidex for part in parts_of(ticket.contract))}
        if not keys & case.usage.unknown:
            continue
        text = f"an earlier order of {ticket.contract.label} is in unknown state"
        if mode is Mode.REFUSE and not case.exits:
            message = f"First settle it (`ibkit intents resolve`): {text}"
            return case.refuses(control, name, "unknown", "none", message=message)
        return case.warns(control, name, "unknown", "none", text)
    return case.passes(control, name, "none")


def _twins(ticket: OrderTicket, sent: Sent) -> bool:
    return (sent.contract, sent.side, sent.quantity) == (
        ticket.contract.conidex,
        ticket.side,
        ticket.quantity,
    ) and sent.price == own_price(ticket)


def own_price(ticket: OrderTicket) -> Decimal | None:
    """The price by which two orders are told apart: the limit, else the trigger."""
    return ticket.limit_price if ticket.limit_price is not None else ticket.stop_price
