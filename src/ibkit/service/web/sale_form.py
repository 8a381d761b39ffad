"""The form that sells options: what it wishes for, and what it leaves open although it is chosen.

Nothing that is chosen is guessed: a stop, a width or a strike left blank is a fault of its field, never a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service.web.catalogue import text
from ibkit.service.web.reading import Form

__all__ = ["faults_of", "recorded", "wish_of", "wished"]

_SIDES: Mapping[str, str] = {
    "put": "put",
    "call": "call",
    "strangle": "both",
    "put-spread": "put",
    "call-spread": "call",
    "condor": "both",
}
_SPREADS = ("put-spread", "call-spread", "condor")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "strategy": tuple(_SIDES),
    "by": ("delta", "premium", "strike"),
    "stop": ("stop_multiple", "trail_pct", "trail_amount"),
    "order_type": ("market", "limit"),
}
"""Each choice with what there is to choose; the first holds where a form does not ask."""
_OF_ONE_SENDING = ("key", "next_key", "another", "live", "confirm_account")
"""What says that it is sent, not what is sold."""


def _chosen(form: Form, name: str) -> str:
    return form.text(name, _CHOICES[name][0])


def faults_of(form: Form) -> dict[str, str]:
    """Field → what is wrong with it, before anything is asked of anybody."""
    found = {name: text("sell.choose") for name, known in _CHOICES.items() if _chosen(form, name) not in known}
    return found or {name: text("sell.missing") for name in _needed(form) if not form.text(name)}


def _needed(form: Form) -> list[str]:
    """What must stand there for what was chosen."""
    by, side = _chosen(form, "by"), _SIDES.get(_chosen(form, "strategy"), "both")
    names = ["symbol", "expiry", "quantity", _chosen(form, "stop")]
    names += ["account_id"] * form.ticked("account_id")  # asked of a login with several
    names += _strikes(side) if by == "strike" else [by]
    names += ["width"] * (_chosen(form, "strategy") in _SPREADS)
    names += ["limit_price"] * (_chosen(form, "order_type") == "limit")
    return names


def _strikes(side: str) -> list[str]:
    return ["put_strike"] * (side != "call") + ["call_strike"] * (side != "put")


def wish_of(form: Form) -> dict[str, Any]:
    """The body of POST /api/option-sale; what cannot be a number stays text, and the interface names the field."""
    strategy, by = _chosen(form, "strategy"), _chosen(form, "by")
    side = _SIDES[strategy]
    wish: dict[str, Any] = {
        "symbol": form.text("symbol").upper(),
        "side": side,
        "quantity": form.whole("quantity"),
        "expiry": form.text("expiry"),
        "order_type": _chosen(form, "order_type"),
        "on_stop_failure": form.text("on_stop_failure", "close"),
    }
    wish |= {name: form.number(name) for name in (_strikes(side) if by == "strike" else [by])}
    stop = _chosen(form, "stop")
    wish[stop] = form.number(stop)
    if strategy in _SPREADS:
        wish["width"] = form.number("width")
    if wish["order_type"] == "limit":
        wish["limit_price"] = form.number("limit_price")
    if form.text("take_profit_pct"):
        wish["take_profit_pct"] = form.number("take_profit_pct")
    if allowed := form.text("confirm").replace(",", " ").split():
        wish["confirm"] = allowed
    for name in ("live", "force", "allow_delayed"):
        if form.ticked(name):
            wish[name] = True
    for name in ("account_id", "confirm_account"):
        if form.text(name):
            wish[name] = form.text(name)
    return wish


def wished(form: Form) -> dict[str, str]:
    """What the address of its sale keeps of a form, so that the sale can be carried on with the same terms."""
    return {name: value for name, value in form.kept(but=_OF_ONE_SENDING).items() if value}


def recorded(sale: Mapping[str, Any]) -> dict[str, str]:
    """The form of a sale as far as its records tell: of sides that were never begun, and of the stop, they do not."""
    legs = {leg["side"]: leg for leg in sale["legs"]}
    spread = next((leg for leg in legs.values() if leg["long_strike"] is not None), None)
    found = {
        "symbol": sale["symbol"],
        "expiry": sale["expiry"],
        "quantity": sale["quantity"],
        "strategy": _strategy(sorted(legs), spread=spread is not None),
        "by": "strike",
        "width": None if spread is None else abs(spread["strike"] - spread["long_strike"]),
        **{f"{side}_strike": leg["strike"] for side, leg in legs.items()},
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _strategy(sides: list[str], *, spread: bool) -> str:
    if sides == ["call", "put"]:
        return "condor" if spread else "strangle"
    side = "call" if sides == ["call"] else "put"
    return f"{side}-spread" if spread else side
