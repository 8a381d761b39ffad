"""What must hold at the very moment a row is committed, or bytes leave: kill switches, limits, lanes.

It reads the journal as anybody else can, through a connection of its own, right after each commit and right before each
send, and imports nothing from ibkit. Its reading of the controls is a simple one of its own: a halt blocks what it
names unless the order can be an exit; a limit is the one of the most specific layer.

S9  nothing is sent, and nothing confirmed, that a standing halt blocks; each decision rests on the newest generation
RC  no order is sent that exceeds the limits in force when it is sent
F   fencing: Claimed, TakenOver, Sending and Replying only under the newest epoch of the lane
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from .checker import States

__all__ = ["Guards"]

_LAYERS = ("environment", "tenant", "user", "account", "key", "symbol")
_DEFAULTS = {"max_shares": Decimal(10_000), "max_option_contracts": Decimal(10), "max_order_value": Decimal(100_000)}
"""Of paper: reliability rules §7."""
_FENCED = frozenset({"Claimed", "TakenOver", "Sending", "Replying"})
_CANCELS = " cancels"
"""Cancels have a lane of their own beside the one of everything else."""
_BYTES_WITHIN_S = 0.1
_STANDING = (
    "SELECT number, mode, tenant, account_id, symbol, environment, at, until FROM halts"
    " WHERE number NOT IN (SELECT halt FROM halt_releases WHERE ended = 1)"
)
_CHANGES = (
    "SELECT layer, whose, name, new FROM limit_changes"
    " WHERE environment = ? AND (needs_second = 0 OR number IN (SELECT number FROM limit_confirmations))"
    " ORDER BY number"
)


class Guards:
    """states: the journal. traded: (conid, "BUY" or "SELL") → how much was ever executed so, which bounds a position.

    target: what the broker says an order's quantity is. aged: whether the wall clock may be trusted.
    """

    def __init__(
        self,
        states: States,
        *,
        traded: Callable[[int, str], Decimal],
        target: Callable[[str], Decimal | None],
        now: Callable[[], datetime],
        aged: bool = True,
    ) -> None:
        self._states = states
        self._traded = traded
        self._target = target
        self._now = now
        self._aged = aged
        self.checked = 0

    def committed(self, intent_id: str, rows: tuple[str, ...]) -> list[str]:
        """The rules that the commit of these rows, which has just been made, breaks."""
        kinds = set(rows)
        if not kinds & _FENCED:
            return []
        events = self._events(intent_id)
        planned = events[0][1]
        found = [self._unfenced(planned, events)]
        last, body = events[-1]
        if last == "Sending" or (last == "Replying" and body["confirmed"]):
            self.checked += 1
            found += [self._blocked(planned, self._now(), last), self._outdated(planned, events), *self._over(planned)]
        return [f"{breach} ({planned['key']}: {' '.join(rows)})" for breach in found if breach]

    def leaving(self, kind: str, name: str, *, confirmed: bool | None) -> str:
        """Why these bytes must not leave; empty where they may."""
        if not self._aged or kind == "cancel" or confirmed is False:
            return ""
        if not self._states.rows("SELECT 1 FROM halts LIMIT 1"):
            return ""
        planned = self._sent(kind, name)
        if planned is None:
            return ""  # S4 tells
        blocked = self._blocked(planned, self._now() - timedelta(seconds=_BYTES_WITHIN_S), "bytes")
        return f"{blocked} ({planned['key']}: {kind})" if blocked else ""

    # -- reading ----------------------------------------------------------------------------------------------------

    def _events(self, intent_id: str) -> list[tuple[str, Mapping[str, Any]]]:
        rows = self._states.rows(
            "SELECT kind, body FROM intent_events WHERE intent_id = ? ORDER BY number", (intent_id,)
        )
        return [(kind, json.loads(body)) for kind, body in rows]

    def _sent(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """The wish whose bytes these are."""
        if kind == "place":
            events = self._events(name)
            return events[0][1] if events else None
        state = "replying" if kind == "reply" else "sending"
        for (intent_id,) in self._states.rows("SELECT intent_id FROM intents WHERE state = ?", (state,)):
            events = self._events(intent_id)
            planned, last = events[0][1], events[-1][1]
            if (last.get("question_id") == name) if kind == "reply" else (str(planned["target"]) == name):
                return planned
        return None

    # -- rules ------------------------------------------------------------------------------------------------------

    def _unfenced(self, planned: Mapping[str, Any], events: list[tuple[str, Mapping[str, Any]]]) -> str:
        held = next(body["epoch"] for kind, body in reversed(events) if kind in ("Claimed", "TakenOver"))
        lane = f"{planned['username']}{_CANCELS}" if planned["operation"] == "cancel" else planned["username"]
        newest = self._states.rows("SELECT epoch FROM lanes WHERE username = ?", (lane,))
        newest_epoch = newest[0][0] if newest else 0
        return "" if held == newest_epoch else f"F105: written under epoch {held}, the lane is at {newest_epoch}"

    def _outdated(self, planned: Mapping[str, Any], events: list[tuple[str, Mapping[str, Any]]]) -> str:
        decided = events[-2][1] if events[-2][0] == "Decided" else {}
        ((present,),) = self._states.rows("SELECT generation FROM risk_state")
        if planned["operation"] == "cancel" and not decided:
            return ""
        rests_on = decided.get("generation")
        return "" if rests_on == present else f"S9: decided on generation {rests_on}, the book is at {present}"

    def _blocked(self, planned: Mapping[str, Any], at: datetime, what: str) -> str:
        if planned["operation"] == "cancel" or planned["reduces"]:
            return ""
        tickets = [planned["ticket"], *planned["others"]]
        symbols = {symbol for ticket in tickets for symbol in _symbols(ticket)}
        for number, mode, tenant, account, symbol, environment, pressed, until in self._states.rows(_STANDING):
            if datetime.fromisoformat(pressed) > at or (until and datetime.fromisoformat(until) <= self._now()):
                continue
            whose = (tenant in ("", planned["tenant"]), account in ("", planned["account_id"]))
            if not all(whose) or environment != planned["environment"] or (symbol and symbol not in symbols):
                continue
            if all(self._may_exit(ticket) for ticket in tickets[:1]):
                continue
            if planned["operation"] == "modify" and mode == "block-new" and not self._enlarges(planned):
                continue
            return f"S9: {what} after halt {number} ({mode}) of {pressed}"
        return ""

    def _may_exit(self, ticket: Mapping[str, Any]) -> bool:
        """Whether as much was ever traded the other way: whoever reads the positions late may call it an exit."""
        if ticket["contract"]["legs"]:
            return False
        other = "SELL" if ticket["side"] == "BUY" else "BUY"
        return self._traded(ticket["contract"]["conid"], other) >= Decimal(ticket["quantity"])

    def _enlarges(self, planned: Mapping[str, Any]) -> bool:
        there = self._target(str(planned["target"]))
        return there is None or Decimal(planned["ticket"]["quantity"]) > there

    def _over(self, planned: Mapping[str, Any]) -> list[str]:
        if planned["operation"] not in ("place", "modify") or planned["reduces"]:
            return []
        limits = self._limits(planned)
        others = planned["others"] if planned["group"] == "oca" else []
        return [
            breach
            for ticket in (planned["ticket"], *others)
            if not self._may_exit(ticket)
            for breach in _exceeds(ticket, limits)
        ]

    def _limits(self, planned: Mapping[str, Any]) -> dict[str, Decimal | None]:
        """Each limit from its most specific layer; None: it is off."""
        names = {
            "environment": planned["environment"],
            "tenant": planned["tenant"],
            "user": planned["user"],
            "account": planned["account_id"],
            "key": planned["api_key"],
            "symbol": planned["ticket"]["contract"]["symbol"],
        }
        set_at: dict[str, dict[int, str | None]] = {name: {} for name in _DEFAULTS}
        for layer, whose, name, new in self._states.rows(_CHANGES, (planned["environment"],)):
            if name in set_at and whose == names[layer]:
                set_at[name][_LAYERS.index(layer)] = new
        found: dict[str, Decimal | None] = {}
        for name, default in _DEFAULTS.items():
            values = [value for _, value in sorted(set_at[name].items()) if value is not None]
            found[name] = default if not values else None if values[-1] == "off" else Decimal(values[-1])
        return found


def _symbols(ticket: Mapping[str, Any]) -> set[str]:
    contract = ticket["contract"]
    return {contract["symbol"], *(leg["contract"]["symbol"] for leg in contract["legs"])}


def _exceeds(ticket: Mapping[str, Any], limits: Mapping[str, Decimal | None]) -> list[str]:
    """Quantity always; value where a limit price and a stock make it a simple product."""
    contract, quantity = ticket["contract"], Decimal(ticket["quantity"])
    stock = contract["sec_type"] == "STK"
    found = []
    most = limits["max_shares" if stock else "max_option_contracts"]
    if most is not None and quantity > most:
        found.append(f"RC-07: {quantity} sent, the limit is {most}")
    worth = limits["max_order_value"]
    if stock and ticket["limit_price"] is not None and worth is not None:
        value = quantity * Decimal(ticket["limit_price"])
        if value > worth:
            found.append(f"RC-08: {value} USD sent, the limit is {worth}")
    return found
