"""The settings file to start from: every variable with its meaning (`.env.example`, `ibkit init`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ibkit.settings.groups import AREAS, VARIABLES
from ibkit.settings.variables import Variable

__all__ = ["names_in", "template"]

_HEAD = """\
# Settings of ibkit. Copy this file to .env, fill in what your sign-in needs, and keep it to yourself: chmod 600 .env
#
# A line that begins with # is off; then the default holds. Values may be quoted; \\n inside double quotes is a line
# break. A flag on the command line wins over the environment, the environment over this file.
# Credentials may carry _PAPER or _LIVE (IB_ACCESS_TOKEN_PAPER=...); the one that fits IBKR_ENV wins.
"""
_NOTES: Mapping[str, str] = {
    "gateway": "Needed for IBKR_AUTH_METHOD=gateway: nothing but the running gateway, logged in with a browser.",
    "oauth1": (
        "Needed for IBKR_AUTH_METHOD=oauth1a: IB_CONSUMER_KEY, IB_ACCESS_TOKEN, IB_ACCESS_TOKEN_SECRET\n"
        "# (from IBKR's portal) and three files made by `ibkit keys generate`."
    ),
    "oauth2": (
        "Needed for IBKR_AUTH_METHOD=oauth2: IBKR_CLIENT_ID, IBKR_CLIENT_KEY_ID, IBKR_CREDENTIAL, and\n"
        "# IBKR_PRIVATE_KEY or IBKR_PRIVATE_KEY_PATH."
    ),
}


def template(filled: Mapping[str, str] | None = None) -> str:
    """The file's text. filled: values to write in; all other variables stay off, as their defaults."""
    filled = filled or {}
    out = [_HEAD]
    for group, (title, _) in AREAS.items():
        out.append(f"# --- {title} " + "-" * (100 - len(title)))
        if group in _NOTES:
            out.append(f"# {_NOTES[group]}")
        out.append("")
        for entry in VARIABLES.values():
            if entry.group == group:
                out += [f"# {entry.meaning}{_default(entry)}", _line(entry, filled.get(entry.name)), ""]
    return "\n".join(out)


def names_in(text: str) -> list[str]:
    """The variables a template names, on or off."""
    return re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)


def _default(entry: Variable) -> str:
    shown = entry.shown_default or entry.default
    return f" (default: {shown})" if shown else ""


def _line(entry: Variable, value: str | None) -> str:
    if value is not None:
        return f"{entry.name}={value}"
    if not entry.default and entry.credential:
        return f"{entry.name}="
    return f"#{entry.name}={entry.default}"
