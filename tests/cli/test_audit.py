"""`ibkit audit`, and what each action leaves in it."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from fakes import START, Plan, stock_ticket
from ibkit.bootstrap import Edges, using
from ibkit.clock import ManualClock
from ibkit.model import Key
from ibkit.store import open_journal
from ibkit.trading.questions import Said
from trading_room import make_room

Make = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def entries(ib: Any, *arguments: str) -> list[dict[str, Any]]:
    ran = ib("audit", "list", "--json", "--count", "1000", *arguments)
    assert ran.code == 0, ran.err
    return list(reversed(ran.json))


def database(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(home / ".local/state/ibkit/ibkit.db", isolation_level=None)


def tampered(home: Path, statement: str) -> None:
    """By somebody who may change the schema, too: an append-only trigger does not stop them."""
    connection = database(home)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    connection.close()


async def _leave_unknown(path: Path, key: str) -> None:
    clock = ManualClock(START)
    async with open_journal(path, clock=clock) as journal:
        journal._busy = set()  # type: ignore[attr-defined]  # what a Room clears; files need no clearing
        room = make_room(clock=clock, journal=journal)
        await room.started()
        room.broker.plans.append(Plan("lost_before"))
        room.broker.read_faults.extend([True] * 1000)
        assert (await room.gateway.submit(stock_ticket(), key=Key(key))).unknown


def _older_copy(journal: Path, make_newer: Callable[[], Any]) -> None:
    copy = journal.with_name("copy.db")
    source, target = sqlite3.connect(journal), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    make_newer()
    for beside in journal.parent.glob("journal.db-*"):
        beside.unlink()
    journal.write_bytes(copy.read_bytes())
    copy.unlink()


@pytest.mark.slow
@pytest.mark.requirement("MON-09")
def test_each_action_done_once_stands_in_the_log_once(bench: Make, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requirement MON-09's check, for every action that there is."""
    ib = bench()
    done: Counter[tuple[str, str]] = Counter()

    def do(action: str, *arguments: str, code: int = 0, result: str = "ok") -> Any:
        """One command: the entries that it adds are this one, and no other of its kind."""
        before = len(entries(ib.run))
        ran = ib.run(*arguments)
        assert ran.code == code, ran.err
        added = [(entry["action"], entry["result"]) for entry in entries(ib.run)[before:]]
        assert added.count((action, result)) == 1, (arguments, added, ran.err)
        done.update(added)
        return ran

    do("vault.generate_key", "vault", "generate-keys")
    do("keys.generate", "keys", "generate", "--kind", "oauth2", "--out", str(home / "keys"))
    do("auth.login", "auth", "login")
    do("auth.test", "auth", "test")
    do("auth.rotate", "auth", "rotate")
    buy = ("orders", "place", "buy", "1", "SPY", "--limit-price", "600", "--yes")
    order = do("orders.place", *buy, "--json").json["order_id"]
    do("orders.modify", "orders", "modify", order, "--limit-price", "599")
    do("orders.cancel", "orders", "cancel", order)

    journal = home / ".local/state/ibkit/journal.db"
    anyio.run(_leave_unknown, journal, "a-lost-order-of-2026")
    do("intents.resolve", "intents", "resolve", "a-lost-order-of-2026", "--note", "cancelled in TWS", "--yes")
    _older_copy(journal, lambda: ib.run(*buy))
    done["orders.place", "ok"] += 1
    do("journal.accept_restored", "db", "accept-restored", "--yes")

    do("kill.press", "kill", "--block-new", "--note", "lunch")
    do("kill.release", "kill", "--release", "--yes")
    do("limits.set", "risk", "set", "max_shares", "20", "--note", "careful", "--account", "DU9")

    validated = do("live.validate", "trade", "validate")
    live = bench(user=2)
    do("live.confirm", "sell-option", "--side", "put", "--live", "--yes-live", "U1", code=5, result="refused")
    do("limits.set", "risk", "set", "max_shares", "900", "--note", "larger", "--by", "ada", result="waiting")
    number = str(entries(ib.run, "--action", "limits.set")[-1]["details"]["number"])
    do("limits.confirm", "risk", "confirm", number, "--by", "bob")
    do("live.confirm", "orders", "cancel", "12345", "--live", "--yes-live", "U3000001", code=5)
    assert live.posted() == []

    bench("order-question-unknown").simulator.advance(600)

    async def yes(*_: Any) -> Said:
        return Said(yes=True, who="ada")

    monkeypatch.setattr("ibkit.cli.person.asker_of", lambda **_: yes)
    do("orders.question", *buy)
    do("audit.export", "audit", "export", "--out", str(home / "log.jsonl"))

    counted = Counter((entry["action"], entry["result"]) for entry in entries(ib.run))
    assert counted == done, (counted - done, done - counted)
    once = {action for (action, _), count in counted.items() if count == 1}
    assert once >= {
        "vault.generate_key",
        "keys.generate",
        "auth.login",
        "auth.test",
        "auth.rotate",
        "orders.modify",
        "intents.resolve",
        "journal.accept_restored",
        "kill.press",
        "kill.release",
        "limits.confirm",
        "live.validate",
        "live.confirm",
        "audit.export",
    }
    assert "Validated on paper" in validated.out
    assert ib.run("audit", "verify").code == 0


