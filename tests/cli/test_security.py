"""`ibkit security` and `ibkit dev hooks`: keys that git must not hold, and faults that an audit must find."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ibkit.bootstrap import primes
from ibkit.upkeep import audit as auditing
from ibkit.upkeep.secret_scan import scan_text
from ibkit.wire import dh
from sign_ins import KEYS

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
STATE = Path(".local/state/ibkit")
PEM = (KEYS / "simpaper1/private_signature.pem").read_text()


def _git(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def repository(home: Path) -> Path:
    folder = home / "work"
    folder.mkdir()
    _git(folder, "init", "-q")
    (folder / "README.md").write_text("Nothing to see.\n")
    _git(folder, "add", "README.md")
    _git(folder, "commit", "-q", "-m", "begin")
    return folder


@pytest.mark.requirement("SEC-01")
def test_the_hook_refuses_a_commit_with_a_key_and_lets_others_through(ibkit: Run, repository: Path) -> None:
    assert ibkit("dev", "hooks", str(repository)).code == 0
    (repository / "private_x.pem").write_text(PEM)
    _git(repository, "add", "-f", "private_x.pem")
    refused = _git(repository, "commit", "-m", "oops", check=False)
    assert refused.returncode != 0
    assert "private_x.pem" in refused.stdout + refused.stderr
    assert PEM.splitlines()[3] not in refused.stdout + refused.stderr
    assert _git(repository, "log", "--oneline").stdout.count("\n") == 1

    _git(repository, "rm", "-q", "--cached", "private_x.pem")
    (repository / "code.py").write_text("print(1)\n")
    _git(repository, "add", "code.py")
    _git(repository, "commit", "-q", "-m", "fine")


@pytest.mark.requirement("SEC-01")
def test_a_repository_that_tracks_a_key_is_found_out(ibkit: Run, repository: Path) -> None:
    assert ibkit("security", "scan", str(repository)).code == 0
    (repository / "private_x.pem").write_text(PEM)
    _git(repository, "add", "-f", "private_x.pem")
    _git(repository, "commit", "-q", "-m", "oops")
    ran = ibkit("security", "scan", str(repository), "--json")
    assert ran.code == 1
    assert {(each["path"], each["line"]) for each in ran.json["findings"]} == {
        ("private_x.pem", 0),
        ("private_x.pem", 1),
    }
    assert ibkit("security", "scan", str(repository), "--staged").code == 0, "nothing new"


@pytest.mark.requirement("SEC-01")
def test_what_is_staged_counts_and_not_what_stands_in_the_folder(ibkit: Run, repository: Path) -> None:
    notes = repository / "notes.txt"
    notes.write_text(f"JWT_SECRET={'q7' * 20}\n")
    _git(repository, "add", "notes.txt")
    notes.write_text("nothing\n")
    ran = ibkit("security", "scan", str(repository), "--staged", "--json")
    assert [(each["path"], each["line"]) for each in ran.json["findings"]] == [("notes.txt", 1)]
    assert "q7q7" not in ran.out


@pytest.mark.requirement("SEC-01")
def test_a_hook_that_is_there_is_kept_and_runs_first(ibkit: Run, repository: Path) -> None:
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch was-here\n")
    hook.chmod(0o755)
    refused = ibkit("dev", "hooks", str(repository))
    assert refused.code == 2
    assert "--force" in refused.err
    assert ibkit("dev", "hooks", str(repository), "--force").code == 0
    assert ibkit("dev", "hooks", str(repository)).code == 0, "ours may be written anew"
    (repository / "a.txt").write_text("a\n")
    _git(repository, "add", "a.txt")
    _git(repository, "commit", "-q", "-m", "a")
    assert (repository / "was-here").exists()


@pytest.mark.requirement("SEC-01")
def test_patterns_are_passed_over_where_the_repository_says_so(ibkit: Run, repository: Path) -> None:
    (repository / "tests").mkdir()
    (repository / "tests/private_x.pem").write_text(PEM)
    (repository / ".ibkitscan").write_text("# keys of tests\ntests/*\n")
    _git(repository, "add", "-f", ".")
    assert ibkit("security", "scan", str(repository), "--staged").code == 0


@pytest.mark.requirement("SEC-01")
def test_outside_of_a_repository_it_says_so(ibkit: Run, home: Path) -> None:
    (home / "plain").mkdir()
    for command in (("security", "scan"), ("dev", "hooks")):
        ran = ibkit(*command, str(home / "plain"))
        assert ran.code == 2
        assert "no git repository" in ran.err


@pytest.mark.requirement("SEC-01")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_this_repository_tracks_no_secret(ibkit: Run) -> None:
    ran = ibkit("security", "scan", str(ROOT))
    assert ran.code == 0, ran.out


@pytest.mark.requirement("SEC-01")
@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("a.py", PEM, "private key"),
        ("a.json", json.dumps(PEM), "private key"),
        ("a.md", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzb21lb25lIn0.c2lnbmF0dXJlLW9mLWl0", "JSON web token"),
        ("a.cfg", "key = AKIAABCDEFGHIJKLMNOP", "cloud access key"),
        ("a.sh", "ghp_" + "a1" * 18, "access token of a code host"),
        ("a.py", 'db = "postgresql://me:t0psecretword@db.example/x"', "password in an address"),
        ("compose.yaml", "      ENCRYPTION_KEY: " + "0f" * 32, "value of a secret setting"),
        ("a.env", "export IB_ACCESS_TOKEN_SECRET_LIVE='abcdefghijk'", "value of a secret setting"),
    ],
)
def test_each_kind_of_text_is_found(path: str, text: str, rule: str) -> None:
    assert [(each.line, each.rule) for each in scan_text(path, f"first\n{text}\n".encode())] == [(2, rule)]


@pytest.mark.requirement("SEC-01")
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", 'if "-----BEGIN PRIVATE KEY-----" in text:'),
        ("a.env", "ENCRYPTION_KEY=\nJWT_SECRET=${JWT_SECRET}\nDB_PASSWORD=<your password>\nSMTP_PASSWORD=change-me"),
        ("a.py", "JWT_SECRET = secrets.token_hex(32)"),
        ("a.md", "postgresql://user:password@host/name"),
        ("public.pem", "-----BEGIN PUBLIC KEY-----\n" + "A" * 64),
    ],
)
def test_what_only_looks_like_one_is_not(path: str, text: str) -> None:
    assert list(scan_text(path, text.encode())) == []


def _faulty(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with a dozen faults."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    text = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    keys = home / "config/keys"
    keys.mkdir(parents=True, mode=0o700)
    for name, content in (("private_signature.pem", text), ("private_encryption.pem", PEM)):
        (keys / name).write_text(content)
        (keys / name).chmod(0o600)
    old = time.time() - 400 * 86_400
    os.utime(keys / "private_encryption.pem", (old, old))
    (home / STATE).mkdir(parents=True)
    (home / STATE).chmod(0o755)
    (home / ".env").write_text(
        "\n".join(
            (
                "IBKR_AUTH_METHOD=gateway",
                "IBKR_ENV=live",
                "IBKR_API_ENDPOINT=http://localhost:5000",
                "LOG_LEVEL=debug",
                "HOST=0.0.0.0",
                "ALLOWED_CLIENT_IPS=0.0.0.0/0",
                "ENCRYPTION_KEY=" + "00" * 32,
                "ENCRYPTION_IV=" + "0f" * 12,
                "DATABASE_URL=postgresql://postgres:postgres@localhost/ibkit",
            )
        )
    )
    (home / ".env").chmod(0o600)
    _git(home, "init", "-q")
    _git(home, "add", "-f", "config/keys/private_signature.pem")


@pytest.mark.requirement("SEC-06")
def test_each_of_the_prepared_faults_is_a_finding(ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _faulty(home, monkeypatch)
    ran = ibkit("security", "audit", "--json")
    assert ran.code == 1
    found = [each["name"] for each in ran.json["findings"]]
    assert sorted(found) == sorted(
        [
            "file modes",
            "ENCRYPTION_KEY",
            "ENCRYPTION_IV",
            "DATABASE_URL",
            "IBKR_API_ENDPOINT",
            "ALLOWED_CLIENT_IPS",
            "HOST",
            "LOG_LEVEL",
            "IB_SIGNATURE_KEY_PATH",
            "IB_ENCRYPTION_KEY_PATH",
            "IBKR_READ_ONLY",
            "git",
        ]
    )
    assert ran.json["score"] == 0
    assert all(each["remedy"] for each in ran.json["findings"])
    text = ibkit("security", "audit")
    assert text.code == 1
    assert "postgres:postgres" not in text.out + ran.out


@pytest.mark.requirement("SEC-06")
def test_a_clean_installation_has_none(ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prime = dh.parse_params_pem((KEYS / "dhparam.pem").read_text()).prime
    monkeypatch.setattr(primes, "search", lambda bits, progress: progress(1) or prime)  # it has tests of its own
    assert ibkit("keys", "generate").code == 0
    assert ibkit("init", "--method", "oauth1a", "--yes").code == 0
    ran = ibkit("security", "audit", "--json")
    assert (ran.code, ran.json["score"], ran.json["findings"]) == (0, 100, [])
    assert stat.S_IMODE((home / STATE / "security-audit.json").stat().st_mode) == 0o600


@pytest.mark.requirement("SEC-06")
def test_an_old_library_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "version", lambda name: "3.9.1" if name == "aiohttp" else "99.0")
    (found,) = auditing._libraries()
    assert "aiohttp 3.9.1" in found.said


@pytest.mark.requirement("SEC-06")
def test_doctor_reminds_of_an_audit_long_ago(ibkit: Run, home: Path) -> None:
    def marked() -> str:
        checks = ibkit("doctor", "--offline", "--json").json["checks"]
        return next(check["mark"] for check in checks if check["name"] == "security audit")

    assert marked() == "SKIP"
    assert ibkit("security", "audit").code == 0
    assert marked() == "OK"
    kept = home / STATE / "security-audit.json"
    kept.write_text(json.dumps({"at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(), "score": 90, "findings": 1}))
    assert marked() == "WARN"
    kept.write_text("rubbish")
    assert marked() == "WARN"
