"""`ibkit security`: secrets in git, and what of this installation is weaker than it need be."""

from __future__ import annotations

import json as jsonlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Json, flag
from ibkit.cli.running import go
from ibkit.clock import SystemClock
from ibkit.errors import IbkitError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["app"]

app = cyclopts.App(name="security", help="Look for secrets in git, and for what is left open.")

FOUND = 1


@app.command
def scan(
    folder: Annotated[Path, cyclopts.Parameter(help="A folder of the repository.")] = Path(),
    *,
    staged: Annotated[bool, flag("Only what the next commit adds or changes.")] = False,
    json: Json = False,
) -> int:
    """Key files and secrets that git tracks. Exit code 1 if there are some; `.ibkitscan` names files to pass over."""
    from ibkit.upkeep import secret_scan

    found = secret_scan.scan(folder, staged=staged)
    if json:
        output.emit({"findings": found})
        return FOUND if found else 0
    for each in found:
        output.say(f"{each.path}{f':{each.line}' if each.line else ''}: {each.rule}")
    if not found:
        output.say("No key file and no secret in what the next commit adds." if staged else "Git tracks no secret.")
        return 0
    if staged:
        output.warn("-> Take it out with `git rm --cached FILE`, and name it in .gitignore.")
    else:
        output.warn("-> It must be taken as known to others: docs/runbooks/leaked-secret.md.")
    return FOUND


@app.command
def audit(*, json: Json = False) -> int:
    """What is weaker than it need be: modes, secrets, keys, reach, libraries, users. Exit code 1 where something is."""
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.cli.audit_users import audit_users
    from ibkit.settings import load
    from ibkit.upkeep import audit as auditing

    settings = load(env_file=context.current().env_file, require_method=False, strict=False)
    now = SystemClock().now()
    found = auditing.audit(settings, now=now, folder=Path())
    try:
        found += go(lambda: audit_users(settings, now=machine_clock().now()))
    except IbkitError as error:  # a database that is away is no weakness, and says nothing of modes and keys
        output.warn(f"note: users and their connections were not looked at: {error.message}")
    points = auditing.score(found)
    _remember(auditing.last_audit_path(settings.state_dir), now, points, len(found))
    if json:
        findings = [
            {"name": each.name, "severity": each.severity.name.lower(), "said": each.said, "remedy": each.remedy}
            for each in found
        ]
        output.emit({"score": points, "findings": findings, "at": now})
        return FOUND if found else 0
    for each in found:
        output.say(f"{each.severity.name:<6}  {each.name}: {each.said}")
        output.say(f"{'':<6}  -> {each.remedy}")
    output.say(f"Score: {points} of 100, {len(found)} finding(s).")
    return FOUND if found else 0


def _remember(path: Path, now: datetime, points: int, count: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside.write_text(jsonlib.dumps({"at": now.isoformat(), "score": points, "findings": count}), encoding="ascii")
        beside.chmod(0o600)
        beside.replace(path)
    except OSError as error:
        output.warn(f"note: the date of this audit could not be kept ({error.strerror}): {path}")
