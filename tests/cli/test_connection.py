"""`ibkit connection list|create|default|delete`: what users have, kept by who runs this machine."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Bench

Run = Callable[..., Any]
GATEWAYS = ("https://localhost:5001", "https://localhost:5002")


@pytest.fixture
def firm(ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of two users, whose operator has named two gateways."""
    (home / ".env").write_text(
        f"ENCRYPTION_KEY={'0a1b' * 16}\nENABLE_MULTI_USER=true\nIBKR_GATEWAYS_FOR_USERS={','.join(GATEWAYS)}\n"
    )
    (home / ".env").chmod(0o600)
    for name in ("anna", "bob"):
        monkeypatch.setattr("sys.stdin", io.StringIO("violet lamps near the harbour\n"))
        assert ibkit("user", "add", name, "--role", "trader").code == 0
    return home


def create(ibkit: Run, name: str, connection: str, gateway: int, username: str) -> Any:
    address = ("--method", "gateway", "--address", GATEWAYS[gateway], "--username", username)
    return ibkit("connection", "create", name, connection, *address, "--json")


def listed(ibkit: Run, *names: str) -> list[tuple[str, str, bool]]:
    rows = ibkit("connection", "list", *names, "--json").json
    return [(row["user"], row["connection_id"], row["is_default"]) for row in rows]


@pytest.mark.requirement("SES-15", "MON-09")
def test_connections_are_made_listed_chosen_and_deleted(ibkit: Run, firm: Path) -> None:
    assert "There is no connection" in ibkit("connection", "list").out
    made = create(ibkit, "anna", "one", 0, "annapaper")
    assert made.code == 0, made.err
    assert (made.json["state"], made.json["is_default"], made.json["address"]) == ("not_configured", True, GATEWAYS[0])
    said = ibkit("connection", "create", "anna", "two", "--method", "oauth2", "--label", "the other one")
    assert (said.code, "Made two of anna (oauth2, paper)." in said.out) == (0, True), said.err
    assert "ibkit credentials put anna --connection two" in said.out
    assert create(ibkit, "bob", "one", 1, "bobpaper").code == 0
    assert listed(ibkit) == [("anna", "one", True), ("anna", "two", False), ("bob", "one", True)]
    assert "Not Configured" in ibkit("connection", "list", "anna").out

    assert "two is the default of anna now." in ibkit("connection", "default", "anna", "two").out
    assert listed(ibkit, "anna") == [("anna", "two", True), ("anna", "one", False)]
    assert ibkit("connection", "delete", "anna", "two", "--json").json["deleted"] is True
    assert listed(ibkit, "anna") == [("anna", "one", True)]
    assert listed(ibkit, "bob") == [("bob", "one", True)]
    acts = [each["action"] for each in ibkit("audit", "list", "--action", "connections.", "--json").json]
    assert acts == ["connections.delete", "connections.set_default", *["connections.create"] * 3]


@pytest.mark.requirement("SES-16")
def test_a_gateway_is_one_user_names_alone(ibkit: Run, firm: Path) -> None:
    assert create(ibkit, "anna", "one", 0, "annapaper").code == 0
    second = create(ibkit, "anna", "two", 0, "annalive")
    assert (second.code, second.error["code"]) == (3, "E-CONFIG-CONFLICT")
    assert "one (user name annapaper)" in second.error["message"]
    assert "another port" in second.err
    foreign = create(ibkit, "bob", "one", 0, "bobpaper")
    assert foreign.error["code"] == "E-CONFIG-CONFLICT"
    assert "annapaper" not in foreign.err
    assert listed(ibkit) == [("anna", "one", True)]


@pytest.mark.requirement("SES-15")
def test_what_is_wrong_is_told_and_nothing_is_made(ibkit: Run, firm: Path) -> None:
    for arguments, code in (
        (("anna", "a b", "--method", "oauth2"), "E-VALIDATION"),
        (("anna", "one", "--method", "gateway"), "E-VALIDATION"),
        (("anna", "one", "--method", "oauth2", "--address", GATEWAYS[0]), "E-VALIDATION"),
        (("anna", "one", "--method", "gateway", "--address", "https://localhost:5009"), "E-GW-REMOTE"),
        (("nobody", "one", "--method", "oauth2"), "E-NOT-FOUND"),
    ):
        ran = ibkit("connection", "create", *arguments, "--json")
        assert ran.error["code"] == code, (arguments, ran.err)
    for verb in ("default", "delete"):
        assert ibkit("connection", verb, "anna", "one", "--json").error["code"] == "E-NOT-FOUND"
    assert listed(ibkit) == []


@pytest.mark.requirement("SES-15")
def test_with_one_user_there_is_that_of_the_settings_alone(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert it.run("session", "cleanup").code == 0  # whoever looks at it first makes its row
    (row,) = it.run("connection", "list", "--json").json
    assert (row["user"], row["connection_id"], row["method"], row["state"]) == ("", "default", "oauth1a", "configured")
    assert "Configured but Not Connected" in it.run("connection", "list").out
    for arguments in (
        ("list", "anna"),
        ("create", "anna", "one", "--method", "oauth2"),
        ("default", "anna", "one"),
        ("delete", "anna", "default"),
    ):
        ran = it.run("connection", *arguments, "--json")
        assert (ran.code, ran.error["code"]) == (2, "E-NOT-FOUND"), ran.err
        assert "ENABLE_MULTI_USER" in ran.error["message"]
