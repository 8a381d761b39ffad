"""Whether a contract can be bought now: what time exits and buy-backs at market ask first."""

from __future__ import annotations

from datetime import datetime

from ibkit.errors import IbkitError
from ibkit.model import Contract
from ibkit.trading.ports import Broker

__all__ = ["is_open"]


async def is_open(broker: Broker, contract: Contract, at: datetime) -> bool:
    """Whether `contract` trades in regular hours at `at`; False where IBKR does not say. Of a combination, its legs do.

    Their hours are the same: options of one underlying.
    """
    part = contract.legs[0].contract if contract.legs else contract
    try:
        hours = await broker.trading_hours(part)
    except IbkitError:
        return False
    return hours is not None and hours.open_at(at, outside_rth=False)
