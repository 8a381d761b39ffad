"""What touches the world outside the process: wire, clock and chance. Programs take the real ones, tests put theirs."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import anyio

from ibkit.clock import Clock, SystemClock

if TYPE_CHECKING:
    from ibkit.client.transport import Transport
    from ibkit.settings import Settings
    from ibkit.users.principal import Authenticator

__all__ = ["Edges", "edges", "machine_clock", "run", "using"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """transport, flex, clock, authenticator: None for the real ones. random: n → n bytes from a cryptographic source.

    chance: from 0 up to 1, for pauses that differ; not the process's shared generator, which a program may have seeded.
    keep_alive: False on a ManualClock, which a sleeping keeper would drive on for ever.
    """

    transport: Callable[[Settings], Transport] | None = None
    flex: Callable[[Settings], Transport] | None = None
    clock: Clock | None = None
    random: Callable[[int], bytes] = secrets.token_bytes
    chance: Callable[[], float] = secrets.SystemRandom().random
    keep_alive: bool = True
    authenticator: Callable[[Settings], Authenticator] | None = None


_edges: ContextVar[Edges] = ContextVar("edges")


def edges() -> Edges:
    return _edges.get(Edges())


def machine_clock() -> Clock:
    """That of people: of sign-ins, tokens, a phone's codes, the audit log. Orders may follow a simulator's instead."""
    return edges().clock or SystemClock()


@contextmanager
def using(given: Edges) -> Iterator[None]:
    """Everything built within uses these edges."""
    token = _edges.set(given)
    try:
        yield
    finally:
        _edges.reset(token)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """`work` on an event loop of its own: uvloop where it is there, which the HTTP client needs to end cleanly."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return anyio.run(work)
    return anyio.run(work, backend_options={"use_uvloop": True})
