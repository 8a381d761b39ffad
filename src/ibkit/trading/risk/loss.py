"""What a day may cost and move: RC-16 daily loss, RC-17 value traded in a day."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal

from ibkit.trading.risk.book import Halt, HaltMode
from ibkit.trading.risk.case import Case, Reading
from ibkit.trading.risk.environment import NEW_YORK
from ibkit.trading.risk.value import case_value

__all__ = ["daily_loss", "daily_value", "next_day"]

BREAKER = "breaker"
"""Who presses a halt that a control asks for."""
_ZERO = Decimal(0)


def daily_loss(case: Case) -> Reading:
    """RC-16: realised and unrealised, as IBKR says it. Beyond the limit the account only reduces until the next day."""
    control, name, most_pct = "RC-16", "daily_loss", case.limits.max_daily_loss_pct
    if most_pct is None:
        return case.off(control, name)
    facts, limit = case.facts, f"{most_pct:f} % of net liquidation"
    if facts.daily_pnl is None or facts.net_liquidation is None or not case.fresh(facts.pnl_at, case.limits.pnl_age_s):
        message = f"The day's profit and loss is not known (at most {case.limits.pnl_age_s:g} s old)"
        if facts.pnl_unknown:
            message += f": {facts.pnl_unknown}"
        return case.refuses(control, name, "unknown", limit, message=message, known=False)
    loss = max(-facts.daily_pnl, _ZERO)
    most = max(facts.net_liquidation, _ZERO) * most_pct / 100
    if loss <= most:
        return case.passes(control, name, f"{loss:.2f}", f"{most:.2f}", most - loss)
    halt = Halt(
        environment=case.scope.environment,
        mode=HaltMode.REDUCE_ONLY,
        by=BREAKER,
        note=f"daily loss {loss:.2f} > {most:.2f}",
        at=case.now,
        account_id=case.account_id,
        until=next_day(case.now),
        control=control,
    )
    return case.refuses(control, name, f"{loss:.2f}", f"{most:.2f}", headroom=most - loss, halt=halt)


def daily_value(case: Case) -> Reading:
    """RC-17: what left today, and this. A change counts in full: what it replaces has left, too."""
    control, name, most = "RC-17", "daily_notional", case.limits.max_daily_value
    if most is None:
        return case.off(control, name)
    value, before = case_value(case), case.usage.value_today
    if value is None or before is None:
        message = "The value traded today is not known"
        return case.refuses(control, name, "unknown", f"{most:f}", message=message, known=False)
    own = sum((sent.value_usd or _ZERO for sent in case.own_sent), _ZERO)
    return case.bounded(control, name, before - own + value, most)


def next_day(now: datetime) -> datetime:
    """When the next trading day of New York begins (its midnight, also over a change of the clocks)."""
    local = now.astimezone(NEW_YORK)
    return datetime.combine(local.date() + timedelta(days=1), time(), NEW_YORK).astimezone(now.tzinfo)
