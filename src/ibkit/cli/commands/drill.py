"""`ibkit drill`: whether what is kept for the worst case would do, tried before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json
from ibkit.clock import SystemClock

if TYPE_CHECKING:
    from ibkit.bootstrap.drill import Drill

__all__ = ["app"]

app = cyclopts.App(name="drill", help="Try whether a backup could be put back.")


@app.command
def recovery(
    path: Annotated[Path | None, cyclopts.Parameter(help="Backup to try [default: the newest one].")] = None,
    *,
    json: Json = False,
) -> int:
    """Put a backup back into a place of its own and look at it: counts, audit chain, vault. Nothing in use is touched.

    Date and result stand in the audit log (`ibkit audit list --action drill.recovery`). Exit code 1 where something is
    wrong.
    """
    from ibkit.bootstrap.drill import newest_backup, recover_for_trial
    from ibkit.cli.running import go
    from ibkit.errors import StorageError

    settings = context.load_settings(require_method=False)
    with audited("drill.recovery", str(path or "the newest backup"), settings=settings) as entry:
        chosen = path or newest_backup(settings)
        drill = go(lambda: recover_for_trial(settings, chosen, now=SystemClock().now()))
        entry.details |= {"made_at": drill.made_at.isoformat(), "entries": drill.entries, "secrets": drill.secrets}
        if drill.faults:
            raise StorageError(
                f"The backup {drill.backup.name} could not take the place of what is there: {'; '.join(drill.faults)}",
                remedy="docs/runbooks/disaster-recovery.md; make a new backup, and keep the keys that it needs.",
                details={"backup": str(drill.backup), "faults": list(drill.faults)},
            )
    if json:
        output.emit(_document(drill))
    else:
        _say(drill)
    return 0


def _document(drill: Drill) -> dict[str, object]:
    return {
        "backup": drill.backup,
        "made_at": drill.made_at,
        "counts": drill.counts,
        "now": drill.now,
        "audit_entries": drill.entries,
        "secrets": drill.secrets,
    }


def _say(drill: Drill) -> None:
    output.say(f"{drill.backup} (made {drill.made_at:%Y-%m-%d %H:%M:%S} UTC) was restored beside and is good:")
    rows = [(name, count, drill.now.get(name, 0)) for name, count in drill.counts.items()]
    held = [row for row in rows if any(row[1:])]
    output.say(output.table(("Table", "In the backup", "Now"), held, right=(1, 2)))
    output.say(f"Audit log: {drill.entries} entries, unbroken. Vault: {drill.secrets} secrets, each opens.")
