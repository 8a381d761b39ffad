"""Limits as they hold and how they are changed; what was done, by whom. TRD-18, MON-09."""

from __future__ import annotations

from typing import Any

from ibkit.service.web.inside import Told
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["risk_pages"]

LAYERS = ("environment", "account", "user", "key", "symbol")
_WHOSE = ("account_id", "symbol", "user", "key")
_AUDIT = ("actor", "action", "object", "since", "until", "before")
_PAGE = 50
_DONE = ("changed", "waiting", "confirmed")


def risk_pages(site: Site) -> None:
    _limits(site)
    _audit(site)


def _limits(site: Site) -> None:
    @site.get("/settings/limits")
    async def limits(visit: Visit) -> Made:
        return await _shown(visit)

    @site.post("/settings/limits")
    async def change(visit: Visit) -> Made:
        form = await visit.form()
        layer = form.text("layer", "environment")
        body: dict[str, Any] = {"name": form.text("name"), "note": form.text("note"), "layer": layer}
        body["value"] = None if form.ticked("back") else form.text("value")
        if layer != "environment":
            body["whose"] = form.text("whose")
        told = await visit.send("POST", "/api/limits", body)
        if told.ok:
            return visit.go(f"/settings/limits?done={'changed' if told.data['in_force'] else 'waiting'}")
        return await _shown(visit, failed=told, kept=form.kept())

    @site.post("/settings/limits/{number:int}/confirm")
    async def confirm(visit: Visit) -> Made:
        told = await visit.send("POST", f"/api/limits/{visit.part('number')}/confirm")
        return visit.go("/settings/limits?done=confirmed") if told.ok else await _shown(visit, failed=told)


async def _shown(visit: Visit, *, failed: Told | None = None, kept: dict[str, str] | None = None) -> Made:
    whose = {name: visit.query.get(name, "").strip() for name in _WHOSE}
    if not any(visit.query.get(name) is not None for name in _WHOSE):
        status = await visit.get("/api/ibkr/status")
        whose["account_id"] = str(status.data.get("accountId") or "") if status.ok else ""
    told = await visit.need("/api/limits", whose)
    changing, done = visit.query.get("change", ""), visit.query.get("done", "")
    present = next((each for each in told["limits"] if each["name"] == changing), None)
    return await visit.page(
        "settings/limits.html",
        200 if failed is None else failed.status,
        tab="limits",
        told=told,
        whose=whose,
        layers=LAYERS,
        names=await _names(visit),
        kept=kept or ({"name": present["name"], "value": present["value"]} if present else {}),
        problem=failed.problem if failed else {},
        errors=failed.field_errors if failed else {},
        done=done if done in _DONE else "",
    )


async def _names(visit: Visit) -> dict[str, str]:
    """User by id, as far as this visitor may see them."""
    told = await visit.get("/api/users")
    return {each["user_id"]: each["name"] for each in told.data} if told.ok else {}


def _audit(site: Site) -> None:
    @site.get("/settings/audit")
    async def audit(visit: Visit) -> Made:
        asked = {name: visit.query.get(name, "").strip() for name in _AUDIT}
        told = await visit.get("/api/audit", {**asked, "limit": _PAGE})
        if told.status == 403:
            visit.done(told)
        return await visit.page(
            "settings/audit.html",
            200 if told.ok else told.status,
            tab="audit",
            acts=told.data if told.ok else [],
            following=told.body.get("next") if told.ok else None,
            asked=asked,
            names=await _names(visit),
            problem=told.problem,
            errors=told.field_errors,
        )
