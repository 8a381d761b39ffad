"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from ibkit.portfolio.analytics.figures import Analytics
from ibkit.portfolio.book import Portfolio
from ibkit.portfolio.dated_rates import DatedRates
from ibkit.portfolio.ledger import Ledger
from ibkit.portfolio.reconciling import Difference

__all__ = ["Material"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """ledgers: by account's name. without_ledger: the other accounts, and why there is none.

    since, until: the days asked for, None for all there are. open_differences: by account's name, what nobody has
    settled; of an account that is not in it, the ledger is compared with what is held. dated: rates of these days.
    """

    portfolio: Portfolio
    figures: Analytics
    made_at: datetime
    since: date | None = None
    until: date | None = None
    benchmark: Mapping[date, float] | None = None
    benchmark_name: str = "Benchmark"
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    without_ledger: Mapping[str, str] = field(default_factory=dict)
    open_differences: Mapping[str, Sequence[Difference]] = field(default_factory=dict)
    dated: DatedRates = field(default_factory=DatedRates)

    @property
    def rates(self) -> Mapping[str, Decimal]:
        """Units of the report's currency for one, of the currencies that the figures needed."""
        return {self.figures.currency: Decimal(1), **{each.currency: each.rate for each in self.figures.rates}}
