"""`ibkit report`: a portfolio as files for people."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from cli.conftest import Bench

Run = Callable[..., Any]

pytestmark = pytest.mark.requirement("FUT-05")


def keep(ibkit: Run, name: str = "Savings") -> None:
    for words in (("create", name), ("account", "add", name, "Vault/<b>1"), ("set", name, "Vault/<b>1", "GOLD", "1.5")):
        assert ibkit("portfolio", *words).code == 0


def text_of(file: Path) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(file.read_bytes())).pages)


def test_both_files_are_written_and_say_what_is_held(ibkit: Run, home: Path) -> None:
    keep(ibkit)
    pdf, page = home / "a.pdf", home / "a.html"
    ran = ibkit("report", "--pdf", str(pdf), "--html", str(page), "--since", "2026-01-02", "--currency", "eur")
    assert (ran.code, ran.out) == (0, f"Wrote {pdf}.\nWrote {page}.\n"), ran.err
    for text in (text_of(pdf), page.read_text()):
        assert "Savings" in text
        assert "GOLD" in text
        assert "in EUR" in text
    assert "Vault/<b>1" in text_of(pdf)
    assert "Vault/&lt;b&gt;1" in page.read_text()
    again = ibkit("report", "--html", str(page), "--portfolio", "Savings", "--json")
    assert again.json == {"html": str(page)}


def test_a_synced_portfolio_has_its_value_in_the_report(ibkit: Run, bench: Callable[..., Bench], home: Path) -> None:
    bench()
    assert ibkit("portfolio", "create", "Savings").code == 0
    assert ibkit("portfolio", "account", "add", "Savings", "Main").code == 0
    connected = ibkit("portfolio", "connect", "Savings", "Main", "--to", "DU1000001", "--json")
    assert connected.code == 0, connected.err
    figures = ibkit("portfolio", "analytics", "Savings", "--json").json
    assert ibkit("report", "--pdf", str(home / "a.pdf")).code == 0
    assert f"{float(figures['net_liquidation']):,.2f}" in text_of(home / "a.pdf")


def test_what_is_wrong_is_named(ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(home / "a.pdf")
    none = ibkit("report", "--pdf", file, "--json")
    assert (none.code, none.error["code"]) == (2, "E-NOT-FOUND")
    keep(ibkit)
    assert "--html FILE" in ibkit("report").err
    assert "--since" in ibkit("report", "--pdf", file, "--since", "2026-13-01").err
    assert "--pdf" in ibkit("report", "--pdf", str(home / "none" / "a.pdf")).err
    keep(ibkit, "Other")
    several = ibkit("report", "--pdf", file)
    assert "Other, Savings" in several.err
    assert not (home / "a.pdf").exists()
    monkeypatch.setitem(sys.modules, "reportlab", None)
    without = ibkit("report", "--pdf", file, "--portfolio", "Other")
    assert "pip install 'ibkit[report]'" in without.err
    assert without.code == 3
