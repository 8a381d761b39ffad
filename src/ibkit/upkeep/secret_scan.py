"""Keys and secrets in what a git repository tracks, or is about to: by the names of files and by what stands in them.

A finding says where and which rule, never what. Files that may hold such things (keys of tests) are named in
`.ibkitscan` at the top of the repository, one pattern a line. Requirement SEC-01.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ibkit.errors import ConfigError
from ibkit.settings import VARIABLES

__all__ = ["Finding", "hooks_folder", "is_repository", "scan", "scan_text"]

ALLOWED = ".ibkitscan"
_LARGEST = 2_000_000
_NAMES = (
    "private_*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "id_rsa",
    "id_ecdsa",
    "id_ed25519",
    ".env",
    ".env.*",
    "*.grant",
    "*.access",
    "journal.db*",
    "ibkit.db*",
    "*.ibkit-backup",
)
_HARMLESS_NAMES = (".env.example", ".env.template", ".env.sample")
_HIDDEN = "|".join(sorted((name for name, entry in VARIABLES.items() if entry.hidden), key=len, reverse=True))
_PLACEHOLDER = re.compile(
    r"(?i)^(?:<.*>|\$.*|%.*%|x+|\*+|\.+|your[-_ ].*|change.?me.*|password|secret|example.*|\{.*|none|null|sqlite:.*)$"
)
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    # With key material after it: the bare words stand in programs, too.
    (
        "private key",
        re.compile(
            r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |ENCRYPTED )?PRIVATE KEY-----"
            r"(?:\\[nr]|\s|[\"'])*(?:Proc-Type:|[A-Za-z0-9+/]{40})"
        ),
    ),
    ("JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}")),
    ("cloud access key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("access token of a code host", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|glpat-[A-Za-z0-9_-]{20,})")),
    ("password in an address", re.compile(r"\b[a-z][a-z0-9+]*://[^\s:/@\"'<>{}$]+:([^\s@/\"'<>{}$*]{6,})@[\w.-]+")),
)
_SETTING = re.compile(
    rf"^\s*(?:export\s+|-\s+|Environment=)?[\"']?(?:{_HIDDEN})(?:_PAPER|_LIVE)?[\"']?"
    r"[ \t]*[:=][ \t]*[\"']?([^\s\"'#]+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """line: 0 where the file's name alone says it."""

    path: str
    line: int
    rule: str


def is_repository(folder: Path) -> bool:
    return shutil.which("git") is not None and _git(folder, "rev-parse", "--is-inside-work-tree").strip() == b"true"


def hooks_folder(folder: Path) -> Path:
    """Where git looks for the hooks of this repository, wherever its settings say that is."""
    return folder / _git(folder, "rev-parse", "--git-path", "hooks").decode().strip()


def scan(folder: Path, *, staged: bool = False) -> list[Finding]:
    """All findings in the repository of `folder`. staged: only of what the next commit adds or changes. ConfigError."""
    if not is_repository(folder):
        raise ConfigError(
            f"Invalid request: {folder.absolute()} is in no git repository, or git is not installed",
            code="E-VALIDATION",
            remedy="Name a folder inside of one.",
        )
    top = Path(_git(folder, "rev-parse", "--show-toplevel").decode().strip())
    which = ("diff", "--cached", "--name-only", "--diff-filter=ACMR", "-z") if staged else ("ls-files", "-z")
    paths = [name.decode(errors="surrogateescape") for name in _git(top, *which).split(b"\0") if name]
    allowed = _allowed(top, staged=staged)
    found: list[Finding] = []
    for path in paths:
        if any(fnmatch(path, pattern) for pattern in allowed):
            continue
        found += _by_name(path)
        data = _content(top, path, staged=staged)
        if data is not None:
            found += scan_text(path, data)
    return found


def scan_text(path: str, data: bytes) -> Iterator[Finding]:
    """Findings in a file's content; of a binary one only keys in it."""
    text = data[:_LARGEST].decode("utf-8", "replace")
    for rule, pattern in _RULES:
        for match in pattern.finditer(text):
            if match.groups() and _PLACEHOLDER.match(match[1]):
                continue
            yield Finding(path, text.count("\n", 0, match.start()) + 1, rule)
    for match in _SETTING.finditer(text):
        if len(match[1]) >= 8 and not _PLACEHOLDER.match(match[1]) and _is_settings_file(path):
            yield Finding(path, text.count("\n", 0, match.start(1)) + 1, "value of a secret setting")


def _is_settings_file(path: str) -> bool:
    """Programs name settings too, and give them values of every kind; here they are given to us."""
    name = Path(path).name
    return name.startswith((".env", "env", "docker-compose", "compose")) or name.endswith(
        (".env", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".sh", ".service", ".txt", ".properties")
    )


def _by_name(path: str) -> Iterator[Finding]:
    name = Path(path).name
    if name not in _HARMLESS_NAMES and any(fnmatch(name, pattern) for pattern in _NAMES):
        yield Finding(path, 0, "file of a kind that does not belong into git")
    elif path.startswith("config/keys/") and not name.startswith("public"):
        yield Finding(path, 0, "file in the folder of keys")


def _allowed(top: Path, *, staged: bool) -> list[str]:
    data = _content(top, ALLOWED, staged=staged)
    lines = data.decode("utf-8", "replace").splitlines() if data is not None else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _content(top: Path, path: str, *, staged: bool) -> bytes | None:
    """What git would commit, which need not be what stands in the folder; None for what is no file."""
    if staged:
        done = _run(top, "cat-file", "blob", f":{path}")
        return done.stdout if done.returncode == 0 else None
    try:
        file = top / path
        return file.read_bytes()[:_LARGEST] if file.is_file() and not file.is_symlink() else None
    except OSError:
        return None


def _git(folder: Path, *words: str) -> bytes:
    return _run(folder, *words).stdout


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git") or "git"
    return subprocess.run([git, "-C", str(folder), *words], capture_output=True, check=False)  # noqa: S603  # words of ours
