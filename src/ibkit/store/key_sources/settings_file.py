"""Keys of the settings: `ENCRYPTION_KEY`, and what it replaced in `ENCRYPTION_KEY_PREVIOUS`."""

from __future__ import annotations

import re
from pathlib import Path

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.store.key_sources import Keys, fresh_key
from ibkit.store.key_sources.private_file import alone_in, write_private

__all__ = ["SettingsKeys", "put_key"]

_VALUE = r"[ \t]*=[ \t]*(\"[^\"\n]*\"|'[^'\n]*'|[^#\"'\n]*?)[ \t]*(?:#[^\n]*)?$"
"""A value in quotes or without, and a remark after it. A line that is not seen here would be set a second time."""
_KEY = re.compile(rf"^[ \t]*(?:export[ \t]+)?ENCRYPTION_KEY{_VALUE}", re.MULTILINE)
_PREVIOUS = re.compile(rf"^[ \t]*(?:export[ \t]+)?ENCRYPTION_KEY_PREVIOUS{_VALUE}", re.MULTILINE)
_OFF = re.compile(r"^#[ \t]*ENCRYPTION_KEY[ \t]*=.*$", re.MULTILINE)


class SettingsKeys:
    """current: `ENCRYPTION_KEY` as it was read. file: where it stands, None where it comes from elsewhere."""

    def __init__(self, current: Secret[str] | None, file: Path | None) -> None:
        self._current = current
        self._file = file

    @property
    def name(self) -> str:
        return "ENCRYPTION_KEY" if self._file is None else f"ENCRYPTION_KEY in {self._file}"

    def read(self) -> Keys:
        return () if self._current is None else (self._current,)

    def put(self, key: Secret[str] | None) -> None:
        if self._file is None:
            raise ConfigError(
                "Encryption failed: ENCRYPTION_KEY comes from the environment, where no new one can be written",
                code="E-ENC-KEY",
                remedy=(
                    "Make a key with `ibkit vault generate-keys`, set it as ENCRYPTION_KEY and the old one as "
                    "ENCRYPTION_KEY_PREVIOUS, then run `ibkit vault rotate` again."
                ),
            )
        put_key(self._file, key or fresh_key(), force=True)


@discreet
def put_key(file: Path, key: Secret[str], *, force: bool) -> bool:
    """Writes the file anew, whole, with the key in it; False where a key stands there and force is not set.

    A key that is replaced goes in front of the older ones. ConfigError (E-ENV-FILE).
    """
    try:
        with alone_in(file.parent):
            text = _with_key(file.read_text(encoding="utf-8") if file.exists() else "", key, force=force)
            if text is not None:
                write_private(file, text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"Settings file problem: {file}: {reason}", code="E-ENV-FILE") from error
    return text is not None


def _with_key(text: str, key: Secret[str], *, force: bool) -> str | None:
    """`text` with the key in it; None where one stands there and force is not set."""
    there = _KEY.search(text)
    line = f"ENCRYPTION_KEY={key.reveal()}"
    if there is not None and there[1].strip("\"'"):
        return _kept_readable(_KEY.sub(line, text, count=1), there[1].strip("\"'")) if force else None
    if there is not None:
        return _KEY.sub(line, text, count=1)
    if _OFF.search(text):
        return _OFF.sub(line, text, count=1)
    return text + ("" if not text or text.endswith("\n") else "\n") + line + "\n"


def _kept_readable(text: str, old: str) -> str:
    """The replaced key in front of the older ones: what it sealed still opens."""
    there = _PREVIOUS.search(text)
    if there is None:
        return text + ("" if text.endswith("\n") else "\n") + f"ENCRYPTION_KEY_PREVIOUS={old}\n"
    older = [key.strip() for key in there[1].strip("\"'").split(",") if key.strip()]
    return _PREVIOUS.sub("ENCRYPTION_KEY_PREVIOUS=" + ",".join([old, *older]), text, count=1)
