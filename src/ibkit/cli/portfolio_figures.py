"""The figures of a portfolio as text, and a benchmark out of a file. What is not known stands as a dash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.cli import output
from ibkit.cli.asking import wrong
from ibkit.portfolio.analytics.levels import LARGEST_TABLE, levels_of

if TYPE_CHECKING:
    from ibkit.portfolio.analytics.figures import Analytics
    from ibkit.portfolio.analytics.history import Performance
    from ibkit.portfolio.analytics.options import Exposure
    from ibkit.portfolio.analytics.shares import Slice

__all__ = ["figures_text", "levels_in", "money", "percent"]


def money(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount:,.2f}"


def percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:,.2f} %"


def figures_text(found: Analytics) -> str:
    parts = [
        f"As of {found.as_of}, in {found.currency}.",
        output.table(
            ("", ""),
            [
                ("Net liquidation", money(found.net_liquidation)),
                ("Value of holdings", money(found.value)),
                ("Without signs", money(found.gross)),
                ("Unrealised", money(found.unrealized_pnl)),
                ("Realised", money(found.realized_pnl)),
                ("Day", "-" if found.day_pnl is None else money(found.day_pnl.amount)),
                ("Concentration (HHI)", None if found.hhi is None else f"{found.hhi:.4f}"),
                *(
                    ((f"Income: {kind}", money(amount)) for kind, amount in found.income.items())
                    if found.income
                    else ()
                ),
            ],
            right={1},
        ).strip("\n"),
        *(
            _slices(title, slices)
            for title, slices in (
                ("Type", found.by_type),
                ("Currency", found.by_currency),
                ("Sector", found.by_sector),
                ("Account", found.by_account),
            )
            if slices
        ),
    ]
    if found.largest:
        rows = [(each.symbol, money(each.net), f"{each.share} %") for each in found.largest]
        parts.append(output.table(("Largest", "Value", "Share"), rows, right={1, 2}))
    if found.options:
        parts.append(_options(found.options))
    if found.performance is not None:
        parts.append(_performance(found.performance))
    if found.rates:
        parts.append(
            "\n".join(f"1 {each.currency} = {each.rate} {found.currency} ({each.day})" for each in found.rates)
        )
    if found.left_out:
        parts.append("Left out of the value:\n" + "\n".join(f"  {each}" for each in found.left_out))
    if found.missing:
        parts.append("Not known:\n" + "\n".join(f"  {each.figure}: {each.why}" for each in found.missing))
    return "\n\n".join(parts)


def _slices(title: str, slices: tuple[Slice, ...]) -> str:
    rows = [
        (
            each.name,
            money(each.net),
            None if each.net_share is None else f"{each.net_share} %",
            money(each.gross),
            None if each.gross_share is None else f"{each.gross_share} %",
        )
        for each in slices
    ]
    return output.table((title, "Net", "", "Gross", ""), rows, right={1, 2, 3, 4})


def _options(options: tuple[Exposure, ...]) -> str:
    rows = [
        (
            each.underlying,
            each.expiry,
            each.long.normalize(),
            each.short.normalize(),
            None if each.delta is None else f"{each.delta:,.1f}",
            None if each.theta is None else f"{each.theta:,.2f}",
            money(each.notional),
            "unlimited" if each.unlimited else money(each.maximum_loss),
        )
        for each in options
    ]
    head = ("Options", "Expiry", "Long", "Short", "Delta", "Theta", "Notional short", "Maximum loss")
    return output.table(head, rows, right={2, 3, 4, 5, 6, 7})


def _performance(how: Performance) -> str:
    fall = how.drawdown
    rows: list[tuple[str, str]] = [
        ("Worth at the start", money(how.start)),
        ("Worth at the end", money(how.end)),
        ("Paid in less taken out", money(how.flows)),
        ("Gain", money(how.gain)),
        ("Time-weighted return", percent(how.time_weighted)),
        ("  for a year", percent(how.time_weighted_yearly)),
        ("Money-weighted return", percent(how.money_weighted)),
        ("  for a year", percent(how.money_weighted_yearly)),
        ("Largest drawdown", percent(None if fall is None else fall.depth)),
        ("Volatility for a year", percent(how.volatility)),
    ]
    if how.benchmark is not None:
        rows += [("Benchmark", percent(how.benchmark.benchmark)), ("Beyond it", percent(how.benchmark.excess))]
    return output.table((f"{how.since} to {how.until}", ""), rows, right={1})


def levels_in(file: Path) -> Mapping[date, float]:
    """The levels of a benchmark by day, see `levels_of`. ConfigError."""
    try:
        if file.stat().st_size > LARGEST_TABLE:
            raise wrong("--benchmark", f"{file}: it is larger than {LARGEST_TABLE} bytes")
        return levels_of(file.read_bytes())
    except (OSError, ValueError) as error:
        raise wrong("--benchmark", f"{file}: {getattr(error, 'strerror', None) or error}") from error
