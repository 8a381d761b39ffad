"""Sealed text: what opens it and what must not."""

from __future__ import annotations

import base64
import itertools
import secrets
import struct
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import ConfigError, StorageError
from ibkit.model import Secret
from ibkit.vault import KeyRing, Place, generate_encryption_keys, open_sealed, seal
from ibkit.vault.seal import check_value, key_id_of, open_check, rewrap

OLD, NEW, OTHER = (Secret(letter * 2 + "0123456789abcdef" * 3 + "00112233445566") for letter in "abc")
PLACE = Place(user="owner", record="tokens/1", field="grant")
RING = KeyRing.from_hex(NEW)


def _sealed(text: bytes = b"a live session token", place: Place = PLACE, ring: KeyRing = RING) -> str:
    return seal(Secret(text), place, ring, secrets.token_bytes)


@pytest.mark.requirement("VLT-02")
@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_what_was_sealed_opens_at_its_place(text: bytes, user: str, record: str, field: str) -> None:
    place = Place(user, record, field)
    assert open_sealed(_sealed(text, place), place, RING).reveal() == text


@pytest.mark.requirement("VLT-02")
def test_a_thousand_sealings_share_no_nonce_and_no_data_key() -> None:
    parts = [_sealed().split(".") for _ in range(1000)]
    assert len({part[3] for part in parts}) == 1000
    assert len({part[2][:16] for part in parts}) == 1000


@pytest.mark.requirement("VLT-02")
@pytest.mark.parametrize(
    "place",
    [
        Place("other", "tokens/1", "grant"),
        Place("owner", "tokens/2", "grant"),
        Place("owner", "tokens/1", "access"),
        Place("ownert", "okens/1", "grant"),
        Place("", "", ""),
    ],
)
def test_moved_text_does_not_open(place: Place) -> None:
    with pytest.raises(StorageError, match="another place") as caught:
        open_sealed(_sealed(), place, RING)
    assert caught.value.code == "E-ENC"


@pytest.mark.requirement("VLT-02")
def test_no_single_changed_bit_is_accepted() -> None:
    parts = _sealed(b"short").split(".")
    for index in (2, 3, 4):
        raw = base64.urlsafe_b64decode(parts[index] + "==")
        for byte, bit in itertools.product(range(len(raw)), (0, 7)):
            changed = bytearray(raw)
            changed[byte] ^= 1 << bit
            text = base64.urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode()
            with pytest.raises(StorageError):
                open_sealed(".".join((*parts[:index], text, *parts[index + 1 :])), PLACE, RING)


