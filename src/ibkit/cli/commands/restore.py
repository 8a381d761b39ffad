"""`ibkit restore`: a backup in the place of what is there, once it is known to be good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import confirmed
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes, flag, option
from ibkit.clock import SystemClock

__all__ = ["app"]

app = cyclopts.App(name="restore", help="Put a backup in the place of what is there.")

_NOT_DONE = 5


@app.default
def restore(
    path: Path,
    *,
    with_secrets: Annotated[bool, flag("Also write the keys, tokens and settings file that are not there.")] = False,
    passphrase_file: Annotated[Path | None, option("File of mode 600 with the passphrase [default: ask].")] = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Put a backup back. It is looked over first; what is replaced is kept; nothing may run meanwhile.

    Orders stay off afterwards until `ibkit db accept-restored`: the backup has forgotten what was sent after it.
    """
    from ibkit.bootstrap.backups import restore_backup
    from ibkit.cli.commands.backup import described
    from ibkit.cli.passphrases import passphrase_of

    settings = context.load_settings(require_method=False)
    passphrase = passphrase_of(passphrase_file, twice=False) if with_secrets else None
    if not yes and not confirmed(f"Replace the journal and the database in {settings.state_dir} by {path}? [y/N] "):
        output.warn("Nothing was changed.")
        return _NOT_DONE
    with audited("backup.restore", str(path), settings=settings, with_secrets="yes" if with_secrets else ""):
        done = restore_backup(settings, path, now=SystemClock().now(), passphrase=passphrase)
    if json:
        output.emit(
            {
                "manifest": described(done.manifest),
                "aside": done.aside,
                "schema_aside": done.schema,
                "rows": done.rows,
                "users": done.users,
                "secrets_written": done.secrets,
                "secrets_left": [{"path": path, "of_backup": beside} for path, beside in done.kept],
            }
        )
        return 0
    output.say(f"Restored: {path}, made {done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC.")
    if done.aside is not None:
        output.say(f"What was there before is kept in {done.aside}.")
    if done.schema is not None:
        output.say(f"The database's former tables are kept in its schema {done.schema}.")
    for file in done.secrets:
        output.say(f"Written: {file}")
    for file, beside in done.kept:
        why = "is there and differs, so it was left" if file.exists() else "could not be written"
        output.warn(f"{file} {why}; the backup's is {beside}.")
    if done.users:
        output.say("Users sign in anew. What was taken from them after the backup was made, they have again: disabled")
        output.say("users, former passwords, revoked keys. Go through `ibkit user list` and `ibkit user key list`.")
    output.say("Next: compare `ibkit orders list` and `ibkit positions list` with it, then `ibkit db accept-restored`.")
    return 0
