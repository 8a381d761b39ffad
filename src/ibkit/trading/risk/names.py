"""The limits by name: what each is, how it is written, and which of two values allows more.

    max_shares 500 | off        sec_types STK,OPT          market_orders off | warn | refuse
    live_enabled_until 2026-12-20                          allowed_symbols SPY,QQQ | any | none

`default` takes a layer's own value away again.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from ibkit.errors import ConfigError
from ibkit.model import OrderType, SecType, TimeInForce
from ibkit.trading.risk.book import LAYERS, LimitChange, Scope
from ibkit.trading.risk.limits import Limits, Mode

__all__ = ["LIMITS", "LimitName", "layered", "limit_named", "loosens", "read_value", "show_value"]

OFF, ANY, NONE, DEFAULT = "off", "any", "none", "default"

Value: TypeAlias = Any
"""What a field of `Limits` holds; which type it is, the field's row below says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitName:
    """read: text to value, ValueError for what is none. allows_more(new, old): whether new lets more through."""

    name: str
    control: str
    meaning: str
    read: Callable[[str], Value]
    allows_more: Callable[[Value, Value], bool]


def limit_named(name: str) -> LimitName:
    """ConfigError (E-VALIDATION) where there is none of that name."""
    found = LIMITS.get(name)
    if found is None:
        raise ConfigError(
            f"There is no limit {name}", code="E-VALIDATION", remedy="`ibkit risk show` lists the limits by name."
        )
    return found


def read_value(name: str, text: str) -> Value:
    """ConfigError (E-VALIDATION) for a text that is no value of this limit."""
    limit = limit_named(name)
    try:
        return limit.read(text.strip())
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no value of {name}: {error}",
            code="E-VALIDATION",
            remedy=f"{name}: {limit.meaning}.",
        ) from None


def show_value(value: Value) -> str:
    """As `read_value` reads it (an empty allow-list is `none`, one that allows all `any` or `off`)."""
    match value:
        case None:
            return OFF
        case bool():
            return "on" if value else OFF
        case Decimal():
            return f"{value:f}"
        case float():
            return f"{value:g}"
        case enum.Enum():
            return str(value.value)
        case frozenset():
            return ",".join(sorted(show_value(item) for item in value)) or NONE
        case _:
            return str(value)


def loosens(name: str, new: Value, old: Value) -> bool:
    """Whether `new` lets an order through that `old` refuses."""
    return new != old and limit_named(name).allows_more(new, old)


def layered(base: Limits, changes: Iterable[LimitChange], scope: Scope) -> tuple[Limits, tuple[tuple[str, str], ...]]:
    """`base` with the changes in force for `scope`, each limit from its most specific layer, and where they come from.

    The version becomes that of the base and the number of the newest change that counts: `live-default-1+12`.
    """
    found: dict[str, dict[int, LimitChange]] = {}
    for change in sorted(changes, key=lambda change: change.number):
        if change.in_force and change.environment is base.environment and scope.name(change.layer) == change.whose:
            found.setdefault(change.name, {})[LAYERS.index(change.layer)] = change
    values: dict[str, Value] = {}
    sources: list[tuple[str, str]] = []
    newest = 0
    for name, by_layer in found.items():
        newest = max(newest, *(change.number for change in by_layer.values()))
        set_at = [layer for layer, change in sorted(by_layer.items()) if change.new is not None]
        if set_at:
            change = by_layer[set_at[-1]]
            assert change.new is not None, "chosen for having a value"
            values[name] = read_value(name, change.new)
            sources.append((name, f"{change.layer.value} {change.whose}, change {change.number}"))
    version = f"{base.version}+{newest}" if newest else base.version
    return dataclasses.replace(base, **values, version=version), tuple(sources)


def _amount(text: str) -> Decimal | None:
    if text.lower() == OFF:
        return None
    return _decimal(text)


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text.replace(",", ""))
    except InvalidOperation:
        raise ValueError("a number is needed") from None
    if not value.is_finite() or value < 0:
        raise ValueError("a number from 0 on is needed")
    return value


def _count(text: str) -> int | None:
    if text.lower() == OFF:
        return None
    if not text.isdecimal():
        raise ValueError("a whole number from 0 on is needed")
    return int(text)


def _breaker(text: str) -> int | None:
    count = _count(text)
    if count == 0:
        raise ValueError("a breaker needs a number from 1 on, or off")
    return count


def _seconds(text: str) -> float:
    return float(_decimal(text))


def _optional_seconds(text: str) -> float | None:
    return None if text.lower() == OFF else _seconds(text)


def _switch(text: str) -> bool:
    words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if text.lower() not in words:
        raise ValueError("on or off is needed")
    return words[text.lower()]


def _mode(text: str) -> Mode:
    try:
        return Mode(text.lower())
    except ValueError:
        raise ValueError("off, warn or refuse is needed") from None


def _day(text: str) -> date | None:
    return None if text.lower() == OFF else date.fromisoformat(text)


def _names(text: str) -> frozenset[str] | None:
    if text.lower() in (ANY, OFF):
        return None
    if text.lower() == NONE:
        return frozenset()
    names = frozenset(part.strip().upper() for part in text.split(",") if part.strip())
    if not names:
        raise ValueError("names are needed, with commas between them, or any, or none")
    return names


def _of(kind: type[enum.Enum]) -> Callable[[str], frozenset[enum.Enum]]:
    words = {str(member.value).upper(): member for member in kind}

    def read(text: str) -> frozenset[enum.Enum]:
        if text.lower() == NONE:
            return frozenset()
        parts = [part.strip().upper() for part in text.split(",")]
        unknown = [part for part in parts if part not in words]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is none of {', '.join(words)}")
        return frozenset(words[part] for part in parts)

    return read


