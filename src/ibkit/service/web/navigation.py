"""The pages that a visitor may go to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENTRIES", "Entry", "entries_for"]


@dataclass(frozen=True, slots=True)
class Entry:
    """name: of its text (`nav.<name>`) and its icon. key: g and this key go there. phone: in the bar at the foot."""

    name: str
    path: str
    key: str
    phone: bool = False
    admin: bool = False


ENTRIES = (
    Entry("desk", "/", "d", phone=True),
    Entry("orders", "/orders", "o", phone=True),
    Entry("options", "/options", "p", phone=True),
    Entry("trades", "/trades", "t"),
    Entry("portfolios", "/portfolios", "h", phone=True),
    Entry("monitoring", "/monitoring", "m", admin=True),
    Entry("settings", "/settings", "s", phone=True),
    Entry("setup", "/setup", "u"),
    Entry("help", "/help", "?"),
)


def entries_for(role: str) -> tuple[Entry, ...]:
    return tuple(each for each in ENTRIES if not each.admin or role in ("owner", "admin"))
