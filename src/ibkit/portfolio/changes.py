"""What a sync changes: rows to add, to rewrite and to remove, and the counts that a person is told. SYN-06, SYN-14."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ibkit.portfolio.book import Holding, HoldingSource

__all__ = ["Changes", "changes_between"]

_COUNTED = ("units", "average_cost", "currency", "multiplier", "expiry", "strike", "right")
"""Of these a change is one of the holding; a new price alone is none."""
_FIGURES = tuple(each.name for each in fields(Holding) if each.name != "synced_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """put: rows to write, of them `added` new and `changed` other than in price. gone: keys of rows to remove.

    removed: holdings that are there no more; one by hand in whose place the broker's own came is not counted.
    """

    after: tuple[Holding, ...]
    put: tuple[Holding, ...]
    gone: tuple[tuple[str, int, str], ...]
    added: int
    changed: int
    removed: int


def changes_between(before: Sequence[Holding], told: Sequence[Holding], *, keep_manual: bool) -> Changes:
    """before: what the account holds. told: what the broker holds, all of it.

    keep_manual: holdings by hand that the broker does not have stay beside its own; else its own alone count.
    What has not changed is not written again, so that it keeps the time at which it was first so.
    """
    there = {holding.key: holding for holding in before}
    after = {holding.key: holding for holding in told}
    put: list[Holding] = []
    added = changed = 0
    for key, holding in after.items():
        old = there.get(key)
        if old is None:
            added += 1
            put.append(holding)
        elif any(getattr(old, name) != getattr(holding, name) for name in _FIGURES):
            if old.source is not holding.source:
                added += 1
            elif any(getattr(old, name) != getattr(holding, name) for name in _COUNTED):
                changed += 1
            put.append(holding)
        else:
            after[key] = replace(holding, synced_at=old.synced_at)
    symbols = {holding.symbol for holding in told}
    gone = []
    removed = 0
    for key, old in there.items():
        if key in after:
            continue
        if old.source is HoldingSource.MANUAL and keep_manual and old.symbol not in symbols:
            after[key] = old
        else:
            gone.append(key)
            removed += old.source is HoldingSource.IBKR or old.symbol not in symbols
    return Changes(
        after=tuple(after[key] for key in sorted(after)),
        put=tuple(put),
        gone=tuple(sorted(gone)),
        added=added,
        changed=changed,
        removed=removed,
    )
