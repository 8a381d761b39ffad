"""The numbered steps of each database, oldest first. A released step is never edited; a new one is added."""

from __future__ import annotations

from ibkit.store.migrating import Migration
from ibkit.store.migrations import (
    alerts_0001,
    audit_0001,
    connections_0001,
    journal_0001,
    journal_0002,
    journal_0003,
    maintenance_0001,
    metrics_0001,
    metrics_0002,
    portfolio_0001,
    portfolio_0002,
    portfolio_0003,
    portfolio_0004,
    trades_0001,
    trades_0002,
    users_0001,
    users_0002,
    vault_0001,
    vault_0002,
)

__all__ = ["ALERTS", "AUDIT", "CONNECTIONS", "JOURNAL", "METRICS", "PORTFOLIO", "RECORDS", "TRADES", "USERS", "VAULT"]

JOURNAL = (
    Migration(1, "intents, their events, alerts", journal_0001.upgrade),
    Migration(2, "lanes, groups, sends, retention, the journal's own number", journal_0002.upgrade),
    Migration(3, "changes of limits, halts", journal_0003.upgrade),
)
TRADES = (
    Migration(1, "trades, executions, order links", trades_0001.upgrade),
    Migration(2, "plans of exits, legs of spreads", trades_0002.upgrade),
)
USERS = (
    Migration(1, "users, machine keys, browser sessions, revocations, failed sign-ins", users_0001.upgrade),
    Migration(2, "order requests of the last minute", users_0002.upgrade),
)
VAULT = (
    Migration(1, "credentials, sealed fields, keys", vault_0001.upgrade),
    Migration(2, "reminders and fingerprints of credentials, approvals of multi-user mode", vault_0002.upgrade),
)
ALERTS = (Migration(1, "alerts, deliveries, acknowledgements, channels", alerts_0001.upgrade),)
METRICS = (
    Migration(1, "figures of each minute", metrics_0001.upgrade),
    Migration(2, "connections in use at once", metrics_0002.upgrade),
)
AUDIT = (Migration(1, "entries, anchors", audit_0001.upgrade),)
CONNECTIONS = (Migration(1, "connections, their sessions, their history", connections_0001.upgrade),)
PORTFOLIO = (
    Migration(1, "portfolios, holdings, securities, syncs, answers as they came", portfolio_0001.upgrade),
    Migration(2, "daily snapshots of accounts, flows between them", portfolio_0002.upgrade),
    Migration(3, "ledgers: statements, transactions, corrections, differences", portfolio_0003.upgrade),
    Migration(4, "answers by what was read from them", portfolio_0004.upgrade),
)
MAINTENANCE = (Migration(1, "windows of maintenance", maintenance_0001.upgrade),)
RECORDS = {
    "trades": TRADES,
    "users": USERS,
    "vault": VAULT,
    "alerts": ALERTS,
    "metrics": METRICS,
    "audit": AUDIT,
    "connections": CONNECTIONS,
    "portfolio": PORTFOLIO,
    "maintenance": MAINTENANCE,
}
"""The parts of the database of DATABASE_URL, in the order in which they are made."""
