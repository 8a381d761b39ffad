"""Keys and refs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.errors import ConfigError
from ibkit.model import Environment, Key, Ref
from ibkit.trading.ref import check_key, child_key, cut_ref, derive_ref, key_of_user, keys_of_user, make_key, same_ref

KEYS = st.text("ABCxyz019._:-", min_size=16, max_size=128).map(Key)


@pytest.mark.requirement("TRD-09")
@settings(max_examples=100)
@given(KEYS, KEYS)
def test_refs_are_short_plain_and_differ_with_their_key(one, two):
    refs = [derive_ref(tenant="t", environment=Environment.PAPER, key=key) for key in (one, two)]

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", ref) for ref in refs)
    assert (refs[0] == refs[1]) is (one == two)


@pytest.mark.requirement("GWY-03")
@pytest.mark.parametrize("length", [16, 107, 108, 128])
def test_what_follows_from_a_users_key_is_that_users_too(length):
    key = key_of_user("ada", Key("k" * length))

    child = child_key(child_key(key, "put"), "stop-1")

    assert child.startswith(keys_of_user("ada"))
    assert check_key(child) != child_key(child_key(key, "call"), "stop-1")


@pytest.mark.requirement("TRD-09", "GWY-03")
def test_tenants_and_environments_do_not_meet():
    key = Key("key-0123456789abcdef")
    refs = {
        derive_ref(tenant=tenant, environment=environment, key=key)
        for tenant in ("a", "b")
        for environment in Environment
    }

    assert len(refs) == 4


@pytest.mark.requirement("GWY-03")
@settings(max_examples=50)
@given(st.binary(min_size=15, max_size=15), KEYS)
def test_keys_that_we_make_are_valid(chance, key):
    assert check_key(make_key(lambda size: chance[:size]))
    assert check_key(child_key(key, "stop-1")) == child_key(key, "stop-1") != child_key(key, "stop-2")


@pytest.mark.requirement("GWY-03")
@pytest.mark.parametrize("text", ["", "x" * 15, "x" * 129, "x" * 16 + " ", "ключ" * 5, "x" * 16 + "\n"])
def test_other_keys_are_refused(text):
    with pytest.raises(ConfigError):
        check_key(text)


@pytest.mark.requirement("TRD-22")
def test_a_ref_is_known_again_in_another_case_and_suspected_when_cut():
    ours = derive_ref(tenant="t", environment=Environment.PAPER, key=Key("key-0123456789abcdef"))

    assert same_ref(ours, Ref(ours.upper()))
    assert not same_ref(ours, Ref(ours[:20]))
    assert cut_ref(ours, Ref(ours[:20]))
    assert not cut_ref(ours, Ref(ours[:8]))
    assert not cut_ref(ours, None)
