"""One life of `ibkit serve` for `service_kills`: whoever holds a token `trader-…` may trade, and its clock runs fast.

python service_life.py START BEGUN SPEED BUG and the words of ibkit
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.kill import FastClock
from ibkit.bootstrap import Edges, using
from ibkit.cli import run
from ibkit.errors import AuthError
from ibkit.model import Key, Secret
from ibkit.service import app, serving
from ibkit.service.rates import Rates
from ibkit.users.principal import Principal
from people import person

MOST_PER_MINUTE = 100_000
"""Clients that repeat after every death are not to meet the sixty requests a minute of a user."""


class Traders:
    async def authenticate(self, token: Secret[str], *, address: str) -> Principal:
        name = token.reveal()
        if not name.startswith("trader-"):
            raise AuthError(code="E-APP-AUTH")
        return person(name)


def forgetful() -> None:
    """A planted mistake: a key is known for one life only."""
    whole = app.read_key
    app.read_key = lambda given, *, user_id: Key(f"{whole(given, user_id=user_id)}.{os.getpid()}")


BUGS = {"": lambda: None, "forgetful": forgetful}


if __name__ == "__main__":
    start, begun, speed, bug = sys.argv[1:5]
    BUGS[bug]()
    clock = FastClock(datetime.fromisoformat(start), float(speed), begun=float(begun))
    serving.Rates = partial(Rates, limit=MOST_PER_MINUTE)  # type: ignore[assignment, misc]
    with using(Edges(authenticator=lambda _: Traders(), clock=clock)):
        sys.exit(run(sys.argv[5:]))
