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
from ibkit.errors import NotFound
from ibkit.model import AccountId, Environment
from ibkit.service.brokers import Capability
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
