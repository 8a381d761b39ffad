"""What goes wrong on request: named scenarios, and faults on single requests.

A scenario imitates a trouble of the real service for as long as it is on (docs/facts and the simulator's README list
them). A request fault hits the next `times` calls of one endpoint. Handlers ask `faults.on("no-fill")` or
`faults.take("lost-order-reply")`; the server core asks `faults.strike(...)` for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ibkit.wire.catalogue import ENDPOINTS

__all__ = ["FAULTS", "SCENARIOS", "STREAM_FAULTS", "Faults", "RequestFault", "StreamFault"]

SCENARIOS: dict[str, str] = {
    "ok": "everything works",
    "not-authenticated": "gateway up, nobody logged in",
    "competing": "the user name is in use elsewhere",
    "expired": "the login is over",
    "expired:restorable": "the login stands, only the brokerage session is gone",
    "other-user": "the gateway is logged in as another user",
    "order-question": "a known question before acceptance",
    "order-question-unknown": "a question that is in no list",
    "order-reject-200": "a refusal as HTTP 200",
    "order-no-permission": "a refusal that names a permission",
    "no-fill": "orders stay working",
    "partial-fill": "two of three are filled",
    "stop-reject": "stop orders are refused",
    "bracket-child-reject": "a bracket's children are refused, its parent goes live (F52)",
    "bracket-refused": "a bracket's children are refused, its parent is Inactive with them (F52)",
    "oca-sibling-stays": "a fill neither cancels nor reduces the other orders of its group (F54)",
    "oca-both-fill": "a fill in a group fills the others as well, before they can be cancelled (F54)",
    "lost-order-reply": "the next order is accepted, its answer is lost",
    "no-market-data": "empty quotes",
    "md-not-subscribed": "availability N",
    "md-no-ack": "availability O",
    "delayed-quotes": "availability D",
    "empty-first-snapshot": "the first quote of a contract is empty",
    "slow": "answers take 60 seconds",
    "rate-429": "every call is refused for pacing",
    "maintenance-503": "every call answers 503",
    "invalid-consumer": "401 invalid consumer",
    "bad-signature": "401 LST failed, without a reason",
    "clock-skew": "the Date header is ten minutes off",
    "lst-mismatch": "the proof of the live session token is wrong",
    "oauth2-refused": "the token call is refused",
    "sso-refused": "the sso-sessions call is refused",
    "validate-refused": "sso/validate says RESULT false",
    "sso-dh-500": "the first init answers 500",
    "init-refused": "every init fails",
    "ip-refused": "refusals name the caller's address",
    "gw-ip-denied": "the gateway answers Access Denied",
    "multi-account": "the first user has two accounts",
    "no-account": "no user has an account",
    "many-positions": "the first account holds 230 positions",
    "perm-403": "403 on data calls",
    "endpoint-404": "a known path is missing (GET /iserver/accounts)",
    "garbage": "HTML instead of JSON",
}

_ONCE = {"lost-order-reply": 1, "sso-dh-500": 1}
"""Scenarios that strike a number of times and are then spent; all others last."""
_COUNTED = frozenset({"bracket-child-reject", "bracket-refused", "oca-sibling-stays", "oca-both-fill"})
"""Scenarios that last, or strike as often as their argument says: `bracket-child-reject=1`."""

FAULTS: dict[str, str] = {
    "drop-request": "the connection breaks before the call is carried out (F07)",
    "drop-answer": "the call is carried out, then the connection breaks (F08)",
    "delay": "the answer comes params.seconds later; the call is carried out at once (F11)",
    "delay-before": "the call is carried out params.seconds later (F13)",
    "status": "answer params.status with params.body; the call is not carried out (F19)",
    "status-after": "the call is carried out, then answer params.status with params.body (F20)",
    "html": "a page of HTML with params.status (200); the call is not carried out (F16)",
    "html-after": "the call is carried out, the answer is a page of HTML (F16)",
    "truncate": "the call is carried out, the answer breaks off in the middle (F10)",
    "redirect": "302 to params.location; the call is not carried out (F15)",
    "empty-200": "the call is carried out, the answer is 200 without a body (F18)",
}

STREAM_FAULTS: dict[str, str] = {
    "socket-drop": "the WebSocket's connection breaks without a close frame (F80)",
    "socket-close": "the server closes the WebSocket with 1000",
    "socket-stall": "no frame comes any more, for params.seconds or for ever; the connection stands (F79)",
    "topic-stall": "frames of the topic are lost for params.seconds or for ever, heartbeats go on (F127)",
    "frame-lose": "the frame is lost",
    "frame-duplicate": "the frame comes twice (F82)",
    "frame-reorder": "the frame comes after the next one of its topic (F81)",
    "frame-garbage": "before it comes a frame of params.text, or one that is no JSON (F83)",
}


@dataclass(slots=True)
class StreamFault:
    """Hits `times` frames (None: all) whose topic fits the pattern `topic`, e.g. `sor`, `smd+*`, `system`.

    user: only sockets of this user name. after: so many fitting frames pass unharmed first. A drop, close or stall
    without a topic strikes at once, frame or no frame.
    """

    fault: str
    topic: str | None = None
    user: str | None = None
    times: int | None = 1
    after: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fault not in STREAM_FAULTS:
            raise ValueError(f"no fault is called {self.fault}; there are: {', '.join(sorted(STREAM_FAULTS))}")

    @property
    def at_once(self) -> bool:
        return self.topic is None and self.fault.startswith("socket-")

    def fits(self, topic: str, user: str) -> bool:
        return fnmatchcase(topic, self.topic or "*") and self.user in (None, user)


@dataclass(slots=True)
class RequestFault:
    """Hits `times` calls (None: all) whose catalogue name is `endpoint`, or whose path fits the pattern `path`.

    path: with or without the `/v1/api` in front. after: so many matching calls pass unharmed first.
    """

    fault: str
    endpoint: str | None = None
    path: str | None = None
    method: str | None = None
    times: int | None = 1
    after: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ValueError(f"no fault is called {self.fault}; there are: {', '.join(sorted(FAULTS))}")
        if self.endpoint is not None and self.endpoint not in ENDPOINTS:
            raise ValueError(f"no endpoint is called {self.endpoint}; there are: {', '.join(sorted(ENDPOINTS))}")
        if self.endpoint is None and self.path is None:
            raise ValueError("a fault needs an endpoint or a path")

    def fits(self, name: str | None, method: str, path: str) -> bool:
        if self.method is not None and self.method.upper() != method:
            return False
        if self.endpoint is not None:
            return self.endpoint == name
        pattern = self.path or ""
        return fnmatchcase(path, pattern) or fnmatchcase(path.removeprefix("/v1/api"), pattern)


class Faults:
    """The troubles that are on now."""

    def __init__(self, scenarios: Iterable[str] = ()) -> None:
        self._scenarios: dict[str, str] = {}
        self._left: dict[str, int] = {}
        self.requests: list[RequestFault] = []
        self.streams: list[StreamFault] = []
        self.set_scenarios(scenarios)

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Their names, "ok" left out, in the order given."""
        return tuple(self._scenarios)

    def set_scenarios(self, names: Iterable[str]) -> None:
        """Replace the scenarios that are on. Raises ValueError for an unknown name or count; then nothing changes.

        `endpoint-404=/iserver/secdef/search` gives a scenario its argument.
        """
        parsed = dict(name.partition("=")[::2] for name in names)
        unknown = [name for name in parsed if name not in SCENARIOS]
        if unknown:
            raise ValueError(f"no scenario is called {unknown[0]}; there are: {', '.join(sorted(SCENARIOS))}")
        parsed.pop("ok", None)
        counts = {name: text for name, text in parsed.items() if name in _COUNTED and text}
        wrong = [name for name, text in counts.items() if not text.isdecimal()]
        if wrong:
            raise ValueError(f"{wrong[0]}: how often, as a number, not {counts[wrong[0]]}")
        self._scenarios = parsed
        self._left = {name: times for name, times in _ONCE.items() if name in parsed}
        self._left |= {name: int(text) for name, text in counts.items()}

    def on(self, name: str) -> bool:
        """Whether a scenario is on and not yet spent."""
        assert name in SCENARIOS, name
        return name in self._scenarios and self._left.get(name, 1) > 0

    def argument(self, name: str, default: str) -> str:
        return self._scenarios.get(name) or default

    def take(self, name: str) -> bool:
        """Like `on`, and uses up one strike of a scenario that has a number of them."""
        if not self.on(name):
            return False
        if name in self._left:
            self._left[name] -= 1
        return True

    def add(self, fault: RequestFault | StreamFault) -> None:
        if isinstance(fault, StreamFault):
            self.streams.append(fault)
        else:
            self.requests.append(fault)

    def clear(self) -> None:
        self.requests.clear()
        self.streams.clear()

    def strike_socket(self, user: str) -> StreamFault | None:
        """The fault that hits a socket of this user now, whatever it carries; it is used up by one."""
        return self._strike_stream(lambda fault: fault.at_once and fault.user in (None, user))

    def strike_frame(self, topic: str, user: str) -> StreamFault | None:
        """The fault that hits this frame, if any; it is used up by one."""
        return self._strike_stream(lambda fault: not fault.at_once and fault.fits(topic, user))

    def _strike_stream(self, fits: Callable[[StreamFault], bool]) -> StreamFault | None:
        for fault in self.streams:
            if not fits(fault):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.streams.remove(fault)
            return fault
        return None

    def strike(self, name: str | None, method: str, path: str) -> RequestFault | None:
        """The fault that hits this request, if any; it is used up by one.

        name: the endpoint's name in the catalogue, or None for a path that is in no catalogue.
        """
        for fault in self.requests:
            if not fault.fits(name, method, path):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.requests.remove(fault)
            return fault
        return None
