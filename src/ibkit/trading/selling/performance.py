"""Closed trades as a whole (OPT-10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

from ibkit.model import to_cents
from ibkit.trading.selling.trade import Trade

__all__ = ["Performance", "performance_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Amounts in the contracts' currency. win_rate in percent. Days are New York's, of the exit; None: no trades.

    without_result: closed trades whose result is not known, which count in nothing else.
    """

    trades: int
    wins: int
    losses: int
    win_rate: Decimal | None
    total: Decimal
    average_day: Decimal | None
    best_day: tuple[date, Decimal] | None
    worst_day: tuple[date, Decimal] | None
    without_result: int

    @property
    def text(self) -> str:
        rows = [
            ("Closed trades", str(self.trades)),
            ("Wins, losses", f"{self.wins}, {self.losses}"),
            ("Win rate", "-" if self.win_rate is None else f"{self.win_rate} %"),
            ("Total", str(self.total)),
            ("Average day", "-" if self.average_day is None else str(self.average_day)),
            ("Best day", _day(self.best_day)),
            ("Worst day", _day(self.worst_day)),
        ]
        if self.without_result:
            rows.append(("Not counted", f"{self.without_result} without a known result"))
        return "\n".join(f"{name:<15}{value}" for name, value in rows)


def performance_of(trades: Iterable[Trade]) -> Performance:
    """Figures of the closed trades that sold something. A result of zero is neither win nor loss."""
    sold = [trade for trade in trades if trade.entry_price is not None]
    results = [(trade, trade.realized_pnl) for trade in sold if trade.realized_pnl is not None]
    pnls = [pnl for _, pnl in results]
    days: defaultdict[date, Decimal] = defaultdict(Decimal)
    for trade, pnl in results:
        ended = trade.exit_time or trade.updated_at
        days[ended.astimezone(ZoneInfo("America/New_York")).date()] += pnl
    wins = sum(pnl > 0 for pnl in pnls)
    total = sum(pnls, Decimal(0))
    return Performance(
        trades=len(pnls),
        wins=wins,
        losses=sum(pnl < 0 for pnl in pnls),
        win_rate=(Decimal(100 * wins) / len(pnls)).quantize(Decimal("0.1")) if pnls else None,
        total=to_cents(total),
        average_day=to_cents(total / len(days)) if days else None,
        best_day=max(days.items(), key=lambda each: each[1], default=None),
        worst_day=min(days.items(), key=lambda each: each[1], default=None),
        without_result=len(sold) - len(results),
    )


def _day(found: tuple[date, Decimal] | None) -> str:
    return "-" if found is None else f"{found[1]} ({found[0]:%Y-%m-%d})"
