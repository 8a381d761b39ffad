"""`ibkit vault generate-keys`."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkit.settings import load
from ibkit.settings.template import template

Run = Callable[..., Any]
OLD, OLDER = "0a" * 32, "0b" * 32
pytestmark = pytest.mark.requirement("VLT-01")


def _key(text: str) -> str:
    found = re.search(r"^ENCRYPTION_KEY=([0-9a-f]{64})$", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_two_runs_print_two_keys_and_write_neither(ibkit: Run, home: Path) -> None:
    first, second = ibkit("vault", "generate-keys"), ibkit("vault", "generate-keys")
    assert _key(first.out) != _key(second.out)
    assert re.search(r"^# ENCRYPTION_IV=[0-9a-f]{24} ", first.out, re.MULTILINE)
    assert [path.name for path in home.iterdir()] == [".local"]  # the audit log: that keys were made, and no key
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert not any(_key(run.out).encode() in written for run in (first, second))


@pytest.mark.parametrize("before", [None, "IBKR_ENV=paper", template(), "ENCRYPTION_KEY=\n"])
def test_write_puts_one_key_into_a_file_of_our_own(ibkit: Run, home: Path, before: str | None) -> None:
    file = home / ".env"
    if before is not None:
        file.write_text(before)
        file.chmod(0o644)
    ran = ibkit("vault", "generate-keys", "--write")
    assert ran.code == 0
    key = _key(file.read_text())
    assert key not in ran.out + ran.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = load(environ={}, directory=home, require_method=False)
    assert settings.vault.key is not None
    assert settings.vault.key.reveal() == key
    if before:
        kept = [line for line in before.splitlines() if "ENCRYPTION_KEY" not in line]
        assert all(line in file.read_text().splitlines() for line in kept)
    assert sorted(path.name for path in home.iterdir()) == [".env", ".local"]
    assert not any(key.encode() in path.read_bytes() for path in (home / ".local").rglob("*") if path.is_file())


def test_a_key_that_is_there_is_kept_without_force(ibkit: Run, home: Path) -> None:
    (home / ".env").write_text(f"ENCRYPTION_KEY={OLD}\n")
    ran = ibkit("vault", "generate-keys", "--write")
    assert ran.code == 1
    assert "--force" in ran.err
    assert (home / ".env").read_text() == f"ENCRYPTION_KEY={OLD}\n"


def test_force_keeps_the_old_keys_readable(ibkit: Run, home: Path) -> None:
    (home / ".env").write_text(f'ENCRYPTION_KEY="{OLD}"\nENCRYPTION_KEY_PREVIOUS={OLDER}\n')
    assert ibkit("vault", "generate-keys", "--write", "--force").code == 0
    text = (home / ".env").read_text()
    assert f"ENCRYPTION_KEY_PREVIOUS={OLD},{OLDER}" in text
    assert _key(text) != OLD
    (home / ".env").write_text(f"ENCRYPTION_KEY={OLD}")
    assert ibkit("vault", "generate-keys", "--write", "--force").code == 0
    assert f"ENCRYPTION_KEY_PREVIOUS={OLD}\n" in (home / ".env").read_text()


def test_a_file_that_cannot_be_written_is_named(ibkit: Run, home: Path) -> None:
    (home / ".env").mkdir()
    ran = ibkit("vault", "generate-keys", "--write", "--json")
    assert ran.code == 3
    assert ran.error["code"] == "E-ENV-FILE"
