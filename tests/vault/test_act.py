"""What may stand in the audit log, and how it is written there."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ibkit.errors import IbkitError
from ibkit.model import Secret
from ibkit.vault import Act, Result
from ibkit.vault.act import fields_of

AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def act(**changes: object) -> Act:
    given = {"at": AT, "actor": "cli:ada", "action": "limits.set", "object": "max_shares", **changes}
    return Act(**given)  # type: ignore[arg-type]  # the tests say what they give


@pytest.mark.requirement("MON-09")
@pytest.mark.parametrize("held", [Secret("hunter2hunter2"), {"a": Secret(b"x")}, ["b", Secret("c")], (Secret("d"),)])
def test_a_secret_among_the_details_is_refused_wherever_it_sits(held: object) -> None:
    with pytest.raises(IbkitError, match=r"limits\.set would have held a secret in its detail value") as refused:
        act(details={"value": held})

    assert refused.value.code == "E-INTERNAL"
    assert "hunter2" not in str(refused.value)


@pytest.mark.requirement("MON-09")
@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----", "***"),
        ("cut: -----BEGIN RSA PRIVATE KEY-----\nMIIEvQ", "cut: ***"),
        ("Authorization: Bearer abc.def-ghi12", "Authorization: *** ***"),
        ("sent Bearer abc.def-ghi12", "sent Bearer ***"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "***"),
        ("postgresql://ibkit:hunter2@db/ibkit", "postgresql://***@db/ibkit"),
        ('{"api_key": "abc123", "b": 1}', '{"api_key": "***", "b": 1}'),
        ("IB_ACCESS_TOKEN_SECRET=abc/def+x= next", "IB_ACCESS_TOKEN_SECRET=*** next"),
        ("?oauth_token=abc&b=2", "?oauth_token=***&b=2"),
        ("0123456789abcdef" * 4, "***"),
        ("xY3" * 20 + "==", "***"),
        ("key ibk_0123456789abcdef_" + "ab" * 32, "key ***"),
    ],
)
def test_what_looks_like_a_key_is_masked(said: str, stands: str) -> None:
    assert json.loads(fields_of(act(details={"note": said}))[6])["note"] == stands


@pytest.mark.requirement("MON-09")
@pytest.mark.parametrize(
    "said",
    [
        "BUY 10 SPY LMT 629.50",
        "ib-" + "a2" * 16 + "-1",
        "paper-validation-abcdefghijklmnopqrstuvwxyz23:buy-back",
        "0b8f9a52-0000-5000-8000-000000000001",
        "another login holds the brokerage session of simpaper1",
    ],
)
def test_what_an_order_is_called_stays_readable(said: str) -> None:
    assert json.loads(fields_of(act(details={"note": said}))[6])["note"] == said


@pytest.mark.requirement("MON-09")
def test_an_entry_is_written_in_one_way_only() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-5)))
    details = {"note": "why", "by": "Ada", "new": None, "old": "", "count": 3, "result": Result.WAITING}

    assert fields_of(act(at=elsewhere, details=details)) == (
        "2026-11-20T15:30:00.000000+00:00",
        "cli:ada",
        "local",
        "limits.set",
        "max_shares",
        "ok",
        '{"by":"Ada","count":"3","note":"why","result":"waiting"}',
    )


@pytest.mark.requirement("MON-09")
def test_texts_that_no_database_takes_are_made_harmless() -> None:
    fields = fields_of(act(actor="cli:\udcffada\0", object="x" * 500, details={"note": "y" * 5000}))

    assert fields[1] == "cli:?ada"
    assert (len(fields[4]), fields[4][-4:]) == (200, " ...")
    assert len(json.loads(fields[6])["note"]) == 1000


@pytest.mark.parametrize("wrong", [{"action": "Set"}, {"at": datetime(2026, 1, 1)}, {"details": {"A b": 1}}])  # noqa: DTZ001
def test_what_is_no_act_is_our_own_mistake(wrong: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        act(**wrong)


@pytest.mark.requirement("MON-09")
@pytest.mark.parametrize("unit", ["a-", "z", "token-", "zZ1+", "://a:b"])
def test_a_long_text_is_masked_in_no_time(unit: str) -> None:
    """The same process takes orders meanwhile, and anybody may write such a note."""
    text = unit * (32_000 // len(unit))
    began = time.process_time()
    fields_of(Act(at=AT, actor="anna", action="orders.place", object="o", details={"reason": text}))
    assert time.process_time() - began < 5
