"""`ibkit rollback`: the databases as they were before the last upgrade, for the ibkit of before it."""

from __future__ import annotations

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import confirmed
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes
from ibkit.clock import SystemClock

__all__ = ["app"]

app = cyclopts.App(name="rollback", help="Undo the last upgrade of the databases.")

_NOT_DONE = 5


@app.default
def rollback(*, yes: Yes = False, json: Json = False) -> int:
    """Put the backup back that `ibkit db upgrade` made before it. What is replaced is kept; nothing may run meanwhile.

    What was written after the upgrade is not in it. Orders stay off afterwards until `ibkit db accept-restored`, which
    is a command of the earlier ibkit, as everything after this: this one would ask for the upgrade again.
    """
    from ibkit.bootstrap.upgrading import backup_before_upgrade, roll_back
    from ibkit.cli.commands.backup import described

    settings = context.load_settings(require_method=False)
    path, manifest = backup_before_upgrade(settings)
    made = f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"
    if not yes:
        output.warn(f"What was written after {made} is not in {path}.")
        if not confirmed(f"Put it in the place of the journal and the database in {settings.state_dir}? [y/N] "):
            output.warn("Nothing was changed.")
            return _NOT_DONE
    with audited("backup.rollback", str(path), settings=settings, made_at=manifest.made_at.isoformat()):
        done = roll_back(settings, path, now=SystemClock().now())
    if json:
        output.emit(
            {
                "path": path,
                "manifest": described(manifest),
                "aside": done.aside,
                "schema_aside": done.schema,
                "users": done.users,
            }
        )
        return 0
    output.say(f"Rolled back to {path}, made {made}.")
    if done.aside is not None:
        output.say(f"What was there before is kept in {done.aside}.")
    if done.schema is not None:
        output.say(f"The database's former tables are kept in its schema {done.schema}.")
    if done.users:
        output.say("Users sign in anew. What was taken from them after the backup was made, they have again.")
    output.say("Next, with the earlier ibkit: compare `ibkit orders list` and `ibkit positions list` with it, then")
    output.say("`ibkit db accept-restored`. Nothing is sent before.")
    return 0
