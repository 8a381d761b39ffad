"""Key files are read when somebody signs in, and judged by what the file system shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ibkit.errors import ConfigError
from ibkit.model import GatewayLogin, OAuth1Credentials, OAuth2Credentials
from ibkit.settings import Settings, load, read_private_key

PEM = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def oauth1(tmp_path: Path, **more: str) -> Settings:
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("signature.pem", "encryption.pem"):
        (keys / name).write_text(PEM)
        (keys / name).chmod(0o600)
    (keys / "dh.pem").write_text("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n")
    environ = {
        "IB_CONSUMER_KEY": "CONSUMERK",
        "IB_ACCESS_TOKEN": "token",
        "IB_ACCESS_TOKEN_SECRET": "c2VjcmV0",
        "IB_SIGNATURE_KEY_PATH": str(keys / "signature.pem"),
        "IB_ENCRYPTION_KEY_PATH": str(keys / "encryption.pem"),
        "IB_DH_PARAM_PATH": str(keys / "dh.pem"),
    }
    return load(environ={**environ, **more}, directory=tmp_path)


@pytest.mark.requirement("AUTH-04")
def test_oauth1_credentials_come_from_the_files(tmp_path: Path) -> None:
    found = oauth1(tmp_path).credentials()

    assert isinstance(found, OAuth1Credentials)
    assert (found.consumer_key, found.access_token, found.realm) == ("CONSUMERK", "token", "limited_poa")
    assert found.signature_key.reveal() == PEM
    assert "AAAA" not in repr(found).replace(found.dh_params.replace("\n", "\\n"), "")


@pytest.mark.requirement("AUTH-06")
def test_the_test_consumer_belongs_to_the_test_realm(tmp_path: Path) -> None:
    found = oauth1(tmp_path, IB_CONSUMER_KEY="TESTCONS").credentials()
    assert isinstance(found, OAuth1Credentials)
    assert found.realm == "test_realm"


@pytest.mark.requirement("TST-03")
def test_a_missing_key_file_is_named_with_its_variable(tmp_path: Path) -> None:
    settings = oauth1(tmp_path, IB_SIGNATURE_KEY_PATH=str(tmp_path / "nowhere.pem"))

    with pytest.raises(ConfigError) as error:
        settings.credentials()

    assert (error.value.code, error.value.exit_code) == ("E-KEY-MISSING", 3)
    assert "nowhere.pem" in error.value.message
    assert "IB_SIGNATURE_KEY_PATH" in error.value.message


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.requirement("SEC-02")
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = oauth1(tmp_path)
    path = settings.oauth1.encryption_key_path
    path.chmod(0o644)

    with pytest.raises(ConfigError) as error:
        settings.credentials()

    assert error.value.code == "E-KEY-PERMS"
    assert error.value.remedy == f"Run `chmod 600 {path}`."


@pytest.mark.requirement("CFG-07")
@pytest.mark.parametrize("what", ["empty", "directory", "binary", "huge"])
def test_a_key_file_that_is_none(tmp_path: Path, what: str) -> None:
    place = tmp_path / "bad"
    match what:
        case "empty":
            place.write_text("")
        case "directory":
            place.mkdir()
        case "binary":
            place.write_bytes(b"\x30\x82\xff\xff")
        case _:
            place.write_bytes(b"A" * 100_000)
    place.chmod(0o700)

    with pytest.raises(ConfigError) as error:
        oauth1(tmp_path, IB_SIGNATURE_KEY_PATH=str(place)).credentials()
    assert error.value.code == "E-KEY-FORMAT"
    assert str(place) in error.value.message

    with pytest.raises(ConfigError) as error:
        load(environ={**_set(tmp_path), "IB_DH_PARAM_PATH": str(place)}, directory=tmp_path).credentials()
    assert error.value.code == "E-OA1-DH"


def _set(tmp_path: Path) -> dict[str, str]:
    keys = tmp_path / "keys"
    return {
        "IB_CONSUMER_KEY": "CONSUMERK",
        "IB_ACCESS_TOKEN": "token",
        "IB_ACCESS_TOKEN_SECRET": "c2VjcmV0",
        "IB_SIGNATURE_KEY_PATH": str(keys / "signature.pem"),
        "IB_ENCRYPTION_KEY_PATH": str(keys / "encryption.pem"),
    }


@pytest.mark.requirement("CFG-07")
@pytest.mark.parametrize(
    "written", [PEM, PEM.replace("\n", "\\n"), f'"{PEM}"', "'" + PEM.replace("\n", "\\n") + "'"], ids=range(4)
)
def test_a_key_as_text_in_each_form(tmp_path: Path, written: str) -> None:
    environ = {
        "IBKR_CLIENT_ID": "id",
        "IBKR_CLIENT_KEY_ID": "main",
        "IBKR_CREDENTIAL": "someone",
        "IBKR_PRIVATE_KEY": written,
    }
    found = load(environ=environ, directory=tmp_path).credentials()

    assert isinstance(found, OAuth2Credentials)
    assert found.private_key.reveal().strip() == PEM.strip()


@pytest.mark.requirement("CFG-07")
def test_text_and_file_that_differ_are_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(PEM)
    environ = {
        "IBKR_CLIENT_ID": "id",
        "IBKR_CLIENT_KEY_ID": "main",
        "IBKR_CREDENTIAL": "someone",
        "IBKR_PRIVATE_KEY_PATH": str(tmp_path / "key.pem"),
    }
    assert load(environ={**environ, "IBKR_PRIVATE_KEY": PEM}, directory=tmp_path)
    with pytest.raises(ConfigError) as error:
        load(environ={**environ, "IBKR_PRIVATE_KEY": PEM.replace("AAAA", "BBBB")}, directory=tmp_path)
    assert error.value.code == "E-CONFIG-CONFLICT"
    assert "BBBB" not in str(error.value.details)


def test_the_gateway_needs_nothing_but_may_know_the_user(tmp_path: Path) -> None:
    environ = {"IBKR_AUTH_METHOD": "gateway", "IBKR_CREDENTIAL": "someone"}
    assert load(environ=environ, directory=tmp_path).credentials() == GatewayLogin(username="someone")


_MODES = (0o600, 0o400, 0o640, 0o644, 0o604, 0o660, 0o666, 0o610, 0o601, 0o700, 0o755, 0o777)


@pytest.mark.requirement("SET-04")
@pytest.mark.parametrize("mode", _MODES, ids=oct)
def test_only_a_key_closed_to_others_is_read(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key.pem"
    file.write_text("text")
    file.chmod(mode)
    if mode & 0o077 == 0:
        assert read_private_key("IB_SIGNATURE_KEY_PATH", file).reveal() == "text"
        return
    with pytest.raises(ConfigError) as error:
        read_private_key("IB_SIGNATURE_KEY_PATH", file)
    assert error.value.code == "E-KEY-PERMS"
    assert error.value.remedy == f"Run `chmod 600 {file}`."


@pytest.mark.requirement("SET-04")
def test_a_link_or_a_pipe_in_the_place_of_a_key_is_refused(tmp_path: Path) -> None:

    file = tmp_path / "key.pem"
    file.write_text("text")
    file.chmod(0o600)
    (tmp_path / "link.pem").symlink_to(file)
    os.mkfifo(tmp_path / "pipe.pem", 0o600)
    for name, code, words in (("link.pem", "E-KEY-PERMS", "symbolic link"), ("pipe.pem", "E-KEY-FORMAT", "ordinary")):
        with pytest.raises(ConfigError, match=words) as error:
            read_private_key("IB_SIGNATURE_KEY_PATH", tmp_path / name)
        assert error.value.code == code
