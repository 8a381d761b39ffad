"""RC-02, the kill switch: what a halt lets through."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from ibkit.trading.events import Operation
from ibkit.trading.risk.book import Halt, HaltMode
from ibkit.trading.risk.case import Case, Reading, parts_of

__all__ = ["halts_of", "kill_switch"]


def kill_switch(case: Case) -> Reading:
    """RC-02. What provably closes passes every mode; a change that makes nothing larger passes block-new."""
    control, name = "RC-02", "kill_switch"
    for halt in halts_of(case):
        if case.exits or (halt.mode is HaltMode.BLOCK_NEW and _makes_nothing_larger(case)):
            continue
        until = f" until {_moment(halt.until)}" if halt.until is not None else ""
        why = ": ".join(part for part in (halt.control, halt.note) if part)
        message = f"Trading is halted ({halt.mode.value}, {halt.whose}{until}){': ' if why else ''}{why}"
        return case.refuses(control, name, halt.mode.value, halt.whose, message=message)
    return case.passes(control, name, "no halt holds")


def halts_of(case: Case) -> tuple[Halt, ...]:
    """The halts that hold any order of the case."""
    symbols = {part.symbol for ticket in case.tickets for part in parts_of(ticket.contract)} or {case.scope.symbol}
    scopes = [dataclasses.replace(case.scope, symbol=symbol) for symbol in sorted(symbols)]
    return tuple(halt for halt in case.halts if any(halt.holds(scope, case.now) for scope in scopes))


def _makes_nothing_larger(case: Case) -> bool:
    """A change of a working order to the same quantity or less, on the same side; not known: no."""
    replaced = case.facts.replaces
    return (
        case.operation is Operation.MODIFY
        and replaced is not None
        and all(ticket.side is replaced.side and ticket.quantity <= replaced.total for ticket in case.tickets)
    )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
