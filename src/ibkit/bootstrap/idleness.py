"""Whether anybody still uses a connection; where nobody does, IBKR's session is left to end by itself.

    used      a call for it, a listener to quotes, an order or a sold option that is still open
    idle      none of those for SESSION_IDLE_TIMEOUT: no keep-alive, no look, no watch; the next use connects it again

Source: requirement SES-17; IBKR ends a session after five or six minutes without a request
(docs/facts/auth-and-sessions.md §4.3).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ibkit.errors import StorageError
from ibkit.trading.selling.trade import TradeStatus

if TYPE_CHECKING:
    from ibkit.bootstrap.connections import Connection

__all__ = ["Idleness"]

log = logging.getLogger(__name__)


class Idleness:
    """now: it rests."""

    def __init__(self, connection: Connection) -> None:
        self.now = False
        self._of = connection
        self._after_s = connection.settings.session.idle_timeout * 60
        self._used_at = connection.clock.monotonic()

    def used(self) -> bool:
        """Somebody uses it: whether it rested until now."""
        self._used_at = self._of.clock.monotonic()
        rested, self.now = self.now, False
        return rested

    async def began(self) -> bool:
        """Whether it begins to rest now, for nobody has used it for so long."""
        if self.now or not self._after_s or self._of.clock.monotonic() - self._used_at < self._after_s:
            return False
        try:
            busy = await self._busy()
        except StorageError as error:  # what is open is not known: it is kept
            log.warning("whether anything is open could not be read", extra={"code": error.code})
            busy = True
        if busy:
            self._used_at = self._of.clock.monotonic()
            return False
        log.info("nobody uses the connection: its session is left to end by itself")
        self.now = True
        self._of.watch.end()
        return True

    async def _busy(self) -> bool:
        of = self._of
        if of.quote_lines.wanted or of.client.keeper.conversations > 0:
            return True
        for account_id in of.desks:
            if await of.books.journal.open_orders(account_id):
                return True
            if await of.books.trades.trades(account_id=account_id, status=TradeStatus.OPEN):
                return True
        return False
