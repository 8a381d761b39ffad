"""All endpoints in one table. Client, simulator, docs and tests read paths, needs and pacing here."""

from __future__ import annotations

from types import ModuleType

from ibkit.wire import accounts, contracts, executions, login, marketdata, orders, session
from ibkit.wire.endpoint import Endpoint

__all__ = ["ENDPOINTS"]


def _endpoints(*topics: ModuleType) -> dict[str, Endpoint]:
    found = {name: value for topic in topics for name, value in vars(topic).items() if isinstance(value, Endpoint)}
    routes = [(method, endpoint.base, endpoint.path) for endpoint in found.values() for method in endpoint.methods]
    assert len(routes) == len(set(routes)), "two endpoints share a method and path"
    return found


ENDPOINTS: dict[str, Endpoint] = _endpoints(login, session, accounts, contracts, marketdata, orders, executions)
