"""Plots of a report as drawings, which both renderers show: in the PDF as lines and text, on the page as SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from reportlab.graphics import renderSVG
from reportlab.graphics.shapes import Drawing, Line, Polygon, PolyLine, String
from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from ibkit.portfolio.report.parts import Plot
from ibkit.portfolio.report.words import MINUS

__all__ = ["COLOURS", "LABEL", "drawing_of", "svg_of", "ticks"]

COLOURS: Final = {
    "ink": "#1b2430",
    "soft": "#566070",
    "rule": "#d5dae1",
    "first": "#1f5fbf",
    "second": "#a8480f",
    "tint": "#dce7f7",
    "loss": "#a61b1b",
}
"""By role. On the page each becomes the style sheet's variable of that name, so that it follows light and dark."""
_LEFT: Final = 62
_RIGHT: Final = 10
_BOTTOM: Final = 18
_TOP: Final = 26
_SIZE: Final = 8
_MONTHS: Final = (1, 2, 3, 6, 12, 24, 60, 120)
_PAPER: Final = "Helvetica"
"""Whose widths are taken for a page's font, which only the browser knows."""


def drawing_of(plot: Plot, width: float, height: float, font: str = _PAPER) -> Any:
    """A reportlab Drawing. font: a name that is registered with reportlab."""
    drawing = Drawing(width, height)
    steps = ticks(*_bounds(plot))
    first, last = (edge(day for line in plot.lines for day, _ in line.points) for edge in (min, max))
    days = max(1, (last - first).days)

    def at(day: date, value: float) -> tuple[float, float]:
        across = _LEFT + (day - first).days / days * (width - _LEFT - _RIGHT)
        return across, _BOTTOM + (value - steps[0]) / (steps[-1] - steps[0]) * (height - _BOTTOM - _TOP)

    for step in steps:
        level = at(first, step)[1]
        drawing.add(Line(_LEFT, level, width - _RIGHT, level, strokeColor=_colour("rule"), strokeWidth=0.6))
        _write(drawing, _LEFT - 6, level - 2.8, _told(step, steps, plot.unit), font, anchor="end")
    for day in _days(first, last):
        across = at(day, steps[0])[0]
        text = _named(day, first, last)
        half = float(stringWidth(text, font, _SIZE)) / 2
        _write(drawing, min(max(across, _LEFT + half), width - _RIGHT - half), 4, text, font, anchor="middle")
    if plot.filled:
        zero = [at(first, 0.0), *(at(*point) for point in plot.lines[0].points), at(last, 0.0)]
        drawing.add(Polygon(_flat(zero), fillColor=_colour("tint"), strokeColor=None, strokeWidth=0))
    for line, role in reversed(tuple(zip(plot.lines, ("first", "second"), strict=False))):
        drawing.add(
            PolyLine(
                _flat([at(*point) for point in line.points]),
                strokeColor=_colour(role),
                strokeWidth=1.4,
                strokeDashArray=[4, 2] if role == "second" else None,
                strokeLineJoin=1,
            )
        )
    _write(drawing, 0, height - 11, plot.title, font, size=10, role="ink")
    _legend(drawing, plot, width, height, font)
    return drawing


def svg_of(plot: Plot, width: float = 760, height: float = 190) -> str:
    """An element of a page: its colours are the page's variables, its font is the page's."""
    found = str(renderSVG.drawToString(drawing_of(plot, width, height)))
    found = found[found.index("<svg") :]
    found = re.sub(r"<title>.*?</title>|<desc>.*?</desc>|<clipPath.*?</clipPath>", "", found, flags=re.DOTALL)
    found = re.sub(r' id="[^"]*"| style="clip-path[^"]*"', "", found).replace("font-family: Helvetica;", "")
    for role, colour in COLOURS.items():  # reportlab writes whole percents, cut off
        red, green, blue = (int(part * 100) for part in HexColor(colour).rgb())
        found = re.sub(rf"rgb\({red}%,\s*{green}%,\s*{blue}%\)", f"var(--{role})", found)
    size = f'width="{width:g}" height="{height:g}"'
    return found.replace(size, f'role="img" aria-label="{LABEL}"', 1)


