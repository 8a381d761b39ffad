"""IBKR's questions wherever an order is waited for: the ticket, an order's own page, a sale.

Each reading of them says that somebody looks (`waiting_questions`), so a page that shows an order on its way renews
them for as long as it is looked at. Else a question is declined unseen.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ibkit.service.web.inside import Told
from ibkit.service.web.site import Made, Site, Visit

__all__ = ["asked_at", "question_pages"]

_PLACES = ("/orders", "/options/sales/")
"""Where they stand. After an answer it goes back there."""


async def asked_at(visit: Visit, place: str, told: Told | None = None) -> dict[str, Any]:
    """What `parts/questions.html` shows. place: the page's own path, to come back to. told: an answer that failed."""
    return {
        "questions": await visit.get("/api/questions"),
        "questions_at": place,
        "questions_problem": {} if told is None or told.ok else told.problem,
    }


def question_pages(site: Site) -> None:
    @site.get("/_questions", used=False)
    async def renewed(visit: Visit) -> Made:
        return await _part(visit, visit.query.get("at", ""))

    @site.post("/orders/questions/{question_id:str}")
    async def answer(visit: Visit) -> Made:
        form = await visit.form()
        path = f"/api/questions/{quote(visit.part('question_id'), safe='')}/answer"
        told = await visit.send("POST", path, {"answer": form.text("answer") == "yes"})
        place = _known(form.text("at"))
        if visit.by_script:
            return await _part(visit, place, told)
        if told.ok:
            return visit.go(place)
        asked = await asked_at(visit, place, told)
        return await visit.page("questions.html", told.status, **asked)


async def _part(visit: Visit, place: str, told: Told | None = None) -> Made:
    """Status 200 also where an answer came too late: it is told in the part."""
    return visit.fragment("parts/asked.html", **await asked_at(visit, _known(place), told))


def _known(place: str) -> str:
    return place if place.startswith(_PLACES) else "/orders"
