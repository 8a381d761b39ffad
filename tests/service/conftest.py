"""One service for all tests that leave it as it was: they use keys, and where it matters users, of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ibkit.service.rates import Rates
from service_desks import Served, fast_mock, served, settings_of


@pytest.fixture(scope="session")
def mock_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On the simulated broker inside the process; a user's sixty requests a minute are not counted here."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch, fast_mock() as worlds:
        patch.setattr("ibkit.service.serving.Rates", lambda monotonic: Rates(monotonic, limit=100_000))
        with served(settings_of(folder)) as found:
            (found.world,) = worlds
            yield found
