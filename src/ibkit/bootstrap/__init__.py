"""The one place that knows concrete classes: settings become a client, a trading desk, a blocking face."""

from __future__ import annotations

from ibkit.bootstrap.clients import client_of, clock_of, connect, open_client, read_settings, ring_of, token_cache_of
from ibkit.bootstrap.edges import Edges, edges, run, using

__all__ = [
    "Edges",
    "client_of",
    "clock_of",
    "connect",
    "edges",
    "open_client",
    "read_settings",
    "ring_of",
    "run",
    "token_cache_of",
    "using",
]
