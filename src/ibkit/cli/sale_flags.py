"""The flags of a sale that take some reading: exits, times, and which of them exclude each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from ibkit.cli.asking import day, number, today_in_new_york, wrong
from ibkit.errors import ConfigError
from ibkit.model import Trail, TrailKind

__all__ = ["check_conflicts", "duration_of", "exit_moment", "profit_part", "trail_of"]

_NEW_YORK = ZoneInfo("America/New_York")
_EXCLUDE = (
    ("--delta", "--premium"),
    ("--delta", "--put-strike"),
    ("--delta", "--call-strike"),
    ("--premium", "--put-strike"),
    ("--premium", "--call-strike"),
    ("--dte", "--expiry"),
    ("--delta", "--strike"),
    ("--trail", "--stop-multiple"),
    ("--exit-at", "--exit-in"),
)


def check_conflicts(given: Mapping[str, object]) -> None:
    """ConfigError (E-VALIDATION) naming two flags that say different things; None is not given."""
    for one, other in _EXCLUDE:
        if given.get(one) is not None and given.get(other) is not None:
            raise ConfigError(
                f"Invalid request: {one} and {other} exclude each other",
                code="E-VALIDATION",
                remedy=f"Leave out {one} or {other}.",
            )


def trail_of(name: str, text: str) -> Trail:
    """`50%` follows at half the price, `0.50` at fifty cents.

    >>> trail_of("--trail", "50%").label, trail_of("--trail", "0.50").label
    ('50%', '0.5')
    """
    percent = text.strip().endswith("%")
    amount = number(name, text.strip().rstrip("%"))
    try:
        return Trail(amount, TrailKind.PERCENT if percent else TrailKind.AMOUNT)
    except ValueError as error:
        raise wrong(name, str(error)) from None


def profit_part(name: str, text: str) -> Decimal:
    """`75%` of the credit is to be won: the part of the entry price at which it is bought back.

    >>> profit_part("--take-profit", "75%")
    Decimal('0.25')
    """
    if not text.strip().endswith("%"):
        raise wrong(name, f"{text} is no part of the credit; write it in per cent, like 50%")
    gain = number(name, text.strip().rstrip("%"))
    if not 0 < gain < 100:
        raise wrong(name, f"{text} does not lie between 0% and 100%")
    return (100 - gain) / 100


def duration_of(name: str, text: str) -> timedelta:
    """`2h`, `45m`, `1h30m`."""
    found = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?", text.strip().casefold(), re.ASCII)
    if found is None or not any(found.groups()):
        raise wrong(name, f"{text} is no time span; write 2h, 45m or 1h30m")
    hours, minutes = (int(part or 0) for part in found.groups())
    if not hours and not minutes:
        raise wrong(name, f"{text} is no time to wait")
    return timedelta(hours=hours, minutes=minutes)


def exit_moment(exit_at: str | None, exit_in: str | None, *, now: datetime) -> datetime | None:
    """When it is to be closed: an hour of New York, today or of a day `YYYYMMDD-HH:MM`, or so long from `now`."""
    if exit_in is not None:
        return (now + duration_of("--exit-in", exit_in)).astimezone(UTC).replace(microsecond=0)
    if exit_at is None:
        return None
    found = re.fullmatch(r"(?:(\d{8})-)?(\d{1,2}):(\d{2})", exit_at.strip(), re.ASCII)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59:
        raise wrong("--exit-at", f"{exit_at} is no time; write HH:MM or YYYYMMDD-HH:MM, in New York")
    on = day("--exit-at", found[1]) if found[1] else today_in_new_york(now)
    local = datetime(on.year, on.month, on.day, int(found[2]), int(found[3]), tzinfo=_NEW_YORK)
    return local.astimezone(UTC)
