"""The days of several accounts as one series in one currency, and what it tells of how they did."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.model.prices import to_cents
from ibkit.portfolio.analytics.returns import (
    FEWEST_RETURNS,
    Comparison,
    Drawdown,
    Irr,
    Point,
    compared,
    day_returns,
    drawdown,
    linked,
    volatility,
    xirr,
    yearly,
)
from ibkit.portfolio.dated_rates import LONGEST_CARRY
from ibkit.portfolio.days import Flows, Worth
from ibkit.portfolio.rates import Rates, RateTables

__all__ = ["Performance", "Step", "performance_of", "steps_of"]

_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """value: of all accounts on `day`. flow: what came in since the step before, None where it is not known."""

    day: date
    value: Decimal
    flow: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """From the first day to the last. Returns are fractions; those called yearly are None below a year.

    flows: what came in less what went out after the first day. change: of the worth, flows and all.
    gain: the change less the flows. money_weighted: for a year, see `Irr`.
    """

    since: date
    until: date
    days: int
    start: Decimal
    end: Decimal
    change: Decimal
    flows: Decimal | None
    gain: Decimal | None
    time_weighted: float | None
    time_weighted_yearly: float | None
    money_weighted: float | None
    money_weighted_yearly: float | None
    money_weighted_several: bool
    drawdown: Drawdown | None
    volatility: float | None
    benchmark: Comparison | None
    steps: tuple[Step, ...]


def steps_of(
    accounts: Mapping[str, tuple[Sequence[Worth], Flows]], into: str
) -> tuple[tuple[Step, ...], tuple[tuple[str, str], ...]]:
    """One step for each day of which every account that began by then is known; and what is missing.

    An account that begins later comes in with its worth as a flow. One without a snapshot of a day stands with its last
    one, a week at most; after that the days of all are left out, for the sum would lack it.
    """
    told = {name: ([worth.day for worth in worths], worths, flows) for name, (worths, flows) in accounts.items()}
    missing = [("performance", f"{name}: there is no snapshot") for name, (days, _, _) in told.items() if not days]
    left_out: dict[str, int] = {}
    steps: list[Step] = []
    began: set[str] = set()
    for day in sorted({day for days, _, _ in told.values() for day in days}):
        now = {name: worths[at - 1] for name, (days, worths, _) in told.items() if (at := bisect_right(days, day))}
        why = next(_unknown(now, day), None)
        tables = RateTables(tables=tuple(worth.table for worth in now.values()))
        values = {} if why else {name: _converted(worth, tables, into) for name, worth in now.items()}
        if why is None:
            why = next((f"{name}: no rate of {into} is known" for name, value in values.items() if value is None), None)
        if why is not None:
            left_out[why] = left_out.get(why, 0) + 1
            continue
        flow: Decimal | None = _NOTHING
        for name, value in values.items():
            assert value is not None, "looked at above"
            came: Decimal | None = value
            if name in began:
                known = told[name][2].within(steps[-1].day, day)
                came = None if known is None else tables.after(now[name].table).convert(known, now[name].currency, into)
            flow = None if flow is None or came is None else flow + came
        began |= set(now)
        total = sum((value for value in values.values() if value is not None), _NOTHING)
        steps.append(Step(day=day, value=total, flow=flow))
    missing += [("performance", f"{count} days are left out: {why}") for why, count in sorted(left_out.items())]
    return tuple(steps), tuple(missing)


def _unknown(now: Mapping[str, Worth], day: date) -> Iterator[str]:
    for name, worth in now.items():
        if worth.net_liquidation is None:
            yield f"{name}: IBKR did not tell what it is worth"
        elif (day - worth.day).days > LONGEST_CARRY:
            yield f"{name}: its last snapshot is more than {LONGEST_CARRY} days older"


def _converted(worth: Worth, tables: RateTables, into: str) -> Decimal | None:
    assert worth.net_liquidation is not None, "looked at before"
    if worth.currency == into:
        return worth.net_liquidation
    own: Rates = worth.table
    return tables.after(own).convert(worth.net_liquidation, worth.currency, into)


def performance_of(
    steps: Sequence[Step], benchmark: Mapping[date, float] | None
) -> tuple[Performance | None, tuple[tuple[str, str], ...]]:
    """benchmark: its level by day, None where none is given. And what is missing, each as figure and reason."""
    if len(steps) < 2:
        return None, (("performance", f"it takes two days with a snapshot, there are {len(steps)}"),)
    first, last = steps[0], steps[-1]
    days = (last.day - first.day).days
    points = [Point(day=step.day, value=float(step.value), flow=_float(step.flow)) for step in steps]
    returns, why = day_returns(points)
    missing = [(f"performance.{name}", why) for name in ("time_weighted", "drawdown") if why]
    flows = _sum([step.flow for step in steps[1:]])
    if flows is None:
        irr = Irr(rate=None, reason="what came in and went out is not known of every day")
        missing += [(f"performance.{name}", irr.reason) for name in ("flows", "gain")]
    else:
        paid = [(point.day, -(point.flow or 0.0)) for point in points[1:]]
        irr = xirr([(first.day, -points[0].value), *paid, (last.day, points[-1].value)])
    if irr.period is None:
        missing.append(("performance.money_weighted", irr.reason))
    if irr.rate is None:
        missing.append(("performance.money_weighted_yearly", irr.reason))
    spread = volatility(returns)
    if spread is None:
        missing.append(("performance.volatility", why or f"it takes {FEWEST_RETURNS} daily returns"))
    beside = None if benchmark is None else compared(returns, benchmark)
    if benchmark is None:
        missing.append(("performance.benchmark", "none is given"))
    elif beside is None:
        missing.append(("performance.benchmark", why or "fewer than two days are common"))
    total = linked(returns) if returns else None
    return Performance(
        since=first.day,
        until=last.day,
        days=days,
        start=to_cents(first.value),
        end=to_cents(last.value),
        change=to_cents(last.value - first.value),
        flows=None if flows is None else to_cents(flows),
        gain=None if flows is None else to_cents(last.value - first.value - flows),
        time_weighted=total,
        time_weighted_yearly=None if total is None else yearly(total, days),
        money_weighted=irr.period,
        money_weighted_yearly=irr.rate,
        money_weighted_several=irr.several,
        drawdown=drawdown(returns),
        volatility=spread,
        benchmark=beside,
        steps=tuple(steps),
    ), tuple(missing)


def _float(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    total = _NOTHING
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
