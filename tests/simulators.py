"""Simulators for tests: in process, with ready keys, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ibkit.sim.inprocess import CLOUD_URL, GATEWAY_URL, TRADING_MOMENT, Simulator
from ibkit.wire.http import Request, Response

__all__ = ["KEYS", "Caller", "make_simulator"]

KEYS = Path(__file__).resolve().parent / "keys"


def make_simulator(*scenarios: str, start: datetime = TRADING_MOMENT, seed: int = 7, **quirks: Any) -> Simulator:
    """A simulator with the given scenarios and quirks, 10:30 in New York on a Friday unless told otherwise."""
    from ibkit.sim.quirks import Quirks

    return Simulator.at(
        start, keys=KEYS, seed=seed, scenarios=scenarios or ("ok",), quirks=Quirks().with_values(quirks)
    )


class Caller:
    """Plain requests to one face, as curl would send them, for tests of the simulator itself."""

    def __init__(
        self, simulator: Simulator, face: str = "gateway", *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.simulator = simulator
        self.transport = simulator.transport("cloud" if face == "cloud" else "gateway")
        self.base = CLOUD_URL if face == "cloud" else GATEWAY_URL
        self.headers = {"User-Agent": "test", **(headers or {})}

    async def __call__(
        self, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, wait: float = 0.2
    ) -> Response:
        """The answer; `wait` seconds pass before, so that pacing is not in the way."""
        self.simulator.advance(wait)
        sent = {**self.headers, **(headers or {})}
        return await self.transport.send(Request(method, self.base + path, sent, body), timeout_s=30)
