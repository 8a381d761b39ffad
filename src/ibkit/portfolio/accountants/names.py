"""Names that other programs accept, each of ours by one of its own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Names", "account_part", "commodity"]

_LONGEST = 24


@dataclass(slots=True)
class Names:
    """What each key of ours is called; two keys never share a name. make: of a text, without regard to others."""

    make: Callable[[str], str]
    given: dict[object, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def of(self, key: object, text: str) -> str:
        if key not in self.given:
            name, number = self.make(text), 1
            while name in self.taken:
                number += 1
                tail = f"-{number}"
                name = self.make(text)[: _LONGEST - len(tail)].rstrip("-._'") + tail
            self.taken.add(name)
            self.given[key] = name
        return self.given[key]


def commodity(symbol: str) -> str:
    """Capitals, digits and `'._-` between a capital and a capital or digit, at most 24.

    >>> commodity("BRK B"), commodity("SPY   261218P00540000"), commodity("4GLD"), commodity("🚀")
    ('BRK.B', 'SPY.261218P00540000', 'X4GLD', 'XX')
    """
    plain = unicodedata.normalize("NFKD", symbol).encode("ascii", "ignore").decode().upper()
    found = re.sub(r"[^A-Z0-9._'-]+", ".", plain.strip()).strip("._'-")
    if not found or not found[0].isalpha():
        found = f"X{found}"
    found = found[:_LONGEST].rstrip("._'-")
    return found if len(found) > 1 else f"{found}X"


def account_part(name: str) -> str:
    """One part of an account's name: letters, digits and dashes, a capital first.

    >>> account_part("My IRA/1"), account_part("日本"), account_part("ærø")
    ('My-IRA-1', 'Account', 'Account-r')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    found = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:60].strip("-")
    if not found:
        return "Account"
    return found[0].upper() + found[1:] if found[0].isdigit() or len(found) > 1 else f"Account-{found}"
