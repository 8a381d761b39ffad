"""Whose money it is: RC-01 environment, RC-29 a person's confirmation."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ibkit.model import Environment, environment_of
from ibkit.trading.risk.case import Case, Reading
from ibkit.trading.risk.limits import LONGEST_LIVE_DAYS
from ibkit.trading.risk.value import case_value

__all__ = ["NEW_YORK", "confirmation", "environment"]

NEW_YORK: Final = ZoneInfo("America/New_York")
_RC01, _NAME = "RC-01", "environment_mismatch"


def environment(case: Case) -> Reading:
    """RC-01: settings, account id, the broker's word and the person's word agree; live money is enabled for a time.

    A confirmation of live trading under paper settings is no harmless extra: one of the two is a mistake.
    """
    wanted, facts = case.limits.environment, case.facts
    kind = environment_of(case.account_id)
    if kind is not wanted:
        return _mismatch(case, f"Account {case.account_id} is a {kind.value} account but IBKR_ENV={wanted.value}")
    if facts.broker_is_paper is None:
        return _mismatch(case, "IBKR has not said whether this login is paper or live", known=False)
    if facts.broker_is_paper is not (wanted is Environment.PAPER):
        broker = "paper" if facts.broker_is_paper else "live"
        return _mismatch(case, f"IBKR says this login is {broker}, but IBKR_ENV={wanted.value}")
    if wanted is Environment.PAPER and facts.live_confirmed:
        return _mismatch(case, "Live trading was asked for, but IBKR_ENV=paper")
    if wanted is Environment.LIVE and not facts.live_confirmed:
        return case.refuses(_RC01, "live_confirmed", "no", "yes", message="Live trading not confirmed", code="E-LIVE")
    return _enabled(case) if wanted is Environment.LIVE else case.passes(_RC01, _NAME, "paper", "paper")


def _enabled(case: Case) -> Reading:
    """Live trading is switched on for a time, which ends by itself; closing is possible for longer."""
    until, today = case.limits.live_enabled_until, _day(case.now)
    name = "live_enabled_until"
    if case.exits or not case.tickets:
        return case.passes(_RC01, name, "closes or cancels", "live")
    if until is None or today > until:
        message = f"Live trading is not enabled{'' if until is None else f' since {until} is over'}"
        return case.refuses(_RC01, name, str(today), str(until or "not set"), message=message, code="E-LIVE")
    if until - today > timedelta(days=LONGEST_LIVE_DAYS):
        message = f"Live trading is enabled until {until}, more than {LONGEST_LIVE_DAYS} days ahead"
        return case.refuses(_RC01, name, str(until), f"{LONGEST_LIVE_DAYS} days", message=message, code="E-LIVE")
    return case.passes(_RC01, name, str(today), str(until))


def confirmation(case: Case) -> Reading:
    """RC-29: a person confirms a large live order, and the first of a day."""
    control, name, limits = "RC-29", "confirmation_required", case.limits
    if limits.confirm_above is None and not limits.confirm_first:
        return case.off(control, name)
    said = case.facts.live_confirmed if case.facts.order_confirmed is None else case.facts.order_confirmed
    value = case_value(case)
    shown = "not known" if value is None else f"{value:f}"
    limit = "off" if limits.confirm_above is None else f"{limits.confirm_above:f}"
    if said:
        return case.passes(control, name, shown, limit)
    if limits.confirm_first and case.usage.sent_today - len(case.own_sent) <= 0:
        message = "The first live order of a day must be confirmed by a person"
        return case.refuses(control, name, shown, limit, message=message, code="E-LIVE")
    if limits.confirm_above is not None and (value is None or value > limits.confirm_above):
        message = f"A live order above {limit} USD must be confirmed by a person (this one: {shown})"
        return case.refuses(control, name, shown, limit, message=message, code="E-LIVE", known=value is not None)
    left = None if limits.confirm_above is None or value is None else limits.confirm_above - value
    return case.passes(control, name, shown, limit, left)


def _mismatch(case: Case, message: str, *, known: bool = True) -> Reading:
    return case.refuses(_RC01, _NAME, "", "", message=message, code="E-ACC-ENV", known=known)


def _day(now: datetime) -> date:
    return now.astimezone(NEW_YORK).date()
