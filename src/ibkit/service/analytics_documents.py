"""The figures of a portfolio as the interface tells them. Requirement FUT-05."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec

from ibkit.portfolio.analytics.figures import Analytics

__all__ = ["AnalyticsInfo", "analytics_info"]


class SliceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """net: short positions negative; gross: without signs. Shares in percent, whose sum is exactly 100.

    net_share: null where all together are worth nothing or less.
    """

    name: str
    net: Decimal
    gross: Decimal
    net_share: Decimal | None
    gross_share: Decimal | None


class AccountWorthInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """day: of the snapshot, null for what is held now."""

    name: str
    day: date | None
    net_liquidation: Decimal | None


class LargestInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """share: of the gross value of all positions, cash left out, in percent."""

    symbol: str
    conid: int | None
    net: Decimal
    share: Decimal


class DayResultInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    since: date
    day: date
    amount: Decimal


class ExposureInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of one underlying and expiry. delta: in units of the underlying. theta: money for a day.

    notional: strike times size of the short ones. maximum_loss: at expiry; null where it has no bound (`unlimited`).
    """

    underlying: str
    expiry: date
    long: Decimal
    short: Decimal
    delta: float | None
    theta: float | None
    notional: Decimal | None
    maximum_loss: Decimal | None
    unlimited: bool


class DrawdownInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """depth: a fraction. recovered: null while it is not made good."""

    depth: float
    peak: date
    trough: date
    recovered: date | None


class ComparisonInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    since: date
    until: date
    own: float
    benchmark: float
    excess: float
    tracking_error: float | None
    beta: float | None
    correlation: float | None


class StepInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """value: of all accounts on `day`. flow: what came in since the step before, null where it is not known."""

    day: date
    value: Decimal
    flow: Decimal | None


class PerformanceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Returns are fractions: 0.01 is one percent; those called yearly are null below a year, or where none tells it."""

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
    drawdown: DrawdownInfo | None
    volatility: float | None
    benchmark: ComparisonInfo | None
    steps: list[StepInfo]


class UsedRateInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """rate: units of the currency of the answer. day: of the snapshot that told it."""

    currency: str
    rate: Decimal
    day: date


class MissingInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    figure: str
    why: str


class AnalyticsInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money in `currency`, to the cent. A figure that is not known is null, and named in `missing` with the reason.

    value: of all holdings; gross: without signs. hhi: concentration, from 0 to 1. left_out: holdings that are worth
    nothing by themselves (futures, CFDs, pairs of currencies). realized_pnl, income: by the ledgers, of
    the days asked for, each amount by the rate of its own day.
    """

    currency: str
    as_of: date
    accounts: list[AccountWorthInfo]
    net_liquidation: Decimal | None
    value: Decimal | None
    gross: Decimal | None
    by_type: list[SliceInfo]
    by_currency: list[SliceInfo]
    by_sector: list[SliceInfo]
    by_account: list[SliceInfo]
    left_out: list[str]
    largest: list[LargestInfo]
    hhi: float | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    day_pnl: DayResultInfo | None
    income: dict[str, Decimal] | None
    options: list[ExposureInfo]
    performance: PerformanceInfo | None
    rates: list[UsedRateInfo]
    missing: list[MissingInfo]


def analytics_info(analytics: Analytics) -> AnalyticsInfo:
    return msgspec.convert(analytics, AnalyticsInfo, from_attributes=True)
