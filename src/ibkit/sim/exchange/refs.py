"""cOIDs that are taken. Source: docs/facts/orders.md §4."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkit.sim.exchange.tickets import SimTicket
    from ibkit.sim.world import World

__all__ = ["Refs"]

_MANY = 10_000


class Refs:
    """Remembers each cOID for `coid_hours`, within an account or a user as the quirk `coid_scope` says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._registered: dict[tuple[str, str], datetime] = {}

    def taken(self, username: str, account: str, tickets: Sequence[SimTicket], now: datetime) -> str | None:
        """The first cOID of a request that was used before, or twice in it."""
        seen: set[str] = set()
        for ref in (ticket.ref for ticket in tickets if ticket.ref is not None):
            registered = self._registered.get(self._key(username, account, ref))
            if ref in seen or (registered is not None and now - registered < self._life):
                return ref
            seen.add(ref)
        return None

    def register(self, username: str, account: str, tickets: Sequence[SimTicket], now: datetime) -> None:
        if len(self._registered) > _MANY:
            self._registered = {key: at for key, at in self._registered.items() if now - at < self._life}
        for ticket in tickets:
            if ticket.ref is not None:
                self._registered[self._key(username, account, ticket.ref)] = now

    @property
    def _life(self) -> timedelta:
        return timedelta(hours=self._world.quirks.coid_hours)

    def _key(self, username: str, account: str, ref: str) -> tuple[str, str]:
        return (username if self._world.quirks.coid_scope == "user" else account, ref)
