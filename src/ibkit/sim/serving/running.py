"""A simulator that listens: folder, world, clock and faces put together, announced, and taken down again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from ibkit.errors import ConfigError, StorageError
from ibkit.sim.logins.material import ensure_keys, remove_announcement, write_announcement
from ibkit.sim.logins.users import Directory
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.certificates import ensure_certificates
from ibkit.sim.serving.faces import Faces, check_port
from ibkit.sim.serving.server import SimServer
from ibkit.sim.serving.simclock import WorldClock
from ibkit.sim.world import SimConfig, World

__all__ = ["SimOptions", "choose_start", "default_start", "run"]

_NEW_YORK = ZoneInfo("America/New_York")
_MORNING = (10, 30)
_LEFT_AT_LEAST = timedelta(hours=1)
_SAY_EVERY = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOptions:
    """start: the world's first moment; "now", or None for one at which the US market is open."""

    gateway_port: int = 5000
    cloud_port: int = 5001
    host: str = "127.0.0.1"
    folder: Path = Path(".ibkit/sim")
    scenarios: tuple[str, ...] = ("ok",)
    seed: int = 7
    manual: bool = False
    speed: float = 1.0
    start: datetime | Literal["now"] | None = None
    quirks: Quirks = field(default_factory=Quirks)


async def run(options: SimOptions, stop: asyncio.Event, *, say: Callable[[str], None]) -> None:
    """Serve until `stop` is set. Raises E-GW-PORT-TAKEN for a port in use, StorageError for a folder that fails."""
    check_port("gateway", options.host, options.gateway_port)
    check_port("cloud", options.host, options.cloud_port)
    folder = _prepare(options.folder)
    with _alone_in(folder):
        await _run_in(folder, options, stop, say)


async def _run_in(folder: Path, options: SimOptions, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    try:
        remove_announcement(folder)
        if not await _make_keys(folder / "keys", stop, say):
            return
        ensure_certificates(folder, options.host)
        directory = Directory(folder / "keys", seed=options.seed)
    except OSError as error:
        raise _folder_fails(folder, error) from error
    start, why = choose_start(options.start, datetime.now(UTC))
    config = SimConfig(start=start, seed=options.seed, scenarios=options.scenarios, quirks=options.quirks)
    clock = WorldClock(start, speed=options.speed, manual=options.manual)

    def make_world() -> World:
        return World.create(config, directory.logins())

    server = SimServer(make_world, clock)
    # Making the world took a moment; it begins when somebody can see it.
    clock.restart(start)
    faces = Faces(
        server,
        folder=folder,
        host=options.host,
        gateway_port=options.gateway_port,
        cloud_port=options.cloud_port,
    )
    await faces.start()
    try:
        announcement = write_announcement(
            folder,
            directory,
            gateway_url=faces.gateway_url,
            cloud_url=faces.cloud_url,
            control_url=faces.control_url,
        )
        _introduce(say, faces, folder, announcement, options, start, why)
        await stop.wait()
    finally:
        remove_announcement(folder)
        await faces.stop()
    say("Simulator stopped.")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two simulators in one folder would overwrite each other's addresses. The lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # Windows: the ports alone keep two apart
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"Another simulator is running in {folder}",
                remedy="Stop it, or give this one another folder with --dir.",
            ) from error
        yield


class _Stopped(Exception):
    """Somebody pressed Ctrl-C in the middle of the search for a prime."""


async def _make_keys(folder: Path, stop: asyncio.Event, say: Callable[[str], None]) -> bool:
    """Keys for the folder, in a thread so that Ctrl-C is heard; False if it was."""

    def progress(tested: int) -> None:
        if stop.is_set():
            raise _Stopped
        if tested % _SAY_EVERY == 0:
            say(f"  {tested} candidates tested")

    try:
        await asyncio.to_thread(ensure_keys, folder, say, progress)
    except _Stopped:
        say("Stopped before the keys were made.")
        return False
    return True


def _prepare(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _folder_fails(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(
            f"Simulator folder cannot be written: {folder}", remedy="Choose another with --dir, or correct its rights."
        )
    return folder


def _folder_fails(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Simulator folder cannot be used: {folder}: {error.strerror or error}",
        remedy="Choose another with --dir, or correct its rights.",
    )


def choose_start(wanted: datetime | Literal["now"] | None, now: datetime) -> tuple[datetime, str]:
    """The world's first moment, and the reason in words."""
    if wanted == "now":
        return now, "the real time, as asked"
    if wanted is not None:
        return wanted, "as asked"
    return default_start(now)


def default_start(now: datetime) -> tuple[datetime, str]:
    """Now if the US market is open for another hour, else 10:30 New York of the most recent trading day."""
    from ibkit.sim.market.calendar import Calendar

    calendar = Calendar()
    day = now.astimezone(_NEW_YORK).date()
    session = calendar.session(day)
    if session is not None and session[0] <= now <= session[1] - _LEFT_AT_LEAST:
        return now, "the real time: the US market is open"
    for back in range(15):
        candidate = day - timedelta(days=back)
        hour, minute = _MORNING
        morning = datetime(candidate.year, candidate.month, candidate.day, hour, minute, tzinfo=_NEW_YORK)
        if morning <= now and calendar.session(candidate) is not None:
            return morning.astimezone(UTC), "the US market is closed now; --start now forces the real time"
    raise AssertionError("fifteen days without a trading day")


def _introduce(
    say: Callable[[str], None],
    faces: Faces,
    folder: Path,
    announcement: Path,
    options: SimOptions,
    start: datetime,
    why: str,
) -> None:
    """What a person needs to know of a simulator that has just come up."""
    local = start.astimezone(_NEW_YORK)
    moves = "stands still until POST /__sim/clock" if options.manual else f"runs {options.speed:g}x"
    scenarios = ", ".join(options.scenarios)
    say(f"Simulated IBKR, seed {options.seed}, scenario {scenarios}. Not Interactive Brokers; no money is at risk.")
    say(f"  gateway   {faces.gateway_url}   (browser login, API under /v1/api)")
    say(f"  cloud     {faces.cloud_url}   (OAuth 1.0a and 2.0)")
    say(f"  control   {faces.control_url}/__sim/requests")
    say(f"  time      {local:%a %d %b %Y %H:%M} New York, {moves} ({why})")
    say(f"  folder    {folder}")
    say(f"  users     {announcement.name} lists them; settings files are in env/, e.g.")
    say(f"            ibkit --env-file {folder / 'env' / 'simpaper1-oauth1a.env'} status")
    say("Ready. Ctrl-C ends it.")
