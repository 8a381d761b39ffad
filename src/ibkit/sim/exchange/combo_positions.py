"""Combos that an account holds: what was traded as one, as far as its legs are still there.

Positions are always those of the legs (`books.py`); this only remembers which of them belong together. Which holdings
IBKR shows as a combo, and how long, is open: here those of combo orders, until their legs are gone. [sim]

Source: docs/facts/accounts-and-portfolio.md §3.2.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ibkit.sim.exchange.books import AccountBook
    from ibkit.sim.market.instruments import Instrument

__all__ = ["HeldCombo", "combos_held", "remember"]

Legs = tuple[tuple[int, int], ...]
"""Conid and ratio of each leg, by conid, the first ratio positive: so that a combo and its reverse are one."""


@dataclass(frozen=True, slots=True)
class HeldCombo:
    """legs: conid and ratio as held, so that `quantity` is positive."""

    account: str
    legs: Legs
    quantity: Decimal

    @property
    def name(self) -> str:
        return f"CP.CP{zlib.crc32(f'{self.account}/{self.legs}'.encode()):08x}"

    def row(self, positions: list[dict[str, Any]]) -> dict[str, Any]:
        """positions: sparse rows of its legs."""
        return {
            "name": self.name,
            "description": "".join(f"{ratio:+d}*{conid}" for conid, ratio in self.legs).removeprefix("+"),
            "legs": [{"conid": str(conid), "ratio": ratio} for conid, ratio in self.legs],
            "positions": positions,
        }


def remember(book: AccountBook, combo: Instrument, signed: Decimal) -> None:
    """A combo was bought (or, with a negative quantity, sold)."""
    legs = sorted((leg.instrument.conid, leg.ratio) for leg in combo.legs)
    turned = -1 if legs[0][1] < 0 else 1
    key = tuple((conid, ratio * turned) for conid, ratio in legs)
    book.combos[key] = book.combos.get(key, Decimal(0)) + signed * turned


def combos_held(book: AccountBook) -> Iterable[HeldCombo]:
    """What is left of each combo: no more than the smallest of its legs allows."""
    for key, traded in book.combos.items():
        turned = -1 if traded < 0 else 1
        legs = tuple((conid, ratio * turned) for conid, ratio in key)
        covered = min(book.quantity(conid) / ratio for conid, ratio in legs)
        quantity = min(abs(traded), covered.to_integral_value(rounding=ROUND_FLOOR))
        if quantity > 0:
            yield HeldCombo(book.id, legs, quantity)
