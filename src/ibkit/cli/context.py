"""What was said before or beside the command: the global options, and the settings that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError

if TYPE_CHECKING:
    from ibkit.cli.flags import UserLogin
    from ibkit.settings import Settings

__all__ = ["Options", "current", "load_settings", "log_lines", "placing", "split", "under_way", "use", "user_of"]


@dataclass(frozen=True, slots=True)
class Options:
    env_file: Path | None = None
    json: bool = False
    no_cache: bool = False


_current = Options()
_under_way = ""


def current() -> Options:
    return _current


def use(options: Options) -> None:
    """Once, at the start of a command."""
    global _current, _under_way
    _current, _under_way = options, ""


@contextmanager
def placing(key: str) -> Iterator[None]:
    """Around what sends an order: who interrupts it is told under which key the answer will be found."""
    global _under_way
    _under_way = key
    try:
        yield
    except Exception:
        _under_way = ""  # it tells itself what became of the order
        raise
    _under_way = ""


def under_way() -> str:
    """The key of the order that an interruption left behind, empty where there is none."""
    return _under_way


def split(arguments: list[str]) -> tuple[Options, list[str]]:
    """The global options, wherever they stand, and the arguments without `--env-file` and `--no-cache`.

    `--json` stays, because commands take it themselves; it is only noted here for the form of errors.
    """
    env_file: Path | None = None
    no_cache = False
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--env-file":
            value = next(waiting, None)
            if value is None:
                raise ConfigError("--env-file needs the name of a file", code="E-VALIDATION", remedy="Name a file.")
            env_file = Path(value)
        elif argument.startswith("--env-file="):
            env_file = Path(argument.removeprefix("--env-file="))
        elif argument == "--no-cache":
            no_cache = True
        else:
            rest.append(argument)
    return Options(env_file=env_file, json="--json" in rest, no_cache=no_cache), rest


def load_settings(
    flags: Mapping[str, str | None] | None = None, *, require_method: bool = True, by: UserLogin | None = None
) -> Settings:
    """The settings of this run. flags: variable name to the value a flag gave (None: flag not used).

    require_method: False for commands that need no sign-in. by: the user's connection to act by, None for that of the
    settings.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None} | _of_options()
    if by is not None:
        settings = _of_user(by, given)
    elif require_method:
        from ibkit.bootstrap import read_settings

        settings = read_settings(flags=given, env_file=_current.env_file)
    else:
        from ibkit.settings import load

        settings = load(flags=given, env_file=_current.env_file, require_method=False)
    if settings.runtime.log_level is not None:
        _log_at(settings.runtime.log_level.upper())
    return settings


def user_of(by: UserLogin) -> str:
    """The --user that --connection belongs to. ConfigError (E-VALIDATION) without one."""
    if by.user is None:
        raise ConfigError(
            "Invalid request: --connection: it is a user's, and no --user is given",
            code="E-VALIDATION",
            remedy="Name the user, too; `ibkit connection list` shows whose it is.",
        )
    return by.user


def _of_options() -> dict[str, str]:
    return {"ANSWER_CACHE": "false"} if _current.no_cache else {}


def _of_user(by: UserLogin, flags: Mapping[str, str]) -> Settings:
    """flags: account and environment alone, for they are the connection's own, and are only compared."""
    from ibkit.bootstrap.user_login import settings_of_user
    from ibkit.cli.running import go
    from ibkit.settings import load

    user = user_of(by)
    settings = load(flags=_of_options(), env_file=_current.env_file, require_method=False)
    account_id, environment = flags.get("IBKR_ACCOUNT_ID"), flags.get("IBKR_ENV")
    _, own, _ = go(
        lambda: settings_of_user(settings, user, by.connection, account_id=account_id, environment=environment)
    )
    return own


def log_lines(settings: Settings) -> None:
    """For a command that runs on: lines in the form of LOG_FORMAT, to LOG_FILE, where one of them is asked for."""
    runtime = settings.runtime
    if runtime.log_format == "text" and runtime.log_file is None:
        return
    from ibkit.bootstrap.logs import set_up_logs
    from ibkit.cli.output import trace_id

    set_up_logs(settings, trace=trace_id())


def _log_at(level: str) -> None:
    """Log lines to stderr, where LOG_LEVEL asks for them; without it a command says only what it says."""
    import logging

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("ibkit").setLevel(level)
