"""`ibkit gateway new`: a further gateway beside the one that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkit.upkeep.gateway_copy import listen_port, with_port

Run = Callable[..., Any]
CONF = """# as delivered
proxyRemoteHost: "https://api.ibkr.com"
listenPort: 5000   # where it listens
listenSsl: true
"""


@pytest.fixture
def delivered(home: Path) -> Path:
    """A gateway as it is unpacked, after its first run."""
    folder = home / "clientportal.gw"
    for name, text in (
        ("root/conf.yaml", CONF),
        ("root/vertx.jks", "key store"),
        ("root/logs/kept.txt", "not a log of the gateway"),
        ("bin/run.sh", "#!/bin/sh\n"),
        ("logs/gw.2026-11-20.log", "a login"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "bin/run.sh").chmod(0o755)
    return folder


@pytest.mark.requirement("SES-16")
def test_the_new_folder_listens_on_its_own_port_and_has_no_logs_of_the_other(
    ibkit: Run, delivered: Path, home: Path
) -> None:
    ran = ibkit("gateway", "new", "--port", "5001", "--dir", "gateways/second")
    assert ran.code == 0, ran.err
    made = home / "gateways/second"
    text = (made / "root/conf.yaml").read_text()
    assert listen_port(text) == 5001
    assert text == CONF.replace("5000 ", "5001 ")
    assert (delivered / "root/conf.yaml").read_text() == CONF
    assert (made / "root/vertx.jks").read_text() == "key store"
    assert (made / "bin/run.sh").stat().st_mode & 0o100
    assert not (made / "logs").exists()
    assert (made / "root/logs/kept.txt").exists()
    assert sorted(each.name for each in (home / "gateways").iterdir()) == ["second"]
    for said in ("https://localhost:5001", "run", "IBKR_GATEWAYS_FOR_USERS"):
        assert said in ran.out
    told = ibkit("gateway", "new", "--port", "5002", "--dir", "third", "--json").json
    assert (told["port"], told["address"]) == (5002, "https://localhost:5002")


@pytest.mark.requirement("SES-16")
def test_what_cannot_be_is_refused_and_nothing_is_made(ibkit: Run, delivered: Path, home: Path) -> None:
    before = sorted(home.rglob("*"))
    for arguments, code, said in (
        (("--port", "5000", "--dir", "second"), "E-CONFIG-CONFLICT", "port 5000"),
        (("--port", "5001", "--dir", "clientportal.gw"), "E-CONFIG-CONFLICT", "there already"),
        (("--port", "5001", "--dir", "clientportal.gw/second"), "E-CONFIG-CONFLICT", "within"),
        (("--port", "80", "--dir", "second"), "E-VALIDATION", "1024"),
        (("--port", "70000", "--dir", "second"), "E-VALIDATION", "65535"),
    ):
        ran = ibkit("gateway", "new", *arguments, "--json")
        assert ran.error["code"] == code, ran.err
        assert said in ran.error["message"]
    (delivered / "root/conf.yaml").unlink()
    ran = ibkit("gateway", "new", "--port", "5001", "--dir", "second", "--json")
    assert ran.error["code"] == "E-NOT-FOUND"
    assert "IBKR_GATEWAY_DIR" in ran.err
    assert sorted(home.rglob("*")) == [path for path in before if path.name != "conf.yaml"]


@pytest.mark.requirement("SES-16")
def test_a_copy_that_fails_leaves_nothing(
    ibkit: Run, delivered: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *arguments: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    ran = ibkit("gateway", "new", "--port", "5001", "--dir", "second", "--json")
    assert ran.error["code"] == "E-DB"
    assert "No space left" in ran.error["message"]
    assert [each.name for each in home.iterdir() if "second" in each.name] == []


@pytest.mark.requirement("SES-16")
@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("listenPort: 5000", "listenPort: 5001"),
        ("  listenPort :'5000'\nccp: false\n", "  listenPort :'5001'\nccp: false\n"),
        ('listenPort: "5000"\n', 'listenPort: "5001"\n'),
        ("#listenPort: 5000\nccp: false\n", "#listenPort: 5000\nccp: false\nlistenPort: 5001\n"),
        ("", "\nlistenPort: 5001\n"),
    ],
)
def test_the_port_is_changed_where_it_stands(text: str, changed: str) -> None:
    assert with_port(text, 5001) == changed
    assert listen_port(changed) == 5001
