"""Every row of reliability rules §6.3 (bad input in environment and files) as cases that carry its name.

Each stops the start with exit 3, names the setting and never repeats a secret. Settings are no YAML here: the row of
YAML is told by what the file of settings has in its place, lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ibkit.errors import IbkitError
from ibkit.service.door import origins_of
from ibkit.settings import load
from ibkit.settings.production import refuse_unready
from ibkit.store.database import to_engine

SECRET = "hush-0123456789abcdef0123456789abcdef"
KEK = "4be1c09f77d2a35e8860f1b3c95d7e24a6f0185b3d9c72e4410affe2d35c8b91"
READY = {"APP_ENV": "production", "JWT_SECRET": SECRET, "ENCRYPTION_KEY": KEK, "TRUSTED_PROXY": "127.0.0.1"}


@dataclass(frozen=True)
class Case:
    """row: of §6.3. file: the settings file, with its mode."""

    row: str
    what: str
    code: str
    said: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)
    file: str | None = None
    mode: int = 0o600

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


def env(row: str, what: str, code: str, *said: str, **environ: str) -> Case:
    return Case(row, what, code, said, environ)


def lines(row: str, what: str, *said: str, file: str, code: str = "E-ENV-FILE", mode: int = 0o600) -> Case:
    return Case(row, what, code, said, file=file, mode=mode)


DB = "postgresql://me:" + SECRET
CASES = [
    env("unknown", "misspelt", "E-CONFIG", "IBKR_CLEINT_ID", "IBKR_CLIENT_ID", IBKR_CLEINT_ID="x"),
    lines("unknown", "misspelt in a file", "IBKR_CLIENT_ID", file="IBKR_CLEINT_ID=x\n", code="E-CONFIG"),
    env("yes and no", "maybe", "E-CONFIG", "IBKR_READ_ONLY", IBKR_READ_ONLY="maybe"),
    env("numbers", "a unit that is none", "E-CONFIG", "FILL_TIMEOUT", FILL_TIMEOUT="10 parsecs"),
    env("numbers", "negative", "E-CONFIG", "FILL_TIMEOUT", FILL_TIMEOUT="-1"),
    env("numbers", "negative with a unit", "E-CONFIG", "FILL_TIMEOUT", FILL_TIMEOUT="-10s"),
    env("numbers", "0", "E-CONFIG", "POOL_SIZE", POOL_SIZE="0"),
    env("numbers", "too many", "E-CONFIG", "POOL_SIZE", POOL_SIZE="9" * 400),
    env("numbers", "NaN", "E-CONFIG", "FILL_TIMEOUT", FILL_TIMEOUT="nan"),
    env("numbers", "infinite", "E-CONFIG", "FILL_TIMEOUT", FILL_TIMEOUT="inf"),
    env("numbers", "full-width", "E-CONFIG", "PORT", PORT="\uff18\uff10\uff10\uff10"),
    lines("file", "a name twice", "line 2", file="PORT=8000\nPORT=8001\n"),
    lines("file", "no name", "line 1", file="just some words\n"),
    lines("file", "an open quote", "line 1", file="PORT='8000\n"),
    lines("file", "no text", file="PORT=\0\n", code="E-CONFIG"),
    lines("file", "a value that code would run for", "PORT", file="PORT=!!python/object/new:x [id]\n", code="E-CONFIG"),
    lines("file", "an anchor", "PORT", file="PORT=&a [*a, *a]\n", code="E-CONFIG"),
    env("one key twice", "text and file", "E-CONFIG-CONFLICT", "IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PATH",
        IBKR_PRIVATE_KEY=SECRET, IBKR_PRIVATE_KEY_PATH="other.pem"),
    env("one key twice", "two providers", "E-CONFIG-CONFLICT", "ENCRYPTION_KEY_PROVIDER",
        ENCRYPTION_KEY=KEK, ENCRYPTION_KEY_PROVIDER="file", ENCRYPTION_KEY_FILE="kek"),
    env("database", "another scheme", "E-CONFIG", "DATABASE_URL", DATABASE_URL=f"mysql://me:{SECRET}@h/db"),
    env("database", "no address", "E-CONFIG", "DATABASE_URL", DATABASE_URL=f"{DB}@[h/db"),
    env("database", "port that is none", "E-CONFIG", "DATABASE_URL", DATABASE_URL=f"{DB}@h:port/db"),
    env("database", "no password", "E-CONFIG-PARTIAL", "DB_PASSWORD", DB_NAME="ib", DB_USER="me"),
    env("secrets", "JWT of 8", "E-CONFIG", "JWT_SECRET", "32", JWT_SECRET=SECRET[:8]),
    env("secrets", "key of 31 bytes", "E-ENC-KEY", "ENCRYPTION_KEY", ENCRYPTION_KEY=KEK[:62]),
    env("secrets", "key of 33 bytes", "E-ENC-KEY", "ENCRYPTION_KEY", ENCRYPTION_KEY=KEK + "00"),
    env("secrets", "key no hex", "E-ENC-KEY", "ENCRYPTION_KEY", ENCRYPTION_KEY=KEK[:63] + "g"),
    env("secrets", "key in full-width", "E-ENC-KEY", "ENCRYPTION_KEY", ENCRYPTION_KEY="\uff11" * 64),
    env("secrets", "one for both", "E-CONFIG-CONFLICT", "ENCRYPTION_KEY", "JWT_SECRET",
        ENCRYPTION_KEY=KEK, JWT_SECRET=KEK),
    env("production", "debug", "E-CONFIG", "LOG_LEVEL", **READY, LOG_LEVEL="debug"),
    env("production", "a simulator", "E-CONFIG", "IBKR_BASE_URL", **READY, IBKR_BASE_URL="https://localhost:5001"),
    env("production", "its clock", "E-CONFIG", "APP_CLOCK", **READY, APP_CLOCK="http://127.0.0.1:9000"),
    env("production", "mock", "E-CONFIG", "BROKER_PROVIDER", **READY, BROKER_PROVIDER="mock"),
    env("production", "any page", "E-CONFIG", "FRONTEND_URL", **READY, FRONTEND_URL="*"),
    env("production", "any page of a domain", "E-CONFIG", "FRONTEND_URL", **READY, FRONTEND_URL="https://*.example.com"),
    env("production", "a default secret", "E-CONFIG", "JWT_SECRET", **(READY | {"JWT_SECRET": "change-me" * 5})),
    lines("modes", "open to others", "chmod 600", file=f"JWT_SECRET={SECRET}\n", mode=0o644),
    lines("modes", "open to the group", "chmod 600", file=f"JWT_SECRET={SECRET}\n", mode=0o640),
]  # fmt: skip


def start(folder: Path, case: Case) -> None:
    """What every start does before it listens or signs in."""
    if case.file is not None:
        (folder / ".env").write_text(case.file)
        (folder / ".env").chmod(case.mode)
    settings = load(environ={"HOME": str(folder), **case.environ}, directory=folder, require_method=False)
    refuse_unready(settings)
    origins_of(settings.oauth2.frontend_url)
    to_engine(settings.database_url.reveal())


@pytest.mark.requirement("CFG-03", "CFG-06", "SEC-02")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_setting_stops_the_start_by_its_name(tmp_path: Path, case: Case) -> None:
    with pytest.raises(IbkitError) as stopped:
        start(tmp_path, case)
    error = stopped.value
    told = f"{error.message} {error.remedy} {error.details}"
    codes = {error.code, *(each["code"] for each in error.details.get("problems", []))}  # type: ignore[attr-defined]
    assert case.code in codes, told
    assert error.exit_code == 3
    assert "<" not in told, "a remedy with a gap"
    for word in case.said:
        assert word in told, told
    for secret in (SECRET, KEK):
        assert secret[:20] not in told


def test_every_row_has_a_case() -> None:
    assert {case.row for case in CASES} == {
        "unknown", "yes and no", "numbers", "file", "one key twice", "database", "secrets", "production", "modes",
    }  # fmt: skip


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("10", 10), ("2m", 120), ("1m", 60), (" 10s ", 10), ("1.5m", 90)]
)
def test_numbers_with_a_unit_are_read(tmp_path: Path, text: str, seconds: int) -> None:
    found = load(environ={"FILL_TIMEOUT": text}, directory=tmp_path, require_method=False)
    assert found.trading.fill_timeout == seconds


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize("text", ["true", "yes", "1", "on", "TRUE", "Yes"])
def test_words_for_yes_are_read(tmp_path: Path, text: str) -> None:
    assert load(environ={"IBKR_READ_ONLY": text}, directory=tmp_path, require_method=False).general.read_only is True


@pytest.mark.requirement("CFG-01")
def test_a_setting_in_both_places_is_the_environments_and_said_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"JWT_SECRET={SECRET}\n")
    (tmp_path / ".env").chmod(0o600)
    found = load(environ={"JWT_SECRET": SECRET[::-1]}, directory=tmp_path, require_method=False)
    assert found.web.jwt_secret is not None
    assert found.web.jwt_secret.reveal() == SECRET[::-1]
    assert found.shadowed == ("JWT_SECRET",)
