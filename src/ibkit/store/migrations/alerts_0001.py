"""Alerts that people are told of, messages on their way, acknowledgements, channels; SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_INCIDENTS = Table(
    "alert_incidents",
    _METADATA,
    Column("incident_id", String(36), primary_key=True),
    Column("event", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("count", Integer, nullable=False),
    Column("told_count", Integer, nullable=False),
    Column("told_at", Instant),
    Column("level", Integer, nullable=False),
    Column("escalated_at", Instant),
    Column("trace_ids", JSON, nullable=False),
    Column("source", String(36), nullable=False),
    Column("details", JSON, nullable=False),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", String(64), nullable=False),
    Column("closed_at", Instant),
    Column("closed_note", String(400), nullable=False),
    CheckConstraint("severity IN ('info', 'warning', 'critical')", name="alert_incidents_severity"),
    CheckConstraint("told_count <= count", name="alert_incidents_counts"),
)
Index(
    "alert_incidents_open",
    _INCIDENTS.c.event,
    _INCIDENTS.c.subject,
    _INCIDENTS.c.user_id,
    unique=True,
    sqlite_where=text("closed_at IS NULL"),
    postgresql_where=text("closed_at IS NULL"),
)
Index("alert_incidents_last", _INCIDENTS.c.last_at)

_DELIVERIES = Table(
    "alert_deliveries",
    _METADATA,
    Column("delivery_id", String(36), primary_key=True),
    Column("incident_id", String(36), ForeignKey(_INCIDENTS.c.incident_id), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("reason", String(12), nullable=False),
    Column("document", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("state", String(9), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("claimed_until", Instant),
    Column("error", String(400), nullable=False),
    Column("finished_at", Instant),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="alert_deliveries_state"),
)
Index("alert_deliveries_due", _DELIVERIES.c.state, _DELIVERIES.c.next_at)
Index("alert_deliveries_incident", _DELIVERIES.c.incident_id)

_ACKNOWLEDGEMENTS = Table(
    "alert_acknowledgements",
    _METADATA,
    Column("acknowledgement_id", Integer, primary_key=True),
    Column("incident_id", String(36), nullable=False),
    Column("at", Instant, nullable=False),
    Column("by", String(64), nullable=False),
    Column("action", String(12), nullable=False),
    Column("note", String(400), nullable=False),
    CheckConstraint("action IN ('acknowledged', 'closed')", name="alert_acknowledgements_action"),
)

_CHANNELS = Table(
    "alert_channels",
    _METADATA,
    Column("user_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("severities", JSON, nullable=False),
    Column("level", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("shown", String(120), nullable=False),
    Column("sealed_address", Text, nullable=False),
    Column("sealed_secret", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("kind IN ('webhook', 'service')", name="alert_channels_kind"),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(
            text(
                f"CREATE FUNCTION {SCHEMA}.acknowledgements_stay() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'alert_acknowledgements are append-only'; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER alert_acknowledgements_stay BEFORE UPDATE OR DELETE ON"
                f" {SCHEMA}.alert_acknowledgements FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.acknowledgements_stay()"
            )
        )
        return
    for verb in ("UPDATE", "DELETE"):
        connection.execute(
            text(
                f"CREATE TRIGGER alert_acknowledgements_no_{verb.lower()} BEFORE {verb} ON alert_acknowledgements"
                " BEGIN SELECT RAISE(ABORT, 'alert_acknowledgements are append-only'); END"
            )
        )
