"""`ibkit vault status` and `ibkit vault rotate`, with the key in each place it may come from."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import secrets
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, select

from ibkit.bootstrap.users import VaultSealing
from ibkit.clock import SystemClock
from ibkit.model import Secret
from ibkit.store.alert_channels import SqlChannels
from ibkit.store.credentials import SqlCredentials
from ibkit.store.migrating import for_engine
from ibkit.store.records import open_records
from ibkit.store.users import SqlUsers
from ibkit.store.vault import SealedText, SqlVault
from ibkit.store.vault_tables import SEALED
from ibkit.trading.alerting import Channel, ChannelKind
from ibkit.users.principal import Role
from ibkit.users.user import User
from ibkit.vault import KeyRing, Place
from vaults import NEW, OLD, OTHER, draft, ring_of, sealer

Run = Callable[..., Any]
pytestmark = pytest.mark.requirement("VLT-05")


def database(home: Path) -> Path:
    return home / ".local" / "state" / "ibkit" / "ibkit.db"


def within(home: Path, ring: KeyRing, work: Callable[[SqlVault], Any]) -> Any:
    async def run() -> Any:
        records = open_records(Secret(f"sqlite:///{database(home)}"), parts=("vault",))
        try:
            async with SqlVault(records, lambda: ring, clock=SystemClock(), random=secrets.token_bytes) as vault:
                return await work(vault)
        finally:
            await records.close()

    return anyio.run(run)


def fill(home: Path, ring: KeyRing, count: int = 5) -> None:
    async def work(vault: SqlVault) -> None:
        for number in range(count):
            await vault.put(Place("u1", f"record/{number}", "field"), Secret(f"secret {number}"))

    within(home, ring, work)


def opens(home: Path, ring: KeyRing) -> list[str]:
    """Everything that is sealed, opened, in order."""

    def rows(connection: Connection) -> list[SealedText]:
        found = connection.execute(select(SEALED).order_by(SEALED.c.sealed_id)).all()
        return [SealedText(row.sealed_id, Place(row.user_id, row.record, row.field), row.text) for row in found]

    async def work(vault: SqlVault) -> list[str]:
        found = await vault.database.read(lambda connection: rows(for_engine(connection)))
        return [vault.text_of(each, ring).reveal() for each in found]

    return within(home, ring, work)


def settings(home: Path, *lines: str) -> Path:
    file = home / ".env"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)
    return file


def keys_in(home: Path) -> tuple[str, list[str]]:
    text = (home / ".env").read_text()
    current = re.search(r"^ENCRYPTION_KEY=(.*)$", text, re.MULTILINE)
    previous = re.search(r"^ENCRYPTION_KEY_PREVIOUS=(.*)$", text, re.MULTILINE)
    assert current is not None
    return current[1], [] if previous is None else previous[1].split(",")


ALL = [f"secret {number}" for number in range(5)]


def test_rotate_makes_a_key_keeps_the_old_one_readable_and_tells_the_count(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))
    ran = ibkit("vault", "rotate")
    assert ran.code == 0, ran.err
    assert "5 secrets sealed anew, 5 verified" in ran.out
    new, previous = keys_in(home)
    assert (new != OLD, previous) == (True, [OLD])
    assert opens(home, ring_of(new)) == ALL
    assert new not in ran.out + ran.err
    again = ibkit("vault", "rotate", "--json").json
    newest, previous = keys_in(home)
    assert (again["rewrapped"], again["verified"], again["unreadable"]) == (5, 5, [])
    assert again["forgotten"] == [ring_of(new).current_id]
    assert previous == [new, OLD]
    assert opens(home, ring_of(newest)) == ALL


def test_a_rotation_that_was_interrupted_is_ended_with_the_key_it_began_with(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={NEW}", f"ENCRYPTION_KEY_PREVIOUS={OLD}")
    fill(home, ring_of(OLD))
    shown = ibkit("vault", "status").out
    assert "5 secrets are sealed with another key" in shown
    refused = ibkit("vault", "rotate", "--key-file", str(home / "new_key"), "--json")
    assert refused.error["code"] == "E-VALIDATION"
    (home / "new_key").write_text(OTHER)
    refused = ibkit("vault", "rotate", "--key-file", str(home / "new_key"), "--json")
    assert (refused.code, refused.error["code"]) == (3, "E-ENC-KEY")
    ran = ibkit("vault", "rotate", "--json")
    assert ran.code == 0
    assert (ran.json["key_id"], ran.json["rewrapped"]) == (ring_of(NEW).current_id, 5)
    assert keys_in(home) == (NEW, [OLD])
    assert opens(home, ring_of(NEW)) == ALL


def test_a_key_is_taken_from_a_file_or_from_stdin(ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))
    (home / "new_key").write_text(f"{NEW}\n")
    assert ibkit("vault", "rotate", "--key-file", str(home / "new_key")).code == 0
    assert keys_in(home) == (NEW, [OLD])
    for bad, code in (("short", "E-ENC-KEY"), ("", "E-ENC-KEY"), ("0" * 64, "E-ENC-KEY")):
        monkeypatch.setattr("sys.stdin", io.StringIO(bad))
        assert ibkit("vault", "rotate", "--key-file", "-", "--json").error["code"] == code
    monkeypatch.setattr("sys.stdin", io.StringIO(OTHER))
    assert ibkit("vault", "rotate", "--key-file", "-").code == 0
    assert keys_in(home) == (OTHER, [NEW, OLD])
    assert opens(home, ring_of(OTHER)) == ALL


def test_a_key_of_the_environment_is_not_replaced_and_nothing_is_sealed_anew(
    ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENCRYPTION_KEY", OLD)
    fill(home, ring_of(OLD))
    ran = ibkit("vault", "rotate", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-ENC-KEY")
    assert "ENCRYPTION_KEY_PREVIOUS" in ran.error["remedy"][0]
    assert opens(home, ring_of(OLD)) == ALL


@pytest.mark.requirement("VLT-04")
def test_another_key_ends_with_3_and_changes_nothing_until_the_old_one_is_listed(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))
    settings(home, f"ENCRYPTION_KEY={NEW}")
    with sqlite3.connect(database(home)) as before:
        kept = [line for line in before.iterdump() if "audit" not in line]
    before.close()
    for command in ("status", "rotate"):
        ran = ibkit("vault", command, "--json")
        assert (ran.code, ran.error["code"]) == (3, "E-ENC")
        assert ran.error["message"].startswith("Encryption failed")
        assert "ENCRYPTION_KEY_PREVIOUS" in ran.error["remedy"][0]
    with sqlite3.connect(database(home)) as after:
        assert [line for line in after.iterdump() if "audit" not in line] == kept  # that it was tried is told there
    after.close()
    assert keys_in(home) == (NEW, [])
    assert ibkit("config", "show").code == 0  # others work
    settings(home, f"ENCRYPTION_KEY={NEW}", f"ENCRYPTION_KEY_PREVIOUS={OLD}")
    assert ibkit("vault", "status").code == 0
    assert opens(home, ring_of(NEW, OLD)) == ALL


@pytest.mark.requirement("VLT-04")
def test_without_a_key_no_database_is_made(ibkit: Run, home: Path) -> None:
    ran = ibkit("vault", "status", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-ENC-KEY")
    assert not database(home).exists()


def test_secrets_that_open_with_no_key_are_named_and_the_others_are_sealed_anew(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))
    with sqlite3.connect(database(home)) as connection:
        connection.execute("UPDATE sealed SET text = 'v1.x.x.x.x' WHERE record = 'record/3'")
    connection.close()
    ran = ibkit("vault", "rotate", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-ENC")
    assert "record/3 field" in ran.error["message"]
    assert (ran.json["rewrapped"], ran.json["verified"]) == (4, 4)


@pytest.mark.requirement("VLT-14")
def test_status_tells_of_keys_and_credentials_that_are_due(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")

    async def work(vault: SqlVault) -> None:
        credentials = SqlCredentials(vault)
        await credentials.activate((await credentials.put(draft())).credential_id)

    within(home, ring_of(OLD), work)
    found = ibkit("vault", "status", "--json").json
    assert (found["old_credentials"], found["to_rewrap"]) == ([], 0)
    assert [(key["rotation_due"], key["sealed"]) for key in found["keys"]] == [(False, 7)]
    with sqlite3.connect(database(home)) as connection:
        connection.execute("UPDATE vault_keys SET since = '2026-01-01T00:00:00.000000+00:00'")
        connection.execute("UPDATE credentials SET changed_at = '2026-01-01T00:00:00.000000+00:00'")
    connection.close()
    found = ibkit("vault", "status", "--json").json
    assert [each["connection_id"] for each in found["old_credentials"]] == ["main"]
    assert [key["rotation_due"] for key in found["keys"]] == [True]
    settings(home, f"ENCRYPTION_KEY={OLD}", "ENCRYPTION_IV=0102030405060708090a0b0c")
    shown = ibkit("vault", "status").out
    assert "ENCRYPTION_IV is set, and nothing of the old format is left" in shown
    assert "-> Remove it. If anything was of that format, `ibkit vault rotate`" in shown
    assert "older than 90 days (KEY_ROTATION_DAYS)" in shown
    assert "The credentials of u1, main, are" in shown


@pytest.mark.requirement("VLT-06")
def test_a_key_file_is_written_rotated_and_read_by_the_other_commands(ibkit: Run, home: Path) -> None:
    file = home / "keys" / "vault.key"
    settings(home, "ENCRYPTION_KEY_PROVIDER=file", f"ENCRYPTION_KEY_FILE={file}")
    ran = ibkit("vault", "status", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-ENC-KEY")
    assert "generate-keys --write" in ran.error["remedy"][0]
    assert ibkit("vault", "generate-keys", "--write").code == 0
    first = file.read_text().split()
    assert (len(first), stat.S_IMODE(file.stat().st_mode)) == (1, 0o600)
    assert ibkit("vault", "generate-keys", "--write").code == 1
    fill(home, ring_of(first[0]))
    assert ibkit("vault", "rotate").code == 0
    newest, *rest = file.read_text().split()
    assert rest == first
    assert opens(home, ring_of(newest)) == ALL
    assert "ENCRYPTION_KEY=" not in (home / ".env").read_text()
    assert str(file) in ibkit("vault", "status", "--json").json["source"]


@pytest.mark.requirement("VLT-06")
def test_a_command_that_fails_ends_with_its_exit_status_and_a_new_key_is_put_where_it_looks(
    ibkit: Run, home: Path
) -> None:
    kept = home / "kept_key"
    kept.write_text(OLD)
    settings(home, "ENCRYPTION_KEY_PROVIDER=command", f"ENCRYPTION_KEY_COMMAND=cat {kept}")
    fill(home, ring_of(OLD))
    assert ibkit("vault", "status").code == 0
    ran = ibkit("vault", "rotate", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-ENC-KEY")
    kept.write_text(f"{NEW}\n{OLD}\n")
    assert ibkit("vault", "rotate").code == 0
    assert opens(home, ring_of(NEW)) == ALL
    settings(
        home, "ENCRYPTION_KEY_PROVIDER=command", f"ENCRYPTION_KEY_COMMAND=sh -c 'cat {kept}; cat {kept} >&2; exit 7'"
    )
    ran = ibkit("vault", "status", "--json")
    assert (ran.code, ran.error["code"]) == (3, "E-ENC-KEY")
    assert "exit status 7" in ran.error["message"]
    assert NEW not in ran.err + ran.out


@pytest.mark.requirement("VLT-06", "CFG-03")
@pytest.mark.parametrize(
    ("lines", "code", "named"),
    [
        (["ENCRYPTION_KEY_PROVIDER=file"], "E-CONFIG-PARTIAL", "ENCRYPTION_KEY_FILE"),
        (["ENCRYPTION_KEY_PROVIDER=command"], "E-CONFIG-PARTIAL", "ENCRYPTION_KEY_COMMAND"),
        (["ENCRYPTION_KEY_PROVIDER=aws-kms"], "E-CONFIG-PARTIAL", "ENCRYPTION_KMS_KEY_ID"),
        (["ENCRYPTION_KEY_PROVIDER=keyring", f"ENCRYPTION_KEY={OLD}"], "E-CONFIG-CONFLICT", "ENCRYPTION_KEY"),
        (["ENCRYPTION_KEY_PROVIDER=vault"], "E-CONFIG", "ENCRYPTION_KEY_PROVIDER"),
    ],
)
def test_a_provider_without_what_it_needs_is_a_mistake_of_the_settings(
    ibkit: Run, home: Path, lines: list[str], code: str, named: str
) -> None:
    settings(home, *lines)
    ran = ibkit("vault", "status", "--json")
    assert (ran.code, ran.error["code"]) == (3, code)
    assert named in ran.error["message"]


@pytest.mark.slow
def test_a_rotation_that_is_killed_again_and_again_leaves_every_secret_readable(home: Path) -> None:
    """SIGKILL of real processes, each a little later than the one before, until one ends by itself."""
    count = 220
    settings(home, f"ENCRYPTION_KEY={NEW}", f"ENCRYPTION_KEY_PREVIOUS={OLD}")

    async def work(vault: SqlVault) -> None:
        for number in range(count):
            await vault.put(Place("u1", f"record/{number}", "field"), Secret(f"secret {number}"))

    within(home, ring_of(OLD), work)
    program = "from ibkit.store import rotation; rotation.rotate.__kwdefaults__['batch'] = 20; "
    program += "from ibkit.cli import main; main()"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    everything = [f"secret {number}" for number in range(count)]
    killed_in_the_middle = 0
    wait_for = 1
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "vault", "rotate"],
            cwd=home,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        told = 0
        for line in process.stderr:
            told += "sealed anew" in line
            if told == wait_for:
                process.kill()
                break
        process.stderr.close()
        code = process.wait()
        left = within(home, ring_of(NEW, OLD), lambda vault: vault.pending())
        assert opens(home, ring_of(NEW, OLD)) == everything
        if code == 0:
            break
        assert code == -9
        killed_in_the_middle += 0 < left < count
        wait_for += 1
    assert killed_in_the_middle >= 3
    assert left == 0
    assert opens(home, ring_of(NEW)) == everything


def needed(ibkit: Run) -> dict[str, tuple[int, int, int]]:
    """Key id → how many texts of the vault, second steps and alert channels need it, as `vault status` says."""
    rows = ibkit("vault", "status", "--json").json["keys"]
    return {row["key_id"]: (row["sealed"], row["second_steps"], row["alert_channels"]) for row in rows}


@pytest.mark.requirement("VLT-05", "FUT-06")
def test_second_steps_of_users_open_with_the_new_key_alone(ibkit: Run, home: Path) -> None:
    """Also where JWT_SECRET is not set in production: nothing is signed here."""
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))
    secret = Secret(b"twenty bytes of TOTP")

    async def users(work: Callable[[SqlUsers], Awaitable[User]]) -> User:
        opened = open_records(Secret(f"sqlite:///{database(home)}"), parts=("users",))
        try:
            return await work(SqlUsers(opened))
        finally:
            await opened.close()

    async def add(store: SqlUsers) -> User:
        sealed = VaultSealing(sealer(ring_of(OLD))).seal("a" * 32, secret)
        anna = User(user_id="a" * 32, name="anna", role=Role.TRADER, created_at=datetime(2026, 11, 20, tzinfo=UTC))
        await store.add(dataclasses.replace(anna, totp_secret=sealed))
        return anna

    async def anna(store: SqlUsers) -> User:
        (found,) = await store.users()
        return found

    anyio.run(users, add)
    settings(home, f"ENCRYPTION_KEY={NEW}", f"ENCRYPTION_KEY_PREVIOUS={OLD}", "APP_ENV=production")
    assert needed(ibkit) == {ring_of(NEW).current_id: (0, 0, 0), ring_of(OLD).current_id: (5, 1, 0)}
    assert "6 secrets are sealed with another key than the current one" in ibkit("vault", "status").out
    ran = ibkit("vault", "rotate")

    assert ran.code == 0, ran.err
    assert "1 second steps of users sealed anew" in ran.err
    assert needed(ibkit) == {ring_of(NEW).current_id: (5, 1, 0)}
    assert ibkit("vault", "status", "--json").json["to_rewrap"] == 0
    sealed = anyio.run(users, anna).totp_secret
    assert VaultSealing(sealer(ring_of(NEW))).open("a" * 32, sealed).reveal() == secret.reveal()


@pytest.mark.requirement("VLT-02", "VLT-05")
def test_alert_channels_open_with_the_new_key_alone(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))
    channel = Channel(name="hook", kind=ChannelKind.WEBHOOK, created_at=datetime(2026, 11, 20, tzinfo=UTC))
    address = Secret("https://alerts.example.org/canary")

    async def channels(ring: KeyRing, *, put: bool) -> Secret[str]:
        opened = open_records(Secret(f"sqlite:///{database(home)}"), parts=("alerts",))
        try:
            store = SqlChannels(opened, fixed={}, sealer=sealer(ring))
            if put:
                await store.put(channel, address, None)
            return (await store.address(channel))[0]
        finally:
            await opened.close()

    anyio.run(lambda: channels(ring_of(OLD), put=True))
    assert needed(ibkit) == {ring_of(OLD).current_id: (5, 0, 1)}
    ran = ibkit("vault", "rotate")

    assert ran.code == 0, ran.err
    assert "1 alert channels sealed anew" in ran.err
    assert needed(ibkit) == {ring_of(keys_in(home)[0]).current_id: (5, 0, 1)}
    assert anyio.run(lambda: channels(ring_of(keys_in(home)[0]), put=False)) == address
    anyio.run(lambda: channels(ring_of(OTHER), put=True))  # by a process that cannot learn the new key
    found = ibkit("vault", "status")
    (line,) = [line for line in found.out.splitlines() if line.startswith(ring_of(OTHER).current_id)]
    assert line.split("  ")[-1].split() == ["1"]  # of a key that the vault's own table does not know
    assert "1 secrets are sealed with another key than the current one" in found.out


@pytest.mark.requirement("VLT-05", "FUT-06")
def test_a_second_step_that_opens_with_no_key_is_named_and_holds_up_nothing(ibkit: Run, home: Path) -> None:
    settings(home, f"ENCRYPTION_KEY={OLD}")
    fill(home, ring_of(OLD))

    async def add() -> None:
        opened = open_records(Secret(f"sqlite:///{database(home)}"), parts=("users",))
        try:
            anna = User(user_id="a" * 32, name="anna", role=Role.TRADER, created_at=datetime(2026, 11, 20, tzinfo=UTC))
            sealed = VaultSealing(sealer(ring_of(OTHER))).seal(anna.user_id, Secret(b"twenty bytes of TOTP"))
            await SqlUsers(opened).add(dataclasses.replace(anna, totp_secret=sealed))
        finally:
            await opened.close()

    anyio.run(add)
    ran = ibkit("vault", "rotate", "--json")

    assert (ran.code, ran.error["code"]) == (3, "E-ENC")
    assert "second step of anna" in ran.error["message"]
    assert (ran.json["rewrapped"], ran.json["verified"]) == (5, 5)
    assert opens(home, ring_of(keys_in(home)[0])) == ALL
