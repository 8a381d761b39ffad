"""Getting started in three steps: account and sign-in, connecting, limits. UI-05, UI-06, SET-07 to SET-09."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from litestar import Response

from ibkit.service.web.inside import Told
from ibkit.service.web.settings_pages import steps_of_test
from ibkit.service.web.site import HEADERS, FailedError, Made, Site, Visit
from ibkit.wire.maintenance import REGIONS, next_reset

__all__ = ["Waiting", "onboarding_pages", "waiting_of"]

METHODS = ("gateway", "oauth1a", "oauth2")
ENVIRONMENTS = ("paper", "live")
PORTAL = "https://ndcdyn.interactivebrokers.com/sso/Login?action=OAUTH&RL=1&ip2loc=US"
"""IBKR's self-service portal. Source: docs/facts/auth-and-sessions.md §1.1."""
LIMITS = (
    "max_option_contracts",
    "max_shares",
    "max_order_value",
    "max_open_short_options",
    "max_daily_loss_pct",
    "regular_hours",
)
"""The main ones of requirement TRD-18; all others are on the settings page."""
_FIRST, _LAST = 1, 3


@dataclass(frozen=True, slots=True)
class Waiting:
    """New keys count from IBKR's next restart: after the midnight that follows, sometimes only after the weekend.

    Source: docs/facts/auth-and-sessions.md §1.1 (reports of users: from 24 hours to two weeks).
    """

    since: datetime
    earliest: datetime
    after_weekend: datetime


def waiting_of(since: datetime, region: str) -> Waiting:
    """region: of IBKR_REGION, whose midnight it is."""
    earliest = next_reset(since, region)
    monday = earliest
    while monday.astimezone(ZoneInfo(REGIONS[region])).weekday() != 0:
        monday = next_reset(monday, region)
    return Waiting(since, earliest, monday)


def onboarding_pages(site: Site) -> None:
    _steps(site)
    _keys(site)
    _acts(site)


def _steps(site: Site) -> None:
    @site.get("/onboarding")
    async def onboarding(visit: Visit) -> Made:
        return await _shown(visit)

    @site.get("/onboarding/_state", used=False)
    async def state(visit: Visit) -> Made:
        """How it stands, asked by the clock while somebody waits; that it was not up before makes it go on."""
        found = await _looked_at(visit, look=True)
        found["arrived"] = visit.query.get("was") != "connected"
        return visit.fragment("onboarding/state.html", **found)

    @site.get("/onboarding/_next", used=False)
    async def onwards(visit: Visit) -> Made:
        return visit.go("/onboarding?step=3")


def _keys(site: Site) -> None:
    @site.get("/onboarding/_keys", used=False)
    async def keys(visit: Visit) -> Made:
        return visit.fragment("onboarding/keys.html", **await _keys_known(visit, _method(visit)), **_NOTHING)

    @site.post("/onboarding/keys")
    async def make(visit: Visit) -> Made:
        form = await visit.form()
        body: dict[str, Any] = {"kind": form.text("kind"), "replace": form.ticked("replace")}
        if form.text("consumer_key"):
            body |= {"consumer_key": form.text("consumer_key"), "environment": form.text("environment", "paper")}
        told = await visit.send("POST", "/api/onboarding/keys", body)
        if told.ok:
            return visit.go(_address(2, form.text("kind"), form.text("environment")) + "#keys")
        return await _shown(visit, step=2, method=form.text("kind"), failed=told, where="keys", kept=form.kept())

    @site.get("/onboarding/keys/{name:str}")
    async def download(visit: Visit) -> Made:
        told = await visit.inside.file(f"/api/onboarding/keys/{quote(visit.part('name'), safe='')}")
        if isinstance(told, Told):
            raise FailedError(told)
        raw, headers = told
        return Response(raw, media_type="application/x-pem-file", headers={**HEADERS, **headers})

    @site.post("/onboarding/token")
    async def token(visit: Visit) -> Made:
        form = await visit.form()
        body = {name: form.text(name) for name in ("access_token", "access_token_secret", "account_id")}
        told = await visit.send("POST", "/api/onboarding/token", body)
        if told.ok:
            return visit.go(_address(2, "oauth1a", form.text("environment")) + "#keys")
        return await _shown(visit, step=2, method="oauth1a", failed=told, where="keys")


def _acts(site: Site) -> None:
    @site.post("/onboarding/test")
    async def test(visit: Visit) -> Made:
        told = await visit.send("POST", "/api/ibkr/test")
        done = told.data if told.ok else None
        values: dict[str, Any] = {
            "steps": steps_of_test(done["steps"]) if done else (),
            "test": done,
            "problem": told.problem,
            "trace_id": str(visit.request.scope.get("state", {}).get("trace_id") or ""),
        }
        if visit.by_script:
            return visit.fragment("onboarding/test.html", **values)
        return await _shown(visit, step=2, tried=values, status=told.status)

    @site.post("/onboarding/tick/{item:str}")
    async def tick(visit: Visit) -> Made:
        form, item = await visit.form(), visit.part("item")
        told = await visit.send("POST", f"/api/checklist/{quote(item, safe='')}", {"done": form.text("done") == "true"})
        method = item.partition(".")[0]
        if told.ok:
            return visit.go(_address(2, method, form.text("environment")) + "#checklist")
        return await _shown(visit, step=2, method=method, failed=told, where="checklist")

    @site.post("/onboarding/limit")
    async def limit(visit: Visit) -> Made:
        form = await visit.form()
        body = {name: form.text(name) for name in ("name", "value", "note")} | {"layer": "environment"}
        told = await visit.send("POST", "/api/limits", body)
        if told.ok:
            return visit.go(f"/onboarding?step=3&done={'changed' if told.data['in_force'] else 'waiting'}")
        return await _shown(visit, step=3, failed=told, where="limits", kept=form.kept())

    @site.post("/onboarding/demo")
    async def demo(visit: Visit) -> Made:
        on = (await visit.form()).text("on") == "true"
        told = await visit.send("POST", "/api/onboarding/demo", {"on": on})
        if told.ok:
            return visit.go("/" if on else "/onboarding?step=1")
        return await _shown(visit, step=1, failed=told, where="demo")


