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
    """Make the tables of an empty database, or bring an older one up to date. Twice does no harm."""
    from ibkit.store import upgrade_database

    settings = context.load_settings(require_method=False)
    done = upgrade_database(settings.database_url.reveal())
    if json:
        output.emit({part: {"before": before, "after": after} for part, (before, after) in done.items()})
        return
    for part, (before, after) in done.items():
        if before == after:
            output.say(f"{part}: up to date (version {after}).")
        else:
            output.say(f"{part}: brought from version {before} to {after}.")


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
