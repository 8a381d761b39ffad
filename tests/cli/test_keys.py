"""`ibkit keys generate`."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap import keyfiles, primes
from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.wire import dh, keys

GROUP = dh.parse_params_pem((Path(__file__).parent.parent / "keys/dhparam.pem").read_text())
OAUTH1 = {
    "private_signature.pem",
    "public_signature.pem",
    "private_encryption.pem",
    "public_encryption.pem",
    "dhparam.pem",
}
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def quick_prime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search has tests of its own; here it is the files that matter."""
    monkeypatch.setattr(primes, "search", lambda bits, progress: progress(1) or GROUP.prime)


def _sums(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir() if path.is_file()}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.requirement("SET-01", "SET-02")
def test_five_files_with_their_rights_that_belong_together(ibkit: Run, home: Path) -> None:
    ran = ibkit("keys", "generate")
    assert ran.code == 0
    out = home / "config/keys"
    assert set(_sums(out)) == OAUTH1
    assert _mode(out) == 0o700
    for path in out.iterdir():
        assert _mode(path) == (0o600 if path.name.startswith("private") else 0o644)
    for name in ("signature", "encryption"):
        private = keys.load_private_key(Secret((out / f"private_{name}.pem").read_text()), what=name, thorough=True)
        public = keys.load_public_key((out / f"public_{name}.pem").read_text(), what=name)
        keys.check_pair(private, public, what=name)
    dh.check_params(dh.parse_params_pem((out / "dhparam.pem").read_text()))
    for said in ("public_signature.pem", "public_encryption.pem", "dhparam.pem", "Security:", "ibkit verify"):
        assert said in ran.out
    assert "BEGIN" not in ran.out + ran.err


@pytest.mark.requirement("SET-01")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_finds_them_in_order(ibkit: Run, home: Path) -> None:
    ibkit("keys", "generate")
    out = home / "config/keys"
    rsa = subprocess.run(
        ["openssl", "rsa", "-check", "-noout", "-in", out / "private_signature.pem"], capture_output=True
    )
    assert b"RSA key ok" in rsa.stdout + rsa.stderr
    group = subprocess.run(["openssl", "dhparam", "-check", "-noout", "-in", out / "dhparam.pem"], capture_output=True)
    assert group.returncode == 0
    assert b"DH parameters appear to be ok" in group.stdout + group.stderr


@pytest.mark.requirement("SET-01")
def test_a_second_run_changes_nothing_and_says_so(ibkit: Run, home: Path) -> None:
    ibkit("keys", "generate")
    before = _sums(home / "config/keys")
    ran = ibkit("keys", "generate")
    assert ran.code == 1
    assert "--force" in ran.err
    assert _sums(home / "config/keys") == before


@pytest.mark.requirement("SET-01")
def test_force_makes_new_ones_and_puts_the_old_aside(ibkit: Run, home: Path) -> None:
    ibkit("keys", "generate")
    before = _sums(home / "config/keys")
    ran = ibkit("keys", "generate", "--force")
    assert ran.code == 0
    after = _sums(home / "config/keys")
    assert set(after) == OAUTH1
    assert after["private_signature.pem"] != before["private_signature.pem"]
    (aside,) = (home / "config/keys").glob("replaced-*")
    assert _sums(aside) == before
    assert str(aside.relative_to(home)) in ran.out
    assert _mode(aside) == 0o700


@pytest.mark.requirement("SET-02")
def test_the_ignore_rule_is_added_once(ibkit: Run, home: Path) -> None:
    (home / ".gitignore").write_text("*.pyc")
    ibkit("keys", "generate")
    assert (home / ".gitignore").read_text() == "*.pyc\nconfig/keys/\n"
    ibkit("keys", "generate", "--force")
    assert (home / ".gitignore").read_text() == "*.pyc\nconfig/keys/\n"


@pytest.mark.requirement("SET-02")
@pytest.mark.parametrize("rule", ["config/keys/", "/config/keys", "config/", "config/keys"])
def test_a_rule_that_covers_the_directory_is_enough(home: Path, rule: str) -> None:
    (home / ".gitignore").write_text(f"# keys\n{rule}\n")
    (home / "config/keys").mkdir(parents=True)
    assert not keyfiles.add_to_gitignore(home / "config/keys", print)


