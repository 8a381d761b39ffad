"""Passwords and codes, asked without echo, or read from stdin line by line; never an argument."""

from __future__ import annotations

import sys

from ibkit.cli.asking import wrong
from ibkit.model import Secret

__all__ = ["ask_code", "ask_new_password", "ask_password"]

_LONGEST_LINE = 4096


def ask_new_password(name: str) -> Secret[str]:
    """Typed twice at a terminal. E-VALIDATION where the two differ, or nothing was given."""
    first = _asked(f"New password of {name}: ")
    if sys.stdin.isatty() and _asked("Again: ") != first:
        raise wrong("password", "the two are not the same; nothing was changed")
    return first


def ask_password(name: str) -> Secret[str]:
    return _asked(f"Password of {name}: ")


def ask_code() -> str:
    """Of the authenticator app, or a recovery code."""
    return _asked("Code: ").reveal().strip()


def _asked(question: str) -> Secret[str]:
    if sys.stdin.isatty():
        import getpass

        try:
            line = getpass.getpass(question)
        except EOFError:
            line = ""
    else:
        line = sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
    if not line:
        what = question.split(" ", 1)[0].lower().strip(": ")
        raise wrong(what if what != "new" else "password", "nothing was given; type it, or write it to stdin as a line")
    return Secret(line)
