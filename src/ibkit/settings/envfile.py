"""A settings file → names and values.

line   = blank | "#" comment | ["export "] NAME "=" value [" #" comment]
value  = bare text | 'as it is' | "with \\n, \\t, \\\" and \\\\ meaning what they say; may span lines"
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from ibkit.errors import ConfigError

__all__ = ["check_owner", "check_rights", "parse", "read"]

_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MEANS = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}
_LARGEST = 1_000_000


def read(file: Path) -> Mapping[str, str]:
    """The file's values. E-ENV-FILE when it cannot be read or understood."""
    try:
        if file.stat().st_size > _LARGEST:
            raise _problem(file, "larger than a megabyte, so it is no settings file")
        data = file.read_bytes()
    except FileNotFoundError:
        raise _problem(file, "no such file") from None
    except IsADirectoryError:
        raise _problem(file, "is a directory") from None
    except OSError as error:
        raise _problem(file, error.strerror or type(error).__name__) from error
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _problem(file, f"not UTF-8 text (byte {error.start + 1})") from None
    except ValueError as error:
        raise _problem(file, str(error)) from None


def parse(content: str) -> dict[str, str]:
    """Names and values. ValueError names the line that is wrong, never its value."""
    found: dict[str, str] = {}
    place, line = 0, 1
    content = content.replace("\r\n", "\n")
    while place < len(content):
        end = content.find("\n", place)
        end = len(content) if end < 0 else end
        stripped = content[place:end].strip()
        if stripped and not stripped.startswith("#"):
            start = place + len(content[place:end]) - len(content[place:end].lstrip())
            match = _NAME.match(content, start, end)
            if match is None:
                raise ValueError(f"line {line} is not NAME=value")
            if match[1] in found:
                raise ValueError(f"line {line} sets {match[1]} a second time")
            found[match[1]], end = _value(content, match.end(), end, line)
        line += content.count("\n", place, end) + 1
        place = end + 1
    return found


def check_rights(file: Path, secrets: Iterable[str]) -> None:
    """No settings file is written by everybody; one that holds secrets (their names are given) is its owner's alone.

    E-ENV-FILE with the remedy.
    """
    names = sorted(secrets)
    if os.name != "posix":
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if names and mode & 0o066:
        may = "read" if mode & 0o044 else "write"
        raise _problem(
            file,
            f"other users can {may} it (mode {mode:04o}) and it holds {', '.join(names)}",
            remedy=f"Run `chmod 600 {file}`.",
        )
    if mode & 0o002:  # it names commands to run, servers to trust and accounts to trade
        raise _problem(file, f"any user can write it (mode {mode:04o})", remedy=f"Run `chmod 600 {file}`.")


def check_owner(file: Path) -> None:
    """A settings file that was merely found must be ours: a stranger's could send us to a stranger's server."""
    if os.name == "posix" and os.geteuid() not in (0, owner := file.stat().st_uid) and owner != 0:
        raise _problem(file, "it belongs to another user", remedy=f"Name it with --env-file {file} to use it anyway.")


def _value(content: str, start: int, end: int, line: int) -> tuple[str, int]:
    """The value that begins at `start`, and where its line ends."""
    quote = content[start : start + 1]
    if quote not in ("'", '"'):
        bare = content[start:end]
        if bare.startswith("#"):
            return "", end
        return re.split(r"\s#", bare, maxsplit=1)[0].strip(), end
    close = start + 1
    while close < len(content) and content[close] != quote:
        close += 2 if quote == '"' and content[close] == "\\" else 1
    if close >= len(content):
        raise ValueError(f"line {line}: the quote is not closed")
    inner = content[start + 1 : close]
    rest_end = content.find("\n", close)
    rest_end = len(content) if rest_end < 0 else rest_end
    rest = content[close + 1 : rest_end].strip()
    if rest and not rest.startswith("#"):
        raise ValueError(f"line {line}: text after the closing quote")
    if quote == '"':
        inner = _ESCAPE.sub(lambda match: _MEANS.get(match[1], match[0]), inner)
    return inner, rest_end


def _problem(file: Path, reason: str, *, remedy: str | None = None) -> ConfigError:
    return ConfigError(
        f"Settings file problem: {file}: {reason}", code="E-ENV-FILE", remedy=remedy, details={"path": str(file)}
    )
