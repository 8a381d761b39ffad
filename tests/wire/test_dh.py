"""Diffie-Hellman: Java's bytes, exchanges, parameter files, safe primes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import random
import secrets
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.errors import ConfigError
from ibkit.wire import dh, oauth1
from ibkit.wire.dh import DhParams

KEYS = Path(__file__).parent.parent / "keys"
GROUP = dh.parse_params_pem((KEYS / "dhparam.pem").read_text())


@pytest.mark.requirement("AUTH-07")
@given(st.integers(0, 2**80))
def test_java_bytes_are_the_shortest_that_read_back_as_positive(number: int) -> None:
    raw = dh.java_bytes(number)
    assert int.from_bytes(raw, "big", signed=True) == number
    assert len(raw) == 1 or int.from_bytes(raw[1:], "big", signed=True) != number


@pytest.mark.requirement("AUTH-07")
@pytest.mark.parametrize(("number", "raw"), [(0, "00"), (0x7F, "7f"), (0x80, "0080"), (0xFF, "00ff"), (0x100, "0100")])
def test_ibkr_s_own_small_examples(number: int, raw: str) -> None:
    assert dh.java_bytes(number).hex() == raw


def test_negative_numbers_have_no_java_bytes() -> None:
    with pytest.raises(ValueError):
        dh.java_bytes(-1)


@pytest.mark.requirement("AUTH-07")
def test_five_hundred_exchanges_agree_with_a_server_written_apart() -> None:
    """The server here is the published rule in plain words: hex of K in whole bytes, 00 in front of a set top bit."""
    chance = random.Random(7)
    secret = chance.randbytes(32)
    shapes = set()
    for _ in range(500):
        client = dh.private_exponent(chance.randbytes)
        assert client.bit_length() == 256
        server = chance.getrandbits(256)
        response = pow(2, server, GROUP.prime)
        token = oauth1.live_session_token(dh.shared_secret(GROUP, client, response), secret)

        digits = f"{pow(dh.challenge(GROUP, client), server, GROUP.prime):x}"
        digits = digits if len(digits) % 2 == 0 else "0" + digits
        raw = bytes.fromhex(digits)
        raw = b"\0" + raw if raw[0] & 0x80 else raw
        shapes.add(len(raw))
        assert token == hmac.new(raw, secret, hashlib.sha1).digest()
    assert {256, 257} <= shapes


@pytest.mark.parametrize("offered", [0, 1, GROUP.prime - 1, GROUP.prime, GROUP.prime + 5, -3])
def test_a_public_value_that_gives_the_secret_away_is_refused(offered: int) -> None:
    with pytest.raises(ValueError):
        dh.shared_secret(GROUP, 12345, offered)


@pytest.mark.requirement("AUTH-07")
def test_the_parameter_file_round_trips() -> None:
    text = (KEYS / "dhparam.pem").read_text()
    assert dh.write_params_pem(GROUP) == text
    dh.check_params(GROUP)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\\n"),
        lambda text: "    DH Parameters: (2048 bit)\n" + text + "\ntrailing words\n",
    ],
    ids=["bom-crlf", "escaped", "text-around"],
)
def test_harmless_damage_to_the_file_is_tolerated(spoil) -> None:
    assert dh.parse_params_pem(spoil((KEYS / "dhparam.pem").read_text())) == GROUP


def _pem(der: bytes) -> str:
    return f"-----BEGIN DH PARAMETERS-----\n{base64.b64encode(der).decode()}\n-----END DH PARAMETERS-----\n"


@pytest.mark.requirement("AUTH-07")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("hello", "not PEM"),
        ((KEYS / "dhparam.pem").read_text()[:200], "cut"),
        ((KEYS / "simpaper1/public_signature.pem").read_text(), "public key"),
        (_pem(b"\x30\x06\x02\x01\xfb\x02\x01\x02"), "negative number: the 00 byte"),
        (_pem(b"\x30\x82\x01\x08\x02\x01"), "cut"),
        (_pem(b"\x04\x02\x01\x02"), "SEQUENCE"),
        (_pem(b"\x30\x03\x04\x01\x02"), "whole numbers"),
        (_pem(b"\x30\x03\x02\x01\x05"), "1 numbers"),
        (_pem(b"\x30\x84\xff\xff\xff\xff"), "cut"),
        (_pem(b"\x30\x85"), "damaged"),
        ("-----BEGIN DH PARAMETERS-----\n????\n-----END DH PARAMETERS-----", "base64"),
        ((KEYS / "dhparam.pem").read_text() * 2, "more than one"),
    ],
)
def test_a_bad_parameter_file_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        dh.parse_params_pem(text)
    assert caught.value.code == "E-OA1-DH"


@pytest.mark.requirement("AUTH-07")
@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (DhParams(GROUP.prime, 5), "generator is 5"),
        (DhParams((1 << 1023) + 1155, 2), "1024 bits"),
        (DhParams(GROUP.prime + 2, 2), "not a prime"),
        (DhParams(2**2203 - 1, 2), "not a safe prime"),
    ],
    ids=["generator", "size", "composite", "half-composite"],
)
def test_a_group_that_ibkr_cannot_use_is_refused_with_its_reason(params: DhParams, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        dh.check_params(params)
    assert caught.value.code == "E-OA1-DH"


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_no_bytes_make_the_reader_fail_otherwise(der: bytes) -> None:
    with contextlib.suppress(ConfigError):
        dh.parse_params_pem(_pem(der))


@pytest.mark.requirement("SET-01")
@pytest.mark.parametrize("bits", [16, 17, 24, 32, 64, 128, 256])
def test_a_found_prime_is_safe_and_2_generates_its_large_subgroup(bits: int) -> None:
    chance = random.Random(bits)
    prime = dh.find_safe_prime(bits, chance.randbytes)
    assert prime.bit_length() == bits
    assert prime % 24 == 23
    assert _is_prime(prime)
    assert _is_prime(prime >> 1)
    assert pow(2, prime >> 1, prime) == 1


def _is_prime(number: int) -> bool:
    """Not the code under test: Fermat to thirty random bases, trial division below 2^20."""
    if number < 1 << 20:
        return _is_prime_by_division(number)
    return all(pow(secrets.randbelow(number - 3) + 2, number - 1, number) == 1 for _ in range(30))


def _is_prime_by_division(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def test_the_search_tells_its_progress_and_repeats_with_the_same_chance() -> None:
    counts: list[int] = []
    first = dh.find_safe_prime(128, random.Random(3).randbytes, counts.append)
    assert counts == list(range(1, len(counts) + 1))
    assert first == dh.find_safe_prime(128, random.Random(3).randbytes)


@pytest.mark.parametrize("number", [*range(200), 561, 1105, 6601, 2**61 - 1, 2**67 - 1, 3215031751])
def test_primality_agrees_with_trial_division(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {2**61 - 1: True, 2**67 - 1: False}
    truth = known[number] if number in known else _is_prime_by_division(number)
    assert dh.is_probable_prime(number) is truth
    monkeypatch.setattr(dh, "gmpy2", None)
    assert dh.is_probable_prime(number) is truth


def test_powers_are_the_same_without_gmpy2(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dh.challenge(GROUP, 2**255 + 12345)
    monkeypatch.setattr(dh, "gmpy2", None)
    assert dh.challenge(GROUP, 2**255 + 12345) == before
