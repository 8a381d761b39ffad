"""One reading for all who ask for the same within a moment."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from ibkit.errors import IbkitError, Unreachable
from ibkit.service.shared_reads import SharedReads

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UI-04")]


async def test_all_who_ask_meanwhile_share_one_answer_and_one_refusal() -> None:
    now, calls = 0.0, 0
    shared: SharedReads[int] = SharedReads(5.0)
    login, other = object(), object()

    async def read() -> int:
        nonlocal calls
        calls += 1
        await anyio.lowlevel.checkpoint()
        if now >= 10:
            raise Unreachable("gone")
        return calls

    async def asked(whose: object = login, what: str = "SPY") -> int:
        return await shared.of(whose, what, read, lambda: now)

    found: list[int] = []

    async def one() -> None:
        found.append(await asked())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert (found, calls) == ([1] * 20, 1)
    assert [await asked(what="QQQ"), await asked(other), await asked()] == [2, 3, 1]
    now = 5.0
    assert await asked() == 4
    now = 10.0
    for _ in range(3):
        with pytest.raises(IbkitError):
            await asked()
    assert calls == 5, "a broker that is down is not asked by each who waits"


async def test_one_who_leaves_takes_nobody_elses_answer_with_them() -> None:
    shared: SharedReads[int] = SharedReads(5.0)

    async def slow() -> int:
        await anyio.sleep_forever()
        raise AssertionError

    async def quick() -> int:
        return 7

    with anyio.move_on_after(0):
        await shared.of(shared, "SPY", slow, lambda: 0.0)
    assert await shared.of(shared, "SPY", quick, lambda: 0.0) == 7
