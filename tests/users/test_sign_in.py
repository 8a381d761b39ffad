"""Signing in: steps, tokens and their end, browser sessions, machine keys, the first owner's link."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from argon2 import PasswordHasher

from ibkit.bootstrap.users import VaultSealing
from ibkit.errors import AuthError, ConfigError, NotFound, RateLimited, StorageError
from ibkit.model import AccountId, Secret
from ibkit.service.findings import happening_of_finding
from ibkit.trading.alert import Severity
from ibkit.trading.alerting import EventKind
from ibkit.users import (
    FRESH,
    CodeNeeded,
    Cost,
    Hasher,
    NewKey,
    Principal,
    Role,
    Scope,
    SignedIn,
    SignIns,
    User,
    UserKeeper,
    allowed_scopes,
    csrf_fits,
    csrf_token,
    is_fresh,
    may_manage,
    parse_scopes,
)
from ibkit.users.attempts import NewPlace
from ibkit.users.browser import ABSOLUTE, IDLE
from ibkit.vault import KeyRing
from user_desks import CHEAP, ELSEWHERE, HERE, PASSWORD, START, Chance, Users, opened, sqlite
from vaults import sealer

pytestmark = pytest.mark.anyio
OTHER = Secret("another long pass phrase")
TRADES = {Scope.READ, Scope.ORDERS_PAPER, Scope.ORDERS_LIVE, Scope.CREDENTIALS}


async def refused(users: Users, token: Secret[str]) -> bool:
    try:
        await users.sign_ins.authenticate(token, address=HERE)
    except AuthError as error:
        said = error
    else:
        return False
    assert said.code == "E-APP-AUTH"
    return True


@pytest.mark.requirement("GWY-02", "VLT-10")
async def test_a_token_says_who_it_is_of_until_it_ends(users: Users) -> None:
    anna = await users.add("Anna")
    token = await users.token("anna")

    principal = await users.sign_ins.authenticate(token, address=HERE)

    assert (principal.user_id, principal.name, principal.role) == (anna.user_id, "anna", Role.TRADER)
    assert principal.scopes == TRADES
    assert (principal.signed_in_at, principal.api_key_id, principal.accounts) == (START, "", None)
    users.advance(hours=24, seconds=29)
    assert not await refused(users, token)
    users.advance(seconds=1)
    assert await refused(users, token)


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("name", ["anna", "nobody", "", "ANNA ", "x" * 5_000, "anna\0", "' OR 1=1 --"])
async def test_an_unknown_name_and_a_wrong_password_are_refused_alike(name: str, users: Users) -> None:
    await users.add()
    with pytest.raises(AuthError) as error:
        await users.sign_ins.sign_in(name, OTHER, address=HERE)
    assert (error.value.code, error.value.message, error.value.details) == ("E-APP-AUTH", "Unauthorized", {})


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("name", ["anna", "nobody", "otto", "x y"])
async def test_every_wrong_password_costs_one_argon2_of_the_same_figures(
    name: str, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the time does not tell who is a user: anna is one, otto a disabled one."""
    await users.add()
    await users.add("otto")
    await users.keeper.disable("otto")
    costs: list[str] = []
    real = PasswordHasher.verify

    def counted(hasher: PasswordHasher, made: str, password: bytes) -> bool:
        costs.append(made.rsplit("$", 2)[0])
        return real(hasher, made, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    with pytest.raises(AuthError):
        await users.sign_ins.sign_in(name, OTHER, address=HERE)
    assert costs == [f"$argon2id$v=19$m={CHEAP.memory_kib},t={CHEAP.passes},p={CHEAP.lanes}"]


@pytest.mark.requirement("GWY-02")
async def test_every_bad_token_asks_the_store_the_same(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = await users.add()
    good, revoked = await users.token(), await users.token()
    await users.sign_ins.sign_out(revoked, address=HERE)
    forged = Secret(good.reveal()[:-4] + "AAAA")
    asked: list[str] = []
    for name in ("standing", "begin", "named", "get"):
        real = getattr(users.store, name)

        def noted(*given: object, name: str = name, real: object = real, **more: object) -> object:
            asked.append(name)
            return real(*given, **more)  # type: ignore[operator]

        monkeypatch.setattr(users.store, name, noted)
    for bad in (forged, revoked, Secret(""), Secret("x" * 1_000_000)):
        asked.clear()
        assert await refused(users, bad)
        assert asked == ["standing", "begin"]
    asked.clear()
    assert (await users.sign_ins.authenticate(good, address=HERE)).user_id == anna.user_id
    assert asked == ["standing"]


@pytest.mark.requirement("GWY-02")
async def test_a_crowd_beyond_what_may_wait_is_told_to_come_again_and_not_counted_as_wrong(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    await users.add()
    monkeypatch.setattr("ibkit.users.sign_in._MOST_WAITING", 1)
    gate, ended = threading.Event(), []
    real = Hasher.fits
    monkeypatch.setattr(Hasher, "fits", lambda *given: gate.wait(30) and real(*given))

    async def attempt(number: int) -> None:
        try:
            ended.append(await users.sign_ins.sign_in("anna", PASSWORD, address=f"10.0.{number}.1"))
        except RateLimited as error:
            ended.append(error)
        if len(ended) == 2:  # five came: two are looked at, one waits
            gate.set()

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(attempt, number)  # all at one moment
    assert [str(each) for each in ended if isinstance(each, RateLimited)] == ["Too many sign-ins at once"] * 2
    assert await users.store.failures(since=START) == []


@pytest.mark.requirement("GWY-02")
async def test_a_disabled_user_is_refused_as_a_wrong_password_is(users: Users) -> None:
    await users.add()
    await users.keeper.disable("anna")
    with pytest.raises(AuthError, match=r"^Unauthorized$"):
        await users.signed_in()


@pytest.mark.requirement("VLT-10")
async def test_disabling_ends_tokens_sessions_and_keys_at_once_and_for_good(users: Users) -> None:
    anna = await users.add()
    signed_in = await users.signed_in()
    token = users.sign_ins.issue(signed_in).token
    cookie = await users.sign_ins.begin_session(signed_in, address=HERE)
    key = await users.keeper.add_key("anna", label="robot", scopes=frozenset({Scope.READ}), life=timedelta(days=30))
    for each in (token, key.key):
        assert not await refused(users, each)

    await users.keeper.disable("anna")

    for again in (False, True):
        assert await refused(users, token)
        assert await refused(users, key.key)
        with pytest.raises(AuthError):
            await users.sign_ins.session_of(cookie, address=HERE)
        if not again:
            await users.keeper.enable("anna")
    assert await users.store.sessions(anna.user_id) == []
    # What was proven before does not make a new token either; a new sign-in does.
    assert await refused(users, users.sign_ins.issue(signed_in).token)
    assert not await refused(users, await users.token())


@pytest.mark.requirement("GWY-02", "VLT-10")
async def test_a_new_password_ends_what_the_old_one_opened(users: Users) -> None:
    await users.add()
    signed_in = await users.signed_in()
    token, cookie = users.sign_ins.issue(signed_in).token, await users.sign_ins.begin_session(signed_in, address=HERE)

    await users.keeper.set_password("anna", OTHER)

    assert await refused(users, token)
    with pytest.raises(AuthError):
        await users.sign_ins.session_of(cookie, address=HERE)
    with pytest.raises(AuthError):
        await users.signed_in()
    assert await users.sign_ins.sign_in("anna", OTHER, address=HERE)


@pytest.mark.requirement("GWY-02", "UI-01")
async def test_signing_out_everywhere_ends_tokens_and_sessions_from_before_and_leaves_keys(users: Users) -> None:
    anna = await users.add()
    await users.add("eve")
    signed_in = await users.signed_in()
    tokens = [users.sign_ins.issue(signed_in).token for _ in range(2)]
    cookies = [await users.sign_ins.begin_session(signed_in, address=HERE) for _ in range(2)]
    key = await users.keeper.add_key("anna", label="k", scopes=frozenset({Scope.READ}), life=timedelta(days=1))
    eve = await users.sign_ins.authenticate(await users.token("eve"), address=HERE)
    with pytest.raises(ConfigError):
        await users.keeper.sign_out("anna", by=eve)
    assert len(await users.store.sessions(anna.user_id)) == 2

    await users.keeper.sign_out("anna", by=await users.sign_ins.authenticate(tokens[0], address=HERE))

    for token in tokens:
        assert await refused(users, token)
    for cookie in cookies:
        with pytest.raises(AuthError):
            await users.sign_ins.session_of(cookie, address=HERE)
    assert not await refused(users, key.key)
    assert not await refused(users, await users.token())


@pytest.mark.requirement("VLT-10")
async def test_a_disabled_user_gets_no_key(users: Users) -> None:
    await users.add()
    await users.keeper.disable("anna")
    with pytest.raises(NotFound, match="disabled, or gone"):
        await users.keeper.add_key("anna", label="k", scopes=frozenset({Scope.READ}), life=timedelta(days=1))


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("words", [[], ["read", "orders"], ["READ"], [""]])
async def test_words_that_are_no_scopes_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="Invalid request: scope"):
        parse_scopes(words)


@pytest.mark.requirement("GWY-02")
async def test_signing_out_and_revoking_end_one_token(users: Users) -> None:
    anna = await users.add()
    first, second, third = [await users.token() for _ in range(3)]
    claims = users.sign_ins.issue(await users.signed_in()).claims

    await users.sign_ins.sign_out(first, address=HERE)
    assert await users.sign_ins.revoke(claims.token_id, user_id=anna.user_id)
    assert not await users.sign_ins.revoke(claims.token_id, user_id=anna.user_id)

    assert await refused(users, first)
    assert not await refused(users, second)
    with pytest.raises(AuthError):
        await users.sign_ins.sign_out(first, address=HERE)
    assert not await refused(users, third)


@pytest.mark.requirement("GWY-02")
async def test_a_refreshed_token_replaces_the_old_one_and_the_sign_in_grows_older(users: Users) -> None:
    await users.add()
    token = await users.token()
    for day in range(1, 8):
        users.advance(hours=23.5)
        issued = await users.sign_ins.refresh(token, address=HERE)
        assert await refused(users, token)
        token = issued.token
        principal = await users.sign_ins.authenticate(token, address=HERE)
        assert principal.signed_in_at == START
        assert not is_fresh(principal, users.clock.now())
        assert issued.claims.expires_at <= START + timedelta(days=7), day
    users.advance(hours=4)
    with pytest.raises(AuthError):
        await users.sign_ins.refresh(token, address=HERE)


@pytest.mark.requirement("MON-12")
async def test_a_sign_in_from_a_new_place_is_told_once_and_the_first_one_is_none(users: Users) -> None:
    anna = await users.add()
    for address in (HERE, HERE, ELSEWHERE, HERE, ELSEWHERE):
        await users.sign_ins.sign_in("anna", PASSWORD, address=address)
    assert users.findings == [NewPlace(user_id=anna.user_id, address=ELSEWHERE, at=START)]
    with pytest.raises(AuthError):
        await users.sign_ins.sign_in("anna", Secret("wrong"), address="192.0.2.77")
    assert len(users.findings) == 1, "a failure is no use of it"


@pytest.mark.requirement("GWY-02")
async def test_a_token_confined_to_accounts_stays_so_when_it_is_refreshed(users: Users) -> None:
    anna = await users.add()
    signed_in = await users.sign_ins.sign_in("anna", PASSWORD, address=HERE)
    assert isinstance(signed_in, SignedIn)
    for issued in (
        users.sign_ins.issue(signed_in, accounts=frozenset({AccountId("DU1")})),
        users.sign_ins.issue_unproven(anna, accounts=frozenset({AccountId("DU1")}), life=timedelta(hours=1)),
    ):
        assert (await users.sign_ins.authenticate(issued.token, address=HERE)).accounts == {"DU1"}
    first = users.sign_ins.issue(signed_in, accounts=frozenset({AccountId("DU1")}))
    again = await users.sign_ins.refresh(first.token, address=HERE)
    assert (await users.sign_ins.authenticate(again.token, address=HERE)).accounts == {"DU1"}


@pytest.mark.requirement("GWY-02")
async def test_a_sign_in_is_fresh_for_fifteen_minutes_and_a_machine_never(users: Users) -> None:
    await users.add()
    principal = await users.sign_ins.authenticate(await users.token(), address=HERE)
    assert is_fresh(principal, START + FRESH)
    assert not is_fresh(principal, START + FRESH + timedelta(microseconds=1))
    key = await users.keeper.add_key("anna", label="robot", scopes=frozenset(TRADES), life=timedelta(days=1))
    assert not is_fresh(await users.sign_ins.authenticate(key.key, address=HERE), START)


@pytest.mark.requirement("GWY-02")
async def test_a_token_by_the_machines_word_never_has_the_live_scope(users: Users) -> None:
    owner = await users.add("olga", Role.OWNER)
    for wanted in (None, frozenset(Scope)):
        issued = users.sign_ins.issue_unproven(owner, scopes=wanted, life=timedelta(hours=24))
        principal = await users.sign_ins.authenticate(issued.token, address=HERE)
        by_name = {Scope.CREDENTIALS} if wanted is not None else set()  # in no everyday token
        assert principal.scopes == {Scope.READ, Scope.ORDERS_PAPER, Scope.ADMIN} | by_name
        assert principal.signed_in_at is None
        with pytest.raises(AuthError):  # it is not stretched either
            await users.sign_ins.refresh(issued.token, address=HERE)


@pytest.mark.requirement("VLT-10")
@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.OWNER, TRADES | {Scope.ADMIN}),
        (Role.ADMIN, TRADES | {Scope.ADMIN}),
        (Role.TRADER, TRADES),
        (Role.VIEWER, {Scope.READ}),
    ],
)
async def test_a_token_has_what_was_asked_for_within_the_role(role: Role, allowed: set[Scope], users: Users) -> None:
    await users.add("anna", role)
    signed_in = await users.signed_in()
    assert allowed_scopes(role) == allowed
    for scope in Scope:
        token = users.sign_ins.issue(signed_in, scopes=frozenset({scope})).token
        principal = await users.sign_ins.authenticate(token, address=HERE)
        assert principal.scopes == ({scope} & allowed)
        if scope in allowed:
            key = await users.keeper.add_key("anna", label="k", scopes=frozenset({scope}), life=timedelta(days=1))
            assert (await users.sign_ins.authenticate(key.key, address=HERE)).scopes == {scope}
        else:
            with pytest.raises(ConfigError) as error:
                await users.keeper.add_key("anna", label="k", scopes=frozenset({scope}), life=timedelta(days=1))
            assert error.value.code == "E-FORBIDDEN"