def _higher(new: Value, old: Value) -> bool:
    """More is allowed by a larger number; off allows all."""
    return old is not None and (new is None or new > old)


def _lower(new: Value, old: Value) -> bool:
    return bool(new < old)


def _wider(new: Value, old: Value) -> bool:
    """More is allowed by a list with something that the other has not; any allows all."""
    return old is not None and (new is None or not new <= old)


def _on(new: Value, old: Value) -> bool:
    return bool(new) and not old


def _not_on(new: Value, old: Value) -> bool:
    return bool(old) and not new


def _milder(new: Value, old: Value) -> bool:
    order = (Mode.REFUSE, Mode.WARN, Mode.OFF)
    return order.index(new) > order.index(old)


def _later(new: Value, old: Value) -> bool:
    return new is not None and (old is None or new > old)


_Row: TypeAlias = tuple[str, str, Callable[[str], Value], Callable[[Value, Value], bool], str]

_ROWS: tuple[_Row, ...] = (
    ("live_enabled_until", "RC-01", _day, _later, "last day of live trading, at most 30 days ahead, or off"),
    ("allowed_accounts", "RC-03", _names, _wider, "accounts with commas between them, any or none"),
    ("allowed_symbols", "RC-04", _names, _wider, "symbols or conids with commas between them, any or none"),
    ("sec_types", "RC-05", _of(SecType), _wider, "kinds of contract, as IBKR writes them"),
    ("order_types", "RC-06", _of(OrderType), _wider, "order types, as IBKR writes them"),
    ("tifs", "RC-06", _of(TimeInForce), _wider, "times in force"),
    ("stop_tifs", "RC-06", _of(TimeInForce), _wider, "times in force of orders that wait for a trigger"),
    ("max_shares", "RC-07", _amount, _higher, "shares of one order, or off"),
    ("max_option_contracts", "RC-07", _amount, _higher, "contracts of one order in derivatives, or off"),
    ("max_order_value", "RC-08", _amount, _higher, "USD of one order, or off"),
    ("quote_age_s", "RC-09", _seconds, _higher, "seconds that a quote may be old"),
    ("collar_pct", "RC-10", _amount, _higher, "per cent beyond the market that a limit may be, or off"),
    ("option_collar_pct", "RC-10", _amount, _higher, "the same for options, or off"),
    ("option_collar_floor", "RC-10", _decimal, _higher, "what an option's limit may always be beyond the market"),
    ("market_orders", "RC-11", _mode, _milder, "off, warn or refuse market orders in an unsafe market"),
    ("market_quote_age_s", "RC-11", _seconds, _higher, "seconds that a market order's quote may be old"),
    ("market_spread_pct", "RC-11", _decimal, _higher, "per cent of the price that the spread may be wide"),
    ("ticks", "RC-12", _switch, _not_on, "on or off"),
    ("max_price", "RC-12", _decimal, _higher, "the highest price that makes sense"),
    ("max_position", "RC-13", _amount, _higher, "shares of a stock, all open orders filled, or off"),
    ("max_position_value", "RC-13", _amount, _higher, "USD of one contract, all open orders filled, or off"),
    ("max_exposure", "RC-14", _amount, _higher, "times net liquidation that all positions may be worth, or off"),
    ("short_stock", "RC-15", _switch, _on, "on or off"),
    ("max_open_short_options", "RC-15", _amount, _higher, "option contracts short in the account, or off"),
    ("max_daily_loss_pct", "RC-16", _amount, _higher, "per cent of net liquidation lost in a day, or off"),
    ("pnl_age_s", "RC-16", _seconds, _higher, "seconds that profit and loss may be old"),
    ("max_daily_value", "RC-17", _amount, _higher, "USD traded in a day, or off"),
    ("orders_per_second", "RC-18", _count, _higher, "orders in a second, or off"),
    ("orders_per_minute", "RC-18", _count, _higher, "orders in a minute, or off"),
    ("orders_per_day", "RC-18", _count, _higher, "orders in a day, or off"),
    ("repeat_breaker", "RC-19", _breaker, _higher, "orders of one contract and side in a minute, or off"),
    ("reject_breaker", "RC-20", _breaker, _higher, "refusals by the broker in a minute that halt the account, or off"),
    ("duplicates", "RC-21", _mode, _milder, "off, warn or refuse a second order of the same terms"),
    ("unknowns", "RC-22", _mode, _milder, "off, warn or refuse while an order of the contract is in unknown state"),
    ("max_active_orders", "RC-23", _count, _higher, "open orders of one contract and side, or off"),
    ("regular_hours", "RC-24", _switch, _not_on, "on: regular trading hours only"),
    ("reset_margin_s", "RC-25", _seconds, _lower, "seconds kept clear around IBKR's reset"),
    ("max_age_s", "RC-26", _seconds, _higher, "seconds that a wish may wait"),
    ("max_skew_s", "RC-27", _seconds, _higher, "seconds that our clock may be off"),
    ("confirm_above", "RC-29", _amount, _higher, "USD from which a person confirms a live order, or off"),
    ("confirm_first", "RC-29", _switch, _not_on, "on: a person confirms the first live order of a day"),
    ("heartbeat_s", "RC-30", _optional_seconds, _higher, "seconds without a sign of life of a strategy, or off"),
)

LIMITS: Mapping[str, LimitName] = {
    name: LimitName(name=name, control=control, meaning=meaning, read=read, allows_more=allows_more)
    for name, control, read, allows_more, meaning in _ROWS
}
