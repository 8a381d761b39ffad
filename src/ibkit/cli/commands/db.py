"""`ibkit db`: the database of trade records."""

from __future__ import annotations

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Json

__all__ = ["app"]

app = cyclopts.App(name="db", help="Prepare or bring up to date the database.")


@app.command
def upgrade(*, json: Json = False) -> None:
    """Make the tables of an empty database, or bring an older one up to date. Twice does no harm."""
    from ibkit.store import upgrade_database

    settings = context.load_settings(require_method=False)
    before, after = upgrade_database(settings.database_url.reveal())
    if json:
        output.emit({"before": before, "after": after})
    elif before == after:
        output.say(f"The database is up to date (version {after}).")
    else:
        output.say(f"The database was brought from version {before} to {after}.")
