"""The service with `BROKER_PROVIDER=ibkr`, on the gateway face of a simulated world inside the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from people import People
from service_desks import ORDER, PACE, Served, fast_world, served, settings_of, unhurried

__all__ = ["IBKR", "at_the_gateway", "order"]

IBKR = {**ORDER, "broker": "ibkr"}


@contextmanager
def at_the_gateway(
    folder: Path, *scenarios: str, people: People | None = None, pace: float = PACE, **flags: str
) -> Iterator[Served]:
    """The service on a simulated gateway, whatever state that is in. pace: of its time."""
    world = fast_world(pace=pace)
    if scenarios:
        world.control("POST", "scenario", {"scenario": list(scenarios)})
    settings = settings_of(folder, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="gateway", **flags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.brokers.open_connection", unhurried)
        with served(settings, world=world, people=people, wait=not scenarios) as found:
            yield found


def order(service: Served, **changes: Any) -> Any:
    return service.order(broker="ibkr", **changes)
