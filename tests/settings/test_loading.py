"""Where settings come from, and how wrong ones are reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ibkit.errors import ConfigError
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.settings import VARIABLES, Settings, load

OAUTH1 = {"IB_CONSUMER_KEY": "CONSUMERK", "IB_ACCESS_TOKEN": "token", "IB_ACCESS_TOKEN_SECRET": "c2VjcmV0"}
OAUTH2 = {"IBKR_CLIENT_ID": "id", "IBKR_CLIENT_KEY_ID": "main", "IBKR_PRIVATE_KEY": "-", "IBKR_CREDENTIAL": "me"}


def read(directory: Path, /, **environ: str) -> Settings:
    return load(environ={"HOME": str(directory), **environ}, directory=directory)


def problems(error: pytest.ExceptionInfo[ConfigError]) -> list[tuple[str, str]]:
    found = error.value.details["problems"]
    assert isinstance(found, list)
    return [(each["code"], each["message"]) for each in found]


@pytest.mark.requirement("CFG-01", "AUTH-01")
def test_nothing_at_all_is_not_configured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path)

    assert error.value.code == "E-NOT-CONFIGURED"
    assert error.value.exit_code == 3
    assert "Not Configured" in error.value.message
    assert "ibkit init" in error.value.remedy


@pytest.mark.requirement("CFG-01")
def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IBKR_REGION=asia\nIBKR_ACCOUNT_ID=DU111\nPOOL_SIZE=3\n")

    settings = load(
        flags={"IBKR_ACCOUNT_ID": "DU333"},
        environ={"IBKR_ACCOUNT_ID": "DU222", "IBKR_REGION": "eu"},
        directory=tmp_path,
    )

    assert (settings.account_id, settings.source("IBKR_ACCOUNT_ID")) == ("DU333", "flag")
    assert (settings.general.region, settings.source("IBKR_REGION")) == ("eu", "environment")
    assert (settings.runtime.pool_size, settings.source("POOL_SIZE")) == (3, "file")
    assert (settings.trading.fill_timeout, settings.source("FILL_TIMEOUT")) == (20, "default")
    assert settings.shadowed == ("IBKR_ACCOUNT_ID", "IBKR_REGION")


@pytest.mark.requirement("CFG-01")
def test_the_environment_wins_over_config_env(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/.env").write_text("IBKR_ENV=live\n")

    settings = read(tmp_path, IBKR_ENV="paper")

    assert (settings.environment, settings.source("IBKR_ENV")) == (Environment.PAPER, "environment")
    assert settings.file == tmp_path / "config/.env"


@pytest.mark.requirement("CFG-01")
def test_the_first_file_is_used_and_the_others_ignored(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/.env").write_text("POOL_SIZE=4\nIBKR_REGION=eu\n")
    (tmp_path / ".env").write_text("POOL_SIZE=5\n")
    (tmp_path / "other.env").write_text("POOL_SIZE=6\n")

    assert read(tmp_path).runtime.pool_size == 5
    assert read(tmp_path).general.region == "us"
    assert read(tmp_path, APP_ENV_FILE="other.env").runtime.pool_size == 6
    named = load(environ={"APP_ENV_FILE": "nowhere.env"}, directory=tmp_path, env_file=Path("other.env"))
    assert named.runtime.pool_size == 6


@pytest.mark.requirement("CFG-01")
def test_a_named_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(environ={}, directory=tmp_path, env_file=Path("nowhere.env"))

    assert error.value.code == "E-ENV-FILE"
    assert str(tmp_path / "nowhere.env") in error.value.message


@pytest.mark.requirement("CFG-01")
@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o622, 0o620])
def test_a_file_with_secrets_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / ".env"
    file.write_text("IB_ACCESS_TOKEN_SECRET_PAPER=do-not-show-me\n")
    file.chmod(mode)

    with pytest.raises(ConfigError) as error:
        read(tmp_path)

    assert error.value.code == "E-ENV-FILE"
    assert f"chmod 600 {file}" in error.value.remedy
    assert "IB_ACCESS_TOKEN_SECRET_PAPER" in error.value.message
    assert "do-not-show-me" not in repr(error.value) + error.value.remedy


@pytest.mark.requirement("CFG-01")
def test_a_file_without_secrets_may_be_read_by_others(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IBKR_AUTH_METHOD=gateway\n")
    (tmp_path / ".env").chmod(0o644)

    assert read(tmp_path).method is AuthMethod.GATEWAY


@pytest.mark.requirement("CFG-01")
@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_file_that_anybody_can_write_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    """It names commands that are run as us. A group of one's own, as many systems have it, is no stranger."""
    file = tmp_path / ".env"
    file.write_text("IBKR_AUTH_METHOD=gateway\n")
    file.chmod(0o664)
    assert read(tmp_path).method is AuthMethod.GATEWAY
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="any user can write it") as error:
        read(tmp_path)
    assert (error.value.code, error.value.remedy) == ("E-ENV-FILE", f"Run `chmod 600 {file}`.")


