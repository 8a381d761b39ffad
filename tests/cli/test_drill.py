"""`ibkit drill recovery`: a backup is restored beside what is in use, looked at, and thrown away."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.bootstrap.vaults import open_vault
from ibkit.model import Secret
from ibkit.settings import load
from ibkit.vault import Place

Make = Callable[..., Any]
STATE = Path(".local/state/ibkit")
KEY, OTHER = "4be1c09f77d2a35e" * 4, "a35e8860f1b3c95d" * 4
pytestmark = pytest.mark.requirement("OPS-04")


def keyed(ib: Any, key: str) -> None:
    env = ib.home / ".env"
    lines = [line for line in env.read_text().splitlines() if not line.startswith("ENCRYPTION_KEY")]
    env.write_text("\n".join([*lines, f'ENCRYPTION_KEY="{key}"', ""]))


def used(ib: Any) -> None:
    """An order, an entry of the audit log and a sealed secret."""
    keyed(ib, KEY)
    words = ("orders", "place", "buy", "1", "SPY", "--limit-price", "100", "--key", "order-a-0000000001", "--yes")
    assert ib.run(*words).code == 0

    async def seal() -> None:
        settings = load(environ={"HOME": str(ib.home)}, directory=ib.home)
        async with open_vault(settings) as vault:
            await vault.put(Place("u1", "credential/1", "access_token_secret"), Secret("drilled-canary-5512"))

    anyio.run(seal)


def drills(ib: Any) -> list[dict[str, Any]]:
    return [each for each in ib.run("audit", "list", "--json").json if each["action"] == "drill.recovery"]


def test_the_newest_backup_is_tried_recorded_and_leaves_nothing(bench: Make) -> None:
    ib = bench()
    used(ib)
    assert ib.run("backup").code == 0
    before = {
        path: path.read_bytes() for path in (ib.home / STATE).glob("journal.db*") if path.suffix in (".db", ".mark")
    }
    posted = len(ib.posted())

    ran = ib.run("drill", "recovery", "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert (told["secrets"], told["counts"]["sealed"]) == (1, 1)
    assert told["audit_entries"] >= 1
    assert told["counts"]["intents"] == told["now"]["intents"] == 1
    assert [entry["result"] for entry in drills(ib)] == ["ok"]
    assert not list((ib.home / STATE).glob("drill-*"))
    assert {path: path.read_bytes() for path in before} == before
    assert len(ib.posted()) == posted
    assert ib.run("drill", "recovery").out.count("each opens") == 1


def test_with_another_key_than_the_backups_it_fails_and_is_recorded(bench: Make) -> None:
    ib = bench()
    used(ib)
    assert ib.run("backup").code == 0
    keyed(ib, OTHER)
    ran = ib.run("drill", "recovery")
    assert ran.code == 1, ran.out
    assert "vault:" in ran.err
    assert "Traceback" not in ran.err
    assert not list((ib.home / STATE).glob("drill-*"))
    keyed(ib, KEY)
    assert [entry["result"] for entry in drills(ib)] == ["failed"]


def test_a_damaged_backup_and_a_broken_chain_are_told(bench: Make) -> None:
    ib = bench()
    assert "ibkit backup" in ib.run("drill", "recovery").err
    used(ib)
    with closing(sqlite3.connect(ib.home / STATE / "ibkit.db")) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE audit_entries SET actor = 'somebody else' WHERE rowid = 1")
        connection.commit()
    assert ib.run("backup", "b.ibkit-backup").code == 0
    ran = ib.run("drill", "recovery", "b.ibkit-backup")
    assert (ran.code, "audit log:" in ran.err) == (1, True), ran.err

    with zipfile.ZipFile(ib.home / "b.ibkit-backup") as whole, zipfile.ZipFile(ib.home / "c.ibkit-backup", "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, whole.read(name)[: -10 if name.endswith(".db") else None])
    damaged = ib.run("drill", "recovery", "c.ibkit-backup")
    assert damaged.code == 1, damaged.err
    assert "Traceback" not in damaged.err
