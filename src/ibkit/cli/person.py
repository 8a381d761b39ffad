"""The person at the terminal, asked what IBKR asks: bounded in time, for the order waits at IBKR meanwhile."""

from __future__ import annotations

import getpass
import sys
import time
from typing import TYPE_CHECKING

from ibkit.cli import output

if TYPE_CHECKING:
    from ibkit.model import Question
    from ibkit.trading import Intent
    from ibkit.trading.questions import Asker, Said

__all__ = ["asker_of", "plain"]

_LOOK_S = 0.2


def asker_of(*, json: bool) -> Asker:
    """Somebody to ask, where a person sits at a terminal and reads text; nobody otherwise."""
    from ibkit.trading.questions import unasked

    if json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return unasked
    return _ask


async def _ask(intent: Intent, question: Question, within_s: float) -> Said | None:
    import anyio.to_thread

    from ibkit.trading.questions import QUESTIONS, Said

    output.warn(f"IBKR asks before it takes {intent.label}:")
    for message_id, text in zip(question.message_ids, question.messages, strict=False):
        known = QUESTIONS.get(message_id)
        meaning = known.meaning if known is not None else "not known to ibkit"
        output.warn(f"  {message_id or 'without id'} ({meaning}): {plain(text)}")
    output.warn(f"Answer yes to all of it? [y/N], within {within_s:.0f} s: ")
    line = await anyio.to_thread.run_sync(_line_within, within_s)
    if line is None:
        output.warn("No answer in time: it is declined.")
        return None
    return Said(line.strip().casefold() in ("y", "yes"), getpass.getuser())


def plain(text: str) -> str:
    """On one line, without markup."""
    from ibkit.trading.questions import plain_text

    return output.one_line(plain_text(text), 400)


def _line_within(within_s: float) -> str | None:
    """A line that was typed, or None after `within_s`; a thread that waits for ever would hold up the process."""
    until = time.monotonic() + within_s
    if sys.platform == "win32":
        return _typed_on_windows(until)
    import select

    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], min(left, _LOOK_S))
        if ready:
            return sys.stdin.readline()
    return None


def _typed_on_windows(until: float) -> str | None:
    import msvcrt

    typed = ""
    while time.monotonic() < until:
        if not msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]  # only there on Windows
            time.sleep(_LOOK_S)
            continue
        key = msvcrt.getwche()  # type: ignore[attr-defined,unused-ignore]
        if key in "\r\n":
            return typed
        typed += key
    return None
