"""`ibkit firewall`: the plan in three languages, by golden files (UPDATE_GOLDEN=1 writes them), and the check."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
GOLDEN = Path(__file__).parent / "golden"
SETTINGS = """\
IBKR_AUTH_METHOD=gateway
ALLOWED_CLIENT_IPS=127.0.0.1,::1,192.168.7.0/24,2001:db8::7
PORT=8001
DATABASE_URL=postgresql://me:hush@10.1.2.3:5433/x
ALERT_WEBHOOK_URL=https://hooks.example/services/hush
SMTP_HOST=mail.example
"""
pytestmark = pytest.mark.requirement("SEC-05")


def _settings(home: Path, text: str = SETTINGS) -> None:
    (home / ".env").write_text(text)
    (home / ".env").chmod(0o600)


@pytest.mark.parametrize("form", ["ufw", "nft", "windows"])
def test_the_plan_is_the_golden_one(ibkit: Run, home: Path, form: str) -> None:
    _settings(home)
    ran = ibkit("firewall", "plan", "--format", form)
    assert ran.code == 0, ran.err
    assert "hush" not in ran.out
    golden = GOLDEN / f"firewall_{form}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(ran.out)
    assert ran.out == golden.read_text()


def test_an_unknown_firewall_and_an_address_that_is_none_are_refused(ibkit: Run, home: Path) -> None:
    assert ibkit("firewall", "plan", "--format", "iptables").code == 2
    _settings(home, "ALLOWED_CLIENT_IPS=my-laptop\n")
    ran = ibkit("firewall", "plan")
    assert ran.code == 2
    assert "ALLOWED_CLIENT_IPS" in ran.err


def test_a_name_that_would_be_a_command_stays_a_name(ibkit: Run, home: Path) -> None:
    _settings(home, "SMTP_HOST=x';reboot;'\n")
    for form in ("ufw", "nft", "windows"):
        ran = ibkit("firewall", "plan", "--format", form)
        assert ran.code == 0
        assert "';reboot" not in ran.out
        assert "mail: x" in ran.out


def test_the_check_tells_a_port_that_is_open_from_one_that_is_not(ibkit: Run, home: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        base = f"IBKR_BASE_URL=https://127.0.0.1:{port}\n"
        _settings(home, f"IBKR_AUTH_METHOD=gateway\nIBKR_API_ENDPOINT=https://127.0.0.1:{port}\n{base}")
        assert ibkit("firewall", "check").code == 0
    ran = ibkit("firewall", "check")
    assert ran.code == 4
    assert "E-API-CONNECT" in ran.err
    assert "firewall" in ran.err
    document = ibkit("firewall", "check", "--json")
    assert document.code == 4
    assert [each["reached"] for each in document.json] == [False, False]
