"""The orders that have not ended are all told, however many newer ones there are, and later only what moved is read."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any, cast

import pytest

from doubts import acknowledged, planned
from fakes import START
from ibkit.model import Environment
from ibkit.service.brokers import Login
from ibkit.service.open_orders import WHOLE_ONCE_IN_S, OpenOrders
from ibkit.trading.events import IntentId
from ibkit.trading.intent import Intent, IntentState

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UI-11", "GWY-07")]


class Book:
    """A login and its journal: newest first, in pages."""

    environment = Environment.PAPER

    def __init__(self, intents: list[Intent]) -> None:
        self.intents = intents
        self.told = 0

    @property
    def journal(self) -> Book:
        return self

    async def of_keys(self, beginning: str, **asked: Any) -> tuple[Intent, ...]:
        since, before = asked["changed_since"], asked["before"]
        found = [each for each in self.intents[::-1] if since is None or each.updated_at >= since]
        if before is not None:
            found = found[[each.intent_id for each in found].index(before) + 1 :]
        self.told += len(found[: asked["limit"]])
        return tuple(found[: asked["limit"]])


def order(number: int, state: IntentState = IntentState.CANCELLED, **changes: Any) -> Intent:
    at = START + timedelta(minutes=number)
    plan = planned(intent_id=IntentId(f"ib-{number:032}"), at=at)
    return acknowledged(plan, state=state, **{"updated_at": at, **changes})


def moved(intent: Intent, state: IntentState, **changes: Any) -> Intent:
    return dataclasses.replace(intent, state=state, updated_at=START + timedelta(days=9), **changes)


async def test_an_old_order_is_among_them_until_it_ends() -> None:
    doubtful = order(1, IntentState.UNKNOWN_NEEDS_HUMAN)
    book = Book([order(0, IntentState.ACKED), doubtful, *map(order, range(2, 500)), order(500, IntentState.ACKED)])
    now = 0.0
    orders = OpenOrders(lambda: now)

    async def found() -> list[int]:
        told = await orders.of(cast("Login", book), "ada", where="ibkr", or_nobodys=False)
        return [int(each.intent_id[3:]) for each in told]

    assert await found() == [500, 1, 0]
    whole, book.told = book.told, 0
    assert await found() == [500, 1, 0]
    assert book.told < 10 < whole
    book.intents[0] = moved(book.intents[0], IntentState.FILLED)
    book.intents[1] = moved(doubtful, IntentState.UNKNOWN_NEEDS_HUMAN, resolved=True)
    book.intents.append(order(501, IntentState.SENDING))
    assert await found() == [501, 500]
    book.intents[500] = dataclasses.replace(book.intents[500], state=IntentState.FILLED)  # a clock far behind wrote it
    assert await found() == [501, 500]
    now = WHOLE_ONCE_IN_S
    assert await found() == [501]
