"""Wrong tries: whom they keep waiting, for how long, and whom they do not; findings of ten."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from ibkit.errors import AuthError, RateLimited
from ibkit.model import Secret
from ibkit.users import CodeNeeded, Finding, Role, SignedIn
from ibkit.users.attempts import WINDOW, History, network_of, waits_until
from user_desks import ELSEWHERE, HERE, PASSWORD, START, Users

WRONG = Secret("not the password at all")
MOMENT = timedelta(microseconds=1)
NEIGHBOUR = "192.0.2.200"
"""In the same /24 as HERE."""


async def fails(users: Users, times: int, *, name: str = "anna", address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(AuthError):
            await users.sign_ins.sign_in(name, WRONG, address=address)


async def waits(users: Users, *, name: str = "anna", address: str = HERE) -> float | None:
    """Minutes that a sign-in with the right password has to wait; None where it goes through."""
    try:
        await users.sign_ins.sign_in(name, PASSWORD, address=address)
    except RateLimited as error:
        said = error
    else:
        return None
    assert (said.code, said.http_status) == ("E-RATE", 429)
    assert said.retry_at is not None
    return (said.retry_at - users.clock.now()) / timedelta(minutes=1)


@pytest.mark.anyio
@pytest.mark.requirement("UI-01", "MON-11")
async def test_after_five_wrong_passwords_the_right_one_waits_fifteen_minutes(users: Users) -> None:
    await users.add()
    await fails(users, 5)
    with pytest.raises(RateLimited):
        await users.sign_ins.sign_in("anna", WRONG, address=HERE)
    assert await waits(users) == 15
    users.advance(minutes=14.9)
    assert await waits(users, address=NEIGHBOUR) is not None
    users.advance(minutes=0.1)
    assert await waits(users) is None
    kinds = [each.kind.value for each in await users.store.failures(since=START)]
    assert sorted(kinds) == ["password"] * 5 + ["waiting"] * 3


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_the_wait_grows_to_an_hour_and_a_sign_in_wipes_it_away(users: Users) -> None:
    await users.add()
    for minutes in (15, 30, 60, 60):
        await fails(users, 5)
        assert await waits(users) == minutes
        users.advance(minutes=minutes)
    assert await waits(users) is None
    await fails(users, 4)
    assert await waits(users) is None
    await fails(users, 5)
    assert await waits(users) == 15


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_what_is_refused_while_waiting_does_not_make_the_wait_longer(users: Users) -> None:
    await users.add()
    await fails(users, 5)
    for _ in range(14):
        users.advance(minutes=1)
        assert await waits(users) is not None
    users.advance(minutes=1)
    assert await waits(users) is None


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_an_attacker_elsewhere_cannot_lock_the_owner_out_of_a_known_place(users: Users) -> None:
    await users.add("olga", Role.OWNER)
    assert await waits(users, name="olga") is None
    for round_ in range(40):
        for turn in range(7):
            with pytest.raises((AuthError, RateLimited)):
                await users.sign_ins.sign_in("olga", WRONG, address=f"203.0.{round_}.{turn}")
        assert await waits(users, name="olga") is None
        users.advance(minutes=5)
    # Where the owner never was, the attack holds them up, but for a quarter of an hour after its end at most.
    assert await waits(users, name="olga", address=ELSEWHERE) is not None
    users.advance(minutes=15)
    assert await waits(users, name="olga", address=ELSEWHERE) is None


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_guesses_spread_over_many_networks_wait_too(users: Users) -> None:
    await users.add()
    for turn in range(5):
        await fails(users, 1, address=f"203.0.{turn}.1")
    assert await waits(users, address="203.0.99.1") == 15


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_an_unknown_name_waits_as_a_known_one_does(users: Users) -> None:
    await fails(users, 5, name="nobody")
    assert await waits(users, name="nobody") == 15
    assert await waits(users, name="Nobody ") == 15


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_one_network_that_tries_many_names_waits(users: Users) -> None:
    await users.add()
    for turn in range(20):
        await fails(users, 1, name=f"user{turn}")
    assert await waits(users) == 15
    assert await waits(users, address=ELSEWHERE) is None


@pytest.mark.anyio
@pytest.mark.requirement("UI-01", "FUT-06")
async def test_wrong_codes_count_and_the_right_password_does_not_wipe_them_away(users: Users) -> None:
    await users.add()
    secret, _ = await users.with_totp()
    for _ in range(5):
        step = await users.sign_ins.sign_in("anna", PASSWORD, address=HERE)
        assert isinstance(step, CodeNeeded)
        with pytest.raises(AuthError):
            await users.sign_ins.enter_code(step.challenge, "12345x", address=HERE)
    with pytest.raises(RateLimited):
        await users.sign_ins.enter_code(step.challenge, users.code(secret), address=HERE)
    assert await waits(users) == 15


@pytest.mark.anyio
@pytest.mark.requirement("UI-01")
async def test_of_sixty_tries_at_once_five_are_looked_at(users: Users) -> None:
    await users.add()
    ended: list[type[BaseException]] = []

    async def attempt() -> None:
        try:
            await users.sign_ins.sign_in("anna", WRONG, address=HERE)
        except (AuthError, RateLimited) as error:
            ended.append(type(error))

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(attempt)
    assert (ended.count(AuthError), ended.count(RateLimited)) == (5, 55)


@pytest.mark.anyio
@pytest.mark.requirement("MON-11")
async def test_ten_bad_tokens_from_one_address_make_one_finding(users: Users) -> None:
    for _ in range(15):
        with pytest.raises(AuthError):
            await users.sign_ins.authenticate(Secret("nonsense"), address=HERE)
    with pytest.raises(AuthError):
        await users.sign_ins.authenticate(Secret("nonsense"), address=ELSEWHERE)
    assert users.findings == [Finding(about="address", subject=HERE, count=10, at=START)]


@pytest.mark.anyio
@pytest.mark.requirement("MON-11")
async def test_ten_failures_of_an_account_from_many_addresses_make_one_finding(users: Users) -> None:
    anna = await users.add()
    for turn in range(12):
        with pytest.raises((AuthError, RateLimited)):
            await users.sign_ins.sign_in("anna", WRONG, address=f"203.0.{turn}.1")
    assert users.findings == [Finding(about="account", subject=anna.user_id, count=10, at=START)]


@pytest.mark.anyio
@pytest.mark.requirement("MON-11")
async def test_nine_in_a_quarter_of_an_hour_make_none(users: Users) -> None:
    for _ in range(4):
        for _ in range(9):
            with pytest.raises(AuthError):
                await users.sign_ins.authenticate(Secret("nonsense"), address=HERE)
        users.advance(minutes=15)
    assert users.findings == []


@pytest.mark.anyio
@pytest.mark.requirement("MON-11")
async def test_a_flood_of_bad_tokens_does_not_fill_the_disk_and_what_is_old_goes(users: Users) -> None:
    for _ in range(230):
        with pytest.raises(AuthError):
            await users.sign_ins.authenticate(Secret("nonsense"), address=HERE)
    assert len(await users.store.failures(since=START)) == 200
    await users.add()
    await fails(users, 1)  # a guess at a password is written down all the same
    assert len(await users.store.failures(since=START)) == 201
    users.advance(days=31)
    await fails(users, 1)
    assert len(await users.store.failures(since=START)) == 1


@pytest.mark.anyio
@pytest.mark.requirement("MON-11")
async def test_the_list_of_failures_holds_no_name_that_was_typed(users: Users) -> None:
    """People type their password there."""
    await fails(users, 1, name="hunter2-my-password")
    (failure,) = await users.store.failures(since=START)
    assert "hunter2" not in repr(failure)
    assert failure.user_id == ""


def test_without_five_failures_in_a_quarter_of_an_hour_nobody_waits() -> None:
    spread = [START + timedelta(minutes=4 * n) for n in range(40)]
    nothing = History(here=spread, elsewhere=(), network=(), known=True)
    assert waits_until(nothing) is None
    close = [START] * 4 + [START + WINDOW - MOMENT]
    assert waits_until(History(here=close, elsewhere=(), network=(), known=True)) == START + 2 * WINDOW - MOMENT
    later = [START] * 4 + [START + WINDOW]
    assert waits_until(History(here=later, elsewhere=(), network=(), known=True)) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.17", "192.0.2.0/24"),
        ("::ffff:192.0.2.17", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", "no address"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_network_is_what_one_person_easily_has(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.anyio
async def test_the_one_who_signs_in_is_not_in_the_list(users: Users) -> None:
    await users.add()
    assert isinstance(await users.sign_ins.sign_in("anna", PASSWORD, address=HERE), SignedIn)
    assert await users.store.failures(since=START) == []


@pytest.mark.requirement("UI-01")
@pytest.mark.anyio
async def test_wrong_links_of_others_do_not_keep_out_who_was_invited(users: Users) -> None:
    link = await users.keeper.invite("tom", Role.TRADER)
    for number in range(20):
        with pytest.raises(AuthError):
            await users.sign_ins.use_link(Secret(f"wrong {number}"), PASSWORD, address=f"192.0.{number % 5}.9")
    assert await users.sign_ins.use_link(link.token, PASSWORD, address=ELSEWHERE)


@pytest.mark.requirement("UI-01")
@pytest.mark.anyio
async def test_a_network_that_guesses_links_waits(users: Users) -> None:
    for number in range(20):
        with pytest.raises(AuthError):
            await users.sign_ins.use_link(Secret(f"wrong {number}"), PASSWORD, address=HERE)
    with pytest.raises(RateLimited):
        await users.sign_ins.use_link(Secret("wrong"), PASSWORD, address=HERE)
