"""From settings to the vault: each provider's source, the keys as they are now, and the sealed part of the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import START
from ibkit.bootstrap import Edges, key_source_of, open_vault, ring_of, using
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.settings import load
from ibkit.store.key_sources.aws_kms import KmsKeys
from ibkit.store.key_sources.command import CommandKeys
from ibkit.store.key_sources.key_file import FileKeys
from ibkit.store.key_sources.os_keyring import KeyringKeys
from ibkit.store.key_sources.settings_file import SettingsKeys
from ibkit.vault import Place
from vaults import NEW, OLD, OTHER

PLACE = Place(user="u1", record="webhook", field="url")


def settings(home: Path, **values: str):
    environ = {"HOME": str(home), "DATABASE_URL": f"sqlite:///{home}/ibkit.db", **values}
    return load(environ=environ, directory=home, require_method=False)


@pytest.mark.requirement("VLT-06")
@pytest.mark.parametrize(
    ("values", "kind", "name"),
    [
        ({"ENCRYPTION_KEY": OLD}, SettingsKeys, "ENCRYPTION_KEY"),
        ({"ENCRYPTION_KEY_PROVIDER": "file", "ENCRYPTION_KEY_FILE": "/k"}, FileKeys, "file /k"),
        ({"ENCRYPTION_KEY_PROVIDER": "keyring"}, KeyringKeys, "the system's keyring, ibkit/vault"),
        (
            {"ENCRYPTION_KEY_PROVIDER": "keyring", "ENCRYPTION_KEYRING_NAME": "two"},
            KeyringKeys,
            "the system's keyring, ibkit/two",
        ),
        ({"ENCRYPTION_KEY_PROVIDER": "command", "ENCRYPTION_KEY_COMMAND": "x"}, CommandKeys, "ENCRYPTION_KEY_COMMAND"),
        (
            {"ENCRYPTION_KEY_PROVIDER": "aws-kms", "ENCRYPTION_KEY_FILE": "/k", "ENCRYPTION_KMS_KEY_ID": "alias/x"},
            KmsKeys,
            "AWS KMS, wrapped in /k",
        ),
    ],
)
def test_each_provider_is_made_of_its_settings(tmp_path, values, kind, name):
    source = key_source_of(settings(tmp_path, **values))
    assert type(source) is kind
    assert source.name == name


@pytest.mark.requirement("VLT-06")
def test_the_ring_has_the_keys_of_the_source_before_those_of_the_settings(tmp_path):
    file = tmp_path / "vault.key"
    file.write_text(f"{NEW}\n{OLD}\n")
    file.chmod(0o600)
    more = {"ENCRYPTION_KEY_PREVIOUS": OTHER}
    ring = ring_of(settings(tmp_path, ENCRYPTION_KEY_PROVIDER="file", ENCRYPTION_KEY_FILE=str(file), **more))
    assert ring is not None
    assert ring.key(ring.current_id) == Secret(bytes.fromhex(NEW))
    assert len(ring.ids()) == 3
    assert ring_of(settings(tmp_path)) is None
    file.write_text(f"{NEW[:-1]}\n")
    with pytest.raises(ConfigError, match="63 characters") as caught:
        ring_of(settings(tmp_path, ENCRYPTION_KEY_PROVIDER="file", ENCRYPTION_KEY_FILE=str(file)))
    assert caught.value.code == "E-ENC-KEY"


@pytest.mark.anyio
@pytest.mark.requirement("VLT-05")
async def test_a_key_that_comes_into_the_settings_file_is_met_without_a_restart(tmp_path, monkeypatch):
    for name in ("ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / ".env"
    url = f"DATABASE_URL=sqlite:///{tmp_path}/ibkit.db\n"

    def write(text: str) -> None:
        file.write_text(url + text)
        file.chmod(0o600)

    write(f"ENCRYPTION_KEY={OLD}\n")
    with using(Edges(clock=ManualClock(START))):
        async with open_vault(load(environ={}, directory=tmp_path, require_method=False)) as running:
            await running.put(PLACE, Secret("before"))
            write(f"ENCRYPTION_KEY={NEW}\nENCRYPTION_KEY_PREVIOUS={OLD}\n")
            async with open_vault(load(environ={}, directory=tmp_path, require_method=False)) as other:
                await other.put(PLACE, Secret("after"))
            found = await running.get(PLACE)
            assert found is not None
            assert found.reveal() == "after"
            assert running.ring.current_id == other_id(NEW)


def other_id(key: str) -> str:
    ring = ring_of(load(environ={"ENCRYPTION_KEY": key}, directory=Path("/nowhere"), require_method=False))
    assert ring is not None
    return ring.current_id


@pytest.mark.anyio
@pytest.mark.requirement("VLT-03")
async def test_an_iv_that_is_none_is_told_before_the_database_is_touched(tmp_path):
    with pytest.raises(ConfigError, match="ENCRYPTION_IV has 3 characters") as caught:
        async with open_vault(settings(tmp_path, ENCRYPTION_KEY=OLD, ENCRYPTION_IV="abc")):
            raise AssertionError("opened")
    assert caught.value.code == "E-ENC-KEY"
    assert not (tmp_path / "ibkit.db").exists()
