"""`ibkit config` and `ibkit init`."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkit.settings import VARIABLES, load
from ibkit.settings.template import template

TOKEN = "abcd-this-must-not-be-shown-anywhere"


@pytest.mark.requirement("CFG-01")
def test_the_source_of_a_value_is_shown(ibkit: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config").mkdir()
    (home / "config/.env").write_text("IBKR_ENV=live\nPOOL_SIZE=4\n")
    monkeypatch.setenv("IBKR_ENV", "paper")

    said = ibkit("config", "show", "--json").json

    assert said["settings"]["IBKR_ENV"] == {"value": "paper", "source": "environment", "spelling": "IBKR_ENV"}
    assert said["settings"]["POOL_SIZE"]["source"] == "file"
    assert said["settings"]["FILL_TIMEOUT"] == {"value": "20", "source": "default", "spelling": "FILL_TIMEOUT"}
    assert said["file"] == str(home / "config/.env")
    assert said["shadowed"] == ["IBKR_ENV"]


@pytest.mark.requirement("CFG-02")
def test_secrets_are_masked(ibkit: Callable[..., Any], home: Path) -> None:
    env = home / "s.env"
    hidden = [entry.name for entry in VARIABLES.values() if entry.hidden and entry.name != "DATABASE_URL"]
    values = dict.fromkeys(hidden, TOKEN) | {"ENCRYPTION_KEY": "ab" * 32, "ENCRYPTION_KEY_PREVIOUS": "cd" * 32}
    values |= {"DATABASE_URL": f"postgresql://me:{TOKEN}@host/db", "IBKR_AUTH_METHOD": "gateway"}
    values |= {"ALERT_WEBHOOK_URL": f"https://hooks.example.org/{TOKEN}"}
    env.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))
    env.chmod(0o600)

    for arguments in (["config", "show"], ["config", "show", "--all"], ["config", "show", "--json"]):
        ran = ibkit(*arguments, "--env-file", "s.env")
        assert ran.code == 0, ran.err
        assert TOKEN[4:] not in ran.out + ran.err
        assert "abab" * 2 not in ran.out
    assert ran.json["settings"]["IB_ACCESS_TOKEN"]["value"] == "abcd****"


@pytest.mark.requirement("CFG-02")
def test_the_reference_and_the_example_list_the_same_names(ibkit: Callable[..., Any], home: Path) -> None:
    (home / ".env.example").write_text(template())
    assert ibkit("config", "reference", "--check", ".env.example").code == 0
    assert ibkit("config", "reference", "--env").out.strip() == template().strip()

    (home / ".env.example").write_text(template().replace("#POOL_SIZE=", "#POLL_SIZE="))
    ran = ibkit("config", "reference", "--check", ".env.example")
    assert ran.code == 3
    assert "missing: POOL_SIZE" in ran.out
    assert "unknown: POLL_SIZE" in ran.out
    assert ibkit("config", "reference", "--check", "nowhere").code == 3
    assert {row["name"] for row in ibkit("config", "reference", "--json").json} == set(VARIABLES)


@pytest.mark.requirement("SET-03")
def test_init_writes_a_private_file_with_its_own_secrets(ibkit: Callable[..., Any], home: Path) -> None:
    ran = ibkit("init", "--method", "oauth1a", "--yes")

    assert ran.code == 0, ran.err
    file = home / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = load(environ={}, directory=home, require_method=False)
    assert settings.vault.key is not None
    assert len(settings.web.jwt_secret.reveal()) >= 32  # type: ignore[union-attr]
    assert "IB_SIGNATURE_KEY_PATH" in settings.sources
    assert settings.method_problems[0].names == ("IB_CONSUMER_KEY", "IB_ACCESS_TOKEN", "IB_ACCESS_TOKEN_SECRET")
    assert "ibkit keys generate" in ran.out


@pytest.mark.requirement("SET-03")
def test_init_never_overwrites(ibkit: Callable[..., Any], home: Path) -> None:
    (home / ".env").write_text("mine")
    ran = ibkit("init", "--method", "gateway")
    assert ran.code == 3
    assert ran.err.startswith("E-ENV-FILE: ")
    assert (home / ".env").read_text() == "mine"
    assert ibkit("init", "--method", "gateway", "--file", "sub/other.env").code == 0
    assert (home / "sub/other.env").exists()


@pytest.mark.requirement("SET-03")
def test_init_asks_only_where_somebody_can_answer(ibkit: Callable[..., Any], home: Path) -> None:
    ran = ibkit("init")
    assert ran.code == 2
    assert "--method" in ran.err
    assert not (home / ".env").exists()


@pytest.mark.requirement("CFG-01", "CFG-03")
def test_wrong_settings_stop_a_command(ibkit: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_ENV", "papre")
    monkeypatch.setenv("IBKR_CLEINT_ID", "x")

    ran = ibkit("config", "show")

    assert ran.code == 3
    assert ran.out == ""
    assert "use one of paper, live" in ran.err
    assert "did you mean IBKR_CLIENT_ID?" in ran.err
