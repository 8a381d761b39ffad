"""RSA keys as people hand them over: PEM from files, settings and clipboards, told apart and checked.

Every refusal is a ConfigError that names the key and what is wrong with it, and never quotes its text. Key objects
come from `cryptography`, which is imported on first use only.
Source: docs/facts/auth-and-sessions.md §1.1 (forms), §2.1; requirement CFG-07.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

__all__ = [
    "check_pair",
    "clean_pem",
    "describe",
    "how_to_convert",
    "load_private_key",
    "load_public_key",
    "make_key_pair",
    "rsa_plain",
]

MIN_BITS, MAX_BITS = 2048, 8192
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 .]+)-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 .]+)-----")
_PRIVATE = ("RSA PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_PUBLIC = ("PUBLIC KEY", "RSA PUBLIC KEY")
_KINDS = {
    "RSA PRIVATE KEY": "a private key",
    "PRIVATE KEY": "a private key",
    "ENCRYPTED PRIVATE KEY": "a private key with a passphrase",
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key",
    "CERTIFICATE": "a certificate",
    "TRUSTED CERTIFICATE": "a certificate",
    "X509 CRL": "a revocation list",
    "CERTIFICATE REQUEST": "a certificate request (CSR)",
    "NEW CERTIFICATE REQUEST": "a certificate request (CSR)",
    "OPENSSH PRIVATE KEY": "an OpenSSH private key",
    "SSH2 PUBLIC KEY": "an SSH public key",
    "EC PRIVATE KEY": "an elliptic-curve private key",
    "EC PARAMETERS": "elliptic-curve parameters",
    "DSA PRIVATE KEY": "a DSA private key",
    "DH PARAMETERS": "Diffie-Hellman parameters",
    "PGP PRIVATE KEY BLOCK": "a PGP key",
    "PGP PUBLIC KEY BLOCK": "a PGP key",
}
_REMEDIES = {
    "an OpenSSH private key": "Convert a copy of it: ssh-keygen -p -m PEM -f <copy>.",
    "a certificate": "Use the private key that was made together with it.",
    "a certificate request (CSR)": "Use the private key that was made together with it.",
    "a private key in binary form (DER)": "Convert it: openssl rsa -inform DER -in <file> -out <file>.pem.",
    "a PKCS#12 bundle": "Take the key out: openssl pkcs12 -in <file> -nocerts -nodes -out <file>.pem.",
    "a PuTTY key": "Export it from PuTTYgen: Conversions, Export OpenSSH key, then ssh-keygen -p -m PEM.",
    "a public key": "Point the setting at the private_….pem file beside it; the public one is for IBKR's portal.",
}


def clean_pem(text: str) -> str:
    """PEM as a program can read it: no BOM, no quotes around it, real line breaks, LF only."""
    clean = text.strip().strip("\ufeff").strip()
    if len(clean) >= 2 and clean[0] == clean[-1] and clean[0] in "\"'":
        clean = clean[1:-1].strip()
    clean = clean.replace("\\r\\n", "\n").replace("\\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return _BLOCK.sub(lambda block: _rewrapped(block[1], block[2]), clean)


def _rewrapped(label: str, body: str) -> str:
    if ":" in body:
        # Proc-Type and DEK-Info headers of an old encrypted key: their line structure matters.
        lines = "\n".join(line.strip() for line in body.strip().split("\n"))
    else:
        packed = "".join(body.split())
        lines = "\n".join(packed[at : at + 64] for at in range(0, len(packed), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def describe(data: bytes) -> str:
    """What this is, in words: "a private key", "a certificate", "a PuTTY key", "empty", "no key at all"."""
    if not data.strip():
        return "empty"
    text = clean_pem(data.decode("utf-8", "replace"))
    begin = _BEGIN.search(text)
    if begin is not None:
        return _KINDS.get(begin[1], f"PEM of the kind {begin[1].title()}")
    if text.startswith("PuTTY-User-Key-File"):
        return "a PuTTY key"
    if text.startswith(("ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-")):
        return "an SSH public key"
    if data.startswith(b"PK\x03\x04"):
        return "a zip file"
    return _describe_der(data) if data[:1] == b"\x30" else "no key at all"


def how_to_convert(kind: str) -> str | None:
    """What makes a usable key of `describe`'s kind, None where nothing does."""
    return _REMEDIES.get(kind)


def _describe_der(data: bytes) -> str:
    # PKCS#12 starts with INTEGER 3 inside its SEQUENCE, private keys with INTEGER 0, the rest with a SEQUENCE.
    at = 2 + (data[1] & 0x7F if len(data) > 1 and data[1] & 0x80 else 0)
    if data[at : at + 3] == b"\x02\x01\x03":
        return "a PKCS#12 bundle"
    if data[at : at + 3] == b"\x02\x01\x00":
        return "a private key in binary form (DER)"
    return "a public key or certificate in binary form (DER)"


