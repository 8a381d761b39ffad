"""The stream tier in small, and the mistakes that its judge must see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chaos.stream_schedule import LINE_FAULTS, SESSION_FAULTS, run_stream
from ibkit.client import stream
from ibkit.client.order_view import OrderView

pytestmark = [
    pytest.mark.requirement("FUT-02"),
    pytest.mark.skipif(os.name != "posix", reason="as the other tiers"),
]

SCHEDULES = int(os.environ.get("CHAOS_STREAMS", "25"))


@contextmanager
def _patched(owner: Any, **values: Any) -> Iterator[None]:
    before = {name: owner.__dict__[name] for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def _see_fill_without_memory(self: OrderView, fill: Any, source: Any, **named: Any) -> Any:
    self._fills.pop(fill.execution_id, None)
    return _SEE_FILL(self, fill, source, **named)


_SEE_FILL = OrderView.see_fill


def test_whatever_the_line_does_each_event_is_told_once() -> None:
    results = [run_stream(seed) for seed in range(SCHEDULES)]

    assert {r.seed: r.breaches for r in results if r.breaches} == {}
    fired = {name for result in results for name in result.fired}
    assert SCHEDULES < 25 or fired == {*LINE_FAULTS, *SESSION_FAULTS}
    assert sum(result.seen["Down"] for result in results) > SCHEDULES


def test_a_seed_of_the_stream_gives_the_same_run() -> None:
    for seed in range(3):
        first = run_stream(seed)
        assert first.trace == run_stream(seed).trace
        assert first.trace == run_stream(seed, only=first.fates).trace


@pytest.mark.parametrize(
    ("owner", "mistake", "rule"),
    [
        (stream, {"SILENCE_S": 200.0}, "W3"),
        (stream, {"REREAD_EVERY_S": 1e9, "EXPLAIN_WITHIN_S": 1e9}, "W"),
        (OrderView, {"see_fill": _see_fill_without_memory}, "W2"),
    ],
)
def test_a_mistake_put_in_on_purpose_is_seen(owner: Any, mistake: dict[str, Any], rule: str) -> None:
    with _patched(owner, **mistake):
        for seed in range(30):
            if any(breach.startswith(rule) for breach in run_stream(seed).breaches):
                return
    pytest.fail(f"nobody saw {mistake}")
