"""Text of arguments → days, numbers, rights; a wrong one is E-VALIDATION and exit code 2."""

from __future__ import annotations

import re
import sys
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from ibkit.errors import ConfigError
from ibkit.model import Right

__all__ = ["confirmed", "day", "number", "right_of", "today_in_new_york", "wrong"]


def wrong(name: str, reason: str) -> ConfigError:
    return ConfigError(f"Invalid request: {name}: {reason}", code="E-VALIDATION", remedy=f"Correct {name}.")


def day(name: str, text: str) -> date:
    """YYYYMMDD, or YYYY-MM-DD."""
    plain = text.replace("-", "")
    try:
        if not re.fullmatch(r"\d{8}", plain, re.ASCII):
            raise ValueError
        return datetime.strptime(plain, "%Y%m%d").date()  # noqa: DTZ007  # a day of the exchange, no moment
    except ValueError:
        raise wrong(name, f"{text} is no day; write YYYYMMDD") from None


def confirmed(question: str) -> bool:
    """A person's yes; E-VALIDATION where nobody can be asked."""
    if not sys.stdin.isatty():
        raise wrong("--yes", "it is needed where nobody can be asked")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def number(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise wrong(name, f"{text} is no number") from None
    if not value.is_finite():
        raise wrong(name, f"{text} is no number")
    return value


def right_of(name: str, text: str) -> Right:
    match text.casefold():
        case "p" | "put":
            return Right.PUT
        case "c" | "call":
            return Right.CALL
        case _:
            raise wrong(name, f"{text} is neither P (put) nor C (call)")


def today_in_new_york(now: datetime) -> date:
    """The exchange's day, wherever this computer stands (OPT-04)."""
    return now.astimezone(ZoneInfo("America/New_York")).date()
