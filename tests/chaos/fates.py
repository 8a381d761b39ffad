"""Every misfortune of a schedule has a number, so that a failing schedule can be run again with fewer of them.

Each kind of misfortune rolls dice of its own. The n-th roll of "crash" that strikes is the fate `crash n`, whatever
else happened before; its details come from dice of its own, too. A run that allows some fates only is therefore as
near to the whole run as can be: what is left strikes at the same roll and in the same way.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection

__all__ = ["Fates"]


class Fates:
    """only: the fates that may strike, None for all of them.

    struck: those that did, with what each did, in order.
    """

    def __init__(self, seed: int, only: Collection[str] | None = None) -> None:
        self._seed = seed
        self._only = None if only is None else frozenset(only)
        self._dice: dict[str, random.Random] = {}
        self._rolls: Counter[str] = Counter()
        self.struck: dict[str, str] = {}
        self.note: Callable[[str], None] = lambda _text: None

    def dice(self, name: str) -> random.Random:
        """A stream of chance for one purpose; draws for another do not disturb it."""
        return random.Random(f"{self._seed}/{name}")

    def roll(self, kind: str, rate: float) -> random.Random | None:
        """Dice for the details where the next roll of `kind` strikes. rate: its chance, 0 to 1."""
        dice = self._dice.get(kind)
        if dice is None:
            dice = self._dice[kind] = self.dice(kind)
        self._rolls[kind] += 1
        if dice.random() >= rate:
            return None
        return self._strike(f"{kind} {self._rolls[kind]}")

    def given(self, fate: str) -> random.Random | None:
        """Dice for a fate that strikes in every run, unless it is left out: `wish 2`."""
        return self._strike(fate)

    def tell(self, text: str) -> None:
        """What the newest fate did."""
        fate = next(reversed(self.struck))
        self.struck[fate] = text
        self.note(f"[{fate}] {text}")

    def _strike(self, fate: str) -> random.Random | None:
        if self._only is not None and fate not in self._only:
            return None
        self.struck[fate] = ""
        return self.dice(fate)
