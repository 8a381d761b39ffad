"""The order verbs of `ibkit.connect()` and `IBRestClient`: keys, groups, wrong calls, and where the journal lives."""

from __future__ import annotations

import inspect
import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ibkit
from ibkit.bootstrap import Edges, TradingClient, run, using
from ibkit.client.client import Client
from ibkit.errors import ConfigError, KeyReused, StorageError
from ibkit.model import (
    AccountId,
    OAuth1Credentials,
    OrderTicket,
    OrderType,
    Secret,
    Side,
    TimeInForce,
    Trail,
    exits_of,
)
from ibkit.sim.serving.inprocess import CLOUD_URL, Simulator
from simulators import KEYS, make_simulator

KEY = "the-same-undertaking-1"


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    """No settings at all: what a program says itself has to do."""
    made = make_simulator()
    for path in KEYS.rglob("private_*.pem"):
        path.chmod(0o600)
    monkeypatch.setattr("os.environ", {"HOME": str(tmp_path), "IBKR_ENV": "nonsense"})
    monkeypatch.chdir(tmp_path)
    with using(Edges(clock=made.clock, keep_alive=False)):
        yield made


def connected(simulator: Simulator, **more: Any) -> Any:
    keys = simulator.users[0]
    credentials = OAuth1Credentials(
        consumer_key=keys.consumer_key,
        access_token=keys.access_token,
        access_token_secret=Secret(keys.access_token_secret),
        signature_key=Secret(keys.signature_key.read_text()),
        encryption_key=Secret(keys.encryption_key.read_text()),
        dh_params=keys.dhparam.read_text(),
    )
    return ibkit.connect(
        credentials=credentials, base_url=CLOUD_URL, transport=simulator.transport("cloud"), keep_alive=False, **more
    )


async def resting(ib: TradingClient, price: str = "600", **changes: Any) -> OrderTicket:
    return OrderTicket(
        account_id=AccountId("DU1000001"),
        contract=await ib.underlying("SPY"),
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1),
        limit_price=Decimal(price),
        **changes,
    )


def placements(simulator: Simulator) -> list[Any]:
    return [entry for entry in simulator.requests if entry.endpoint == "PLACE_ORDERS"]


@pytest.mark.requirement("TRD-17", "TRD-22")
def test_a_key_never_acts_twice_in_this_run_or_the_next(simulator: Simulator, tmp_path: Path) -> None:
    state = tmp_path / "elsewhere"

    async def work() -> None:
        async with connected(simulator, state_dir=state) as ib:
            first = await ib.place(await resting(ib), key=KEY)
            assert first.accepted, first.error
            assert (await ib.place(await resting(ib), key=KEY)).order_id == first.order_id
            with pytest.raises(KeyReused):
                await ib.place(await resting(ib, "601"), key=KEY)
        simulator.advance(70)
        async with connected(simulator, state_dir=state) as ib:
            again = await ib.place(await resting(ib), key=KEY)
            assert (again.cached, again.order_id) == (True, first.order_id)

    run(work)
    assert len(placements(simulator)) == 1
    assert (state / "journal.db").is_file()
    assert not (tmp_path / ".local").exists()


@pytest.mark.requirement("TRD-17")
def test_without_a_key_a_fresh_one_is_made_and_told(simulator: Simulator, tmp_path: Path) -> None:
    async def work() -> None:
        async with connected(simulator) as ib:
            placed = await ib.place(await resting(ib))
            assert placed.accepted, placed.error
            assert len(placed.intent.key) >= 16
            assert [intent.key for intent in await ib.intents()] == [placed.intent.key]

    run(work)
    assert (tmp_path / ".local/state/ibkit/journal.db").is_file(), "where the settings would have it"


@pytest.mark.requirement("TRD-17")
def test_a_program_that_only_looks_makes_no_journal(simulator: Simulator, tmp_path: Path) -> None:
    async def work() -> None:
        async with connected(simulator) as ib:
            assert await ib.accounts()
            assert await ib.preview(await resting(ib))

    run(work)
    assert not (tmp_path / ".local").exists()


@pytest.mark.requirement("TRD-17")
def test_a_journal_that_cannot_be_used_stops_the_order_and_may_be_mended(simulator: Simulator, tmp_path: Path) -> None:
    state = tmp_path / "a-file"
    state.write_text("")

    async def work() -> None:
        async with connected(simulator, state_dir=state) as ib:
            with pytest.raises(StorageError):
                await ib.place(await resting(ib))
            assert not placements(simulator)
            state.unlink()
            assert (await ib.place(await resting(ib))).accepted

    run(work)


