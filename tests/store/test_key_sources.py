"""Where the vault's keys come from: what each source gives, keeps and says when it fails."""

from __future__ import annotations

import base64
import logging
import os
import stat
import sys
import threading
import time
from pathlib import Path

import boto3
import keyring
import keyring.backend
import keyring.errors
import pytest
from moto import mock_aws

from canaries import Canaries, laid_bare
from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.settings.envfile import parse
from ibkit.store.key_sources.aws_kms import CONTEXT, KmsKeys
from ibkit.store.key_sources.command import CommandKeys
from ibkit.store.key_sources.key_file import FileKeys
from ibkit.store.key_sources.os_keyring import KeyringKeys
from ibkit.store.key_sources.settings_file import SettingsKeys, put_key
from vaults import NEW, OLD

pytestmark = pytest.mark.requirement("VLT-06")
REGION = "eu-central-1"


def revealed(source) -> list[str]:
    return [key.reveal() for key in source.read()]


def refused(call) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        call()
    assert (caught.value.code, caught.value.exit_code) == ("E-ENC-KEY", 3)
    assert caught.value.remedy
    return caught.value


def script(tmp_path: Path, body: str) -> str:
    file = tmp_path / "print the_key"
    file.write_text(body)
    return f'"{sys.executable}" "{file}"'


# --- a command --------------------------------------------------------------------------------------------------------


@pytest.mark.plants_secrets  # the command of this test is a file with the keys in it
def test_a_command_prints_its_keys_newest_first(tmp_path):
    assert revealed(CommandKeys(script(tmp_path, f"print('{NEW}\\n{OLD}\\n')"))) == [NEW, OLD]


def test_a_command_that_fails_is_told_by_its_exit_status_and_without_its_output(tmp_path):
    body = f"import sys; print('{OLD}'); print('canary {NEW}', file=sys.stderr); sys.exit(41)"
    error = refused(CommandKeys(script(tmp_path, body)).read)
    assert "exit status 41" in error.message
    assert error.details == {"exit_status": 41}
    canaries = Canaries()
    for key in (OLD, NEW):
        canaries.add(key, key)
    assert canaries.found_in(laid_bare(error)) == set()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nowhere/at/all", "cannot be started"),
        ("'unfinished", "a quote without its end"),
        ("''", "cannot be started"),
        ("  ", "is empty"),
    ],
)
def test_a_command_that_cannot_be_run_is_told_so(command, message):
    assert message in refused(CommandKeys(command).read).message


def test_a_command_is_ended_when_the_waiting_is(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    body = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupted(self, **_):
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.01)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen.communicate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            CommandKeys(script(tmp_path, body)).read()
    assert _is_gone(int(mark.read_text()))


def test_a_command_is_no_line_of_a_shell(tmp_path):
    planted = tmp_path / "planted"
    command = script(tmp_path, "import sys; print(len(sys.argv))")
    assert revealed(CommandKeys(f"{command} ; touch {planted} $HOME `id`")) == ["6"]
    assert not planted.exists()


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    mark = tmp_path / "grandchild"
    body = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
        f"print('{OLD}', flush=True)\n"
        "time.sleep(60)\n"
    )
    began = time.monotonic()
    error = refused(CommandKeys(script(tmp_path, body), timeout_s=3).read)
    assert "has not ended within 3 s" in error.message
    assert time.monotonic() - began < 20
    assert OLD not in laid_bare(error)
    assert _is_gone(int(mark.read_text()))


def _is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # dead, and its new parent has not asked yet
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("body", ["print('x' * 70000)", "import sys; sys.stdout.buffer.write(b'\\xff\\xfe')"])
def test_a_command_that_prints_something_else_is_refused(tmp_path, body):
    assert "printed" in refused(CommandKeys(script(tmp_path, body)).read).message


def test_a_command_takes_no_new_key(tmp_path):
    assert "takes none" in refused(lambda: CommandKeys("true").put(Secret(NEW))).message


# --- a file -----------------------------------------------------------------------------------------------------------


def test_a_file_holds_keys_newest_first_for_its_owner_alone(tmp_path):
    source = FileKeys(tmp_path / "keys" / "vault.key")
    assert source.read() == ()
    source.put(Secret(OLD))
    source.put(None)
    newest, old = revealed(source)
    assert (len(newest), old) == (64, OLD)
    file = tmp_path / "keys" / "vault.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["vault.key"]
    file.write_text(f"# the newest\n{NEW}\n\n{OLD}\n")
    assert revealed(source) == [NEW, OLD]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_open_is_refused(tmp_path, mode):
    file = tmp_path / "vault.key"
    file.write_text(OLD)
    file.chmod(mode)
    error = refused(FileKeys(file).read)
    assert "open to other users" in error.message
    assert error.remedy == f"chmod 600 {file}"
    assert "open to other users" in refused(lambda: FileKeys(file).put(None)).message
    assert file.read_text() == OLD


