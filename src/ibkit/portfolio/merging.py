"""The same thing told twice counts once: by two statements, by levels of detail, or by live fills and a statement.

Each transaction has ids; one that shares an id with another is the same. Who knows more is believed: activity before
confirmations, confirmations before live fills; of equals, the later one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ibkit.portfolio.transactions import Transaction, differences, says_the_same

__all__ = ["Correction", "Merged", "merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One that was told otherwise later, or that turned out to be several of those that were there.

    before: the first of them. also: the others, which count no more. what: the amounts that changed, empty where the
    newer one only says more. after: keeps the key of `before`, and has the ids of all.
    """

    before: Transaction
    also: tuple[Transaction, ...] = ()
    after: Transaction
    what: tuple[str, ...]


@dataclass(slots=True)
class Merged:
    """known: how many were there already and are the same, or told worse than what is there."""

    added: list[Transaction] = field(default_factory=list)
    corrected: list[Correction] = field(default_factory=list)
    known: int = 0


def merge(there: Iterable[Transaction], told: Iterable[Transaction]) -> Merged:
    """What `told` adds to and changes of `there`."""
    before = {each.key: each for each in there}
    now = dict(before)
    by_id = {each_id: key for key, each in before.items() for each_id in each.ids}
    joined: dict[str, list[str]] = {}
    result = Merged()
    for new in told:
        keys = list(dict.fromkeys(by_id[each] for each in new.ids if each in by_id))
        if not keys:
            now[new.key] = new
            by_id |= dict.fromkeys(new.ids, new.key)
            continue
        keys.sort(key=lambda key: key not in before)
        best = max((now[key] for key in keys), key=lambda each: each.origin)
        better = new if _is_better(new, best) else best
        ids = tuple(dict.fromkeys(each for key in keys for each in now[key].ids))
        ids = tuple(dict.fromkeys((*ids, *new.ids)))
        result.known += better is best
        now[keys[0]] = replace(better, ids=ids)
        for gone in keys[1:]:
            del now[gone]
            joined.setdefault(keys[0], []).extend((gone, *joined.pop(gone, ())))
        by_id |= dict.fromkeys(ids, keys[0])
    result.added = [each for key, each in now.items() if key not in before]
    for key, old in before.items():
        after = now.get(key)
        if after is not None and after is not old and after != old:
            also = tuple(before[each] for each in joined.get(key, ()) if each in before)
            what = differences(old, after)
            result.corrected.append(Correction(before=old, also=also, after=after, what=what))
    return result


def _is_better(new: Transaction, old: Transaction) -> bool:
    if new.origin != old.origin:
        return new.origin > old.origin
    if says_the_same(old, new):
        return False
    before, after = old.source.told_at, new.source.told_at
    return before is None or after is None or after >= before
