"""How values are shown. What is not known is a dash, never a zero."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from markupsafe import Markup, escape

__all__ = ["DASH", "FILTERS", "amount", "count", "duration", "money", "percent", "rate", "signed", "tone", "when"]

DASH = "–"


def _decimal(value: Any) -> Decimal | None:
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def amount(value: Any, places: int = 2) -> str:
    """`1,234.50`; with more places where the value has them, up to four."""
    found = _decimal(value)
    if found is None:
        return DASH
    exponent = found.normalize().as_tuple().exponent
    wanted = min(4, max(places, -exponent if isinstance(exponent, int) else places))
    text = f"{abs(found):,.{wanted}f}"
    return f"−{text}" if found < 0 and any(each in "123456789" for each in text) else text


def money(value: Any, currency: str | None = None) -> str:
    """With two places, which is what a total needs."""
    found = _decimal(value)
    if found is None:
        return DASH
    text = f"{abs(found):,.2f}"
    sign = "−" if found < 0 and any(each in "123456789" for each in text) else ""
    return f"{sign}{text} {currency}" if currency else f"{sign}{text}"


def signed(value: Any, currency: str | None = None) -> str:
    found = _decimal(value)
    text = money(value, currency)
    return f"+{text}" if found is not None and found > 0 else text


def percent(value: Any, places: int = 2) -> str:
    """Of a fraction: 0.05 is `5.00 %`."""
    found = _decimal(value)
    if found is None:
        return DASH
    text = f"{abs(found) * 100:,.{places}f} %"
    return f"−{text}" if found < 0 else text


def rate(value: Any, places: int = 1) -> str:
    """Of what is told in per cent: 66.7 is `66.7 %`."""
    found = _decimal(value)
    return DASH if found is None else percent(found / 100, places)


def count(value: Any) -> str:
    """Without places where there are none."""
    found = _decimal(value)
    if found is None:
        return DASH
    text = f"{abs(found).normalize():,f}"
    return f"−{text}" if found < 0 else text


def tone(value: Any) -> str:
    """The class of a gain or a loss."""
    found = _decimal(value)
    return "" if not found else "gain" if found > 0 else "loss"


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def when(value: Any, kind: str = "time") -> Markup:
    """A moment as `<time>`; the script shows it in the visitor's own zone. kind: time, age or left."""
    found = _moment(value) if value else None
    if found is None:
        return Markup("{}").format(DASH)
    at = found.astimezone(UTC)
    text = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" data-show="{}">{}</time>').format(at.isoformat(), kind, text)


def duration(seconds: Any) -> str:
    """`3 h 12 min`, `45 s`."""
    found = _decimal(seconds)
    if found is None:
        return DASH
    left = max(0, int(found))
    if left < 90:
        return f"{left} s"
    if left < 5400:
        return f"{left // 60} min"
    if left < 172_800:
        return f"{left // 3600} h {left % 3600 // 60} min"
    return f"{left // 86_400} d {left % 86_400 // 3600} h"


def shown(value: Any) -> Markup | str:
    """Any text, or the dash."""
    return DASH if value is None or value == "" else escape(value)


FILTERS = {
    "amount": amount,
    "money": money,
    "signed": signed,
    "percent": percent,
    "rate": rate,
    "count": count,
    "tone": tone,
    "when": when,
    "duration": duration,
    "shown": shown,
}
