"""Intent to outcome: what may be sent, when, and what became of it. No I/O of its own.

The way of an order: `gateway` (one door) → `risk` and `questions` (our rules) → `ports.Broker`. Loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibkit.trading.alert import Alert, AlertKind, Severity
    from ibkit.trading.cancel_all import CancelAllResult
    from ibkit.trading.closing.closer import CloseResult, PositionCloser
    from ibkit.trading.events import Operation
    from ibkit.trading.gateway import OrderGateway
    from ibkit.trading.intent import Intent, IntentState
    from ibkit.trading.outcome import Outcome
    from ibkit.trading.ports import Alerts, Broker, Journal
    from ibkit.trading.questions import QuestionPolicy
    from ibkit.trading.ref import check_key, child_key, make_key
    from ibkit.trading.resolving import resolve_intent
    from ibkit.trading.risk import Facts, Limits, RiskBook, default_limits
    from ibkit.trading.selling.ports import Trades
    from ibkit.trading.selling.seller import OptionSeller
    from ibkit.trading.selling.trade import Trade, TradeResult
    from ibkit.trading.timeline import Observer, Step, StepKind
    from ibkit.trading.watching.watchdog import Watchdog, WatchReport

__all__ = [
    "Alert",
    "AlertKind",
    "Alerts",
    "Broker",
    "CancelAllResult",
    "CloseResult",
    "Facts",
    "Intent",
    "IntentState",
    "Journal",
    "Limits",
    "Observer",
    "Operation",
    "OptionSeller",
    "OrderGateway",
    "Outcome",
    "PositionCloser",
    "QuestionPolicy",
    "RiskBook",
    "Severity",
    "Step",
    "StepKind",
    "Trade",
    "TradeResult",
    "Trades",
    "WatchReport",
    "Watchdog",
    "check_key",
    "child_key",
    "default_limits",
    "make_key",
    "resolve_intent",
]

_HOMES = {
    "alert": ("Alert", "AlertKind", "Severity"),
    "cancel_all": ("CancelAllResult",),
    "closing.closer": ("CloseResult", "PositionCloser"),
    "events": ("Operation",),
    "gateway": ("OrderGateway",),
    "intent": ("Intent", "IntentState"),
    "selling.seller": ("OptionSeller",),
    "outcome": ("Outcome",),
    "ports": ("Alerts", "Broker", "Journal"),
    "questions": ("QuestionPolicy",),
    "ref": ("check_key", "child_key", "make_key"),
    "resolving": ("resolve_intent",),
    "risk": ("Facts", "Limits", "RiskBook", "default_limits"),
    "timeline": ("Observer", "Step", "StepKind"),
    "selling.ports": ("Trades",),
    "selling.trade": ("Trade", "TradeResult"),
    "watching.watchdog": ("WatchReport", "Watchdog"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
