"""Users in SQL, on SQLite and on a real PostgreSQL: what comes back, and that of two at once one wins."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from ibkit.errors import AuthError, ConfigError, IbkitError, NotFound
from ibkit.model import AccountId, Secret
from ibkit.store import upgrade_database
from ibkit.users import CodeNeeded, Role, Scope
from user_desks import HERE, PASSWORD, START, Users, opened, sqlite

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("VLT-10")]
OTHER = Secret("another long pass phrase")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    found: str = sqlite(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    return found


@pytest.fixture
async def users(url: str) -> AsyncIterator[Users]:
    async with opened(url) as found:
        yield found


@pytest.fixture
async def pair(url: str) -> AsyncIterator[tuple[Users, Users]]:
    """Two processes over one database: each its own connections and writer."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(opened(url))
        yield one, await stack.enter_async_context(opened(url, seed="another process"))


async def at_once(*works: Callable[[], Awaitable[object]]) -> list[object]:
    """What became of each: a result, or the error."""
    ended: list[object] = []

    async def run(work: Callable[[], Awaitable[object]]) -> None:
        try:
            ended.append(await work())
        except IbkitError as error:
            ended.append(error)

    async with anyio.create_task_group() as group:
        for work in works:
            group.start_soon(run, work)
    return ended


def losers(ended: list[object]) -> list[IbkitError]:
    return [each for each in ended if isinstance(each, IbkitError)]


async def test_everything_comes_back_as_it_was_put(users: Users) -> None:
    anna = await users.add()
    secret, _ = await users.with_totp()
    kept = await users.store.get(anna.user_id)
    assert kept is not None
    assert kept == await users.store.named("anna")
    assert (kept.created_at, kept.password_at, kept.totp_since, len(kept.recovery)) == (START, START, START, 10)
    assert base64.b32encode(secret.reveal()).decode() not in kept.totp_secret
    made = await users.keeper.add_key(
        "anna",
        label="robot",
        scopes=frozenset({Scope.READ, Scope.ORDERS_PAPER}),
        life=timedelta(days=9),
        accounts=frozenset({AccountId("DU1234567")}),
    )
    assert (await users.store.key(made.record.key_id)) == (made.record, kept)
    free = await users.keeper.add_key("anna", label="x", scopes=frozenset({Scope.READ}), life=timedelta(days=9))
    found = await users.store.key(free.record.key_id)
    assert found is not None
    assert found[0].accounts is None
    assert await users.store.get("nobody") is None
    assert await users.store.key("nothing") is None
    assert await users.store.session("nothing") is None
    assert await users.store.with_link("") is None


async def test_a_change_that_raises_leaves_everything_as_it_was(users: Users) -> None:
    anna = await users.add()

    def fails(_: Any) -> Any:
        raise ConfigError("no", code="E-VALIDATION")

    with pytest.raises(ConfigError, match="no"):
        await users.store.change(anna.user_id, fails, at=START)
    with pytest.raises(NotFound):
        await users.store.change("nobody", lambda user: user, at=START)
    assert await users.store.get(anna.user_id) == anna


async def test_the_steps_of_the_database_are_done_once(url: str) -> None:
    assert upgrade_database(url)["users"] == (0, 2)
    assert upgrade_database(url)["users"] == (2, 2)


async def test_revocations_of_tokens_that_are_over_go(users: Users) -> None:
    anna = await users.add()
    for day in range(3):
        at = START + timedelta(days=day)
        assert await users.store.revoke_token(f"{day:032x}", user_id=anna.user_id, expires_at=at, at=at)
    # The first was over for a day at the time of the second; nobody can use it any more, so it may be named again.
    assert await users.store.revoke_token("0" * 32, user_id=anna.user_id, expires_at=START, at=START)
    assert await users.store.standing(anna.user_id, f"{2:032x}") is None
    assert await users.store.standing(anna.user_id, f"{7:032x}") == anna


