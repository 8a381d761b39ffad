"""`ibkit backup` and `ibkit restore`: what comes back, what is kept, and that nothing is sent twice over it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ibkit.clock import SystemClock
from ibkit.store.lease import Lease

Run = Callable[..., Any]
Make = Callable[..., Any]
STATE = Path(".local/state/ibkit")
PASSPHRASE = "five words nobody has guessed"
pytestmark = pytest.mark.requirement("OPS-03")


def _buy(bench: Any, price: str, key: str) -> Any:
    return bench.run("orders", "place", "buy", "1", "SPY", "--limit-price", price, "--key", key, "--yes", "--json")


def _at_broker(bench: Any) -> int:
    return len(bench.simulator.control("GET", "ledger"))


def _rows(path: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


@pytest.fixture
def secret_file(home: Path) -> Path:
    file = home / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o600)
    return file


@pytest.mark.requirement("OPS-07")
def test_a_restored_backup_sends_nothing_under_a_key_that_it_has_forgotten(bench: Make) -> None:
    """Order A, backup, order B, restore: B's key is unknown to the journal, and its order stands at the broker."""
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("backup", "monday.ibkit-backup").code == 0
    assert _buy(ib, "101", "order-b-0000000001").code == 0
    mark = (ib.home / STATE / "journal.db.mark").read_bytes()
    assert len(ib.posted()) == _at_broker(ib) == 2

    restored = ib.run("restore", "monday.ibkit-backup", "--yes")
    assert restored.code == 0, restored.err
    assert "ibkit db accept-restored" in restored.out
    assert len(_rows(ib.home / STATE / "journal.db", "intents")) == 1, "B is forgotten"
    assert (ib.home / STATE / "journal.db.mark").read_bytes() == mark, "the mark stays as high as it was"

    again = _buy(ib, "101", "order-b-0000000001")
    assert again.code != 0
    assert "restored" in again.err
    assert len(ib.posted()) == _at_broker(ib) == 2, "nothing was sent"

    assert ib.run("db", "accept-restored", "--yes").code == 0
    assert _buy(ib, "102", "order-c-0000000001").code == 0, "and on it goes, once a person has said so"
    assert _at_broker(ib) == 3


