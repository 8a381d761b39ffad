"""The simulator's own certificate authority and its faces' certificates: made at first start, kept in its folder."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["CA_FILE", "ensure_certificates", "face_files", "make_face_certificate", "write_private"]

CA_FILE = "ca.pem"
_CA_KEY_FILE = "ca_key.pem"
_LIFE = timedelta(days=800)
"""Below the 825 days that some platforms allow a server's certificate."""
_NEVER_LONGER_THAN_LEFT = timedelta(days=7)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read at any moment, and put it in place at once."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    fresh.replace(path)


def face_files(folder: Path, face: str) -> tuple[Path, Path]:
    """Certificate and key of a face."""
    return folder / f"{face}.pem", folder / f"{face}_key.pem"


def ensure_certificates(folder: Path, host: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Make what is missing, runs out within a week, or does not name `host`."""
    from cryptography import x509

    fresh_ca = not _lasts(folder / CA_FILE, now()) or not (folder / _CA_KEY_FILE).is_file()
    if fresh_ca:
        _make_ca(folder, now())
    for face in ("gateway", "cloud"):
        certificate, key = face_files(folder, face)
        named = False
        if not fresh_ca and key.is_file() and _lasts(certificate, now()):
            loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
            names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            named = all(name in names for name in _names(host))
        if not named:
            make_face_certificate(folder, face, host, now())


def _lasts(path: Path, now: datetime) -> bool:
    from cryptography import x509

    if not path.is_file():
        return False
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc > now + _NEVER_LONGER_THAN_LEFT
    except ValueError:
        return False


def _names(host: str) -> list[x509.GeneralName]:
    from cryptography import x509

    texts = dict.fromkeys(("localhost", "127.0.0.1", "::1", host))
    names: list[x509.GeneralName] = []
    for text in texts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    return names


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey, now: datetime) -> x509.CertificateBuilder:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


_CA_NAME = "ibkit simulator CA"


def _key_usage(**used: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})


def _make_ca(folder: Path, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_CA_NAME, _CA_NAME, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(folder / _CA_KEY_FILE, _key_pem(key))
    (folder / CA_FILE).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def make_face_certificate(folder: Path, face: str, host: str, now: datetime) -> None:
    """A new key and certificate for one face, by the CA in `folder`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca_key = serialization.load_pem_private_key((folder / _CA_KEY_FILE).read_bytes(), password=None)
    ca = x509.load_pem_x509_certificate((folder / CA_FILE).read_bytes())
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    ca_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(f"ibkit simulator {face}", _CA_NAME, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    certificate_file, key_file = face_files(folder, face)
    write_private(key_file, _key_pem(key))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
