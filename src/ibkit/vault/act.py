"""What somebody did, as it is to stand in the audit log: who, from where, what, to which thing, and how it ended.

A `Secret` among the details is refused; what looks like a key, a token or a password is masked, whoever wrote it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from ibkit.errors import IbkitError
from ibkit.model import Secret
from ibkit.model.masking import STARS, masked

__all__ = ["HERE", "Act", "Auditor", "Fields", "Result", "fields_of"]

HERE = "local"
"""The address of whoever sits at this machine, or runs a program on it."""

_LONGEST = {"actor": 200, "address": 100, "action": 64, "object": 200, "detail": 1000}
_MOST_DETAILS = 32
_ACTION = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_DETAIL = re.compile(r"[a-z][a-z0-9_]*")
_NAMED = r"password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|encryption[_-]?key|authorization|cookie"
_KEPT_FOR_YEARS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            rf"(?i)(?<![\w-])(?=[\w-]*(?:{_NAMED}))([\w-]++)([\"']?\s*[=:]\s*[\"']?)[^\s,;\"'}}&]+",
        ),
        rf"\1\2{STARS}",
    ),
    (re.compile(r"\b[0-9a-fA-F]{40,}\b"), STARS),
    (re.compile(r"(?<![\w+/-])(?=[\w+/-]*[a-z])(?=[\w+/-]*[A-Z])(?=[\w+/-]*[0-9])[\w+/-]{40,}={0,2}"), STARS),  # base64
)
"""Besides what a log hides: words that only contain such a name, and long runs of hex or base64.

Each word is looked at from its beginning alone: from every place in it, a long one would hold up the process.
"""


class Result(enum.StrEnum):
    OK = "ok"
    REFUSED = "refused"
    """By our rules, by a person, or by IBKR."""
    FAILED = "failed"
    WAITING = "waiting"
    """For another person."""
    UNKNOWN = "unknown"
    """It may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """actor: a user's id, or `cli:<login name>` of this machine. action: `noun.verb` of docs/guide/audit.md.

    object: the thing it was done to. details: facts for a reader; never a secret (IbkitError E-INTERNAL).
    """

    at: datetime
    actor: str
    action: str
    object: str
    result: Result = Result.OK
    address: str = HERE
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.at.tzinfo is not None, "an instant is aware"
        assert _ACTION.fullmatch(self.action), f"an action is noun.verb: {self.action}"
        for name, value in self.details.items():
            assert _DETAIL.fullmatch(name), f"a detail is named in lower case: {name}"
            if _holds_secret(value):
                raise IbkitError(
                    f"The audit entry {self.action} would have held a secret in its detail {name}", code="E-INTERNAL"
                )


class Auditor(Protocol):
    """Where acts are written. Fitted by `store.audit.AuditLog`."""

    async def record(self, *acts: Act) -> None:
        """All of them, in this order, on disk when it returns. StorageError where they are not."""
        ...


Fields = tuple[str, str, str, str, str, str, str]
"""at, actor, address, action, object, result, details (a JSON object): an entry's texts, as they are hashed."""


def fields_of(act: Act) -> Fields:
    """`act` as texts, cleaned, bounded and masked. Times are UTC with microseconds, details sorted by name."""
    details = {
        name: _text(value, "detail")
        for name, value in sorted(act.details.items())[:_MOST_DETAILS]
        if value is not None and value != ""
    }
    return (
        act.at.astimezone(UTC).isoformat(timespec="microseconds"),
        _text(act.actor, "actor"),
        _text(act.address, "address"),
        _text(act.action, "action"),
        _text(act.object, "object"),
        act.result.value,
        msgspec.json.encode(details).decode(),
    )


def _masked(text: str) -> str:
    """`text` with stars for what looks like a secret."""
    text = masked(text)
    for pattern, instead in _KEPT_FOR_YEARS:
        text = pattern.sub(instead, text)
    return text


def _text(value: object, kind: str) -> str:
    """As text that both databases and JSON can hold: no zero bytes, no half characters, not longer than its kind."""
    text = str(value.value) if isinstance(value, enum.Enum) else str(value)
    text = _masked(text.replace("\0", "").encode("utf-8", "replace").decode("utf-8"))
    most = _LONGEST[kind]
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _holds_secret(value: object) -> bool:
    if isinstance(value, Secret):
        return True
    if isinstance(value, Mapping):
        return any(_holds_secret(each) for each in value.values())
    return isinstance(value, list | tuple | set | frozenset) and any(_holds_secret(each) for each in value)
