"""User tokens: the thirty forged ones of TM-13, mangled ones, and what a good one says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forged_tokens import FORGED, GOOD, HEADER, made
from ibkit.errors import AuthError, ConfigError
from ibkit.model import AccountId, Secret
from ibkit.users import Claims, Role, Scope, TokenSigner, User
from ibkit.users.api_keys import key_id_of, new_api_key
from ibkit.users.tokens import LARGEST_TOKEN, LEEWAY, Audience
from user_desks import HERE, KEY, START, Chance, Users


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("name", FORGED)
@pytest.mark.anyio
async def test_a_forged_token_is_refused_with_one_and_the_same_error(
    name: str, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await users.add()
    real = users.sign_ins.issue(await users.signed_in())
    # The forger knows the user, the token's id and its generation: only how it is made can give it away.
    for claim, value in (("sub", user.user_id), ("jti", real.claims.token_id), ("gen", user.generation)):
        monkeypatch.setitem(GOOD, claim, value)
    pattern = Secret(made(HEADER, GOOD))
    assert (await users.sign_ins.authenticate(pattern, address=HERE)).user_id == user.user_id
    forged = FORGED[name]()
    with pytest.raises(AuthError) as refused:
        await users.sign_ins.authenticate(Secret(forged), address=HERE)
    error = refused.value
    assert (error.code, error.http_status) == ("E-APP-AUTH", 401)
    assert (error.message, error.remedy, error.details) == ("Unauthorized", "Sign in again.", {})
    assert [each.kind.value for each in await users.store.failures(since=START)] == ["token"]


@pytest.mark.requirement("GWY-02")
def test_there_are_at_least_thirty_forged_tokens_and_the_pattern_itself_is_good() -> None:
    """Else they would be refused for being wrong in some other way."""
    assert len(FORGED) >= 30
    read = TokenSigner(KEY).read(Secret(made(HEADER, GOOD)), audience=Audience.API, now=START)
    assert read is not None
    assert (read.user_id, read.signed_in_at, read.generation) == ("1" * 32, START, 2)
    assert read.scopes == {Scope.READ, Scope.ORDERS_PAPER, Scope.ORDERS_LIVE}


@pytest.mark.requirement("GWY-02")
@given(data=st.data())
def test_a_token_changed_anywhere_is_no_token(data: st.DataObject) -> None:
    signer, token = TokenSigner(KEY), made(HEADER, GOOD)
    place = data.draw(st.integers(0, len(token)))
    more = data.draw(st.text(max_size=4) | st.sampled_from([".", "=", "-", "A", "\n", "\0", " "]))
    gone = data.draw(st.integers(0, 6))
    mangled = token[:place] + more + token[place + gone :]
    read = signer.read(Secret(mangled), audience=Audience.API, now=START)
    assert (read is not None) == (mangled == token)


@pytest.mark.requirement("GWY-02")
@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_no_token_and_raises_nothing(text: str) -> None:
    assert TokenSigner(KEY).read(Secret(text), audience=Audience.API, now=START) is None


@pytest.mark.requirement("GWY-02")
@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) for name in GOOD
        },
    )
)
def test_claims_of_any_kind_under_the_right_key_are_judged_without_a_fault(values: dict[str, Any]) -> None:
    read = TokenSigner(KEY).read(Secret(made(HEADER, GOOD | values)), audience=Audience.API, now=START)
    if read is not None:
        assert read.expires_at > START - LEEWAY
        assert read.signed_in_at is not None or Scope.ORDERS_LIVE not in read.scopes


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize(
    ("after_s", "good"), [(-31, False), (-30, True), (0, True), (86_400 + 29, True), (86_400 + 30, False)]
)
def test_a_token_lives_from_its_issue_to_its_end_with_thirty_seconds_for_clocks(after_s: int, good: bool) -> None:
    now = START + timedelta(seconds=after_s)
    read = TokenSigner(KEY).read(Secret(made(HEADER, GOOD)), audience=Audience.API, now=now)
    assert (read is not None) is good


@pytest.mark.requirement("GWY-02")
def test_a_token_may_be_confined_to_accounts_and_is_never_read_as_one_that_is_not() -> None:
    signer = TokenSigner(KEY)
    (claims,) = [signer.read(Secret(made(HEADER, GOOD)), audience=Audience.API, now=START)]
    assert claims is not None
    assert claims.accounts is None
    confined = replace(claims, accounts=frozenset({AccountId("DU2"), AccountId("DU1")}))
    assert signer.read(signer.issue(confined), audience=Audience.API, now=START) == confined
    for wrong in ("", " ", "DU1 ", "DU2 DU1", "DU1 DU1", "DU", "DU1,DU2", ["DU1"], None, 1, "DU1\n"):
        token = Secret(made(HEADER, GOOD | {"accounts": wrong}))
        assert signer.read(token, audience=Audience.API, now=START) is None, wrong


@pytest.mark.requirement("GWY-02")
@given(data=st.data())
def test_a_machine_key_changed_anywhere_is_no_key(data: st.DataObject) -> None:
    owner = User(user_id="u", name="anna", role=Role.TRADER, created_at=START)
    record, key = new_api_key(
        owner, label="k", scopes=frozenset({Scope.READ}), life=timedelta(days=1), now=START, random=Chance()
    )
    text = key.reveal()
    place, gone = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 6))
    mangled = text[:place] + data.draw(st.text(max_size=4)) + text[place + gone :]
    fits = key_id_of(Secret(mangled)) == record.key_id and record.fits(Secret(mangled), START)
    assert fits == (mangled == text)


@pytest.mark.requirement("GWY-02")
def test_what_is_issued_is_read_again_and_stays_small() -> None:
    signer = TokenSigner(KEY)
    said = Claims(
        user_id="a" * 32,
        token_id="b" * 32,
        issued_at=START,
        expires_at=START + timedelta(hours=1),
        scopes=frozenset(Scope),
        generation=7,
        signed_in_at=START - timedelta(minutes=3),
    )
    token = signer.issue(said)
    assert signer.read(token, audience=Audience.API, now=START) == said
    assert len(token.reveal()) < LARGEST_TOKEN / 8
    assert TokenSigner(Secret("k" * 32)).read(token, audience=Audience.API, now=START) is None


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("key", ["", "short", "x" * 31])
def test_a_short_key_is_refused_with_what_to_do(key: str) -> None:
    with pytest.raises(ConfigError, match=f"JWT_SECRET: it has {len(key)} bytes, at least 32") as refused:
        TokenSigner(Secret(key))
    assert "openssl rand" in refused.value.remedy
    assert not key or key not in refused.value.message
