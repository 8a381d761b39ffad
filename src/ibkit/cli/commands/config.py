"""`ibkit config`: the settings in force and where each comes from, and the list of all there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.flags import Json, flag
from ibkit.errors import ConfigError
from ibkit.model.secret import Secret
from ibkit.settings import AREAS, VARIABLES, Settings, Variable, masked
from ibkit.settings.template import names_in, template

__all__ = ["app"]

app = cyclopts.App(name="config", help="Show the settings and where each comes from.")


@app.command
def show(
    *,
    all: Annotated[bool, flag("Also what stands at its default.")] = False,  # noqa: A002
    json: Json = False,
) -> None:
    """The settings in force, secrets masked, each with its source."""
    settings = context.load_settings(require_method=False)
    if json:
        output.emit(_document(settings))
        return
    output.say(f"Settings file: {settings.file or 'none (looked for ./.env and ./config/.env)'}")
    output.say(f"Environment:   {settings.environment.value}")
    output.say(f"Sign-in:       {_method(settings)}")
    output.say(f"State:         {settings.state_dir}")
    rows = [
        (entry.name, _shown(entry, settings), _source(settings, entry.name))
        for entry in VARIABLES.values()
        if all or entry.name in settings.sources
    ]
    output.say()
    output.say(output.table(("Variable", "Value", "Source"), rows) if rows else "Nothing is set; all defaults hold.")
    if not all:
        output.say("\nEverything else stands at its default (`ibkit config show --all`).")
    for name in settings.shadowed:
        output.warn(f"note: {name} stands in the file too; the environment wins")
    if settings.unknown:
        output.warn(f"note: not settings of ibkit, so not used: {', '.join(settings.unknown)}")


@app.command
def reference(
    *,
    check: Annotated[Path | None, cyclopts.Parameter(help="A template to compare with the code.")] = None,
    env: Annotated[bool, flag("Print the template of a settings file (.env.example).")] = False,
    json: Json = False,
) -> int:
    """All settings there are, with defaults and meaning."""
    if check is not None:
        return _check(check)
    if env:
        output.say(template().rstrip("\n"))
    elif json:
        output.emit(
            [
                {
                    "name": e.name,
                    "default": e.default or None,
                    "meaning": e.meaning,
                    "secret": e.hidden,
                    "area": e.group,
                }
                for e in VARIABLES.values()
            ]
        )
    else:
        for group, (title, _) in AREAS.items():
            rows = [
                (e.name, e.shown_default or e.default or "(unset)", e.meaning)
                for e in VARIABLES.values()
                if e.group == group
            ]
            output.say(f"{title}\n")
            output.say(output.table(("Variable", "Default", "Meaning"), rows) + "\n")
    return 0


def _check(file: Path) -> int:
    try:
        names = names_in(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Settings file problem: {file}: {error.strerror}", code="E-ENV-FILE", remedy="Name an existing file."
        ) from error
    missing = [name for name in VARIABLES if name not in names]
    strange = [name for name in names if name not in VARIABLES]
    double = sorted({name for name in names if names.count(name) > 1})
    for what, found in (("missing", missing), ("unknown", strange), ("twice", double)):
        if found:
            output.say(f"{what}: {', '.join(found)}")
    if missing or strange or double:
        return 3
    output.say(f"{file}: all {len(VARIABLES)} settings, none else")
    return 0


def _method(settings: Settings) -> str:
    if settings.mock:
        return "none: SIMULATED (BROKER_PROVIDER=mock)"
    if settings.choice is None:
        return f"not complete: {settings.method_problems[0].message}"
    return f"{settings.choice.method.value} ({settings.choice.reason})"


def _value(entry: Variable, settings: Settings) -> Any:
    return getattr(getattr(settings, entry.group), entry.field)


def _shown(entry: Variable, settings: Settings) -> str | None:
    value = _value(entry, settings)
    if value is None:
        return entry.shown_default
    if entry.hidden or isinstance(value, Secret):
        return masked(value)
    found = settings.sources.get(entry.name)
    return found.value.reveal() if found else (entry.shown_default or entry.default)


def _source(settings: Settings, name: str) -> str:
    found = settings.sources.get(name)
    if found is None:
        return "default"
    spelled = f" as {found.name}" if found.name != name else ""
    return f"{found.source}{spelled}"


def _document(settings: Settings) -> dict[str, Any]:
    return {
        "file": settings.file,
        "environment": settings.environment.value,
        "provider": settings.general.provider,
        "method": settings.choice.method.value if settings.choice else None,
        "reason": settings.choice.reason if settings.choice else None,
        "problems": [{"code": p.code, "message": p.message, "names": p.names} for p in settings.method_problems],
        "state_dir": settings.state_dir,
        "settings": {
            e.name: {
                "value": _shown(e, settings),
                "source": settings.source(e.name),
                "spelling": settings.sources[e.name].name if e.name in settings.sources else e.name,
            }
            for e in VARIABLES.values()
        },
        "unknown": settings.unknown,
        "shadowed": settings.shadowed,
    }
