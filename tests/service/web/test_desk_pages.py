"""The desk: what it asks for, and that what needs somebody is never missing for what is newer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ibkit.service.web.desk_pages import _told, alerts_of
from ibkit.service.web.inside import Told
from ibkit.service.web.site import Visit

pytestmark = pytest.mark.anyio


class Asked:
    """A visit whose interface tells 450 open orders, of which the oldest is unknown."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def state(self) -> dict[str, Any]:
        return {}

    async def get(self, path: str, query: dict[str, Any] | None = None) -> Told:
        self.asked.append((path, query or {}))
        if path != "/broker-order" or (query or {}).get("status") != "open":
            return Told(200, {"data": [], "next": None})
        start = int((query or {}).get("cursor") or 0)
        here = [{"id": str(n), "status": "submitted" if n < 449 else "unknown"} for n in range(start, 450)][:200]
        return Told(200, {"data": here, "next": None if start + 200 >= 450 else str(start + 200)})


@pytest.mark.requirement("UI-11")
async def test_every_order_that_has_not_ended_is_there_and_the_oldest_unknown_one() -> None:
    told = await _told(cast("Visit", Asked()))
    assert len(told["working"]) == 450
    assert told["working"][-1]["status"] == "unknown"


@pytest.mark.requirement("UI-11")
async def test_an_alert_that_stands_is_shown_whoever_looks_after_it_and_one_that_is_over_is_not() -> None:
    def alert(title: str, severity: str, by: str | None = None, closed: str | None = None) -> dict[str, Any]:
        return {"title": title, "severity": severity, "acknowledged_by": by, "closed_at": closed}

    over = alert("over, never acknowledged", "critical", closed="2026-11-20T15:30:00Z")
    told = [over, alert("watched", "critical", "ada"), alert("small", "info"), alert("grave", "critical")]
    assert [each["title"] for each in alerts_of(told)] == ["grave", "small", "watched"]
    visit = Asked()
    await _told(cast("Visit", visit))
    assert dict(visit.asked)["/api/alerts"]["closed"] == "false", "or those that are over take the places of others"