@pytest.mark.requirement("VLT-02")
def test_no_bit_of_a_record_of_two_hundred_bytes_can_be_changed() -> None:
    """Neither of the bytes that are sealed, nor of the characters in which they are written."""
    sealed = _sealed(b"x" * 200)
    *head, text = sealed.split(".")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert len(raw) == 200 + 16
    changed = []
    for place in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        changed.append(".".join((*head, base64.urlsafe_b64encode(bytes(flipped)).rstrip(b"=").decode())))
    for place in range(7 * len(sealed)):
        letter = chr(ord(sealed[place // 7]) ^ 1 << place % 7)
        changed.append(sealed[: place // 7] + letter + sealed[place // 7 + 1 :])
    assert len(changed) > 1600
    for each in changed:
        with pytest.raises(StorageError):
            open_sealed(each, PLACE, RING)


PLACES = st.builds(Place, st.sampled_from("ab"), st.sampled_from(["r/1", "r/2"]), st.sampled_from("xy"))


@pytest.mark.requirement("VLT-02")
@given(PLACES, PLACES, st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 15), st.booleans())
def test_parts_of_two_sealings_make_no_third(
    one: Place, two: Place, first: bytes, second: bytes, taken: int, other_key: bool
) -> None:
    """taken: which of key id, wrapped key, nonce and text come from the second, as bits."""
    ring = KeyRing.from_hex(NEW, [OLD])
    mine = _sealed(first, one).split(".")
    theirs = _sealed(second, two, KeyRing.from_hex(OLD) if other_key else RING).split(".")
    mixed = [mine[0], *(theirs[i] if taken >> (i - 1) & 1 else mine[i] for i in range(1, 5))]
    if mixed in (mine, theirs) and (mixed == mine or one == two):
        assert open_sealed(".".join(mixed), one, ring).reveal() == (first if mixed == mine else second)
        return
    with pytest.raises(StorageError) as caught:
        open_sealed(".".join(mixed), one, ring)
    assert caught.value.code == "E-ENC"


@pytest.mark.requirement("VLT-05")
@given(st.binary(max_size=300), PLACES, PLACES)
def test_sealed_anew_it_opens_with_the_new_key_alone_and_only_at_its_place(
    text: bytes, place: Place, other: Place
) -> None:
    old = _sealed(text, place, KeyRing.from_hex(OLD))
    anew = rewrap(old, place, KeyRing.from_hex(NEW, [OLD]), secrets.token_bytes)
    assert key_id_of(anew) == RING.current_id
    assert open_sealed(anew, place, RING).reveal() == text
    assert open_sealed(old, place, KeyRing.from_hex(OLD)).reveal() == text
    if other != place:
        with pytest.raises(StorageError):
            rewrap(old, other, KeyRing.from_hex(NEW, [OLD]), secrets.token_bytes)
    with pytest.raises(StorageError, match="not configured") as caught:
        rewrap(old, place, RING, secrets.token_bytes)
    assert caught.value.details == {"key_id": key_id_of(old)}


@pytest.mark.requirement("VLT-05")
def test_what_does_not_open_to_the_same_is_not_called_sealed_anew() -> None:
    """A source of chance that fails in the middle must not cost the secret."""
    old = _sealed(ring=KeyRing.from_hex(OLD))
    with pytest.raises(RuntimeError):
        rewrap(old, PLACE, KeyRing.from_hex(NEW, [OLD]), lambda _: (_ for _ in ()).throw(RuntimeError()))
    seals = iter([_sealed(b"something else")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[rewrap.__module__], "seal", lambda *_: next(seals))
        with pytest.raises(StorageError, match="does not open to the same"):
            rewrap(old, PLACE, KeyRing.from_hex(NEW, [OLD]), secrets.token_bytes)
    with pytest.raises(ValueError):
        rewrap(old, PLACE, KeyRing.from_hex(NEW, [OLD]), lambda count: b"x" * (count - 1))


@pytest.mark.requirement("VLT-04")
def test_a_check_value_is_of_its_key_alone() -> None:
    value = check_value(RING, secrets.token_bytes)
    open_check(value, RING.current_id, KeyRing.from_hex(OTHER, [NEW]))
    for id_, ring in ((RING.current_id, KeyRing.from_hex(OLD)), ("00000000", RING), ("", RING)):
        with pytest.raises(StorageError) as caught:
            open_check(value, id_, ring)
        assert caught.value.code == "E-ENC"
    # Any other text of the place is no check value.
    forged = _sealed(b"something", Place("", f"keys/{RING.current_id}", "check"))
    with pytest.raises(StorageError, match="was changed"):
        open_check(forged, RING.current_id, RING)


@pytest.mark.requirement("VLT-02")
@given(st.text(max_size=200))
def test_any_other_text_is_refused_with_the_code(text: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_sealed(text, PLACE, RING)
    assert caught.value.code == "E-ENC"


@pytest.mark.requirement("VLT-02")
def test_the_documented_format_opens_with_cryptography_alone() -> None:
    version, id_, wrapped, nonce, text = _sealed(b"plain").split(".")
    unpack = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))  # noqa: E731
    binding = b"".join(
        struct.pack(">I", len(part)) + part
        for part in (version.encode(), id_.encode(), b"owner", b"tokens/1", b"grant")
    )
    wrapped = unpack(wrapped)
    key = AESGCM(bytes.fromhex(NEW.reveal())).decrypt(wrapped[:12], wrapped[12:], b"ibkit wrap" + binding)
    assert AESGCM(key).decrypt(unpack(nonce), unpack(text), b"ibkit text" + binding) == b"plain"
    assert version == "v1"
    assert len(unpack(nonce)) == 12


@pytest.mark.requirement("VLT-04")
def test_an_older_key_of_the_ring_opens_and_the_new_one_seals() -> None:
    old = _sealed(ring=KeyRing.from_hex(OLD))
    ring = KeyRing.from_hex(NEW, [OLD])
    assert open_sealed(old, PLACE, ring).reveal() == b"a live session token"
    assert _sealed(ring=ring).split(".")[1] == RING.current_id
    with pytest.raises(StorageError, match="not configured"):
        open_sealed(old, PLACE, KeyRing.from_hex(NEW, [OTHER]))


@pytest.mark.requirement("VLT-04")
@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 64, "A" * 64, "ab" * 33])
def test_a_malformed_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        KeyRing.from_hex(Secret(text))
    assert caught.value.code == "E-ENC-KEY"
    assert len(text) < 4 or text not in caught.value.message


@pytest.mark.requirement("VLT-01")
def test_generated_keys_differ_and_have_their_lengths() -> None:
    one, two = generate_encryption_keys(), generate_encryption_keys()
    assert one.key != two.key
    assert (len(one.key), len(one.iv)) == (64, 24)
    assert one.key not in repr(one)
    KeyRing.from_hex(Secret(one.key))


def test_nothing_secret_shows_in_a_ring() -> None:
    assert NEW.reveal() not in repr(KeyRing.from_hex(NEW, [OLD]))
