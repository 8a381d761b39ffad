"""A further Client Portal Gateway beside the one that is there: its folder again, listening on another port. SES-16.

A gateway holds exactly one login, so each user name needs one of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from ibkit.errors import ConfigError, NotFound, StorageError

__all__ = ["copy_gateway", "listen_port", "with_port"]

CONF = Path("root") / "conf.yaml"
DEFAULT_PORT = 5000
"""Where a gateway listens whose file does not say. Source: docs/facts/auth-and-sessions.md §3.1."""
_LISTENS = re.compile(r"^(?P<before>[ \t]*listenPort[ \t]*:[ \t]*[\"']?)(?P<port>\d+)", re.MULTILINE)


def listen_port(text: str) -> int:
    """Of the text of a conf.yaml."""
    found = _LISTENS.search(text)
    return DEFAULT_PORT if found is None else int(found["port"])


def with_port(text: str, port: int) -> str:
    """The text of a conf.yaml with that `listenPort`, its comments and order kept.

    >>> with_port("ccp: false\\nlistenPort: 5000 # here\\n", 5001)
    'ccp: false\\nlistenPort: 5001 # here\\n'
    >>> with_port("ccp: false", 5001)
    'ccp: false\\nlistenPort: 5001\\n'
    """
    changed, count = _LISTENS.subn(rf"\g<before>{port}", text)
    if count:
        return changed
    return f"{text.rstrip()}\nlistenPort: {port}\n"


def copy_gateway(source: Path, target: Path, port: int) -> None:
    """Make `target` a gateway like `source`, on `port`, without its log files; whole, or not at all.

    NotFound where `source` is no gateway, ConfigError where `target` is taken or the port is that of `source`,
    StorageError where it cannot be written.
    """
    conf = source / CONF
    if not conf.is_file():
        raise NotFound(
            f"Gateway not found: {conf.absolute()} is not there",
            code="E-NOT-FOUND",
            remedy="Set IBKR_GATEWAY_DIR to the folder into which the gateway was unpacked.",
        )
    text = conf.read_text(encoding="utf-8", errors="surrogateescape")
    if listen_port(text) == port:
        raise _conflict(f"the gateway in {source} listens on port {port}", "Choose another port for the new one.")
    if target.exists() or target.is_symlink():
        raise _conflict(f"{target} is there already", "Name a folder that is not there; nothing is overwritten.")
    if target.resolve().is_relative_to(source.resolve()):
        raise _conflict(f"{target} lies within {source}", "Name a folder beside it.")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, partial, symlinks=True, ignore=_without_logs(source))
        (partial / CONF).write_text(with_port(text, port), encoding="utf-8", errors="surrogateescape")
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(
            f"Gateway not copied: {error.strerror or error}", remedy=f"Make room and rights for {target}, then repeat."
        ) from error


def _without_logs(source: Path) -> Callable[[str, list[str]], list[str]]:
    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(folder) == source and name == "logs"]

    return ignored


def _conflict(what: str, remedy: str) -> ConfigError:
    return ConfigError(f"Conflicting settings: {what}", code="E-CONFIG-CONFLICT", remedy=remedy)
