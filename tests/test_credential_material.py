"""What people paste as keys and tokens: told apart, named, normalised, and never quoted."""

from __future__ import annotations

import base64
import subprocess
import time
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from canaries import laid_bare
from ibkit.bootstrap.credential_material import checked_draft
from ibkit.errors import IbkitError
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.vault import Draft
from ibkit.wire.dh import DhParams, write_params_pem
from simulators import KEYS, make_simulator

FOLDER = KEYS / "simpaper1"
SIGNATURE, ENCRYPTION, OAUTH2 = (
    (FOLDER / f"private_{name}.pem").read_text() for name in ("signature", "encryption", "oauth2")
)
DH = (KEYS / "dhparam.pem").read_text()
CLIENT = {"client_id": "CLIENT77", "client_key_id": "main", "credential": "trader", "allowed_ip": "203.0.113.7"}


@cache
def consumer() -> dict[str, str]:
    keys = make_simulator().users[0]
    return {
        "consumer_key": keys.consumer_key,
        "access_token": keys.access_token,
        "access_token_secret": keys.access_token_secret,
        "signature_key": SIGNATURE,
        "encryption_key": ENCRYPTION,
        "dh_params": DH,
    }


def checked(method: AuthMethod, fields: dict[str, Any], **more: Any) -> Draft:
    return checked_draft(
        method,
        {name: Secret(value) for name, value in fields.items() if value is not None},
        user_id="u1",
        connection_id="main",
        environment=Environment.PAPER,
        **more,
    )


def oauth2(private_key: str, **more: str) -> Draft:
    return checked(AuthMethod.OAUTH2, {**CLIENT, "private_key": private_key, **more})


def oauth1(**changed: Any) -> Draft:
    return checked(AuthMethod.OAUTH1A, {**consumer(), **changed})


def pem(key: Any, form: str = "PKCS8", passphrase: str = "") -> str:
    sealing = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), sealing).decode()


@cache
def rsa_key(bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=exponent, key_size=bits)


def public(key: Any) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


CRLF = OAUTH2.replace("\n", "\r\n")


@pytest.mark.requirement("VLT-07", "CFG-07")
@pytest.mark.parametrize(
    "text",
    [
        OAUTH2,
        "\ufeff" + CRLF,
        f'  "{OAUTH2.strip()}"  ',
        OAUTH2.replace("\n", "\\n"),
        OAUTH2.replace("\n", " "),
        "Bag Attributes\n    friendlyName: mine\n" + OAUTH2 + "\ntrailing text\n",
    ],
    ids=["as it is", "BOM and CRLF", "in quotes", "escaped line breaks", "blanks for line breaks", "text around it"],
)
def test_a_key_is_taken_however_it_was_pasted_and_kept_as_a_program_reads_it(text: str) -> None:
    found = oauth2(text)
    kept = found.fields["private_key"].reveal()
    assert "\r" not in kept
    assert "\ufeff" not in kept
    assert load_pem_private_key(kept[kept.index("-----BEGIN") :].encode(), None).private_numbers() == (
        load_pem_private_key(OAUTH2.encode(), None).private_numbers()
    )
    assert found.fingerprints == oauth2(OAUTH2).fingerprints


@pytest.mark.requirement("VLT-07")
def test_the_fingerprint_is_what_openssl_says_of_the_public_half() -> None:
    told = oauth2(OAUTH2).fingerprints["private_key"]
    command = ["openssl", "pkey", "-in", str(FOLDER / "private_oauth2.pem"), "-pubout", "-outform", "der"]
    der = subprocess.run(command, check=True, capture_output=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der, check=True, capture_output=True)
    assert told == "SHA256:" + base64.b64encode(digest.stdout).decode().rstrip("=")