_NOTHING: Mapping[str, Any] = {"problem": {}, "errors": {}, "kept": {}, "where": ""}


def _address(step: int, method: str, environment: str) -> str:
    known = {"method": method if method in METHODS else "", "environment": environment}
    given = {name: value for name, value in known.items() if value}
    return f"/onboarding?{urlencode({'step': step, **given})}"


def _method(visit: Visit, begun: str | None = None) -> str:
    """What was chosen here, else what the settings begin, else what needs no waiting."""
    wanted = visit.query.get("method", "")
    return wanted if wanted in METHODS else begun or "gateway"


def _begun(info: Mapping[str, Any]) -> str | None:
    """What the settings or what lies on this machine point to."""
    if info["method"] in METHODS:
        return str(info["method"])
    for method in ("oauth2", "oauth1a"):
        if info["missing"] and set(info["missing"]) == set(info["missing_for"][method]):
            return method
    found: list[str] = info["keys_found"]
    return None if info["gateway"]["listening"] or not found else found[0]


async def _looked_at(visit: Visit, *, look: bool = False, method: str = "") -> dict[str, Any]:
    """look: at the session, too, which notices a login that came about meanwhile."""
    if look:
        await visit.get("/api/ibkr/session")
    info = await visit.need("/api/onboarding")
    status = await visit.get("/api/ibkr/status")
    wanted = visit.query.get("environment", "")
    chosen = method or _method(visit, _begun(info))
    return {
        "info": info,
        "standing": status.data if status.ok else {},
        "method": chosen,
        "environment": wanted if wanted in ENVIRONMENTS else info["environment"],
        "missing": info["missing"] if _begun(info) == chosen and info["missing"] else info["missing_for"][chosen],
        "arrived": False,
    }


async def _keys_known(visit: Visit, method: str) -> dict[str, Any]:
    told = await visit.get("/api/onboarding/keys") if method != "gateway" else None
    data = told.data if told is not None and told.ok else {}
    wanted = visit.query.get("environment", "")
    return {
        "made": data,
        "own": next((each for each in data.get("keys", ()) if each["kind"] == method), None),
        "job": data["job"] if data and data["job"] and data["job"]["kind"] == method else None,
        "method": method,
        "environment": wanted if wanted in ENVIRONMENTS else "paper",
        "portal": PORTAL,
        "may_make": told is not None and told.ok,
    }


async def _shown(
    visit: Visit,
    *,
    step: int | None = None,
    method: str = "",
    failed: Told | None = None,
    where: str = "",
    kept: Mapping[str, str] | None = None,
    tried: Mapping[str, Any] | None = None,
    status: int = 200,
) -> Made:
    found = await _looked_at(visit, method=method if method in METHODS else "")
    at = step or _step(visit.query.get("step", ""), found["info"]["state"])
    done = visit.query.get("done", "")
    values = {
        **found,
        **(await _connecting(visit, found) if at == 2 else {}),
        **(await _limits(visit) if at == _LAST else {}),
        "step": at,
        "administers": visit.me is not None and visit.me.role in ("owner", "admin"),
        "problem": failed.problem if failed else {},
        "errors": failed.field_errors if failed else {},
        "where": where,
        "kept": kept or {},
        "done": done if done in ("changed", "waiting") else "",
        "tried": tried or {"steps": (), "test": None, "problem": {}, "trace_id": ""},
    }
    return await visit.page("onboarding/page.html", status if failed is None else failed.status, **values)


def _step(wanted: str, state: str) -> int:
    if wanted in ("1", "2", "3"):
        return int(wanted)
    return {"not_configured": _FIRST, "configured": 2}.get(state, _LAST)


async def _connecting(visit: Visit, found: Mapping[str, Any]) -> dict[str, Any]:
    method = found["method"]
    lists = await visit.get("/api/checklist")
    own = next((each for each in lists.data if each["name"] == method), None) if lists.ok else None
    waiting = None
    if method == "oauth1a" and own is not None and found["info"]["state"] != "connected":
        ticked = next((each["at"] for each in own["items"] if each["id"] == "oauth1a.upload" and each["by"]), None)
        waiting = waiting_of(datetime.fromisoformat(ticked), found["info"]["region"]) if ticked else None
    keys = await _keys_known(visit, method)
    return {**keys, "environment": found["environment"], "checklist": own, "waiting": waiting}


async def _limits(visit: Visit) -> dict[str, Any]:
    told = await visit.get("/api/limits")
    rows = told.data["limits"] if told.ok else []
    return {"limits": [each for each in rows if each["name"] in LIMITS], "limits_of": told.data if told.ok else {}}
