"""What the harness has found and the code does not yet do: told by name in each run, and failing no build meanwhile.

A finding leaves this list with the commit that mends it; from then on its seeds in seeds.txt guard it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["OPEN", "finding_of"]

_Broken = Callable[[str, Mapping[str, int]], bool]

OPEN: dict[str, tuple[str, _Broken]] = {}


def finding_of(breach: str, fired: Mapping[str, int]) -> str:
    """The open finding that explains a breach; empty where none does.

    fired: the faults of the schedule.
    """
    return next((name for name, (_, explains) in OPEN.items() if explains(breach, fired)), "")
