"""Reads everything once and gives the one `Settings` value, or all that is wrong with it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibkit.errors import discreet
from ibkit.model.identity import Environment
from ibkit.model.secret import Secret
from ibkit.settings.checks import check
from ibkit.settings.groups import AREAS, VARIABLES
from ibkit.settings.method import MethodChoice, choose
from ibkit.settings.problems import Problem, invalid, raise_all
from ibkit.settings.sources import Found, Gathered, gather
from ibkit.settings.value import Settings

__all__ = ["load", "load_defaults"]


@discreet
def load(
    *,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    directory: Path | None = None,
    require_method: bool = True,
    authorised: bool = False,
    strict: bool = True,
) -> Settings:
    """The settings: flag before environment before file before default; the environment is read here alone.

    flags:          variable name to the text a flag gave.
    require_method: a sign-in method must be chosen and complete; else problems with it are only kept.
    authorised:     an access token of an earlier authorisation is stored for this consumer key.
    strict:         raise ConfigError with all problems; False keeps them in `problems` (for `ibkit verify`).

    Raises ConfigError: E-ENV-FILE at once, all others together (details["problems"]).
    """
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    gathered = gather(flags=flags or {}, environ=environ, env_file=env_file, directory=directory)
    return _settings_of(gathered, environ, require_method=require_method, authorised=authorised, strict=strict)


@discreet
def load_defaults(flags: Mapping[str, str]) -> Settings:
    """Settings of a program that says everything itself: no file, and of the environment only where files are kept.

    Raises ConfigError as `load`.
    """
    values = {name: Found(Secret(value), "flag", name) for name, value in flags.items()}
    gathered = Gathered(values=values, file=None)
    return _settings_of(gathered, os.environ, require_method=False, authorised=False, strict=True)


def _settings_of(
    gathered: Gathered, environ: Mapping[str, str], *, require_method: bool, authorised: bool, strict: bool
) -> Settings:
    problems = list(gathered.problems)
    environment = _environment(gathered.values, problems)
    suffix = f"_{environment.name}"
    found = {
        name: here
        for name in VARIABLES
        if (here := gathered.pick(name, suffix if VARIABLES[name].credential else None))
    }
    values = _parse(found, problems)
    values["general"]["environment"] = environment
    groups: dict[str, Any] = {name: kind(**values[name]) for name, (_, kind) in AREAS.items()}
    home = environ.get("HOME") or str(Path.home())
    settings = Settings(
        **groups,
        sources=found,
        file=gathered.file,
        shadowed=gathered.shadowed,
        unknown=gathered.unknown,
        default_state_dir=Path(environ.get("XDG_STATE_HOME") or Path(home) / ".local/state") / "ibkit",
    )
    problems += check(settings)
    chosen = choose(settings.general.method, found, has_file=gathered.file is not None, authorised=authorised)
    choice = chosen if isinstance(chosen, MethodChoice) else None
    method_problems = () if isinstance(chosen, MethodChoice) else chosen
    if strict:
        raise_all([*problems, *(method_problems if require_method and settings.general.provider != "mock" else ())])
    return dataclasses.replace(settings, choice=choice, problems=tuple(problems), method_problems=method_problems)


def _environment(values: Mapping[str, Found], problems: list[Problem]) -> Environment:
    """IBKR_ENV, or its older spelling; a wrong value is reported by the parsers and read as paper here."""
    new, old = values.get("IBKR_ENV"), values.get("IB_IS_LIVE")
    named = _parsed("IBKR_ENV", new, [])
    is_live = _parsed("IB_IS_LIVE", old, [])
    older = None if is_live is None else Environment.LIVE if is_live else Environment.PAPER
    if new is not None and old is not None and named is not None and older is not None and named is not older:
        if new.source == "flag":
            return Environment(named)
        problems.append(
            Problem(
                "E-CONFIG-CONFLICT",
                f"Conflicting settings: IB_IS_LIVE ({old.source}) and IBKR_ENV={named.value} ({new.source})",
                "Keep one of the two.",
                ("IB_IS_LIVE", "IBKR_ENV"),
            )
        )
        return Environment.PAPER
    return named or older or Environment.PAPER


def _parse(found: Mapping[str, Found], problems: list[Problem]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {group: {} for group in AREAS}
    for name, here in found.items():
        entry = VARIABLES[name]
        value = _parsed(name, here, problems)
        if value is not None:
            values[entry.group][entry.field] = value
    return values


def _parsed(name: str, found: Found | None, problems: list[Problem]) -> Any:
    if found is None:
        return None
    try:
        return VARIABLES[name].parse(found.value.reveal())
    except ValueError as error:
        problems.append(invalid(found.name, str(error)))
        return None
