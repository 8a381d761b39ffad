"""The backup of the day: made once, looked over before an old one goes, told where it fails."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from ibkit.bootstrap import backups as rooms
from ibkit.bootstrap.alerting import Alerting, open_alerting
from ibkit.bootstrap.daily_backups import DailyBackups
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.settings import Settings, load
from ibkit.store import upgrade_database
from ibkit.store.file_copies import nobody_else
from ibkit.trading.alerting.events import EventKind
from service_desks import served, settings_of

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("OPS-03")]

MORNING = datetime(2026, 11, 27, 6, 30, tzinfo=UTC)


@asynccontextmanager
async def daily(home: Path, **more: str) -> AsyncIterator[tuple[DailyBackups, Alerting, ManualClock]]:
    settings = load(environ={"HOME": str(home), **more}, directory=home, require_method=False)
    settings.state_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
    upgrade_database(settings.database_url.reveal())
    clock = ManualClock(MORNING)
    async with open_alerting(settings) as alerting:
        yield DailyBackups(settings=settings, clock=clock, tell=alerting.tell), alerting, clock


def files(settings: Settings) -> list[str]:
    return sorted(path.name for path in rooms.backups_folder(settings).glob("*.ibkit-backup"))


async def told(alerting: Alerting) -> list[EventKind]:
    """Of the alerts that are open."""
    await alerting.dispatcher.look()
    return [each.event for each in await alerting.incidents.incidents()]


async def test_one_is_made_each_day_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    async with daily(tmp_path, BACKUP_KEEP="2") as (backups, alerting, clock):
        made = await backups.look()
        assert made is not None
        assert rooms.check_backup(made, scratch=tmp_path).made_at == MORNING
        clock.advance(3600)
        assert await backups.look() is None, "there is one of the day"
        for _ in range(3):
            clock.set(clock.now() + timedelta(days=1))
            assert await backups.look() is not None
        assert files(backups.settings) == [
            "ibkit-20261129T073000Z.ibkit-backup",
            "ibkit-20261130T073000Z.ibkit-backup",
        ]
        last = rooms.last_backup(backups.settings)
        assert last is not None
        assert last[1].made_at.day == 30
        assert await told(alerting) == [], "what goes well is told to nobody"


async def test_a_failure_is_told_once_keeps_the_old_ones_and_ends_with_the_next_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daily(tmp_path, BACKUP_KEEP="1") as (backups, alerting, clock):
        assert await backups.look() is not None
        before = files(backups.settings)
        clock.set(MORNING + timedelta(days=1))

        def damaged(*args: object, **more: object) -> None:
            raise StorageError("Database problem: the backup is damaged")

        with monkeypatch.context() as patch:
            patch.setattr(rooms, "check_backup", damaged)
            assert await backups.look() is None
            assert await backups.look() is None
        assert files(backups.settings) == before, "the new one is no good, so the old one stays"
        assert await told(alerting) == [EventKind.BACKUP_FAILED]
        [incident] = await alerting.incidents.incidents()
        assert (incident.count, incident.message) == (
            2,
            "The daily backup failed: Database problem: the backup is damaged",
        )

        assert await backups.look() is not None, "the failure did not count as the backup of the day"
        assert await told(alerting) == [EventKind.BACKUP_MADE], "the failure is over, and people hear of it"
        assert files(backups.settings) != before


async def test_a_damaged_database_is_told_and_not_backed_up(tmp_path: Path) -> None:
    async with daily(tmp_path) as (backups, alerting, _):
        with closing(sqlite3.connect(backups.settings.state_dir / "journal.db")) as journal:
            journal.executescript(
                "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a);"
                "INSERT INTO b VALUES (7)"
            )
        assert await backups.look() is None
        assert files(backups.settings) == []
        assert await told(alerting) == [EventKind.BACKUP_FAILED]


async def test_a_fault_of_ours_is_told_and_takes_nobody_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with daily(tmp_path) as (backups, alerting, _):

        def denied(folder: Path, *, keep: int) -> list[Path]:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(rooms, "prune", denied)
        assert await backups.look() is None
        assert await told(alerting) == [EventKind.BACKUP_FAILED]
        [incident] = await alerting.incidents.incidents()
        assert "Permission denied" in incident.message


async def test_two_processes_make_one_and_a_restore_keeps_both_away(tmp_path: Path) -> None:
    async with daily(tmp_path) as (backups, alerting, _):
        with rooms.one_at_a_time(backups.settings):
            assert await backups.look() is None
        with nobody_else(backups.settings.state_dir):
            assert await backups.look() is None
        assert files(backups.settings) == []
        assert await told(alerting) == [], "another is at it: nothing has failed"

        made = []
        async with anyio.create_task_group() as tasks:
            for _ in range(2):

                async def one() -> None:
                    made.append(await backups.look())

                tasks.start_soon(one)
        assert [each is not None for each in made].count(True) == 1
        assert len(files(backups.settings)) == 1


async def test_the_backup_of_a_person_is_the_one_of_the_day_and_a_file_of_no_use_is_not(tmp_path: Path) -> None:
    async with daily(tmp_path) as (backups, _, clock):
        folder = rooms.backups_folder(backups.settings)
        folder.mkdir(mode=0o700)
        (folder / "ibkit-20261127T010000Z.ibkit-backup").write_bytes(b"cut off")
        assert await backups.look() is not None
        clock.set(MORNING + timedelta(days=1))
        by_hand = folder / "ibkit-20261128T000000Z.ibkit-backup"
        rooms.make_backup(backups.settings, by_hand, now=clock.now(), random=bytes)
        assert await backups.look() is None


async def test_with_backup_keep_0_none_is_made(tmp_path: Path) -> None:
    async with daily(tmp_path, BACKUP_KEEP="0") as (backups, _, clock):
        await backups.run()
        assert (files(backups.settings), clock.monotonic()) == ([], 0.0)


class Hours(ManualClock):
    """Six hours a sleep; the third is the last."""

    sleeps: int = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        if self.sleeps == 4:
            raise EOFError
        self.advance(seconds + 6 * 3600)


async def test_run_looks_again_and_again(tmp_path: Path) -> None:
    async with daily(tmp_path) as (backups, _, _):
        with pytest.raises(EOFError):
            await dataclasses.replace(backups, clock=Hours(MORNING)).run()
        assert [name[6:14] for name in files(backups.settings)] == ["20261127", "20261128"]


def test_a_service_that_watches_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = []

    async def run(self: DailyBackups) -> None:
        began.append(self.settings.state_dir)

    monkeypatch.setattr(DailyBackups, "run", run)
    settings = settings_of(tmp_path)
    with served(settings):
        assert began == [settings.state_dir]