@pytest.mark.requirement("CFG-03")
def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(
            tmp_path,
            IBKR_ENV="papre",
            IBKR_CLIENT_PORTAL_PORT="70000",
            IBKR_BASE_URL="ftp://api.ibkr.com",
            KEEPALIVE_INTERVAL="3 parsecs",
            IBKR_CLIENT_ID="x",
        )

    said = problems(error)
    assert {code for code, _ in said} == {"E-CONFIG", "E-CONFIG-PARTIAL"}
    names = " ".join(message for _, message in said)
    for part in ("IBKR_ENV", "paper, live", "IBKR_CLIENT_PORTAL_PORT", "65535", "IBKR_BASE_URL", "KEEPALIVE_INTERVAL"):
        assert part in names
    assert "IBKR_PRIVATE_KEY" in names
    assert error.value.exit_code == 3


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("IBKR_CLEINT_ID", "IBKR_CLIENT_ID"),
        ("IB_CONSUMERKEY", "IB_CONSUMER_KEY"),
        ("IBKR_AUTH_METOD", "IBKR_AUTH_METHOD"),
        ("IB_ACCES_TOKEN_LIVE", "IB_ACCESS_TOKEN_LIVE"),
    ],
)
def test_a_misspelt_name_stops_the_start_and_the_near_one_is_named(tmp_path: Path, wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IBKR_ENV="paper", **{wrong: "x"})

    assert any(wrong in message and meant in message for _, message in problems(error))


@pytest.mark.requirement("CFG-03")
def test_other_programs_variables_are_left_alone_and_listed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVLE=info\n")
    with pytest.raises(ConfigError, match="LOG_LEVLE"):
        read(tmp_path)

    (tmp_path / ".env").write_text("COMPOSE_PROJECT=x\n")
    settings = read(tmp_path, IBKR_SOMEBODY_ELSES="1", LOG_LEVLE="info", PATH="/bin")
    assert settings.unknown == ("COMPOSE_PROJECT", "IBKR_SOMEBODY_ELSES")


@pytest.mark.requirement("CFG-02")
def test_every_default_is_valid(tmp_path: Path) -> None:
    settings = load(environ={}, directory=tmp_path, require_method=False)

    assert settings.problems == ()
    for entry in VARIABLES.values():
        getattr(getattr(settings, entry.group), entry.field)


@pytest.mark.requirement("CFG-05")
@pytest.mark.parametrize(("old", "expected"), [("true", Environment.LIVE), ("0", Environment.PAPER)])
def test_the_older_spelling_of_the_environment(tmp_path: Path, old: str, expected: Environment) -> None:
    assert read(tmp_path, IB_IS_LIVE=old).environment is expected


@pytest.mark.requirement("CFG-05", "CFG-03")
def test_old_and_new_spelling_that_disagree_are_a_conflict(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IB_IS_LIVE="true", IBKR_ENV="paper")

    assert error.value.code == "E-CONFIG-CONFLICT"
    assert "IB_IS_LIVE" in error.value.message
    assert "IBKR_ENV" in error.value.message


@pytest.mark.requirement("CFG-05")
def test_credentials_of_the_environment_win_over_the_plain_ones(tmp_path: Path) -> None:
    both = {"IBKR_ACCOUNT_ID": "DU1000", "IBKR_ACCOUNT_ID_LIVE": "U2000", "IBKR_ACCOUNT_ID_PAPER": "DU3000"}

    assert read(tmp_path, IBKR_ENV="paper", **both).account_id == "DU3000"
    assert read(tmp_path, IBKR_ENV="live", **both).account_id == "U2000"
    flagged = load(environ=both, flags={"IBKR_ACCOUNT_ID": "DU4000"}, directory=tmp_path)
    assert flagged.account_id == "DU4000"


@pytest.mark.requirement("AUTH-01")
@pytest.mark.parametrize(
    ("environ", "method"),
    [
        (OAUTH1, AuthMethod.OAUTH1A),
        (OAUTH2, AuthMethod.OAUTH2),
        ({"IBKR_CLIENT_PORTAL_PORT": "5001"}, AuthMethod.GATEWAY),
        ({**OAUTH1, **OAUTH2}, AuthMethod.OAUTH2),
        ({**OAUTH1, **OAUTH2, "IBKR_AUTH_METHOD": "oauth1a"}, AuthMethod.OAUTH1A),
        ({"IBKR_AUTH_METHOD": "gateway", "IBKR_CLIENT_ID": "left over"}, AuthMethod.GATEWAY),
        ({"IBKR_CLIENT_ID": "x", "IBKR_CLIENT_SECRET": "y"}, AuthMethod.GATEWAY),
    ],
)
def test_the_method_is_chosen_and_the_reason_said(tmp_path: Path, environ: dict[str, str], method: AuthMethod) -> None:
    settings = read(tmp_path, **environ)

    assert settings.method is method
    assert settings.choice is not None
    assert settings.choice.reason


