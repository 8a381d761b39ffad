"""What the harness has found and the code does not yet do: told by name in each run, and failing no build meanwhile.

A finding leaves this list with the commit that mends it; from then on its seeds in seeds.txt guard it.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OPEN", "finding_of"]

OPEN: Mapping[str, tuple[str, str, frozenset[int]]] = {}
"""Name → (what it is, rule, seeds). By seed, so that a rule stays a rule for all others."""


def finding_of(breach: str, seed: int) -> str:
    """The open finding that a breach of this seed is; empty where it is a new one."""
    return next(
        (name for name, (_, rule, seeds) in OPEN.items() if seed in seeds and breach.startswith(f"{rule}:")), ""
    )