@pytest.mark.requirement("MON-09")
def test_an_order_stands_there_with_its_terms_and_its_end(bench: Make) -> None:
    ib = bench()
    placed = ib.run("orders", "place", "buy", "1", "SPY", "--limit-price", "600", "--yes", "--key", "a-key-of-mine-26")
    assert placed.code == 0, placed.err
    again = ib.run("orders", "place", "buy", "1", "SPY", "--limit-price", "600", "--yes", "--key", "a-key-of-mine-26")
    assert again.code == 0, again.err

    (entry,) = entries(ib.run, "--action", "orders.")
    (intent,) = ib.run("intents", "list", "--json").json

    assert (entry["action"], entry["result"], entry["object"]) == ("orders.place", "ok", intent["intent_id"])
    assert entry["actor"].startswith("cli:")
    assert entry["address"] == "local"
    assert entry["details"] == {
        "account": "DU1000001",
        "environment": "paper",
        "key": "a-key-of-mine-26",
        "order": intent["order_id"],
        "purpose": "order",
        "state": "acked",
        "terms": "BUY 1 SPY LMT @ 600 DAY",
    }


@pytest.mark.requirement("MON-09")
def test_an_order_that_our_rules_refuse_stands_there_too(bench: Make) -> None:
    ib = bench()
    assert ib.run("orders", "place", "buy", "999999", "SPY", "--limit-price", "600", "--yes").code == 5

    (entry,) = entries(ib.run, "--action", "orders.place")

    assert (entry["result"], entry["details"]["code"]) == ("refused", "E-RISK")
    assert entry["details"]["control"].startswith("RC-")


