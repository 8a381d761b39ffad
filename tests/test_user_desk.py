"""Settings to users: the key that signs tokens, made once and kept, and what is said where that cannot be."""

from __future__ import annotations

import importlib.util
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap import users as user_desk
from ibkit.bootstrap.users import JWT_FILE, VaultSealing, jwt_secret_of, open_users
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, StorageError
from ibkit.model import Secret
from ibkit.settings import Settings, load
from ibkit.vault import KeyRing
from user_desks import START, Chance
from vaults import sealer

pytestmark = pytest.mark.requirement("GWY-02")
GIVEN = "a-secret-of-the-settings-0123456789"


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def read(**environ: str) -> Settings:
        values = {"IBKIT_STATE_DIR": str(tmp_path / "state")} | environ
        return load(environ=values, directory=tmp_path, require_method=False)

    return read


def test_the_secret_of_the_settings_is_used_and_nothing_is_kept(settings: Any, tmp_path: Path) -> None:
    assert jwt_secret_of(settings(JWT_SECRET=GIVEN), random=Chance()).reveal() == GIVEN
    assert not (tmp_path / "state").exists()


def test_without_one_it_is_made_once_for_its_owner_alone(settings: Any, tmp_path: Path) -> None:
    first = jwt_secret_of(settings(), random=Chance())
    file = tmp_path / "state" / JWT_FILE
    assert len(first.reveal()) == 96
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert jwt_secret_of(settings(), random=Chance("another")) == first
    assert [each.name for each in file.parent.iterdir()] == [JWT_FILE]


def test_of_many_that_start_at_once_all_use_the_same(settings: Any) -> None:
    found: list[str] = []
    gate = threading.Barrier(8)

    def start(number: int) -> None:
        gate.wait()
        found.append(jwt_secret_of(settings(), random=Chance(str(number))).reveal())

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.requirement("CFG-06")
def test_in_production_it_has_to_be_set(settings: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JWT_SECRET: it has to be set"):
        jwt_secret_of(settings(APP_ENV="production"), random=Chance())
    assert jwt_secret_of(settings(APP_ENV="production", JWT_SECRET=GIVEN), random=Chance())
    assert not (tmp_path / "state").exists()


def test_a_file_that_others_could_read_or_that_is_cut_short_is_not_used(settings: Any, tmp_path: Path) -> None:
    jwt_secret_of(settings(), random=Chance())
    file = tmp_path / "state" / JWT_FILE
    file.chmod(0o640)
    with pytest.raises(StorageError, match="other users can read") as error:
        jwt_secret_of(settings(), random=Chance())
    assert f"rm {file}" in error.value.remedy
    file.chmod(0o600)
    file.write_text("short\n")
    with pytest.raises(StorageError, match="cut short"):
        jwt_secret_of(settings(), random=Chance())
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("x" * 96)
    with pytest.raises(StorageError, match=JWT_FILE):
        jwt_secret_of(settings(), random=Chance())


def test_a_state_directory_that_cannot_be_written_is_named(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    with pytest.raises(StorageError, match="State directory problem") as error:
        jwt_secret_of(settings(), random=Chance())
    assert "JWT_SECRET" in error.value.remedy


@pytest.mark.anyio
async def test_without_the_extra_it_says_what_to_install(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(user_desk, "find_spec", lambda name: None if name == "joserfc" else real(name))
    with pytest.raises(ConfigError, match="Users need joserfc") as error:
        async with open_users(settings(), clock=ManualClock(START)):
            pass
    assert "ibkit[service]" in error.value.remedy


@pytest.mark.requirement("FUT-06")
def test_the_secret_of_a_second_step_opens_for_its_user_alone() -> None:
    ring = KeyRing(Secret(os.urandom(32)))
    sealing = VaultSealing(sealer(ring))
    sealed = sealing.seal("anna", Secret(b"s" * 20))
    assert sealing.open("anna", sealed).reveal() == b"s" * 20
    with pytest.raises(StorageError) as error:
        sealing.open("bob", sealed)
    assert error.value.code == "E-ENC"
    for needs_key in (lambda: VaultSealing(sealer(None)).open("anna", sealed), lambda: seal_without_key()):
        with pytest.raises(ConfigError) as missing:
            needs_key()
        assert missing.value.code == "E-ENC-KEY"


def seal_without_key() -> str:
    return VaultSealing(sealer(None)).seal("anna", Secret(b"s" * 20))
