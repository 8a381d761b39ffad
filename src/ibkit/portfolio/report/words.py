"""Figures as texts for a report: grouped by commas, a true minus, a dash for what is not known, never zero for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

__all__ = ["DASH", "MINUS", "change", "kind_named", "money", "percent", "plain", "price", "share", "units"]

DASH: Final = "–"
MINUS: Final = "−"


def money(amount: Decimal | None) -> str:
    """To the cent.

    >>> money(Decimal("-1234.5")), money(None), money(Decimal("-0.001"))
    ('−1,234.50', '–', '0.00')
    """
    return DASH if amount is None else _signed(f"{amount:,.2f}")


def units(amount: Decimal | None) -> str:
    """All digits that there are.

    >>> units(Decimal("1500.2500")), units(Decimal("-3")), units(Decimal("1E+3"))
    ('1,500.25', '−3', '1,000')
    """
    if amount is None:
        return DASH
    text = f"{amount:,f}"
    return _signed(text.rstrip("0").rstrip(".") if "." in text else text)


def price(amount: Decimal | None) -> str:
    """At least two places, and at most six.

    >>> price(Decimal("1.5")), price(Decimal("0.123456789")), price(Decimal("110.2500"))
    ('1.50', '0.123457', '110.25')
    """
    if amount is None:
        return DASH
    whole, _, part = f"{amount:,.6f}".partition(".")
    return _signed(f"{whole}.{part.rstrip('0').ljust(2, '0')}")


def percent(fraction: float | None) -> str:
    """
    >>> percent(0.1234), percent(-0.0567), percent(None)
    ('12.34 %', '−5.67 %', '–')
    """
    return DASH if fraction is None else _signed(f"{fraction * 100:,.2f} %")


def share(of_hundred: Decimal | None) -> str:
    """
    >>> share(Decimal("33.34")), share(None)
    ('33.34 %', '–')
    """
    return DASH if of_hundred is None else _signed(f"{of_hundred:,.2f} %")


def change(amount: Decimal | None) -> str:
    """With its sign.

    >>> change(Decimal("5")), change(Decimal("-5")), change(Decimal(0))
    ('+5.00', '−5.00', '0.00')
    """
    return f"+{money(amount)}" if amount is not None and amount > 0 else money(amount)


def kind_named(kind: str) -> str:
    """
    >>> kind_named("etf"), kind_named("future-option"), kind_named("stock")
    ('ETF', 'Future option', 'Stock')
    """
    return kind.upper() if kind in ("etf", "cfd") else kind.replace("-", " ").capitalize()


def plain(number: float | None, places: int = 2) -> str:
    return DASH if number is None else _signed(f"{number:,.{places}f}")


def _signed(text: str) -> str:
    if not text.startswith("-"):
        return text
    return text[1:] if not any(digit in text for digit in "123456789") else MINUS + text[1:]