@pytest.mark.requirement("MON-09", "OPT-06")
def test_no_order_waits_for_a_log_that_cannot_be_written(bench: Make, home: Path) -> None:
    """Its table is locked by somebody for longer than the command lives: the order goes out, and the log is missed."""
    ib = bench()
    assert ib.run("audit", "verify").code == 0
    connection = database(home)
    connection.execute("DROP TABLE audit_entries")
    connection.close()

    ran = ib.run("orders", "place", "buy", "1", "SPY", "--limit-price", "600", "--yes", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["order_id"]
    assert len(ib.posted()) == 1


@pytest.mark.requirement("MON-09")
def test_without_a_database_an_action_says_that_it_is_in_no_log(
    ibkit: Make, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill switch above all: it stands although nothing could be written beside the journal."""
    (home / "a-file").write_text("")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{home}/a-file/ibkit.db")

    pressed = ibkit("kill", "--note", "now")

    assert pressed.code == 0
    assert "note: kill.press is not in the audit log: Database problem: " in pressed.err
    assert "block-new" in ibkit("kill", "--status").out
    assert ibkit("audit", "list").code == 1


@pytest.mark.requirement("MON-09")
def test_with_no_db_a_sale_says_that_it_is_in_no_log(bench: Make, home: Path) -> None:
    ib = bench()
    ran = ib.run("sell-option", "--side", "put", "--no-db")

    assert ran.code == 0, ran.err
    assert "note: --no-db: what is done here is not in the audit log" in ran.err
    assert entries(ib.run) == []
    assert (home / ".local/state/ibkit/ibkit.db").exists()  # made by the look at the log alone


@pytest.mark.requirement("MON-09", "MON-11")
def test_a_sign_in_that_fails_is_counted(bench: Make) -> None:
    ib = bench("bad-signature")
    assert ib.run("auth", "login").code != 0
    assert ib.run("auth", "test").code != 0

    login, test = entries(ib.run, "--action", "auth.")

    assert (login["action"], login["result"], test["action"], test["result"]) == (
        "auth.login",
        "failed",
        "auth.test",
        "failed",
    )
    assert login["object"] == test["object"]
    assert login["object"].startswith("oauth1a ")
    assert login["details"]["code"].startswith("E-")
    assert test["details"]["failed_at"]


@pytest.mark.requirement("MON-09")
def test_what_was_not_done_is_not_told(ibkit: Make) -> None:
    assert ibkit("risk", "set", "no_such_limit", "1", "--note", "x").code == 2
    assert ibkit("kill", "--release", "--yes").code == 5
    assert ibkit("vault", "generate-keys", "--write").code == 0
    assert ibkit("vault", "generate-keys", "--write").code == 1

    assert [entry["action"] for entry in entries(ibkit)] == ["vault.generate_key"]


@pytest.mark.requirement("MON-09")
def test_no_key_that_was_made_stands_in_the_log(ibkit: Make, home: Path) -> None:
    key = ibkit("vault", "generate-keys", "--json").json["key"]
    assert ibkit("risk", "set", "max_shares", "20", "--note", f"ENCRYPTION_KEY={key}").code == 0

    exported = ibkit("audit", "export").out

    assert key not in exported
    assert "ENCRYPTION_KEY=***" in exported
    assert key.encode() not in (home / ".local/state/ibkit/ibkit.db").read_bytes()


@pytest.mark.requirement("MON-09")
def test_entries_are_listed_by_filters_and_pages(ibkit: Make) -> None:
    for number in range(4):
        assert ibkit("risk", "set", "max_shares", str(number + 1), "--note", "x").code == 0
    assert ibkit("kill", "--note", "x").code == 0

    assert [entry["number"] for entry in entries(ibkit, "--action", "limits.set")] == [1, 2, 3, 4]
    assert entries(ibkit, "--actor", "cli:nobody-of-this-name") == []
    assert entries(ibkit, "--object", "everything")[0]["action"] == "kill.press"
    assert entries(ibkit, "--until", "20200101") == []
    assert len(entries(ibkit, "--since", "20200101")) == 5
    page = ibkit("audit", "list", "--count", "2")
    assert page.out.splitlines()[1].split()[:1] == ["5"]
    assert page.err == "older ones: --before 4\n"
    assert [row.split()[0] for row in ibkit("audit", "list", "--before", "4").out.splitlines()[1:]] == ["3", "2", "1"]
    assert ibkit("audit", "list", "--since", "today").code == 2
    assert ibkit("audit", "list", "--actor", "x").out == "No entries.\n"


@pytest.mark.requirement("MON-10")
def test_a_row_that_was_changed_by_sql_is_named_and_verify_exits_with_1(ibkit: Make, home: Path) -> None:
    """Requirement MON-10's check."""
    for number in range(5):
        assert ibkit("risk", "set", "max_shares", str(number + 1), "--note", "x").code == 0
    whole = ibkit("audit", "verify")
    assert (whole.code, whole.out.splitlines()[0]) == (0, "Whole: entries 1 to 5, 5 looked at.")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database(home).execute("UPDATE audit_entries SET actor = 'cli:eve' WHERE number = 3")

    tampered(home, "UPDATE audit_entries SET actor = 'cli:eve' WHERE number = 3")

    broken = ibkit("audit", "verify")
    assert (broken.code, broken.out.splitlines()[0]) == (1, "BROKEN: entry 3 is changed.")
    told = ibkit("audit", "verify", "--json")
    assert (told.code, told.json["whole"], told.json["entry"], told.json["checked"]) == (1, False, 3, 2)


@pytest.mark.requirement("MON-10")
def test_a_tail_that_was_cut_off_is_found_with_an_earlier_export(ibkit: Make, home: Path) -> None:
    for number in range(3):
        assert ibkit("risk", "set", "max_shares", str(number + 1), "--note", "x").code == 0
    assert ibkit("audit", "export", "--out", "log.jsonl").code == 0
    assert ibkit("audit", "export", "--head", "--out", "head.json").code == 0
    tampered(home, "DELETE FROM audit_entries WHERE number >= 3")

    assert ibkit("audit", "verify").code == 0
    for file in ("log.jsonl", "head.json"):
        found = ibkit("audit", "verify", "--head", file)
        assert (found.code, found.out.split(" (")[0]) == (1, "BROKEN: entry 3 is missing")
        after = ibkit("audit", "verify", "--head", file, "--after-head", "--json")
        assert (after.code, after.json["entry"]) == (1, 3)


@pytest.mark.requirement("MON-10")
def test_old_entries_of_a_doubtful_clock_go_when_a_person_says_so(ibkit: Make, home: Path) -> None:
    assert ibkit("audit", "purge").out == "No entry is due.\n"
    assert ibkit("kill", "--note", "x").code == 0

    with using(Edges(clock=ManualClock(datetime.now(UTC) + timedelta(days=450)))):
        asked = ibkit("audit", "purge")
        gone = ibkit("audit", "purge", "--yes", "--json")

    assert asked.code == 2
    assert "1 are due by a clock of" in asked.err
    assert "--yes: it is needed where nobody can be asked" in asked.err
    assert (gone.code, gone.json) == (0, {"gone": 1})
    (entry,) = entries(ibkit)
    assert (entry["action"], entry["object"], entry["actor"][:4]) == ("audit.purge", "entries up to 1", "cli:")
    assert ibkit("audit", "verify").code == 0


@pytest.mark.requirement("MON-10")
def test_a_head_of_another_machine_needs_its_public_key(ibkit: Make, home: Path) -> None:
    assert ibkit("kill", "--note", "x").code == 0
    assert ibkit("audit", "export", "--head", "--out", "head.json").code == 0
    assert ibkit("audit", "export", "--public-key", "--out", "theirs.pem").code == 0
    keys = home / ".local/state/ibkit/audit"
    keys.rename(home / "elsewhere")

    stranger = ibkit("audit", "verify", "--head", "head.json")
    assert (stranger.code, "a key that is not trusted here" in stranger.out) == (1, True)
    assert ibkit("audit", "verify", "--head", "head.json", "--public-key", "theirs.pem").code == 0
    (keys / "trusted").mkdir(parents=True)
    (keys / "trusted/theirs.pem").write_text((home / "theirs.pem").read_text())
    assert ibkit("audit", "verify", "--head", "head.json").code == 0
    assert (home / "theirs.pem").read_text() == (home / "elsewhere/public_key.pem").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["export", "--head", "--public-key"], 2),
        (["export", "--out", "there"], 2),
        (["verify", "--after-head"], 2),
        (["verify", "--head", "nothing"], 2),
        (["verify", "--head", "there"], 2),
        (["verify", "--public-key", "there"], 3),
    ],
)
def test_what_makes_no_sense_is_refused(ibkit: Make, home: Path, arguments: list[str], code: int) -> None:
    (home / "there").write_text("no head, no key")

    ran = ibkit("audit", *arguments)

    assert ran.code == code, ran.err
    assert ran.err.startswith(("E-VALIDATION: ", "E-KEY-FORMAT: "))
    assert (home / "there").read_text() == "no head, no key"


