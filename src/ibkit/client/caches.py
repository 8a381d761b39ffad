"""What a client remembers of IBKR's answers, each with its life time and bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from ibkit.model import Account, Conid, Contract, Increments
from ibkit.wire.contracts import SearchRow, Strikes

__all__ = ["Caches", "Shelf"]

T = TypeVar("T")
DAY_S = 86_400.0
HOUR_S = 3_600.0


class Shelf(Generic[T]):
    """The `most` values put last, each for `life_s` seconds of the clock that `now` comes from."""

    def __init__(self, *, life_s: float, most: int = 1000) -> None:
        self._life_s = life_s
        self._most = most
        self._kept: OrderedDict[object, tuple[float, T]] = OrderedDict()

    def get(self, key: object, now: float) -> T | None:
        found = self._kept.get(key)
        if found is None or now >= found[0]:
            return None
        return found[1]

    def put(self, key: object, value: T, now: float) -> T:
        self._kept[key] = (now + self._life_s, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value

    def clear(self) -> None:
        self._kept.clear()


class Caches:
    """Contracts a day, rules an hour, accounts five minutes (LIM-06).

    searched: symbols asked for in this brokerage session: strikes and info are empty without. Source:
              docs/facts/contracts-and-market-data.md §0.1.
    lines:    contracts whose stream this brokerage session has opened: an order for another one raises o354. Source:
              docs/facts/orders.md §1.8.
    known:    contracts by conid, so that a quote knows whether to wait for two sides.
    """

    def __init__(self) -> None:
        self.searches: Shelf[tuple[SearchRow, ...]] = Shelf(life_s=DAY_S)
        self.strikes: Shelf[Strikes] = Shelf(life_s=DAY_S)
        self.options: Shelf[tuple[Contract, ...]] = Shelf(life_s=DAY_S, most=20_000)
        self.increments: Shelf[Increments] = Shelf(life_s=HOUR_S)
        self.accounts: Shelf[tuple[Account, ...]] = Shelf(life_s=300.0)
        self.searched: set[str] = set()
        self.lines: set[Conid] = set()
        self.known: OrderedDict[Conid, Contract] = OrderedDict()

    def learn(self, contract: Contract) -> Contract:
        self.known[contract.conid] = contract
        if len(self.known) > 20_000:
            self.known.popitem(last=False)
        return contract

    def new_session(self) -> None:
        """Forget what held for one brokerage session only."""
        self.searched.clear()
        self.lines.clear()
