"""`ibkit serve` as a process of its own, with the tests' users, and where it is told to, killed at a point."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ibkit.bootstrap import Edges, using
from ibkit.cli import run
from people import People


def die_before_sending() -> None:
    """Killed with the intent on disk and no byte of it sent."""
    from ibkit.trading.gateway import OrderGateway

    async def dead(self: OrderGateway, intent: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    OrderGateway.resume = dead  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    if os.environ.get("DIE") == "before":
        die_before_sending()
    with using(Edges(authenticator=lambda _: People())):
        sys.exit(run(sys.argv[1:]))
