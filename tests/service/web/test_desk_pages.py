"""The desk: what it asks for, and that what needs somebody is never missing for what is newer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from fakes import START
from ibkit.bootstrap.connections import Connection
from ibkit.clock import ManualClock
from ibkit.service.web.desk_pages import _told, alerts_of
from ibkit.service.web.inside import Told
from ibkit.service.web.site import Site, Visit, Visitor
from service_desks import fast_world, until
from service_people import Caller, ServedPeople, served_people


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


def browser_at(people: ServedPeople) -> Caller:
    return people.caller().at_browser(people.caller().sign_in(people.person().user.name, browser=True))


def part(browser: Caller, path: str) -> str:
    answer = browser.ask("GET", path, headers={"HX-Request": "true"})
    assert answer.status == 200, answer.raw[-600:]
    return str(answer.raw.decode())


@pytest.mark.requirement("UI-04", "SYN-17")
def test_the_desk_is_there_before_ibkr_has_answered_and_its_clock_signs_in_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    desk = Connection.desk

    async def noted(self: Connection, *given: Any) -> Any:
        asked.append("desk")
        return await desk(self, *given)

    monkeypatch.setattr(Connection, "desk", noted)
    world = fast_world()
    world.control("POST", "scenario", {"scenario": ["not-authenticated"]})
    with served_people(tmp_path, world=world, wait=False) as people:
        browser = browser_at(people)
        found = part(browser, "/")
        assert ('data-testid="being-read"' in found, "/_desk/first" in found, asked) == (True, True, [])
        for _ in range(3):
            found = part(browser, "/_desk")
        assert ("net-liquidation" in found, "being-read" in found, asked) == (False, False, [])
        assert 'data-testid="remedy"' in found
        world.control("POST", "scenario", {"scenario": ["ok"]})
        assert "net-liquidation" in part(browser, "/_desk/first")
        assert asked
        until(lambda: "net-liquidation" in part(browser, "/_desk"))
        assert "being-read" not in part(browser, "/?whole=yes")


@pytest.mark.anyio
@pytest.mark.requirement("UI-11")
async def test_every_order_that_has_not_ended_is_there_and_the_oldest_unknown_one() -> None:
    told = await _told(cast("Visit", Asked()))
    assert len(told["working"]) == 450
    assert told["working"][-1]["status"] == "unknown"


@pytest.mark.anyio
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


FIGURES = {
    **dict.fromkeys(("net_liquidation", "cash", "buying_power", "available_funds", "maintenance_margin"), 1),
    "account_id": "DU1",
    "currency": "USD",
    "unrealized_pnl": None,
    "realized_pnl": None,
    "problem": None,
    "day_pnl": 12,
    "day_pnl_as_of": "2026-11-20T14:00:00Z",
    "as_of": "2026-11-20T15:30:00Z",
}
HELD = {
    "contract": {"conid": 7, "symbol": "AAPL", "expiry": None, "strike": None, "right": None, "currency": "USD"},
    "quantity": 1,
    "average_cost": 1,
    "market_price": 270,
    "market_value": 270,
    "unrealized_pnl": 2,
    "price_as_of": "2026-11-20T15:29:58Z",
    "protection": {"state": "not needed", "stop_price": None},
}


@pytest.mark.requirement("SYN-17")
def test_a_held_price_stands_with_its_worth_and_age_and_what_could_not_be_read_anew_says_so() -> None:
    told = {"message": "IBKR does not answer", "remedy": "Wait a minute."}
    positions = {"data": [HELD], "as_of": "2026-11-20T15:29:00Z", "problem": told}
    nothing = Told(200, {"data": []})
    site = Site(lambda: "", lambda: "", ManualClock(START))
    found = site.made(
        "parts/desk.html",
        me=Visitor("ada", "owner", (), "csrf"),
        account=Told(200, {"data": FIGURES}),
        positions=Told(200, positions),
        **dict.fromkeys(("recent", "alerts", "questions", "halts", "orders"), nothing),
        **dict.fromkeys(("working", "standing", "layers"), ()),
        more_alerts=0,
    )
    page = bytes(found.content).decode()
    assert "IBKR does not answer. Wait a minute." in page
    assert re.search(r'day-pnl-age"><time datetime="2026-11-20T14:00', page)
    # A stream that moved the price alone would leave worth, result and age of another moment beside it.
    assert "data-quote" not in page
