"""Log lines of the service and the worker: text or JSON, to stderr or to a file that is begun anew when it is full.

Each line has time, level, event and logger; trace id, user and connection where they are known; then its own facts.
The library logs with `logging` alone and no handlers of its own: this is where a program gives it some.
Source: requirement MON-13.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

from ibkit.errors import ConfigError, StorageError
from ibkit.model import Secret
from ibkit.model.masking import STARS, is_secret_name, masked
from ibkit.settings import Settings
from ibkit.spans import trace_id

__all__ = ["about", "log_level", "set_up_logs", "told_of"]

_KEPT_FILES: Final = 5
_MB: Final = 1_000_000
_MARK: Final = "_ibkit_handler"
_DEPTH: Final = 6


def log_level(settings: Settings) -> int:
    """LOG_LEVEL; DEBUG in development, INFO otherwise."""
    given = settings.runtime.log_level
    if given is None:
        given = "debug" if settings.general.app_env == "development" else "info"
    return int(logging.getLevelNamesMapping()[given.upper()])


def set_up_logs(settings: Settings, *, stream: TextIO | None = None, trace: str = "") -> logging.Handler:
    """Give ibkit's loggers a handler, in place of an earlier one of ours. stream: stderr where there is no LOG_FILE.

    trace: the id of lines that belong to no request. StorageError where LOG_FILE cannot be written; ConfigError where
    the extra `service` is missing.
    """
    handler = _handler(settings, stream)
    handler.setFormatter(_formatter(settings.runtime.log_format, trace))
    setattr(handler, _MARK, True)
    root = logging.getLogger()
    for each in [each for each in root.handlers if getattr(each, _MARK, False)]:
        root.removeHandler(each)
        each.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # of other libraries only what is wrong
    logging.getLogger("ibkit").setLevel(log_level(settings))
    return handler


@contextmanager
def about(**facts: str) -> Iterator[None]:
    """Lines of the block carry these facts: user, connection."""
    from structlog.contextvars import bound_contextvars

    with bound_contextvars(**facts):
        yield


def told_of(**facts: str) -> None:
    """The same from here to the end of the task: of a request, once it is known whose it is."""
    from structlog.contextvars import bind_contextvars

    bind_contextvars(**facts)


def _handler(settings: Settings, stream: TextIO | None) -> logging.Handler:
    file = settings.runtime.log_file
    if file is None:
        return logging.StreamHandler(stream or sys.stderr)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _PrivateFile(
            file,
            maxBytes=settings.runtime.log_file_mb * _MB,
            backupCount=_KEPT_FILES,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise StorageError(
            f"Log file cannot be written: {file}: {error.strerror or error}", remedy="Correct LOG_FILE."
        ) from error


class _PrivateFile(RotatingFileHandler):
    """Readable by its owner alone, also the next one."""

    def _open(self) -> Any:
        os.close(os.open(self.baseFilename, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        Path(self.baseFilename).chmod(0o600)
        return super()._open()


def _formatter(form: str, trace: str) -> logging.Formatter:
    try:
        import structlog
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Log lines in this form need the package structlog",
            remedy="Install it with `pip install 'ibkit[service]'`.",
        ) from error

    def identified(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        known = trace_id() or trace
        if known:
            event.setdefault("trace_id", known)
        return event

    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if form == "json"
        else structlog.processors.KeyValueRenderer(
            key_order=["timestamp", "level", "event"], drop_missing=True, repr_native_str=False
        )
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        identified,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
            _one_line,
        ],
    )


def _without_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    # `message` and `asctime` are what another handler left in the record: the event unmasked, a second time.
    return {name: _clean(value, name) for name, value in event.items() if name not in ("message", "asctime")}


def _clean(value: Any, name: str = "", depth: int = 0) -> Any:
    """Before it is rendered: afterwards a quoted line break would hide the end of a key."""
    if isinstance(value, Secret) or depth > _DEPTH or is_secret_name(name):
        return STARS
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {str(key): _clean(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, name, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return masked(str(value))


def _one_line(_logger: object, _method: str, rendered: Any) -> str:
    """A line stays one line: text of others must not look like a line of ours."""
    return str(rendered).replace("\r", "\\r").replace("\n", "\\n")
