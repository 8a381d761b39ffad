"""The key that signs the audit log: made once, closed to others, its public half for everybody."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ibkit.errors import ConfigError, StorageError
from ibkit.store.audit_key import public_key_at, public_key_of, signer_at

pytestmark = pytest.mark.requirement("MON-10")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_made_at_its_first_use_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "audit"
    assert public_key_at(folder) is None

    first = signer_at(folder, secrets.token_bytes)

    assert signer_at(folder, secrets.token_bytes).public_key == first.public_key == public_key_at(folder)
    assert public_key_of(folder / "public_key.pem") == first.public_key
    assert (mode(folder), mode(folder / "signing_key.pem"), mode(folder / "public_key.pem")) == (0o700, 0o600, 0o644)
    assert signer_at(tmp_path / "other", secrets.token_bytes).public_key != first.public_key


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    signer_at(tmp_path, secrets.token_bytes)
    (tmp_path / "signing_key.pem").chmod(0o640)

    with pytest.raises(ConfigError, match=r"permissions too open: .*signing_key\.pem \(640\)") as refused:
        signer_at(tmp_path, secrets.token_bytes)
    assert refused.value.code == "E-KEY-PERMS"


def _rsa(*, private: bool) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    if private:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", _rsa(private=True)])
def test_what_is_no_such_key_is_refused_without_being_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing_key.pem"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match="holds no Ed25519 key") as refused:
        signer_at(tmp_path, secrets.token_bytes)
    assert refused.value.code == "E-KEY-FORMAT"
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [None, b"", _rsa(private=False)])
def test_a_public_key_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "public.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        public_key_of(path)
    assert refused.value.code == "E-KEY-FORMAT"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file")

    with pytest.raises(StorageError, match="audit"):
        signer_at(tmp_path / "audit", secrets.token_bytes)