RUBBISH = {
    "a public key": (public(rsa_key()), "a public key"),
    "a certificate": ("-----BEGIN CERTIFICATE-----\nMIIcanary\n-----END CERTIFICATE-----\n", "a certificate"),
    "a CSR": ("-----BEGIN CERTIFICATE REQUEST-----\nMIIcanary\n-----END CERTIFICATE REQUEST-----\n", "CSR"),
    "an OpenSSH key": (pem(ed25519.Ed25519PrivateKey.generate(), "OpenSSH"), "ssh-keygen -p -m PEM"),
    "DH parameters": (DH, "Diffie-Hellman parameters"),
    "a PuTTY key": ("PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\ncanary", "PuTTYgen"),
    "an elliptic curve key": (pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    "an Ed25519 key": (pem(ed25519.Ed25519PrivateKey.generate()), "not an RSA key"),
    "1024 bits": (pem(rsa_key(1024)), "1024 bits"),
    "exponent 3": (pem(rsa_key(2048, 3)), "exponent is 3"),
    "cut in the middle": (OAUTH2[:600], "cut"),
    "a letter changed": (OAUTH2.replace(OAUTH2.splitlines()[12][20:24], "AAAA"), "private_key"),
    "two keys": (OAUTH2 + SIGNATURE, "2 keys"),
    "words": ("this is my key canary", "no key at all"),
    "with a passphrase that is not given": (pem(rsa_key(), passphrase="open sesame"), "no passphrase is set"),
}


@pytest.mark.requirement("VLT-07", "CFG-07")
@pytest.mark.parametrize("name", RUBBISH)
def test_what_is_no_usable_private_key_is_named_and_not_quoted(name: str) -> None:
    text, told = RUBBISH[name]
    with pytest.raises(IbkitError) as caught:
        oauth2(text)
    assert caught.value.code == "E-KEY-FORMAT"
    assert told in f"{caught.value.message} {caught.value.remedy}"
    bare = laid_bare(caught.value)
    assert "canary" not in bare
    assert not any(line in bare for line in text.splitlines() if len(line) > 40 and "BEGIN" not in line)


@pytest.mark.requirement("VLT-07")
def test_a_passphrase_opens_the_key_and_a_wrong_one_is_named() -> None:
    text = pem(rsa_key(), passphrase=" open sesame ")
    found = oauth2(text, key_passphrase=" open sesame ")
    assert found.fields["key_passphrase"].reveal() == " open sesame "
    with pytest.raises(IbkitError, match="passphrase is wrong") as caught:
        oauth2(text, key_passphrase="another canary")
    assert caught.value.code == "E-KEY-FORMAT"
    assert "another canary" not in laid_bare(caught.value)


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize("bits", [8192, 16384])
def test_a_huge_number_is_judged_within_a_second(bits: int) -> None:
    """Anybody who may store credentials may send one, and the proof that it is a prime takes long."""
    huge = write_params_pem(DhParams((1 << (bits - 1)) + 9))
    consumer()
    began = time.process_time()
    with pytest.raises(IbkitError) as caught:
        oauth1(dh_params=huge)
    assert caught.value.code == "E-OA1-DH"
    assert time.process_time() - began < 1


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "small letters": ({"consumer_key": "testconsu"}, "E-VALIDATION", "small letters"),
    "blanks within": ({"consumer_key": "TEST CONSU"}, "E-VALIDATION", "blanks"),
    "no consumer key's form": ({"consumer_key": "x" * 40}, "E-VALIDATION", "nine letters"),
    "one key twice": ({"encryption_key": SIGNATURE}, "E-VALIDATION", "same key as signature_key"),
    "keys swapped": (
        {"signature_key": ENCRYPTION, "encryption_key": SIGNATURE},
        "E-SECRET-DECRYPT",
        "Exchange signature_key and encryption_key",
    ),
    "secret of another key": ({"encryption_key": OAUTH2}, "E-SECRET-DECRYPT", "another"),
    "secret that is no base64": ({"access_token_secret": "canary secret!"}, "E-SECRET-DECRYPT", "base64"),
    "secret cut": ({"access_token_secret": "c2VjcmV0"}, "E-SECRET-DECRYPT", "bytes"),
    "token without its secret": ({"access_token_secret": None}, "E-SECRET-MISSING", "access_token_secret"),
    "secret without its token": ({"access_token": None}, "E-VALIDATION", "access_token"),
    "a key for DH parameters": ({"dh_params": SIGNATURE}, "E-OA1-DH", "holds a private key"),
    "DH generator 5": ({"dh_params": write_params_pem(DhParams((1 << 2047) + 9, 5))}, "E-OA1-DH", "generator is 5"),
    "DH of 1024 bits": ({"dh_params": write_params_pem(DhParams((1 << 1023) + 9))}, "E-OA1-DH", "1024 bits"),
    "DH composite": ({"dh_params": write_params_pem(DhParams((1 << 2047) + 1))}, "E-OA1-DH", "not a prime"),
    "blank": ({"realm": "   "}, "E-VALIDATION", "realm: it is blank"),
}


@pytest.mark.requirement("VLT-07", "AUTH-08")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_oauth1_credentials_is_named_before_they_are_stored(name: str) -> None:
    changed, code, told = WRONG[name]
    with pytest.raises(IbkitError) as caught:
        oauth1(**changed)
    assert caught.value.code == code
    assert told in f"{caught.value.message} {caught.value.remedy}"
    assert "canary" not in laid_bare(caught.value)


@pytest.mark.requirement("VLT-07")
def test_good_credentials_pass_and_blanks_around_them_are_gone() -> None:
    found = oauth1(consumer_key=f" {consumer()['consumer_key']}\n", dh_params="\ufeff" + DH.replace("\n", "\r\n"))
    assert found.fields["consumer_key"].reveal() == consumer()["consumer_key"]
    assert set(found.fingerprints) == {"signature_key", "encryption_key"}
    assert len(set(found.fingerprints.values())) == 2
    third_party = oauth1(access_token=None, access_token_secret=None)
    assert "access_token" not in third_party.fields


@pytest.mark.requirement("VLT-07")
@pytest.mark.parametrize("address", ["2001:db8::1", "203.0.113", "203.0.113.7/32", "example.org"])
def test_only_an_ipv4_address_is_taken_as_the_registered_one(address: str) -> None:
    with pytest.raises(IbkitError, match="allowed_ip"):
        oauth2(OAUTH2, allowed_ip=address)


def test_a_field_is_called_as_the_asker_calls_it() -> None:
    def named(name: str) -> str:
        return "privateKey" if name == "private_key" else name

    with pytest.raises(IbkitError, match="privateKey"):
        checked(AuthMethod.OAUTH2, {**CLIENT, "private_key": SIGNATURE[:500]}, named=named)
