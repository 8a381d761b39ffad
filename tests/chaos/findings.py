"""What the harness has found and the code does not yet do: told by name in each run, and failing no build meanwhile.

A finding leaves this list with the commit that mends it; from then on its seeds in seeds.txt guard it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["OPEN", "finding_of"]

_Broken = Callable[[str, Mapping[str, int]], bool]

OPEN: dict[str, tuple[str, _Broken]] = {
    "C1": (
        "a cancel is called refused or undone before its settle window is over",
        lambda breach, _: breach.startswith("S7:") and "-cancel-" in breach,
    ),
    "C4": (
        "a brokerage session that changes without an error goes unnoticed, and absence is shown in the wrong one",
        lambda breach, fired: (
            breach.startswith("S7:")
            and "-place-" in breach
            and "ProvenAbsent" in breach
            and any(fired.get(name) for name in ("relogin", "logout", "taken"))
        ),
    ),
    "C5": (
        "a late order is not adopted where the one look at the lists is the session's first",
        lambda breach, _: breach.startswith("S7b:"),
    ),
    "C6": (
        "cancels have no age limit at the send",
        lambda breach, _: breach.startswith("RC-26:") and "-cancel-" in breach,
    ),
}


def finding_of(breach: str, fired: Mapping[str, int]) -> str:
    """The open finding that explains a breach; empty where none does.

    fired: the faults of the schedule.
    """
    return next((name for name, (_, explains) in OPEN.items() if explains(breach, fired)), "")
