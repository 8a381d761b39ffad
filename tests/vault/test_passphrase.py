"""Sealing with a passphrase: opened with it alone, in its place alone."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ibkit.errors import ConfigError, StorageError
from ibkit.model import Secret
from ibkit.vault import open_with_passphrase, seal_with_passphrase

PASSPHRASE = Secret("correct horse battery staple")
TEXT = Secret(b"what nobody may read")
pytestmark = pytest.mark.requirement("OPS-03")


def sealed() -> bytes:
    return seal_with_passphrase(TEXT, PASSPHRASE, place="here", random=os.urandom)


def test_it_opens_with_its_passphrase_and_two_seals_differ() -> None:
    one, two = sealed(), sealed()
    assert one != two
    assert open_with_passphrase(one, PASSPHRASE, place="here") == TEXT
    assert TEXT.reveal() not in one


def test_another_program_opens_it_by_the_documented_format() -> None:
    whole = sealed()
    head, rest = whole[:36], whole[36:]
    assert head[:5] == b"IBKS1"
    log2_n, r, p = head[5:8]
    assert (log2_n, r, p) == (17, 8, 1), "OWASP ASVS 5.0, appendix C"
    key = hashlib.scrypt(PASSPHRASE.reveal().encode(), salt=head[8:24], n=2**log2_n, r=r, p=p, dklen=32, maxmem=2**29)
    assert AESGCM(key).decrypt(head[24:36], rest, head + b"here") == TEXT.reveal()


@pytest.mark.parametrize("at", [0, 6, 10, 30, 40, -1])
def test_every_changed_byte_is_noticed(at: int) -> None:
    changed = bytearray(sealed())
    changed[at] ^= 1
    with pytest.raises(StorageError) as failed:
        open_with_passphrase(bytes(changed), PASSPHRASE, place="here")
    assert failed.value.code == "E-ENC"


def test_a_wrong_passphrase_another_place_and_a_cut_file_do_not_open() -> None:
    for whole, passphrase, place in (
        (sealed(), Secret("correct horse battery stable"), "here"),
        (sealed(), PASSPHRASE, "there"),
        (sealed()[:30], PASSPHRASE, "here"),
        (b"", PASSPHRASE, "here"),
    ):
        with pytest.raises(StorageError, match="cannot be opened"):
            open_with_passphrase(whole, passphrase, place=place)


def test_costs_that_would_take_the_machines_memory_are_refused() -> None:
    greedy = bytearray(sealed())
    greedy[5] = 30
    with pytest.raises(StorageError, match="costs"):
        open_with_passphrase(bytes(greedy), PASSPHRASE, place="here")


def test_a_short_passphrase_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as failed:
        seal_with_passphrase(TEXT, Secret("elevenchars"), place="here", random=os.urandom)
    assert "12 characters" in failed.value.remedy
    assert "elevenchars" not in str(failed.value)
