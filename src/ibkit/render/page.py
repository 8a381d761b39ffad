"""A report as one page for browsers: no script, nothing from elsewhere, every text escaped by the template engine."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from ibkit.portfolio.report.parts import Plot, Report
from ibkit.render.plots import LABEL, svg_of

__all__ = ["page_of"]


def page_of(report: Report) -> bytes:
    return _template().render(report=report).encode()


@cache
def _template() -> Template:
    room = Environment(loader=PackageLoader("ibkit.render", ""), autoescape=True, undefined=StrictUndefined)
    room.filters["kind"] = lambda block: type(block).__name__
    room.filters["plot"] = _plot
    room.filters["width"] = _width
    return room.get_template("report.html.jinja")


def _plot(plot: Plot) -> Markup:
    """The drawing's own texts come escaped out of it; what it is for readers that cannot see it is written here."""
    first, last = plot.lines[0].points[0][0], plot.lines[0].points[-1][0]
    names = ", ".join(line.name for line in plot.lines)
    label = str(escape(f"{plot.title}: {names}, from {first} to {last}"))
    return Markup(svg_of(plot).replace(LABEL, label, 1))  # noqa: S704  - of reportlab, which escapes


def _width(text: str) -> str | None:
    """Of a bar, in percent, of a text like `33.34 %`; None where it is not known."""
    try:
        found = Decimal(text.removesuffix("%").strip())
    except InvalidOperation:
        return None
    return f"{min(max(found, Decimal(0)), Decimal(100)):f}"