@discreet
def load_private_key(
    pem: Secret[str] | Secret[bytes], *, what: str, passphrase: Secret[str] | None = None, thorough: bool = False
) -> RSAPrivateKey:
    """The RSA private key in `pem`; `what` names it in errors ("IB_SIGNATURE_KEY_PATH").

    Takes PKCS#1 and PKCS#8, with real or escaped line breaks, quotes, CRLF and BOM, text around it. The parts are
    always checked against one another; thorough also proves the primes (40 ms instead of 0.1).
    Raises ConfigError (E-KEY-FORMAT).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    block = _one_block(pem.reveal(), _PRIVATE, what=what, need="an RSA private key")
    encrypted = "ENCRYPTED" in block
    if encrypted and not passphrase:
        raise _bad(what, "it is encrypted and no passphrase is set", "Set the passphrase, or use a key without one.")
    secret = passphrase.reveal().encode() if encrypted and passphrase else None
    try:
        key = load_pem_private_key(block.encode(), secret, unsafe_skip_rsa_key_validation=not thorough)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: a parser's text has no business near a key. Wrong passphrase and damage look the same here.
        if encrypted:
            raise _bad(what, "the passphrase is wrong, or it is damaged", "Check the passphrase.") from None
        raise _bad(what, "it is damaged or cut", "Copy the whole file again, from BEGIN to END.") from None
    if not isinstance(key, RSAPrivateKey):
        raise _bad(what, "it is not an RSA key", "IBKR takes RSA keys only: `ibkit keys generate` makes them.")
    _check_size(key.key_size, key.public_key().public_numbers().e, what)
    _check_parts(key, what)
    return key


def load_public_key(pem: str | bytes, *, what: str) -> RSAPublicKey:
    """The RSA public key in `pem`. Raises ConfigError (E-KEY-FORMAT)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    block = _one_block(pem, _PUBLIC, what=what, need="an RSA public key", public=True)
    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad(what, "it is damaged or cut", "Write it anew from the private key.", public=True) from None
    if not isinstance(key, RSAPublicKey):
        raise _bad(what, "it is not an RSA key", "IBKR takes RSA keys only.", public=True)
    _check_size(key.key_size, key.public_numbers().e, what)
    return key


def _one_block(data: str | bytes, labels: tuple[str, ...], *, what: str, need: str, public: bool = False) -> str:
    raw = data if isinstance(data, bytes) else data.encode()
    text = clean_pem(raw.decode("utf-8", "replace"))
    blocks = [match for match in _BLOCK.finditer(text) if match[1] in labels]
    if len(blocks) > 1:
        raise _bad(
            what, f"it holds {len(blocks)} keys where one is expected", "Keep one key in the file.", public=public
        )
    if blocks:
        return blocks[0][0] + "\n"
    kind = describe(raw)
    if kind == "empty":
        raise _bad(what, "it is empty", public=public)
    begin = _BEGIN.search(text)
    if begin is not None and begin[1] in labels:
        raise _bad(what, "it is cut: the END line is missing", "Copy the whole text, from BEGIN to END.", public=public)
    raise _bad(what, f"this is {kind}, {need} is needed", how_to_convert(kind), public=public)


def _check_size(bits: int, exponent: int, what: str) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise _bad(what, f"it has {bits} bits; IBKR wants RSA {MIN_BITS}", "`ibkit keys generate` makes new keys.")
    if exponent < 65537:
        raise _bad(what, f"its public exponent is {exponent}; 65537 is usual", "`ibkit keys generate` makes new keys.")


def _check_parts(key: RSAPrivateKey, what: str) -> None:
    parts = key.private_numbers()
    p, q, e = parts.p, parts.q, parts.public_numbers.e
    fits = (
        min(p, q) > 2
        and p * q == parts.public_numbers.n
        and parts.d * e % (p - 1) == parts.d * e % (q - 1) == 1
        and parts.dmp1 == parts.d % (p - 1)
        and parts.dmq1 == parts.d % (q - 1)
        and parts.iqmp * q % p == 1
    )
    if not fits:
        raise _bad(what, "its parts do not belong together", "Copy the whole file again.")


def check_pair(private: RSAPrivateKey, public: RSAPublicKey, *, what: str) -> None:
    """what: the public file. Raises ConfigError (E-KEY-MISMATCH)."""
    if private.public_key().public_numbers() != public.public_numbers():
        raise ConfigError(
            f"Public key does not match private key: {what}", code="E-KEY-MISMATCH", details={"path": what}
        )


def rsa_plain(key: RSAPrivateKey, sealed: bytes) -> bytes | None:
    """RSA PKCS#1 v1.5 decryption; None if the padding does not fit, that is, if it was sealed to another key.

    OpenSSL 3.2 and later answer a wrong key with made-up bytes instead of an error ("implicit rejection", against
    padding oracles). Nobody asks us questions: the one text opened is our own, so the padding is looked at here.
    """
    from ibkit.wire.dh import power

    parts = key.private_numbers()
    number = int.from_bytes(sealed, "big")
    if number >= parts.public_numbers.n:
        return None
    from_p = power(number % parts.p, parts.dmp1, parts.p)
    from_q = power(number % parts.q, parts.dmq1, parts.q)
    opened = from_q + (from_p - from_q) * parts.iqmp % parts.p * parts.q
    # A fault in one half would give a wrong number that tells the factors: never let it out.
    if power(opened, parts.public_numbers.e, parts.public_numbers.n) != number:
        return None
    padded = opened.to_bytes((key.key_size + 7) // 8, "big")
    end = padded.find(0, 2)
    if padded[:2] != b"\x00\x02" or end < 10:
        return None
    return padded[end + 1 :]


def make_key_pair(*, bits: int = 2048, passphrase: Secret[str] | None = None) -> tuple[Secret[str], str]:
    """A fresh RSA pair as PEM: private (PKCS#1, or encrypted PKCS#8 with a passphrase), public.

    PKCS#1 without a passphrase because IBKR's own commands make it and every client reads it.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    if passphrase:
        form = serialization.PrivateFormat.PKCS8
        sealing: serialization.KeySerializationEncryption = serialization.BestAvailableEncryption(
            passphrase.reveal().encode()
        )
    else:
        form, sealing = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, form, sealing).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Secret(private), public.decode()


def _bad(what: str, reason: str, remedy: str | None = None, *, public: bool = False) -> ConfigError:
    kind = "Public key" if public else "Private key"
    return ConfigError(
        f"{kind} {what} cannot be used: {reason}",
        code="E-KEY-FORMAT",
        remedy=remedy,
        details={"setting": what, "reason": reason},
    )