@pytest.mark.requirement("TRD-09", "TRD-10")
def test_a_bracket_leaves_in_one_request_and_its_exits_are_told(simulator: Simulator) -> None:
    async def work() -> None:
        async with connected(simulator) as ib:
            placed = await ib.bracket(await resting(ib), take_profit=Decimal(650), stop=Decimal(580))
            assert placed.accepted, placed.error
            assert all(leg.order_id for leg in placed.intent.legs)
            orders, _ = await ib.orders()
            orders, _ = await ib.orders()
            children = [order for order in orders if order.parent_id == placed.order_id]
            assert {child.order_id for child in children} == {leg.order_id for leg in placed.intent.legs}
            assert {(child.order_type, child.tif) for child in children} == {("LMT", "GTC"), ("STP", "GTC")}

    run(work)
    assert len(placements(simulator)) == 1


@pytest.mark.requirement("TRD-17")
def test_what_is_no_group_raises_before_anything_is_opened(simulator: Simulator, tmp_path: Path) -> None:
    async def work() -> None:
        async with connected(simulator) as ib:
            ticket = await resting(ib)
            for call in (
                lambda: ib.bracket(ticket),
                lambda: ib.bracket(ticket, take_profit=Decimal(500), stop=Decimal(580)),
                lambda: ib.one_cancels_all([ticket]),
                lambda: ib.one_cancels_all([]),
            ):
                with pytest.raises(ConfigError) as caught:
                    await call()
                assert caught.value.code == "E-VALIDATION"

    run(work)
    assert not (tmp_path / ".local").exists()


@pytest.mark.requirement("TRD-09")
def test_exits_are_of_full_size_on_the_other_side_and_outlive_the_day(simulator: Simulator) -> None:
    async def work() -> OrderTicket:
        async with connected(simulator) as ib:
            return await resting(ib)

    entry = run(work)
    profit, trail = exits_of(entry, take_profit=Decimal(650), stop=Trail(Decimal(5)))
    for child in (profit, trail):
        assert (child.side, child.quantity, child.tif) == (Side.SELL, entry.quantity, TimeInForce.GTC)
    assert (trail.order_type, trail.limit_price, trail.trail) == (OrderType.TRAIL, None, Trail(Decimal(5)))
    assert exits_of(entry, stop=trail) == (trail,)
    for nothing in (lambda: exits_of(entry), lambda: exits_of(entry, take_profit=Decimal(5), stop=Decimal(6))):
        with pytest.raises(ValueError, match=r"bracket|winning"):
            nothing()


@pytest.mark.requirement("AUTH-02", "TRD-01")
def test_the_blocking_sdk_has_the_same_order_verbs_with_the_same_arguments() -> None:
    verbs = {
        name: value
        for name, value in vars(TradingClient).items()
        if inspect.iscoroutinefunction(value) and not name.startswith("_") and name not in vars(Client) | {"desk": 0}
    }
    assert verbs.keys() == {
        "place",
        "bracket",
        "one_cancels_all",
        "modify",
        "cancel",
        "cancel_all",
        "intents",
        "sell_option_with_stop",
    }
    for name, verb in verbs.items():
        wanted = [(each.name, each.kind, each.default) for each in inspect.signature(verb).parameters.values()]
        twin = inspect.signature(getattr(ibkit.IBRestClient, name)).parameters.values()
        assert [(each.name, each.kind, each.default) for each in twin] == wanted, name


@pytest.mark.requirement("MON-09")
def test_orders_of_a_program_stand_in_the_audit_log(simulator: Simulator, tmp_path: Path) -> None:
    async def work() -> None:
        async with connected(simulator, state_dir=tmp_path / "state") as ib:
            placed = await ib.place(await resting(ib), key=KEY)
            await ib.place(await resting(ib), key=KEY)
            await ib.cancel(placed.order_id)

    run(work)

    with sqlite3.connect(tmp_path / "state/ibkit.db") as database:
        found = database.execute("SELECT action, result, details FROM audit_entries ORDER BY number").fetchall()
    assert [(action, result) for action, result, _ in found] == [("orders.place", "ok"), ("orders.cancel", "ok")]
    assert json.loads(found[0][2])["key"] == KEY
