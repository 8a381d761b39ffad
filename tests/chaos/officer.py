"""The person at the kill switch: a second connection to the same journal file, as `ibkit kill` and `risk set` have one.

What the officer does is done between two steps of the process under test, at its points; the connection is opened at
the first press and kept, as no other process's crash concerns it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Environment
from ibkit.store.journal import SqliteJournal
from ibkit.trading.risk import Halt, HaltMode, Layer, LimitChange, RiskBook

from .fates import Fates
from .process import ACCOUNT

__all__ = ["PRESSES", "Officer"]

PRESSES: dict[str, str] = {
    "halt all": "S9: everything is halted",
    "halt account": "S9: the account is halted",
    "halt symbol": "S9: one symbol is halted",
    "halt breaker": "S9: a halt that ends by itself",
    "release": "S9: the halts are released",
    "limit lowered": "S9: a limit is lowered",
    "limit restored": "S9: a limit is as before",
}
_WEIGHTS = (1, 1, 2, 3, 4, 3, 1)
"""A halt of all for good ends most of what a schedule could still show."""
_CRITICAL = frozenset({"K2 after", "K3 after", "K4 before", "K9 after", "K10 before"})
"""Between a decision and what rests on it: here the officer is much quicker."""
_LIMITS = (
    (Layer.ACCOUNT, str(ACCOUNT), "max_shares", ("1", "2", "40")),
    (Layer.SYMBOL, "SPY", "max_shares", ("1", "2", "40")),
    (Layer.ENVIRONMENT, "paper", "max_option_contracts", ("1", "2")),
    (Layer.ACCOUNT, str(ACCOUNT), "max_order_value", ("500", "1500", "20000")),
)
_SOON, _LATER = timedelta(seconds=4), timedelta(minutes=5)

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what only yields to the event loop, and never waits, to its end: nothing else happens meanwhile."""
    while True:
        try:
            work.send(None)
        except StopIteration as ended:
            value: T = ended.value
            return value


class Officer:
    """rate: chance of a press at each point; ten times as much between a decision and what rests on it."""

    def __init__(self, fates: Fates, path: Path, clock: Clock, *, rate: float, environment: Environment) -> None:
        self._fates = fates
        self._path = path
        self._clock = clock
        self._environment = environment
        self._stack = AsyncExitStack()
        self._journal: SqliteJournal | None = None
        self.rate = rate
        self.pressed: Counter[str] = Counter()
        self.presses = 0

    def point(self, name: str, when: str) -> None:
        """Perhaps a press at this point of the process."""
        if not self.rate or not self._path.exists() or self.presses >= 6:
            return
        label = f"{name} {when}"
        dice = self._fates.roll("press", min(1.0, self.rate * (10 if label in _CRITICAL else 1)))
        if dice is None:
            return
        self.presses += 1
        what = dice.choices(list(PRESSES), _WEIGHTS)[0]
        try:
            told = at_once(self._press(what, dice))
        except IbkitError as error:
            told = f"refused: {error.code}"
        self.pressed[what] += 1
        self._fates.tell(f"{what} at {label}: {told}")

    async def set_limit(self, name: str, value: str) -> None:
        """For the account, without chance."""
        await self._set(Layer.ACCOUNT, str(ACCOUNT), name, value)

    async def _set(self, layer: Layer, whose: str, name: str, value: str | None) -> LimitChange:
        book = await self._book()
        change = LimitChange(
            environment=self._environment,
            layer=layer,
            whose=whose,
            name=name,
            new=value,
            by="officer",
            note="chaos",
            at=self._clock.now(),
        )
        return await book.change(change)

    async def _book(self) -> RiskBook:
        if self._journal is None:
            journal = SqliteJournal(self._path, clock=self._clock, run_inline=True)
            self._journal = await self._stack.enter_async_context(journal)
        return self._journal.risk

    async def _press(self, what: str, dice: random.Random) -> str:
        book, now = await self._book(), self._clock.now()
        if what.startswith("halt"):
            halt = Halt(
                environment=self._environment,
                mode=dice.choice(list(HaltMode)),
                by="officer",
                note="chaos",
                at=now,
                account_id=str(ACCOUNT) if what == "halt account" else "",
                symbol="SPY" if what == "halt symbol" else "",
                until=now.replace(microsecond=0) + dice.choice([_SOON, _LATER]) if what == "halt breaker" else None,
            )
            (stored,) = await book.halt(halt)
            return f"halt {stored.number} {stored.mode.value} {stored.whose}"
        if what == "release":
            standing = [halt.number for halt in await book.halts()]
            released = await book.release(*standing, by="officer", note="chaos", at=now)
            return f"{len(released.ended)} halts released"
        layer, whose, name, values = dice.choice(_LIMITS)
        if layer is Layer.ENVIRONMENT:
            whose = self._environment.value
        change = await self._set(layer, whose, name, dice.choice(values) if what == "limit lowered" else None)
        return f"{name} of {layer.value} {change.whose}: {change.new}"

    async def close(self) -> None:
        """Let go of the file; the next press opens it anew."""
        await self._stack.aclose()
        self._journal = None
