"""Every event that somebody is told of, with its weight, who hears of it and what helps.

Source: requirement MON-07, which lists them; MON-08, MON-11, MON-06 and OPS-03 for the last ones.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ibkit.trading.alert import Severity

__all__ = ["ABOUT", "About", "Audience", "EventKind"]


class EventKind(enum.Enum):
    SESSION_EXPIRING = "session.expiring"
    SESSION_EXPIRED = "session.expired"
    SESSION_NEEDS_LOGIN = "session.needs_login"
    SESSION_COMPETING = "session.competing"
    CONNECTION_LOST = "connection.lost"
    CONNECTION_RESTORED = "connection.restored"
    AUTH_FAILED = "auth.failed"
    AUTH_PAUSED = "auth.paused"
    ORDER_REJECTED = "order.rejected"
    ORDER_UNKNOWN = "order.unknown"
    STOP_FAILED = "stop.failed"
    POSITION_UNPROTECTED = "position.unprotected"
    SYNC_FAILED = "sync.failed"
    """Three syncs of an account in a row (SYN-12); another event tells that one worked again."""
    SYNC_RESTORED = "sync.restored"
    KEY_ROTATION_DUE = "key.rotation_due"
    CREDENTIAL_OLD = "credential.old"
    STORAGE_PROBLEM = "storage.problem"
    """The database, or the disk under it."""
    MAINTENANCE_PLANNED = "maintenance.planned"
    GATEWAY_UPDATE = "gateway.update"
    SECURITY_FINDING = "security.finding"
    PERSISTENT_ISSUE = "persistent.issue"
    DATA_USAGE = "data.usage"
    """Four fifths of a limit on market data are used (MON-06)."""
    BACKUP_FAILED = "backup.failed"
    """The worker's daily backup; another event tells that it works again."""
    BACKUP_MADE = "backup.made"
    CHANNEL_TEST = "channel.test"
    """What `ibkit alerts test` sends; it is about nothing."""


class Audience(enum.Enum):
    """user: whose login it is. administrators: who runs the installation."""

    USER = "user"
    ADMINISTRATORS = "administrators"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """title: a few words for a subject line. remedy: the first thing to do. runbook: page of docs/runbooks/.

    ends: events whose open alerts on the same subject are over when this one happens.
    """

    title: str
    severity: Severity
    remedy: str
    runbook: str
    audience: Audience = Audience.USER
    ends: tuple[EventKind, ...] = ()


