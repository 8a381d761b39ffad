"""The log files of the Client Portal Gateway: the newest, its last lines, and what comes after them. MON-14."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from ibkit.errors import NotFound

__all__ = ["LONGEST", "ago", "followed", "is_trouble", "last_lines", "log_files", "newest", "since"]

_TROUBLE = re.compile(r"\b(ERROR|SEVERE|FATAL|WARN(?:ING)?|Exception|refused|denied|failed)\b", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})")
LONGEST = 2_000


def log_files(folder: Path) -> list[Path]:
    """The log files in `<gateway>/logs`, newest first. NotFound names the folder that was expected."""
    logs = folder / "logs"
    found = [path for path in logs.glob("*") if path.is_file() and ".log" in path.name] if logs.is_dir() else []
    if not found:
        raise NotFound(
            f"Gateway logs not found: no log file in {logs.absolute()}",
            code="E-NOT-FOUND",
            remedy="Set IBKR_GATEWAY_DIR to the folder into which the gateway was unpacked, and start it once.",
        )
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def newest(folder: Path) -> Path:
    return log_files(folder)[0]


def last_lines(path: Path, count: int, *, longest: int = LONGEST) -> list[str]:
    """The last `count` lines of a file, each cut where it grows long."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\r\n")[:longest] for line in deque(file, maxlen=count)]


def since(lines: list[str], moment: datetime) -> list[str]:
    """Lines from `moment` on (local time, as the gateway writes it); one without a time belongs to the one before."""
    kept: list[str] = []
    within = False
    for line in lines:
        found = _MOMENT.search(line[:40])
        if found is not None:
            within = datetime.fromisoformat(f"{found[1]} {found[2]}") >= moment.replace(tzinfo=None)
        if within:
            kept.append(line)
    return kept


def is_trouble(line: str) -> bool:
    return _TROUBLE.search(line) is not None


def followed(folder: Path, pause: Callable[[], bool]) -> Iterator[str]:
    """Lines as they are written, from now on, also into a newer file. pause: waits a little; False ends it."""
    path = newest(folder)
    place = path.stat().st_size
    rest = ""
    while pause():
        later = newest(folder)
        if later != path or path.stat().st_size < place:  # a new day's file, or one that was begun anew
            path, place, rest = later, 0, ""
        with path.open("rb") as file:
            file.seek(place)
            data = file.read()
        place += len(data)
        *whole, rest = (rest + data.decode("utf-8", "replace")).split("\n")
        yield from (line.rstrip("\r")[:LONGEST] for line in whole)


def ago(text: str, now: datetime) -> datetime | None:
    """`10m`, `2h` or `1d` before `now`, or a moment as it is written; None for anything else."""
    span = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if span is not None:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[span[2]]
        return now - timedelta(**{unit: int(span[1])})
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None
