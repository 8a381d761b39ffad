"""What APP_ENV=production asks for, and that the other profiles ask for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkit.errors import ConfigError
from ibkit.settings import Settings, is_production, load, production_problems, refuse_unready

READY = {
    "APP_ENV": "production",
    "JWT_SECRET": "jK7/vQ2m" * 4,
    "ENCRYPTION_KEY": "a1" * 32,
    "TRUSTED_PROXY": "127.0.0.1",
}
OAUTH2 = {
    "IBKR_AUTH_METHOD": "oauth2",
    "IBKR_CLIENT_ID": "id",
    "IBKR_CLIENT_KEY_ID": "key",
    "IBKR_CREDENTIAL": "someone",
    "IBKR_PRIVATE_KEY_PATH": "key.pem",
}
pytestmark = pytest.mark.requirement("CFG-06")


def _load(tmp_path: Path, given: dict[str, str]) -> Settings:
    return load(environ={"HOME": str(tmp_path), **given}, directory=tmp_path, require_method=False)


def test_settings_that_are_ready_pass(tmp_path: Path) -> None:
    settings = _load(tmp_path, READY)
    assert is_production(settings)
    assert production_problems(settings) == []
    refuse_unready(settings)
    refuse_unready(settings, host="0.0.0.0")


@pytest.mark.parametrize("missing", ["JWT_SECRET", "ENCRYPTION_KEY", "TRUSTED_PROXY"])
def test_each_missing_setting_is_named(tmp_path: Path, missing: str) -> None:
    settings = _load(tmp_path, {name: value for name, value in READY.items() if name != missing})
    with pytest.raises(ConfigError, match=missing) as refused:
        refuse_unready(settings)
    assert refused.value.exit_code == 3


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        refuse_unready(_load(tmp_path, {"APP_ENV": "production", "LOG_LEVEL": "debug"}))
    names = [name for problem in refused.value.details["problems"] for name in problem["names"]]
    assert names == ["JWT_SECRET", "ENCRYPTION_KEY", "LOG_LEVEL", "TRUSTED_PROXY"]


def test_a_short_secret_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JWT_SECRET") as refused:
        _load(tmp_path, READY | {"JWT_SECRET": "short-secret"})
    assert "short-secret" not in refused.value.message


def test_oauth2_needs_the_address_that_ibkr_knows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="IBKR_ALLOWED_IP") as refused:
        refuse_unready(_load(tmp_path, READY | OAUTH2))
    assert refused.value.code == "E-IP"
    refuse_unready(_load(tmp_path, READY | OAUTH2 | {"IBKR_ALLOWED_IP": "203.0.113.7"}))


def test_a_key_from_elsewhere_need_not_stand_in_the_environment(tmp_path: Path) -> None:
    given = {name: value for name, value in READY.items() if name != "ENCRYPTION_KEY"}
    refuse_unready(_load(tmp_path, given | {"ENCRYPTION_KEY_PROVIDER": "keyring"}))


def test_an_address_open_to_others_needs_to_say_to_whom(tmp_path: Path) -> None:
    given = {name: value for name, value in READY.items() if name != "TRUSTED_PROXY"}
    names = {each.names[0] for each in production_problems(_load(tmp_path, given), host="0.0.0.0")}
    assert names == {"TRUSTED_PROXY", "HOST"}


@pytest.mark.parametrize("profile", ["development", "test"])
def test_the_other_profiles_ask_for_nothing(tmp_path: Path, profile: str) -> None:
    refuse_unready(_load(tmp_path, {"APP_ENV": profile}), host="0.0.0.0")
