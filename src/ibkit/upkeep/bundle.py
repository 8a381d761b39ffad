"""What a support bundle holds, as texts by file name, masked; and one more look for secrets before it is written."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import platform
import sys
import zipfile
from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from ibkit.bootstrap.desks import journal_path
from ibkit.errors import IbkitError
from ibkit.upkeep import gateway_logs
from ibkit.upkeep.checks import Check
from ibkit.upkeep.masking import Mask, mask_of

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["contents", "packed"]

_LOG_LINES = 500
_GATEWAY_LINES = 200
_WHOLE = 8_000
"""Characters of a line that are masked before what is too long of it goes."""
_INTENTS = 200
_FIGURES_OF = timedelta(days=1)
_PACKAGES = ("aiohttp", "anyio", "cryptography", "cyclopts", "msgspec", "picows", "pyreqwest", "sqlalchemy", "uvloop")

_README = """\
A support bundle of ibkit. Look through it before you send it: it is made to hold no secret, but you know best.

versions.json   ibkit, Python, platform, libraries
doctor.json     what `ibkit doctor` found
settings.json   the settings in force: of secrets and identities only whether they are set
schema.json     versions of the databases
journal.json    how many orders in which state, which alerts stand{terms}
metrics.json    calls to IBKR of the last day: how many, how long they took, what failed
logs/           the last lines of the worker's logs and of the gateway's

[hidden], [account], [identity] and [mail] stand for what was taken out.
"""


async def contents(settings: Settings, checks: list[Check], *, with_terms: bool) -> Mapping[str, str]:
    """Every file of the bundle. with_terms: also what the orders were. IbkitError if a secret would be in it."""
    figures = await _metrics(settings)
    intents = await _intents(journal_path(settings)) if with_terms and journal_path(settings).exists() else []
    return await anyio.to_thread.run_sync(
        lambda: _contents(settings, checks, figures, intents=intents, with_terms=with_terms)
    )


def _contents(
    settings: Settings,
    checks: list[Check],
    figures: dict[str, Any],
    *,
    intents: list[dict[str, Any]],
    with_terms: bool,
) -> Mapping[str, str]:
    mask = mask_of(settings)
    documents: dict[str, Any] = {
        "versions.json": _versions(),
        "doctor.json": [_told(check, with_terms=with_terms) for check in checks],
        "settings.json": _settings(settings),
        "schema.json": _schema(settings),
        "journal.json": _journal(settings, intents, with_terms=with_terms),
        "metrics.json": figures,
    }
    files = {
        "README.txt": _README.format(terms=", and what they were" if with_terms else "; not what they were"),
        **{name: _json(_masked(document, mask)) for name, document in documents.items()},
        **{name: _cut(mask.text(text)) for name, text in _logs(settings).items()},
    }
    _refuse_secrets(mask, files)
    return files


def packed(files: Mapping[str, str]) -> bytes:
    """As one zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def _masked(value: Any, mask: Mask) -> Any:
    """Each text of a document by itself, so that it stays a document; the names in it are ours."""
    match value:
        case str():
            return mask.text(value)
        case dict():
            return {name: _masked(inner, mask) for name, inner in value.items()}
        case list() | tuple():
            return [_masked(inner, mask) for inner in value]
        case _:
            return value


def _refuse_secrets(mask: Mask, files: Mapping[str, str]) -> None:
    shown = [name for name, text in files.items() if mask.shows(text)]
    if shown:
        raise IbkitError(
            f"The bundle was not written: a secret of the settings would stand in {', '.join(shown)}",
            code="E-INTERNAL",
            remedy="Please report it; nothing was written.",
        )


def _versions() -> dict[str, Any]:
    libraries = {}
    for name in _PACKAGES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = "not installed"
    return {
        "ibkit": version("ibkit"),
        "python": sys.version,
        "platform": platform.platform(),
        "libraries": libraries,
    }


def _told(check: Check, *, with_terms: bool) -> dict[str, Any]:
    said = dataclasses.asdict(check) | {"mark": check.mark.value}
    if check.name.startswith("alert ") and not with_terms:
        said["said"] = said["said"][:16]  # when; the rest names the order
    return said


def _settings(settings: Settings) -> dict[str, Any]:
    from ibkit.settings import VARIABLES

    shown = {}
    for name, found in settings.sources.items():
        entry = VARIABLES[name]
        if entry.hidden:
            value = "[hidden]"
        elif entry.credential and not name.endswith(("_PATH", "_CA", "_REALM", "_SCOPE", "_URL")):
            value = "[identity]"
        else:
            value = found.value.reveal()
        shown[name] = {"value": value, "source": found.source, "spelling": found.name}
    return {
        "file": str(settings.file) if settings.file else None,
        "environment": settings.environment.value,
        "method": settings.choice.method.value if settings.choice else None,
        "settings": shown,
        "unknown": list(settings.unknown),
        "problems": [
            {"code": each.code, "names": each.names} for each in (*settings.problems, *settings.method_problems)
        ],
    }


