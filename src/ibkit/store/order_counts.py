"""How many orders of a user are open, by the journal's file, which is only read: others may use it meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ibkit.store.failures import storage_error
from ibkit.trading.ref import keys_of_user

__all__ = ["open_orders_of_user"]

# Every key begins with what ASCII holds, so that the last code point is after all of a user's.
_OPEN = """
    SELECT count(*) FROM intents AS asked
    WHERE key >= ? AND key < ? AND (final = 0 OR (state = 'unknown_needs_human' AND resolved = 0)) AND NOT EXISTS (
        SELECT 1 FROM intents WHERE operation = 'cancel' AND state IN ('cancelled', 'filled')
        AND account_id = asked.account_id AND order_id = asked.order_id
    )
"""


def open_orders_of_user(path: Path, user_id: str) -> int:
    """What they asked for that has not ended, or of which nobody knows how it ended. 0 without a file. StorageError.

    An order whose cancel tells its end has ended, although nobody has followed it since.
    """
    if not path.exists():
        return 0
    theirs = keys_of_user(user_id)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            (count,) = connection.execute(_OPEN, (theirs, f"{theirs}\U0010ffff")).fetchone()
    except sqlite3.Error as error:
        raise storage_error(error, f"order journal {path}") from error
    return int(count)
