"""LOG_LEVEL: log lines on stderr where they are asked for, and only there."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from ibkit.cli.context import load_settings


@pytest.fixture
def ibkit_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("ibkit")
    before = logger.level
    logger.setLevel(logging.NOTSET)
    yield logger
    logger.setLevel(before)


@pytest.mark.requirement("CFG-02")
@pytest.mark.parametrize(("given", "level"), [(None, logging.NOTSET), ("info", logging.INFO), ("debug", logging.DEBUG)])
def test_a_command_logs_where_log_level_asks_for_it(
    given: str | None, level: int, ibkit_logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    if given is not None:
        monkeypatch.setenv("LOG_LEVEL", given)

    load_settings(require_method=False)

    assert ibkit_logger.level == level
