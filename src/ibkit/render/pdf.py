"""A report as PDF on A4, by reportlab: text is text, fonts are embedded, heads of tables stand on every page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Frame,
    KeepTogether,
    LongTable,
    PageTemplate,
    Paragraph,
    Spacer,
    TableStyle,
)

from ibkit.portfolio.report.parts import Block, Column, Facts, Notes, Plot, Report, Table
from ibkit.portfolio.report.words import MINUS
from ibkit.render.fonts import BOLD, REGULAR, UNKNOWN, prepare, writable
from ibkit.render.plots import COLOURS, drawing_of

__all__ = ["pdf_of"]

_MARGIN: Final = 17 * mm
_WIDTH: Final = A4[0] - 2 * _MARGIN
_PAD: Final = 4.0
_BAR: Final = 52.0
_SIZES: Final = (8.0, 7.5, 7.0, 6.5, 6.0, 5.5)
_NARROWEST: Final = 95.0
_IN_A_ROW: Final = 4
_INK, _SOFT, _RULE, _LOSS = (HexColor(COLOURS[role]) for role in ("ink", "soft", "rule", "loss"))


def _style(name: str, size: float, **given: Any) -> ParagraphStyle:
    fields: dict[str, Any] = {"fontName": REGULAR, "fontSize": size, "leading": size * 1.35, "textColor": _INK}
    return ParagraphStyle(name, **(fields | given))


_TITLE = _style("title", 20, fontName=BOLD, spaceAfter=2)
_MADE = _style("made", 9, textColor=_SOFT, spaceAfter=8)
_SECTION = _style("section", 13, fontName=BOLD, spaceBefore=16, spaceAfter=6)
_HEAD = _style("head", 9.5, fontName=BOLD, spaceBefore=9, spaceAfter=3)
_TEXT = _style("text", 8.5, textColor=_SOFT, spaceAfter=2)
_POINT = _style("point", 8.5, textColor=_SOFT, leftIndent=9, bulletIndent=0, spaceAfter=1.5)


def pdf_of(report: Report) -> bytes:
    prepare()
    story: list[Any] = [_paragraph(report.title, _TITLE), _paragraph(report.made, _MADE)]
    for section in report.sections:
        story += [CondPageBreak(50 * mm), _paragraph(section.title, _SECTION)]
        for block in section.blocks:
            story += _flowables(block)
    if any(UNKNOWN in writable(text) for text in _texts(report)):
        story += [
            Spacer(1, 8),
            _paragraph(f"{UNKNOWN} stands for a character that the font of this file has not.", _TEXT),
        ]
    out = io.BytesIO()
    document = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN + 6,
        title=report.title,
        subject=report.made,
        creator="ibkit",
        lang="en",
    )
    frame = Frame(_MARGIN, _MARGIN + 6, _WIDTH, A4[1] - 2 * _MARGIN - 6, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(id="page", frames=[frame]))
    document.build(story, canvasmaker=_canvas(writable(report.title)))
    return out.getvalue()


def _canvas(title: str) -> type[Any]:
    """Pages that say which of how many they are: all are kept until the last is known."""

    class Numbered(Canvas):  # type: ignore[misc]  # reportlab is not typed
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802  - reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self.setFont(REGULAR, 7.5)
                self.setFillColor(_SOFT)
                self.drawString(_MARGIN, _MARGIN - 8, _cut(title, REGULAR, 7.5, _WIDTH - 70))
                self.drawRightString(A4[0] - _MARGIN, _MARGIN - 8, f"{number} of {len(self._pages)}")
                super().showPage()
            super().save()

    return Numbered


def _flowables(block: Block) -> list[Any]:
    match block:
        case Facts():
            return [_facts(block), Spacer(1, 8)]
        case Table():
            return _table(block)
        case Plot():
            return [KeepTogether([drawing_of(_written(block), _WIDTH, 118, REGULAR), Spacer(1, 6)])]
        case Notes():
            lines = [Paragraph(_marked(line), _POINT, bulletText="•") for line in block.lines]
            return [*([_paragraph(block.title, _HEAD)] if block.title else ()), *lines]


def _facts(block: Facts) -> Any:
    cells = [
        [
            _paragraph(fact.label, _style("label", 7.5, textColor=_SOFT)),
            _paragraph(fact.value, _style("value", 12.5, fontName=BOLD, textColor=_tone(fact.value))),
            _paragraph(fact.beside or " ", _style("beside", 7, textColor=_SOFT)),
        ]
        for fact in block.facts
    ]
    while len(cells) % _IN_A_ROW:
        cells.append([])
    rows = [cells[start : start + _IN_A_ROW] for start in range(0, len(cells), _IN_A_ROW)]
    look = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEABOVE", (0, 0), (-1, -1), 0.6, _RULE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 8),
        ("TOPPADDING", (0, 0), (-1, -1), 5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]
    return LongTable(rows, colWidths=[_WIDTH / _IN_A_ROW] * _IN_A_ROW, style=TableStyle(look))


def _table(block: Table) -> list[Any]:
    title = [CondPageBreak(28 * mm), _paragraph(block.title, _HEAD)] if block.title else []
    if not block.rows:
        return [*title, _paragraph(block.empty or " ", _TEXT)]
    rows = [*block.rows, *(() if block.total is None else (block.total,))]
    texts = [[writable(text) for text in row] for row in rows]
    size, widths, narrow = _measured(block.columns, texts)
    inner = [*(width - 2 * _PAD for width in widths[:-1]), widths[-1] - _PAD]
    head = [_in_cell(column, writable(column.title), size, head=True) for column in block.columns]
    cells = [
        [
            _cell(column, text, size, width, narrow=narrow, bold=block.total is not None and at == len(texts) - 1)
            for column, text, width in zip(block.columns, row, inner, strict=True)
        ]
        for at, row in enumerate(texts)
    ]
    look = [
        ("FONT", (0, 0), (-1, -1), REGULAR, size, size * 1.3),
        ("TEXTCOLOR", (0, 0), (-1, -1), _INK),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE),
        ("TOPPADDING", (0, 0), (-1, -1), 2.6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.6),
        ("LEFTPADDING", (0, 0), (-1, -1), _PAD),
        ("RIGHTPADDING", (0, 0), (-1, -1), _PAD),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
    ]
    table = LongTable([head, *cells], colWidths=widths, repeatRows=1, style=TableStyle(look), hAlign="LEFT")
    return [*title, table, Spacer(1, 4)]


def _measured(columns: Sequence[Column], texts: Sequence[Sequence[str]]) -> tuple[float, list[float], bool]:
    """The largest size at which all figures stand on one line, the widths, and whether even the smallest is too large.

    Columns that are called wide share what is left.
    """
    wide = [at for at, column in enumerate(columns) if column.wide]
    for size in _SIZES:
        widths = [0.0 if column.wide else _widest(column, at, texts, size) for at, column in enumerate(columns)]
        left = _WIDTH - sum(widths)
        if left >= _NARROWEST * max(1, len(wide)):
            break
    else:
        room = _WIDTH - _NARROWEST * len(wide)
        widths = [width * room / sum(widths) for width in widths]
        return size, [_NARROWEST if at in wide else width for at, width in enumerate(widths)], True
    for at in wide:
        widths[at] = left / len(wide)
    return size, widths, False


def _widest(column: Column, at: int, texts: Sequence[Sequence[str]], size: float) -> float:
    cells = max(stringWidth(row[at], BOLD, size) for row in texts)
    return (
        float(max(stringWidth(writable(column.title), BOLD, size), cells + (_BAR + 8 if column.bar else 0))) + 2 * _PAD
    )


def _cell(column: Column, text: str, size: float, width: float, *, narrow: bool, bold: bool) -> Any:
    if column.bar and not narrow:
        return _bar(text, size, width)
    return _in_cell(column, text, size, bold=bold)


def _in_cell(column: Column, text: str, size: float, *, head: bool = False, bold: bool = False) -> Any:
    style = _style(
        "cell",
        size,
        fontName=BOLD if head or bold else REGULAR,
        leading=size * 1.3,
        alignment=2 if column.right else 0,
        textColor=_SOFT if head else _tone(text) if column.right else _INK,
        splitLongWords=1,
    )
    return Paragraph(escape(text) or " ", style)


def _bar(text: str, size: float, width: float) -> Any:
    drawing = Drawing(width, size * 1.3)
    try:
        part = min(max(Decimal(text.removesuffix("%").strip()), Decimal(0)), Decimal(100)) / 100
    except InvalidOperation:
        part = None
    if part is not None:
        drawing.add(Rect(0, 3.0, _BAR, size * 0.55, fillColor=_RULE, strokeColor=None, strokeWidth=0))
        full = _BAR * float(part)
        drawing.add(
            Rect(0, 3.0, full, size * 0.55, fillColor=HexColor(COLOURS["first"]), strokeColor=None, strokeWidth=0)
        )
    drawing.add(String(width, 3.0, text, fontName=REGULAR, fontSize=size, textAnchor="end", fillColor=_INK))
    return drawing


def _written(plot: Plot) -> Plot:
    lines = tuple(replace(line, name=writable(line.name)) for line in plot.lines)
    return replace(plot, title=writable(plot.title), lines=lines)


def _paragraph(text: str, style: ParagraphStyle) -> Any:
    return Paragraph(_marked(text), style)


def _marked(text: str) -> str:
    """A paragraph's language has tags: what a user wrote is none."""
    return escape(writable(text)) or " "


def _tone(text: str) -> Any:
    return _LOSS if text.startswith(MINUS) else _INK


def _cut(text: str, font: str, size: float, width: float) -> str:
    if stringWidth(text, font, size) <= width:
        return text
    while text and stringWidth(f"{text}…", font, size) > width:
        text = text[:-1]
    return f"{text}…"


def _texts(report: Report) -> list[str]:
    found = [report.title]
    for section in report.sections:
        for block in section.blocks:
            match block:
                case Table():
                    found += [block.title, *(text for row in block.rows for text in row)]
                case Notes():
                    found += block.lines
                case Plot():
                    found += [line.name for line in block.lines]
                case Facts():
                    pass
    return found
