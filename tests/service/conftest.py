"""One service for all tests that leave it as it was: they use keys, and where it matters users, of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from ibkit.service.rates import Rates
from service_desks import Served, fast_mock, served, settings_of


@pytest.fixture(scope="module")
def mock_service(one_service: Served) -> Served:
    """The one service; connected, whatever the tests of another file asked of it."""
    if not one_service.ask("GET", "/api/ibkr/status").json["connected"]:
        assert one_service.ask("POST", "/api/ibkr/connect").status == 200
    return one_service


@pytest.fixture(scope="session")
def one_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On the simulated broker inside the process; a user's sixty requests a minute are not counted here."""
    folder = tmp_path_factory.mktemp("service")
    with ExitStack() as stack:
        worlds = stack.enter_context(fast_mock())
        with pytest.MonkeyPatch.context() as patch:  # of this service alone: others start while it runs
            patch.setattr("ibkit.service.serving.Rates", partial(Rates, limit=100_000))
            found = stack.enter_context(served(settings_of(folder)))
        (found.world,) = worlds
        yield found
