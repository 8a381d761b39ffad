"""`ibkit db`: the database of trade records, and the order journal when it was restored from a backup."""

from __future__ import annotations

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import confirmed
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes
from ibkit.cli.journal import with_journal

__all__ = ["app"]

app = cyclopts.App(name="db", help="Prepare or bring up to date the database.")


@app.command
def upgrade(*, json: Json = False) -> None:
    """Make the tables of an empty database, or bring older ones up to date, after a backup of what lasts.

    `ibkit rollback` puts that backup back. With something older in it nothing may run meanwhile. Twice does no harm.
    """
    import secrets

    from ibkit.bootstrap.upgrading import upgrade as bring_forward
    from ibkit.clock import SystemClock

    settings = context.load_settings(require_method=False)
    done = bring_forward(settings, now=SystemClock().now(), random=secrets.token_bytes)
    if json:
        parts = {part: {"before": before, "after": after} for part, (before, after) in done.parts.items()}
        output.emit({"parts": parts, "backup": done.backup})
        return
    if done.backup is not None:
        output.say(f"Backed up before: {done.backup} (`ibkit rollback` puts it back).")
    for part, (before, after) in done.parts.items():
        if before == after:
            output.say(f"{part}: up to date (version {after}).")
        else:
            output.say(f"{part}: brought from version {before} to {after}.")


@app.command
def status(*, json: Json = False) -> int:
    """The version of the journal and of each part of the database; exit code 1 where `ibkit db upgrade` is needed."""
    from ibkit.bootstrap.upgrading import present_versions
    from ibkit.store.journal_look import versions_wanted

    there, wanted = present_versions(context.load_settings(require_method=False)), versions_wanted()
    rows = [(part, there.get(part), needed) for part, needed in wanted.items()]
    differ = any(version is not None and version != needed for _, version, needed in rows)
    if json:
        output.emit({part: {"version": version, "needed": needed} for part, version, needed in rows})
    else:
        shown = [(part, "made when needed" if version is None else version, needed) for part, version, needed in rows]
        output.say(output.table(("Part", "Version", "This ibkit needs"), shown, right=(2,)))
    return 1 if differ else 0


@app.command(name="accept-restored")
def accept_restored(*, yes: Yes = False, json: Json = False) -> int:
    """Use an order journal that is an older copy of itself, after you have compared it with IBKR.

    Such a copy has forgotten the latest keys and what was sent under them; until you say so nothing is sent.
    """
    from ibkit.store.journal import SqliteJournal

    async def work(journal: SqliteJournal) -> int:
        entry.object = str(journal.path)
        if not journal.restored:
            entry.skipped = True
            return _told(accepted=False, text="The order journal is the one used last; there is nothing to accept.")
        if not yes:
            output.warn(f"{journal.path} is older than the journal that was used last on this machine.")
            output.warn("Orders sent since its copy was made are not in it: a key of theirs would send them again.")
            if not confirmed("Have you compared it with IBKR's orders and positions, and shall it be used? [y/N] "):
                output.warn("Nothing was changed.")
                entry.skipped = True
                return 5
        await journal.clear_restored()
        return _told(accepted=True, text="The order journal is in use again.")

    def _told(*, accepted: bool, text: str) -> int:
        if json:
            output.emit({"accepted": accepted})
        else:
            output.say(text)
        return 0

    with audited("journal.accept_restored", "order journal") as entry:
        return with_journal(work)
