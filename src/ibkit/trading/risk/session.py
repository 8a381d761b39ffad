"""When an order may leave: RC-24 trading hours, RC-25 reset window, RC-26 age, RC-27 health of the session."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from ibkit.model import OrderType
from ibkit.trading.events import Stage, made_ahead
from ibkit.trading.risk.case import Case, Objection, Reading, parts_of

__all__ = ["age", "check_age", "health", "hours", "reset_window"]

_HEALTH_AGE_S = 90.0
"""How old the last word on the session may be: the keep-alive asks every 30 s, and may miss twice."""
_LIMITED = (OrderType.LIMIT, OrderType.STOP_LIMIT)


def hours(case: Case) -> Reading:
    """RC-24: regular hours only; outside of them by the order's own flag, and only with a limit."""
    control, name = "RC-24", "outside_hours"
    if not case.limits.regular_hours:
        return case.off(control, name)
    for ticket in case.openers:
        if ticket.outside_rth and ticket.order_type not in _LIMITED:
            message = f"Outside regular hours only orders with a limit are allowed, not {ticket.order_type.value}"
            return case.refuses(control, name, ticket.order_type.value, "LMT", message=message)
        for part in parts_of(ticket.contract):
            known = case.market(part).hours
            if known is None or case.now >= known.until:
                message = f"The trading hours of {part.label} are not known"
                return case.refuses(control, name, "unknown", "regular hours", message=message, known=False)
            if not known.open_at(case.now, outside_rth=ticket.outside_rth):
                which = "trading hours" if ticket.outside_rth else "regular trading hours"
                message = f"{part.label} is outside its {which}"
                return case.refuses(control, name, f"{case.now:%H:%M} UTC", which, message=message)
    return case.passes(control, name, "open", "regular hours")


def reset_window(case: Case) -> Reading:
    """RC-25: not in IBKR's reset, nor shortly before or after, when orders get lost."""
    control, name, margin_s = "RC-25", "session_window", case.limits.reset_margin_s
    health = case.facts.health
    if health is None:
        return _unknown_session(case, control, name)
    start, end = health.reset_from, health.reset_until
    if start is None or end is None:
        return case.passes(control, name, "no reset ahead", f"{margin_s:g} s")
    margin = timedelta(seconds=margin_s)
    if start - margin <= case.now < end + margin:
        message = f"IBKR resets from {start:%H:%M} to {end:%H:%M} UTC; {margin_s / 60:g} minutes around are kept clear"
        return case.refuses(control, name, f"{case.now:%H:%M} UTC", f"{margin_s:g} s", message=message)
    away_s = int(((start - margin) - case.now).total_seconds()) if case.now < start else None
    left = None if away_s is None else Decimal(away_s)
    return case.passes(control, name, f"{start:%H:%M} UTC", f"{margin_s:g} s", left)


def age(case: Case) -> Reading:
    """RC-26. A confirmation is judged by the question's own deadline."""
    control, name = "RC-26", "intent_expired"
    if case.stage is Stage.CONFIRM:
        return case.passes(control, name, "confirmation")
    objection = check_age(case.now, case.made_at, case.expires_at, case.limits.max_age_s)
    if objection is not None:
        return case.refuses(control, name, objection.value, objection.limit)
    left = Decimal(str(round((case.expires_at - case.now).total_seconds(), 3)))
    return case.passes(
        control, name, f"{case.limits.max_age_s - float(left):.3f} s", f"{case.limits.max_age_s:g} s", left
    )


def check_age(now: datetime, made_at: datetime, expires_at: datetime, max_age_s: float) -> Objection | None:
    """RC-26: an old wish, also that of a cancel, is not carried out; nor is one that a clock ahead of ours has made."""
    if now > expires_at:
        told = f"{(now - expires_at).total_seconds() + max_age_s:.0f} s old"
    elif made_ahead(made_at, now):
        told = f"of a clock {(made_at - now).total_seconds():.0f} s ahead, so of unknown age"
    else:
        return None
    return Objection(control="RC-26", name="intent_expired", value=told, limit=f"{max_age_s:g} s")


def health(case: Case) -> Reading:
    """RC-27: signed in, alone, clocks together, and no silent stream of quotes."""
    control, name = "RC-27", "session_not_ready"
    known = case.facts.health
    if known is None or not case.fresh(known.at, _HEALTH_AGE_S):
        return _unknown_session(case, control, name)
    skew = known.skew_s
    problems = (
        ("the brokerage session is not open", not known.authenticated),
        ("another login competes for the brokerage session", known.competing),
        (f"our clock and IBKR's differ by {skew or 0:.0f} s", skew is not None and abs(skew) >= case.limits.max_skew_s),
        ("the stream of quotes is silent", known.stream_stale is True),
    )
    for text, holds in problems:
        if holds:
            return case.refuses(control, name, text, "", message=f"The session is not ready: {text}")
    shown = "skew not known" if skew is None else f"skew {skew:.1f} s"
    return case.passes(control, name, shown, f"{case.limits.max_skew_s:g} s")


def _unknown_session(case: Case, control: str, name: str) -> Reading:
    message = "The state of the brokerage session is not known"
    return case.refuses(control, name, "unknown", "", message=message, known=False)
