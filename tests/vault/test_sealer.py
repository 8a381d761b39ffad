"""A process that outlives a change of the vault's key: what it seals and opens outside of the vault's own table."""

from __future__ import annotations

import secrets

import pytest

from fakes import START
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, StorageError
from ibkit.model import Secret
from ibkit.vault import KeyRing, Place, Sealer, key_id_of
from vaults import NEW, OLD, OTHER, ring_of, sealer

PLACE, TEXT = Place("u1", "users", "totp_secret"), Secret(b"twenty bytes of TOTP")


class Keys:
    """What the settings say by now, and how often they were asked."""

    def __init__(self, ring: KeyRing | None) -> None:
        self.ring = ring
        self.asked = 0

    def __call__(self) -> KeyRing | None:
        self.asked += 1
        return self.ring


def over(keys: Keys) -> tuple[Sealer, ManualClock]:
    clock = ManualClock(START)
    return Sealer(keys, random=secrets.token_bytes, clock=clock, what="the secret"), clock


@pytest.mark.requirement("VLT-05")
def test_what_another_process_sealed_with_a_new_key_opens_without_a_restart() -> None:
    keys = Keys(ring_of(OLD))
    mine, clock = over(keys)
    before = mine.seal(TEXT, PLACE)
    keys.ring = ring_of(NEW, OLD)
    after = sealer(ring_of(NEW)).seal(TEXT, PLACE)
    clock.advance(3)
    assert mine.open(after, PLACE) == TEXT
    assert mine.open(before, PLACE) == TEXT


@pytest.mark.requirement("VLT-05")
def test_nothing_is_sealed_with_a_key_that_was_replaced() -> None:
    keys = Keys(ring_of(OLD))
    mine, clock = over(keys)
    keys.ring = ring_of(NEW, OLD)
    clock.advance(3)
    sealed = mine.seal(TEXT, PLACE)
    assert key_id_of(sealed) == ring_of(NEW).current_id
    assert mine.is_current(sealed)


@pytest.mark.requirement("VLT-06")
def test_text_of_an_unknown_key_asks_for_the_keys_no_more_than_once_in_two_seconds() -> None:
    keys = Keys(ring_of(OLD))
    mine, clock = over(keys)
    foreign = sealer(ring_of(OTHER)).seal(TEXT, PLACE)
    for _ in range(5):
        clock.advance(0.5)
        with pytest.raises(StorageError) as error:
            mine.open(foreign, PLACE)
        assert error.value.code == "E-ENC"
    assert keys.asked == 2
    with pytest.raises(StorageError):  # damaged: no key is missing, so nobody is asked for one
        mine.open(mine.seal(TEXT, PLACE)[:-4] + "AAAA", PLACE)
    assert keys.asked == 2


def test_a_key_that_is_set_later_is_found_and_until_then_it_is_said_what_needs_it() -> None:
    keys = Keys(None)
    mine, clock = over(keys)
    with pytest.raises(ConfigError, match="Encryption key missing: the secret is kept sealed") as error:
        mine.seal(TEXT, PLACE)
    assert error.value.code == "E-ENC-KEY"
    keys.ring = ring_of(NEW)
    clock.advance(3)
    assert mine.open(mine.seal(TEXT, PLACE), PLACE) == TEXT
