"""While calls to IBKR pause: until when, and which positions go without their orders. Source: requirement LIM-03."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

from ibkit.client import Client
from ibkit.errors import IbkitError, StorageError
from ibkit.trading.connection import Standing, pause_of
from ibkit.trading.ports import Alerts
from ibkit.trading.selling.ports import Trades
from ibkit.trading.watching.waiting import waiting_positions

__all__ = ["Waiting", "nothing_waits", "paused_until", "waiting_in"]

log = logging.getLogger(__name__)

Waiting = Callable[[IbkitError, Collection[str]], Awaitable[Sequence[str]]]
"""What a look failed by, and the login's accounts → positions that wait for orders which are not placed."""


async def nothing_waits(error: IbkitError, accounts: Collection[str]) -> Sequence[str]:
    return ()


def waiting_in(trades: Trades, alerts: Alerts) -> Waiting:
    """Of the penalty box, by these books; nothing where they cannot be read, for the alert itself must go out."""

    async def waits(error: IbkitError, accounts: Collection[str]) -> Sequence[str]:
        if error.code != "E-PENALTY":
            return ()
        try:
            return await waiting_positions(trades, alerts, accounts)
        except StorageError as failure:
            log.warning("which positions wait for orders could not be read", extra={"code": failure.code})
            return ()

    return waits


def paused_until(standing: Standing, client: Client) -> datetime | None:
    """By the client itself, or by what the last look found; None where calls do not pause."""
    error, now = standing.error, client.clock.now()
    found = (client.paused_until, None if error is None else pause_of(error))
    return max((each for each in found if each is not None and each > now), default=None)
