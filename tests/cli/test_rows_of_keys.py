"""Rows of reliability rules §6.4 (keys and uploaded credentials) as cases by name, told by `ibkit verify`.

What has no file of its own is elsewhere: credentials sent to the service in tests/service and tests/vault, broken DER
in tests/wire. No case repeats a line of a key, and each says what to do.
"""

# ruff: noqa: E501  # each case of the table is one line

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cli.test_verify import PAIR, _failed, _settings
from cli.test_verify import keys_here as keys_here  # a fixture
from ibkit.wire import keys as keys_module
from sign_ins import KEYS

Run = Callable[..., Any]
SIGNATURE, ENCRYPTION, DH = "private_signature.pem", "private_encryption.pem", "dhparam.pem"
SIGNING = "IB_SIGNATURE_KEY_PATH"
RSA = serialization.load_pem_private_key((PAIR / SIGNATURE).read_bytes(), None)
PRIVATE = (PAIR / SIGNATURE).read_text()


def written(key: Any, encoding: Any = serialization.Encoding.PEM, passphrase: bytes | None = None) -> bytes:
    sealing = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    made: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, sealing)
    return made


def of_size(bits: int, exponent: int = 65537) -> Any:
    return rsa.generate_private_key(exponent, bits)


def dh_with(generator: int, bits: int) -> bytes:
    from ibkit.wire.dh import DhParams, write_params_pem

    return write_params_pem(DhParams((1 << (bits - 1)) + 1155, generator)).encode()


@dataclass(frozen=True)
class Case:
    """row: of §6.4. file: what stands in it. name, code, said: of the check that fails; no code: it is taken."""

    row: str
    what: str
    code: str
    said: str = ""
    name: str = SIGNING
    files: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


def key(row: str, what: str, code: str, said: str, make: Callable[[], bytes], **settings: str) -> Case:
    return Case(row, what, code, said, SIGNING, {SIGNATURE: make}, settings)


def dh(what: str, said: str, make: Callable[[], bytes]) -> Case:
    return Case("dh file", what, "E-OA1-DH" if said else "", said, "IB_DH_PARAM_PATH", {DH: make})


def setting(row: str, what: str, name: str, code: str, **settings: str) -> Case:
    return Case(row, what, code, "", name, {}, settings)


PARAMS = (KEYS / DH).read_text()
BAD, SECRET = "E-KEY-FORMAT", "access token secret"
CASES = [
    key("kind", "public", BAD, "this is a public key", (PAIR / "public_signature.pem").read_bytes),
    key("kind", "certificate", BAD, "this is a certificate", lambda: PRIVATE.replace("RSA PRIVATE KEY", "CERTIFICATE").replace("PRIVATE KEY", "CERTIFICATE").encode()),
    key("kind", "OpenSSH", BAD, "ssh-keygen -p -m PEM", lambda: b"-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n-----END OPENSSH PRIVATE KEY-----\n"),
    key("kind", "PuTTY", BAD, "PuTTYgen", lambda: b"PuTTY-User-Key-File-3: ssh-rsa\n"),
    key("kind", "DER", BAD, "openssl rsa -inform DER", lambda: written(RSA, serialization.Encoding.DER)),
    key("kind", "a text", BAD, "no key at all", lambda: b"hello"),
    key("passphrase", "missing", BAD, "no passphrase is set", lambda: written(RSA, passphrase=b"right")),
    key("passphrase", "wrong", BAD, "the passphrase is wrong", lambda: written(RSA, passphrase=b"right"), IB_KEY_PASSPHRASE="wrong-one"),
    key("unsupported", "RSA 1024", BAD, "it has 1024 bits; IBKR wants RSA 2048", lambda: written(of_size(1024))),
    key("unsupported", "e = 3", BAD, "its public exponent is 3", lambda: written(of_size(2048, 3))),
    key("unsupported", "elliptic curve", BAD, "it is not an RSA key", lambda: written(ec.generate_private_key(ec.SECP256R1()))),
    key("unsupported", "Ed25519", BAD, "it is not an RSA key", lambda: written(ed25519.Ed25519PrivateKey.generate())),
    Case("pair", "identical", "E-KEY-MISMATCH", "", "two keys", {ENCRYPTION: (PAIR / SIGNATURE).read_bytes}),
    Case("pair", "swapped", "E-KEY-MISMATCH", "", "public_signature.pem", {SIGNATURE: (PAIR / ENCRYPTION).read_bytes, ENCRYPTION: (PAIR / SIGNATURE).read_bytes}),
    key("form", "CRLF", "", "", lambda: PRIVATE.replace("\n", "\r\n").encode()),
    key("form", "byte order mark", "", "", lambda: b"\xef\xbb\xbf" + PRIVATE.encode()),
    key("form", "blanks", "", "", lambda: PRIVATE.replace("\n", "  \n").encode()),
    key("form", "escaped line ends", "", "", lambda: PRIVATE.replace("\n", "\\n").encode()),
    key("form", "text behind it", "", "", lambda: PRIVATE.encode() + b"my key of 2026\n"),
    key("form", "two keys", BAD, "it holds 2 keys", lambda: PRIVATE.encode() * 2),
    dh("generator 5", "IBKR wants 2", lambda: dh_with(5, 2048)),
    dh("1024 bits", "1024 bits", lambda: dh_with(2, 1024)),
    dh("composite", "not a prime", lambda: dh_with(2, 2048)),
    dh("with CRLF and blanks", "", lambda: PARAMS.replace("\n", " \r\n").encode()),
    dh("hex text", "not PEM", lambda: b"0x00ab\n"),
    setting("consumer key", "lower case", "consumer key's form", "E-CONFIG", IB_CONSUMER_KEY="simconsum"),
    setting("token secret", "not base64", SECRET, "E-SECRET-DECRYPT", IB_ACCESS_TOKEN_SECRET="!not-base64!"),
    setting("token secret", "too short", SECRET, "E-SECRET-DECRYPT", IB_ACCESS_TOKEN_SECRET="QUJD"),
    Case("token secret", "of another key", "E-SECRET-DECRYPT", "", SECRET, {ENCRYPTION: (PAIR / "private_oauth2.pem").read_bytes}),
    key("size", "0 bytes", BAD, "empty", lambda: b""),
    key("size", "65 KB", BAD, "", lambda: PRIVATE.encode() + b"x" * 66_000),
    key("size", "a zip file", BAD, "a zip file", lambda: b"PK\x03\x04rest"),
    key("size", "a script with a key in it", "", "", lambda: b"#!/bin/sh\nrm -rf /\n" + PRIVATE.encode()),
]  # fmt: skip


