"""What stands above every page: one banner for each thing that needs somebody, with what helps."""

from __future__ import annotations

from typing import Any

import pytest

from ibkit.service.web.banners import banners_of, pill_of
from ibkit.service.web.catalogue import text

UP = {"configured": True, "state": "connected", "environment": "paper"}
SOON = {"age_seconds_left": 3_600, "expires_at": "2026-11-20T16:00:00Z"}
WINDOW = {"startsAt": "2026-12-05T22:00:00Z", "endsAt": "2026-12-05T23:00:00Z", "text": "New disks"}
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["unknown"]),
    (UP, []),
    ({**UP, "state": "needs_login"}, ["login-required"]),
    ({**UP, "state": "competing"}, ["competing"]),
    ({**UP, "state": "error", "lastError": {"message": "No.", "remedy": "Wait."}}, ["error"]),
    ({**UP, "state": "paused", "lastError": {"code": "E-MAINT", "message": "Sunday."}}, ["maintenance"]),
    ({**UP, "state": "paused", "lastError": {"code": "E-PACE", "message": "Too fast."}}, ["paused"]),
    ({**UP, "state": "paused", "lastError": None}, ["paused"]),
    ({"configured": False, "state": "not_configured"}, ["not-configured"]),
    ({**UP, "clocks": SOON}, ["expiring"]),
    ({**UP, "clocks": {**SOON, "age_seconds_left": 3_601}}, []),
    ({**UP, "clocks": {**SOON, "age_seconds_left": None}}, []),
    ({**UP, "state": "needs_login", "clocks": SOON}, ["login-required"]),
    ({**UP, "environment": "live"}, ["live"]),
    ({**UP, "environment": "live", "simulated": True}, ["simulated"]),
    ({**UP, "readOnly": True}, ["read-only"]),
    ({**UP, "maintenance": {**WINDOW, "now": False}}, ["closing"]),
    ({**UP, "state": "competing", "maintenance": {**WINDOW, "now": True}}, ["closed", "competing"]),
    (
        {**UP, "environment": "live", "state": "competing", "readOnly": True},
        ["live", "competing", "read-only"],
    ),
]


@pytest.mark.requirement("UI-10")
@pytest.mark.parametrize(("state", "kinds"), CASES)
def test_each_trouble_has_its_banner_with_the_action_that_helps(state: dict[str, Any], kinds: list[str]) -> None:
    found = banners_of(state)
    assert [each.kind for each in found] == kinds
    for each in found:
        assert each.address.startswith("/"), each.kind
        assert text(f"banner.{each.kind}", **(each.values or {}))
        assert text(f"banner_action.{each.kind}")


@pytest.mark.requirement("UI-10")
def test_the_end_of_a_session_and_of_a_pause_are_counted_down_to() -> None:
    (soon,) = banners_of({**UP, "clocks": SOON})
    assert soon.at == SOON["expires_at"]
    (paused,) = banners_of({**UP, "state": "paused", "pausedUntil": "2026-11-20T16:10:00Z", "lastError": {}})
    assert paused.at == "2026-11-20T16:10:00Z"


@pytest.mark.requirement("UI-04", "UI-10")
def test_a_state_that_could_not_be_read_is_called_neither_paper_nor_not_configured() -> None:
    pill = pill_of({})
    assert (pill.environment, pill.state, pill.label) == ("unknown", "unknown", "")
    assert text(f"environment.{pill.environment}") not in (text("environment.paper"), text("environment.live"))
