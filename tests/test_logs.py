"""Log lines: found by their trace id, without secrets, in files that are begun anew."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clients import make_client
from ibkit.bootstrap.audit_heads import AuditHeads
from ibkit.bootstrap.auditing import audit_log, record_now
from ibkit.bootstrap.logs import about, log_level, set_up_logs
from ibkit.client.metering import CallLog
from ibkit.clock import SystemClock
from ibkit.errors import IbkitError, StorageError
from ibkit.model import Secret
from ibkit.model.masking import masked
from ibkit.settings import Settings, load
from ibkit.spans import traced
from ibkit.store.audit import AuditLog
from ibkit.vault import Act
from ibkit.vault.chain import read_head
from ibkit.wire.accounts import ACCOUNTS
from ibkit.wire.marketdata import SNAPSHOT
from simulators import make_simulator

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-13")]

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvcanary\nAAAAcanary\n-----END PRIVATE KEY-----"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


def settings(**variables: str) -> Settings:
    return load(flags={"APP_ENV": "test", **variables}, environ={}, require_method=False)


@pytest.fixture
def loggers() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ibkit")
    before = (list(root.handlers), root.level, ours.level)
    yield
    for each in [each for each in root.handlers if each not in before[0]]:
        root.removeHandler(each)
        each.close()
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def lines(loggers: None) -> Any:
    """`lines("json", LOG_LEVEL=...)`: a function that gives what was written so far."""

    def make(form: str = "json", **variables: str) -> Any:
        stream = io.StringIO()
        set_up_logs(settings(LOG_FORMAT=form, **variables), stream=stream)

        def read() -> Any:
            text = stream.getvalue()
            return [json.loads(line) for line in text.splitlines()] if form == "json" else text

        return read

    return make


async def test_the_trace_id_of_a_failing_call_finds_exactly_its_lines(lines: Any) -> None:
    written = lines(LOG_LEVEL="debug")
    simulator = make_simulator()
    async with make_client(simulator, meter=CallLog()) as ib:
        with traced("request-before"):
            await ib.request(ACCOUNTS)
        with (
            traced("request-that-fails"),
            about(user="anna", connection="paper oauth1a"),
            pytest.raises(IbkitError) as failed,
        ):
            await ib.request(SNAPSHOT, query={"conids": "x", "fields": "31"})
        with traced("request-after"):
            await ib.request(ACCOUNTS)

    assert failed.value.request_id == "request-that-fails"
    found = [line for line in written() if line.get("trace_id") == failed.value.request_id]
    assert [(line["event"], line["path"]) for line in found] == [
        ("broker call", "/iserver/marketdata/snapshot"),
        ("broker call failed", "/iserver/marketdata/snapshot"),
    ]
    call, failure = found
    assert {"timestamp", "level", "logger", "method", "status", "ms"} <= call.keys()
    assert (call["user"], call["connection"]) == ("anna", "paper oauth1a")
    assert failure["code"] == failed.value.code
    others = [line for line in written() if line["event"].startswith("broker call") and line not in found]
    assert {line.get("trace_id") for line in others} <= {None, "request-before", "request-after"}


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        PEM.replace("\n", "\\n"),
        PEM[:60],
        "Authorization: Bearer abc-canary.def",
        '{"authorization": "Bearer canary"}',
        'OAuth oauth_consumer_key="X", oauth_signature="canary%3D", realm="limited_poa"',
        "oauth_signature=canary%2B&oauth_nonce=1",
        "https://x/y?access_token=canary&z=1",
        "Cookie: api=0123456789abcdef0123canary; x-sess-uuid=canary",
        "set-cookie: JSESSIONID=canary; Path=/",
        f"assertion {JWT.replace('eyJzdWIi', 'eyJcanary')}",
        "password='canary'",
        "postgresql://ibkit:canary@db/ibkit",
        "whsec_canary0123456789",
        "live_session_token: canary=",
    ],
)
def test_what_looks_like_a_secret_is_stars(text: str) -> None:
    assert "canary" not in masked(text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 17 was refused: no trading permissions",
        "the session is over; sign in again",
        "GET /v1/api/iserver/accounts 200 in 12 ms",
        "docs at https://example.org/a?b=c",
        "session: connected, stream: live",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_is_written_whatever_way_it_takes(lines: Any, form: str) -> None:
    written = lines(form, LOG_LEVEL="debug")
    log = logging.getLogger("ibkit.test")
    log.info("key %s", PEM)
    log.info(
        "facts",
        extra={"password": "canary with spaces", "inner": {"token": Secret("canary"), "text": f"Bearer {JWT}canary"}},
    )
    log.info("raw", extra={"body": PEM.encode(), "many": [PEM, "oauth_signature=canary"]})
    try:
        raise ValueError(f"cannot read {PEM}")
    except ValueError:
        log.exception("failed")
    text = str(written())
    assert "canary" not in text
    assert "***" in text
    assert "ValueError" in text


def test_text_of_others_cannot_pretend_to_be_a_line_of_ours(lines: Any) -> None:
    written = lines("text", LOG_LEVEL="info")
    logging.getLogger("ibkit.test").info("said: a\nlevel=critical event=forged\r\nmore")
    assert len(written().splitlines()) == 1


def test_each_environment_has_its_level_unless_one_is_given() -> None:
    assert log_level(load(flags={"APP_ENV": "development"}, environ={}, require_method=False)) == logging.DEBUG
    assert log_level(settings()) == logging.INFO
    assert log_level(settings(LOG_LEVEL="error")) == logging.ERROR


def test_a_full_file_is_put_aside_and_all_are_private(loggers: None, tmp_path: Path) -> None:
    file = tmp_path / "logs" / "ibkit.log"
    handler: Any = set_up_logs(settings(LOG_FILE=str(file), LOG_FORMAT="json", LOG_FILE_MB="1"))
    assert (handler.maxBytes, handler.backupCount) == (1_000_000, 5)
    handler.maxBytes = 2_000
    for number in range(200):
        logging.getLogger("ibkit.test").warning("line %d", number)
    files = sorted(file.parent.iterdir())
    assert len(files) == 6
    assert all(each.stat().st_size <= 2_000 for each in files)
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
    assert json.loads(file.read_text().splitlines()[-1])["event"] == "line 199"


def test_a_log_file_that_cannot_be_written_is_named(loggers: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IbkitError) as failed:
        set_up_logs(settings(LOG_FILE=str(tmp_path / "file" / "x.log")))
    assert "LOG_FILE" in failed.value.remedy


def test_set_up_twice_writes_each_line_once(lines: Any) -> None:
    lines()
    written = lines()
    logging.getLogger("ibkit.test").warning("once")
    assert [line["event"] for line in written()] == ["once"]


@pytest.mark.requirement("MON-10")
async def test_the_head_of_the_audit_log_is_told_as_it_moves_and_read_from_the_line(lines: Any, tmp_path: Path) -> None:
    """Logs leave the machine: whoever writes the end of the audit log anew has not written those."""
    read = lines(LOG_LEVEL="INFO")
    ours = settings(IBKIT_STATE_DIR=str(tmp_path))
    heads = AuditHeads(settings=ours, clock=SystemClock())

    async def told() -> list[dict[str, Any]]:
        await heads.look()
        return [each for each in read() if each["event"] == "audit head"]

    assert await told() == []
    act = Act(at=datetime(2026, 11, 20, tzinfo=UTC), actor="ada", action="limits.set", object="max_shares")
    await record_now(ours, act, act)
    (line,) = await told()
    assert await told() == [line]
    await record_now(ours, act)
    again = (await told())[-1]
    kept = read_head(json.dumps(again))
    assert (read_head(json.dumps(line)).number, kept.number) == (2, 3)
    async with audit_log(ours) as log:
        head = await log.head()
    assert (kept.number, kept.hash, kept.public_key) == (head.number, head.hash, head.public_key)


@pytest.mark.requirement("MON-10")
async def test_a_head_that_cannot_be_read_is_told_once(
    lines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = lines(LOG_LEVEL="INFO")
    heads = AuditHeads(settings=settings(IBKIT_STATE_DIR=str(tmp_path)), clock=SystemClock())

    async def away(_: AuditLog) -> None:
        raise StorageError("away")

    monkeypatch.setattr(AuditLog, "head", away)
    assert [await heads.look() for _ in range(3)] == [False] * 3
    assert sum("cannot be told" in each["event"] for each in read()) == 1