@pytest.mark.requirement("SET-04", "CFG-07", "AUTH-08")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_key_is_called_by_what_it_is(ibkit: Run, home: Path, keys_here: Path, case: Case) -> None:
    for name, make in case.files.items():
        (keys_here / name).write_bytes(make())
        (keys_here / name).chmod(0o644 if name == DH else 0o600)
        if name == SIGNATURE and case.code == "":
            shutil.copy(PAIR / "public_signature.pem", keys_here)
    _settings(home, **case.settings)
    ran = ibkit("verify", "--json")
    failed = _failed(ran)
    if not case.code:
        assert case.name not in failed, ran.out
        return
    assert ran.code == 3
    assert failed.get(case.name) == case.code, failed
    [told] = [check for check in ran.json["checks"] if check["name"] == case.name]
    assert case.said in f"{told}", told
    assert "-----BEGIN" not in ran.out
    for line in PRIVATE.splitlines()[1:-1]:
        assert line not in ran.out


def test_every_row_that_concerns_files_has_a_case() -> None:
    assert {case.row for case in CASES} == {
        "kind", "passphrase", "unsupported", "pair", "form", "dh file", "consumer key", "token secret", "size",
    }  # fmt: skip


@pytest.mark.requirement("SET-04")
@pytest.mark.parametrize("text", ["SIMCONSU", "SIM ONSUM", "SIMCONSUMX", "S\u0406MCONSUM"])
def test_a_consumer_key_of_a_form_that_nobody_knows_is_a_warning(
    ibkit: Run, home: Path, keys_here: Path, text: str
) -> None:
    """IBKR's sources name three forms (facts/auth-and-sessions.md §1.2): another one is doubted, not refused."""
    _settings(home, IB_CONSUMER_KEY=text)
    [told] = [check for check in ibkit("verify", "--json").json["checks"] if check["name"] == "consumer key's form"]
    assert told["mark"] == "WARN"
    assert "nine letters" in told["said"]


@pytest.mark.requirement("AUTH-06", "SEC-08")
def test_a_public_key_of_16384_bits_is_refused() -> None:
    """Making the private one takes minutes; the measure is the same."""
    from ibkit.errors import ConfigError

    number = (1 << 16_383) + 1155
    large = rsa.RSAPublicNumbers(65537, number).public_key()
    pem = large.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ConfigError, match="16384 bits"):
        keys_module.load_public_key(pem, what="KEY")
