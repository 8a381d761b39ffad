"""Who is told what became of an order, a change or a cancel once it is at rest: an audit log, for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ibkit.errors import IbkitError
from ibkit.trading.events import Planned
from ibkit.trading.intent import Intent

__all__ = ["Teller", "untold"]

Teller: TypeAlias = Callable[[Planned, Intent | IbkitError], None]
"""Called from the task that trades, after everything else: it must not block and must not raise.

With the intent at rest, or with the error that kept it from being one.
"""


def untold(_planned: Planned, _found: Intent | IbkitError) -> None:
    """The teller of those who keep no such log."""