def test_a_restore_asks_for_a_person_even_where_nothing_was_sent_since(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("backup", "b.ibkit-backup").code == 0
    assert ib.run("restore", "b.ibkit-backup", "--yes").code == 0
    assert _buy(ib, "101", "order-b-0000000001").code != 0
    assert len(ib.posted()) == 1


def test_create_wipe_restore_brings_journal_and_records_back(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("db", "upgrade").code == 0
    state = ib.home / STATE
    before = {table: _rows(state / "journal.db", table) for table in ("intents", "intent_events", "sends")}
    schema = _rows(state / "ibkit.db", "schema_versions")
    made = ib.run("backup", str(ib.home / "b"), "--json")
    assert made.code == 0
    assert set(made.json["manifest"]["files"]) >= {"journal.db", "records.db", "settings.json"}
    shutil.rmtree(state)

    assert ib.run("restore", str(ib.home / "b"), "--yes").code == 0

    assert {table: _rows(state / "journal.db", table) for table in before} == before
    assert _rows(state / "ibkit.db", "schema_versions") == schema
    assert stat.S_IMODE((state / "journal.db").stat().st_mode) == 0o600
    assert not (state / "journal.db.mark").exists()
    assert _buy(ib, "101", "order-b-0000000001").code != 0, "a used journal without a mark is a copy"


def test_what_is_replaced_is_kept(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("backup", "b").code == 0
    assert _buy(ib, "101", "order-b-0000000001").code == 0
    done = ib.run("restore", "b", "--yes", "--json")
    aside = Path(done.json["aside"])
    assert len(_rows(aside / "journal.db", "intents")) == 2
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700
    left = {path.name for path in (ib.home / STATE).iterdir()}
    assert not [name for name in left if name.startswith(".ibkit-backup")], "no rubbish stays"


def test_a_backup_is_private_holds_no_secret_and_is_not_replaced(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("backup", "b").code == 0
    assert stat.S_IMODE((ib.home / "b").stat().st_mode) == 0o600
    secrets = [ib.simulator.users[0].access_token, ib.simulator.users[0].access_token_secret]
    with zipfile.ZipFile(ib.home / "b") as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        settings = json.loads(archive.read("settings.json"))
    assert not [secret for secret in secrets if secret.encode() in everything]
    assert settings["settings"]["IB_CONSUMER_KEY"] == ib.simulator.users[0].consumer_key
    assert "IB_ACCESS_TOKEN_SECRET" in settings["left_out"]
    before = (ib.home / "b").read_bytes()
    again = ib.run("backup", "b")
    assert again.code == 2
    assert "there already" in again.err
    assert (ib.home / "b").read_bytes() == before


def test_secrets_go_sealed_and_come_back_where_they_are_missing(ibkit: Run, home: Path, secret_file: Path) -> None:
    (home / ".env").write_text("ENCRYPTION_KEY=" + "ab" * 32 + "\nIB_SIGNATURE_KEY_PATH=keys/private_signature.pem\n")
    (home / ".env").chmod(0o600)
    (home / "keys").mkdir(mode=0o700)
    key = home / "keys/private_signature.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    key.chmod(0o600)
    words = ("--with-secrets", "--passphrase-file", str(secret_file))
    assert ibkit("backup", "b", *words).code == 0
    whole = (home / "b").read_bytes()
    assert b"c2VjcmV0" not in whole
    assert b"abababab" not in whole
    text = key.read_text()
    key.unlink()
    (home / ".env").write_text((home / ".env").read_text() + "PORT=8001\n")

    done = ibkit("restore", "b", *words, "--yes", "--json")

    assert done.code == 0, done.err
    assert key.read_text() == text
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PORT=8001" in (home / ".env").read_text(), "a file that is there and differs is left alone"
    (left,) = done.json["secrets_left"]
    assert "PORT" not in Path(left["of_backup"]).read_text()
    secret_file.write_text("another five words of chance\n")
    wrong = ibkit("restore", "b", *words, "--yes", "--json")
    assert wrong.code == 3
    assert wrong.error["code"] == "E-ENC"


@pytest.mark.requirement("VLT-06")
def test_a_vault_and_an_audit_log_come_back_whole_on_an_empty_machine(
    ibkit: Run, home: Path, secret_file: Path
) -> None:
    """With the keys that are kept in files of their own: without them neither opens nor vouches for anything."""
    vault_key = home / "vault" / "keys"
    lines = f"ENCRYPTION_KEY_PROVIDER=file\nENCRYPTION_KEY_FILE={vault_key}\n"
    (home / ".env").write_text(lines)
    (home / ".env").chmod(0o600)
    assert ibkit("vault", "generate-keys", "--write").code == 0
    assert ibkit("vault", "status").code == 0
    head = ibkit("audit", "export", "--head")
    assert head.code == 0
    words = ("--with-secrets", "--passphrase-file", str(secret_file))
    assert ibkit("backup", "b", *words).code == 0
    key = vault_key.read_text()
    shutil.rmtree(home / STATE)
    shutil.rmtree(vault_key.parent)

    done = ibkit("restore", "b", *words, "--yes", "--json")

    assert done.code == 0, done.err
    assert (vault_key.read_text(), stat.S_IMODE(vault_key.stat().st_mode)) == (key, 0o600)
    assert ibkit("vault", "status").code == 0
    signing = home / STATE / "audit" / "signing_key.pem"
    assert stat.S_IMODE(signing.stat().st_mode) == 0o600
    (home / "head").write_text(head.out)
    checked = ibkit("audit", "verify", "--head", str(home / "head"))
    assert checked.code == 0, checked.out


def test_secrets_of_one_name_and_those_that_cannot_be_written_lie_beside_what_was_replaced(
    ibkit: Run, home: Path, secret_file: Path
) -> None:
    first, second, third = (home / folder / "private.pem" for folder in ("signing", "opening", "gone"))
    for path in (first, second, third):
        path.parent.mkdir(mode=0o700)
        path.write_text(f"-----BEGIN PRIVATE KEY-----\n{path.parent.name}\n-----END PRIVATE KEY-----\n")
        path.chmod(0o600)
    names = ("IB_SIGNATURE_KEY_PATH", "IB_ENCRYPTION_KEY_PATH", "IB_DH_PARAM_PATH")
    (home / ".env").write_text(
        "".join(f"{name}={path}\n" for name, path in zip(names, (first, second, third), strict=True))
    )
    words = ("--with-secrets", "--passphrase-file", str(secret_file))
    assert ibkit("backup", "b", *words).code == 0
    first.write_text("another")
    second.write_text("another")
    shutil.rmtree(third.parent)
    third.parent.write_text("no folder can be made here")

    done = ibkit("restore", "b", *words, "--yes", "--json")

    assert done.code == 0, done.err
    left = {each["path"]: Path(each["of_backup"]) for each in done.json["secrets_left"]}
    assert {Path(path) for path in left} == {first, second, third}
    for path, beside in left.items():
        assert Path(path).parent.name in beside.read_text()
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert first.read_text() == "another"


def test_a_passphrase_file_that_others_can_read_is_refused(ibkit: Run, home: Path, secret_file: Path) -> None:
    secret_file.chmod(0o644)
    ran = ibkit("backup", "b", "--with-secrets", "--passphrase-file", str(secret_file), "--json")
    assert ran.error["code"] == "E-KEY-PERMS"
    assert not (home / "b").exists()


def test_a_restore_waits_for_no_worker_and_no_open_journal(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("backup", "b").code == 0
    before = (ib.home / STATE / "journal.db").read_bytes()

    async def with_worker() -> int:
        async with Lease(ib.home / STATE / "worker", "login-x").hold(clock=SystemClock(), what="a watch"):
            # In a thread: the command has a loop of its own, for the audit log.
            return await anyio.to_thread.run_sync(lambda: ib.run("restore", "b", "--yes").code)

    assert anyio.run(with_worker) == 5
    with closing(sqlite3.connect(ib.home / STATE / "journal.db")) as other:
        other.execute("SELECT count(*) FROM intents").fetchone()
        ran = ib.run("restore", "b", "--yes")
        assert ran.code == 5
        assert "in use" in ran.err
    assert (ib.home / STATE / "journal.db").read_bytes() == before
    assert ib.run("restore", "b", "--yes").code == 0


def test_a_backup_is_made_while_another_writes(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    with closing(sqlite3.connect(ib.home / STATE / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE lineage SET changes = changes + 1000")
        made = ib.run("backup", "b", "--json")
        other.execute("ROLLBACK")
    assert made.code == 0
    assert 0 < made.json["manifest"]["changes"] < 1000, "what is not committed is not in it"


@pytest.mark.parametrize("part", ["whole", "member", "manifest", "cut", "none"])
def test_damage_is_found_before_anything_is_replaced(bench: Make, part: str) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    file = ib.home / "b"
    assert ib.run("backup", "b").code == 0
    match part:
        case "whole":
            file.write_bytes(b"this is no backup")
        case "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "none":
            file.unlink()
        case _:
            with zipfile.ZipFile(file) as archive:
                parts = {name: archive.read(name) for name in archive.namelist()}
            if part == "member":
                parts["journal.db"] = parts["journal.db"][:-1] + b"\x01"
            else:
                parts["manifest.json"] = parts["manifest.json"].replace(b"journal.db", b"../../evil")
            with zipfile.ZipFile(file, "w") as archive:
                for name, data in parts.items():
                    archive.writestr(name, data)
    before = (ib.home / STATE / "journal.db").read_bytes()
    for command in (("backup", "verify", "b"), ("restore", "b", "--yes")):
        ran = ib.run(*command)
        assert ran.code in (1, 2)
        assert "damaged" in ran.err or "not found" in ran.err
    assert (ib.home / STATE / "journal.db").read_bytes() == before
    assert not list((ib.home / STATE).glob("before-restore-*"))


def test_a_backup_of_a_newer_ibkit_is_refused(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("backup", "b").code == 0
    with zipfile.ZipFile(ib.home / "b") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts["manifest.json"])
    manifest["versions"]["journal"] = 99
    parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(ib.home / "b", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    ran = ib.run("restore", "b", "--yes")
    assert ran.code == 1
    assert "newer ibkit" in ran.err


def test_a_damaged_journal_is_not_backed_up_as_if_it_were_good(bench: Make) -> None:
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    journal = ib.home / STATE / "journal.db"
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    data = bytearray(journal.read_bytes())
    data[4096 * 3 : 4096 * 4] = os.urandom(4096)
    journal.write_bytes(data)
    ran = ib.run("backup", "b")
    assert ran.code == 1
    assert not (ib.home / "b").exists()


def test_list_shows_the_newest_first_and_keep_removes_the_oldest(bench: Make) -> None:
    ib = bench()
    folder = ib.home / STATE / "backups"
    folder.mkdir(parents=True, mode=0o700)
    for day in ("01", "02", "03"):
        assert ib.run("backup", str(folder / f"ibkit-202611{day}T000000Z.ibkit-backup")).code == 0
    (folder / "ibkit-20261104T000000Z.ibkit-backup").write_bytes(b"rubbish")
    shown = ib.run("backup", "list", "--json").json
    assert [Path(each["path"]).name[6:14] for each in shown] == ["20261104", "20261103", "20261102", "20261101"]
    assert shown[0]["damaged"]
    assert shown[1]["damaged"] is None
    made = ib.run("backup", "--keep", "2", "--json")
    assert len(made.json["removed"]) == 3
    assert len(list(folder.iterdir())) == 2
    assert ib.run("backup", "--keep", "0").code == 2
