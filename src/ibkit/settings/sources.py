"""Which value of a variable holds: flag before environment before file before default (CFG-01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ibkit.errors import ConfigError
from ibkit.model.secret import Secret
from ibkit.settings import envfile
from ibkit.settings.groups import VARIABLES
from ibkit.settings.problems import Problem, invalid

__all__ = ["Found", "Gathered", "gather"]

SEARCHED = (Path(".env"), Path("config/.env"))
_SUFFIXES = ("_PAPER", "_LIVE")
_OURS = ("IBKR_", "IBKIT_", "IB_")


@dataclass(frozen=True, slots=True)
class Found:
    """value: as it was written; it may be a secret, so it is kept as one.

    source: flag, environment, file or default. name: the spelling that was used, suffix included.
    """

    value: Secret[str]
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """values: by spelling. shadowed: names that stood in the file too, where the environment won."""

    values: Mapping[str, Found]
    file: Path | None
    shadowed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    def pick(self, name: str, suffix: str | None = None) -> Found | None:
        """The value that holds for a variable. A flag wins; then the spelling with the environment's suffix."""
        plain, own = self.values.get(name), self.values.get(name + suffix) if suffix else None
        if plain is not None and plain.source == "flag":
            return plain
        return own or plain


def gather(*, flags: Mapping[str, str], environ: Mapping[str, str], env_file: Path | None, directory: Path) -> Gathered:
    """All that was set, without judging values. E-ENV-FILE for a file that cannot be used."""
    file = _file_to_use(env_file, environ.get("APP_ENV_FILE"), directory)
    in_file = envfile.read(file) if file is not None else {}
    known = _spellings()
    if file is not None:
        hidden = [name for name, value in in_file.items() if value and name in known and VARIABLES[known[name]].hidden]
        envfile.check_rights(file, hidden)
    values: dict[str, Found] = {}
    for source, mapping in (("file", in_file), ("environment", environ), ("flag", flags)):
        for name, value in mapping.items():
            # An empty value is "not set": .env.example can be copied as it is.
            if name in known and value.strip():
                values[name] = Found(Secret(value.strip()), source, name)
    strangers = [name for name in (*in_file, *environ) if name not in known]
    problems = [_misspelt(name, near) for name in dict.fromkeys(strangers) if (near := _near(name, name in in_file))]
    misspelt = {name for each in problems for name in each.names}
    return Gathered(
        values=values,
        file=file,
        shadowed=tuple(sorted(n for n in in_file if n in known and in_file[n].strip() and environ.get(n, "").strip())),
        unknown=tuple(sorted(n for n in set(strangers) - misspelt if n in in_file or n.startswith(_OURS))),
        problems=tuple(problems),
    )


def _file_to_use(named: Path | None, in_environment: str | None, directory: Path) -> Path | None:
    chosen = named or (Path(in_environment).expanduser() if in_environment else None)
    if chosen is not None:
        file = directory / chosen
        if not file.exists():
            raise ConfigError(
                f"Settings file problem: {file.absolute()}: no such file",
                code="E-ENV-FILE",
                remedy="Name an existing file, or write one with `ibkit init`.",
            )
        return file.absolute()
    for candidate in SEARCHED:
        file = directory / candidate
        if file.is_file():
            envfile.check_owner(file)
            return file.absolute()
    return None


def _spellings() -> dict[str, str]:
    """Every accepted spelling → its variable."""
    known = {name: name for name in VARIABLES}
    for name, entry in VARIABLES.items():
        if entry.credential:
            known |= {name + suffix: name for suffix in _SUFFIXES}
    return known


def _near(name: str, in_file: bool) -> Sequence[str]:
    """Known names that `name` may be a slip of. Other programs' variables are left alone unless they are this near."""
    if not name.startswith(_OURS) and not in_file:
        return ()
    allowed = 2 if len(name) > 8 else 1
    distances = sorted((_distance(name.upper(), known, allowed), known) for known in _spellings())
    return [known for distance, known in distances if distance <= allowed][:2]


def _misspelt(name: str, near: Sequence[str]) -> Problem:
    meant = " or ".join(near)
    return invalid(
        name, f"there is no such setting; did you mean {meant}?", remedy=f"Rename it to {meant}, or unset it."
    )


def _distance(a: str, b: str, limit: int) -> int:
    """Edits (insert, delete, replace, swap of neighbours) from a to b; more than `limit` may be said inexactly."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return last[-1]