@pytest.mark.requirement("MON-10")
@pytest.mark.parametrize("spoil", [None, "actor", "cut", "head"])
def test_a_stranger_verifies_an_export_with_twenty_lines(ibkit: Make, home: Path, spoil: str | None) -> None:
    """The program of the guide, with nothing of ibkit: it agrees with what is whole, and with nothing else."""
    page = (ROOT / "docs/guide/audit.md").read_text()
    program = page[page.index("```python\n") + len("```python\n") :]
    program = program[: program.index("```")]
    assert re.findall("^(?:import|from) .*ibkit", program, re.MULTILINE) == []
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    (home / "check.py").write_text(program)
    for number in range(3):
        assert ibkit("risk", "set", "max_shares", str(number + 1), "--note", 'größer\n"ü"').code == 0
    assert ibkit("audit", "export", "--out", "log.jsonl").code == 0
    assert ibkit("audit", "export", "--public-key", "--out", "key.pem").code == 0
    lines = (home / "log.jsonl").read_text().splitlines()
    if spoil == "actor":
        lines[1] = lines[1].replace("cli:", "cli:x")
    elif spoil == "cut":
        del lines[2:4]
    elif spoil == "head":
        head = json.loads(lines[-1])
        head["head"]["at"] = head["head"]["at"].replace("20", "21", 1)
        lines[-1] = json.dumps(head)
    (home / "log.jsonl").write_text("\n".join(lines) + "\n")

    done = subprocess.run(
        [sys.executable, "check.py", "log.jsonl", "key.pem"], cwd=home, capture_output=True, text=True, check=False
    )

    assert (done.returncode == 0) is (spoil is None), done.stderr
    assert ("entries are whole" in done.stdout) is (spoil is None)
