"""The controls in the order in which they are asked, and the two ways to ask: `check` decides, `assess` shows all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from ibkit.trading.events import Operation
from ibkit.trading.risk import (
    allowed,
    environment,
    exposure,
    heartbeat,
    kill,
    loss,
    price,
    questions,
    rates,
    repeated,
    session,
    size,
)
from ibkit.trading.risk.book import Halt
from ibkit.trading.risk.case import Case, Objection, Reading
from ibkit.trading.risk.value import case_value

__all__ = ["CONTROLS", "Control", "Verdict", "assess", "check"]

_Judge: TypeAlias = Callable[[Case], Reading]


@dataclass(frozen=True, slots=True)
class Control:
    """spares_exits: what provably only closes is not held up by it. binds_cancels: it holds for a cancel, too."""

    number: str
    judge: _Judge
    spares_exits: bool = False
    binds_cancels: bool = False


CONTROLS: tuple[Control, ...] = (
    Control("RC-01", environment.environment, binds_cancels=True),
    Control("RC-29", environment.confirmation, spares_exits=True),
    Control("RC-02", kill.kill_switch),
    Control("RC-26", session.age, binds_cancels=True),
    Control("RC-03", allowed.accounts),
    Control("RC-04", allowed.symbols, spares_exits=True),
    Control("RC-05", allowed.kinds, spares_exits=True),
    Control("RC-06", allowed.order_types, spares_exits=True),
    Control("RC-24", session.hours, spares_exits=True),
    Control("RC-25", session.reset_window),
    Control("RC-27", session.health),
    Control("RC-07", size.quantity, spares_exits=True),
    Control("RC-12", price.price_grid),
    Control("RC-09", price.fresh_quote, spares_exits=True),
    Control("RC-10", price.collar, spares_exits=True),
    Control("RC-11", price.market_orders, spares_exits=True),
    Control("RC-08", exposure.order_value, spares_exits=True),
    Control("RC-13", exposure.position, spares_exits=True),
    Control("RC-14", exposure.gross_exposure, spares_exits=True),
    Control("RC-15", exposure.short_positions, spares_exits=True),
    Control("RC-16", loss.daily_loss, spares_exits=True),
    Control("RC-17", loss.daily_value, spares_exits=True),
    Control("RC-18", rates.order_rate, spares_exits=True),
    Control("RC-19", rates.repeats, spares_exits=True),
    Control("RC-20", rates.rejects, spares_exits=True),
    Control("RC-21", repeated.duplicates),
    Control("RC-22", repeated.unknowns),
    Control("RC-23", size.active_orders),
    Control("RC-28", questions.tied_controls),
    Control("RC-30", heartbeat.dead_man),
)
"""Order: reliability rules §7. RC-28 binds confirmations alone, RC-30 refuses nothing; they come last."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """objection: the first no; None where all passed. halts: to be stored before anybody is told.

    value: what the order is valued at, in USD, for the record of what left.
    """

    objection: Objection | None
    warnings: tuple[str, ...] = ()
    halts: tuple[Halt, ...] = ()
    value: Decimal | None = None


def check(case: Case) -> Verdict:
    """The first control that refuses, asked in order; the warnings of those before it."""
    warnings: list[str] = []
    for control in _asked(case):
        reading = _read(control, case)
        if reading.warning:
            warnings.append(f"{reading.control}: {reading.warning}")
        if reading.objection is not None:
            halts = () if reading.halt is None else (reading.halt,)
            return Verdict(reading.objection, tuple(warnings), halts)
    return Verdict(None, tuple(warnings), value=case_value(case) if case.tickets else None)


def assess(case: Case) -> tuple[Reading, ...]:
    """What each control measures, in the order of their numbers; nothing is stored."""
    readings = (_read(control, case) for control in _asked(case))
    return tuple(sorted(readings, key=lambda reading: reading.control))


def _asked(case: Case) -> tuple[Control, ...]:
    if case.operation is Operation.CANCEL:
        return tuple(control for control in CONTROLS if control.binds_cancels)
    return CONTROLS


def _read(control: Control, case: Case) -> Reading:
    reading = control.judge(case) if not (control.spares_exits and case.exits) else None
    return reading or case.passes(control.number, "closes a position", "exit", "")