@pytest.mark.requirement("GWY-02")
async def test_a_token_that_is_refreshed_twice_at_once_has_one_heir(pair: tuple[Users, Users]) -> None:
    one, two = pair
    await one.add()
    token = await one.token()
    ended = await at_once(*(lambda u=u: u.sign_ins.refresh(token, address=HERE) for u in (one, two, one, two)))
    assert len(losers(ended)) == 3
    assert {(error.code, error.message) for error in losers(ended)} == {("E-APP-AUTH", "Unauthorized")}


@pytest.mark.requirement("FUT-06")
async def test_a_code_that_is_entered_twice_at_once_opens_once(pair: tuple[Users, Users]) -> None:
    one, two = pair
    await one.add()
    secret, recovery = await one.with_totp()
    two.clock.set(one.clock.now())
    for code in (one.code(secret), recovery[0].reveal()):
        steps = [await one.sign_ins.sign_in("anna", PASSWORD, address=HERE) for _ in range(4)]
        challenges = [step.challenge for step in steps if isinstance(step, CodeNeeded)]
        ended = await at_once(
            *(
                lambda u=u, c=c, code=code: u.sign_ins.enter_code(c, code, address=HERE)
                for u, c in zip((one, two, one, two), challenges, strict=True)
            )
        )
        assert len(losers(ended)) == 3, code


async def test_a_link_that_is_used_twice_at_once_is_good_once(pair: tuple[Users, Users]) -> None:
    one, two = pair
    link = await one.keeper.first_link()
    assert link is not None
    ended = await at_once(
        *(
            lambda u=u, p=p: u.sign_ins.use_link(link.token, p, address=HERE)
            for u, p in ((one, PASSWORD), (two, OTHER), (one, OTHER), (two, PASSWORD))
        )
    )
    assert len(losers(ended)) == 3
    assert all(isinstance(error, AuthError) for error in losers(ended))


async def test_of_two_first_starts_at_once_one_prints_a_link_that_is_good(url: str) -> None:
    async with AsyncExitStack() as stack:
        desks = [await stack.enter_async_context(opened(url, seed=seed)) for seed in ("one", "two")]
        for hours in (0, 24):
            for users in desks:
                users.advance(hours=hours)
            links = [each for each in await at_once(*(u.keeper.first_link for u in desks)) if each is not None]
            assert len(links) == 1
        assert await desks[0].sign_ins.use_link(links[0].token, PASSWORD, address=HERE)
        assert len(await desks[0].keeper.users()) == 1


async def test_two_owners_who_disable_each_other_at_once_leave_one(pair: tuple[Users, Users]) -> None:
    one, two = pair
    await one.add("olga", Role.OWNER)
    await one.add("otto", Role.OWNER)
    ended = await at_once(lambda: one.keeper.disable("olga"), lambda: two.keeper.disable("otto"))
    assert [error.code for error in losers(ended)] == ["E-FORBIDDEN"]
    assert sum(user.enabled for user in await one.keeper.users()) == 1


async def test_a_name_that_is_taken_twice_at_once_is_one_users(pair: tuple[Users, Users]) -> None:
    one, two = pair
    ended = await at_once(lambda: one.add("anna"), lambda: two.add("anna"))
    assert [error.code for error in losers(ended)] == ["E-VALIDATION"]


async def test_a_key_that_is_made_while_its_user_is_disabled_does_not_live(pair: tuple[Users, Users]) -> None:
    one, two = pair
    await one.add()
    ended = await at_once(
        lambda: one.keeper.add_key("anna", label="k", scopes=frozenset({Scope.READ}), life=timedelta(days=1)),
        lambda: two.keeper.disable("anna"),
    )
    await one.keeper.enable("anna")
    assert len(losers(ended)) <= 1
    assert all(key.revoked_at is not None for key, _ in await one.keeper.keys("anna"))


async def test_a_disabling_is_seen_by_another_process_at_once(pair: tuple[Users, Users]) -> None:
    one, two = pair
    await one.add()
    token = await one.token()
    assert await two.sign_ins.authenticate(token, address=HERE)
    await one.keeper.disable("anna")
    with pytest.raises(AuthError):
        await two.sign_ins.authenticate(token, address=HERE)


