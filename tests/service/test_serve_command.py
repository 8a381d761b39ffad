"""`ibkit serve` before it serves: what is refused, and with which code."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ibkit import cli


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        "os.environ", {"HOME": str(tmp_path), "BROKER_PROVIDER": "mock", "IBKIT_STATE_DIR": str(tmp_path / "state")}
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.run(["serve", *words])
    return code, capsys.readouterr().err


def test_a_port_that_is_none_or_taken_is_named(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--port", "99999")[0] == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, err = refused(capsys, "--port", str(taken.getsockname()[1]))
    assert code == 3
    assert "cannot be listened on" in err


@pytest.mark.requirement("SEC-03")
def test_production_on_all_addresses_is_refused(
    at_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setitem(os.environ, "APP_ENV", "production")
    monkeypatch.setitem(os.environ, "JWT_SECRET", "x" * 40)
    code, err = refused(capsys, "--host", "0.0.0.0", "--port", "0")
    assert code == 3
    assert "ALLOWED_CLIENT_IPS" in err


def test_live_is_asked_for_only_where_the_settings_are_live(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = refused(capsys, "--live", "--port", "0")
    assert code == 5
    assert "E-LIVE" in err


def test_a_bad_encryption_key_stops_the_start(
    at_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setitem(os.environ, "ENCRYPTION_KEY", "abc")
    code, err = refused(capsys, "--port", "0")
    assert code != 0
    assert "Traceback" not in err
