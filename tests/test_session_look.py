"""Whether market data come, looked at beside the session: a session that can trade may be without. SES-12, MON-04."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ibkit.bootstrap import using
from ibkit.bootstrap.clients import open_client
from ibkit.bootstrap.session_look import DataLook
from ibkit.bootstrap.trading_client import TradingClient
from ibkit.errors import IbkitError, Unreachable
from ibkit.settings import load
from ibkit.sim.serving.inprocess import Simulator
from programs import edges_of, environ_of
from simulators import make_simulator

SNAPSHOT = "/v1/api/iserver/marketdata/snapshot"


@asynccontextmanager
async def signed_in(home: Path, *scenarios: str) -> AsyncIterator[tuple[Simulator, TradingClient]]:
    made = make_simulator()
    settings = load(environ=environ_of(made, home, "gateway"), directory=home)
    with using(edges_of(made)):
        async with open_client(settings, keep_alive=False) as ib:
            made.control("POST", "scenario", {"scenario": list(scenarios) or ["ok"]})
            yield made, ib


async def found(made: Simulator, ib: TradingClient, look: DataLook, *, after_s: float = 30.0) -> str | None:
    made.advance(after_s)
    await look.take(ib)
    return None if look.missing is None else look.missing.code


def snapshots(made: Simulator) -> int:
    return sum(each.path == SNAPSHOT for each in made.requests)


@pytest.mark.anyio
@pytest.mark.requirement("SES-12", "MON-04")
@pytest.mark.parametrize(
    ("scenario", "codes"),
    [
        ("ok", [None, None, None]),
        ("delayed-quotes", [None, None, None]),
        ("no-market-data", [None, "E-MD-NONE", "E-MD-NONE"]),  # the first one of a session is always empty
        ("md-not-subscribed", [None, "E-MD-NONE", "E-MD-NONE"]),
        ("md-no-ack", [None, "E-MD-ACK", "E-MD-ACK"]),
    ],
)
async def test_what_is_missing_is_told_once_that_is_certain(
    tmp_path: Path, scenario: str, codes: list[str | None]
) -> None:
    async with signed_in(tmp_path, scenario) as (made, ib):
        look = DataLook()
        assert [await found(made, ib, look) for _ in codes] == codes
        assert snapshots(made) == len(codes), "one cheap call for each look"
        made.control("POST", "scenario", {"scenario": ["ok"]})
        assert await found(made, ib, look) is None


@pytest.mark.anyio
@pytest.mark.requirement("SES-12", "MON-04")
async def test_data_that_end_in_the_midst_are_noticed(tmp_path: Path) -> None:
    """Another program of the same user name takes them: the rows go dark, the session stays."""
    async with signed_in(tmp_path) as (made, ib):
        look = DataLook()
        assert [await found(made, ib, look) for _ in range(2)] == [None, None]
        made.control("POST", "scenario", {"scenario": ["no-market-data"]})
        assert await found(made, ib, look) == "E-MD-NONE"
        assert (await ib.status()).ready


@pytest.mark.anyio
@pytest.mark.requirement("SES-12", "MON-04")
async def test_the_empty_first_look_of_a_new_session_says_nothing(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (made, ib):
        look = DataLook()
        for _ in range(3):
            assert await found(made, ib, look) is None
            await ib.logout()
            await ib.connect()
        assert [await found(made, ib, look) for _ in range(2)] == [None, None]


@pytest.mark.anyio
@pytest.mark.requirement("SES-12", "MON-04")
async def test_data_calls_that_are_forbidden_are_missing_data_with_their_reason(tmp_path: Path) -> None:
    async with signed_in(tmp_path, "perm-403") as (made, ib):
        look = DataLook()
        assert await found(made, ib, look) == "E-PERM-API"
        made.control("POST", "scenario", {"scenario": ["ok"]})
        assert await found(made, ib, look) == "E-PERM-API", "an empty first row proves nothing yet"
        assert await found(made, ib, look) is None


@pytest.mark.anyio
@pytest.mark.requirement("MON-04", "LIM-01")
async def test_it_asks_no_more_than_every_thirty_seconds_and_never_beside_an_order(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (made, ib):
        look = DataLook()
        for _ in range(10):
            await found(made, ib, look, after_s=5)
        assert snapshots(made) == 2
        ib.keeper.conversations += 1
        await found(made, ib, look)
        assert snapshots(made) == 2
        ib.keeper.conversations -= 1
        await found(made, ib, look)
        assert snapshots(made) == 3


@pytest.mark.anyio
@pytest.mark.requirement("MON-04")
async def test_a_gateway_that_is_gone_is_no_missing_data(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (made, ib):
        look = DataLook()
        await found(made, ib, look)
        made.up = False
        with pytest.raises(IbkitError) as caught:
            await found(made, ib, look)
        assert isinstance(caught.value, Unreachable)
        assert look.missing is None
        made.up = True
        made.control("POST", "scenario", {"scenario": ["rate-429"]})
        assert await found(made, ib, look) is None, "too many calls say nothing of the data"
