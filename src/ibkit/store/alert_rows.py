"""The tables of the alerts as the present code knows them, and alerts and messages to and from their rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Column, Integer, MetaData, RowMapping, String, Table

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA
from ibkit.trading.alert import Severity
from ibkit.trading.alerting import Channel, ChannelKind, Delivery, DeliveryState, EventKind, Incident, Reason

__all__ = [
    "ACKNOWLEDGEMENTS",
    "CHANNELS",
    "DELIVERIES",
    "INCIDENTS",
    "channel_of",
    "delivery_of",
    "delivery_row",
    "incident_of",
    "incident_row",
]

_METADATA = MetaData(schema=SCHEMA)

INCIDENTS = Table(
    "alert_incidents",
    _METADATA,
    Column("incident_id", String, primary_key=True),
    *(Column(name, String) for name in ("event", "subject", "user_id", "severity", "message", "remedy")),
    Column("first_at", Instant),
    Column("last_at", Instant),
    Column("count", Integer),
    Column("told_count", Integer),
    Column("told_at", Instant),
    Column("level", Integer),
    Column("escalated_at", Instant),
    Column("trace_ids", JSON),
    Column("source", String),
    Column("details", JSON),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", String),
    Column("closed_at", Instant),
    Column("closed_note", String),
)
DELIVERIES = Table(
    "alert_deliveries",
    _METADATA,
    Column("delivery_id", String, primary_key=True),
    *(Column(name, String) for name in ("incident_id", "channel", "user_id", "reason")),
    Column("document", JSON),
    Column("created_at", Instant),
    Column("state", String),
    Column("attempts", Integer),
    Column("next_at", Instant),
    Column("claimed_until", Instant),
    Column("error", String),
    Column("finished_at", Instant),
)
ACKNOWLEDGEMENTS = Table(
    "alert_acknowledgements",
    _METADATA,
    Column("acknowledgement_id", Integer, primary_key=True),
    Column("incident_id", String),
    Column("at", Instant),
    *(Column(name, String) for name in ("by", "action", "note")),
)
CHANNELS = Table(
    "alert_channels",
    _METADATA,
    Column("user_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("kind", String),
    Column("severities", JSON),
    Column("level", Integer),
    Column("enabled", Boolean),
    *(Column(name, String) for name in ("shown", "sealed_address", "sealed_secret")),
    Column("created_at", Instant),
)


def incident_row(incident: Incident) -> dict[str, Any]:
    return {
        "incident_id": incident.incident_id,
        "event": incident.event.value,
        "subject": incident.subject,
        "user_id": incident.user,
        "severity": incident.severity.value,
        "message": incident.message,
        "remedy": incident.remedy,
        "first_at": incident.first_at,
        "last_at": incident.last_at,
        "count": incident.count,
        "told_count": incident.told_count,
        "told_at": incident.told_at,
        "level": incident.level,
        "escalated_at": incident.escalated_at,
        "trace_ids": list(incident.trace_ids),
        "source": incident.source,
        "details": dict(incident.details),
        "acknowledged_at": incident.acknowledged_at,
        "acknowledged_by": incident.acknowledged_by,
        "closed_at": incident.closed_at,
        "closed_note": incident.closed_note,
    }


def incident_of(row: RowMapping) -> Incident:
    values = dict(row)
    values["event"] = EventKind(values["event"])
    values["severity"] = Severity(values["severity"])
    values["user"] = values.pop("user_id")
    values["trace_ids"] = tuple(values["trace_ids"])
    return Incident(**values)


def delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "delivery_id": delivery.delivery_id,
        "incident_id": delivery.incident_id,
        "channel": delivery.channel,
        "user_id": delivery.user,
        "reason": delivery.reason.value,
        "document": dict(delivery.document),
        "created_at": delivery.created_at,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at,
        "error": delivery.error,
        "finished_at": delivery.finished_at,
    }


def delivery_of(row: RowMapping) -> Delivery:
    values = {name: value for name, value in row.items() if name != "claimed_until"}
    values["user"] = values.pop("user_id")
    values["reason"] = Reason(values["reason"])
    values["state"] = DeliveryState(values["state"])
    return Delivery(**values)


def channel_of(row: RowMapping) -> Channel:
    return Channel(
        name=row["name"],
        kind=ChannelKind(row["kind"]),
        user=row["user_id"],
        severities=frozenset(Severity(each) for each in row["severities"]),
        level=row["level"],
        enabled=row["enabled"],
        shown=row["shown"],
        created_at=row["created_at"],
    )
