"""How commands speak: stderr for failures, stdout for results, and nothing that a terminal can break."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ibkit.cli import output
from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import ConfigError, IbkitError, OutcomeUnknown
from ibkit.model import Environment, Secret


@pytest.mark.requirement("ERR-01", "ERR-03")
@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_prints_code_message_remedy_trace_and_gives_its_exit(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = CATALOGUE[code]

    assert output.report(IbkitError(code=code), json=False) == entry.exit

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{code}: {entry.message}\n-> {entry.remedy}\ntrace {output.trace_id()}\n"


@pytest.mark.requirement("ERR-03")
def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    error = OutcomeUnknown(
        "lost", code="E-ORD-UNKNOWN", remedy="Look.\nThen act.", request_id="abc", details={"n": Decimal("1.50")}
    )

    assert output.report(error, json=True) == 7

    said = capsys.readouterr()
    assert said.out == ""
    assert json.loads(said.err) == {
        "code": "E-ORD-UNKNOWN",
        "message": "lost",
        "remedy": ["Look.", "Then act."],
        "trace_id": "abc",
        "effect": "unknown",
        "details": {"n": "1.50"},
    }


@pytest.mark.requirement("CFG-03", "ERR-03")
def test_several_problems_each_have_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        {"code": "E-CONFIG", "message": "first", "remedy": "do a", "names": ["A"]},
        {"code": "E-CONFIG-PARTIAL", "message": "second", "remedy": "do b", "names": ["B"]},
    ]
    assert output.report(ConfigError("both", details={"problems": problems}), json=False) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[:-1] == ["E-CONFIG: first", "-> do a", "E-CONFIG-PARTIAL: second", "-> do b"]


def test_what_was_checked_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    output.report(IbkitError("x", details={"causes": ["keys readable: yes", "network: no"]}), json=False)
    assert "Checked:\n  keys readable: yes\n  network: no\n" in capsys.readouterr().err


def test_values_become_json_without_losing_a_digit_or_showing_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True)
    class Thing:
        price: Decimal
        token: Secret[str]

    output.emit(
        {
            "thing": Thing(Decimal("0.10"), Secret("hush")),
            "at": datetime(2026, 11, 20, tzinfo=UTC),
            "on": date(2026, 11, 20),
            "where": Path("/x"),
            "env": Environment.PAPER,
            "some": (1, True, None, 0.5),
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "thing": {"price": "0.10", "token": "Secret('***')"},
        "at": "2026-11-20T00:00:00+00:00",
        "on": "2026-11-20",
        "where": "/x",
        "env": "paper",
        "some": [1, True, None, 0.5],
    }


def test_tables_are_aligned_and_missing_values_are_dashes() -> None:
    said = output.table(("Name", "Price"), [("SPY", Decimal("1.50")), ("A", None)], right={1})
    assert said == "Name  Price\nSPY    1.50\nA         -"


@pytest.mark.requirement("ERR-03")
def test_a_terminal_is_given_nothing_that_it_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    """A key's label is written by a trader and read by an owner, a broker's text by everybody."""
    hostile = "\x1b[2J\x9b1A\rU1234567\x7f \u202e765"
    output.say(output.table(("For", "Of"), [(hostile, "anna")]))
    output.warn(hostile)
    output.report(IbkitError(hostile, remedy=hostile), json=False)
    output.report(IbkitError(hostile, details={"name": hostile}), json=True)
    output.emit({"label": hostile, "text": "two\nlines\tof it"})
    said = capsys.readouterr()
    for shown in said:
        assert not [each for each in shown if each not in "\n\t" and not each.isprintable()]
    assert "\\u001b[2J\\u009b1A\\u000dU1234567" in said.err
    document = json.loads(said.out[said.out.index("{") :])
    assert document == {"label": hostile, "text": "two\nlines\tof it"}


def test_a_stream_that_fails_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            tried.append(text)
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    output.say("a line")
    assert tried
    monkeypatch.setattr(sys, "stdout", None)
    output.say("a line")


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_that_went_away_leaves_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    code = "from ibkit import cli; import sys; sys.exit(cli.run(['errors']))"
    ran = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert ran.stderr == ""
    assert ran.returncode == 0


@pytest.mark.parametrize("name", ["errors", "config"])
def test_plain_ascii_terminals_and_narrow_ones_are_no_trouble(name: str) -> None:
    environ = {
        **os.environ,
        "LC_ALL": "C",
        "LANG": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TERM": "dumb",
        "COLUMNS": "20",
    }
    code = f"from ibkit import cli; import sys; sys.exit(cli.run(['{name}', '--help']) or cli.run(['errors']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environ, check=False)
    assert ran.returncode == 0, ran.stderr
    assert b"Traceback" not in ran.stderr
    assert b"\x1b" not in ran.stdout
