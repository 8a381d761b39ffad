"""`ibkit serve` before it serves: what is refused, and with which code."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ibkit import cli
from running import command
from service_desks import Served, until


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
    monkeypatch.setitem(os.environ, "ENCRYPTION_KEY", "abc")
    code, err = refused(capsys, "--port", "0")
    assert code != 0
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.requirement("VLT-10")
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_first_start_prints_a_link_with_which_the_owner_signs_in_and_the_second_none(tmp_path: Path) -> None:
    """The whole way, as people go it: a process, its printed link, a password, a token."""
    env = {"HOME": str(tmp_path), "PATH": os.environ.get("PATH", ""), "IBKR_AUTH_METHOD": "oauth2"}

    @contextmanager
    def serving() -> Iterator[tuple[Served, str]]:
        with (tmp_path / "log").open("w") as out:
            process = subprocess.Popen(
                command("serve", "--port", "0"), stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path, env=env
            )
        log = tmp_path / "log"
        try:
            until(lambda: "Serving http" in log.read_text() or process.poll() is not None, 90)
            text = log.read_text()
            yield Served(address=text.split("Serving ")[1].split()[0]), text
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()

    with serving() as (service, text):
        (link,) = re.findall(r"http\S+/welcome#\S+", text)
        words = {"link": link.partition("#")[2], "password": "four words nobody guesses"}
        signed_in = service.ask("POST", "/api/sign-in/link", words, token=None)
        assert (signed_in.status, signed_in.data["role"]) == (200, "owner"), signed_in.raw
        token = signed_in.data["token"]
        assert service.ask("GET", "/api/me", token=token).data["name"] == "owner"
    with serving() as (service, text):
        assert "welcome" not in text
        assert service.ask("GET", "/api/me", token=token).data["name"] == "owner"  # the key outlives the process
