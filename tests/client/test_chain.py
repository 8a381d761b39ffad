"""The chain of a day where the broker says less than it might."""

from __future__ import annotations

import anyio
import pytest

from clients import make_client
from ibkit.errors import NotFound
from simulators import make_simulator


def test_what_the_broker_does_not_say_of_an_option_is_none() -> None:
    simulator = make_simulator("ok")
    simulator.world.quirks = simulator.world.quirks.with_values({"snapshot_computed_s": 10_000.0})

    async def run() -> None:
        async with make_client(simulator) as ib:
            chain = await ib.chain("SPY", strikes=2)
            sides = [side for row in chain.rows for side in (row.put, row.call) if side is not None]
            assert sides
            for side in sides:
                assert (side.quote.delta, side.greeks.gamma, side.greeks.open_interest) == (None, None, None)
                assert side.quote.ask is not None

    anyio.run(run)


def test_a_search_is_cut_to_what_was_asked_for_and_says_the_currency() -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator) as ib:
            (found,) = await ib.find("SPY", at_most=1)
            assert (found.symbol, found.currency) == ("SPY", "USD")
            with pytest.raises(NotFound, match="ZZZZQ"):
                await ib.find("ZZZZQ", at_most=5)

    anyio.run(run)
