"""The SDK: one async client for the three sign-ins, its blocking face, and the adapter that `trading` uses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibkit.client.auth.grant import Auth, Grant
    from ibkit.client.blocking import BlockingClient
    from ibkit.client.broker import IbkrBroker
    from ibkit.client.client import Client
    from ibkit.client.flex import FlexClient, FlexFetched, FlexPending, FlexTicket, open_flex_transport
    from ibkit.client.keeper import GrantStore
    from ibkit.client.opening import Opening, Step
    from ibkit.client.stream import Stream
    from ibkit.client.transport import Socket, Transport
    from ibkit.client.transports import PinFile, open_transport

__all__ = [
    "Auth",
    "BlockingClient",
    "Client",
    "FlexClient",
    "FlexFetched",
    "FlexPending",
    "FlexTicket",
    "Grant",
    "GrantStore",
    "IbkrBroker",
    "Opening",
    "PinFile",
    "Socket",
    "Step",
    "Stream",
    "Transport",
    "open_flex_transport",
    "open_transport",
]

# Loaded on first use: `import ibkit` and `ibkit --help` must not pay for HTTP libraries.
_HOMES = {
    "Auth": "auth.grant",
    "BlockingClient": "blocking",
    "Client": "client",
    "FlexClient": "flex",
    "FlexFetched": "flex",
    "FlexPending": "flex",
    "FlexTicket": "flex",
    "Grant": "auth.grant",
    "GrantStore": "keeper",
    "IbkrBroker": "broker",
    "Opening": "opening",
    "PinFile": "transports",
    "Socket": "transport",
    "Step": "opening",
    "Stream": "stream",
    "Transport": "transport",
    "open_flex_transport": "flex",
    "open_transport": "transports",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
