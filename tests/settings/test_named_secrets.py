"""`secret://NAME`: read where the key's provider keeps things, when somebody signs in, and told by its name alone."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from canaries import laid_bare
from ibkit.errors import ConfigError
from ibkit.model import OAuth1Credentials, OAuth2Credentials
from ibkit.settings import Settings, load
from ibkit.store.key_sources import os_keyring
from simulators import KEYS
from vaults import OLD

PEM = (KEYS / "simpaper1" / "private_oauth2.pem").read_text()
CLIENT = {
    "IBKR_CLIENT_ID": "CLIENT77",
    "IBKR_CLIENT_KEY_ID": "main",
    "IBKR_CREDENTIAL": "trader",
    "IBKR_PRIVATE_KEY": "secret://ibkr-key",
}
pytestmark = [pytest.mark.requirement("VLT-06"), pytest.mark.plants_secrets]


def private(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def settings(folder: Path, **given: str) -> Settings:
    environ = {**CLIENT, "IBKIT_STATE_DIR": str(folder / "state"), "HOME": str(folder), **given}
    return load(environ={name: value for name, value in environ.items() if value}, directory=folder)


def by_file(folder: Path, **given: str) -> Settings:
    keys = private(folder / "keys", OLD)
    return settings(folder, ENCRYPTION_KEY_PROVIDER="file", ENCRYPTION_KEY_FILE=str(keys), **given)


def by_command(folder: Path, script: str, **given: str) -> Settings:
    program = private(folder / "give.py", script)
    command = f"{sys.executable} {program} --name={{name}}"
    return settings(
        folder,
        ENCRYPTION_KEY_PROVIDER="command",
        ENCRYPTION_KEY_COMMAND="echo key",
        ENCRYPTION_SECRET_COMMAND=command,
        **given,
    )


def test_a_file_beside_the_keys(tmp_path: Path) -> None:
    found = by_file(tmp_path)
    with pytest.raises(ConfigError) as caught:  # not read before somebody signs in
        found.credentials()
    assert caught.value.code == "E-KEY-MISSING"
    file = private(tmp_path / "ibkr-key", PEM)
    login = found.credentials()
    assert isinstance(login, OAuth2Credentials)
    assert login.private_key.reveal() == PEM.strip()
    file.chmod(stat.S_IRUSR | stat.S_IRGRP)
    with pytest.raises(ConfigError) as caught:
        found.credentials()
    assert caught.value.code == "E-KEY-PERMS"


def test_a_command_gets_the_name_as_part_of_a_word_and_its_failure_tells_nothing_it_said(tmp_path: Path) -> None:
    given = by_command(tmp_path, f"import sys\nassert sys.argv[1:] == ['--name=ibkr-key']\nprint({PEM!r})")
    login = given.credentials()
    assert isinstance(login, OAuth2Credentials)
    assert login.private_key.reveal() == PEM.strip()
    failing = by_command(tmp_path, "import sys\nprint('canary')\nprint('canary', file=sys.stderr)\nsys.exit(7)")
    with pytest.raises(ConfigError, match="ENCRYPTION_SECRET_COMMAND ended with exit status 7") as caught:
        failing.credentials()
    assert caught.value.code == "E-ENC-KEY"
    assert "canary" not in laid_bare(caught.value)
    with pytest.raises(ConfigError, match="IBKR_PRIVATE_KEY names ibkr-key") as caught:
        by_command(tmp_path, "").credentials()
    assert caught.value.code == "E-KEY-MISSING"


def test_the_systems_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {("ibkit", "ibkr-key"): PEM}

    class Keyring:
        class errors:  # noqa: N801  # as the library spells it
            KeyringError = RuntimeError

        @staticmethod
        def get_password(service: str, entry: str) -> str | None:
            return entries.get((service, entry))

    monkeypatch.setattr(os_keyring, "_keyring", lambda: Keyring)
    found = settings(tmp_path, ENCRYPTION_KEY_PROVIDER="keyring")
    login = found.credentials()
    assert isinstance(login, OAuth2Credentials)
    assert login.private_key.reveal() == PEM.strip()
    entries.clear()
    with pytest.raises(ConfigError, match="which the keyring does not have"):
        found.credentials()


def test_keys_that_are_given_as_files_may_be_named_too(tmp_path: Path) -> None:
    folder = KEYS / "simpaper1"
    for name in ("signature", "encryption"):
        private(tmp_path / name, (folder / f"private_{name}.pem").read_text())
    private(tmp_path / "token-secret", "c2VjcmV0")
    found = by_file(
        tmp_path,
        **dict.fromkeys(CLIENT, ""),
        IB_CONSUMER_KEY="SIMPAPERA",
        IB_ACCESS_TOKEN="token",
        IB_ACCESS_TOKEN_SECRET="secret://token-secret",
        IB_SIGNATURE_KEY_PATH="secret://signature",
        IB_ENCRYPTION_KEY_PATH="secret://encryption",
        IB_DH_PARAM_PATH=str(KEYS / "dhparam.pem"),
    )
    login = found.credentials()
    assert isinstance(login, OAuth1Credentials)
    assert login.signature_key.reveal() == (folder / "private_signature.pem").read_text().strip()
    assert login.encryption_key.reveal() == (folder / "private_encryption.pem").read_text().strip()
    assert login.access_token_secret is not None
    assert login.access_token_secret.reveal() == "c2VjcmV0"


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "IBKR_PRIVATE_KEY: secret:// needs ENCRYPTION_KEY_PROVIDER=file, keyring or command"),
        ({"IBKR_PRIVATE_KEY": "secret://../x", "ENCRYPTION_KEY_PROVIDER": "keyring"}, "use secret://NAME"),
        ({"IBKR_PRIVATE_KEY": "secret://a/b", "ENCRYPTION_KEY_PROVIDER": "keyring"}, "use secret://NAME"),
        (
            {"JWT_SECRET": "secret://jwt-0123456789012345678901234567890", "ENCRYPTION_KEY_PROVIDER": "keyring"},
            "JWT_SECRET",
        ),
        (
            {"ENCRYPTION_KEY_PROVIDER": "command", "ENCRYPTION_KEY_COMMAND": "echo x"},
            "secret:// needs ENCRYPTION_SECRET_COMMAND",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_stops_the_start(tmp_path: Path, given: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, **given)
    assert told in caught.value.message
