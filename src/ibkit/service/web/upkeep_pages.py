"""Setting up by check-lists, help, and the support bundle. UI-13, UI-15."""

from __future__ import annotations

from urllib.parse import quote

from litestar import Response

from ibkit.service.web.inside import Told
from ibkit.service.web.site import HEADERS, FailedError, Made, Site, Visit

__all__ = ["LINKS", "upkeep_pages"]

LINKS = (
    ("ibkr-docs", "https://www.interactivebrokers.com/campus/ibkr-api-page/ibkr-api-home/"),
    ("web-api", "https://www.interactivebrokers.com/campus/ibkr-api-page/webapi-ref/"),
    ("client-portal", "https://www.interactivebrokers.com/sso/Login"),
    ("gateway", "https://www.interactivebrokers.com/campus/ibkr-api-page/cpapi-v1/#gw-step-one"),
    ("api-support", "mailto:api@interactivebrokers.com"),
    ("customer-support", "https://www.interactivebrokers.com/en/support/contact.php"),
)
"""Of IBKR. Its address of API support: openapi-2.28.json, `info.contact`."""
OWN = (("openapi", "/openapi.json"), ("setup", "/setup"), ("status", "/settings"), ("health", "/health"))


def upkeep_pages(site: Site) -> None:
    _setup(site)
    _help(site)


def _setup(site: Site) -> None:
    @site.get("/setup")
    async def setup(visit: Visit) -> Made:
        return await _lists(visit)

    @site.post("/setup/{item:str}")
    async def tick(visit: Visit) -> Made:
        form, item = await visit.form(), visit.part("item")
        body = {"done": form.text("done") == "true", "note": form.text("note")}
        told = await visit.send("POST", f"/api/checklist/{quote(item, safe='')}", body)
        return visit.go(f"/setup#{item.partition('.')[0]}") if told.ok else await _lists(visit, failed=told)


async def _lists(visit: Visit, *, failed: Told | None = None) -> Made:
    me = await visit.who()
    return await visit.page(
        "setup.html",
        200 if failed is None else failed.status,
        lists=await visit.need("/api/checklist"),
        ticks=me.role in ("owner", "admin"),
        opened=visit.part("item").partition(".")[0] if failed else "",
        problem=failed.problem if failed else {},
    )


def _help(site: Site) -> None:
    @site.get("/help")
    async def help_(visit: Visit) -> Made:
        return await visit.page(
            "help.html", support=await visit.need("/api/support"), links=LINKS, own=OWN, bundle=None, problem={}
        )

    @site.get("/help/_bundle")
    async def listed(visit: Visit) -> Made:
        """What the bundle would hold, before anybody takes it."""
        told = await visit.get("/api/support/contents")
        return visit.fragment("bundle.html", bundle=told.data if told.ok else None, problem=told.problem)

    @site.get("/help/bundle")
    async def bundle(visit: Visit) -> Made:
        told = await visit.inside.file("/api/support/bundle")
        if isinstance(told, Told):
            raise FailedError(told)
        raw, headers = told
        return Response(raw, media_type="application/zip", headers={**HEADERS, **headers})
