"""The numbered steps of each database, oldest first. A released step is never edited; a new one is added."""

from __future__ import annotations

from ibkit.store.migrating import Migration
from ibkit.store.migrations import journal_0001, journal_0002, journal_0003, trades_0001, trades_0002, users_0001

__all__ = ["JOURNAL", "RECORDS", "TRADES", "USERS"]

JOURNAL = (
    Migration(1, "intents, their events, alerts", journal_0001.upgrade),
    Migration(2, "lanes, groups, sends, retention, the journal's own number", journal_0002.upgrade),
    Migration(3, "changes of limits, halts", journal_0003.upgrade),
)
TRADES = (
    Migration(1, "trades, executions, order links", trades_0001.upgrade),
    Migration(2, "plans of exits, legs of spreads", trades_0002.upgrade),
)
USERS = (Migration(1, "users, machine keys, browser sessions, revocations, failed sign-ins", users_0001.upgrade),)
RECORDS = {"trades": TRADES, "users": USERS}
"""The parts of the database of DATABASE_URL, in the order in which they are made."""
