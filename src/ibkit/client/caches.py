"""What a client remembers of IBKR's answers, each with its life time and bound. LIM-06.

Only what is looked at: never an error, never a list of orders or fills, and nothing that the risk controls decide by
(`risk_reads.py` says what those keep). An order of ours empties what it may have changed, see `Caches.changing`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from ibkit.client.execution_turns import ExecutionTurns
from ibkit.model import Account, Conid, Contract, Greeks, Increments, Position, Quote
from ibkit.wire.contracts import SearchRow, Strikes, TrsrvSecdef
from ibkit.wire.session import BrokerageStatus

__all__ = ["Caches", "OptionLook", "Shelf"]

T = TypeVar("T")
OptionLook = tuple[Quote, Greeks]
DAY_S = 86_400.0
HOUR_S = 3_600.0
ACCOUNTS_S = 300.0
ACCOUNTS_ONCE_IN_S = 5.0
"""How often IBKR lets the accounts be asked; every portfolio call wants them asked before it.
Source: docs/facts/accounts-and-portfolio.md §2.1."""
POSITIONS_S = 5.0
QUOTES_S = 1.0
STATUS_S = 30.0


class Shelf(Generic[T]):
    """The `most` values put last, each for `life_s` seconds of the clock that `now` comes from; with 0 none.

    turn: goes up whenever the shelf is emptied; what was asked before that is not put any more.
    """

    def __init__(self, *, life_s: float, most: int = 1000) -> None:
        self._life_s = life_s
        self._most = most
        self._kept: OrderedDict[object, tuple[float, T]] = OrderedDict()
        self.turn = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: object, now: float) -> T | None:
        found = self._kept.get(key)
        if found is None or now >= found[0]:
            return None
        return found[1]

    def put(self, key: object, value: T, now: float, *, asked_in: int | None = None) -> T:
        """The value. asked_in: the turn in which it was asked for; in a later one it may be out of date already."""
        if self._life_s <= 0 or (asked_in is not None and asked_in != self.turn):
            return value
        self._kept[key] = (now + self._life_s, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value

    def clear(self) -> None:
        self.turn += 1
        self._kept.clear()


class Caches:
    """Contracts a day, rules an hour, accounts five minutes, positions 5 s, quotes 1 s, the session's status 30 s.

    keep:     False for none of that (`--no-cache`); the accounts are then kept for as long as IBKR wants between two.
    searched: symbols asked for in this brokerage session: strikes and info are empty without. Source:
              docs/facts/contracts-and-market-data.md §0.1.
    lines:    contracts whose stream this brokerage session has opened: an order for another one raises o354. Source:
              docs/facts/orders.md §1.8.
    known:    contracts by conid, so that a quote knows whether to wait for two sides.
    execution_turns: whose executions a sync has read, and when.
    """

    def __init__(self, *, keep: bool = True) -> None:
        part = 1.0 if keep else 0.0
        self.searches: Shelf[tuple[SearchRow, ...]] = Shelf(life_s=DAY_S * part)
        self.strikes: Shelf[Strikes] = Shelf(life_s=DAY_S * part)
        self.options: Shelf[tuple[Contract, ...]] = Shelf(life_s=DAY_S * part, most=20_000)
        self.increments: Shelf[Increments] = Shelf(life_s=HOUR_S * part)
        self.accounts: Shelf[tuple[Account, ...]] = Shelf(life_s=ACCOUNTS_S if keep else ACCOUNTS_ONCE_IN_S)
        self.positions: Shelf[tuple[Position, ...]] = Shelf(life_s=POSITIONS_S * part, most=100)
        self.secdefs: Shelf[TrsrvSecdef] = Shelf(life_s=DAY_S * part)
        self.option_looks: Shelf[OptionLook] = Shelf(life_s=QUOTES_S * part)
        self.quotes: Shelf[Quote] = Shelf(life_s=QUOTES_S * part)
        self.status: Shelf[BrokerageStatus] = Shelf(life_s=STATUS_S * part, most=1)
        self.searched: set[str] = set()
        self.lines: set[Conid] = set()
        self.known: OrderedDict[Conid, Contract] = OrderedDict()
        self.execution_turns = ExecutionTurns()

    def learn(self, contract: Contract) -> Contract:
        self.known[contract.conid] = contract
        if len(self.known) > 20_000:
            self.known.popitem(last=False)
        return contract

    def new_session(self) -> None:
        """Forget what held for one session only: in each, the accounts come before any other portfolio call."""
        self.accounts.clear()
        self.searched.clear()
        self.lines.clear()
        self.quotes.clear()
        self.option_looks.clear()
        self.status.clear()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around what may change an order, however it ends, and around a sync: what is held is asked for anew after.

        What was asked for before or during it is kept by nobody.
        """
        self.positions.clear()
        try:
            yield
        finally:
            self.positions.clear()
