"""Signing in at a browser, the second step, the one-time link, signing out. Requirement UI-01."""

from __future__ import annotations

from typing import Any

from ibkit.service.web.inside import Told
from ibkit.service.web.reading import Form
from ibkit.service.web.site import Made, Site, Visit
from ibkit.users.passwords import SHORTEST

__all__ = ["sign_in_pages"]


def sign_in_pages(site: Site) -> None:
    _entrance(site)
    _link(site)

    @site.post("/sign-out")
    async def sign_out(visit: Visit) -> Made:
        told = await visit.send("POST", "/api/sign-out")
        visit.done(told)
        return site.go("/sign-in", by_script=visit.by_script, cookies=told.cookies)


def _entrance(site: Site) -> None:
    @site.get("/sign-in", signed_in=False)
    async def sign_in(visit: Visit) -> Made:
        if (await visit.inside.get("/api/me")).ok:
            return site.go(visit.query.get("next", "/"))
        return site.made("sign_in.html", next=visit.query.get("next", "/"), name="", problem={}, errors={})

    @site.post("/sign-in", signed_in=False)
    async def signed_in(visit: Visit) -> Made:
        form = await visit.form()
        body = {"name": form.text("name"), "password": form.raw("password"), "browser": True}
        told = await visit.inside.send("POST", "/api/sign-in", body)
        return _stepped(site, visit, form, told)

    @site.post("/sign-in/code", signed_in=False)
    async def code(visit: Visit) -> Made:
        form = await visit.form()
        body = {"challenge": form.text("challenge"), "code": form.text("code"), "browser": True}
        told = await visit.inside.send("POST", "/api/sign-in/code", body)
        if told.ok:
            return _in(site, visit, form, told)
        return _code_asked(site, form, form.text("challenge"), told)


def _code_asked(site: Site, form: Form, challenge: str, told: Told) -> Made:
    return site.made(
        "sign_in_code.html",
        200 if told.ok else told.status,
        next=form.text("next", "/"),
        challenge=challenge,
        problem=told.problem,
        errors=told.field_errors,
    )


def _stepped(site: Site, visit: Visit, form: Form, told: Told) -> Made:
    if told.status == 202:
        return _code_asked(site, form, told.data["challenge"], told)
    if told.ok:
        return _in(site, visit, form, told)
    return site.made(
        "sign_in.html",
        told.status,
        next=form.text("next", "/"),
        name=form.text("name"),
        problem=told.problem,
        errors=told.field_errors,
    )


def _in(site: Site, visit: Visit, form: Form, told: Told) -> Made:
    return site.go(form.text("next", "/") or "/", by_script=visit.by_script, cookies=told.cookies)


def _link(site: Site) -> None:
    """The link's token stands behind the #, which no browser sends; the page's script puts it into the form."""

    def shown(status: int = 200, *, link: str = "", problem: Any = None, errors: Any = None) -> Made:
        return site.made(
            "welcome.html",
            status,
            problem=problem or {},
            errors=errors or {},
            shortest=SHORTEST,
            simulated=site.simulated,
            link=link,
        )

    @site.get("/welcome", signed_in=False)
    async def welcome(visit: Visit) -> Made:
        return shown()

    @site.post("/welcome", signed_in=False)
    async def chosen(visit: Visit) -> Made:
        form = await visit.form()
        link, password = form.text("link"), form.raw("password")
        if password != form.raw("again"):
            return shown(422, link=link, errors={"again": "welcome.differ"})
        body = {"link": link, "password": password, "browser": True}
        told = await visit.inside.send("POST", "/api/sign-in/link", body)
        if told.status == 202:
            return _stepped(site, visit, form, told)
        if told.ok:
            return site.go("/" if site.simulated else "/onboarding", cookies=told.cookies)
        return shown(told.status, link=link, problem=told.problem, errors=told.field_errors)
