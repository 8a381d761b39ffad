"""`ibkit rotation status`: each kind with its age and its day; what is overdue is exit code 1."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.auditing import note_settings
from ibkit.clock import ManualClock
from ibkit.settings import load
from user_desks import START

pytestmark = pytest.mark.requirement("OPS-05")
Run = Callable[..., Any]
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    found = ManualClock(START)
    with using(Edges(clock=found)):
        yield found


def by_kind(ran: Any) -> dict[str, Any]:
    return {each["kind"]: each for each in ran.json["items"]}


def test_without_keys_and_passwords_nothing_is_due(ibkit: Run, clock: ManualClock) -> None:
    assert ibkit("rotation", "status").out.startswith("Nothing here has to be renewed")
    assert ibkit("rotation", "status", "--json").json == {"overdue": 0, "items": []}


def test_each_kind_is_shown_with_its_age_and_becomes_due(ibkit: Run, home: Path, clock: ManualClock) -> None:
    key = home / "private_signature.pem"
    key.write_text("a key")
    key.chmod(0o600)
    os.utime(key, (START.timestamp(), START.timestamp()))
    lines = {
        "ENCRYPTION_KEY": secrets.token_hex(32),
        "JWT_SECRET": secrets.token_urlsafe(32),
        "SMTP_PASSWORD": secrets.token_urlsafe(16),
        "IB_SIGNATURE_KEY_PATH": str(key),
    }
    env = home / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    env.chmod(0o600)
    assert ibkit("vault", "status").code == 0
    first = ibkit("rotation", "status", "--json")
    found = by_kind(first)
    assert (first.code, first.json["overdue"]) == (0, 0)
    assert set(found) == {"vault key", "OAuth key", "JWT secret", "password"}
    assert {each["allowed_hours"] / 24 for each in found.values()} == {90, 365, 180}
    assert found["OAuth key"]["age_days"] == found["vault key"]["age_days"] == 0
    assert found["password"]["since"] is None, "no service has begun with it yet"
    assert "unknown" in ibkit("rotation", "status").out

    settings = load(environ={"HOME": str(home)}, directory=home, require_method=False)
    anyio.run(note_settings, settings)
    clock.advance((90 * DAY).total_seconds())
    late = ibkit("rotation", "status", "--json")
    assert (late.code, late.json["overdue"]) == (1, 2)
    assert {kind for kind, each in by_kind(late).items() if each["overdue"]} == {"vault key", "password"}
    told = ibkit("rotation", "status")
    assert told.code == 1
    assert "SMTP_PASSWORD is overdue. Change it where it is asked for, then here." in told.out
    assert not any(value in told.out for name, value in lines.items() if name != "IB_SIGNATURE_KEY_PATH")
    clock.advance((275 * DAY).total_seconds())
    assert by_kind(ibkit("rotation", "status", "--json"))["OAuth key"]["overdue"]