@pytest.mark.requirement("VLT-10")
async def test_a_lower_role_takes_scopes_away_from_what_was_issued_before(users: Users) -> None:
    await users.add("olga", Role.OWNER)
    await users.add("anna", Role.ADMIN)
    token = await users.token()
    key = await users.keeper.add_key("anna", label="k", scopes=frozenset(Scope), life=timedelta(days=1))
    await users.keeper.set_role("anna", Role.VIEWER)
    for each in (token, key.key):
        principal = await users.sign_ins.authenticate(each, address=HERE)
        assert (principal.role, principal.scopes) == (Role.VIEWER, {Scope.READ})


@pytest.mark.requirement("VLT-10")
async def test_an_owner_manages_everybody_an_admin_those_below_and_others_nobody() -> None:
    table = {actor: {subject for subject in Role if may_manage(actor, subject)} for actor in Role}
    assert table == {
        Role.OWNER: set(Role),
        Role.ADMIN: {Role.ADMIN, Role.TRADER, Role.VIEWER},
        Role.TRADER: set(),
        Role.VIEWER: set(),
    }


@pytest.mark.requirement("VLT-10")
async def test_an_admin_cannot_make_disable_or_become_an_owner(users: Users) -> None:
    await users.add("olga", Role.OWNER)
    await users.add("adam", Role.ADMIN)
    adam = await users.sign_ins.authenticate(await users.token("adam"), address=HERE)
    read_only = Principal(
        user_id=adam.user_id, name="adam", role=Role.ADMIN, scopes=frozenset({Scope.READ}), token_id="t"
    )
    tries = [
        lambda: users.keeper.disable("olga", by=adam),
        lambda: users.keeper.set_password("olga", OTHER, by=adam),
        lambda: users.keeper.set_role("adam", Role.OWNER, by=adam),
        lambda: users.keeper.set_role("olga", Role.VIEWER, by=adam),
        lambda: users.keeper.add("eve", Role.OWNER, OTHER, by=adam),
        lambda: users.keeper.remove_totp("olga", by=adam),
        lambda: users.keeper.begin_totp("olga", by=adam),
        lambda: users.keeper.confirm_totp("olga", "123456", by=adam),
        lambda: add_key(users, "olga", by=adam),
        lambda: users.keeper.add("eve", Role.VIEWER, OTHER, by=read_only),
    ]
    for attempt in tries:
        with pytest.raises(ConfigError) as error:
            await attempt()
        assert error.value.code == "E-FORBIDDEN"
    assert {user.name: (user.role, user.enabled) for user in await users.keeper.users()} == {
        "adam": (Role.ADMIN, True),
        "olga": (Role.OWNER, True),
    }
    assert (await users.keeper.add("tom", Role.TRADER, OTHER, by=adam)).name == "tom"


