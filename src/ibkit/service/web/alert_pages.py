"""Alerts: what is open, who looks after it, and by which channels people are told. MON-06, UI-12."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ibkit.service.web.inside import Told
from ibkit.service.web.reading import Form
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["alert_pages"]

_CHANNELS = "/api/alerts/channels"
_DONE = ("acknowledged", "removed", "switched")
_SEVERITIES = ["info", "warning", "critical"]


def alert_pages(site: Site) -> None:
    @site.get("/settings/alerts")
    async def alerts(visit: Visit) -> Made:
        return await _shown(visit)

    @site.post("/settings/alerts/test")
    async def test(visit: Visit) -> Made:
        channel = (await visit.form()).optional("channel")
        told = await visit.send("POST", "/api/alerts/test", {} if channel is None else {"channel": channel})
        return await _shown(visit, results=told.data) if told.ok else await _shown(visit, failed=told)

    @site.post("/settings/alerts/{alert_id:str}/acknowledge")
    async def acknowledge(visit: Visit) -> Made:
        note = (await visit.form()).text("note")
        address = f"/api/alerts/{quote(visit.part('alert_id'), safe='')}/acknowledge"
        told = await visit.send("POST", address, {"note": note})
        return visit.go("/settings/alerts?done=acknowledged") if told.ok else await _shown(visit, failed=told)

    _channels(site)


def _channels(site: Site) -> None:
    @site.post("/settings/alerts/channels")
    async def keep(visit: Visit) -> Made:
        form = await visit.form()
        body: dict[str, Any] = {
            "name": form.text("name"),
            "address": form.text("address"),
            "severities": form.all("severities"),
            "level": form.whole("level"),
        }
        if form.ticked("of_installation"):
            body["of_installation"] = True
        told = await visit.send("POST", _CHANNELS, body)
        if told.ok:
            return await _shown(visit, stored=told.body)
        return await _shown(visit, failed=told, typed=form)

    @site.post("/settings/alerts/channels/{name:str}/remove")
    async def remove(visit: Visit) -> Made:
        of_all = (await visit.form()).text("of_installation", "false")
        address = f"{_CHANNELS}/{quote(visit.part('name'), safe='')}"
        told = await visit.send("DELETE", address, query={"of_installation": of_all})
        return visit.go("/settings/alerts?done=removed") if told.ok else await _shown(visit, failed=told)

    @site.post("/settings/alerts/channels/{name:str}/switch")
    async def switch(visit: Visit) -> Made:
        form = await visit.form()
        wish = {"enabled": form.text("enabled") == "true", "of_installation": form.text("of_installation") == "true"}
        address = f"{_CHANNELS}/{quote(visit.part('name'), safe='')}/switch"
        told = await visit.send("POST", address, wish)
        return visit.go("/settings/alerts?done=switched") if told.ok else await _shown(visit, failed=told)


async def _shown(
    visit: Visit,
    *,
    failed: Told | None = None,
    results: list[Mapping[str, Any]] | None = None,
    stored: Mapping[str, Any] | None = None,
    typed: Form | None = None,
) -> Made:
    """stored: a channel that was kept, with the secret that is shown this once. typed: of one that was not."""
    alerts = await visit.need("/api/alerts")
    me = await visit.who()
    return await visit.page(
        "settings/alerts.html",
        200 if failed is None else failed.status,
        tab="alerts",
        standing=[each for each in alerts if each["closed_at"] is None],
        closed=[each for each in alerts if each["closed_at"] is not None],
        channels=await visit.need("/api/alerts/channels"),
        results=results,
        acts=me.trades,
        problem=failed.problem if failed else {},
        errors=failed.field_errors if failed else {},
        done=visit.query.get("done", "") if visit.query.get("done", "") in _DONE else "",
        stored=stored,
        kept={} if typed is None else typed.kept(but=("address",)),
        chosen=_SEVERITIES if typed is None else typed.all("severities"),
        severities=_SEVERITIES,
    )
