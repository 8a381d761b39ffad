"""The parts of a report that come from the portfolio's figures alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from ibkit.portfolio.analytics.figures import NO_SECTOR, Analytics
from ibkit.portfolio.analytics.history import Performance
from ibkit.portfolio.analytics.returns import Point, day_returns
from ibkit.portfolio.analytics.shares import Slice
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Block, Column, Fact, Facts, Line, Notes, Plot, Table
from ibkit.portfolio.report.words import DASH, change, kind_named, money, percent, plain, share, units

__all__ = ["allocation_of", "concentration_of", "options_of", "plots_of", "summary_of"]

MOST_POINTS: Final = 600
"""Of a line in a plot: more cannot be seen."""
_DIMENSIONS: Final = (
    ("By type", "Type", "by_type"),
    ("By currency", "Currency", "by_currency"),
    ("By sector", "Sector", "by_sector"),
    ("By account", "Account", "by_account"),
)


def summary_of(figures: Analytics) -> tuple[Block, ...]:
    how, day = figures.performance, figures.day_pnl
    facts = [
        Fact(label="Net liquidation value", value=money(figures.net_liquidation), beside=figures.currency),
        Fact(label="Value of holdings", value=money(figures.value), beside=figures.currency),
        Fact(
            label="Result of the day",
            value=change(None if day is None else day.amount),
            beside="" if day is None else f"{day.since} to {day.day}",
        ),
        Fact(label="Unrealised", value=change(figures.unrealized_pnl), beside=figures.currency),
    ]
    return (Facts(facts=(*facts, *_of_performance(how))),)


def _of_performance(how: Performance | None) -> tuple[Fact, ...]:
    if how is None:
        labels = ("Result of the period", "Time-weighted return", "Money-weighted return", "Largest drawdown")
        return tuple(Fact(label=label, value=DASH) for label in (*labels, "Volatility", "Benchmark"))
    fall, beside = how.drawdown, how.benchmark
    lasted = "" if fall is None or fall.depth == 0 else f"{fall.peak} to {fall.trough}"
    return (
        Fact(label="Result of the period", value=change(how.gain), beside=f"{how.since} to {how.until}"),
        Fact(label="Time-weighted return", value=percent(how.time_weighted), beside=_yearly(how.time_weighted_yearly)),
        Fact(
            label="Money-weighted return",
            value=percent(how.money_weighted),
            beside=_yearly(how.money_weighted_yearly),
        ),
        Fact(label="Largest drawdown", value=percent(None if fall is None else -fall.depth), beside=lasted),
        Fact(label="Volatility", value=percent(how.volatility), beside="of a year"),
        Fact(
            label="Benchmark",
            value=percent(None if beside is None else beside.benchmark),
            beside="" if beside is None else f"{percent(beside.excess)} beyond it",
        ),
    )


def _yearly(rate: float | None) -> str:
    return "" if rate is None else f"{percent(rate)} a year"


def plots_of(material: Material) -> tuple[Block, ...]:
    how = material.figures.performance
    if how is None:
        return ()
    value = Line(name="Value", points=_thinned([(step.day, float(step.value)) for step in how.steps]))
    plots: list[Block] = [Plot(title="Value", unit=material.figures.currency, lines=(value,))]
    points = [
        Point(day=step.day, value=float(step.value), flow=None if step.flow is None else float(step.flow))
        for step in how.steps
    ]
    returns, _ = day_returns(points)
    if returns:
        index = [(how.since, 1.0)]
        for each in returns:
            index.append((each.day, index[-1][1] * (1 + each.rate)))
        plots.append(Plot(title="Time-weighted return", unit="%", lines=_returns(material, index)))
        plots.append(Plot(title="Below the highest", unit="%", lines=(_falls(index),), filled=True))
    return tuple(plots)


def _returns(material: Material, index: Sequence[tuple[date, float]]) -> tuple[Line, ...]:
    own = Line(name="Portfolio", points=_thinned([(day, level - 1) for day, level in index]))
    there = {day for day, _ in index}
    levels = sorted((day, level) for day, level in (material.benchmark or {}).items() if day in there)
    if len(levels) < 2:
        return (own,)
    first = levels[0][1]
    beside = Line(name=material.benchmark_name, points=_thinned([(day, level / first - 1) for day, level in levels]))
    return own, beside


def _falls(index: Sequence[tuple[date, float]]) -> Line:
    highest, found = 0.0, []
    for day, level in index:
        highest = max(highest, level)
        found.append((day, level / highest - 1 if highest > 0 else 0.0))
    return Line(name="Drawdown", points=_thinned(found))


def _thinned(points: Sequence[tuple[date, float]]) -> tuple[tuple[date, float], ...]:
    """Of each stretch its lowest and highest, so that no peak is lost."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    width = -(-len(points) // (MOST_POINTS // 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), width):
        stretch = range(start, min(start + width, len(points)))
        kept |= {min(stretch, key=lambda at: points[at][1]), max(stretch, key=lambda at: points[at][1])}
    return tuple(points[at] for at in sorted(kept))


def allocation_of(figures: Analytics) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for title, name, attribute in _DIMENSIONS:
        slices: tuple[Slice, ...] = getattr(figures, attribute)
        columns = (
            Column(title=name, wide=True),
            Column(title="Net", right=True),
            Column(title="of net", right=True),
            Column(title="Gross", right=True),
            Column(title="of gross", right=True, bar=True),
        )
        rows = tuple(
            (
                _called(name, each.name),
                money(each.net),
                share(each.net_share),
                money(each.gross),
                share(each.gross_share),
            )
            for each in slices
        )
        blocks.append(Table(title=title, columns=columns, rows=rows, empty="Nothing with a known value is held."))
    if figures.left_out:
        blocks.append(Notes(title="Left out of the value", lines=figures.left_out))
    return tuple(blocks)


def _called(dimension: str, name: str) -> str:
    if dimension == "Type":
        return kind_named(name)
    return name.capitalize() if dimension == "Sector" and name in (NO_SECTOR, "cash") else name


def concentration_of(figures: Analytics) -> tuple[Block, ...]:
    columns = (
        Column(title="Largest positions", wide=True),
        Column(title="Value", right=True),
        Column(title="of gross", right=True, bar=True),
    )
    rows = tuple((each.symbol, money(each.net), share(each.share)) for each in figures.largest)
    index = Fact(
        label="Herfindahl index", value=plain(figures.hhi, 4), beside="1 is one position alone; cash does not count"
    )
    return Facts(facts=(index,)), Table(title="", columns=columns, rows=rows, empty="There is no position.")


def options_of(figures: Analytics) -> tuple[Block, ...]:
    columns = (
        Column(title="Expiry"),
        Column(title="Underlying", wide=True),
        Column(title="Long", right=True),
        Column(title="Short", right=True),
        Column(title="Notional short", right=True),
        Column(title="Delta", right=True),
        Column(title="Theta a day", right=True),
        Column(title="Maximum loss", right=True),
    )
    rows = tuple(
        (
            str(each.expiry),
            each.underlying,
            units(each.long),
            units(each.short),
            money(each.notional),
            plain(each.delta, 1),
            plain(each.theta),
            "unlimited" if each.unlimited else money(each.maximum_loss),
        )
        for each in figures.options
    )
    table = Table(title="", columns=columns, rows=rows, empty="No option is held.")
    if not rows:
        return (table,)
    how = "The most that can be lost is of these options alone, at their expiry: shares that cover a call do not count."
    return table, Notes(lines=(how,))
