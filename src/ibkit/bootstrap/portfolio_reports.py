"""A report of a portfolio out of the books, as the bytes of a page or a PDF. Requirement FUT-05."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from ibkit.bootstrap.portfolio_figures import dated_rates
from ibkit.bootstrap.portfolio_ledgers import ledgers_of
from ibkit.bootstrap.reconciliation import inbox_shown
from ibkit.errors import ConfigError
from ibkit.portfolio.report.making import report_of
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Report
from ibkit.store.inbox import InboxState

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk

__all__ = ["REPORT_FORMS", "check_renders", "rendered", "report_now"]

REPORT_FORMS: Final = ("pdf", "html")


async def report_now(
    desk: PortfolioDesk,
    user_id: str,
    portfolio_id: str,
    *,
    since: date | None = None,
    until: date | None = None,
    currency: str | None = None,
    benchmark: Mapping[date, float] | None = None,
    benchmark_name: str = "Benchmark",
) -> Report:
    """Of what is held now; since, until: of the performance, the income and the realised results.

    NotFound; InvalidRequest and ConfigError (E-VALIDATION) as `PortfolioDesk.figures`.
    """
    figures = await desk.figures(
        user_id, portfolio_id, since=since, until=until, currency=currency, benchmark=benchmark
    )
    portfolio = await desk.books.get(user_id, portfolio_id)
    ledgers, without = await ledgers_of(desk, user_id, portfolio)
    differences = {}
    for name in ledgers:
        items = await inbox_shown(desk, user_id, portfolio_id, name)
        differences[name] = [each.difference for each in items if each.state is InboxState.OPEN]
    material = Material(
        portfolio=portfolio,
        figures=figures,
        made_at=desk.clock.now(),
        since=since,
        until=until,
        benchmark=benchmark,
        benchmark_name=benchmark_name,
        ledgers=ledgers,
        without_ledger=without,
        open_differences=differences,
        dated=await dated_rates(desk.days, desk.ledgers, portfolio, since, until),
    )
    return await anyio.to_thread.run_sync(partial(report_of, material))


def check_renders() -> None:
    """ConfigError (E-CONFIG) where the libraries for it are not installed: better told before the work."""
    try:
        import font_roboto
        import jinja2
        import reportlab
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Setting invalid: a report needs the library {error.name}",
            code="E-CONFIG",
            remedy="Install what it needs with `pip install 'ibkit[report]'`.",
        ) from error
    del font_roboto, jinja2, reportlab


async def rendered(report: Report, form: str) -> bytes:
    """form: of REPORT_FORMS. In a thread: a long table takes long enough to hold others up."""
    check_renders()
    from ibkit.render.page import page_of
    from ibkit.render.pdf import pdf_of

    return await anyio.to_thread.run_sync(partial(pdf_of if form == "pdf" else page_of, report))
