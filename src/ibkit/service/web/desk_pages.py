"""The desk: am I connected, is it paper or live, what do I hold, what is working, what needs me."""

from __future__ import annotations

from typing import Any

import anyio

from ibkit.service.order_listing import LONGEST_PAGE, OPEN
from ibkit.service.web.inside import Told
from ibkit.service.web.layers import layers_of
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["alerts_of", "desk_pages"]

_RECENT = 8
_MOST_ALERTS, _ALERTS_SHOWN = 200, 6
_GRAVITY = {"critical": 0, "warning": 1}
_MOST_PAGES = 10


def desk_pages(site: Site) -> None:
    @site.get("/")
    async def desk(visit: Visit) -> Made:
        """At once, with what is here; the page then asks for what IBKR has to tell. whole: for who has no scripts."""
        return await visit.page("desk.html", **await _told(visit, of_ibkr=visit.query.get("whole") == "yes"))

    @site.get("/_desk/first")
    async def first(visit: Visit) -> Made:
        """With what IBKR tells, which signs in where nobody has yet: somebody has come to look."""
        return await _part(visit)

    @site.get("/_desk", used=False)
    async def renewed(visit: Visit) -> Made:
        """The same, renewed by the clock, which signs in nowhere."""
        return await _part(visit)


async def _part(visit: Visit) -> Made:
    told = await _told(visit)
    return visit.fragment("parts/desk.html", **visit.site.told_of_state(await visit.state()), **told)


async def _told(visit: Visit, *, of_ibkr: bool = True) -> dict[str, Any]:
    """Everything at once: each part may fail by itself, and says so in its place. None: not asked for yet."""
    asked: dict[str, tuple[str, dict[str, Any] | None]] = {
        "recent": ("/broker-order", {"limit": _RECENT}),
        "alerts": ("/api/alerts", {"closed": "false", "limit": _MOST_ALERTS}),
        "questions": ("/api/questions", None),
        "halts": ("/api/kill", None),
    }
    if of_ibkr:
        asked |= {"account": ("/api/account", None), "positions": ("/api/positions", None)}
    told: dict[str, Any] = {"account": None, "positions": None}

    async def ask(name: str, path: str, query: dict[str, Any] | None) -> None:
        told[name] = await visit.get(path, query)

    async def ask_open() -> None:
        told["orders"], told["working"] = await _open_orders(visit)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_open)
        for name, (path, query) in asked.items():
            tasks.start_soon(ask, name, path, query)
    standing = alerts_of(told["alerts"].data if told["alerts"].ok else [])
    return {
        **told,
        "standing": standing[:_ALERTS_SHOWN],
        "more_alerts": max(0, len(standing) - _ALERTS_SHOWN),
        "layers": layers_of(await visit.state()),
    }


def alerts_of(told: list[Any]) -> list[Any]:
    """Those that stand: what nobody looks after first, and of those the gravest. Acknowledged is not over."""
    standing = [each for each in told if each["closed_at"] is None]
    return sorted(standing, key=lambda each: (each["acknowledged_by"] is not None, _GRAVITY.get(each["severity"], 2)))


async def _open_orders(visit: Visit) -> tuple[Told, list[Any]]:
    """The last answer, and all orders that have not ended or whose outcome is unknown, newest first."""
    found: list[Any] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        told = await visit.get("/broker-order", {"status": OPEN, "limit": LONGEST_PAGE, "cursor": cursor})
        found += told.data if told.ok else []
        cursor = told.body.get("next") if told.ok else None
        if cursor is None:
            break
    return told, found
