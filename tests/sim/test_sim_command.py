"""The command `ibkit sim`: it announces itself when it accepts, ends cleanly, and says what is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ibkit.cli import run
from ibkit.sim.serving.running import choose_start, default_start
from simulators import KEYS

pytestmark = pytest.mark.requirement("TST-01")

NEW_YORK = ZoneInfo("America/New_York")
_COMMAND = [sys.executable, "-c", "from ibkit.cli import main; main()", "sim"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(KEYS, tmp_path / "sim" / "keys")
    return tmp_path / "sim"


@contextmanager
def simulator(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, running and ready; its lines so far."""
    command = [*_COMMAND, "--gateway-port", "0", "--cloud-port", "0", "--dir", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            lines = []
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.startswith("Ready"):
                    break
            yield process, lines
        finally:
            process.kill()


def get(url: str, folder: Path) -> object:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem")) if url.startswith("https") else None
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:
        return json.load(answer)


def _second(folder: Path) -> str:
    command = [*_COMMAND, "--gateway-port", "0", "--cloud-port", "0", "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(folder: Path, number: int) -> None:
    with simulator(folder, "--start", "2026-11-20T15:30:00Z", "--clock", "manual", "--scenario", "ok") as (
        process,
        lines,
    ):
        given = json.loads((folder / "simulator.json").read_text())
        assert any("Not Interactive Brokers" in line for line in lines)
        assert get(f"{given['control_url']}/__sim/clock", folder) == {
            "now": "2026-11-20T15:30:00+00:00",
            "speed": 0.0,
            "mode": "manual",
        }
        status = get(f"{given['gateway_url']}/v1/api/iserver/auth/status", folder)
        assert isinstance(status, dict)
        assert status["authenticated"] is True
        if number == signal.SIGTERM:
            assert "Another simulator is running" in _second(folder)
            assert (folder / "simulator.json").exists(), "the first one's addresses stay"
        process.send_signal(number)
        assert process.wait(20) == 0
        assert not (folder / "simulator.json").exists()


def test_a_port_in_use_ends_it_before_anything_is_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "none"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code = run(["sim", "--gateway-port", port, "--cloud-port", "0", "--dir", str(folder)])
    said = capfd.readouterr().err
    assert code == 4
    assert "E-GW-PORT-TAKEN" in said
    assert port in said
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--scenario", "typo"], "not-authenticated"),
        (["--quirk", "typo=1"], "idle_timeout_s"),
        (["--quirk", "pacing"], "NAME=VALUE"),
        (["--start", "yesterday"], "ISO"),
        (["--start", "1990-01-02"], "starts between"),
        (["--start", "9999-12-31T23:59:59-12:00"], "--start"),
        (["--speed", "0"], "--clock manual"),
        (["--speed", "nan"], "--speed"),
        (["--speed", "1e12"], "86400"),
        (["--idle-timeout", "-5"], "--idle-timeout"),
        (["--max-age", "inf"], "--max-age"),
        (["--gateway-port", "70000"], "65535"),
        (["--gateway-port", "5555", "--cloud-port", "5555"], "--cloud-port"),
        (["--clock", "sundial"], "sundial"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    assert run(["sim", "--dir", str(tmp_path / "none"), *options]) == 2
    assert word in capfd.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_address_that_is_none_ends_it_before_anything_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ports = ["--gateway-port", "0", "--cloud-port", "0"]
    assert run(["sim", "--dir", str(tmp_path / "none"), "--host", "300.1.1.1", *ports]) == 3
    assert "--host" in capfd.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["sim", "--dir", str(tmp_path / "file" / "sim")]) == 1
    assert "--dir" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 20, 11, 0, tzinfo=NEW_YORK), None),
        (datetime(2026, 11, 20, 15, 30, tzinfo=NEW_YORK), datetime(2026, 11, 20, 10, 30, tzinfo=NEW_YORK)),
        (datetime(2026, 11, 22, 20, 0, tzinfo=NEW_YORK), datetime(2026, 11, 20, 10, 30, tzinfo=NEW_YORK)),
        (datetime(2026, 11, 23, 4, 0, tzinfo=NEW_YORK), datetime(2026, 11, 20, 10, 30, tzinfo=NEW_YORK)),
        (datetime(2026, 11, 26, 12, 0, tzinfo=NEW_YORK), datetime(2026, 11, 25, 10, 30, tzinfo=NEW_YORK)),
    ],
    ids=["open", "closing soon", "Sunday night", "Monday before the open", "Thanksgiving"],
)
def test_the_world_begins_when_the_market_is_open(now: datetime, expected: datetime | None) -> None:
    start, why = default_start(now.astimezone(UTC))
    assert start == (expected or now)
    assert "market" in why


def test_a_start_that_was_asked_for_is_taken() -> None:
    now = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
    assert choose_start("now", now)[0] == now
    assert choose_start(now - timedelta(days=3), now)[0] == now - timedelta(days=3)
