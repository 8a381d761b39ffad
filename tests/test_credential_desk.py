"""Credentials as users keep them: tested at IBKR before they are used, replaced without a break, each act recorded."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from credential_desks import ADA, BOB, acts, fields_for, opened_desk, put, settings_of_vault
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.clients import client_of
from ibkit.bootstrap.credential_desk import Asker
from ibkit.errors import ConfigError, IbkitError, NotFound
from ibkit.model import AuthMethod, Environment
from ibkit.vault import Status
from ibkit.wire.endpoint import Needs
from simulators import make_simulator

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("VLT-08")
@pytest.mark.parametrize("method", [AuthMethod.OAUTH1A, AuthMethod.OAUTH2, AuthMethod.GATEWAY])
async def test_new_credentials_wait_are_tested_by_a_real_sign_in_and_then_used(
    tmp_path: Path, method: AuthMethod
) -> None:
    simulator = make_simulator()
    settings = settings_of_vault(tmp_path, IBKR_GATEWAYS_FOR_USERS="https://localhost:5000")
    async with opened_desk(settings, simulator) as desk:
        stored = await put(desk, fields_for(simulator, method), method=method)
        assert stored.in_use is None
        assert stored.waiting is not None
        assert stored.waiting.status is Status.INACTIVE
        with pytest.raises(ConfigError) as caught:
            await desk.use(ADA, "main")
        assert caught.value.code == "E-NOT-CONFIGURED"
        trial = await desk.test(ADA, "main")
        assert trial.failure is None
        assert trial.accounts[0] == "DU1000001"
        assert all(step.success for step in trial.steps.values())
        found = await desk.of_connection("user-ada", "main")
        assert found.waiting is None
        assert found.in_use is not None
        assert found.in_use.status is Status.ACTIVE
        assert found.in_use.last_connected_at is not None
        async with client_of(await desk.use(ADA, "main"), keep_alive=False) as ib:
            assert [each.account_id for each in await ib.accounts()] == list(trial.accounts)


@pytest.mark.requirement("VLT-08", "MON-02")
async def test_bad_credentials_over_good_ones_fail_with_the_reason_and_calls_go_on_with_the_good_ones(
    tmp_path: Path,
) -> None:
    simulator = make_simulator()
    good = fields_for(simulator)
    async with opened_desk(settings_of_vault(tmp_path), simulator) as desk:
        await put(desk, good)
        before = await desk.activate(ADA, "main")
        # The other user's key under this user's names: a form that is right, and a sign-in that cannot be.
        bad = {**good, "private_key": fields_for(simulator, user=1)["private_key"]}
        stored = await put(desk, bad)
        assert stored.in_use == before.in_use
        async with client_of(await desk.use(ADA, "main"), keep_alive=False) as ib:
            trial = await desk.test(ADA, "main")
            assert trial.failure is not None
            assert trial.failure.remedy
            assert not trial.steps["oauth"].success
            found = await desk.of_connection("user-ada", "main")
            assert found.in_use is not None
            assert found.in_use.status is Status.ACTIVE
            assert found.in_use.last_error is None
            assert found.waiting is not None
            assert found.waiting.status is Status.ERROR
            assert (found.waiting.last_error or "").startswith(trial.failure.code)
            with pytest.raises(IbkitError) as caught:
                await desk.activate(ADA, "main")
            assert caught.value.code == trial.failure.code
            assert len(await ib.accounts()) == 1  # the session in between was not touched
        async with client_of(await desk.use(ADA, "main"), keep_alive=False) as again:
            await again.accounts()


@pytest.mark.requirement("VLT-08")
async def test_a_test_is_not_passed_by_what_an_earlier_sign_in_left_behind(tmp_path: Path) -> None:
    """The kept token of good credentials would open the door for bad ones with the same names."""
    simulator = make_simulator()
    good = fields_for(simulator, AuthMethod.OAUTH1A)
    other = fields_for(simulator, AuthMethod.OAUTH1A, user=1)
    async with opened_desk(settings_of_vault(tmp_path), simulator) as desk:
        await put(desk, good, method=AuthMethod.OAUTH1A)
        await desk.activate(ADA, "main")
        async with client_of(await desk.use(ADA, "main"), keep_alive=False) as ib:
            await ib.accounts()
        assert list((tmp_path / "tokens").glob("*.grant")), "a sign-in is kept, which a test might fall for"
        await put(desk, {**good, "signature_key": other["signature_key"]}, method=AuthMethod.OAUTH1A)
        assert (await desk.test(ADA, "main")).failure is not None


@pytest.mark.requirement("VLT-08")
@pytest.mark.parametrize(
    ("changed", "environment", "code"),
    [({}, Environment.LIVE, "E-ACC-ENV"), ({"account_id": "DU2000001"}, Environment.PAPER, "E-NOT-FOUND")],
)
async def test_a_login_of_another_environment_or_without_the_account_is_not_put_in_use(
    tmp_path: Path, changed: dict[str, str], environment: Environment, code: str
) -> None:
    simulator = make_simulator()
    async with opened_desk(settings_of_vault(tmp_path), simulator) as desk:
        await put(desk, {**fields_for(simulator), **changed}, environment=environment)
        trial = await desk.test(ADA, "main")
        assert trial.failure is not None
        assert trial.failure.code == code
        assert trial.accounts == ()
        found = await desk.of_connection("user-ada", "main")
        assert found.in_use is None
        assert code in (found.waiting.last_error or "")  # type: ignore[union-attr]


@pytest.mark.requirement("VLT-08")
async def test_ibkr_away_leaves_credentials_waiting_and_the_next_test_puts_them_in_use(tmp_path: Path) -> None:
    simulator = make_simulator()
    async with opened_desk(settings_of_vault(tmp_path), simulator) as desk:
        await put(desk, fields_for(simulator))
        simulator.up = False
        assert (await desk.test(ADA, "main")).failure is not None
        simulator.up = True
        assert (await desk.activate(ADA, "main")).in_use is not None


@pytest.mark.requirement("VLT-09")
async def test_nobody_reaches_another_users_credentials_or_those_of_the_settings(tmp_path: Path) -> None:
    """The settings hold a login that works; a user without one is told so all the same."""
    simulator = make_simulator()
    own = fields_for(simulator, user=1)
    settings = settings_of_vault(
        tmp_path,
        IBKR_CLIENT_ID=own["client_id"],
        IBKR_CLIENT_KEY_ID=own["client_key_id"],
        IBKR_PRIVATE_KEY=own["private_key"],
        IBKR_CREDENTIAL=own["credential"],
        IBKR_ALLOWED_IP="127.0.0.1",
    )
    async with opened_desk(settings, simulator) as desk:
        await put(desk, fields_for(simulator))
        await desk.activate(ADA, "main")
        for verb in (desk.test, desk.activate, desk.delete):
            with pytest.raises(NotFound):
                await verb(BOB, "main")
        with pytest.raises(ConfigError) as caught:
            await desk.use(BOB, "main")
        assert caught.value.code == "E-NOT-CONFIGURED"
        assert await desk.of_user("user-bob") == ()
        assert await desk.delete(ADA, "main") == 1
        with pytest.raises(ConfigError) as caught:
            await desk.use(ADA, "main")
        assert caught.value.code == "E-NOT-CONFIGURED"


@pytest.mark.requirement("VLT-10", "AUTH-09")
@pytest.mark.parametrize("method", [AuthMethod.OAUTH1A, AuthMethod.OAUTH2])
async def test_with_the_credentials_goes_the_sign_in_that_is_kept_of_them(tmp_path: Path, method: AuthMethod) -> None:
    """It would open IBKR's door without what it was made of."""
    simulator = make_simulator()
    async with opened_desk(settings_of_vault(tmp_path), simulator) as desk:
        await put(desk, fields_for(simulator, method), method=method)
        await desk.activate(ADA, "main")
        async with client_of(await desk.use(ADA, "main"), keep_alive=False) as ib:
            await ib.accounts()
        kept = [each for each in (tmp_path / "tokens").rglob("*") if each.is_file()]
        assert kept
        await desk.delete(ADA, "main")
        assert [each for each in kept if each.exists()] == []


