"""The three policies, and that nobody is held up by a listener that is gone."""

from __future__ import annotations

import gc
from functools import partial

import anyio
import pytest

from ibkit.client.channels import Every, Latest, Recent
from ibkit.client.listeners import Listeners
from ibkit.model import Connecting, Notice

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("FUT-02")]


async def nothing() -> None:
    """Nothing to begin."""


async def test_every_keeps_all_in_order_and_says_when_it_is_full() -> None:
    channel: Every[int] = Every(nothing, bound=2)
    channel.put(1)
    assert not channel.full
    channel.put(2)
    assert channel.full
    assert [await anext(channel), await anext(channel)] == [1, 2]
    channel.end()
    with pytest.raises(StopAsyncIteration):
        await anext(channel)


async def test_latest_keeps_the_newest_of_each_key_that_fits() -> None:
    channel: Latest[tuple[str, int]] = Latest(nothing, key=lambda v: v[0], fits=lambda v: v[0] != "c")
    for value in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        channel.put(value)
    channel.end()
    assert [value async for value in channel] == [("a", 2), ("b", 1)]


async def test_recent_keeps_the_newest() -> None:
    channel: Recent[int] = Recent(nothing, bound=2)
    for value in (1, 2, 3):
        channel.put(value)
    channel.end()
    assert [value async for value in channel] == [2, 3]


def _notice(text: str) -> Notice:
    return Notice(text, None, None, None, ())


async def test_the_teller_waits_for_a_listener_that_lags() -> None:
    to = Listeners(nothing)
    channel: Every[Notice] = Every(nothing, bound=1)
    to.notices.add(channel)
    told: list[str] = []

    async def tell() -> None:
        for text in "abc":
            await to.tell_each(to.notices, (partial(_notice, text),))
            told.append(text)

    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        await anyio.wait_all_tasks_blocked()
        assert told == ["a"]
        assert (await anext(channel)).text == "a"
        await anyio.wait_all_tasks_blocked()
        assert told == ["a", "b"]
        assert [(await anext(channel)).text for _ in range(2)] == ["b", "c"]


async def test_a_listener_that_is_thrown_away_holds_nobody_up() -> None:
    to = Listeners(nothing)
    channel: Every[Notice] = Every(nothing, bound=1)
    to.notices.add(channel)
    async with anyio.create_task_group() as group:
        group.start_soon(to.tell_each, to.notices, (partial(_notice, "a"), partial(_notice, "b")))
        await anyio.wait_all_tasks_blocked()
        del channel
        gc.collect()
    assert len(to.notices) == 0


async def test_a_teller_that_is_cancelled_took_in_only_what_it_told() -> None:
    """What was taken in counts as told and is never told again: a line that breaks here must not lose it."""
    to = Listeners(nothing)
    channel: Every[Notice] = Every(nothing, bound=1)
    to.notices.add(channel)
    taken: list[str] = []

    def make(text: str) -> Notice:
        taken.append(text)
        return _notice(text)

    async with anyio.create_task_group() as group:
        group.start_soon(to.tell_each, to.notices, [partial(make, text) for text in "abc"])
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert taken == ["a"]
    assert (await anext(channel)).text == "a"


async def test_the_end_of_the_stream_ends_every_listener() -> None:
    to = Listeners(nothing)
    line: Recent[Connecting] = Recent(nothing, bound=9)
    to.lifecycle.add(line)
    to.tell(Connecting(1))
    to.end()
    assert [event async for event in line] == [Connecting(1)]
