"""Keys that a command prints, a key a line: the clients of HashiCorp Vault, Google Cloud, Azure, a password manager.

It is started without a shell and without input, ends within a limit, and what it says on either stream is never told:
it may be the key.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.store.key_sources import Keys

__all__ = ["CommandKeys", "command_secret"]

_LARGEST = 64 * 1024
_KEYS, _SECRETS = "ENCRYPTION_KEY_COMMAND", "ENCRYPTION_SECRET_COMMAND"


class CommandKeys:
    def __init__(self, command: str, *, timeout_s: float = 30.0) -> None:
        self._command = command
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        return "ENCRYPTION_KEY_COMMAND"

    @discreet
    def read(self) -> Keys:
        printed = _printed(_words(self._command), self._timeout_s)
        return tuple(Secret(line.strip()) for line in printed.splitlines() if line.strip())

    def put(self, key: Secret[str] | None) -> None:
        raise ConfigError(
            "Encryption failed: ENCRYPTION_KEY_COMMAND prints keys and takes none",
            code="E-ENC-KEY",
            remedy=(
                "Put a new key (`ibkit vault generate-keys`) where the command finds it, and the old one on the line "
                "below or into ENCRYPTION_KEY_PREVIOUS, then run `ibkit vault rotate` again."
            ),
        )


@discreet
def command_secret(command: str, name: str, *, timeout_s: float = 30.0) -> Secret[str] | None:
    """What ENCRYPTION_SECRET_COMMAND prints with `name` for each {name}; None for nothing. ConfigError (E-ENC-KEY).

    name: of letters, digits, dots, dashes; it becomes part of a word, never of a shell's line.
    """
    words = [word.replace("{name}", name) for word in _words(command, _SECRETS)]
    printed = _printed(words, timeout_s, _SECRETS)
    return Secret(printed) if printed.strip() else None


def _words(command: str, setting: str = _KEYS) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:
        raise _failed("has a quote without its end", setting) from None
    if not words:
        raise _failed("is empty", setting)
    return words


def _printed(words: list[str], timeout_s: float, setting: str = _KEYS) -> str:
    try:
        process = subprocess.Popen(  # noqa: S603  # the person's own command, without a shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",
        )
    except OSError as error:
        raise _failed(f"cannot be started: {error.strerror}", setting) from None
    with process:
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            raise _failed(f"has not ended within {timeout_s:g} s", setting) from None
        except BaseException:
            _end(process)
            raise
    if process.returncode != 0:
        raise _failed(f"ended with exit status {process.returncode}", setting, exit_status=process.returncode)
    if len(said) > _LARGEST:
        raise _failed(f"printed more than {_LARGEST} bytes", setting)
    try:
        return said.decode("ascii")
    except UnicodeDecodeError:
        raise _failed("printed something that is no plain text", setting) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """The command, and on POSIX what it started: a child of it that holds the pipe would be waited for."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _failed(reason: str, setting: str = _KEYS, **details: object) -> ConfigError:
    what = "64 hex digits" if setting == _KEYS else "the secret"
    return ConfigError(
        f"Encryption failed: {setting} {reason}",
        code="E-ENC-KEY",
        remedy=f"Run the command by hand: it must print {what} and end with status 0.",
        details=details,
    )