def test_a_file_that_is_none_is_named_and_not_quoted(tmp_path):
    assert str(tmp_path) in refused(FileKeys(tmp_path).read).message
    file = tmp_path / "binary"
    file.write_bytes(b"\xff" + OLD.encode())
    file.chmod(0o600)
    error = refused(FileKeys(file).read)
    assert "not plain text" in error.message
    assert OLD not in laid_bare(error)
    file.write_text("x" * 70_000)
    assert "more than" in refused(FileKeys(file).read).message
    assert "Not a directory" in refused(lambda: FileKeys(file / "under").put(None)).message
    (tmp_path / ".blocked.new").mkdir()
    assert "cannot be written" in refused(lambda: FileKeys(tmp_path / "blocked").put(None)).message


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, monkeypatch):
    source = FileKeys(tmp_path / "vault.key")
    source.put(Secret(OLD))

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "No space left" in refused(lambda: source.put(Secret(NEW))).message
    assert revealed(source) == [OLD]
    assert [each.name for each in tmp_path.iterdir()] == ["vault.key"]


def test_each_source_has_a_name_that_people_know_it_by(tmp_path):
    sources = (
        SettingsKeys(None, None),
        SettingsKeys(Secret(OLD), tmp_path),
        FileKeys(tmp_path),
        KeyringKeys("vault"),
        CommandKeys("print the key canary"),
        KmsKeys(tmp_path, key_id="k"),
    )
    assert [source.name for source in sources] == [
        "ENCRYPTION_KEY",
        f"ENCRYPTION_KEY in {tmp_path}",
        f"file {tmp_path}",
        "the system's keyring, ibkit/vault",
        "ENCRYPTION_KEY_COMMAND",
        f"AWS KMS, wrapped in {tmp_path}",
    ]


