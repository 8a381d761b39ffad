"""What a topic may look at: one login in one world, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ibkit.sim.logins.logins import Brokerage, Session
from ibkit.sim.routing import Call
from ibkit.sim.world import World
from ibkit.wire.marketdata import SNAPSHOT

__all__ = ["Topic", "View"]


@dataclass(frozen=True, slots=True)
class View:
    """at: seconds of the pacing clock, by which sockets measure; the world has its own time in `world.now`."""

    world: World
    session: Session
    face: str
    at: float

    @property
    def brokerage(self) -> Brokerage | None:
        return self.session.brokerage

    @property
    def accounts(self) -> tuple[str, ...]:
        """Whose orders are told of."""
        if self.world.quirks.sor_of_all_accounts:
            return tuple(account.id for account in self.session.user.accounts)
        selected = self.brokerage.selected_account if self.brokerage else None
        return () if selected is None else (selected,)

    def call(self) -> Call:
        """The same as a handler would see it: streams and snapshots share lines and rules."""
        return Call(self.world, self.session, SNAPSHOT, {}, {}, None, self.world.now, self.face)


class Topic(Protocol):
    """One subscription of one socket."""

    def ask(self, view: View, args: Mapping[str, Any]) -> None:
        """The subscription came, or came again. Source: docs/facts/websocket.md §4."""

    def frames(self, view: View) -> Iterable[dict[str, Any]]:
        """What is to be told now, oldest first; each thing once."""

    def end(self, view: View) -> None:
        """Nobody reads it any more."""
