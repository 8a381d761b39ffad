"""The desk: am I connected, is it paper or live, what do I hold, what is working, what needs me."""

from __future__ import annotations

from typing import Any

import anyio

from ibkit.service.web.inside import Told
from ibkit.service.web.layers import layers_of
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["WORKING", "desk_pages"]

WORKING = ("pending", "submitted", "partially_filled", "unknown")
_RECENT = 40


def desk_pages(site: Site) -> None:
    @site.get("/")
    async def desk(visit: Visit) -> Made:
        return await visit.page("desk.html", **await _told(visit))

    @site.get("/_desk", used=False)
    async def renewed(visit: Visit) -> Made:
        """The same, renewed by the clock."""
        told = await _told(visit)
        return visit.fragment("parts/desk.html", **visit.site.told_of_state(await visit.state()), **told)


async def _told(visit: Visit) -> dict[str, Any]:
    """Everything at once: each part may fail by itself, and says so in its place."""
    asked = {
        "account": "/api/account",
        "positions": "/api/positions",
        "orders": "/broker-order",
        "alerts": "/api/alerts",
        "questions": "/api/questions",
        "halts": "/api/kill",
    }
    told: dict[str, Told] = {}

    async def ask(name: str, path: str) -> None:
        told[name] = await visit.get(path, {"limit": _RECENT} if name == "orders" else None)

    async with anyio.create_task_group() as tasks:
        for name, path in asked.items():
            tasks.start_soon(ask, name, path)
    state = await visit.state()
    recent = told["orders"].data if told["orders"].ok else []
    return {
        **told,
        "layers": layers_of(state),
        "working": [each for each in recent if each["status"] in WORKING],
        "activity": recent[:8],
    }
