"""Which process keeps a connection: the one that holds its lease."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.lease import Lease

__all__ = ["is_kept", "lease_folder", "lease_name_of"]


def lease_folder(settings: Settings) -> Path:
    return settings.state_dir / "worker"


def lease_name_of(row: ConnectionRow) -> str:
    """Of the lock that whoever keeps the connection holds."""
    key = hashlib.sha256(f"{row.user_id}\0{row.connection_id}".encode()).hexdigest()[:16]
    return f"session-{key}"


def is_kept(settings: Settings, row: ConnectionRow) -> bool:
    """Whether a process of this state directory keeps that connection now: its row is then what there is."""
    return Lease(lease_folder(settings), lease_name_of(row)).held()
