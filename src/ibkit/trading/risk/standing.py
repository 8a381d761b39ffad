"""How each limit stands: its value, which layer said so, and how much of it is used up."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ibkit.trading.risk.book import RiskState
from ibkit.trading.risk.names import LIMITS, show_value

__all__ = ["LimitStanding", "standings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStanding:
    """value: as `risk set` takes it, or `any`. used, left: None where nothing is counted. source: the layer, or
    `default`."""

    control: str
    name: str
    value: str
    used: Decimal | None
    left: Decimal | None
    source: str
    meaning: str


def standings(state: RiskState, *, counted: bool = True) -> tuple[LimitStanding, ...]:
    """Every limit, by name. counted: False where no account is named: what is used up belongs to one."""
    sources, used = dict(state.sources), _used(state) if counted else {}
    found = []
    for name, limit in LIMITS.items():
        value, spent = getattr(state.limits, name), used.get(name)
        found.append(
            LimitStanding(
                control=limit.control,
                name=name,
                value="any" if value is None and name.startswith("allowed_") else show_value(value),
                used=spent,
                left=None if spent is None or value is None else Decimal(value) - spent,
                source=sources.get(name, "default"),
                meaning=limit.meaning,
            )
        )
    return tuple(found)


def _used(state: RiskState) -> dict[str, Decimal]:
    usage = state.usage
    used = {
        "orders_per_minute": Decimal(len(usage.sent)),
        "orders_per_day": Decimal(usage.sent_today),
        "reject_breaker": Decimal(len(usage.rejects)),
    }
    return used if usage.value_today is None else {**used, "max_daily_value": usage.value_today}
