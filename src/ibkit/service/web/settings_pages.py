"""The connection to IBKR: how it stands, trying it step by step, and what may be done with it. UI-02, UI-03."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ibkit.service.web.site import Made, Site, Visit

__all__ = ["ShownStep", "settings_pages", "steps_of_status", "steps_of_test"]

STEPS = ("oauth", "sso", "validate", "init")
_DIAGNOSES = {"oauth": "oauth", "sso": "sso", "validate": "validated", "init": "initialized"}
_GOOD = ("Connected", "Active", "Validated", "Ready")
_DOWN = ("error", "needs_login", "competing", "disconnected", "degraded", "paused")
_ACTS: Mapping[str, Any] = {"connect": None, "reconnect": None, "logout": None, "take-over": {"confirm": True}}
_MEANT = {
    "connected": ("reconnect", "logout"),
    "degraded": ("reconnect", "logout"),
    "connecting": ("logout",),
    "paused": ("connect", "logout"),
    "competing": ("take-over", "reconnect", "logout"),
    "needs_login": ("connect",),
    "error": ("connect", "logout"),
    "disconnected": ("connect",),
    "configured": ("connect",),
}
"""What may help, by how the connection stands."""
_LATEST = 20
_DAYS = 7


@dataclass(frozen=True, slots=True)
class ShownStep:
    """tone: ok, failed or nothing. word: how it ended. message, remedy: of a test; ms: how long it took."""

    name: str
    tone: str
    word: str
    message: str = ""
    remedy: tuple[str, ...] = ()
    code: str = ""
    ms: int | None = None


def steps_of_status(status: Mapping[str, Any]) -> list[ShownStep]:
    """From what is known. A step that is down is a failure only where the connection is meant to be up."""
    told = status.get("diagnostics") or {}
    down = status.get("state") in _DOWN
    found = []
    for name in STEPS:
        word = str(told.get(_DIAGNOSES[name]) or "")
        found.append(ShownStep(name, "ok" if word in _GOOD else "failed" if down else "", word))
    return found


def steps_of_test(steps: Mapping[str, Any]) -> list[ShownStep]:
    """Of POST …/test: what was not attempted is neither right nor wrong."""
    found = []
    for name in STEPS:
        step = steps.get(name) or {}
        success, message = step.get("success"), str(step.get("message") or "")
        found.append(
            ShownStep(
                name,
                "" if success is None else "ok" if success else "failed",
                message,
                remedy=tuple(line for line in str(step.get("remedy") or "").split("\n") if line.strip()),
                code=str(step.get("code") or ""),
                ms=step.get("ms"),
            )
        )
    return found


def settings_pages(site: Site) -> None:
    @site.get("/settings")
    async def settings(visit: Visit) -> Made:
        return await _shown(visit)

    @site.get("/settings/_facts", used=False)
    async def facts(visit: Visit) -> Made:
        """What stands on the card, asked by the clock."""
        return visit.fragment("settings/facts.html", **await _looked_at(visit, visit.query.get("connection", "")))

    @site.post("/settings/test")
    async def test(visit: Visit) -> Made:
        name = (await visit.form()).text("connection")
        told = await visit.send("POST", "/api/ibkr/test", query={"connection_id": name})
        if not visit.by_script:
            return await _shown(visit, name=name, test=told.data if told.ok else None, problem=told.problem)
        steps = steps_of_test(told.data["steps"]) if told.ok else ()
        return visit.fragment(
            "settings/steps.html", steps=steps, test=told.data if told.ok else None, problem=told.problem
        )

    @site.post("/settings/connection/{act:str}")
    async def act(visit: Visit) -> Made:
        wanted, name = visit.part("act"), (await visit.form()).text("connection")
        if wanted not in _ACTS:
            return visit.go("/settings")
        told = await visit.send("POST", f"/api/ibkr/{wanted}", _ACTS[wanted], query={"connection_id": name})
        if told.ok and not (wanted == "logout" and told.data.get("warning")):
            return visit.go(_address(name, wanted))
        return await _shown(
            visit, name=name, problem=told.problem, warning=told.data.get("warning") if told.ok else None
        )


def _address(name: str, done: str) -> str:
    return f"/settings?{urlencode({'connection': name, 'done': done} if name else {'done': done})}"


async def _looked_at(visit: Visit, name: str) -> dict[str, Any]:
    """The connection of that name, by default the default one: its status and its clocks."""
    which = {"connection_id": name}
    status = await visit.need("/api/ibkr/status", which)
    session = await visit.get("/api/ibkr/session", which) if status["configured"] else None
    return {
        "standing": status,
        "session": session.data if session is not None and session.ok else {},
        "simulated": visit.site.simulated,
        "connection": name,
        "acts": _MEANT.get(status["state"], ()) if status["configured"] and _may_connect(visit) else (),
    }


async def _shown(
    visit: Visit,
    *,
    name: str | None = None,
    test: Mapping[str, Any] | None = None,
    problem: Mapping[str, Any] | None = None,
    warning: Mapping[str, Any] | None = None,
) -> Made:
    wanted = visit.query.get("connection", "") if name is None else name
    found = await _looked_at(visit, wanted)
    status = found["standing"]
    history = await visit.get("/api/ibkr/session/history", {"connection_id": wanted, "days": _DAYS})
    connections = await visit.need("/api/ibkr/connections")
    done = visit.query.get("done", "")
    return await visit.page(
        "settings/connection.html",
        tab="connection",
        **found,
        steps=steps_of_status(status) if test is None else steps_of_test(test["steps"]),
        test=test,
        problem=problem or {},
        warning=warning,
        done=done if done in _ACTS else "",
        connections=connections,
        history=_history(history.data) if history.ok else {},
        days=_DAYS,
    )


def _may_connect(visit: Visit) -> bool:
    assert visit.me is not None, "a page is for who is signed in"
    return visit.me.role != "viewer" and any(each != "read" for each in visit.me.scopes)


def _history(told: Mapping[str, Any]) -> dict[str, Any]:
    """The latest of the sessions and events, the newest first."""
    sessions = sorted(told["sessions"], key=lambda each: str(each["created_at"]), reverse=True)
    events = list(reversed(told["events"]))
    return {**told, "sessions": sessions[:_LATEST], "events": events[:_LATEST], "more": max(0, len(events) - _LATEST)}
