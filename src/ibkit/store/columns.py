"""Column types that keep money exact and instants aware on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Dialect, Numeric, String
from sqlalchemy.types import TIMESTAMP, TypeDecorator, TypeEngine

__all__ = ["Exact", "Instant", "instant_text"]


class Exact(TypeDecorator[Decimal]):
    """A Decimal: NUMERIC on PostgreSQL, its digits as text on SQLite, whose numbers are floats."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else String(64))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return f"{value:f}"

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Instant(TypeDecorator[datetime]):
    """An aware instant: timestamptz on PostgreSQL; UTC text on SQLite, which sorts as it reads."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else String(40))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return instant_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or isinstance(value, datetime):
            return value
        return datetime.fromisoformat(value)


def instant_text(value: datetime) -> str:
    """`2026-11-20T15:30:00.000000+00:00`: always UTC and of one length, so that text order is time order."""
    assert value.tzinfo is not None, "an instant is aware"
    return value.astimezone(UTC).isoformat(timespec="microseconds")
