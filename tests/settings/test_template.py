"""The settings file to start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkit.settings import VARIABLES, load
from ibkit.settings.template import names_in, template

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.requirement("CFG-02", "SET-03")
def test_the_example_is_what_the_code_says() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == template()
    assert names_in(template()) == list(VARIABLES)


@pytest.mark.requirement("CFG-02")
def test_every_setting_of_the_requirements_is_there(shared: Path) -> None:
    text = (shared / "requirements.md").read_text(encoding="utf-8")
    table = text.split("## Settings", 1)[1].split("## Error catalogue", 1)[0]
    import re

    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", table)) - {"_PAPER", "_LIVE"}
    assert named <= VARIABLES.keys()
    assert VARIABLES.keys() - named == {
        "ALERT_WEBHOOK_SECRET",
        "ANSWER_CACHE",
        "APP_CLOCK",
        "BACKUP_KEEP",
        "ENCRYPTION_KEYRING_NAME",
        "ENCRYPTION_KEY_FILE",
        "ENCRYPTION_KMS_ENDPOINT",
        "ENCRYPTION_KMS_KEY_ID",
        "ENCRYPTION_KMS_REGION",
        "ENCRYPTION_SECRET_COMMAND",
        "FLEX_DAILY",
        "FLEX_QUERY_ID",
        "FLEX_TOKEN",
        "FLEX_TOKEN_EXPIRES",
        "FLEX_URL",
        "IBKIT_STATE_DIR",
        "IBKR_GATEWAYS_FOR_USERS",
        "IBKR_PRIVATE_KEY_PASSPHRASE",
        "IB_KEY_PASSPHRASE",
        "LOG_FILE",
        "LOG_FILE_MB",
        "LOG_FORMAT",
        "REQUIRE_SECOND_STEP",
        "SYNC_RAW_DAYS",
        "WATCH_ALL_SHORTS",
    }


@pytest.mark.requirement("SET-03")
def test_the_example_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(template(), encoding="utf-8")

    settings = load(environ={}, directory=tmp_path)

    assert settings.sources == {}
    assert settings.unknown == ()
    assert settings.method.value == "gateway"
