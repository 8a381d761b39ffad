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

__all__ = ["CommandKeys"]

_LARGEST = 64 * 1024


class CommandKeys:
    def __init__(self, command: str, *, timeout_s: float = 30.0) -> None:
        self._command = command
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        return "ENCRYPTION_KEY_COMMAND"

    @discreet
    def read(self) -> Keys:
        try:
            words = shlex.split(self._command)
        except ValueError:
            raise _failed("has a quote without its end") from None
        if not words:
            raise _failed("is empty")
        return tuple(Secret(line.strip()) for line in self._printed(words).splitlines() if line.strip())

    def put(self, key: Secret[str] | None) -> None:
        raise ConfigError(
            "Encryption failed: ENCRYPTION_KEY_COMMAND prints keys and takes none",
            code="E-ENC-KEY",
            remedy=(
                "Put a new key (`ibkit vault generate-keys`) where the command finds it, and the old one on the line "
                "below or into ENCRYPTION_KEY_PREVIOUS, then run `ibkit vault rotate` again."
            ),
        )

    def _printed(self, words: list[str]) -> str:
        try:
            process = subprocess.Popen(  # noqa: S603  # the person's own command, without a shell
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise _failed(f"cannot be started: {error.strerror}") from None
        with process:
            try:
                said, _ = process.communicate(timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                _end(process)
                raise _failed(f"has not ended within {self._timeout_s:g} s") from None
            except BaseException:
                _end(process)
                raise
        if process.returncode != 0:
            raise _failed(f"ended with exit status {process.returncode}", exit_status=process.returncode)
        if len(said) > _LARGEST:
            raise _failed(f"printed more than {_LARGEST} bytes")
        try:
            return said.decode("ascii")
        except UnicodeDecodeError:
            raise _failed("printed something that is no key of 64 hex digits") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """The command, and on POSIX what it started: a child of it that holds the pipe would be waited for."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _failed(reason: str, **details: object) -> ConfigError:
    return ConfigError(
        f"Encryption failed: ENCRYPTION_KEY_COMMAND {reason}",
        code="E-ENC-KEY",
        remedy="Run the command by hand: it must print 64 hex digits and end with status 0.",
        details=details,
    )