@pytest.mark.requirement("AUTH-01", "CFG-03")
@pytest.mark.parametrize(
    ("environ", "code", "names"),
    [
        ({**OAUTH1, "IBKR_CLIENT_ID": "x", "IBKR_CLIENT_KEY_ID": "y"}, "E-CONFIG-PARTIAL", ["IBKR_PRIVATE_KEY"]),
        ({"IBKR_CLIENT_ID": "x"}, "E-CONFIG-PARTIAL", ["IBKR_PRIVATE_KEY", "IBKR_CLIENT_KEY_ID", "IBKR_CREDENTIAL"]),
        ({"IB_ACCESS_TOKEN": "t", "IB_ACCESS_TOKEN_SECRET": "s"}, "E-CONFIG-PARTIAL", ["IB_CONSUMER_KEY"]),
        ({"IB_CONSUMER_KEY": "k", "IB_ACCESS_TOKEN": "t"}, "E-SECRET-MISSING", ["IB_ACCESS_TOKEN_SECRET"]),
        ({"IB_CONSUMER_KEY": "k"}, "E-SECRET-MISSING", ["IB_ACCESS_TOKEN_SECRET"]),
        ({"IBKR_AUTH_METHOD": "oauth2"}, "E-CONFIG-PARTIAL", ["IBKR_CLIENT_ID"]),
    ],
)
def test_an_incomplete_method_is_an_error_never_skipped(
    tmp_path: Path, environ: dict[str, str], code: str, names: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, **environ)

    assert error.value.code == code
    assert error.value.exit_code == 3
    for name in names:
        assert name in error.value.message


@pytest.mark.requirement("AUTH-01")
def test_a_missing_secret_also_names_the_authorisation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IB_CONSUMER_KEY="k")
    assert "ibkit auth authorize" in error.value.remedy

    stored = load(environ={"IB_CONSUMER_KEY": "k"}, directory=tmp_path, authorised=True)
    assert stored.method is AuthMethod.OAUTH1A


@pytest.mark.requirement("CFG-04")
def test_the_mock_needs_no_method(tmp_path: Path) -> None:
    settings = read(tmp_path, BROKER_PROVIDER="mock")
    assert settings.mock

    with pytest.raises(ConfigError, match="ibkr, mock"):
        read(tmp_path, BROKER_PROVIDER="xyz")


def test_the_state_directory_follows_xdg_and_the_variable(tmp_path: Path) -> None:
    assert read(tmp_path, IBKR_ENV="paper").state_dir == tmp_path / ".local/state/ibkit"
    assert read(tmp_path, IBKR_ENV="paper", XDG_STATE_HOME="/var/x").state_dir == Path("/var/x/ibkit")
    assert read(tmp_path, IBKR_ENV="paper", IBKIT_STATE_DIR="/srv/y").state_dir == Path("/srv/y")


@pytest.mark.requirement("OPT-07")
def test_the_database_is_a_file_unless_named(tmp_path: Path) -> None:
    assert read(tmp_path, IBKR_ENV="paper").database_url.reveal() == f"sqlite:///{tmp_path}/.local/state/ibkit/ibkit.db"
    named = read(tmp_path, IBKR_ENV="paper", DB_NAME="ib", DB_USER="me", DB_PASSWORD="p@ss/word")
    assert named.database_url.reveal() == "postgresql+psycopg://me:p%40ss%2Fword@localhost:5432/ib"
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IBKR_ENV="paper", DB_NAME="ib")
    assert "DB_PASSWORD" in error.value.message
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IBKR_ENV="paper", DATABASE_URL="mysql://me:hunter2@host/db")
    assert "hunter2" not in str(error.value.details) + error.value.message


def test_secrets_do_not_show_in_the_value(tmp_path: Path) -> None:
    settings = read(tmp_path, **OAUTH1, ENCRYPTION_KEY="ab" * 32)

    assert settings.vault.key == Secret("ab" * 32)
    assert "abab" not in repr(settings.vault)


@pytest.mark.requirement("CFG-03")
def test_wrong_secrets_are_named_but_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IBKR_ENV="paper", ENCRYPTION_KEY="my-own-password")
    assert error.value.code == "E-ENC-KEY"
    assert "my-own-password" not in f"{error.value.message} {error.value.details}"

    same = "ab" * 32
    with pytest.raises(ConfigError) as error:
        read(tmp_path, IBKR_ENV="paper", ENCRYPTION_KEY=same, JWT_SECRET=same)
    assert error.value.code == "E-CONFIG-CONFLICT"
