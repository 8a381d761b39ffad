"""What our own rules allow: the thirty risk controls, asked at intake, before each send and each confirmation.

    environment.py RC-01 29     allowed.py RC-03 04 05 06      price.py    RC-09 10 11 12    rates.py     RC-18 19 20
    kill.py        RC-02        session.py RC-24 25 26 27      exposure.py RC-08 13 14 15    repeated.py  RC-21 22
    size.py        RC-07 23     loss.py    RC-16 17            questions.py RC-28            heartbeat.py RC-30

`checking.py` has them in order; `case.py` is what they are given, `limits.py` and `names.py` the figures, `book.py`
what lasts. They are pure and fail closed: a missing or stale input refuses. Names and figures: reliability rules §7.
"""

from __future__ import annotations

from ibkit.trading.risk.book import (
    LAYERS,
    Halt,
    HaltMode,
    Layer,
    LimitChange,
    OpenOrder,
    Released,
    RiskBook,
    RiskState,
    Scope,
    Sent,
    Usage,
)
from ibkit.trading.risk.case import Case, Objection, Reading, State, case_of, scope_of
from ibkit.trading.risk.checking import CONTROLS, Verdict, assess, check
from ibkit.trading.risk.facts import DailyPnl, Facts, Holding, Market, SessionHealth, TradingHours
from ibkit.trading.risk.heartbeat import Heartbeat, overdue
from ibkit.trading.risk.limits import LIVE_LIMITS, PAPER_LIMITS, Limits, Mode, default_limits
from ibkit.trading.risk.names import LIMITS, layered, loosens, read_value, show_value
from ibkit.trading.risk.price import UNPRICED
from ibkit.trading.risk.questions import covers
from ibkit.trading.risk.session import check_age
from ibkit.trading.risk.standing import LimitStanding, standings
from ibkit.trading.risk.value import case_value

__all__ = [
    "CONTROLS",
    "LAYERS",
    "LIMITS",
    "LIVE_LIMITS",
    "PAPER_LIMITS",
    "UNPRICED",
    "Case",
    "DailyPnl",
    "Facts",
    "Halt",
    "HaltMode",
    "Heartbeat",
    "Holding",
    "Layer",
    "LimitChange",
    "LimitStanding",
    "Limits",
    "Market",
    "Mode",
    "Objection",
    "OpenOrder",
    "Reading",
    "Released",
    "RiskBook",
    "RiskState",
    "Scope",
    "Sent",
    "SessionHealth",
    "State",
    "TradingHours",
    "Usage",
    "Verdict",
    "assess",
    "case_of",
    "case_value",
    "check",
    "check_age",
    "covers",
    "default_limits",
    "layered",
    "loosens",
    "overdue",
    "read_value",
    "scope_of",
    "show_value",
    "standings",
]
