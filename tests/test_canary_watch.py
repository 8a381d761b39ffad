"""The watch over secrets can fail: what is planted is found, in every spelling and packing, by whoever left it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from canaries import KEYS, PASSPHRASE, PLANTED, Canaries, contents_of

pytestmark = [pytest.mark.requirement("VLT-15", "MON-13"), pytest.mark.plants_secrets]

KINDS = {
    **PLANTED,
    "key passphrase": PASSPHRASE,
    "private key": (KEYS / "simpaper1/private_signature.pem").read_text().splitlines()[3],
    "access token secret": "k5Jt+canary/QhVn0ZrT8wYbLq3XcPdF7mGsEaUoIx==",
    "live session token": base64.b64encode(bytes(range(200, 220))).decode(),
    "bearer token": "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjE0fQ.c2lnbmF0dXJlLWNhbmFyeS0xNA",
    "session cookie": "5f8e0canary14aa77b3",
    "user's password": 'canary ü "quoted" \\ password',
}
ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "hex": lambda value: value.encode().hex(),
    "URL-encoded": lambda value: quote(value, safe=""),
    "JSON-escaped": lambda value: json.dumps(value)[1:-1],
}
OTHERS: dict[str, Callable[[str], str]] = {
    "backwards": lambda value: value[::-1],
    "hex in capitals": lambda value: value.encode().hex().upper(),
    "Basic": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
    "within base64": lambda value: base64.b64encode(f"ab{value}cd".encode()).decode(),
}


def _zip(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logs/worker.log", data)
    return made.getvalue()


def _tar(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        entry = tarfile.TarInfo("state/x.log")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def _database(data: bytes) -> bytes:
    """A row of a database in WAL mode as it lies in the log before any checkpoint."""
    path = Path("canary.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO t VALUES (?)", [data.decode()])
        connection.commit()
        written = path.with_name("canary.db-wal").read_bytes()
    path.unlink()
    return written


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "log": lambda data: b"2026-11-27 INFO sent " + data + b" and went on\n",
    "database's WAL": _database,
    "bundle": _zip,
    "archive": _tar,
    "log put aside": gzip.compress,
    "backup of a backup": lambda data: _zip(_tar(data)),
}


def kept() -> Canaries:
    found = Canaries()
    for name, value in KINDS.items():
        found.add(name, value)
    return found


def test_fourteen_kinds_in_six_encodings_are_found_in_every_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    canaries, missed, tried = kept(), [], 0
    assert len(KINDS) == 14
    assert len(ENCODINGS) == 6
    for kind, value in KINDS.items():
        for how, encode in (ENCODINGS | OTHERS).items():
            for packing, pack in PACKINGS.items():
                folder = tmp_path / "one"
                folder.mkdir(exist_ok=True)
                (folder / "file").write_bytes(pack(encode(value).encode()))
                found = {name for _, data in contents_of(folder) for name in canaries.found_in_bytes(data)}
                tried += 1
                if kind not in found:
                    missed.append((kind, how, packing))
    assert tried == 14 * (6 + len(OTHERS)) * len(PACKINGS)
    assert missed == []


def test_what_holds_none_of_them_is_silent(tmp_path: Path) -> None:
    texts = "".join(f"order {number} of account DU1000001 filled at {number / 100:.2f}\n" for number in range(20_000))
    (tmp_path / "a.log").write_text(texts)
    (tmp_path / "random").write_bytes(os.urandom(2_000_000))
    assert not [name for _, data in contents_of(tmp_path) for name in kept().found_in_bytes(data)]


@pytest.mark.parametrize("before", range(9))
def test_a_secret_is_found_wherever_it_begins(before: int) -> None:
    """Blocks of eight bytes are compared: each place within a block, and the last bytes of the data."""
    canaries = kept()
    for value in KINDS.values():
        data = b"." * before + value.encode()
        assert canaries.found_in_bytes(data)
        assert not canaries.found_in_bytes(data[:-1])


LEAKY = """
import logging, pathlib, subprocess, sys
import pytest
from ibkit.model import Secret

VALUE = "a-secret-of-the-test-4711"

def test_clean(tmp_path):
    Secret(VALUE)
    (tmp_path / ".env").write_text("JWT_SECRET=" + VALUE)
    (tmp_path / "a.log").write_text("nothing to see")
    logging.getLogger("ibkit.x").debug("order placed")

def test_leaks_into_a_file(tmp_path):
    (tmp_path / "a.log").write_text("sent " + Secret(VALUE).reveal().encode().hex())

def test_leaks_into_the_log():
    logging.getLogger("ibkit.x").debug("sent", extra={"body": Secret(VALUE).reveal()})

def test_leaks_to_stdout():
    print(Secret(VALUE).reveal())

@pytest.mark.plants_secrets
def test_plants_on_purpose():
    print(Secret(VALUE).reveal())
"""
LEFT = """
def test_a_process_leaves_a_secret_that_no_test_is_blamed_for(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    (folder / "service.log").write_text("%s")
"""


def suite(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of tests of their own, watched as ours are."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    plants_secrets\n")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTEST_DEBUG_TEMPROOT": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "canary_watch", "-p", "no:cacheprovider", *options]
    return subprocess.run([*command, "test_it.py"], cwd=folder, env=environ, capture_output=True, text=True)


def test_a_test_that_leaves_a_secret_behind_fails_by_its_name(tmp_path: Path) -> None:
    ran = suite(tmp_path, LEAKY)
    assert ran.returncode == 1, ran.stdout
    for name, where in (("into_a_file", "a.log"), ("into_the_log", "the log"), ("to_stdout", "captured stdout")):
        assert f"ERROR test_it.py::test_leaks_{name}" in ran.stdout, ran.stdout
        assert f"{where}: a secret (str, 25 long)" in ran.stdout
    assert ran.stdout.count("ERROR test_it.py") == 3
    assert "5 passed, 3 errors" in ran.stdout


def test_what_is_left_when_all_is_over_fails_the_whole_run(tmp_path: Path) -> None:
    """By two processes, as `make test` is: what they left is looked at together."""
    options = ("-n", "2")
    ran = suite(tmp_path, LEFT % base64.b64encode(PLANTED["JWT_SECRET"].encode()).decode(), *options)
    assert ran.returncode == 1, ran.stdout
    assert "1 passed" in ran.stdout
    assert "service.log: JWT_SECRET" in ran.stdout
    clean = suite(tmp_path, LEFT % "nothing", *options)
    assert clean.returncode == 0, clean.stdout
    assert "secrets: 0 found of " in clean.stdout
