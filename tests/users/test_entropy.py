"""Whatever is to be unguessable comes from the operating system's random source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ibkit

SOURCE = Path(ibkit.__file__).parent
SECURITY = (
    *sorted((SOURCE / "users").rglob("*.py")),
    *sorted((SOURCE / "vault").rglob("*.py")),
    SOURCE / "bootstrap/edge.py",
    SOURCE / "bootstrap/users.py",
    *sorted((SOURCE / "client/auth").rglob("*.py")),
    SOURCE / "client/tokens.py",
    SOURCE / "store/users.py",
    SOURCE / "cli/commands/keys.py",
    SOURCE / "cli/commands/init.py",
    SOURCE / "cli/commands/user.py",
    SOURCE / "cli/commands/vault.py",
    SOURCE / "wire/keys.py",
    SOURCE / "wire/dh.py",
)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


@pytest.mark.requirement("SEC-08")
def test_no_module_of_security_knows_the_predictable_random() -> None:
    assert len(SECURITY) > 25
    named = {path.relative_to(SOURCE).as_posix(): set(imported(path)) for path in SECURITY}
    assert {name: found for name, found in named.items() if found & {"random", "numpy.random", "uuid"}} == {}


@pytest.mark.requirement("SEC-08")
def test_what_is_drawn_by_default_is_the_operating_systems() -> None:
    import secrets

    from ibkit.bootstrap import Edges

    assert Edges().random is secrets.token_bytes
