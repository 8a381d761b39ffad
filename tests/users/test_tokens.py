"""User tokens: the thirty forged ones of TM-13, mangled ones, and what a good one says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import AuthError, ConfigError
from ibkit.model import Secret
from ibkit.users import Claims, Role, Scope, TokenSigner, User
from ibkit.users.api_keys import key_id_of, new_api_key
from ibkit.users.tokens import LARGEST_TOKEN, LEEWAY, Audience
from user_desks import HERE, KEY, START, Chance, Users

SECOND = int(START.timestamp())
HEADER = {"alg": "HS256", "typ": "JWT"}
GOOD: dict[str, Any] = {
    "sub": "1" * 32,
    "iat": SECOND,
    "exp": SECOND + 86_400,
    "jti": "2" * 32,
    "iss": "ibkit",
    "aud": "ibkit-api",
    "scope": "orders:live orders:paper read",
    "gen": 2,
    "auth_time": SECOND,
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def made(header: object, claims: object, *, key: bytes = KEY.reveal().encode(), digest: str = "sha256") -> str:
    """As somebody would who knows `key`."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.new(key, signed.encode(), getattr(hashlib, digest)).digest())}"


def rs256(header: dict[str, Any]) -> str:
    signed = f"{part(header)}.{part(GOOD)}"
    return f"{signed}.{part(RSA_KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def claims(**changed: object) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | changed).items() if value is not None}


def respelled(token: str) -> str:
    """The same bytes in another spelling of base64: the last character carries bits that mean nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


# Many are signed with the right key: whoever reads tokens must not rely on nobody having it.
FORGED: dict[str, Callable[[], str]] = {
    "no signature, alg none": lambda: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(GOOD)}.",
    "alg none in another case": lambda: f"{part({'alg': 'nOnE', 'typ': 'JWT'})}.{part(GOOD)}.",
    "alg none, signed all the same": lambda: made({"alg": "none", "typ": "JWT"}, GOOD),
    "signature left away": lambda: made(HEADER, GOOD).rsplit(".", 1)[0] + ".",
    "two parts": lambda: made(HEADER, GOOD).rsplit(".", 1)[0],
    "another key": lambda: made(HEADER, GOOD, key=b"k" * 32),
    "an empty key": lambda: made(HEADER, GOOD, key=b""),
    "RS256, signed with a key of theirs": lambda: rs256({"alg": "RS256", "typ": "JWT"}),
    "a public key used as the secret of HS256": lambda: made(HEADER, GOOD, key=PUBLIC_PEM),
    "HS512 with the right key": lambda: made({"alg": "HS512", "typ": "JWT"}, GOOD, digest="sha512"),
    "HS384 with the right key": lambda: made({"alg": "HS384", "typ": "JWT"}, GOOD, digest="sha384"),
    "kid is a path": lambda: made(HEADER | {"kid": "../../../../dev/null"}, GOOD, key=b""),
    "kid is SQL": lambda: made(HEADER | {"kid": "x' UNION SELECT 'k' --"}, GOOD, key=b"k"),
    "jku": lambda: made(HEADER | {"jku": "https://attacker.example/keys.json"}, GOOD),
    "x5u": lambda: made(HEADER | {"x5u": "https://attacker.example/cert.pem"}, GOOD),
    "jwk": lambda: made(HEADER | {"jwk": {"kty": "oct", "k": part(b"k" * 32)}}, GOOD, key=b"k" * 32),
    "crit": lambda: made(HEADER | {"crit": ["exp"], "exp": 1}, GOOD),
    "b64 false": lambda: made(HEADER | {"crit": ["b64"], "b64": False}, GOOD),
    "wrong typ": lambda: made({"alg": "HS256", "typ": "at+jwt"}, GOOD),
    "wrong aud": lambda: made(HEADER, claims(aud="another-api")),
    "aud of the second step": lambda: made(HEADER, claims(aud="ibkit-code")),
    "aud a list": lambda: made(HEADER, claims(aud=["ibkit-api"])),
    "wrong iss": lambda: made(HEADER, claims(iss="https://attacker.example")),
    "expired": lambda: made(HEADER, claims(iat=SECOND - 90_000, exp=SECOND - 3_600, auth_time=SECOND - 90_000)),
    "no exp": lambda: made(HEADER, claims(exp=None)),
    "a century of life": lambda: made(HEADER, claims(exp=SECOND + 100 * 365 * 86_400)),
    "exp as text": lambda: made(HEADER, claims(exp=str(SECOND + 86_400))),
    "exp infinite": lambda: made(HEADER, json.dumps(GOOD | {"exp": float("inf")}).encode()),
    "issued in the future": lambda: made(HEADER, claims(iat=SECOND + 3_600, exp=SECOND + 7_200)),
    "nbf in the far future": lambda: made(HEADER, claims(nbf=SECOND + 10**9)),
    "signed in after it was issued": lambda: made(HEADER, claims(auth_time=SECOND + 10)),
    "live orders although nobody signed in": lambda: made(HEADER, claims(auth_time=None)),
    "a megabyte": lambda: made(HEADER, claims(pad="x" * 1_000_000)),
    "a claim twice": lambda: made(HEADER, (json.dumps(GOOD)[:-1] + f',"exp":{SECOND + 9}}}').encode()),
    "an unknown claim": lambda: made(HEADER, claims(role="owner")),
    "an unknown scope": lambda: made(HEADER, claims(scope="read everything")),
    "a user id in other digits": lambda: made(HEADER, claims(sub="١" * 32)),
    "a user id with a tail": lambda: made(HEADER, claims(sub="1" * 32 + "\n")),
    "the same in another spelling": lambda: respelled(made(HEADER, GOOD)),
    "padded": lambda: made(HEADER, GOOD) + "=",
    "white space": lambda: made(HEADER, GOOD).replace(".", ". ", 1),
    "full-width dots": lambda: made(HEADER, GOOD).replace(".", "．"),
    "five parts": lambda: made(HEADER, GOOD) + ".e30.e30",
    "claims a list": lambda: made(HEADER, [GOOD]),
    "claims deep": lambda: made(HEADER, b"[" * 5_000 + b"]" * 5_000),
    "header with blanks": lambda: made(json.dumps(HEADER).encode(), GOOD),
    "empty": lambda: "",
    "lone surrogate": lambda: "\ud800." * 3,
    "NUL": lambda: made(HEADER, GOOD).replace(".", ".\0", 1),
    "a machine key of nobody": lambda: "ibk_" + "0" * 16 + "_" + "0" * 64,
    "a machine key that is SQL": lambda: "ibk_' OR 1=1 --_" + "0" * 64,
}


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
