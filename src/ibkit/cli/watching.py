"""What the worker says while it runs: one line for each thing that happens, text or JSON, on stderr or stdout."""

from __future__ import annotations

import json as _json
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ibkit.cli import output

if TYPE_CHECKING:
    from ibkit.trading import Step

__all__ = ["Log"]

_AGAIN_AFTER_S = 600.0
_MOST = 500


class Log:
    """json: JSON lines instead of text. quiet: nothing, because one document follows.

    What was said is said again only after ten minutes: a round a minute finds the same again and again.
    """

    def __init__(self, *, json: bool, quiet: bool = False) -> None:
        self._json = json
        self._quiet = quiet
        self._said: OrderedDict[str, datetime] = OrderedDict()

    def step(self, step: Step) -> None:
        """An observer: what a person wants to know, each once."""
        from ibkit.trading import StepKind

        if step.kind in (StepKind.CONTRACT, StepKind.QUOTE, StepKind.CHECKS, StepKind.INTENT, StepKind.PREVIEW):
            return
        last = self._said.get(step.text)
        if last is not None and (step.at - last).total_seconds() < _AGAIN_AFTER_S:
            return
        self._said[step.text] = step.at
        while len(self._said) > _MOST:
            self._said.popitem(last=False)
        self._write(step.kind.value, step.text, step.at, dict(step.details))

    def say(self, kind: str, text: str, **details: object) -> None:
        self._write(kind, text, datetime.now(UTC), {name: str(value) for name, value in details.items()})

    def _write(self, kind: str, text: str, at: datetime, details: dict[str, str]) -> None:
        if self._quiet:
            return
        if self._json:
            line = {"at": at.isoformat(), "kind": kind, "text": text, **({"details": details} if details else {})}
            output.say(_json.dumps(line, ensure_ascii=False))
        else:
            output.warn(f"{at:%Y-%m-%d %H:%M:%S} {kind}: {output.one_line(text, 300)}")
