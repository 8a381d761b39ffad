"""`ibkit user`: from the first owner to a token that ends, with the passwords on stdin."""

from __future__ import annotations

import io
import json
import re
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.users import open_users
from ibkit.clock import Clock, ManualClock, SystemClock
from ibkit.errors import AuthError, ConfigError
from ibkit.model import Secret
from ibkit.settings import load
from ibkit.users import Principal
from ibkit.users.totp import STEP_S, code_at
from user_desks import START

pytestmark = pytest.mark.requirement("VLT-10")
Run = Callable[..., Any]
PASSWORD = "violet lamps near the harbour"
ENV = "ENCRYPTION_KEY=4be1c09f77d2a35e8860f1b3c95d7e24a6f0185b3d9c72e4410affe2d35c8b91\n"


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    found = ManualClock(START)
    with using(Edges(clock=found)):
        yield found


@pytest.fixture
def say(ibkit: Run, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Run:
    """`ibkit user …` with lines on stdin."""

    def run(*arguments: str, lines: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        ran = ibkit("user", *arguments)
        for line in filter(None, lines.splitlines()):
            assert line not in ran.out + ran.err
        return ran

    return run


@pytest.fixture
def anna(say: Run) -> str:
    assert say("add", "anna", "--role", "owner", lines=PASSWORD + "\n").code == 0
    return "anna"


def principal(home: Path, token: str, clock: Clock) -> Principal:
    """Whom the service would see."""

    async def look() -> Principal:
        settings = load(environ={"HOME": str(home)}, directory=home, require_method=False)
        async with open_users(settings, clock=clock) as desk:
            return await desk.sign_ins.authenticate(Secret(token), address="192.0.2.1")

    return anyio.run(look)


def test_a_user_is_added_shown_and_kept_apart_from_others(say: Run, anna: str) -> None:
    assert say("add", "Bob", lines=PASSWORD).out == "Added bob (viewer).\n"
    rows = say("list", "--json").json
    assert [(row["name"], row["role"], row["enabled"], row["second_step"]) for row in rows] == [
        ("anna", "owner", True, False),
        ("bob", "viewer", True, False),
    ]
    assert "anna  owner   enabled  set" in say("list").out
    again = say("add", "ANNA", "--json", lines=PASSWORD)
    assert (again.code, again.error["code"]) == (2, "E-VALIDATION")


def test_with_no_users_it_says_how_to_begin(say: Run) -> None:
    assert say("list").out == "No users. `ibkit user add NAME --role owner` adds the first.\n"
    assert say("list", "--json").json == []


@pytest.mark.parametrize("lines", ["", "\n", "tiny7tiny7\n", "passwordpassword\n"])
def test_a_poor_password_adds_nobody(lines: str, say: Run) -> None:
    ran = say("add", "anna", lines=lines)
    assert ran.code == 2
    assert ran.err.startswith("E-VALIDATION: Invalid request: password: ")
    assert say("list", "--json").json == []


def test_a_password_is_no_argument(say: Run) -> None:
    for arguments in (("add", "anna", PASSWORD), ("add", "anna", "--password", PASSWORD), ("password", "a", PASSWORD)):
        assert say(*arguments).code == 2
    assert say("list", "--json").json == []


def test_two_passwords_that_differ_add_nobody(say: Run, ibkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([PASSWORD, PASSWORD + "!"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})())
    ran = ibkit("user", "add", "anna")
    assert "the two are not the same" in ran.err
    assert PASSWORD not in ran.err
    assert say("list", "--json").json == []


@pytest.mark.requirement("GWY-02")
def test_a_token_is_good_until_its_user_is_disabled(say: Run, anna: str, home: Path, clock: ManualClock) -> None:
    say("add", "tom", "--role", "trader", lines=PASSWORD)
    ran = say("token", "tom")
    token = ran.out.strip()
    assert token.count(".") == 2
    found = principal(home, token, clock)
    assert (found.name, sorted(found.scopes), found.signed_in_at) == ("tom", ["orders:paper", "read"], None)

    assert say("disable", "tom").out == "Disabled tom: tokens, sessions and keys are over.\n"

    with pytest.raises(AuthError):
        principal(home, token, clock)
    assert say("token", "tom").code == 2
    assert say("enable", "tom", "--json").json["enabled"] is True
    with pytest.raises(AuthError):
        principal(home, token, clock)
    assert principal(home, say("token", "tom").out.strip(), clock).name == "tom"


@pytest.mark.requirement("GWY-02")
def test_a_token_for_a_service_at_a_simulator_is_of_this_hour_and_needs_no_simulator(
    ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ibkit sim` opens its market at an hour of its own; people sign in at the real one."""

    def gone(_url: str) -> None:
        raise ConfigError("no simulator answers")

    monkeypatch.setattr("ibkit.bootstrap.clients._hour_of_simulator", gone)
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("APP_CLOCK", "http://127.0.0.1:1")
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    assert ibkit("user", "add", "anna", "--role", "owner").code == 0
    token = ibkit("user", "token", "anna").out.strip()
    assert principal(home, token, SystemClock()).name == "anna"
    assert ibkit("user", "list").code == 0


def test_only_a_sign_in_gives_a_token_with_the_live_scope(say: Run, anna: str, home: Path, clock: ManualClock) -> None:
    refused = say("token", "anna", "--scope", "orders:live")
    assert (refused.code, "--sign-in" in refused.err) == (2, True)
    ran = say("token", "anna", "--sign-in", "--json", "--hours", "1.5", lines=PASSWORD + "\n")
    assert ran.json["scopes"] == ["admin", "credentials", "orders:live", "orders:paper", "read"]
    assert ran.json["expires_at"] == (START + timedelta(hours=1.5)).isoformat()
    found = principal(home, ran.json["token"], clock)
    assert (found.signed_in_at, found.token_id) == (START, ran.json["token_id"])
    wrong = say("token", "anna", "--sign-in", "--json", lines="not the password\n")
    assert (wrong.code, wrong.out, wrong.error["code"]) == (4, "", "E-APP-AUTH")


def test_a_token_may_be_narrow_and_short_and_not_longer_than_a_month(say: Run, anna: str) -> None:
    ran = say("token", "anna", "--scope", "read", "--hours", "0.5", "--json")
    assert ran.json["scopes"] == ["read"]
    for hours in ("0", "-1", "745", "nan"):
        assert say("token", "anna", "--hours", hours).code == 2, hours
    assert say("token", "anna", "--scope", "everything").code == 2
    assert say("token", "nobody", "--json").error["code"] == "E-NOT-FOUND"


def test_a_new_password_ends_tokens(say: Run, anna: str, home: Path, clock: ManualClock) -> None:
    token = say("token", "anna").out.strip()
    assert say("password", "nobody", lines=PASSWORD).code == 2
    assert say("password", "anna", lines="four other words in a row\n").code == 0
    with pytest.raises(AuthError):
        principal(home, token, clock)
    again = say("token", "anna").out.strip()
    assert say("sign-out", "anna").out == "anna is signed out everywhere.\n"
    with pytest.raises(AuthError):
        principal(home, again, clock)
    assert say("token", "anna", "--sign-in", lines=PASSWORD + "\n").code == 4
    assert say("token", "anna", "--sign-in", lines="four other words in a row\n").code == 0


def test_a_role_is_changed_but_the_last_owner_stays(say: Run, anna: str, home: Path, clock: ManualClock) -> None:
    ran = say("role", "anna", "viewer")
    assert (ran.code, "last enabled owner" in ran.err) == (5, True)
    assert say("disable", "anna").code == 5
    say("add", "olga", "--role", "owner", lines=PASSWORD)
    token = say("token", "anna").out.strip()
    assert say("role", "anna", "viewer").out == "anna is viewer now.\n"
    assert sorted(principal(home, token, clock).scopes) == ["read"]
    assert say("role", "anna", "king").code == 2


@pytest.mark.requirement("GWY-02")
def test_a_key_is_made_shown_without_its_secret_and_revoked(
    say: Run, anna: str, home: Path, clock: ManualClock
) -> None:
    made = say(
        *("key", "add", "anna", "--label", "robot", "--scope", "orders:paper", "--scope", "read"),
        *("--days", "30", "--account", "du1234567", "--json"),
    ).json
    found = principal(home, made["key"], clock)
    assert (found.api_key_id, sorted(found.accounts or ())) == (made["key_id"], ["DU1234567"])
    listed = say("key", "list", "anna")
    assert made["key_id"] in listed.out
    assert "orders:paper read  DU1234567  2026-12-27 15:00 UTC  2026-11-27 15:00 UTC" in listed.out
    assert made["key"].rsplit("_", 1)[1] not in listed.out + say("key", "list", "--json").out
    assert say("key", "revoke", made["key"]).code == 2
    assert say("key", "revoke", made["key_id"]).out == f"Revoked {made['key_id']}.\n"
    with pytest.raises(AuthError):
        principal(home, made["key"], clock)
    assert say("key", "revoke", made["key_id"], "--json").error["code"] == "E-NOT-FOUND"
    assert "revoked 2026-11-27" in say("key", "list").out


def test_a_key_beyond_its_users_role_is_not_made(say: Run, anna: str) -> None:
    say("add", "vera", lines=PASSWORD)
    ran = say("key", "add", "vera", "--label", "x", "--scope", "orders:paper", "--json")
    assert (ran.code, ran.error["code"]) == (5, "E-FORBIDDEN")
    assert say("key", "list").out == "No keys.\n"
    assert say("key", "add", "anna", "--label", "x", "--scope", "read", "--days", "400").code == 2


@pytest.mark.requirement("FUT-06")
def test_a_second_step_is_set_up_used_and_taken_away(
    say: Run, anna: str, home: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say("totp", "anna", "--json").error["code"] == "E-ENC-KEY"
    (home / ".env").write_text(ENV)
    (home / ".env").chmod(0o600)
    assert "it does not fit" in say("totp", "anna", lines="000000\n").err
    # The code is asked for after the secret was shown, as a person does it.
    secrets: list[Secret[bytes]] = []

    def code() -> str:
        return code_at(secrets[-1], int(clock.now().timestamp()) // STEP_S)

    _watch_secrets(monkeypatch, secrets)
    monkeypatch.setattr("ibkit.cli.commands.user.ask_code", code)
    ran = say("totp", "anna", "--json")
    assert (ran.code, len(ran.json["recovery_codes"])) == (0, 10)
    assert "otpauth://totp/ibkit:anna?secret=" in ran.err
    assert say("list", "--json").json[0]["second_step"] is True

    clock.advance(2 * STEP_S)
    assert say("token", "anna", "--sign-in", lines=PASSWORD + "\n").code == 0
    assert say("token", "anna", "--sign-in", lines=PASSWORD + "\n").code == 4  # the same code again
    assert say("totp", "anna", "--off").code == 0
    shown = say("totp", "anna").out
    assert re.findall(r"^  ((?:[a-z2-7]{4}-){6}[a-z2-7]{2})$", shown, re.M)[9:]
    assert say("totp", "anna", "--off").code == 0
    assert say("token", "anna", "--sign-in", lines=PASSWORD + "\n").code == 0


def _watch_secrets(monkeypatch: pytest.MonkeyPatch, secrets: list[Secret[bytes]]) -> None:
    from ibkit.users import keeping

    real = keeping.enrolment_address

    def watched(name: str, secret: Secret[bytes]) -> Secret[str]:
        secrets.append(secret)
        return real(name, secret)

    monkeypatch.setattr(keeping, "enrolment_address", watched)


@pytest.mark.requirement("MON-11")
def test_what_was_refused_is_listed_by_user_and_address_without_what_was_typed(
    say: Run, anna: str, home: Path, clock: ManualClock
) -> None:
    assert say("failures").out == "No failures.\n"
    say("token", "anna", "--sign-in", lines="not the password\n")
    clock.advance(60)
    with pytest.raises(AuthError):
        principal(home, "nonsense", clock)
    found = say("failures", "--json").json
    assert [(row["user"], row["address"], row["kind"]) for row in found] == [
        (None, "192.0.2.1", "token"),
        ("anna", "local", "password"),
    ]
    assert "2026-11-27 15:00 UTC  anna  local      password" in say("failures").out
    clock.advance(86_401)
    assert say("failures").out == "No failures.\n"
    assert len(say("failures", "--days", "2", "--json").json) == 2
    assert say("failures", "--days", "31").code == 2


def test_the_key_that_signs_is_made_once_for_its_owner_alone(say: Run, anna: str, home: Path) -> None:
    say("token", "anna")
    file = home / ".local/state/ibkit/jwt-secret"
    made = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    say("token", "anna")
    assert file.read_text() == made


@pytest.mark.requirement("CFG-06")
def test_a_short_secret_in_the_settings_is_refused_by_name(say: Run, home: Path) -> None:
    (home / ".env").write_text("JWT_SECRET=short\n")
    (home / ".env").chmod(0o600)
    ran = say("list", "--json")
    assert ran.code == 3
    assert "JWT_SECRET" in json.dumps(ran.error)
    assert '"short"' not in ran.err


@pytest.mark.requirement("OPS-03")
def test_a_restored_backup_brings_no_token_back_that_was_ended_after_it(
    say: Run, ibkit: Run, home: Path, anna: str, clock: ManualClock
) -> None:
    ended = say("token", anna).out.strip()
    assert principal(home, ended, clock).name == anna
    assert ibkit("backup", "b").code == 0
    assert say("sign-out", anna).code == 0
    later = say("token", anna).out.strip()
    assert principal(home, later, clock).name == anna
    assert say("sign-out", anna).code == 0

    done = ibkit("restore", "b", "--yes")

    assert done.code == 0, done.err
    assert "Users sign in anew" in done.out
    for token in (ended, later):
        with pytest.raises(AuthError):
            principal(home, token, clock)
    assert principal(home, say("token", anna).out.strip(), clock).name == anna
    entries = ibkit("audit", "list", "--action", "backup.", "--json").json
    assert [(entry["action"], entry["object"]) for entry in entries] == [("backup.restore", "b")]


def test_who_is_invited_gets_a_link_that_is_good_once_and_for_a_day(
    say: Run, ibkit: Run, anna: str, home: Path, clock: ManualClock
) -> None:
    made = say("invite", "Tom", "--role", "trader", "--json").json
    assert (made["name"], made["role"], made["has_password"]) == ("tom", "trader", False)
    assert made["expires_at"].startswith(f"{START + timedelta(hours=24):%Y-%m-%dT%H:%M}")
    assert say("invite", "tom").code == 2
    said = say("link", "tom")
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/welcome#\S+\n", said.out), said.out
    newer = said.out.strip().partition("#")[2]

    def use(link: str) -> bool:
        async def work() -> bool:
            settings = load(environ={"HOME": str(home)}, directory=home, require_method=False)
            async with open_users(settings, clock=clock) as desk:
                try:
                    await desk.sign_ins.use_link(Secret(link), Secret(PASSWORD), address="192.0.2.1")
                except AuthError:
                    return False
                return True

        return anyio.run(work)

    assert not use(made["link"])  # another was made since
    assert use(newer)
    assert not use(newer)
    late = say("link", "tom", "--json").json["link"]
    clock.advance(86_401)
    assert not use(late)
    entries = ibkit("audit", "list", "--count", "20", "--json").json
    told = [(entry["action"], entry["result"]) for entry in reversed(entries)]
    assert told == [("users.add", "ok"), ("users.invite", "ok"), ("users.link", "ok"), ("users.link", "ok")]
    assert late not in json.dumps(entries)


@pytest.mark.requirement("MON-09")
def test_each_command_that_changes_a_user_stands_in_the_audit_log_once(say: Run, ibkit: Run, anna: str) -> None:
    say("add", "tom", "--role", "trader", lines=PASSWORD + "\n")
    key = say("key", "add", "tom", "--label", "k", "--scope", "read", "--json").json
    say("key", "revoke", key["key_id"])
    token = say("token", "tom").out.strip()
    say("role", "tom", "viewer")
    say("password", "tom", lines="four other words in a row\n")
    say("sign-out", "tom")
    say("totp", "tom", "--off")
    say("disable", "tom")
    say("enable", "tom")
    assert say("disable", "anna").code != 0  # the last owner
    say("role", "tom", "nothing")  # not understood, not attempted

    entries = ibkit("audit", "list", "--count", "100", "--json").json
    told = [(entry["action"], entry["result"], entry["details"].get("name")) for entry in reversed(entries)]
    assert told == [
        ("users.add", "ok", "anna"),
        ("users.add", "ok", "tom"),
        ("api_keys.add", "ok", "tom"),
        ("api_keys.revoke", "ok", None),
        ("users.token", "ok", "tom"),
        ("users.role", "ok", "tom"),
        ("users.password", "ok", "tom"),
        ("users.sign_out", "ok", "tom"),
        ("users.second_step", "ok", "tom"),
        ("users.disable", "ok", "tom"),
        ("users.enable", "ok", "tom"),
        ("users.disable", "refused", "anna"),
    ]
    text = json.dumps(entries)
    assert key["key"].rpartition("_")[2] not in text
    assert token not in text
    assert PASSWORD not in text