@pytest.mark.requirement("VLT-09")
async def test_two_users_at_two_brokers_call_at_once_and_never_meet(tmp_path: Path) -> None:
    one, two = make_simulator(), make_simulator()
    settings = settings_of_vault(tmp_path)
    clients = []
    for who, simulator, user in ((ADA, one, 0), (BOB, two, 1)):
        async with opened_desk(settings, simulator) as desk:
            await put(desk, fields_for(simulator, user=user), who=who)
            await desk.activate(who, "main")
            clients.append(client_of(await desk.use(who, "main"), upto=Needs.PRIMED_ACCOUNTS, keep_alive=False))
    answers: dict[str, set[str]] = {"DU1000001": set(), "DU2000001": set()}
    async with clients[0] as ada, clients[1] as bob:
        marks = len(one.requests), len(two.requests)

        async def calls(ib, account: str) -> None:
            for _ in range(100):
                answers[account] |= {each.account_id for each in await ib.accounts()}
                await ib.status()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calls, ada, "DU1000001")
            tasks.start_soon(calls, bob, "DU2000001")
        assert answers == {"DU1000001": {"DU1000001"}, "DU2000001": {"DU2000001", "DU2000002"}}
        assert len(one.requests) - marks[0] >= 100
        assert len(two.requests) - marks[1] >= 100
    for simulator, own in ((one, "simpaper1"), (two, "simpaper2")):
        assert {each.user for each in simulator.requests} == {own, None}
        claims = [each.notes["claims"]["iss"] for each in simulator.requests if "claims" in each.notes]
        assert claims
        assert {name.partition("-")[0].lower() for name in claims} == {own}


