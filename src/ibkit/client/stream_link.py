"""One connection of a stream: opened as the facts want it, and what its reader keeps about it.

Source: docs/facts/websocket.md §1, §7.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from ibkit.client.api.session import tickle
from ibkit.client.transport import Socket
from ibkit.errors import SessionTaken, Unreachable
from ibkit.wire import stream as wire

if TYPE_CHECKING:
    from ibkit.client.core import Core

__all__ = ["Link", "connect"]

GREETING_WITHIN_S: Final = 10.0
"""Nothing is sent before the greeting: the gateway would lose it. §1.1."""
BURST: Final = 4
SEND_EVERY_S: Final = 0.06
"""Commands at once, and the pause between further ones. §7, 50 to 100 ms; §10 row 7."""
ODD_FRAMES: Final = 10
ODD_WITHIN_S: Final = 60.0
"""More unreadable frames than this in a minute: the connection is made anew. F83."""


class Link:
    """group: the tasks that end with the connection. Moments are seconds of the client's clock.

    heard_topics: when `sor` and `str` were heard last. stale_topics: those that missed something and are told as stale.
    unheard_at: when it is judged whether a topic missed what a read found.
    confirm_by: until then the first `str` frame is waited for. explain_at: when doubts are looked into.
    failure:    why the connection is given up, where the reader would not know.
    """

    def __init__(self, socket: Socket, group: TaskGroup, now: float) -> None:
        self.socket = socket
        self.group = group
        self.outbox: deque[str] = deque()
        self.heard_at = now
        self.tic_at = now
        self.live = False
        self.reading = False
        self.trading = False
        self.pnl_heard_at: float | None = None
        self.pnl_asked = False
        self.pnl_stale = False
        self.heard_topics: dict[str, float] = {}
        self.stale_topics: set[str] = set()
        self.unheard_at: float | None = None
        self.reread_at: float | None = None
        self.explain_at: float | None = None
        self.confirm_by: float | None = None
        self.confirm_tries = 0
        self.confirmed = anyio.Event()
        self.failure: str | None = None
        self._odd: deque[float] = deque(maxlen=ODD_FRAMES + 1)
        self._sent: deque[float] = deque(maxlen=BURST)
        self._sending = anyio.Lock()

    async def flush(self, now: float) -> float | None:
        """Send what may go now, in its order; when the next may. Raises Unreachable."""
        async with self._sending:
            while self.outbox:
                free_at = self._free_at()
                if free_at > now:
                    return free_at
                self._sent.append(now)
                await self.socket.send(self.outbox.popleft())
        return None

    def too_odd(self) -> bool:
        """One more frame could not be read: whether that is one too many."""
        self._odd.append(self.heard_at)
        return len(self._odd) > ODD_FRAMES and self.heard_at - self._odd[0] <= ODD_WITHIN_S

    def _free_at(self) -> float:
        """The first few go at once; then one every `SEND_EVERY_S`."""
        if len(self._sent) < BURST:
            return 0.0
        return max(self._sent[-1] + SEND_EVERY_S, self._sent[0] + BURST * SEND_EVERY_S)


async def connect(ib: Core) -> Socket:
    """A socket that was greeted, over a session that is ready.

    Raises what REST raises, SessionTaken (a stream pushes no other login out), Unreachable.
    """
    if ib.keeper.level == 0:
        await ib.connect()
    status = await ib.keeper.beat()
    if status.taken and ib.keeper.compete:
        # Two who both take it would do so for ever. Without `compete`, opening works as soon as the other is gone.
        raise SessionTaken(f"another login holds the brokerage session of {ib.username}")
    await ib.connect()
    if not status.ready:
        await tickle(ib)  # the cookie names the session of the newest tickle
    socket = await ib.dial(wire.STREAM_PATH)
    try:
        await _greeting(ib, socket)
    except BaseException:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await socket.aclose()
        raise
    return socket


async def _greeting(ib: Core, socket: Socket) -> None:
    until = ib.clock.monotonic() + GREETING_WITHIN_S
    named = False
    while (left := until - ib.clock.monotonic()) > 0:
        data = await socket.receive(left)
        frame = None if data is None else wire.read_frame(data)
        if isinstance(frame, wire.Greeted):
            return
        session = ib.keeper.stream_session
        if isinstance(frame, wire.WaitingForSession) and session is not None and not named:
            named = True
            await socket.send(wire.session_message(session.reveal()))
    raise Unreachable(f"no greeting within {GREETING_WITHIN_S:g} s", code="E-API-CONNECT", details={"cause": "timeout"})
