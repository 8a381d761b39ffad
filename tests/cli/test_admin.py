"""`ibkit admin licence`: IBKR's approval of several users, recorded once by name and asked for at every start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkit import cli

Run = Callable[..., Any]
pytestmark = pytest.mark.requirement("VLT-12")


def test_serving_several_users_is_refused_until_an_approval_is_recorded(
    ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text(f"ENABLE_MULTI_USER=true\nENCRYPTION_KEY={'0a1b' * 16}\nIBKR_AUTH_METHOD=gateway\n")
    (home / ".env").chmod(0o600)
    refused = ibkit("serve", "--port", "0")
    assert (refused.code, "E-LICENCE" in refused.err) == (3, True)
    assert "ibkit admin licence accept" in refused.err
    assert ibkit("admin", "licence", "show").code == 1

    accepted = ibkit("admin", "licence", "accept", "--reference", "IBKR letter of 2026-11-02")
    assert (accepted.code, "IBKR letter of 2026-11-02" in accepted.out) == (0, True)
    shown = json.loads(ibkit("admin", "licence", "show", "--json").out)
    assert shown["licence"]["reference"] == "IBKR letter of 2026-11-02"
    assert shown["licence"]["accepted_by"].startswith("cli:")
    (entry,) = json.loads(ibkit("audit", "list", "--action", "licence.accept", "--json").out)
    assert (entry["object"], entry["result"]) == ("IBKR letter of 2026-11-02", "ok")
    assert entry["actor"] == shown["licence"]["accepted_by"]

    started: list[str] = []

    async def no_server(*_: Any, **__: Any) -> int:
        started.append("it would serve now")
        return 0

    monkeypatch.setattr("ibkit.service.serving._Server.serve", no_server)
    monkeypatch.setattr("ibkit.service.serving.until_signal", no_server)
    assert ibkit("serve", "--port", "0").code == 0
    assert started


def test_the_newest_record_counts_and_a_reference_that_says_nothing_is_refused(ibkit: Run, home: Path) -> None:
    for reference, code in (("first letter", 0), ("second letter", 0), ("x", 2), ("  ", 2), ("y" * 201, 2)):
        assert ibkit("admin", "licence", "accept", "--reference", reference).code == code, reference
    assert "second letter" in ibkit("admin", "licence", "show").out
    assert cli.run(["admin", "licence", "accept"]) == 2
