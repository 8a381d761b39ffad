"""`ibkit db upgrade` and `ibkit rollback`: a backup before the first step, and the way back to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import text

from ibkit.clock import SystemClock
from ibkit.store.lease import Lease
from ibkit.store.migrating import Migration
from ibkit.store.migrations import JOURNAL, RECORDS, TRADES

Make = Callable[..., Any]
STATE = Path(".local/state/ibkit")
pytestmark = pytest.mark.requirement("OPS-07")


def _add(table: str) -> Callable[[Any], None]:
    def step(connection: Any) -> None:
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN of_the_next_release TEXT"))

    return step


@contextmanager
def next_release() -> Iterator[None]:
    """This ibkit as if its next release had one more step in the journal and one in the trade records."""
    journal = (*JOURNAL, Migration(JOURNAL[-1].version + 1, "the next release", _add("intents")))
    trades = (*TRADES, Migration(TRADES[-1].version + 1, "the next release", _add("trades")))
    with pytest.MonkeyPatch.context() as patch:
        for module in ("store.migrations", "store.journal_file", "bootstrap.backups"):
            patch.setattr(f"ibkit.{module}.JOURNAL", journal)
        patch.setitem(RECORDS, "trades", trades)
        yield


def _buy(bench: Any, price: str, key: str) -> Any:
    return bench.run("orders", "place", "buy", "1", "SPY", "--limit-price", price, "--key", key, "--yes", "--json")


def _rows(ib: Any, table: str = "intents", file: str = "journal.db") -> list[Any]:
    with closing(sqlite3.connect(ib.home / STATE / file)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def _backups(ib: Any) -> list[Path]:
    return sorted((ib.home / STATE / "backups").glob("before-upgrade-*"))


def used(bench: Make) -> Any:
    """One order in the journal, and every part of the database."""
    ib = bench()
    assert _buy(ib, "100", "order-a-0000000001").code == 0
    assert ib.run("db", "upgrade").code == 0
    assert _backups(ib) == [], "nothing was older"
    return ib


def test_an_upgrade_and_back_again_loses_nothing_and_sends_nothing(bench: Make) -> None:
    ib = used(bench)
    before, schema = _rows(ib), _rows(ib, "schema_versions", "ibkit.db")
    with next_release():
        refused = _buy(ib, "101", "order-b-0000000001")
        assert refused.code == 1
        assert "ibkit db upgrade" in refused.err
        assert ib.run("db", "status").code == 1
        assert _rows(ib) == before, "nobody is brought forward by the way"

        done = ib.run("db", "upgrade", "--json")

        assert done.code == 0, done.err
        assert done.json["parts"]["journal"] == {"before": 3, "after": 4}
        assert done.json["parts"]["trades"] == {"before": 2, "after": 3}
        assert [str(path) for path in _backups(ib)] == [done.json["backup"]]
        assert [row[:-1] for row in _rows(ib)] == before, "and no row is lost"
        assert ib.run("db", "status").code == 0
        assert _buy(ib, "101", "order-b-0000000001").code == 0

        back = ib.run("rollback", "--yes", "--json")

        assert back.code == 0, back.err
        assert _rows(ib) == before
        assert _rows(ib, "schema_versions", "ibkit.db") == schema
        assert len(_rows(ib)) == 1
        assert len(list(Path(back.json["aside"]).glob("journal.db"))) == 1, "what was replaced is kept"
    # From here on the earlier release.
    again = _buy(ib, "101", "order-b-0000000001")
    assert again.code != 0
    assert "restored" in again.err
    assert len(ib.posted()) == 2, "the rolled back journal sends nothing"
    assert ib.run("db", "accept-restored", "--yes").code == 0
    assert _buy(ib, "102", "order-c-0000000001").code == 0
    acts = [each["action"] for each in ib.run("audit", "list", "--json").json]
    assert "backup.rollback" in acts


def test_without_a_backup_of_before_and_without_an_upgrade_since_it_refuses(bench: Make) -> None:
    ib = used(bench)
    assert ib.run("backup").code == 0
    ran = ib.run("rollback", "--yes", "--json")
    assert ran.error["code"] == "E-NOT-FOUND"
    assert "no backup of before an upgrade" in ran.error["message"]
    with next_release():
        assert ib.run("db", "upgrade").code == 0
        assert ib.run("rollback", "--yes").code == 0
        ran = ib.run("rollback", "--yes", "--json")
        assert ran.error["code"] == "E-NOT-FOUND"
        assert "nothing to roll back" in ran.error["message"]


def test_neither_way_is_gone_while_a_worker_runs(bench: Make) -> None:
    ib = used(bench)

    async def beside_a_worker(*words: str) -> Any:
        async with Lease(ib.home / STATE / "worker", "login-x").hold(clock=SystemClock(), what="a watch"):
            return await anyio.to_thread.run_sync(lambda: ib.run(*words))

    with next_release():
        before = _rows(ib)
        ran = anyio.run(beside_a_worker, "db", "upgrade")
        assert (ran.code, "in use" in ran.err) == (5, True)
        assert (_rows(ib), _backups(ib)) == (before, [])
        assert ib.run("db", "upgrade").code == 0
        after = _rows(ib)
        ran = anyio.run(beside_a_worker, "rollback", "--yes")
        assert (ran.code, "in use" in ran.err) == (5, True)
        assert _rows(ib) == after


def test_who_does_not_say_yes_changes_nothing(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ib = used(bench)
    with next_release():
        assert ib.run("db", "upgrade").code == 0
        after = _rows(ib)
        assert ib.run("rollback").code == 2, "nobody can be asked"
        monkeypatch.setattr("ibkit.cli.commands.rollback.confirmed", lambda question: False)
        ran = ib.run("rollback")
        assert (ran.code, "Nothing was changed." in ran.err) == (5, True)
        assert _rows(ib) == after


def test_an_older_backup_that_is_restored_is_brought_forward(bench: Make) -> None:
    ib = used(bench)
    assert ib.run("backup", "b").code == 0
    with next_release():
        assert ib.run("restore", "b", "--yes").code == 0
        assert ib.run("db", "status").code == 0
        assert len(_rows(ib)) == 1
        refused = _buy(ib, "101", "order-b-0000000001")
        assert "restored" in refused.err


def test_a_backup_that_cannot_be_made_keeps_the_upgrade_from_being_done(bench: Make) -> None:
    ib = used(bench)
    before = _rows(ib)
    folder = ib.home / STATE / "backups"
    folder.write_text("no folder can be made here")
    with next_release():
        ran = ib.run("db", "upgrade")
    assert ran.code == 1, ran.out
    assert _rows(ib) == before


def test_the_three_newest_of_before_an_upgrade_are_kept_and_the_daily_ones_push_none_out(bench: Make) -> None:
    ib = used(bench)
    folder = ib.home / STATE / "backups"
    folder.mkdir(mode=0o700)
    for day in (1, 2, 3):
        (folder / f"before-upgrade-2026010{day}T000000Z.ibkit-backup").write_bytes(b"old")
    with next_release():
        assert ib.run("db", "upgrade").code == 0
        assert len(_backups(ib)) == 3
        assert ib.run("backup", "--keep", "1").code == 0
        assert len(_backups(ib)) == 3
