"""Which passwords are good enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import ConfigError, IbkitError
from ibkit.model import Secret
from ibkit.users.passwords import LONGEST, Cost, Hasher, check_password
from user_desks import CHEAP, Chance

pytestmark = pytest.mark.requirement("VLT-10")


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "shorter than 12"),
        ("elevenchars", "shorter than 12"),
        ("x" * 257, "longer than 256"),
        ("aaaaaaaaaaaaaaaa", "same few characters"),
        ("121212121212", "same few characters"),
        ("abcdefghijklmnop", "row of neighbours"),
        ("098765432109", "row of neighbours"),
        ("passwordpassword", "try early"),
        ("PassWord20261127!", "try early"),
        ("1234567890qwerty", "try early"),
        ("!!qwertyuiop!!", "try early"),
        ("manchesterunited", "try early"),
        ("sunshine2026!!", "try early"),
        ("P@ssw0rd!P@ssw0rd!", "try early"),
        ("zxcvfdsaqwer4321", "try early"),
        ("margarete 12.05.1985", "user's name"),
        ("annaannaanna", "same few characters"),
        ("margarete-1985", "user's name"),
        ("margaretemargarete", "user's name"),
        ("ibkit-ibkit-2026", "try early"),
        ("ibkit1234567", "product's"),
        ("Interactivebrokers1", "product's"),
        ("violet lamps near the harbour", None),
        ("vT8#kQ2!mZ5p", None),
        ("пароль моей кошки", None),
    ],
)
def test_a_password_is_judged_by_length_and_by_what_is_tried_first(password: str, said: str | None) -> None:
    if said is None:
        check_password(Secret(password), name="margarete@example.org")
        return
    with pytest.raises(ConfigError, match=said) as error:
        check_password(Secret(password), name="margarete@example.org")
    assert error.value.code == "E-VALIDATION"
    assert not password or password not in f"{error.value.message} {error.value.remedy}"


def test_a_refused_password_stands_in_no_frame() -> None:
    with pytest.raises(ConfigError) as error:
        check_password(Secret("qwertyuiop12"), name="anna")
    assert error.value.__cause__ is None
    assert error.value.__context__ is None
    frames = error.traceback
    assert all("qwertyuiop12" not in repr(frame.locals) for frame in frames[1:])


def test_without_memory_for_a_hash_it_says_so_and_nothing_of_the_password() -> None:
    with pytest.raises(IbkitError, match="could not be hashed") as error:
        Hasher(Chance(), Cost(memory_kib=1)).hash(Secret("a password of somebody"))
    assert error.value.code == "E-INTERNAL"
    assert error.value.__cause__ is None
    assert all("a password of" not in repr(frame.locals) for frame in error.traceback[1:])


@given(text=st.text(max_size=300))
def test_any_text_is_judged_without_a_fault_and_short_ones_never_pass(text: str) -> None:
    try:
        check_password(Secret(text), name="anna")
    except ConfigError:
        return
    assert len(text) <= LONGEST
    assert len(set(text)) >= 5


def test_the_same_keys_typed_on_two_keyboards_are_the_same_password() -> None:
    hasher = Hasher(Chance(), CHEAP)
    made = hasher.hash(Secret("cafe\u0301 au lait \uff11\uff12"))
    assert hasher.fits(made, Secret("caf\u00e9 au lait 12"))
    assert not hasher.fits(made, Secret("cafe au lait 12"))
    assert not hasher.fits(made, Secret("\ud800" * 20))