ABOUT: Mapping[EventKind, About] = {
    EventKind.SESSION_EXPIRING: About(
        title="Session ends soon",
        severity=Severity.WARNING,
        remedy="Sign in again before it ends; open positions are not watched without a session.",
        runbook="session-lost",
    ),
    EventKind.SESSION_EXPIRED: About(
        title="Session has ended",
        severity=Severity.CRITICAL,
        remedy="Sign in again: `ibkit status --connect`, or at the gateway's page.",
        runbook="session-lost",
    ),
    EventKind.SESSION_NEEDS_LOGIN: About(
        title="Login needed",
        severity=Severity.CRITICAL,
        remedy="Log in at the gateway's page with the second factor.",
        runbook="session-needs-login",
    ),
    EventKind.SESSION_COMPETING: About(
        title="Another login holds the session",
        severity=Severity.CRITICAL,
        remedy="Log the other one out, or take the session over with --compete.",
        runbook="competing-session",
    ),
    EventKind.CONNECTION_LOST: About(
        title="Connection lost",
        severity=Severity.WARNING,
        remedy="`ibkit connection test` tells which part is down.",
        runbook="connection-lost",
    ),
    EventKind.CONNECTION_RESTORED: About(
        title="Connection is back",
        severity=Severity.INFO,
        remedy="Nothing is to be done.",
        runbook="connection-lost",
        ends=(
            EventKind.CONNECTION_LOST,
            EventKind.SESSION_EXPIRED,
            EventKind.SESSION_NEEDS_LOGIN,
            EventKind.SESSION_COMPETING,
            EventKind.AUTH_FAILED,
            EventKind.AUTH_PAUSED,
            EventKind.PERSISTENT_ISSUE,  # that of the outage; the one of an error that repeats has another subject
        ),
    ),
    EventKind.AUTH_FAILED: About(
        title="Sign-in failed",
        severity=Severity.CRITICAL,
        remedy="`ibkit auth test` shows the step that fails.",
        runbook="auth-failed",
    ),
    EventKind.AUTH_PAUSED: About(
        title="Sign-in paused",
        severity=Severity.CRITICAL,
        remedy="Correct the credentials first: each further failure makes the pause longer.",
        runbook="auth-failed",
    ),
    EventKind.ORDER_REJECTED: About(
        title="Order rejected",
        severity=Severity.WARNING,
        remedy="`ibkit intents show ID` has the broker's reason.",
        runbook="order-rejected",
    ),
    EventKind.ORDER_UNKNOWN: About(
        title="Order in an unknown state",
        severity=Severity.CRITICAL,
        remedy="Look at IBKR's order window, then `ibkit intents resolve ID --note ...`. Do not send it again.",
        runbook="order-unknown",
    ),
    EventKind.STOP_FAILED: About(
        title="Stop could not be placed",
        severity=Severity.CRITICAL,
        remedy="Place a stop at IBKR by hand, or close the position: `ibkit positions close`.",
        runbook="stop-failed",
    ),
    EventKind.POSITION_UNPROTECTED: About(
        title="Position without a working stop",
        severity=Severity.CRITICAL,
        remedy="Place a stop at IBKR by hand, or close the position: `ibkit positions close`.",
        runbook="position-unprotected",
    ),
    EventKind.SYNC_FAILED: About(
        title="Portfolio sync failed",
        severity=Severity.WARNING,
        remedy="Holdings shown are old until a sync succeeds; look at the connection first.",
        runbook="sync-failed",
    ),
    EventKind.SYNC_RESTORED: About(
        title="Portfolio is synced again",
        severity=Severity.INFO,
        remedy="Nothing is to be done.",
        runbook="sync-failed",
        ends=(EventKind.SYNC_FAILED,),
    ),
    EventKind.KEY_ROTATION_DUE: About(
        title="Keys are due for a change",
        severity=Severity.WARNING,
        remedy="`ibkit vault rotate`; keys that IBKR has: `ibkit keys generate --force`, and upload them.",
        runbook="key-rotation",
    ),
    EventKind.CREDENTIAL_OLD: About(
        title="Credential is old",
        severity=Severity.WARNING,
        remedy="Replace it at IBKR and here; both work without an outage.",
        runbook="key-rotation",
    ),
    EventKind.STORAGE_PROBLEM: About(
        title="Database or disk problem",
        severity=Severity.CRITICAL,
        remedy="Check free space and the database; no order is sent without its journal.",
        runbook="storage-problem",
        audience=Audience.ADMINISTRATORS,
    ),
    EventKind.MAINTENANCE_PLANNED: About(
        title="Maintenance planned",
        severity=Severity.INFO,
        remedy="Expect no session in that time.",
        runbook="maintenance",
    ),
    EventKind.GATEWAY_UPDATE: About(
        title="A newer gateway is published",
        severity=Severity.INFO,
        remedy="Install it outside trading hours.",
        runbook="gateway-update",
        audience=Audience.ADMINISTRATORS,
    ),
    EventKind.SECURITY_FINDING: About(
        title="Security finding",
        severity=Severity.CRITICAL,
        remedy="Find out who it was; block the address, change what may be known.",
        runbook="security-finding",
        audience=Audience.ADMINISTRATORS,
    ),
    EventKind.PERSISTENT_ISSUE: About(
        title="A problem goes on",
        severity=Severity.CRITICAL,
        remedy="Look up its trace ids in the log.",
        runbook="persistent-issue",
        audience=Audience.ADMINISTRATORS,
    ),
    EventKind.DATA_USAGE: About(
        title="Most of a market data limit is used",
        severity=Severity.WARNING,
        remedy="Ask for fewer quotes, or raise the limit; IBKR charges subscriptions per user.",
        runbook="data-usage",
    ),
    EventKind.BACKUP_FAILED: About(
        title="Daily backup failed",
        severity=Severity.WARNING,
        remedy="`ibkit backup` shows why; it is tried again every hour.",
        runbook="backup-failed",
        audience=Audience.ADMINISTRATORS,
    ),
    EventKind.BACKUP_MADE: About(
        title="Daily backup made",
        severity=Severity.INFO,
        remedy="Nothing is to be done.",
        runbook="backup-failed",
        audience=Audience.ADMINISTRATORS,
        ends=(EventKind.BACKUP_FAILED,),
    ),
    EventKind.CHANNEL_TEST: About(
        title="Test of an alert channel",
        severity=Severity.INFO,
        remedy="Nothing is to be done: it was asked for.",
        runbook="alerts",
    ),
}
