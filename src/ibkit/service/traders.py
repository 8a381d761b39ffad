"""Requests that may place an order: who asks, how often, and whether the service takes any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ibkit.errors import IbkitError
from ibkit.service.rates import OrderRates
from ibkit.service.requests import AnyRequest, Asked
from ibkit.users.principal import Principal

__all__ = ["Traders"]


@dataclass(frozen=True, slots=True)
class Traders:
    """stopping: the service takes no more orders."""

    asked: Asked
    rates: OrderRates
    stopping: Callable[[], bool]

    async def who(self, request: AnyRequest, *, cancels: bool = False) -> Principal:
        """AuthError, RateLimited, IbkitError (E-STOPPING)."""
        found = await self.asked.who(request)
        self.rates.take(found.user_id, cancel=cancels)
        if self.stopping():
            raise IbkitError(code="E-STOPPING", details={"retry_after": 5})
        return found

    async def body(self, who: Principal, request: AnyRequest) -> Any:
        """The body; then the request is counted."""
        body = await self.asked.body(request)
        await self.rates.count(who.user_id)
        return body
