"""RSA keys as people hand them over."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.wire import keys

KEYS = Path(__file__).parent.parent / "keys"
PKCS1 = (KEYS / "simpaper1/private_signature.pem").read_text()
PUBLIC = (KEYS / "simpaper1/public_signature.pem").read_text()
KEY = serialization.load_pem_private_key(PKCS1.encode(), None)
assert isinstance(KEY, rsa.RSAPrivateKey)


def _private(key, form=serialization.PrivateFormat.PKCS8, passphrase: bytes | None = None) -> str:
    sealing = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, sealing).decode()


PKCS8 = _private(KEY)
TRADITIONAL = _private(KEY, serialization.PrivateFormat.TraditionalOpenSSL)
SSH = _private(KEY, serialization.PrivateFormat.OpenSSH)


def _refusal(text: str | bytes, **more) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        keys.load_private_key(Secret(text), what="IB_SIGNATURE_KEY_PATH", **more)
    error = caught.value
    assert error.code == "E-KEY-FORMAT"
    assert "IB_SIGNATURE_KEY_PATH" in error.message
    shown = f"{error.message} {error.remedy} {error.details} {error.__cause__!r}"
    body = text if isinstance(text, str) else text.decode("latin-1")
    for line in body.splitlines():
        if len(line) >= 20 and "-----" not in line:
            assert line not in shown
    return error


@pytest.mark.requirement("CFG-07")
@pytest.mark.parametrize(
    "text",
    [
        TRADITIONAL,
        PKCS8,
        PKCS8.replace("\n", "\\n"),
        f'"{TRADITIONAL.strip()}"',
        f"'{PKCS8.strip()}'".replace("\n", "\\n"),
        "\ufeff" + PKCS8.replace("\n", "\r\n"),
        PKCS8.replace("\n", "\\r\\n"),
        PKCS8.replace("\n", " "),
        "Bag Attributes\n    friendlyName: x\n" + PKCS8 + "\nthe end\n",
        PUBLIC + PKCS8,
    ],
    ids=[
        "pkcs1",
        "pkcs8",
        "escaped",
        "quoted",
        "quoted-escaped",
        "bom-crlf",
        "escaped-crlf",
        "one-line",
        "text-around",
        "with-public",
    ],
)
def test_every_form_gives_the_same_key(text: str) -> None:
    key = keys.load_private_key(Secret(text), what="key")
    assert key.public_key().public_numbers() == KEY.public_key().public_numbers()


def test_bytes_and_text_are_one() -> None:
    assert keys.load_private_key(Secret(PKCS8.encode()), what="key", thorough=True).key_size == 2048


def test_an_encrypted_key_opens_with_its_passphrase_only() -> None:
    for text in (_private(KEY, passphrase=b"right"), _traditional_encrypted()):
        key = keys.load_private_key(Secret(text), what="key", passphrase=Secret("right"))
        assert key.key_size == 2048
        assert "no passphrase is set" in _refusal(text).message
        assert "passphrase is wrong" in _refusal(text, passphrase=Secret("wrong")).message


def _traditional_encrypted() -> str:
    return _private(KEY, serialization.PrivateFormat.TraditionalOpenSSL, b"right")


@pytest.mark.requirement("CFG-07")
@pytest.mark.parametrize("length", [40, 100, 800, len(PKCS8) - 40, len(PKCS8) - 5])
def test_a_cut_pem_is_refused(length: int) -> None:
    assert "cut" in _refusal(PKCS8[:length]).message


@pytest.mark.requirement("CFG-07")
def test_a_pem_with_lines_missing_in_the_middle_is_refused() -> None:
    lines = PKCS8.splitlines(keepends=True)
    assert "damaged or cut" in _refusal("".join(lines[:5] + lines[8:])).message


def test_a_flipped_character_is_noticed() -> None:
    """The parts of an RSA key check one another, so damage does not survive as a key that signs nonsense."""
    body = TRADITIONAL.splitlines()
    for row in (3, 8, 12, 16, 20, 23):
        changed = body.copy()
        changed[row] = ("A" if changed[row][10] != "A" else "B").join((changed[row][:10], changed[row][11:]))
        _refusal("\n".join(changed) + "\n")


def _certificate_request() -> str:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(KEY, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _bundle() -> bytes:
    from cryptography.hazmat.primitives.serialization import pkcs12

    return pkcs12.serialize_key_and_certificates(b"x", KEY, None, None, serialization.NoEncryption())


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PUBLIC, "a public key"),
        (SSH, "an OpenSSH private key"),
        (_certificate_request(), "a certificate request"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "a certificate"),
        ((KEYS / "dhparam.pem").read_text(), "Diffie-Hellman parameters"),
        (
            KEY.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "binary form",
        ),
        (_bundle(), "PKCS#12"),
        ("PuTTY-User-Key-File-3: ssh-rsa\n", "a PuTTY key"),
        ("ssh-rsa AAAAB3NzaC1yc2E= me@here", "an SSH public key"),
        (b"PK\x03\x04rest", "a zip file"),
        ("", "empty"),
        ("   \n", "empty"),
        ("../../x", "no key at all"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) and "BEGIN" not in value else None,
)
def test_something_else_is_called_by_its_name(data: str | bytes, kind: str) -> None:
    assert kind in _refusal(data).message


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "not an RSA key"),
        (ed25519.Ed25519PrivateKey.generate(), "not an RSA key"),
        (rsa.generate_private_key(65537, 1024), "1024 bits"),
        (rsa.generate_private_key(3, 2048), "public exponent is 3"),
    ],
    ids=["ec", "ed25519", "rsa1024", "e3"],
)
def test_a_key_that_ibkr_does_not_take_is_refused(key, reason: str) -> None:
    assert reason in _refusal(_private(key)).message


def test_two_keys_in_one_file_are_refused() -> None:
    assert "holds 2 keys" in _refusal(PKCS8 + TRADITIONAL).message


@pytest.mark.requirement("SET-04")
def test_public_keys_are_read_and_compared() -> None:
    private = keys.load_private_key(Secret(PKCS1), what="key")
    keys.check_pair(private, keys.load_public_key(PUBLIC, what="public"), what="public_signature.pem")
    other = keys.load_public_key((KEYS / "simpaper1/public_encryption.pem").read_text(), what="public")
    with pytest.raises(ConfigError, match=r"public_encryption\.pem") as caught:
        keys.check_pair(private, other, what="public_encryption.pem")
    assert caught.value.code == "E-KEY-MISMATCH"
    with pytest.raises(ConfigError, match="this is a private key, an RSA public key is needed"):
        keys.load_public_key(PKCS8, what="public")
    with pytest.raises(ConfigError, match="damaged or cut"):
        keys.load_public_key(PUBLIC.replace("MII", "MIA"), what="public")


@pytest.mark.requirement("AUTH-08")
def test_a_sealed_text_opens_with_its_key_and_with_no_other() -> None:
    for length in (0, 1, 32, 245):
        plain = bytes(range(length % 256))[:length]
        sealed = KEY.public_key().encrypt(plain, padding.PKCS1v15())
        assert keys.rsa_plain(KEY, sealed) == plain
    other = keys.load_private_key(keys.make_key_pair()[0], what="other")
    for _ in range(5):
        assert keys.rsa_plain(other, KEY.public_key().encrypt(b"x" * 32, padding.PKCS1v15())) is None
    with_oaep = KEY.public_key().encrypt(b"x" * 32, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    assert keys.rsa_plain(KEY, with_oaep) is None


@pytest.mark.requirement("SET-01")
def test_a_made_pair_belongs_together_and_openssl_agrees(tmp_path: Path) -> None:
    private, public = keys.make_key_pair()
    loaded = keys.load_private_key(private, what="made", thorough=True)
    keys.check_pair(loaded, keys.load_public_key(public, what="public"), what="public")
    assert private.reveal().startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert public.startswith("-----BEGIN PUBLIC KEY-----\n")
    file = tmp_path / "key.pem"
    file.write_text(private.reveal())
    try:
        said = subprocess.run(["openssl", "rsa", "-check", "-noout", "-in", file], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert "RSA key ok" in said.stdout + said.stderr


@pytest.mark.requirement("SET-01")
def test_a_pair_made_with_a_passphrase_needs_it() -> None:
    private, _ = keys.make_key_pair(passphrase=Secret("sesame"))
    assert "ENCRYPTED" in private.reveal()
    assert keys.load_private_key(private, what="made", passphrase=Secret("sesame")).key_size == 2048
    assert "no passphrase" in _refusal(private.reveal()).message


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(data: bytes) -> None:
    for raw in (data, b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(data) + b"\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ConfigError) as private:
            keys.load_private_key(Secret(raw), what="key")
        with pytest.raises(ConfigError) as public:
            keys.load_public_key(raw.replace(b"PRIVATE", b"PUBLIC"), what="key")
        assert private.value.code == public.value.code == "E-KEY-FORMAT"


@given(st.integers(0, len(TRADITIONAL) - 1), st.characters(codec="ascii"))
@settings(max_examples=60, deadline=None)
def test_a_changed_character_gives_the_same_key_or_none(at: int, letter: str) -> None:
    changed = TRADITIONAL[:at] + letter + TRADITIONAL[at + 1 :]
    with contextlib.suppress(ConfigError):
        read = keys.load_private_key(Secret(changed), what="key")
        assert read.private_numbers() == KEY.private_numbers()
