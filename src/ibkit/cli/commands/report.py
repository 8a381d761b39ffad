"""`ibkit report`: a portfolio as a file that people read, PDF or a page. Requirement FUT-05."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import output
from ibkit.cli.asking import wrong
from ibkit.cli.flags import Json, option
from ibkit.cli.portfolio_desk import at_desk, day_given, named
from ibkit.errors import NotFound

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk

__all__ = ["app"]

app = cyclopts.App(name="report", help="A portfolio as a report: PDF, or a page for browsers.")


@app.default
def report(
    *,
    pdf: Annotated[Path | None, option("Where the PDF goes.")] = None,
    html: Annotated[Path | None, option("Where the page goes: one file, without scripts.")] = None,
    portfolio: Annotated[str | None, option("Its name or id, where there are several.")] = None,
    since: Annotated[str | None, option("First day of performance, income, results [default: all there are].")] = None,
    until: Annotated[str | None, option("Its last day [default: today].")] = None,
    currency: Annotated[str | None, option("Of all sums [default: the portfolio's].")] = None,
    benchmark: Annotated[Path | None, option("A .csv file of days and levels, to compare with.")] = None,
    user: Annotated[str | None, option("Whose portfolio, where there are several users.")] = None,
    json: Json = False,
) -> None:
    """Value, results, allocation, holdings, income, options, and what is not known and why.

    ibkit report --pdf savings.pdf --portfolio Savings --since 2026-01-02
    """
    from ibkit.bootstrap.portfolio_reports import check_renders, rendered, report_now
    from ibkit.cli.portfolio_figures import levels_in

    wanted = {form: file for form, file in (("pdf", pdf), ("html", html)) if file is not None}
    if not wanted:
        raise wrong("--pdf", "say where the report goes, with --pdf FILE, --html FILE, or both")
    check_renders()
    first, last = day_given("--since", since), day_given("--until", until)
    levels = None if benchmark is None else levels_in(benchmark)

    async def work(desk: PortfolioDesk, owner: str) -> dict[str, bytes]:
        if portfolio is None:
            there = await _only_one(desk, owner)
        else:
            there = (await named(desk, owner, portfolio)).portfolio_id
        made = await report_now(
            desk,
            owner,
            there,
            since=first,
            until=last,
            currency=currency,
            benchmark=levels,
            benchmark_name="Benchmark" if benchmark is None else benchmark.stem,
        )
        return {form: await rendered(made, form) for form in wanted}

    for form, body in at_desk(work, user).items():
        _put(wanted[form], body, f"--{form}")
    if json:
        output.emit({form: str(file) for form, file in wanted.items()})
    else:
        for file in wanted.values():
            output.say(f"Wrote {file}.")


async def _only_one(desk: PortfolioDesk, owner: str) -> str:
    """The id of the only portfolio there is."""
    found = await desk.books.summaries(owner)
    if not found:
        raise NotFound(
            "portfolio not found: there is none",
            code="E-NOT-FOUND",
            remedy="Make one with `ibkit portfolio create NAME`.",
            details={"thing": "portfolio"},
        )
    if len(found) > 1:
        names = ", ".join(each.name for each in found[:10])
        raise wrong("--portfolio", f"there are several portfolios ({names}); name one")
    return found[0].portfolio_id


def _put(file: Path, body: bytes, name: str) -> None:
    try:
        file.write_bytes(body)
    except OSError as error:
        raise wrong(name, f"{file}: {error.strerror or error}") from error
