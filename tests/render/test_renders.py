"""The two files of a report: readable, alike, and inert whatever the names are."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from pypdf import PdfReader

from ibkit.portfolio.report.making import report_of
from ibkit.portfolio.report.parts import Facts, Notes, Report, Table
from ibkit.render.fonts import UNKNOWN, writable
from ibkit.render.page import page_of
from ibkit.render.pdf import pdf_of
from ibkit.render.plots import ticks
from sample_portfolios import SAMPLES, material_of

pytestmark = pytest.mark.requirement("FUT-05")


@pytest.fixture(scope="module", params=sorted(SAMPLES))
def report(request: pytest.FixtureRequest) -> Report:
    return report_of(material_of(SAMPLES[request.param]()))


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "rect", "path", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def said(report: Report) -> list[str]:
    """All texts of its facts, tables and notes."""
    found = [report.title, report.made]
    for section in report.sections:
        found.append(section.title)
        for block in section.blocks:
            match block:
                case Facts():
                    found += [text for fact in block.facts for text in (fact.label, fact.value, fact.beside)]
                case Table(rows=()):
                    found += [block.title, block.empty]
                case Table():
                    found += [block.title, *(text for row in block.rows for text in row), *(block.total or ())]
                case Notes():
                    found += [block.title, *block.lines]
                case _:
                    found.append(block.title)
    return [text for text in found if text]


def test_the_page_holds_every_text_and_nothing_that_runs_or_is_fetched(report: Report) -> None:
    body = page_of(report).decode()
    page = Page(body)
    shown = squeezed("".join(page.text))
    for text in said(report):
        assert squeezed(text) in shown, text
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "form", "b", "base"}
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on")}, tag
        assert not {"src", "href", "xlink:href", "action"} & set(attributes), tag
    assert "url(" not in body
    assert "rgb(" not in body, "a colour that does not follow light and dark"
    assert "@media (prefers-color-scheme: dark)" in body
    assert "@media print" in body
    assert page.open == []


def test_the_pdf_holds_every_text_as_text_with_its_fonts_inside(report: Report) -> None:
    body = pdf_of(report)
    reader = PdfReader(io.BytesIO(body))
    assert reader.metadata is not None
    assert reader.metadata.title == report.title
    # A line between two pages stands apart: what is looked for are the texts, piece by piece.
    shown = squeezed("".join(page.extract_text() for page in reader.pages))
    for text in said(report):
        assert squeezed(writable(text)) in shown, text
    fonts = [
        font.get_object()
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()  # type: ignore[index]
    ]
    embedded = [font for font in fonts if "/FontDescriptor" in font and "/FontFile2" in font["/FontDescriptor"]]
    assert embedded
    for font in fonts:
        if font not in embedded:
            assert font["/BaseFont"] == "/Helvetica", "only reportlab's own default, which nothing is written in"
    assert "/JavaScript" not in reader.trailer["/Root"].get("/Names", {})
    assert f"1 of {len(reader.pages)}" in reader.pages[0].extract_text()


def test_names_with_tags_and_templates_stand_as_they_were_written() -> None:
    report = report_of(material_of(SAMPLES["hard-names"]()))
    body = page_of(report).decode()
    assert "<title>Kids &amp; &lt;b&gt;kitchen&lt;/b&gt; 🚀/2026</title>" in body
    assert "My IRA/1 &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in body
    assert "{{ 7 * 7 }} {% raw %}" in body
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf_of(report))).pages)
    assert "My IRA/1 <script>alert('x')</script>" in text
    assert f"{UNKNOWN} stands for a character" in text


def test_a_letter_that_the_font_has_not_is_marked_and_a_joiner_is_left_out() -> None:
    assert writable("Ærø Ζεύς Ψ и €") == "Ærø Ζεύς Ψ и €"
    assert writable("👩‍👧 ✔️ e\u0301") == f"{UNKNOWN}{UNKNOWN} {UNKNOWN} é"


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-0.31, 0.02), (99_999.0, 100_001.0), (0.0, 0.0), (-5.0, -5.0), (1e9, 3e9)]
)
def test_ticks_are_even_and_reach_over_both_ends(low: float, high: float) -> None:
    steps = ticks(low, high)
    assert 3 <= len(steps) <= 7
    assert steps[0] <= low
    assert steps[-1] >= high
    widths = {round(after - before, 9) for before, after in pairwise(steps)}
    assert len(widths) == 1