def test_the_rule_goes_to_the_repository_s_own_file(home: Path) -> None:
    (home / "repo/.git").mkdir(parents=True)
    (home / "repo/sub/keys").mkdir(parents=True)
    assert keyfiles.add_to_gitignore(home / "repo/sub/keys", print)
    assert (home / "repo/.gitignore").read_text() == "sub/keys/\n"
    assert not (home / ".gitignore").exists()


def test_the_working_directory_s_own_rights_are_left_alone(home: Path) -> None:
    home.chmod(0o755)
    keyfiles.make_directory(home)
    assert _mode(home) == 0o755


@pytest.mark.requirement("SET-01")
def test_another_place_is_named_in_the_settings_to_write(ibkit: Run, home: Path) -> None:
    ran = ibkit("keys", "generate", "--out", "elsewhere")
    assert ran.code == 0
    assert "IB_DH_PARAM_PATH=elsewhere/dhparam.pem" in ran.out
    assert set(_sums(home / "elsewhere")) == OAUTH1


@pytest.mark.requirement("SET-01")
def test_oauth2_has_one_key_and_a_warning(ibkit: Run, home: Path) -> None:
    ran = ibkit("keys", "generate", "--kind", "oauth2")
    assert ran.code == 0
    assert set(_sums(home / "config/keys")) == {"private_oauth2.pem", "public_oauth2.pem"}
    assert "cannot be recovered" in ran.out
    assert "IBKR_PRIVATE_KEY_PATH=config/keys/private_oauth2.pem" in ran.out
    assert ibkit("keys", "generate").code == 0, "the other method's files are no obstacle"


@pytest.mark.requirement("SET-01")
def test_a_passphrase_from_stdin_encrypts_the_private_keys(ibkit: Run, home: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame\n"))
    ran = ibkit("keys", "generate", "--passphrase")
    assert ran.code == 0
    assert "sesame" not in ran.out + ran.err
    assert "IB_KEY_PASSPHRASE" in ran.out
    text = Secret((home / "config/keys/private_signature.pem").read_text())
    assert "ENCRYPTED" in text.reveal()
    assert keys.load_private_key(text, what="key", passphrase=Secret("open sesame")).key_size == 2048


@pytest.mark.parametrize("typed", ["", "short\n"])
def test_no_passphrase_to_speak_of_writes_nothing(ibkit: Run, home: Path, monkeypatch, typed: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    ran = ibkit("keys", "generate", "--passphrase")
    assert ran.code == 2
    assert not (home / "config").exists()


def test_a_place_that_cannot_be_written_is_named(ibkit: Run, home: Path) -> None:
    (home / "file").write_text("")
    ran = ibkit("keys", "generate", "--out", "file/keys")
    assert ran.code == 2
    assert "file/keys" in ran.err
    assert "Traceback" not in ran.err


def test_a_failure_leaves_no_half_set(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match="No space left"):
        keyfiles.write_files(tmp_path, {"private_a.pem": "x", "public_a.pem": "y"})
    assert list(tmp_path.iterdir()) == []


def test_the_search_on_one_process_and_on_two_finds_safe_primes(monkeypatch) -> None:
    monkeypatch.undo()
    for processes in (1, 2):
        prime = primes.search(96, lambda _: None, processes=processes)
        assert prime.bit_length() == 96
        assert dh.is_probable_prime(prime)
        assert dh.is_probable_prime(prime >> 1)


def test_progress_is_told_every_five_seconds(capsys) -> None:
    from ibkit.cli.commands.keys import _progress

    instants = iter([0.0, 1.0, 5.0, 6.0, 10.5])
    tell = _progress(lambda: next(instants))
    for tried in (10, 50, 60, 100):
        tell(tried)
    lines = capsys.readouterr().err.splitlines()
    assert [re.findall(r"\d+ numbers", line)[0] for line in lines] == ["50 numbers", "100 numbers"]