@pytest.mark.requirement("VLT-10")
async def test_an_admin_cannot_change_who_became_an_owner_meanwhile(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash takes its time: the role that counts is the one at the end of it."""
    await users.add("adam", Role.ADMIN)
    adam = await users.sign_ins.authenticate(await users.token("adam"), address=HERE)
    before = await users.add("olga", Role.TRADER)
    await users.keeper.set_role("olga", Role.OWNER)

    async def as_before(name: str) -> User:
        return before

    monkeypatch.setattr(users.store, "named", as_before)
    for attempt in (
        lambda: users.keeper.set_password("olga", OTHER, by=adam),
        lambda: users.keeper.sign_out("olga", by=adam),
        lambda: users.keeper.begin_totp("olga", by=adam),
        lambda: users.keeper.confirm_totp("olga", "123456", by=adam),
        lambda: users.keeper.remove_totp("olga", by=adam),
    ):
        with pytest.raises(ConfigError) as error:
            await attempt()
        assert error.value.code == "E-FORBIDDEN"
    olga = await users.store.get(before.user_id)
    assert olga is not None
    assert (olga.password_hash, olga.generation, olga.totp_secret) == (before.password_hash, before.generation, "")


async def add_key(users: Users, name: str, *scopes: Scope, by: Principal) -> NewKey:
    return await users.keeper.add_key(
        name, label="k", scopes=frozenset(scopes or {Scope.READ}), life=timedelta(days=1), by=by
    )


@pytest.mark.requirement("VLT-10", "GWY-02")
async def test_a_user_makes_keys_of_their_own_within_their_token_and_revokes_them(users: Users) -> None:
    """Else a stolen token that only reads would make itself a key that trades."""
    await users.add()
    await users.add("eve")
    signed_in = await users.signed_in()
    narrow = users.sign_ins.issue(signed_in, scopes=frozenset({Scope.READ})).token
    reader = await users.sign_ins.authenticate(narrow, address=HERE)
    eve = await users.sign_ins.authenticate(await users.token("eve"), address=HERE)

    made = await add_key(users, "anna", by=reader)
    machine = await users.sign_ins.authenticate(made.key, address=HERE)
    tries = [
        lambda: add_key(users, "anna", Scope.READ, Scope.ORDERS_LIVE, by=reader),
        lambda: add_key(users, "anna", by=machine),
        lambda: add_key(users, "anna", by=eve),
        lambda: users.keeper.set_password("anna", OTHER, by=machine),
        lambda: users.keeper.remove_totp("anna", by=eve),
    ]
    for attempt in tries:
        with pytest.raises(ConfigError) as error:
            await attempt()
        assert error.value.code == "E-FORBIDDEN"
    for other in (eve, machine):
        with pytest.raises(NotFound):
            await users.keeper.revoke_key(made.record.key_id, by=other)
    await users.keeper.revoke_key(made.record.key_id, by=reader)
    assert await refused(users, made.key)


@pytest.mark.requirement("VLT-10")
async def test_the_last_owner_stays(users: Users) -> None:
    await users.add("olga", Role.OWNER)
    await users.add("otto", Role.OWNER)
    await users.keeper.disable("otto")
    for attempt in (lambda: users.keeper.disable("olga"), lambda: users.keeper.set_role("olga", Role.ADMIN)):
        with pytest.raises(ConfigError, match="last enabled owner"):
            await attempt()
    olga = await users.keeper.named("olga")
    assert (olga.enabled, olga.role, olga.generation) == (True, Role.OWNER, 2)


@pytest.mark.requirement("VLT-10")
async def test_names_are_unique_in_any_case_and_unknown_ones_are_told(users: Users) -> None:
    await users.add("anna")
    with pytest.raises(ConfigError, match="there is a user anna already"):
        await users.add("ANNA")
    for name in ("", " ", "a b", "ann\u0430", "-x", "x" * 65, "a/b"):
        with pytest.raises(ConfigError, match="a user's name has 1 to 64"):
            await users.add(name)
    with pytest.raises(NotFound, match="User bob not found"):
        await users.keeper.disable("bob")


@pytest.mark.requirement("GWY-02")
async def test_a_machine_key_has_its_scopes_accounts_and_end(users: Users) -> None:
    anna = await users.add()
    accounts = frozenset({AccountId("DU1"), AccountId("DU2")})
    made = await users.keeper.add_key(
        "anna", label="robot", scopes=frozenset({Scope.ORDERS_LIVE}), life=timedelta(days=30), accounts=accounts
    )
    principal = await users.sign_ins.authenticate(made.key, address=HERE)
    assert principal == Principal(
        user_id=anna.user_id,
        name="anna",
        role=Role.TRADER,
        scopes=frozenset({Scope.ORDERS_LIVE}),
        token_id=made.record.key_id,
        api_key_id=made.record.key_id,
        accounts=accounts,
    )
    ((kept, _),) = await users.keeper.keys("anna")
    assert kept.used_at == START
    assert made.key.reveal() not in repr(kept)
    wrong = made.key.reveal()[:-1] + ("0" if made.key.reveal()[-1] != "0" else "1")
    assert await refused(users, Secret(wrong))
    users.advance(days=30, seconds=-1)
    assert not await refused(users, made.key)
    users.advance(seconds=1)
    assert await refused(users, made.key)


@pytest.mark.requirement("GWY-02")
async def test_a_revoked_key_is_refused_and_cannot_be_revoked_twice(users: Users) -> None:
    await users.add()
    made = await users.keeper.add_key("anna", label="robot", scopes=frozenset({Scope.READ}), life=timedelta(days=1))
    await users.keeper.revoke_key(f"ibk_{made.record.key_id}")
    assert await refused(users, made.key)
    with pytest.raises(NotFound):
        await users.keeper.revoke_key(made.record.key_id)


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"label": " "}, "label"),
        ({"label": "robot\0"}, "label"),
        ({"label": "robot\x1b[2J"}, "label"),
        ({"life": timedelta(0)}, "days"),
        ({"life": timedelta(days=367)}, "days"),
        ({"accounts": frozenset()}, "account"),
        ({"scopes": frozenset()}, "Forbidden"),
    ],
)
async def test_a_key_without_purpose_end_or_scope_is_not_made(
    changed: dict[str, object], said: str, users: Users
) -> None:
    await users.add()
    asked = {"label": "robot", "scopes": frozenset({Scope.READ}), "life": timedelta(days=1)} | changed
    with pytest.raises(ConfigError, match=said):
        await users.keeper.add_key("anna", **asked)
    assert await users.keeper.keys() == ()


@pytest.mark.requirement("UI-01")
@pytest.mark.parametrize(
    ("idle_s", "alive"), [(0, True), (IDLE.total_seconds() - 1, True), (IDLE.total_seconds(), False)]
)
async def test_a_browser_session_ends_when_it_is_not_used(idle_s: float, alive: bool, users: Users) -> None:
    await users.add()
    cookie = await users.sign_ins.begin_session(await users.signed_in(), address=HERE)
    users.advance(seconds=idle_s)
    if alive:
        principal = await users.sign_ins.session_of(cookie, address=HERE)
        assert (principal.name, principal.scopes, principal.signed_in_at) == ("anna", TRADES, START)
    else:
        with pytest.raises(AuthError, match=r"^Unauthorized$"):
            await users.sign_ins.session_of(cookie, address=HERE)


@pytest.mark.requirement("UI-01")
async def test_a_browser_session_ends_after_twelve_hours_of_use(users: Users) -> None:
    await users.add()
    cookie = await users.sign_ins.begin_session(await users.signed_in(), address=HERE)
    while users.clock.now() + timedelta(minutes=20) < START + ABSOLUTE:
        users.advance(minutes=20)
        await users.sign_ins.session_of(cookie, address=HERE)
    users.clock.set(START + ABSOLUTE)
    with pytest.raises(AuthError):
        await users.sign_ins.session_of(cookie, address=HERE)


@pytest.mark.requirement("UI-01")
async def test_twelve_hours_count_from_the_proof_and_a_new_one_begins_them_anew(users: Users) -> None:
    await users.add()
    proof = await users.signed_in()
    users.advance(minutes=4)  # until the browser had its cookie
    first = await users.sign_ins.begin_session(proof, address=HERE)
    while users.clock.now() + timedelta(minutes=20) < START + ABSOLUTE:
        users.advance(minutes=20)
        await users.sign_ins.session_of(first, address=HERE)
    second = await users.sign_ins.begin_session(await users.signed_in(), address=HERE)

    users.clock.set(START + ABSOLUTE)
    with pytest.raises(AuthError):
        await users.sign_ins.session_of(first, address=HERE)
    for _ in range(5):
        await users.sign_ins.session_of(second, address=HERE)
        users.advance(minutes=20)


@pytest.mark.requirement("UI-01")
async def test_each_sign_in_of_a_browser_gets_a_new_id_and_ends_the_old_one(users: Users) -> None:
    anna = await users.add()
    planted = Secret("an-id-that-somebody-planted")
    first = await users.sign_ins.begin_session(await users.signed_in(), address=HERE, replaces=planted)
    users.advance(minutes=16)
    second = await users.sign_ins.begin_session(await users.signed_in(), address=HERE, replaces=first)
    for over in (planted, first):
        with pytest.raises(AuthError):
            await users.sign_ins.session_of(over, address=HERE)
    assert is_fresh(await users.sign_ins.session_of(second, address=HERE), users.clock.now())
    (kept,) = await users.store.sessions(anna.user_id)
    assert second.reveal() not in kept.id_hash
    await users.sign_ins.end_session(second)
    with pytest.raises(AuthError):
        await users.sign_ins.session_of(second, address=HERE)


@pytest.mark.requirement("UI-01")
async def test_a_forms_token_fits_its_own_session_alone(users: Users) -> None:
    await users.add()
    mine, other = [await users.sign_ins.begin_session(await users.signed_in(), address=HERE) for _ in range(2)]
    assert csrf_fits(mine, csrf_token(mine))
    assert not csrf_fits(mine, csrf_token(other))
    assert not csrf_fits(mine, mine)
    assert not csrf_fits(mine, Secret(""))
    assert not csrf_fits(mine, Secret("\udcff half a character, as a header may carry it"))


@pytest.mark.requirement("VLT-10")
async def test_a_browser_may_call_itself_whatever_it_likes(users: Users) -> None:
    await users.add()
    cookie = await users.sign_ins.begin_session(await users.signed_in(), address=HERE, agent="Bro\udcffwser\0 \x1b[2J")
    assert (await users.sign_ins.session_of(cookie, address=HERE)).name == "anna"
    (session,) = await users.store.sessions((await users.keeper.named("anna")).user_id)
    assert session.agent == "Browser [2J"


@pytest.mark.requirement("FUT-06")
async def test_with_a_second_step_the_password_alone_opens_nothing(users: Users) -> None:
    await users.add()
    secret, _ = await users.with_totp()

    step = await users.sign_ins.sign_in("anna", PASSWORD, address=HERE)
    assert isinstance(step, CodeNeeded)
    assert await refused(users, step.challenge)
    with pytest.raises(AuthError, match=r"^Unauthorized$"):
        await users.sign_ins.enter_code(step.challenge, "000000", address=HERE)
    signed_in = await users.sign_ins.enter_code(step.challenge, users.code(secret), address=HERE)

    assert signed_in.at == users.clock.now()
    assert not await refused(users, users.sign_ins.issue(signed_in).token)


@pytest.mark.requirement("FUT-06")
async def test_a_challenge_is_good_once_and_for_five_minutes(users: Users) -> None:
    await users.add()
    secret, codes = await users.with_totp()
    first, second = [await users.sign_ins.sign_in("anna", PASSWORD, address=HERE) for _ in range(2)]
    assert isinstance(first, CodeNeeded)
    assert isinstance(second, CodeNeeded)
    await users.sign_ins.enter_code(first.challenge, users.code(secret), address=HERE)
    with pytest.raises(AuthError):
        await users.sign_ins.enter_code(first.challenge, codes[0].reveal(), address=HERE)
    users.advance(minutes=5, seconds=31)
    with pytest.raises(AuthError):
        await users.sign_ins.enter_code(second.challenge, users.code(secret), address=HERE)
    token = await users.sign_ins.sign_in("anna", PASSWORD, address=HERE)
    assert isinstance(token, CodeNeeded)
    await users.keeper.disable("anna")
    with pytest.raises(AuthError):
        await users.sign_ins.enter_code(token.challenge, users.code(secret), address=HERE)


@pytest.mark.requirement("FUT-06")
async def test_a_user_token_is_no_challenge(users: Users) -> None:
    await users.add()
    token = await users.token()
    secret, _ = await users.with_totp()
    with pytest.raises(AuthError):
        await users.sign_ins.enter_code(token, users.code(secret), address=HERE)


@pytest.mark.requirement("FUT-06")
async def test_a_code_and_a_recovery_code_are_good_once(users: Users) -> None:
    await users.add()
    secret, codes = await users.with_totp()
    assert len({code.reveal() for code in codes}) == 10
    assert {len(code.reveal().replace("-", "")) * 5 for code in codes} == {130}, "128 bits, in letters of five"

    async def enter(code: str) -> bool:
        step = await users.sign_ins.sign_in("anna", PASSWORD, address=HERE)
        assert isinstance(step, CodeNeeded)
        try:
            await users.sign_ins.enter_code(step.challenge, code, address=HERE)
        except AuthError:
            return False
        return True

    code = users.code(secret)
    assert await enter(f"{code[:3]} {code[3:]}")
    assert not await enter(code)
    assert await enter(codes[3].reveal())
    assert not await enter(codes[3].reveal())
    assert await enter(codes[4].reveal().replace("-", " ").upper())
    user = await users.keeper.named("anna")
    assert len(user.recovery) == 8
    assert all(each.reveal() not in str(user.recovery) for each in codes)


@pytest.mark.requirement("FUT-06")
async def test_a_recovery_code_works_where_the_vaults_key_is_gone(users: Users) -> None:
    await users.add()
    secret, codes = await users.with_totp()
    sealing = VaultSealing(sealer(KeyRing(Secret(b"x" * 32))))
    sign_ins = SignIns(
        users.store, users.signer, Hasher(Chance(), CHEAP), sealing, clock=users.clock, random=Chance("other")
    )
    step = await sign_ins.sign_in("anna", PASSWORD, address=HERE)
    assert isinstance(step, CodeNeeded)
    with pytest.raises(StorageError):
        await sign_ins.enter_code(step.challenge, users.code(secret), address=HERE)
    assert await sign_ins.enter_code(step.challenge, codes[0].reveal(), address=HERE)


@pytest.mark.requirement("FUT-06")
async def test_a_second_step_is_in_force_only_when_the_app_has_shown_a_code(users: Users) -> None:
    await users.add()
    with pytest.raises(AuthError):
        await users.keeper.confirm_totp("anna", "123456")
    await users.keeper.begin_totp("anna")
    with pytest.raises(AuthError):
        await users.keeper.confirm_totp("anna", "no code")
    assert await users.signed_in()
    await users.with_totp()
    with pytest.raises(ConfigError, match="has a second step already"):
        await users.keeper.begin_totp("anna")
    await users.keeper.remove_totp("anna")
    assert await users.signed_in()


@pytest.mark.requirement("FUT-06")
async def test_a_second_step_outlives_a_change_of_the_vaults_key(users: Users) -> None:
    await users.add()
    await users.add("bob")
    secret, _ = await users.with_totp()
    old, new = Secret(b"v" * 32), Secret(b"n" * 32)

    def keeper(*keys: Secret[bytes]) -> UserKeeper:
        sealing = VaultSealing(sealer(KeyRing(keys[0], keys[1:]), random=Chance("new")))
        return UserKeeper(users.store, Hasher(Chance(), CHEAP), sealing, clock=users.clock, random=Chance())

    assert await keeper(new, old).reseal() == (1, ())

    sealed = (await users.keeper.named("anna")).totp_secret
    assert VaultSealing(sealer(KeyRing(new))).open((await users.keeper.named("anna")).user_id, sealed) == secret
    assert await keeper(old).reseal() == (0, ("second step of anna",))


@pytest.mark.requirement("VLT-10")
async def test_the_first_owner_signs_in_by_a_link_that_is_printed_once(users: Users) -> None:
    link = await users.keeper.first_link()
    assert link is not None
    assert (link.user.name, link.user.role) == ("owner", Role.OWNER)
    assert await users.keeper.first_link() is None
    with pytest.raises(AuthError):  # there is no password yet, also not an empty one
        await users.sign_ins.sign_in("owner", Secret(""), address=HERE)
    with pytest.raises(ConfigError, match="shorter than 12"):
        await users.sign_ins.use_link(link.token, Secret("short"), address=HERE)
    with pytest.raises(AuthError):
        await users.sign_ins.use_link(Secret(""), PASSWORD, address=HERE)

    signed_in = await users.sign_ins.use_link(link.token, PASSWORD, address=HERE)

    assert isinstance(signed_in, SignedIn)
    assert not await refused(users, users.sign_ins.issue(signed_in).token)
    with pytest.raises(AuthError):
        await users.sign_ins.use_link(link.token, OTHER, address=HERE)
    assert await users.signed_in("owner")
    users.advance(days=2)
    assert await users.keeper.first_link() is None


@pytest.mark.requirement("VLT-10")
async def test_a_link_that_ran_out_is_replaced_at_the_next_start(users: Users) -> None:
    first = await users.keeper.first_link()
    users.advance(hours=24)
    assert first is not None
    with pytest.raises(AuthError):
        await users.sign_ins.use_link(first.token, PASSWORD, address=HERE)
    second = await users.keeper.first_link()
    assert second is not None
    assert await users.sign_ins.use_link(second.token, PASSWORD, address=HERE)


@pytest.mark.requirement("VLT-10")
async def test_there_is_no_first_link_where_somebody_is(users: Users) -> None:
    await users.add("anna", Role.VIEWER)
    assert await users.keeper.first_link() is None


@pytest.mark.requirement("VLT-10")
async def test_a_hash_of_cheaper_days_is_made_anew_at_the_next_sign_in(tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path)) as users:
        await users.add()
        token = await users.token()
    dearer = Cost(memory_kib=16, passes=2)
    async with opened(sqlite(tmp_path), cost=dearer) as users:
        before = await users.keeper.named("anna")
        await users.signed_in()
        after = await users.keeper.named("anna")
        assert before.password_hash.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert after.password_hash.startswith("$argon2id$v=19$m=16,t=2,p=1$")
        assert await users.signed_in()
        assert not await refused(users, token)  # the password is the same: nothing ends


@pytest.mark.requirement("VLT-10")
async def test_without_other_figures_a_hash_is_that_of_owasp() -> None:
    made = Hasher(Chance()).hash(PASSWORD)
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD.reveal() not in made
    assert Hasher(Chance("other"), CHEAP).fits(made, PASSWORD)
    assert not Hasher(Chance(), CHEAP).fits("no hash", PASSWORD)
    assert not Hasher(Chance(), CHEAP).fits("", PASSWORD)


@pytest.mark.requirement("GWY-02")
async def test_an_address_is_counted_for_each_bad_token(users: Users) -> None:
    for _ in range(3):
        assert await refused(users, Secret("nonsense"))
    found = await users.store.failures(since=START)
    assert {(each.address, each.kind.value, each.user_id) for each in found} == {(HERE, "token", "")}
    assert len(found) == 3
    assert ELSEWHERE not in {each.address for each in found}


@pytest.mark.requirement("VLT-10")
async def test_who_is_invited_chooses_the_password_and_a_new_link_replaces_a_forgotten_one(users: Users) -> None:
    link = await users.keeper.invite("Tom", Role.TRADER)
    assert (link.user.name, link.user.role, link.expires_at - users.clock.now()) == (
        "tom",
        Role.TRADER,
        timedelta(hours=24),
    )
    with pytest.raises(AuthError):
        await users.sign_ins.sign_in("tom", Secret(""), address=HERE)
    assert isinstance(await users.sign_ins.use_link(link.token, PASSWORD, address=HERE), SignedIn)

    first, second = await users.keeper.new_link("tom"), await users.keeper.new_link("tom")
    token = await users.token("tom")  # until the link is used, everything is as it was
    with pytest.raises(AuthError):
        await users.sign_ins.use_link(first.token, OTHER, address=HERE)
    await users.sign_ins.use_link(second.token, OTHER, address=HERE)
    assert await refused(users, token)
    with pytest.raises(AuthError):
        await users.signed_in("tom")
    await users.keeper.disable("tom")
    with pytest.raises(ConfigError, match="tom is disabled"):
        await users.keeper.new_link("tom")


@pytest.mark.requirement("VLT-10", "FUT-06")
async def test_a_link_does_not_take_the_place_of_the_second_step(users: Users) -> None:
    await users.add()
    secret, _ = await users.with_totp()
    link = await users.keeper.new_link("anna")
    step = await users.sign_ins.use_link(link.token, OTHER, address=HERE)
    assert isinstance(step, CodeNeeded)
    assert await users.sign_ins.enter_code(step.challenge, users.code(secret), address=HERE)


@pytest.mark.requirement("VLT-10")
async def test_who_is_removed_is_gone_and_the_name_is_somebody_elses_after(users: Users) -> None:
    await users.add("olga", Role.OWNER)
    gone = await users.add()
    token = await users.token()
    key = (await users.keeper.add_key("anna", label="k", scopes=frozenset({Scope.READ}), life=timedelta(days=1))).key
    cookie = await users.sign_ins.begin_session(await users.signed_in(), address=HERE)

    assert (await users.keeper.remove("anna")).user_id == gone.user_id

    assert await refused(users, token)
    assert await refused(users, key)
    with pytest.raises(AuthError):
        await users.sign_ins.session_of(cookie, address=HERE)
    with pytest.raises(NotFound):
        await users.keeper.remove("anna")
    again = await users.add()
    assert again.user_id != gone.user_id
    assert await refused(users, token)
    with pytest.raises(ConfigError, match="last enabled owner"):
        await users.keeper.remove("olga")
    assert (await users.keeper.named("olga")).enabled


@pytest.mark.requirement("VLT-10")
async def test_an_admin_neither_invites_nor_removes_an_owner(users: Users) -> None:
    await users.add("olga", Role.OWNER)
    await users.add("adam", Role.ADMIN)
    adam = await users.sign_ins.authenticate(await users.token("adam"), address=HERE)
    for attempt in (
        lambda: users.keeper.invite("eve", Role.OWNER, by=adam),
        lambda: users.keeper.new_link("olga", by=adam),
        lambda: users.keeper.remove("olga", by=adam),
    ):
        with pytest.raises(ConfigError) as error:
            await attempt()
        assert error.value.code == "E-FORBIDDEN"
    assert [user.name for user in await users.keeper.users()] == ["adam", "olga"]


@pytest.mark.requirement("SEC-03", "MON-11")
async def test_one_who_may_not_connect_is_in_the_list_of_failures_and_ten_are_a_finding(users: Users) -> None:
    for _ in range(10):
        await users.sign_ins.turned_away(address=ELSEWHERE)
    assert {(each.address, each.kind.value) for each in await users.store.failures(since=START)} == {
        (ELSEWHERE, "address")
    }
    assert [(each.about, each.subject, each.count) for each in users.findings] == [("address", ELSEWHERE, 10)]


@pytest.mark.requirement("MON-12")
def test_what_is_told_of_a_new_place_is_light_and_says_what_to_do() -> None:
    told = happening_of_finding(NewPlace(user_id="u1", address="192.0.2.7", at=START))
    assert (told.event, told.severity, told.user) == (EventKind.SECURITY_FINDING, Severity.INFO, "u1")
    assert "192.0.2.7" in told.message
    assert "another password" in told.remedy
