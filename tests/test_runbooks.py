"""The runbooks: whatever an alert, a code or a command points at is there, and what they tell one to type exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import bench, home, ibkit  # noqa: F401  # fixtures
from command_lines import console_lines, ibkit_lines, texts, why_not
from ibkit.error_catalogue import CATALOGUE
from ibkit.settings import VARIABLES
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.alerting import ABOUT, EventKind, Reason, happening_of, noted
from ibkit.trading.alerting.document import document_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/runbooks"
PAGES = texts(FOLDER)
INDEX = PAGES["README.md"]
ORDINARY = [name for name in PAGES if name != "README.md"]
SITUATIONS = (
    "session-needs-login",
    "competing-session",
    "order-unknown",
    "stop-failed",
    "position-unprotected",
    "worker-silent",
    "database-down",
    "disk-full",
    "journal-restored",
    "key-rotation",
    "clock-skew",
    "gateway-down",
    "ibkr-maintenance",
    "rate-limit",
    "kill-switch",
    "reconciliation-difference",
)
NOW = datetime(2026, 11, 27, 15, 30, tzinfo=UTC)
Make = Callable[..., Any]
pytestmark = pytest.mark.requirement("OPS-02")


def _sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/ibkit").rglob("*.py"))


def test_every_situation_has_its_page_and_the_index_names_every_page() -> None:
    assert {f"{name}.md" for name in SITUATIONS} <= set(PAGES)
    linked = re.findall(r"^\| [^|]+ \| \[[^\]]+\]\(([^)]+)\)", INDEX, re.MULTILINE)
    assert sorted(linked) == sorted(ORDINARY)


@pytest.mark.parametrize("kind", [kind.value for kind in AlertKind])
def test_every_alert_is_in_the_index(kind: str) -> None:
    assert re.search(rf"\b{kind}\b", INDEX), f"alert {kind} needs a runbook"


@pytest.mark.parametrize("event", list(EventKind), ids=lambda event: event.value)
def test_the_page_that_an_alert_links_is_the_one_that_the_index_has_for_it(event: EventKind) -> None:
    page = ABOUT[event].runbook
    (row,) = re.findall(rf"^\|.*\({page}\.md\).*$", INDEX, re.MULTILINE)
    assert f"`{event.value}`" in row or f"`{event.value}`" in PAGES[f"{page}.md"]
    mine = [each for each in INDEX.splitlines() if f"`{event.value}`" in each]
    assert not mine or row in mine, f"the index sends {event.value} elsewhere: {mine}"


@pytest.mark.parametrize("kind", list(AlertKind), ids=lambda kind: kind.value)
def test_an_alert_of_the_journal_links_the_page_that_the_index_has_for_it(kind: AlertKind) -> None:
    alert = Alert(kind=kind, severity=Severity.CRITICAL, subject="x", message="m", at=NOW, alert_id="a")
    document = document_of(noted(None, happening_of(alert), incident_id="i"), Reason.FIRST, delivery_id="d")
    (row,) = [each for each in INDEX.splitlines() if re.search(rf"\b{kind.value}\b", each)]
    assert f"({Path(document['runbook']).name})" in row
    assert document["remedy"]


def test_every_critical_code_is_in_the_index() -> None:
    critical = {code for code, entry in CATALOGUE.items() if entry.exit == 7} | {"E-DB", "E-MAINT", "E-PENALTY"}
    assert critical <= set(re.findall(r"E-[A-Z0-9-]+", INDEX))


@pytest.mark.parametrize("code", [code for code, entry in CATALOGUE.items() if entry.exit == 7])
def test_the_remedy_of_a_critical_code_names_its_page(code: str) -> None:
    (named,) = re.findall(r"docs/runbooks/([\w-]+\.md)", CATALOGUE[code].remedy)
    assert named in PAGES


def test_whatever_the_program_names_is_there() -> None:
    source = _sources()
    named = set(re.findall(r"docs/runbooks/([\w-]+\.md)", source)) | {
        f"{name}.md" for name in re.findall(r'runbook="([\w-]+)"', source)
    }
    assert len(named) >= 8
    assert named - set(PAGES) - {"README.md"} == set()


@pytest.mark.parametrize("name", ORDINARY)
def test_a_page_says_what_it_means_where_to_look_what_to_do_and_what_not(name: str) -> None:
    page = PAGES[name]
    assert page.startswith("# ")
    assert "**You are told by**" in page
    heads = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert heads[:4] == ["Look", "Do", "Do not", "It is over when"]


@pytest.mark.parametrize("name", list(PAGES))
def test_every_command_line_of_a_page_is_one_of_ours(name: str) -> None:
    wrong = {line: why for line in ibkit_lines(PAGES[name]) if (why := why_not(line)) is not None}
    assert wrong == {}


def test_a_command_line_that_is_none_would_be_noticed() -> None:
    page = (
        "```sh\nibkit worker --forever\nsudo /opt/x/bin/ibkit frobnicate  # nothing\n```\n`ibkit orders cancel --al`\n"
    )
    assert len(ibkit_lines(page)) == 3
    assert all(why_not(line) is not None for line in ibkit_lines(page))
    assert why_not("ibkit positions close not-a-number") is not None
    assert why_not("ibkit --env-file x.env positions close 756733 --json") is None


@pytest.mark.parametrize("name", list(PAGES))
def test_links_codes_and_settings_of_a_page_exist(name: str) -> None:
    page = PAGES[name]
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page):
        assert target.startswith("http") or (FOLDER / target).exists(), target
    codes = {code.rstrip("-") for code in re.findall(r"`(E-[A-Z0-9-]+)`", page)}
    assert codes <= set(CATALOGUE), codes - set(CATALOGUE)
    settings = set(re.findall(r"\b(?:IBKR|IB|IBKIT)_[A-Z_]+\b|`([A-Z]+_[A-Z_]+)`", page)) - {""}
    assert {each for each in settings if each} <= set(VARIABLES)


def _to_look() -> list[str]:
    return sorted({line for name in ORDINARY for line in console_lines(PAGES[name])})


def test_the_commands_that_only_look_run_on_the_simulator_and_change_nothing(bench: Make) -> None:  # noqa: F811
    ib = bench()
    words = ("orders", "place", "buy", "1", "SPY", "--limit-price", "100", "--key", "order-a-0000000001", "--yes")
    assert ib.run(*words).code == 0
    assert len(_to_look()) > 12
    for line in _to_look():
        ib.simulator.advance(70)
        ran = ib.run(*line.split()[1:])
        assert ran.code == 0, (line, ran.out, ran.err)
    assert len(ib.posted()) == 1
