"""`/portfolio/{id}/report`: a portfolio as PDF, or as a page for browsers; by POST beside a benchmark.

Requirement FUT-05.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.portfolio_reports import REPORT_FORMS, check_renders, rendered, report_now
from ibkit.service.analytics_routes import benchmark_in
from ibkit.service.people import may_read_books
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, days_in, once

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["report_routes"]

_TYPES: Final = {"pdf": "application/pdf", "html": "text/html"}
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""Of the page: names in it are the users' own, so nothing runs and nothing is fetched, whatever they hold."""
_DAYS: Final = ("from", "to")
_PATHS: Final = ["/portfolio/{portfolio_id:str}/report", "/api/portfolio/{portfolio_id:str}/report"]
LONGEST_NAME: Final = 60
"""Of a benchmark, as the legend of a plot has room for."""


def report_routes(service: Service) -> list[HTTPRouteHandler]:
    async def made(request: AnyRequest, *, beside: bool) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read_books(who)
        service.acts.take(who.user_id)
        names = ("format", "currency", *_DAYS, *(("name",) if beside else ()))
        given, problems = once(request.query_params.multi_items(), names)
        days, wrong = days_in(given, _DAYS)
        problems += wrong
        form, name = given.get("format", "pdf"), given.get("name", "Benchmark")
        if form not in REPORT_FORMS:
            problems.append(("format", f"it is one of {', '.join(REPORT_FORMS)}"))
        if not 0 < len(name) <= LONGEST_NAME:
            problems.append(("name", f"it has 1 to {LONGEST_NAME} characters"))
        if problems:
            raise invalid(*problems)
        check_renders()
        portfolio_id = str(request.path_params["portfolio_id"])
        report = await report_now(
            service.portfolios,
            who.user_id,
            portfolio_id,
            since=days["from"],
            until=days["to"],
            currency=given.get("currency"),
            benchmark=await benchmark_in(service, request, who.user_id) if beside else None,
            benchmark_name=name,
        )
        how = "attachment" if form == "pdf" else "inline"
        headers = {
            "Content-Disposition": f'{how}; filename="report-{portfolio_id}.{form}"',
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
        }
        return Response(await rendered(report, form), headers=headers, media_type=_TYPES[form])

    @get(_PATHS)
    async def report(request: AnyRequest) -> Response[bytes]:
        return await made(request, beside=False)

    @post(_PATHS, status_code=200)
    async def compared(request: AnyRequest) -> Response[bytes]:
        return await made(request, beside=True)

    return [report, compared]
