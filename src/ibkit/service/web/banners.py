"""What stands above every page: how the login stands in one word, and what needs somebody. Requirement UI-10."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Banner", "Pill", "banners_of", "pill_of", "tone_of"]

_EXPIRES_WITHIN_S = 3_600
_TONES = {
    "connected": "good",
    "degraded": "warn",
    "connecting": "busy",
    "paused": "warn",
    "needs_login": "bad",
    "competing": "bad",
    "error": "bad",
    "disconnected": "idle",
    "configured": "idle",
    "not_configured": "idle",
    "unknown": "warn",
}


@dataclass(frozen=True, slots=True)
class Banner:
    """kind: a name for its test and its text (`banner.<kind>`). tone: info, warn or bad. action, address: what helps.

    values: for the text. at: a moment that the text counts down to.
    """

    kind: str
    tone: str
    address: str = ""
    values: Mapping[str, str] | None = None
    at: str = ""
    posts: bool = False


@dataclass(frozen=True, slots=True)
class Pill:
    """environment: paper, live, simulated or unknown; state: of the connection, its label and the tone.

    label: empty where the state is unknown.
    """

    environment: str
    label: str
    state: str
    tone: str


def pill_of(state: Mapping[str, Any]) -> Pill:
    """A state that could not be read is of no environment: "paper" would be a guess."""
    environment = "simulated" if state.get("simulated") else str(state.get("environment") or "unknown")
    word = str(state.get("state") or "unknown")
    return Pill(environment, str(state.get("label") or ""), word, tone_of(word))


def tone_of(state: str) -> str:
    """The class of a connection's state."""
    return _TONES.get(state, "idle")


def banners_of(state: Mapping[str, Any]) -> list[Banner]:
    """The gravest first. Of a state that could not be read, that alone."""
    if not state:
        return [Banner("unknown", "bad", "/settings")]
    if state.get("secondStepDue"):
        return [Banner("second-step", "warn", "/settings/me#h-second")]
    found: list[Banner] = []
    if (planned := state.get("maintenance")) is not None:
        closed = bool(planned.get("now"))
        kind, at = ("closed", "endsAt") if closed else ("closing", "startsAt")
        values = {"text": str(planned.get("text", ""))}
        found.append(Banner(kind, "warn" if closed else "info", "/orders", values, _text(planned, at)))
    word, session = state.get("state"), state.get("clocks") or {}
    error = state.get("lastError") or {}
    simulated = bool(state.get("simulated"))
    if state.get("environment") == "live" and not simulated and state.get("configured"):
        found.append(Banner("live", "live", "/settings"))
    if word == "needs_login":
        found.append(Banner("login-required", "bad", "/settings"))
    elif word == "competing":
        found.append(Banner("competing", "bad", "/settings"))
    elif word == "error" and error:
        values = {"message": str(error.get("message", "")), "remedy": str(error.get("remedy", ""))}
        found.append(Banner("error", "bad", "/settings", values))
    elif word == "paused":
        kind = "maintenance" if error.get("code") == "E-MAINT" else "paused"
        found.append(
            Banner(kind, "warn", "/settings", {"message": str(error.get("message", ""))}, _text(state, "pausedUntil"))
        )
    elif word == "not_configured":
        found.append(Banner("not-configured", "info", "/onboarding"))
    left = session.get("age_seconds_left")
    if isinstance(left, int) and left <= _EXPIRES_WITHIN_S and word in ("connected", "degraded"):
        found.append(Banner("expiring", "warn", "/settings", at=_text(session, "expires_at")))
    if state.get("readOnly"):
        found.append(Banner("read-only", "info", "/settings"))
    if simulated:
        found.append(Banner("simulated", "info", "/help"))
    return found


def _text(told: Mapping[str, Any], name: str) -> str:
    return str(told.get(name) or "")
