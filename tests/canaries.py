"""Watches for secrets: every value that is ever put into a `Secret`, searched for in whatever was let out."""

from __future__ import annotations

import base64
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from ibkit.model import Secret

__all__ = ["Canaries", "laid_bare"]

SHORTEST = 8
"""Characters or bytes; anything shorter stands in texts by chance."""
OURS = ("/src/ibkit/sim/", "/tests/")
"""Frames of the broker's side and of the test itself: they may know."""


class Canaries:
    """Secrets by name. add: more of them; found_in: the names of those that a text shows in any form."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}

    def add(self, name: str, value: str | bytes | int) -> None:
        for form in forms(value):
            if len(form) >= SHORTEST:
                self._forms.setdefault(form, name)

    def __len__(self) -> int:
        return len(set(self._forms.values()))

    def found_in(self, text: str) -> set[str]:
        return {name for form, name in self._forms.items() if form in text}

    @contextmanager
    def learning(self) -> Iterator[None]:
        """While this is open, each value that is wrapped in a `Secret` becomes a canary.

        Texts of settings are left out: they are kept as secrets before anybody knows which of them are.
        """
        wrapped = Secret.__init__

        def init(secret: Any, value: Any) -> None:
            wrapped(secret, value)
            if not sys._getframe(1).f_code.co_filename.endswith("settings/sources.py"):
                self.add(f"secret {type(value).__name__}, {len(value)} long", value)

        Secret.__init__ = init  # type: ignore[method-assign]
        try:
            yield
        finally:
            Secret.__init__ = wrapped  # type: ignore[method-assign]


def forms(value: str | bytes | int) -> set[str]:
    """How the value may look in a text: as it is, quoted, escaped, hex, base64, a number. A PEM counts by line."""
    if isinstance(value, int):
        return {str(value), f"{value:x}", f"{value:X}"}
    if isinstance(value, str) and "-----BEGIN" in value:
        lines = [line for line in value.replace("\\n", "\n").splitlines() if len(line) >= 40 and "-----" not in line]
        return {form for line in lines for form in (line, quote(line, safe=""))}
    raw = value.encode() if isinstance(value, str) else value
    if len(raw) < SHORTEST:
        return set()
    found = {raw.hex(), raw.hex().upper(), repr(raw)[2:-1], str(int.from_bytes(raw, "big"))}
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        found |= {encoded.decode(), encoded.decode().rstrip("=")}
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return found
    return found | {text, repr(text)[1:-1], quote(text, safe=""), quote_plus(text)}


def laid_bare(error: BaseException) -> str:
    """All that the most talkative reporter would print of an error: message, arguments, attributes, each local of
    each frame, and the same of every cause and context, suppressed ones too."""
    parts: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        parts += [str(each), repr(each), repr(each.args), repr(getattr(each, "__dict__", {}))]
        parts += [repr(getattr(each, name)) for name in ("object", "doc", "pem") if hasattr(each, name)]
        stack = traceback.TracebackException(type(each), each, each.__traceback__, capture_locals=True).stack
        for frame in stack:
            if not any(place in frame.filename for place in OURS):
                parts.append(f"{frame.filename}:{frame.lineno} {frame.name} {frame.line} {frame.locals}")
    return "\n".join(parts)