@pytest.mark.parametrize(("module", "extra"), [("keyring", "ibkit[keyring]"), ("boto3", "ibkit[aws]")])
def test_a_package_that_is_not_there_is_named_with_how_to_install_it(monkeypatch, tmp_path, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    source = KeyringKeys("vault") if module == "keyring" else KmsKeys(tmp_path / "wrapped", key_id="k", region=REGION)
    error = refused(lambda: source.put(Secret(OLD)))
    assert module in error.message
    assert extra in error.remedy


# --- the settings -----------------------------------------------------------------------------------------------------


def test_settings_take_a_new_key_only_where_they_are_a_file(tmp_path):
    assert SettingsKeys(None, None).read() == ()
    source = SettingsKeys(Secret(OLD), None)
    assert revealed(source) == [OLD]
    assert "comes from the environment" in refused(lambda: source.put(None)).message
    file = tmp_path / ".env"
    file.write_text(f"ENCRYPTION_KEY={OLD}\n")
    SettingsKeys(Secret(OLD), file).put(Secret(NEW))
    assert file.read_text() == f"ENCRYPTION_KEY={NEW}\nENCRYPTION_KEY_PREVIOUS={OLD}\n"


@pytest.mark.requirement("VLT-01")
@pytest.mark.parametrize(
    ("line", "previous"),
    [
        ("ENCRYPTION_KEY={}  # a copy lies in the safe", ""),
        ("export ENCRYPTION_KEY = '{}'# quoted", ""),
        ('ENCRYPTION_KEY="{}"', "ENCRYPTION_KEY_PREVIOUS={}, {} # two of them"),
        ("ENCRYPTION_KEY={}", "ENCRYPTION_KEY_PREVIOUS= # none"),
    ],
)
def test_a_key_is_seen_and_replaced_however_the_settings_write_it(tmp_path, line, previous):
    older = ["d" * 64, "e" * 64][: previous.count("{}")]
    file = tmp_path / ".env"
    file.write_text(f"PORT=8001\n{line.format(OLD)}\n{previous.format(*older)}\nLOG_LEVEL=info\n")
    assert parse(file.read_text())["ENCRYPTION_KEY"] == OLD
    assert not put_key(file, Secret(NEW), force=False)
    assert put_key(file, Secret(NEW), force=True)
    now = parse(file.read_text())
    assert now == {
        "PORT": "8001",
        "ENCRYPTION_KEY": NEW,
        "ENCRYPTION_KEY_PREVIOUS": ",".join([OLD, *older]),
        "LOG_LEVEL": "info",
    }


@pytest.mark.requirement("VLT-05")
@pytest.mark.parametrize("kind", ["settings", "file"])
def test_of_many_that_put_keys_at_once_no_key_is_lost(tmp_path, kind):
    """Another process may have sealed everything with one of them by then."""
    file = tmp_path / "vault_key"
    source = SettingsKeys(None, file) if kind == "settings" else FileKeys(file)
    keys = [f"{number:02x}" * 31 + "ab" for number in range(24)]
    gate = threading.Barrier(4)

    def put(mine):
        gate.wait()
        for key in mine:
            source.put(Secret(key))

    threads = [threading.Thread(target=put, args=(keys[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = file.read_text()
    assert [key for key in keys if key not in text] == []
    assert [each.name for each in tmp_path.iterdir()] == ["vault_key"]


# --- the system's keyring ---------------------------------------------------------------------------------------------


class MemoryKeyring(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self):
        self.kept = {}
        self.locked = False

    def get_password(self, service, username):
        if self.locked:
            raise keyring.errors.KeyringLocked(f"canary {OLD}")
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        if self.locked:
            raise keyring.errors.PasswordSetError(f"canary {password}")
        self.kept[service, username] = password


@pytest.fixture
def system():
    before, mine = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(mine)
    yield mine
    keyring.set_keyring(before)


def test_the_keyring_keeps_keys_by_the_name_of_their_entry(system):
    source = KeyringKeys("vault")
    assert source.read() == ()
    source.put(Secret(OLD))
    source.put(Secret(NEW))
    assert revealed(source) == [NEW, OLD]
    assert list(system.kept) == [("ibkit", "vault")]
    assert KeyringKeys("another").read() == ()


def test_a_locked_keyring_is_told_without_what_it_said(system):
    system.locked = True
    error = refused(KeyringKeys("vault").read)
    assert "KeyringLocked" in error.message
    assert OLD not in laid_bare(error)
    system.locked = False
    system.set_password = lambda *_: (_ for _ in ()).throw(keyring.errors.PasswordSetError(NEW))
    error = refused(lambda: KeyringKeys("vault").put(Secret(NEW)))
    assert "cannot be written" in error.message
    assert NEW not in laid_bare(error)


# --- AWS KMS ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kms(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield boto3.client("kms", region_name=REGION)


def kms_key(kms) -> str:
    return kms.create_key(Description="vault")["KeyMetadata"]["KeyId"]


def test_kms_makes_wraps_and_unwraps_keys_and_the_file_holds_none_of_them(kms, tmp_path):
    file = tmp_path / "wrapped"
    source = KmsKeys(file, key_id=kms_key(kms), region=REGION)
    assert source.read() == ()
    source.put(Secret(OLD))
    source.put(None)
    newest, old = revealed(source)
    assert old == OLD
    assert len(bytes.fromhex(newest)) == 32
    canaries = Canaries()
    canaries.add("old", OLD)
    canaries.add("old, raw", bytes.fromhex(OLD))
    canaries.add("new, raw", bytes.fromhex(newest))
    raw = b"".join(base64.b64decode(line) for line in file.read_text().splitlines())
    assert bytes.fromhex(OLD) not in raw
    assert canaries.found_in(file.read_text()) == set()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_data_key_that_was_made_by_hand_in_its_region_is_read_with_its_context(kms, tmp_path):
    key_id = kms_key(kms)
    made = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext=CONTEXT)
    file = tmp_path / "wrapped"
    file.write_text(base64.b64encode(made["CiphertextBlob"]).decode())
    file.chmod(0o600)
    endpoint = f"https://kms.{REGION}.amazonaws.com"
    assert revealed(KmsKeys(file, key_id=key_id, region=REGION, endpoint=endpoint)) == [made["Plaintext"].hex()]
    # Another region's KMS knows nothing of the key.
    error = refused(KmsKeys(file, key_id=key_id, region="us-east-1").read)
    assert "AWS KMS answers" in error.message
    assert base64.b64encode(made["CiphertextBlob"]).decode() not in laid_bare(error)
    other = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", EncryptionContext={"purpose": "another"})
    file.write_text(base64.b64encode(other["CiphertextBlob"]).decode())
    assert "AWS KMS answers" in refused(KmsKeys(file, key_id=key_id, region=REGION).read).message


def test_kms_without_a_region_with_a_bad_endpoint_or_a_bad_line_is_told_so(kms, tmp_path):
    file = tmp_path / "wrapped"
    assert "NoRegionError" in refused(lambda: KmsKeys(file, key_id="k").put(None)).message
    bad = KmsKeys(file, key_id="k", region=REGION, endpoint="no address")
    assert "ENCRYPTION_KMS_ENDPOINT" in refused(lambda: bad.put(None)).remedy
    file.write_text("not base64!")
    file.chmod(0o600)
    error = refused(KmsKeys(file, key_id="k", region=REGION).read)
    assert "line 1" in error.message
    assert "not base64!" not in laid_bare(error)


def test_a_log_of_everything_does_not_show_what_kms_answered(kms, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.NOTSET)
    source = KmsKeys(tmp_path / "wrapped", key_id=kms_key(kms), region=REGION)
    source.put(Secret(OLD))
    assert revealed(source) == [OLD]
    canaries = Canaries()
    canaries.add("key", OLD)
    canaries.add("raw key", bytes.fromhex(OLD))
    assert canaries.found_in(caplog.text) == set()