@pytest.mark.requirement("VLT-07", "MON-09")
async def test_every_act_is_in_the_audit_log_with_who_and_from_where_and_without_secrets(tmp_path: Path) -> None:
    simulator = make_simulator()
    settings = settings_of_vault(tmp_path)
    fields = fields_for(simulator)
    async with opened_desk(settings, simulator) as desk:
        await put(desk, fields)
        await put(desk, fields)
        simulator.up = False
        await desk.test(ADA, "main")
        simulator.up = True
        await desk.test(ADA, "main")
        await desk.use(ADA, "main")
        await desk.delete(Asker.here("user-ada"), "main")
    found = await acts(settings)
    assert [(action, result) for _, action, result in found] == [
        ("credentials.put", "ok"),
        ("credentials.put", "ok"),
        ("credentials.test", "failed"),
        ("credentials.test", "ok"),
        ("credentials.activate", "ok"),
        ("credentials.use", "ok"),
        ("credentials.delete", "ok"),
    ]
    assert {actor for actor, _, _ in found[:6]} == {"user-ada"}
    assert found[6][0].startswith("cli:")
    async with audit_log(settings) as log:
        entries = await log.entries(limit=200)
        assert {each.object for each in entries} == {"user-ada/main"}
        first, again = entries[-1], entries[-2]
    assert first.address == "192.0.2.7"
    assert "SHA256:" in first.details["private_key_fingerprint"]
    assert "unchanged" not in first.details
    assert again.details["unchanged"] == "yes"
    said = json.dumps([each.details for each in entries])
    assert not any(value in said for name, value in fields.items() if name not in ("allowed_ip",))


@pytest.mark.requirement("VLT-07", "AUTH-01")
async def test_a_method_that_is_not_allowed_and_too_many_connections_are_refused(tmp_path: Path) -> None:
    simulator = make_simulator()
    settings = settings_of_vault(tmp_path, IBKR_AUTH_METHODS_ALLOWED="gateway,oauth2")
    async with opened_desk(settings, simulator) as desk:
        with pytest.raises(ConfigError, match="oauth1a is not allowed"):
            await put(desk, fields_for(simulator, AuthMethod.OAUTH1A), method=AuthMethod.OAUTH1A)
        for number in range(20):
            await put(desk, fields_for(simulator), connection_id=f"c{number}")
        with pytest.raises(ConfigError, match="no more are kept"):
            await put(desk, fields_for(simulator), connection_id="one-more")
        await put(desk, fields_for(simulator, user=1), connection_id="c19")
        assert len(await desk.of_user("user-ada")) == 20
        with pytest.raises(ConfigError, match="operator"):
            await put(desk, fields_for(simulator, AuthMethod.GATEWAY), method=AuthMethod.GATEWAY, connection_id="c0")


@pytest.mark.requirement("VLT-08")
async def test_tests_of_one_connection_wait_for_each_other(tmp_path: Path) -> None:
    """Two at once would have each other's session pushed out at IBKR."""
    simulator = make_simulator()
    async with opened_desk(settings_of_vault(tmp_path), simulator) as desk:
        await put(desk, fields_for(simulator))
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(desk.test, ADA, "main")
        found = await desk.of_connection("user-ada", "main")
        assert found.in_use is not None
        assert found.in_use.last_error is None
