"""Codes of the second step: the vectors of RFC 6238 and RFC 4226, clocks apart, a code used again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ibkit.errors import AuthError
from ibkit.model import Secret
from ibkit.users import Role, User
from ibkit.users.totp import STEP_S, code_at, with_code_used
from user_desks import START

pytestmark = pytest.mark.requirement("FUT-06")
SEED = b"12345678901234567890"
SEEDS = {"sha1": SEED, "sha256": (SEED * 2)[:32], "sha512": (SEED * 4)[:64]}
# RFC 6238, appendix B.
VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
STEP = int(START.timestamp()) // STEP_S
USER = User(user_id="u", name="anna", role=Role.TRADER, created_at=START, totp_secret="sealed", totp_since=START)


class Plain:
    """Opens everything to SEED."""

    def seal(self, user_id: str, secret: Secret[bytes]) -> str:
        raise AssertionError("nothing is sealed here")

    def open(self, user_id: str, sealed: str) -> Secret[bytes]:
        assert (user_id, sealed) == ("u", "sealed")
        return Secret(SEED)


@pytest.mark.parametrize(("second", "sha1", "sha256", "sha512"), VECTORS)
def test_the_codes_are_those_of_rfc_6238(second: int, sha1: str, sha256: str, sha512: str) -> None:
    for algorithm, code in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        found = code_at(Secret(SEEDS[algorithm]), second // STEP_S, digits=8, algorithm=algorithm)
        assert found == code, algorithm


def test_the_codes_are_those_of_rfc_4226() -> None:
    # RFC 4226, appendix D.
    expected = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [code_at(Secret(SEED), count) for count in range(10)] == expected


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_clocks_may_be_a_step_apart(steps: int, good: bool) -> None:
    code = code_at(Secret(SEED), STEP + steps)
    if good:
        assert with_code_used(USER, code, Plain(), START).totp_step == STEP + steps
    else:
        with pytest.raises(AuthError):
            with_code_used(USER, code, Plain(), START)


def test_neither_a_used_code_nor_one_before_it_is_taken() -> None:
    used = with_code_used(USER, code_at(Secret(SEED), STEP), Plain(), START)
    for step in (STEP, STEP - 1):
        with pytest.raises(AuthError):
            with_code_used(used, code_at(Secret(SEED), step), Plain(), START)
    later = START + timedelta(seconds=STEP_S)
    assert with_code_used(used, code_at(Secret(SEED), STEP + 1), Plain(), later).totp_step == STEP + 1


@pytest.mark.parametrize("code", ["", "0", "12345", "1234567", "abcdef", "１２３４５６", "\ud800", "-" * 5_000])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(AuthError):
        with_code_used(USER, code, Plain(), START)


def test_without_a_second_step_in_force_no_code_opens() -> None:
    code = code_at(Secret(SEED), STEP)
    for user in (replace(USER, totp_since=None), replace(USER, totp_secret="")):
        with pytest.raises(AuthError):
            with_code_used(user, code, Plain(), START)
