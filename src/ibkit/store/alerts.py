"""Alerts in the journal's file, so that they are there even where no other database is."""

from __future__ import annotations

import uuid
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.engine import Row

from ibkit.store.columns import instant_text
from ibkit.store.database import Database
from ibkit.trading.alert import Alert, AlertKind, Severity

__all__ = ["SqlAlerts", "put_alert"]


class SqlAlerts:
    """Fits `trading.ports.Alerts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, alert: Alert) -> Alert:
        return await self._database.write(lambda connection: put_alert(connection, alert))

    async def open(self, *, kind: AlertKind | None = None) -> tuple[Alert, ...]:
        def work(connection: Connection) -> tuple[Alert, ...]:
            rows = connection.execute(text("SELECT * FROM alerts WHERE closed_at IS NULL ORDER BY at, alert_id"))
            return tuple(_alert(row) for row in rows)

        found = await self._database.read(work)
        return tuple(alert for alert in found if kind is None or alert.kind is kind)

    async def close(self, kind: AlertKind, subject: str, *, at: datetime, note: str) -> None:
        statement = text(
            "UPDATE alerts SET closed_at = :at, closed_note = :note"
            " WHERE kind = :kind AND subject = :subject AND closed_at IS NULL"
        )
        values = {"kind": kind.value, "subject": subject, "at": instant_text(at), "note": note}
        await self._database.write(lambda connection: connection.execute(statement, values))


def put_alert(connection: Connection, alert: Alert) -> Alert:
    """Inside a transaction: insert, or renew the open alert of the same kind and subject."""
    statement = text(
        "INSERT INTO alerts (alert_id, kind, severity, subject, message, at, details, closed_note)"
        " VALUES (:alert_id, :kind, :severity, :subject, :message, :at, :details, '')"
        " ON CONFLICT (kind, subject) WHERE closed_at IS NULL"
        " DO UPDATE SET severity = excluded.severity, message = excluded.message, details = excluded.details"
        " RETURNING *"
    )
    name = f"{alert.kind.value} {alert.subject} {instant_text(alert.at)}"
    values = {
        "alert_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "kind": alert.kind.value,
        "severity": alert.severity.value,
        "subject": alert.subject,
        "message": alert.message,
        "at": instant_text(alert.at),
        "details": msgspec.json.encode(dict(alert.details)).decode(),
    }
    return _alert(connection.execute(statement, values).one())


def _alert(row: Row[tuple[object, ...]]) -> Alert:
    values = row._mapping
    closed_at = values["closed_at"]
    return Alert(
        alert_id=values["alert_id"],
        kind=AlertKind(values["kind"]),
        severity=Severity(values["severity"]),
        subject=values["subject"],
        message=values["message"],
        at=datetime.fromisoformat(values["at"]),
        details=msgspec.json.decode(values["details"], type=dict[str, str]),
        closed_at=None if closed_at is None else datetime.fromisoformat(closed_at),
        closed_note=values["closed_note"],
    )
