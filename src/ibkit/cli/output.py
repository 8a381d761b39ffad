"""How commands speak: text or one JSON document on stdout, failures on stderr, an exit code of the catalogue.

Nothing here raises: a reader that goes away, or a terminal that cannot show a character, must not stop a sale between
its fill and its stop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from ibkit.errors import ConfigError, IbkitError

__all__ = [
    "emit",
    "error_object",
    "keep_traceback",
    "one_line",
    "prepare",
    "report",
    "say",
    "table",
    "trace_id",
    "warn",
]

_TRACE = secrets.token_hex(8)


def trace_id() -> str:
    """The id of this run of the command: printed with failures, written with log lines."""
    return _TRACE


def prepare() -> None:
    """Let the streams replace what they cannot show."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def say(text: str = "") -> None:
    """One line (or several) for people, on stdout."""
    _write(sys.stdout, text + "\n")


def warn(text: str) -> None:
    """One line for people, on stderr: progress, notices, warnings; never the result."""
    _write(sys.stderr, text + "\n")


def emit(document: object) -> None:
    """The one JSON document of a `--json` run, on stdout. Decimals become exact text."""
    _write(sys.stdout, _encode(document) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> str:
    """Aligned columns without lines. right: numbers of the columns aligned to the right; None shows as a dash."""
    cells = [[str(name) for name in head], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    to_right = set(right)
    lines = [
        "  ".join(c.rjust(w) if i in to_right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: str, most: int = 160) -> str:
    """Text of the broker on one line, cut where it grows long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 4].rstrip()} ..."


def report(error: IbkitError, *, json: bool) -> int:
    """Print a failure on stderr as ERR-03 says; gives the exit code."""
    if json:
        _write(sys.stderr, _encode(error_object(error)) + "\n")
        return error.exit_code
    lines = []
    for problem in _problems(error):
        lines.append(f"{problem['code']}: {problem['message']}")
        lines += [f"-> {remedy}" for remedy in problem["remedy"]]
    causes = error.details.get("causes")
    if isinstance(causes, Sequence) and not isinstance(causes, str):
        lines.append("Checked:")
        lines += [f"  {cause}" for cause in causes]
    lines.append(f"trace {error.request_id or _TRACE}")
    _write(sys.stderr, "\n".join(lines) + "\n")
    return error.exit_code


def error_object(error: IbkitError) -> dict[str, Any]:
    """code, message, remedy (list), trace_id, details: the same fields as over HTTP (ERR-02)."""
    return {
        "code": error.code,
        "message": error.message,
        "remedy": [line for line in error.remedy.split("\n") if line],
        "trace_id": error.request_id or _TRACE,
        "effect": error.effect.value,
        "details": error.details,
    }


def keep_traceback(error: BaseException) -> Path | None:
    """Where the traceback was written, readable by its owner alone; None where no place could be written to."""
    import tempfile
    import traceback

    try:
        handle, name = tempfile.mkstemp(prefix=f"ibkit-{_TRACE}-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
            stream.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return Path(name)


def _problems(error: IbkitError) -> list[Mapping[str, Any]]:
    """A settings error carries all the problems found at once (CFG-03); any other is its own only one."""
    several = error.details.get("problems") if isinstance(error, ConfigError) else None
    if isinstance(several, Sequence) and several:
        return [{**problem, "remedy": str(problem["remedy"]).split("\n")} for problem in several]
    return [{"code": error.code, "message": error.message, "remedy": [r for r in error.remedy.split("\n") if r]}]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, enum.Enum):
        return str(value.value)
    return str(value)


def _encode(document: object) -> str:
    import json

    return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> Any:
    """Only what JSON knows. Money and quantities stay exact: they leave as text."""
    match value:
        case None | bool() | int() | float() | str():
            return value.value if isinstance(value, enum.Enum) else value
        case Decimal():
            return format(value, "f")
        case enum.Enum():
            return _plain(value.value)
        case datetime() | date():
            return value.isoformat()
        case Path():
            return str(value)
        case Mapping():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case _ if hasattr(type(value), "__struct_encode_fields__"):  # of msgspec, as the service tells it
            names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)  # type: ignore[attr-defined]
            return {told: _plain(getattr(value, name)) for told, name in names}
        case _:
            # Secret lands here too, and shows its stars.
            return str(value)


_UNSEEN = {
    code: f"\\u{code:04x}"
    for code in (*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}
"""What a terminal obeys instead of showing it, as JSON writes it.

A key's label or a broker's text is somebody else's: it must not clear the screen, write over a line or turn it round.
"""


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    try:
        stream.write(text.translate(_UNSEEN))
        stream.flush()
    except (BrokenPipeError, ValueError):
        _silence(stream)
    except OSError:
        # A full disk or a closed terminal: the work goes on, the exit code still tells the truth.
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Nobody reads this stream any more: send the rest, and Python's own flush at exit, nowhere."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
