"""`ibkit credentials`: stored from a settings file, tested at the simulator, shown as masks, deleted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from credential_desks import at, fields_for
from ibkit.sim.serving.inprocess import CLOUD_URL, Simulator
from simulators import make_simulator

Run = Callable[..., Any]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    found = make_simulator()
    with at(found):
        yield found


@pytest.fixture
def anna(ibkit: Run, home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user, and the settings file of a login of theirs."""
    (home / ".env").write_text(f"ENCRYPTION_KEY={'0a1b' * 16}\nIBKR_BASE_URL={CLOUD_URL}\nSSO_SETTLE_SECONDS=0\n")
    (home / ".env").chmod(0o600)
    monkeypatch.setattr("sys.stdin", io.StringIO("violet lamps near the harbour\n"))
    assert ibkit("user", "add", "anna", "--role", "trader").code == 0
    return written(home / "anna.env", fields_for(simulator))


def written(file: Path, fields: dict[str, str]) -> Path:
    key = file.with_suffix(".pem")
    key.write_text(fields["private_key"])
    key.chmod(0o600)
    file.write_text(
        f"IBKR_CLIENT_ID={fields['client_id']}\nIBKR_CLIENT_KEY_ID={fields['client_key_id']}\n"
        f"IBKR_PRIVATE_KEY_PATH={key}\nIBKR_CREDENTIAL={fields['credential']}\nIBKR_ALLOWED_IP=127.0.0.1\n"
    )
    file.chmod(0o600)
    return file


@pytest.mark.requirement("VLT-07", "VLT-08")
def test_they_are_stored_from_a_file_tested_and_deleted(ibkit: Run, anna: Path, simulator: Simulator) -> None:
    stored = ibkit("credentials", "put", "anna", "--from", str(anna), "--connection", "paper")
    assert (stored.code, "paper: oauth2 paper, waiting" in stored.out) == (0, True), stored.err
    tested = ibkit("credentials", "test", "anna", "--connection", "paper")
    assert tested.code == 0, tested.err
    assert "paper: oauth2 paper, in use" in tested.out
    shown = ibkit("credentials", "list", "anna")
    assert "client_id=SimP****" in shown.out
    assert "SimPaper1" not in shown.out + ibkit("credentials", "list", "anna", "--json").out
    actions = [each["action"] for each in ibkit("audit", "list", "--action", "credentials.", "--json").json]
    assert actions == ["credentials.activate", "credentials.test", "credentials.put"]

    bad = {**fields_for(simulator), "private_key": fields_for(simulator, user=1)["private_key"]}
    other = written(anna.with_name("bad.env"), bad)
    assert ibkit("credentials", "put", "anna", "--from", str(other), "--connection", "paper").code == 0
    failed = ibkit("credentials", "test", "anna", "--connection", "paper", "--json")
    assert failed.code == 4
    assert failed.json["steps"]["oauth"]["success"] is False
    assert failed.json["connection"]["in_use"]["status"] == "active"
    assert failed.json["connection"]["waiting"]["status"] == "error"
    assert ibkit("credentials", "test", "anna", "--connection", "paper").code == 4
    assert ibkit("credentials", "delete", "anna", "--connection", "paper").code == 0
    assert ibkit("credentials", "list", "anna", "--json").json == []


@pytest.mark.requirement("VLT-07")
def test_a_user_or_connection_that_is_not_there_and_rubbish_are_told(ibkit: Run, anna: Path) -> None:
    assert "User nobody not found" in ibkit("credentials", "list", "nobody").err
    for verb in ("test", "delete"):
        refused = ibkit("credentials", verb, "anna", "--json")
        assert refused.error["code"] == "E-NOT-FOUND"
    anna.with_suffix(".pem").write_text("-----BEGIN PUBLIC KEY-----\ncanary\n-----END PUBLIC KEY-----\n")
    refused = ibkit("credentials", "put", "anna", "--from", str(anna), "--json")
    assert (refused.code, refused.error["code"]) == (3, "E-KEY-FORMAT")
    assert "this is a public key" in refused.err
    assert "canary" not in refused.err + refused.out
    assert ibkit("credentials", "list", "anna", "--json").json == []
