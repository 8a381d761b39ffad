"""Several brokers behind one interface: ours, and one of thirty lines that the service has never heard of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from broker_contract import obeys
from fakes import ACCOUNT, FakeBroker
from ibkit.errors import IbkitError, NotFound
from ibkit.model import AccountId, Environment
from ibkit.service.brokers import Capability, MockAdapter
from ibkit.store import open_journal
from ibkit.trading import OrderGateway
from service_desks import FastClock, Served, fast_mock, served, settings_of


class Elsewhere:
    """A broker that only does stocks."""

    name = "elsewhere"
    capabilities = frozenset({Capability.STOCKS, Capability.CANCEL})

    def __init__(self, folder: Path, clock: FastClock) -> None:
        self.environment, self.clock, self.folder = Environment.PAPER, clock, folder
        self.broker = FakeBroker(clock)

    def missing(self) -> tuple[str, ...]:
        return ()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        async with open_journal(self.folder / "elsewhere.db", clock=self.clock) as self.journal:
            environment, clock, risk = self.environment, self.clock, self.journal.risk
            self.gateway = OrderGateway(self.broker, self.journal, environment=environment, risk=risk, clock=clock)
            yield self

    async def desk(self, account_id: AccountId | None = None) -> Any:
        if account_id not in (None, ACCOUNT):
            raise NotFound(code="E-NOT-FOUND", details={"thing": "account"})
        return SimpleNamespace(gateway=self.gateway, broker=self.broker, account_id=ACCOUNT)

    async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
        await stop.wait()


@pytest.mark.requirement("GWY-08")
def test_the_mock_broker_obeys_the_contract(mock_service: Served) -> None:
    obeys(mock_service, "mock", "MSFT")


@pytest.mark.requirement("GWY-08")
def test_a_strange_adapter_of_thirty_lines_obeys_it_without_a_change_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fakes import START
    from ibkit.service import serving

    adapter, open_service = Elsewhere(tmp_path, FastClock(START)), serving.open_service
    monkeypatch.setattr(serving, "open_service", lambda *a, **k: open_service(*a, **k, adapters=[adapter]))
    with fast_mock(), served(settings_of(tmp_path)) as service:
        obeys(service, "elsewhere", "SPY")
        assert adapter.broker.sent("place") == 1


@pytest.mark.requirement("GWY-03")
def test_after_31_days_a_key_is_no_ones_order_any_more_and_still_places_none(tmp_path: Path) -> None:
    from fakes import START
    from ibkit.errors import KeyReused
    from ibkit.service.order_wish import OrderWish
    from ibkit.service.serving import open_service
    from ibkit.trading.ref import check_key, key_of_user
    from people import People, person

    async def run() -> None:
        adapter, ada = Elsewhere(tmp_path, FastClock(START)), person()
        wish = OrderWish.read({"broker": "elsewhere", "action": "buy", "symbol": "SPY", "qty": 1})
        key = key_of_user(ada.user_id, check_key("0123456789abcdef"))
        settings = settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="oauth2")
        async with open_service(settings, People(), adapters=[adapter]) as running:
            orders = running.service.orders
            placed = await orders.place(ada, wish, key)
            intent = await adapter.journal.get(placed.body.data.id)
            await adapter.gateway.wait_for_fill(intent, within_s=30)
            assert (await orders.place(ada, wish, key)).status == 200
            adapter.clock.advance(31 * 86_400)
            await adapter.journal.purge(adapter.clock.now())
            with pytest.raises(KeyReused) as refused:
                await orders.place(ada, wish, key)
            assert (refused.value.code, refused.value.http_status) == ("E-IDEM-CONFLICT", 422)
            assert adapter.broker.sent("place") == 1

    anyio.run(run)


@pytest.mark.requirement("GWY-08")
def test_a_login_that_breaks_takes_no_other_one_with_it(tmp_path: Path) -> None:
    from fakes import START
    from ibkit.service.serving import open_service
    from people import People

    class Breaking(Elsewhere):
        fault: Exception

        async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
            raise self.fault

    class Unopened(Elsewhere):
        name = "unopened"

        @asynccontextmanager
        async def open(self) -> AsyncIterator[Any]:
            raise ValueError("not ours")
            yield self

    async def run(fault: Exception) -> None:
        broken = Breaking(tmp_path, FastClock(START))
        broken.fault = fault
        unopened = Unopened(tmp_path, FastClock(START))
        settings = settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="oauth2")
        async with open_service(settings, People(), adapters=[broken, unopened]) as running:
            brokers = running.service.brokers
            assert await brokers.login("elsewhere") is broken
            with anyio.fail_after(10):
                while "elsewhere" in brokers.opened:  # noqa: ASYNC110  - nothing tells of it
                    await anyio.sleep(0.01)
            assert await brokers.login("elsewhere") is broken, "it is opened again"
            with pytest.raises(IbkitError) as refused:
                await brokers.login("unopened")
            assert refused.value.code == "E-INTERNAL"

    for fault in (NotFound("gone"), ValueError("a fault of the adapter's")):
        anyio.run(run, fault)


@pytest.mark.requirement("GWY-08")
@pytest.mark.parametrize(
    ("app_env", "provider", "there"),
    [("production", "ibkr", False), ("production", "mock", True), ("development", "ibkr", True)],
)
def test_in_production_no_order_is_filled_by_a_simulated_market_unasked(
    tmp_path: Path, app_env: str, provider: str, there: bool
) -> None:
    settings = settings_of(tmp_path, APP_ENV=app_env, BROKER_PROVIDER=provider)
    missing = MockAdapter(settings=settings).missing()
    assert (missing == ()) is there
    assert there or "APP_ENV" in missing[0]
