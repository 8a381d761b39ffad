"""A passphrase from the terminal, or from a file where nobody sits at one."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.settings import read_private_key

__all__ = ["passphrase_of"]


@discreet
def passphrase_of(file: Path | None, *, twice: bool) -> Secret[str]:
    """The first line of `file` (which must be its owner's alone), else what is typed; twice: for a new one."""
    if file is not None:
        lines = read_private_key("--passphrase-file", file).reveal().splitlines()
        return Secret(lines[0].strip())
    if not sys.stdin.isatty():
        raise ConfigError(
            "Invalid request: the passphrase can be asked for at a terminal only",
            code="E-VALIDATION",
            remedy="Name a file of mode 600 that holds it with --passphrase-file.",
        )
    typed = Secret(getpass.getpass("Passphrase of the backup: "))
    if twice and typed != Secret(getpass.getpass("Once more: ")):
        raise ConfigError("The two passphrases differ; nothing was written", code="E-VALIDATION", remedy="Try again.")
    return typed
