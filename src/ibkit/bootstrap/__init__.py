"""The one place that knows concrete classes: settings become a client, a trading desk, a blocking face.

Loaded piece by piece, because a command that only looks needs no database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibkit.bootstrap.blocking import IBRestClient
    from ibkit.bootstrap.clients import (
        client_of,
        clock_of,
        connect,
        open_client,
        read_settings,
        token_cache_of,
        with_stored_token,
    )
    from ibkit.bootstrap.desks import Books, Desk, open_books, open_desk
    from ibkit.bootstrap.edge import Edges, edges, run, using
    from ibkit.bootstrap.probing import ConnectionTest, probe, test_connection
    from ibkit.bootstrap.session_auth import (
        AsyncIBKRSessionAuth,
        IBKRSessionAuth,
        SubmittedOrder,
        create_async_ibkr_session_auth,
        create_ibkr_session_auth,
    )
    from ibkit.bootstrap.trading_client import TradingClient
    from ibkit.bootstrap.user_portfolio import get_async_portfolio, get_portfolio
    from ibkit.bootstrap.vaults import key_source_of, open_vault, ring_of

__all__ = [
    "AsyncIBKRSessionAuth",
    "Books",
    "ConnectionTest",
    "Desk",
    "Edges",
    "IBKRSessionAuth",
    "IBRestClient",
    "SubmittedOrder",
    "TradingClient",
    "client_of",
    "clock_of",
    "connect",
    "create_async_ibkr_session_auth",
    "create_ibkr_session_auth",
    "edges",
    "get_async_portfolio",
    "get_portfolio",
    "key_source_of",
    "open_books",
    "open_client",
    "open_desk",
    "open_vault",
    "probe",
    "read_settings",
    "ring_of",
    "run",
    "start_worker_if_none",
    "test_connection",
    "token_cache_of",
    "using",
    "with_stored_token",
]

_HOMES = {
    "blocking": ("IBRestClient",),
    "clients": (
        "client_of",
        "clock_of",
        "connect",
        "open_client",
        "read_settings",
        "token_cache_of",
        "with_stored_token",
    ),
    "session_auth": (
        "AsyncIBKRSessionAuth",
        "IBKRSessionAuth",
        "SubmittedOrder",
        "create_async_ibkr_session_auth",
        "create_ibkr_session_auth",
    ),
    "desks": ("Books", "Desk", "open_books", "open_desk"),
    "edge": ("Edges", "edges", "run", "using"),
    "probing": ("ConnectionTest", "probe", "test_connection"),
    "worker": ("start_worker_if_none",),
    "trading_client": ("TradingClient",),
    "user_portfolio": ("get_async_portfolio", "get_portfolio"),
    "vaults": ("key_source_of", "open_vault", "ring_of"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
