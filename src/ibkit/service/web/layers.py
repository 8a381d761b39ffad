"""The connection, layer by layer: the first that is down is the one to look at. From what is held; no call is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Layer", "layers_of"]


@dataclass(frozen=True, slots=True)
class Layer:
    """name, word: of texts `layer.<name>` and `layer_word.<word>`. tone: good, warn, bad or "" for not known.

    at: when it was seen so. until: to what it counts down, with `ends` as its text's word.
    """

    name: str
    word: str
    tone: str
    at: str = ""
    until: str = ""
    ends: str = ""
    detail: str = ""


_NO_NETWORK = ("E-API-CONNECT", "E-GW-DOWN", "E-GW-NORESP", "E-GW-TLS", "E-TIMEOUT", "E-MAINT")


def layers_of(state: Mapping[str, Any]) -> list[Layer]:
    """network, login, trading session, market data, account."""
    word = str(state.get("state") or "not_configured")
    steps: Mapping[str, Any] = state.get("diagnostics") or {}
    clocks: Mapping[str, Any] = state.get("clocks") or {}
    checked = str(state.get("checkedAt") or "")
    code = str((state.get("lastError") or {}).get("code") or "")
    up = word in ("connected", "degraded")
    if not state.get("configured"):
        return [Layer(name, "unknown", "") for name in ("network", "login", "session", "market_data", "account")]
    return [
        _network(code, checked, up=up),
        _login(steps, word, checked, str(clocks.get("username") or "")),
        _session(steps, word, clocks, checked),
        Layer("market_data", "limited", "warn", checked)
        if word == "degraded"
        else Layer("market_data", "there" if up else "unknown", "good" if up else "", checked if up else ""),
        _account(state, checked),
    ]


def _network(code: str, checked: str, *, up: bool) -> Layer:
    if code in _NO_NETWORK:
        return Layer("network", "maintenance" if code == "E-MAINT" else "unreachable", "bad", checked)
    return Layer("network", "reached", "good", checked) if up or checked else Layer("network", "unknown", "")


def _login(steps: Mapping[str, Any], word: str, checked: str, username: str) -> Layer:
    if word == "needs_login":
        return Layer("login", "needed", "bad", checked)
    ready = steps.get("initialized") == "Ready"  # a session that was taken up again was not signed in anew
    signed_in = ready or (steps.get("oauth") == "Connected" and steps.get("sso") == "Active")
    if signed_in:
        return Layer("login", "signed_in", "good", checked, detail=username)
    return Layer("login", "unknown" if not checked else "not_signed_in", "" if not checked else "bad", checked)


def _session(steps: Mapping[str, Any], word: str, clocks: Mapping[str, Any], checked: str) -> Layer:
    if word == "competing":
        return Layer("session", "elsewhere", "bad", checked)
    if steps.get("initialized") == "Ready":
        reset, age = str(clocks.get("next_reset") or ""), str(clocks.get("expires_at") or "")
        ends = min((each for each in (reset, age) if each), default="")
        return Layer("session", "ready", "good", checked, until=ends, ends="reset" if ends == reset else "age")
    return Layer("session", "not_ready" if checked else "unknown", "warn" if checked else "", checked)


def _account(state: Mapping[str, Any], checked: str) -> Layer:
    account = str(state.get("accountId") or "")
    return Layer("account", "known", "good", checked, detail=account) if account else Layer("account", "unknown", "")
