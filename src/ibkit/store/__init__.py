"""What lasts: the order journal, the trade records and the alerts, behind the ports of `trading`.

Nothing heavy is imported until something is opened.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkit.clock import Clock
    from ibkit.store.journal import SqliteJournal
    from ibkit.store.json_lines import JsonLinesTrades
    from ibkit.store.trades import SqlTrades
    from ibkit.trading.selling.ports import Trades

__all__ = ["import_json_lines", "open_journal", "open_json_lines", "open_trades", "upgrade_database"]


def open_journal(path: Path, *, clock: Clock, run_inline: bool = False) -> SqliteJournal:
    """The order journal in the local file `path`, for `async with`. StorageError (E-DB) on entering.

    run_inline: without threads, for runs that have to repeat step by step.
    """
    from ibkit.store.journal import SqliteJournal

    return SqliteJournal(path, clock=clock, run_inline=run_inline)


def open_trades(url: str, *, also: Collection[str] = ()) -> SqlTrades:
    """The trade records in the database of `url`, for `async with`. StorageError (E-DB) on entering.

    also: other parts of that database that are used through `records` of what is opened.
    """
    from ibkit.store.trades import SqlTrades

    return SqlTrades(url, also=also)


def open_json_lines(path: Path, *, clock: Clock) -> JsonLinesTrades:
    """The trade records in a file of JSON lines, for `--no-db`."""
    from ibkit.store.json_lines import JsonLinesTrades

    return JsonLinesTrades(path, clock=clock)


async def import_json_lines(path: Path, trades: Trades) -> int:
    """Store what the file has and `trades` has not, or has older: how many records were stored."""
    from ibkit.store import json_lines

    return await json_lines.import_json_lines(path, trades)


def upgrade_database(url: str) -> dict[str, tuple[int, int]]:
    """Bring each part of the database to its newest version: (before, after)."""
    from ibkit.store import records

    return records.upgrade_records(url)
