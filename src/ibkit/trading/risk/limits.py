"""The figures that the controls hold an order against, and their defaults for paper and live.

Figures: reliability rules §7. A value of None switches a numeric control off; an allow-list of None allows all.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ibkit.model import Environment, OrderType, SecType, TimeInForce

__all__ = [
    "IBKR_COLLAR_PCT",
    "IBKR_MAX_ACTIVE",
    "IBKR_MAX_SHARES",
    "IBKR_MAX_VALUE",
    "LIVE_LIMITS",
    "LONGEST_LIVE_DAYS",
    "PAPER_LIMITS",
    "Limits",
    "Mode",
    "default_limits",
]

IBKR_MAX_SHARES = Decimal(500)
IBKR_MAX_VALUE = Decimal(100_000)
IBKR_COLLAR_PCT = Decimal(3)
"""IBKR's own precautions, whose questions our limits must cover. Source: docs/facts/orders.md §3.3."""
IBKR_MAX_ACTIVE = 20
"""Active orders per contract, side and account. Source: reliability rules §1.3 (an excerpt of IBKR's)."""
LONGEST_LIVE_DAYS = 30
"""For so long at most may live trading be enabled ahead (control RC-01)."""


class Mode(enum.Enum):
    """What a control does that may only warn."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Values are in USD, percentages of what the control names, ages in seconds. The names are those of `risk set`."""

    version: str
    environment: Environment
    live_enabled_until: date | None = None
    allowed_accounts: frozenset[str] | None
    allowed_symbols: frozenset[str] | None
    sec_types: frozenset[SecType]
    order_types: frozenset[OrderType]
    tifs: frozenset[TimeInForce]
    stop_tifs: frozenset[TimeInForce]
    max_shares: Decimal | None
    max_option_contracts: Decimal | None
    max_order_value: Decimal | None
    quote_age_s: float = 5.0
    collar_pct: Decimal | None
    option_collar_pct: Decimal | None
    option_collar_floor: Decimal
    market_orders: Mode
    market_quote_age_s: float = 2.0
    market_spread_pct: Decimal = Decimal(1)
    ticks: bool = True
    max_price: Decimal = Decimal(1_000_000)
    max_position: Decimal | None
    max_position_value: Decimal | None
    max_exposure: Decimal | None
    short_stock: bool
    max_open_short_options: Decimal | None
    max_daily_loss_pct: Decimal | None
    pnl_age_s: float = 60.0
    max_daily_value: Decimal | None
    orders_per_second: int | None
    orders_per_minute: int | None
    orders_per_day: int | None
    repeat_breaker: int | None = 5
    reject_breaker: int | None = 5
    duplicates: Mode
    unknowns: Mode
    max_active_orders: int | None = 15
    regular_hours: bool
    reset_margin_s: float = 300.0
    max_age_s: float
    max_skew_s: float = 60.0
    confirm_above: Decimal | None
    confirm_first: bool
    heartbeat_s: float | None = None


PAPER_LIMITS = Limits(
    version="paper-default-1",
    environment=Environment.PAPER,
    allowed_accounts=None,
    allowed_symbols=None,
    sec_types=frozenset({SecType.STOCK, SecType.OPTION, SecType.FUTURE, SecType.CASH}),
    order_types=frozenset(OrderType),
    tifs=frozenset(TimeInForce),
    stop_tifs=frozenset(TimeInForce),
    max_shares=Decimal(10_000),
    max_option_contracts=Decimal(10),
    max_order_value=Decimal(100_000),
    collar_pct=Decimal(10),
    option_collar_pct=Decimal(10),
    option_collar_floor=Decimal("0.10"),
    market_orders=Mode.WARN,
    max_position=Decimal(20_000),
    max_position_value=None,
    max_exposure=Decimal(5),
    short_stock=True,
    max_open_short_options=Decimal(20),
    max_daily_loss_pct=Decimal(10),
    max_daily_value=Decimal(10_000_000),
    orders_per_second=5,
    orders_per_minute=120,
    orders_per_day=None,
    duplicates=Mode.WARN,
    unknowns=Mode.WARN,
    regular_hours=False,
    max_age_s=30.0,
    confirm_above=None,
    confirm_first=False,
)

LIVE_LIMITS = Limits(
    version="live-default-1",
    environment=Environment.LIVE,
    allowed_accounts=frozenset(),
    allowed_symbols=frozenset(),
    sec_types=frozenset({SecType.STOCK, SecType.OPTION}),
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT}),
    tifs=frozenset({TimeInForce.DAY}),
    stop_tifs=frozenset({TimeInForce.DAY, TimeInForce.GTC}),
    max_shares=Decimal(500),
    max_option_contracts=Decimal(10),
    max_order_value=Decimal(25_000),
    collar_pct=Decimal(3),
    option_collar_pct=Decimal(10),
    option_collar_floor=Decimal("0.10"),
    market_orders=Mode.REFUSE,
    max_position=Decimal(1_000),
    max_position_value=Decimal(50_000),
    max_exposure=Decimal(1),
    short_stock=False,
    max_open_short_options=Decimal(20),
    max_daily_loss_pct=Decimal(2),
    max_daily_value=Decimal(250_000),
    orders_per_second=2,
    orders_per_minute=30,
    orders_per_day=500,
    duplicates=Mode.REFUSE,
    unknowns=Mode.REFUSE,
    regular_hours=True,
    max_age_s=10.0,
    confirm_above=Decimal(5_000),
    confirm_first=True,
)


def default_limits(environment: Environment) -> Limits:
    return PAPER_LIMITS if environment is Environment.PAPER else LIVE_LIMITS
