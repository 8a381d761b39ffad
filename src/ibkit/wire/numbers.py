"""IBKR's decorated numbers, one named parser for each way of decorating.

Every parser takes what JSON gave (text, a number or null) and returns None where IBKR did not say.
Source: docs/facts/contracts-and-market-data.md §0.2, §2.2; docs/facts/orders.md §5, §9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = [
    "Amount",
    "LastPrice",
    "abbreviated",
    "amount",
    "estimate",
    "figure",
    "last_price",
    "percent",
    "whole",
]

_UNSAID = frozenset({"", "None", "none", "N/A", "n/a", "NaN", "nan", "null", "-"})
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?\Z")
_AMOUNT = re.compile(r"\s*([+-]?[0-9,]+(?:\.[0-9]+)?)\s*([A-Z]{3})?(?:\s*\((.*)\))?\s*\Z")
_SCALES = {"K": Decimal(1000), "M": Decimal(1_000_000), "B": Decimal(1_000_000_000)}


def figure(value: Any) -> Decimal | None:
    """A plain number, as text or not, with or without thousands marks.

    >>> figure("1,300"), figure("2.60"), figure(""), figure("N/A"), figure("None"), figure(None)
    (Decimal('1300'), Decimal('2.60'), None, None, None, None)
    >>> figure(Decimal("647.09")), figure(5), figure("-4"), figure("102,410")
    (Decimal('647.09'), Decimal('5'), Decimal('-4'), Decimal('102410'))

    Raises ValueError for anything else: `figure("C655.24")` is a job for `last_price`.
    """
    if value is None:
        return None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, bool):
        raise ValueError(f"not a number: {value!r}")
    if isinstance(value, int):
        return Decimal(value)
    if not isinstance(value, str):
        raise ValueError(f"not a number: {value!r}")
    text = value.strip()
    if text in _UNSAID:
        return None
    text = text.replace(",", "")
    if not _PLAIN.match(text):
        raise ValueError(f"not a number: {value!r}")
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"not a number: {value!r}") from error


@dataclass(frozen=True, slots=True)
class LastPrice:
    """Field 31 taken apart: C marks yesterday's close, H a halted instrument."""

    price: Decimal | None
    is_close: bool = False
    halted: bool = False


def last_price(value: Any) -> LastPrice:
    """The last price with its letter prefix.

    >>> last_price("C655.24")
    LastPrice(price=Decimal('655.24'), is_close=True, halted=False)
    >>> last_price("H12.30")
    LastPrice(price=Decimal('12.30'), is_close=False, halted=True)
    >>> last_price("655.89").price, last_price("1,237.50").price, last_price("").price
    (Decimal('655.89'), Decimal('1237.50'), None)
    """
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("C", "H"):
            return LastPrice(figure(text[1:]), is_close=text[0] == "C", halted=text[0] == "H")
    return LastPrice(figure(value))


def abbreviated(value: Any) -> Decimal | None:
    """A volume shortened with K, M or B.

    >>> abbreviated("52.1M"), abbreviated("2.4K"), abbreviated("1,300"), abbreviated("")
    (Decimal('52100000.0'), Decimal('2400.0'), Decimal('1300'), None)
    """
    if isinstance(value, str):
        text = value.strip()
        scale = _SCALES.get(text[-1:].upper())
        if scale is not None:
            base = figure(text[:-1])
            return None if base is None else base * scale
    return figure(value)


def percent(value: Any) -> float | None:
    """A percentage as a fraction: an estimate, so a float.

    >>> percent("18.9%"), percent("+0.56"), percent(Decimal("0.56")), percent("N/A")
    (0.189, 0.0056, 0.0056, None)
    """
    number = figure(value.strip().removesuffix("%") if isinstance(value, str) else value)
    return None if number is None else float(number / 100)


def estimate(value: Any) -> float | None:
    """A greek: a float on purpose.

    >>> estimate("0.271"), estimate("-0.282"), estimate(None), estimate("")
    (0.271, -0.282, None, None)
    """
    number = figure(value)
    return None if number is None else float(number)


def whole(value: Any) -> int | None:
    """An integer as text or number.

    >>> whole("756733"), whole(320227571), whole(""), whole(Decimal("4.0"))
    (756733, 320227571, None, 4)
    """
    number = figure(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise ValueError(f"not a whole number: {value!r}")
    return int(number)


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of money with what stood beside it."""

    value: Decimal | None
    currency: str | None = None
    unit: str | None = None


def amount(value: Any) -> Amount:
    """Money as the preview and the detail summaries write it.

    >>> amount("1,237.51 USD")
    Amount(value=Decimal('1237.51'), currency='USD', unit=None)
    >>> amount("1,234 USD (5 Contracts)")
    Amount(value=Decimal('1234'), currency='USD', unit='5 Contracts')
    >>> amount("102,410").value, amount("-4").value, amount("").value, amount("Unlimited").value
    (Decimal('102410'), Decimal('-4'), None, None)

    Words where a number is expected (`Unlimited`, `n/a`, `@ 16:00:00`) are not an error: the value is None.
    """
    if not isinstance(value, str):
        return Amount(figure(value))
    found = _AMOUNT.match(value)
    if found is None:
        return Amount(None)
    return Amount(figure(found[1]), found[2], found[3])