async def test_no_secret_stands_in_the_database(users: Users, tmp_path: Any, url: str) -> None:
    await users.add()
    address = await users.keeper.begin_totp("anna")
    app_secret = parse_qs(urlsplit(address.reveal()).query)["secret"][0]
    signed_in = await users.signed_in()
    token = users.sign_ins.issue(signed_in).token
    cookie = await users.sign_ins.begin_session(signed_in, address=HERE)
    key = await users.keeper.add_key("anna", label="k", scopes=frozenset({Scope.READ}), life=timedelta(days=1))
    await users.sign_ins.authenticate(key.key, address=HERE)
    secrets = [PASSWORD.reveal(), app_secret, token.reveal(), cookie.reveal(), key.key.reveal().rsplit("_", 1)[1]]
    kept = await _all_rows(users)
    assert "anna" in kept
    assert [each for each in secrets if each in kept] == []


async def _all_rows(users: Users) -> str:
    from ibkit.store import user_rows
    from ibkit.store.migrating import for_engine

    tables = [getattr(user_rows, name) for name in user_rows.__all__ if name.isupper()]

    def work(connection: Any) -> str:
        return "\n".join(str(row) for table in tables for row in for_engine(connection).execute(table.select()))

    return await users.store._database.read(work)


async def test_of_two_owners_who_remove_each_other_at_once_one_stays(pair: tuple[Users, Users]) -> None:
    one, two = pair
    await one.add("olga", Role.OWNER)
    await one.add("otto", Role.OWNER)
    await one.signed_in("olga")  # a known network goes with its user

    ended = await at_once(lambda: one.keeper.remove("olga"), lambda: two.keeper.remove("otto"))

    assert sorted(isinstance(each, ConfigError) for each in ended) == [False, True]
    assert len(await two.keeper.users()) == 1


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("name", ["\0", "anna\0", "\ud800", "x" * 10_000, "anna\u202e"])
async def test_a_name_that_nobody_can_have_is_an_unknown_one(users: Users, name: str) -> None:
    """No database is asked for what it cannot even read: that would be a fault of ours, and told as one."""
    await users.add()
    with pytest.raises(AuthError):
        await users.sign_ins.sign_in(name, PASSWORD, address=HERE)
    with pytest.raises(NotFound):
        await users.keeper.named(name)


@pytest.mark.requirement("GWY-11")
async def test_order_requests_are_counted_over_all_processes(pair: tuple[Users, Users]) -> None:
    """Sixty in any minute, whoever takes them in; at once, too, none slips through."""
    stores, minute, at = [each.store for each in pair], timedelta(minutes=1), START

    def one_more(number: int, user_id: str = "anna") -> Awaitable[object]:
        return stores[number % 2].requested(user_id, at=at, most=60, within=minute)

    for number in range(58):
        assert await one_more(number) is None
    at += timedelta(seconds=20)
    ended = await at_once(*(partial(one_more, number) for number in range(6)))
    assert ended.count(None) == 2
    assert set(ended) == {None, START + minute}, "the next may come when the first is a minute old"
    assert await one_more(0, "bert") is None
    at = START + minute
    assert [await one_more(number) for number in range(58)] == [None] * 58
    assert await one_more(0) == START + timedelta(seconds=20) + minute


@pytest.mark.requirement("GWY-11")
async def test_a_clock_that_was_set_back_holds_no_orders_up(users: Users) -> None:
    minute = timedelta(minutes=1)
    assert await users.store.requested("anna", at=START, most=1, within=minute) is None
    earlier = START - timedelta(hours=1)
    assert await users.store.requested("anna", at=earlier, most=1, within=minute) is None
    # the clock of another machine is a little ahead: who comes next waits no longer than a minute
    at = earlier - timedelta(seconds=30)
    assert await users.store.requested("anna", at=at, most=1, within=minute) == at + minute
