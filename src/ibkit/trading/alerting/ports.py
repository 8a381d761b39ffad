"""What telling needs of a store: alerts with their messages on the way, and the channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from ibkit.model import Secret
from ibkit.trading.alerting.channel import Channel
from ibkit.trading.alerting.delivery import Delivery
from ibkit.trading.alerting.incident import Happening, Incident

__all__ = ["Channels", "Incidents"]


class Incidents(Protocol):
    """Alerts and what is on its way to whom. Each call is one transaction."""

    async def note(self, happening: Happening, *, channels: Sequence[Channel]) -> Incident | None:
        """Counted, and where it is to be told, messages to the fitting channels are put on their way with it.

        None where it `only_ends`, and there was nothing to end.
        """
        ...

    async def sweep(self, now: datetime, *, channels: Sequence[Channel]) -> int:
        """Put on their way what time alone makes due: counts, escalations; close what is over. How many messages."""
        ...

    async def known_sources(self, sources: Sequence[str]) -> Mapping[str, bool]:
        """Of the journal's alerts: those of `sources` that were counted once, and all that open alerts stand for.

        True: its alert is open.
        """
        ...

    async def reconcile(self, sources: Sequence[str], *, at: datetime) -> int:
        """Close the alerts whose journal's alert is not among the open `sources` any more: how many."""
        ...

    async def claim(self, now: datetime, *, most: int) -> tuple[Delivery, ...]:
        """Messages that are due, for this caller alone for two minutes; a caller that dies gives them back so."""
        ...

    async def settle(self, delivery: Delivery) -> None:
        """Keep what became of a try."""
        ...

    async def purge(self, now: datetime) -> int:
        """Forget what was over long ago: how many alerts."""
        ...


class Channels(Protocol):
    @property
    def fixed(self) -> tuple[Channel, ...]:
        """Those of the settings, which are known without the database."""
        ...

    async def all(self) -> tuple[Channel, ...]:
        """Those of the settings first, then the stored ones by user and name."""
        ...

    async def address(self, channel: Channel) -> tuple[Secret[str], Secret[str] | None]:
        """The address, and the secret that signs. StorageError where it cannot be opened."""
        ...