def _schema(settings: Settings) -> dict[str, Any]:
    from ibkit.store.database import sqlite_path
    from ibkit.store.journal_look import versions_there, versions_wanted

    try:
        url = settings.database_url.reveal()
        file = sqlite_path(url)
        there: Any = {} if file is not None and not file.exists() else dict(versions_there(url))
    except IbkitError as error:
        there = f"{error.code}: {error.message}"
    return {"known": dict(versions_wanted()), "database": there}


def _journal(settings: Settings, intents: list[dict[str, Any]], *, with_terms: bool) -> dict[str, Any]:
    from ibkit.store.journal_look import look_at_journal

    path = journal_path(settings)
    if not path.exists():
        return {"exists": False}
    try:
        look = look_at_journal(path)
    except IbkitError as error:
        return {"exists": True, "error": f"{error.code}: {error.message}"}
    said: dict[str, Any] = {
        "exists": True,
        "bytes": path.stat().st_size,
        "damage": look.damage,
        "version": look.version,
        "changes": look.mark.changes if look.mark else None,
        "mark": look.told.changes if look.told else None,
        "restored": look.restored,
        "states": dict(look.states),
        "unknown": len(look.unknown),
        "halts": look.halts,
        "alerts": [{"kind": each.kind, "severity": each.severity, "at": each.at} for each in look.alerts],
    }
    if with_terms and look.damage is None:
        said["alerts"] = [dataclasses.asdict(each) for each in look.alerts]
        said["intents"] = intents
    return said


async def _metrics(settings: Settings) -> dict[str, Any]:
    """The figures that worker and service keep, added up by connection and endpoint; nothing is made there."""
    from ibkit.store.database import sqlite_path
    from ibkit.store.journal_look import versions_there

    url = settings.database_url.reveal()
    try:
        file = sqlite_path(url)
        if file is not None and not file.exists():
            return {"kept": False}
        if "metrics" not in await anyio.to_thread.run_sync(versions_there, url):
            return {"kept": False}
        return await _figures(settings)
    except IbkitError as error:
        return {"error": f"{error.code}: {error.message}"}


async def _figures(settings: Settings) -> dict[str, Any]:
    from ibkit.bootstrap.clients import clock_of
    from ibkit.notify.minutes import total
    from ibkit.store.metric_minutes import SqlMinutes
    from ibkit.store.records import open_records

    until = clock_of(settings).now()
    since = until - _FIGURES_OF
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=("metrics",)))
    try:
        rows = total(await SqlMinutes(database).rows(since, until))
    finally:
        await database.close()
    return {
        "kept": True,
        "since": since.isoformat(),
        "until": until.isoformat(),
        "calls": [
            {
                "connection": connection,
                "endpoint": endpoint,
                "calls": each.calls,
                "errors": dict(sorted(each.errors.items())),
                "attempts": each.attempts,
                "retries": each.retries,
                "mean_s": each.mean_s,
                "p50_s": each.quantile_s(0.5),
                "p95_s": each.quantile_s(0.95),
                "waits": each.waits,
                "waited_s": each.waited_s,
            }
            for (connection, endpoint), each in sorted(rows.items())
        ],
    }


async def _intents(path: Path) -> list[dict[str, Any]]:
    """The latest; none of a journal that cannot be read, which its look tells."""
    from ibkit.clock import SystemClock
    from ibkit.store import open_journal

    try:
        async with open_journal(path, clock=SystemClock()) as journal:
            return [
                {
                    "at": intent.planned.at.isoformat(),
                    "what": intent.label,
                    "for": intent.planned.purpose,
                    "state": intent.state.value,
                    "reason": intent.reason,
                }
                for intent in await journal.recent(limit=_INTENTS)
            ]
    except IbkitError:
        return []


def _logs(settings: Settings) -> dict[str, str]:
    found = {}
    for path in sorted((settings.state_dir / "worker").glob("*.log*")):
        found[f"logs/{path.name}"] = _end_of(path, _LOG_LINES)
    try:
        found[f"logs/gateway-{gateway_logs.newest(settings.gateway.directory).name}"] = _end_of(
            gateway_logs.newest(settings.gateway.directory), _GATEWAY_LINES
        )
    except IbkitError as error:
        found["logs/gateway.txt"] = error.message
    return found


def _end_of(path: Path, count: int) -> str:
    if not os.access(path, os.R_OK):
        return f"{path.name} cannot be read"
    return "\n".join(gateway_logs.last_lines(path, count, longest=_WHOLE)) + "\n"


def _cut(text: str) -> str:
    """After the masking: of a secret that was cut in two the first half would be known to no mask."""
    return "".join(f"{line[: gateway_logs.LONGEST]}\n" for line in text.splitlines())


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"
