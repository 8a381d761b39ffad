"""Whether an answer has the shape of a recorded one: the same keys, the same kinds of values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["assert_same_shape"]


def assert_same_shape(
    answer: Any,
    recorded: Any,
    *,
    more: Collection[str] = (),
    trimmed: bool = False,
    free: Collection[str] = (),
    where: str = "$",
) -> None:
    """Keys and JSON types of `answer` are those of `recorded`.

    more: keys that may be there as well. trimmed: any others may. free: keys of any type. A null fits everything.
    """
    if isinstance(recorded, dict):
        assert isinstance(answer, dict), f"{where}: {answer!r} is no object"
        missing = recorded.keys() - answer.keys()
        extra = set() if trimmed else answer.keys() - recorded.keys() - set(more)
        assert not missing, f"{where}: lacks {sorted(missing)}"
        assert not extra, f"{where}: has {sorted(extra)}"
        for key, value in recorded.items():
            if key not in free:
                assert_same_shape(answer[key], value, more=more, trimmed=trimmed, free=free, where=f"{where}.{key}")
    elif isinstance(recorded, list):
        assert isinstance(answer, list), f"{where}: {answer!r} is no array"
        assert bool(answer) == bool(recorded), f"{where}: {len(answer)} rows instead of {len(recorded)}"
        for index, row in enumerate(answer):
            like = recorded[min(index, len(recorded) - 1)]
            assert_same_shape(row, like, more=more, trimmed=trimmed, free=free, where=f"{where}[{index}]")
    elif recorded is not None and answer is not None:
        assert _kind(answer) == _kind(recorded), f"{where}: {answer!r} instead of {recorded!r}"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
