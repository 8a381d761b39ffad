"""Stopping trading, and letting it go on: a part of the page of orders, with what became of it.

Who does not administer sees what is stopped for them, and has no button.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ibkit.service.web.inside import Told
from ibkit.service.web.reading import Form
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["Shown", "kill_pages", "stops"]

Shown = Callable[..., Awaitable[Made]]
"""The page of orders; `stopping`: what `stops` tells."""
_FIELDS = {"kill_account": "account_id", "kill_symbol": "symbol"}
"""In the form → at the interface: the ticket beside has names of its own."""


async def stops(
    visit: Visit, *, told: Told | None = None, form: Form | None = None, released: bool = False
) -> dict[str, Any]:
    """What `parts/kill.html` shows. told: what a press, or a release, was answered; form: what was typed for it."""
    failed = told is not None and not told.ok
    errors = dict(told.field_errors) if told is not None and failed and not released else {}
    halts = await visit.get("/api/kill")
    return {
        "halts": halts,
        "names": await _names(visit) if halts.ok and halts.data else {},
        "kill_problem": told.problem if told is not None and failed else {},
        "kill_errors": {**errors, **{ours: errors[name] for ours, name in _FIELDS.items() if name in errors}},
        "kill_typed": form.kept() if form is not None and failed and not released else {},
        "pressed": told.body if told is not None and told.ok and not released else None,
        "released": told.data if told is not None and told.ok and released else None,
    }


async def _names(visit: Visit) -> dict[str, str]:
    """What users are called, for whoever may know."""
    if visit.me is None or not visit.me.administers:
        return {}
    users = await visit.get("/api/users")
    return {each["user_id"]: each["name"] for each in users.data} if users.ok else {}


def kill_pages(site: Site, shown: Shown) -> None:
    @site.post("/orders/kill")
    async def kill(visit: Visit) -> Made:
        form = await visit.form()
        body: dict[str, Any] = {"note": form.text("note"), "mode": form.text("mode", "block-new")}
        body |= {name: form.text(ours) for ours, name in _FIELDS.items() if form.text(ours)}
        told = await visit.send("POST", "/api/kill", body)
        return await shown(visit, _status(told), stopping=await stops(visit, told=told, form=form))

    @site.post("/orders/release")
    async def release(visit: Visit) -> Made:
        form = await visit.form()
        names = ("account_id", "symbol", "environment")
        body: Mapping[str, Any] = {"note": form.text("note")} | {n: form.text(n) for n in names if form.text(n)}
        told = await visit.send("POST", "/api/kill/release", body)
        return await shown(visit, _status(told), stopping=await stops(visit, told=told, form=form, released=True))

    for path in ("/orders/kill", "/orders/release"):

        @site.get(path)
        async def back(visit: Visit) -> Made:
            """The address of an answer, asked for by itself."""
            return visit.go("/orders#kill")

    @site.get("/_cancelling", used=False)
    async def cancelling(visit: Visit) -> Made:
        return visit.fragment("parts/cancelling.html", halts=await visit.get("/api/kill"))


def _status(told: Told) -> int:
    return 200 if told.ok else told.status
