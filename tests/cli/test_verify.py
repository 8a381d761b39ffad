"""`ibkit verify`: what is complete, what is missing, in which order to mend it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sign_ins import KEYS, sealed_secret

Run = Callable[..., Any]
PAIR = KEYS / "simpaper1"
VAULT_KEY = "a1" * 16 + "b2" * 16


@pytest.fixture
def keys_here(home: Path) -> Path:
    out = home / "config/keys"
    out.mkdir(parents=True, mode=0o700)
    for name in ("private_signature", "public_signature", "private_encryption", "public_encryption"):
        shutil.copy(PAIR / f"{name}.pem", out)
        (out / f"{name}.pem").chmod(0o600 if name.startswith("private") else 0o644)
    shutil.copy(KEYS / "dhparam.pem", out)
    return out


def _settings(home: Path, **changes: str | None) -> None:
    given: dict[str, str | None] = {
        "IBKR_AUTH_METHOD": "oauth1a",
        "IB_CONSUMER_KEY": "SIMCONSUM",
        "IB_ACCESS_TOKEN": "9a1c0f5e7b3d2468ace0",
        "IB_ACCESS_TOKEN_SECRET": sealed_secret().reveal(),
        "ENCRYPTION_KEY": VAULT_KEY,
    }
    lines = [f'{name}="{value}"' for name, value in (given | changes).items() if value is not None]
    file = home / ".env"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)


def _failed(ran: Any) -> dict[str, str]:
    return {check["name"]: check["code"] for check in ran.json["checks"] if check["mark"] == "FAIL"}


@pytest.mark.requirement("SET-04")
def test_a_fresh_checkout_lists_secret_keys_and_consumer_key_in_order(ibkit: Run, home: Path) -> None:
    ran = ibkit("verify")
    assert ran.code == 3
    steps = re.findall(r"^ +\d+\. (.*)$", ran.out, re.MULTILINE)
    text = "\n".join(steps)
    assert 0 < text.index("IB_ACCESS_TOKEN_SECRET") < text.index("ibkit keys generate") < text.index("IB_CONSUMER_KEY:")
    assert sum("ibkit keys generate" in step for step in steps) == 1
    assert steps[-1] == "ibkit verify again"
    assert list(home.iterdir()) == []


@pytest.mark.requirement("SET-04")
def test_a_complete_set_up_ends_with_the_self_test(ibkit: Run, home: Path, keys_here: Path) -> None:
    _settings(home)
    ran = ibkit("verify")
    assert ran.code == 0
    assert ran.out.rstrip().endswith("Next: ibkit auth test")
    assert "FAIL" not in ran.out
    for said in (".env", "safe prime of 2048 bits", "RSA 2048, mode 0600", "belongs to", "opens with", "key id"):
        assert said in ran.out
    assert sealed_secret().reveal() not in ran.out
    assert VAULT_KEY not in ran.out
    assert "9a1c0f5e7b3d2468ace0" not in ran.out
    assert not (home / ".local").exists(), "looking changes nothing"


@pytest.mark.requirement("SET-04")
def test_json_says_the_same(ibkit: Run, home: Path, keys_here: Path) -> None:
    _settings(home)
    document = ibkit("verify", "--json").json
    assert document["complete"] is True
    assert document["method"] == "oauth1a"
    assert document["next"] == ["ibkit auth test"]
    assert {check["mark"] for check in document["checks"]} <= {"OK", "WARN", "SKIP"}


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:300])


@pytest.mark.requirement("SET-04", "AUTH-08", "AUTH-07")
@pytest.mark.parametrize(
    ("spoil", "name", "code"),
    [
        (lambda out: (out / "private_signature.pem").unlink(), "IB_SIGNATURE_KEY_PATH", "E-KEY-MISSING"),
        (lambda out: _cut(out / "private_signature.pem"), "IB_SIGNATURE_KEY_PATH", "E-KEY-FORMAT"),
        (lambda out: (out / "private_signature.pem").write_text(""), "IB_SIGNATURE_KEY_PATH", "E-KEY-FORMAT"),
        (lambda out: (out / "private_signature.pem").chmod(0o644), "IB_SIGNATURE_KEY_PATH", "E-KEY-PERMS"),
        (
            lambda out: shutil.copy(PAIR / "public_signature.pem", out / "private_signature.pem"),
            "IB_SIGNATURE_KEY_PATH",
            "E-KEY-FORMAT",
        ),
        (
            lambda out: shutil.copy(PAIR / "public_encryption.pem", out / "public_signature.pem"),
            "public_signature.pem",
            "E-KEY-MISMATCH",
        ),
        (
            lambda out: shutil.copy(PAIR / "private_oauth2.pem", out / "private_encryption.pem"),
            "access token secret",
            "E-SECRET-DECRYPT",
        ),
        (
            lambda out: shutil.copy(PAIR / "private_signature.pem", out / "private_encryption.pem"),
            "two keys",
            "E-KEY-MISMATCH",
        ),
        (lambda out: _cut(out / "dhparam.pem"), "IB_DH_PARAM_PATH", "E-OA1-DH"),
        (lambda out: (out / "dhparam.pem").write_text(NEGATIVE), "IB_DH_PARAM_PATH", "E-OA1-DH"),
        (lambda out: (out / "dhparam.pem").unlink(), "IB_DH_PARAM_PATH", "E-KEY-MISSING"),
    ],
)
def test_each_fault_of_the_files_is_found(ibkit: Run, home: Path, keys_here: Path, spoil, name: str, code: str) -> None:
    _settings(home)
    spoil(keys_here)
    if (keys_here / "private_encryption.pem").exists():
        (keys_here / "private_encryption.pem").chmod(0o600)
    if code != "E-KEY-PERMS" and (keys_here / "private_signature.pem").exists():
        (keys_here / "private_signature.pem").chmod(0o600)
    ran = ibkit("verify", "--json")
    assert ran.code == 3
    assert _failed(ran)[name] == code
    assert "-----BEGIN" not in ran.out


NEGATIVE = "-----BEGIN DH PARAMETERS-----\nMAYCAfsCAQI=\n-----END DH PARAMETERS-----\n"


@pytest.mark.requirement("SET-04")
def test_swapped_key_files_are_called_swapped(ibkit: Run, home: Path, keys_here: Path) -> None:
    _settings(
        home,
        IB_SIGNATURE_KEY_PATH="config/keys/private_encryption.pem",
        IB_ENCRYPTION_KEY_PATH="config/keys/private_signature.pem",
    )
    ran = ibkit("verify")
    assert ran.code == 3
    assert "the two key files are swapped" in ran.out


@pytest.mark.requirement("SET-04")
@pytest.mark.parametrize(
    ("changes", "name", "code"),
    [
        ({"IB_CONSUMER_KEY": "simconsum"}, "consumer key's form", "E-CONFIG"),
        ({"IB_ACCESS_TOKEN_SECRET": "QUJD"}, "access token secret", "E-SECRET-DECRYPT"),
        ({"ENCRYPTION_KEY": "abc"}, "ENCRYPTION_KEY", "E-ENC-KEY"),
        ({"ENCRYPTION_KEY": "a" * 64}, "ENCRYPTION_KEY", "E-ENC-KEY"),
        ({"IBKR_BASE_URL": "https://example.org"}, "IBKR_BASE_URL", "E-CONFIG"),
    ],
)
def test_each_fault_of_the_settings_is_found(
    ibkit: Run, home: Path, keys_here: Path, changes: dict[str, str], name: str, code: str
) -> None:
    _settings(home, **changes)
    ran = ibkit("verify", "--json")
    assert ran.code == 3
    assert _failed(ran)[name] == code


@pytest.mark.requirement("SET-04", "AUTH-09")
def test_without_a_vault_key_one_is_recommended(ibkit: Run, home: Path, keys_here: Path) -> None:
    _settings(home, ENCRYPTION_KEY=None)
    ran = ibkit("verify")
    assert ran.code == 0
    assert re.search(r"WARN +ENCRYPTION_KEY +not set: tokens are not kept", ran.out)
    assert "ibkit vault generate-keys --write" in ran.out


@pytest.mark.requirement("SET-04", "SET-02")
def test_fix_closes_what_is_open_and_nothing_else(ibkit: Run, home: Path, keys_here: Path) -> None:
    _settings(home)
    (home / ".env").chmod(0o644)
    keys_here.chmod(0o755)
    (keys_here / "private_signature.pem").chmod(0o640)
    before = {path.name: path.read_bytes() for path in keys_here.iterdir()}
    assert ibkit("verify").code == 3
    ran = ibkit("verify", "--fix")
    assert ran.code == 0
    assert stat.S_IMODE((home / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE(keys_here.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys_here / "private_signature.pem").stat().st_mode) == 0o600
    assert (home / ".gitignore").read_text() == "config/keys/\n"
    assert ran.out.count("fixed") == 4
    assert {path.name: path.read_bytes() for path in keys_here.iterdir()} == before
    assert "fixed" not in ibkit("verify", "--fix").out


@pytest.mark.requirement("SET-04")
def test_a_settings_file_open_to_others_is_the_one_thing_said(ibkit: Run, home: Path, keys_here: Path) -> None:
    _settings(home)
    (home / ".env").chmod(0o644)
    ran = ibkit("verify")
    assert ran.code == 3
    assert "E-ENV-FILE" in ran.out
    assert "chmod 600" in ran.out


@pytest.mark.requirement("SET-04")
def test_oauth2_is_checked_as_far_as_it_goes(ibkit: Run, home: Path) -> None:
    shutil.copy(PAIR / "private_oauth2.pem", home / "private_oauth2.pem")
    (home / "private_oauth2.pem").chmod(0o600)
    shutil.copy(PAIR / "public_oauth2.pem", home / "public_oauth2.pem")
    (home / ".env").write_text(
        "IBKR_AUTH_METHOD=oauth2\nIBKR_CLIENT_ID=SimClient\nIBKR_CLIENT_KEY_ID=main\nIBKR_CREDENTIAL=sim\n"
        "IBKR_PRIVATE_KEY_PATH=private_oauth2.pem\n"
    )
    (home / ".env").chmod(0o600)
    ran = ibkit("verify", "--json")
    assert _failed(ran) == {"IBKR_ALLOWED_IP": "E-IP"}
    with (home / ".env").open("a") as file:
        file.write("IBKR_ALLOWED_IP=203.0.113.7\n")
    assert ibkit("verify").code == 0


@pytest.mark.requirement("SET-04")
def test_the_gateway_needs_little(ibkit: Run, home: Path) -> None:
    (home / ".env").write_text("IBKR_AUTH_METHOD=gateway\n")
    (home / ".env").chmod(0o600)
    ran = ibkit("verify")
    assert ran.code == 0
    assert "https://localhost:5000" in ran.out


@pytest.mark.requirement("SET-04")
def test_a_database_that_is_none_is_found(ibkit: Run, home: Path) -> None:
    (home / "broken.db").write_text("this is no database, it is a letter" * 50)
    (home / ".env").write_text(f"IBKR_AUTH_METHOD=gateway\nDATABASE_URL=sqlite:///{home}/broken.db\n")
    (home / ".env").chmod(0o600)
    assert _failed(ibkit("verify", "--json")) == {"database": "E-DB"}
    (home / "broken.db").unlink()
    with sqlite3.connect(home / "broken.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert ibkit("verify").code == 0


@pytest.mark.requirement("VLT-06", "SET-06")
@pytest.mark.plants_secrets
def test_a_key_that_is_named_is_read_where_it_is_kept(ibkit: Callable[..., Any], home: Path) -> None:
    from simulators import KEYS

    for name, text in (("keys", "0a1b" * 16), ("ibkr-key", (KEYS / "simpaper1/private_oauth2.pem").read_text())):
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    lines = {
        "IBKR_CLIENT_ID": "CLIENT77",
        "IBKR_CLIENT_KEY_ID": "main",
        "IBKR_CREDENTIAL": "trader",
        "IBKR_ALLOWED_IP": "203.0.113.7",
        "IBKR_PRIVATE_KEY_PATH": "secret://ibkr-key",
        "ENCRYPTION_KEY_PROVIDER": "file",
        "ENCRYPTION_KEY_FILE": str(home / "keys"),
    }
    (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    (home / ".env").chmod(0o600)
    ran = ibkit("verify")
    assert "ibkr-key of the file: RSA 2048" in ran.out
    (home / "ibkr-key").unlink()
    assert "E-KEY-MISSING" in ibkit("verify").out