LABEL: Final = "@label@"
"""Where the page writes, escaped, what the plot shows."""


def ticks(low: float, high: float) -> tuple[float, ...]:
    """From three to seven round steps that reach over both.

    >>> ticks(0.0, 97.0)
    (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    >>> ticks(5.0, 5.0)
    (4.0, 5.0, 6.0)
    """
    if not high - low > abs(high) * 1e-9:
        low, high = low - (abs(low) / 5 or 1.0), high + (abs(high) / 5 or 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 12) for number in range(first, last + 1))


def _bounds(plot: Plot) -> tuple[float, float]:
    values = [value for line in plot.lines for _, value in line.points]
    zero = [0.0] if plot.unit == "%" else []
    return min([*values, *zero]), max([*values, *zero])


def _told(value: float, steps: Sequence[float], unit: str) -> str:
    scale, mark = (100.0, " %") if unit == "%" else (1.0, "")
    step = (steps[1] - steps[0]) * scale
    largest = max(abs(each) for each in steps)
    if unit != "%" and largest >= 1e6 and step >= 1e4:
        scale, mark, step = 1e-6, "m", step / 1e6
    elif unit != "%" and largest >= 1e4 and step >= 1e2:
        scale, mark, step = 1e-3, "k", step / 1e3
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**places - round(step * 10**places)) > 1e-6:
        places += 1
    if value == 0:
        return f"0{mark if unit == '%' else ''}"
    text = f"{abs(value * scale):,.{places}f}{mark}"
    return f"{MINUS}{text}" if value < 0 else text


def _days(first: date, last: date) -> list[date]:
    """Beginnings of months that divide the time into at most eight parts; of a short time its ends."""
    whole = (last.year - first.year) * 12 + last.month - first.month
    if whole < 2:
        return [first] if first == last else [first, last]
    width = next((each for each in _MONTHS if whole / each <= 8), _MONTHS[-1])
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    days = [date(number // 12, number % 12 + 1, 1) for number in numbers if number % width == 0]
    return [day for day in days if day >= first] or [first, last]


def _named(day: date, first: date, last: date) -> str:
    months = (last.year - first.year) * 12 + last.month - first.month
    if months < 2:
        return str(day)
    return str(day.year) if months > 8 * 6 else f"{_SHORT[day.month - 1]} {day.year}"


_SHORT: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _legend(drawing: Any, plot: Plot, width: float, height: float, font: str) -> None:
    """Right of the title; a single line needs none but its unit."""
    if len(plot.lines) < 2:
        if plot.unit != "%":
            _write(drawing, width - _RIGHT, height - 11, plot.unit, font, anchor="end")
        return
    across = width - _RIGHT
    for line, role in reversed(tuple(zip(plot.lines, ("first", "second"), strict=False))):
        name = line.name if len(line.name) <= 30 else f"{line.name[:29]}…"
        _write(drawing, across, height - 11, name, font, anchor="end")
        across -= float(stringWidth(name, font, _SIZE)) + 6
        dash = [4, 2] if role == "second" else None
        level = height - 8
        drawing.add(
            Line(across - 18, level, across, level, strokeColor=_colour(role), strokeWidth=1.4, strokeDashArray=dash)
        )
        across -= 30


def _write(
    drawing: Any,
    across: float,
    up: float,
    text: str,
    font: str,
    *,
    anchor: str = "start",
    size: float = _SIZE,
    role: str = "soft",
) -> None:
    drawing.add(String(across, up, text, fontName=font, fontSize=size, textAnchor=anchor, fillColor=_colour(role)))


def _flat(points: Sequence[tuple[float, float]]) -> list[float]:
    return [part for point in points for part in point]


def _colour(role: str) -> Color:
    return HexColor(COLOURS[role])
