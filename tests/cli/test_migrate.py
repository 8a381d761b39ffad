"""`ibkit migrate multi-user`: run twice it moves once, undone all is as it was, and the settings are untouched."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]
pytestmark = pytest.mark.requirement("VLT-13")


@pytest.fixture
def there(bench: Make, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installation of one user with a key, an owner and an order of hers, and one more user."""
    ib = bench(method="oauth2")
    with (home / ".env").open("a") as env:
        env.write(f"ENCRYPTION_KEY={'0a1b' * 16}\nSSO_SETTLE_SECONDS=0\n")
    for name, role in (("olga", "owner"), ("tom", "trader")):
        monkeypatch.setattr("sys.stdin", io.StringIO("violet lamps near the harbour\n"))
        assert ib.run("user", "add", name, "--role", role).code == 0
    return ib


def test_run_twice_it_copies_once_and_says_what_can_go(there: Any, home: Path) -> None:
    before = (home / ".env").read_text()
    first = there.run("migrate", "multi-user")
    assert first.code == 0, first.err
    assert "Copied the settings' credentials" in first.out
    assert "ibkit credentials test olga" in first.out
    for name in ("IBKR_CLIENT_ID", "IBKR_CLIENT_KEY_ID", "IBKR_PRIVATE_KEY_PATH", "IBKR_CREDENTIAL"):
        assert name in first.out
    assert "IBKR_BASE_URL" not in first.out
    (stored,) = there.run("credentials", "list", "olga", "--json").json
    assert (stored["connection_id"], stored["version"], stored["status"]) == ("default", 1, "inactive")

    assert there.run("credentials", "test", "olga").code == 0
    again = there.run("migrate", "multi-user", "--json").json
    assert (again["owner"], again["copied"], again["attached"]) == ("olga", False, False)
    (kept,) = there.run("credentials", "list", "olga", "--json").json
    assert (kept["version"], kept["status"]) == (1, "active")
    assert there.run("credentials", "list", "tom", "--json").json == []
    assert (home / ".env").read_text() == before

    refused = there.run("migrate", "multi-user", "--owner", "tom", "--json")
    assert (refused.code, refused.error["code"]) == (3, "E-CONFIG-CONFLICT")
    assert there.run("credentials", "list", "tom", "--json").json == []
    actions = [each["action"] for each in there.run("audit", "list", "--action", "migrate.", "--json").json]
    assert len(actions) == 3


def test_undone_it_leaves_what_was_there_before_and_nothing_that_it_had_brought(there: Any, tmp_path: Path) -> None:
    assert there.run("migrate", "multi-user").code == 0
    undone = there.run("migrate", "multi-user", "--undo", "--json").json
    assert (undone["copied"], undone["attached"]) == (True, True)
    assert there.run("credentials", "list", "olga", "--json").json == []
    assert there.run("accounts", "list").code == 0, "the settings' login still works"
    nothing = there.run("migrate", "multi-user", "--undo", "--json").json
    assert (nothing["copied"], nothing["attached"]) == (False, False)
    # Credentials that somebody gave by themselves are not taken away.
    assert there.run("credentials", "put", "olga", "--label", "of my own").code == 0
    assert there.run("migrate", "multi-user").code == 0
    assert there.run("migrate", "multi-user", "--undo").code == 0
    assert len(there.run("credentials", "list", "olga", "--json").json) == 1
    # Another may have them now.
    assert there.run("migrate", "multi-user", "--owner", "tom").code == 0


def test_the_owner_is_named_where_there_are_several(there: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert there.run("user", "role", "tom", "owner").code == 0
    refused = there.run("migrate", "multi-user", "--json")
    assert refused.code == 2
    assert "olga, tom" in refused.err
    assert there.run("migrate", "multi-user", "--owner", "nobody").code != 0
