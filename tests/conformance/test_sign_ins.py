"""One script over all three sign-ins: moving from the gateway to OAuth is a matter of settings. AUTH-02."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import anyio
import pytest

from clients import make_client, permit
from ibkit.client.broker import IbkrBroker
from ibkit.errors import AuthError, IbkitError, SessionTaken
from ibkit.model import Accepted, Answer, Asked, AuthMethod, OrderStatus, OrderTicket, OrderType, Ref, Right, Side
from ibkit.wire import Needs, SessionState
from simulators import make_simulator

METHODS = pytest.mark.parametrize("method", list(AuthMethod), ids=lambda method: method.value)
FRIDAY = date(2026, 11, 20)


def paths(simulator) -> list[str]:
    return [f"{entry.method} {entry.path.removeprefix('/v1/api')}" for entry in simulator.requests]


@METHODS
@pytest.mark.requirement("AUTH-02", "TRD-02", "TRD-03", "TRD-04", "TRD-10")
def test_sign_in_look_order_and_leave(method) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            broker = IbkrBroker(ib)
            assert ib.state is SessionState.READY
            (account,) = await ib.accounts()
            assert await broker.is_paper()
            summary = await ib.summary()
            assert summary.total_cash_value == Decimal(1_000_000)
            assert await ib.positions() == ()
            put = await broker.option("SPY", expiry=FRIDAY, strike=Decimal(629), right=Right.PUT)
            assert put.label == "SPY 20261120 629 P"
            quote = await broker.quote(put.conid)
            assert quote.usable
            ticket = OrderTicket(
                account_id=account.account_id,
                contract=put,
                side=Side.SELL,
                order_type=OrderType.MARKET,
                quantity=Decimal(3),
            )
            answer: Answer = await broker.place(ticket, ref=Ref("conformance-1"), permit=permit(ib))
            while isinstance(answer, Asked):
                answer = await broker.reply(answer.question.question_id, confirmed=True, permit=permit(ib))
            assert isinstance(answer, Accepted)
            simulator.advance(5)
            order = await broker.order(answer.order_id)
            assert order is not None
            assert order.status is OrderStatus.FILLED
            await broker.read_fills(account.account_id)
            fills = (await broker.read_fills(account.account_id)).fills
            assert sum(fill.quantity for fill in fills) == 3
            (position,) = await broker.positions(account.account_id)
            assert (position.quantity, position.contract.strike) == (Decimal(-3), Decimal(629))
            assert (await ib.keeper.beat()).ready
            await ib.logout()
            assert ib.state is SessionState.LOGGED_OUT

    anyio.run(run)


@METHODS
@pytest.mark.requirement("AUTH-15")
@pytest.mark.parametrize("starting_s", [0, 4])
def test_every_sign_in_is_reported_in_the_same_four_steps(method, starting_s) -> None:
    simulator = make_simulator(starting_s=starting_s)

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            assert list(ib.steps) == ["oauth", "sso", "validate", "init"]
            assert all(step.success for step in ib.steps.values())

    anyio.run(run)


@pytest.mark.requirement("AUTH-03", "AUTH-14")
@pytest.mark.parametrize("starting_s", [0, 4])
def test_oauth1_asks_for_token_init_and_accounts_in_this_order_and_nothing_else(starting_s) -> None:
    """A session that is a while in starting is waited for by asking its status, and by nothing else."""
    simulator = make_simulator(starting_s=starting_s)

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A):
            pass

    anyio.run(run)
    asked = [path for path in paths(simulator) if not path.endswith("auth/status")]
    assert asked == ["POST /oauth/live_session_token", "POST /iserver/auth/ssodh/init", "GET /iserver/accounts"]
    assert simulator.requests[1].body == {"publish": True, "compete": False}


@METHODS
@pytest.mark.requirement("AUTH-14")
def test_compete_is_sent_only_when_asked_for(method) -> None:
    simulator = make_simulator("competing")

    async def run(compete: bool) -> None:
        async with make_client(simulator, method, compete=compete):
            pass

    with pytest.raises(SessionTaken) as caught:
        anyio.run(run, False)
    assert caught.value.code == "E-SES-COMPETING"
    anyio.run(run, True)
    sent = [entry.body["compete"] for entry in simulator.requests if entry.endpoint == "SSODH_INIT"]
    assert sent[-1] is True
    assert True not in sent[:-1]


@METHODS
@pytest.mark.requirement("AUTH-14")
def test_a_failed_dh_token_is_waited_for_and_asked_again_once(method) -> None:
    # A gateway opens the brokerage session by itself at login; here it is lost.
    simulator = make_simulator("sso-dh-500", *(["expired:restorable"] if method is AuthMethod.GATEWAY else []))

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            assert ib.state is SessionState.READY

    anyio.run(run)
    asked = paths(simulator)
    first = asked.index("POST /iserver/auth/ssodh/init")
    assert asked[first : first + 3] == [
        "POST /iserver/auth/ssodh/init",
        "POST /tickle",
        "POST /iserver/auth/ssodh/init",
    ]


@METHODS
@pytest.mark.requirement("AUTH-10")
def test_a_401_in_the_middle_of_a_read_is_invisible(method) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            await ib.accounts()
            simulator.control("POST", "faults", {"fault": "status", "endpoint": "POSITIONS", "params": {"status": 401}})
            assert await ib.positions() == ()

    anyio.run(run)


@METHODS
@pytest.mark.requirement("AUTH-10")
def test_two_401_in_a_row_are_an_authentication_failure(method) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            simulator.control(
                "POST", "faults", {"fault": "status", "endpoint": "LIVE_ORDERS", "times": 2, "params": {"status": 401}}
            )
            with pytest.raises(AuthError) as caught:
                await ib.orders()
            assert caught.value.code == "E-AUTH-FAILED"

    anyio.run(run)


@METHODS
@pytest.mark.requirement("AUTH-10")
def test_many_callers_who_meet_a_401_share_one_renewal(method) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            simulator.control(
                "POST",
                "faults",
                {"fault": "status", "endpoint": "SECDEF_SEARCH", "times": 3, "params": {"status": 401}},
            )
            before = ib.keeper.generation
            async with anyio.create_task_group() as group:
                for symbol in ("SPY", "QQQ", "AAPL"):
                    group.start_soon(ib.search, symbol)
            assert ib.keeper.generation == before + 1

    anyio.run(run)


@pytest.mark.requirement("AUTH-10")
def test_a_token_past_four_fifths_of_its_life_is_renewed_once_before_the_next_call() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A, open_to=Needs.OUTER_SESSION) as ib:
            simulator.advance(23 * 3600)
            await ib.accounts()
            await ib.ledger()

    anyio.run(run)
    assert paths(simulator).count("POST /oauth/live_session_token") == 2


@METHODS
@pytest.mark.requirement("AUTH-10")
def test_an_order_is_not_repeated_after_a_401(method) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            broker = IbkrBroker(ib)
            (account,) = await ib.accounts()
            spy = await broker.underlying("SPY")
            simulator.control(
                "POST", "faults", {"fault": "status", "endpoint": "PLACE_ORDERS", "params": {"status": 401}}
            )
            ticket = OrderTicket(
                account_id=account.account_id,
                contract=spy,
                side=Side.BUY,
                order_type=OrderType.MARKET,
                quantity=Decimal(1),
            )
            with pytest.raises(IbkitError) as caught:
                await broker.place(ticket, ref=Ref("conformance-401"), permit=permit(ib))
            assert caught.value.effect.value == "unknown"
            assert caught.value.details["status"] == 401
            generation = ib.keeper.generation
            await broker.read_orders(account.account_id)
            assert ib.keeper.generation == generation + 1

    anyio.run(run)
    assert len([path for path in paths(simulator) if path.endswith("/orders") and path.startswith("POST")]) == 1


CAUSES = [
    ("not-authenticated", AuthMethod.GATEWAY, "E-GW-NOAUTH"),
    ("expired", AuthMethod.GATEWAY, "E-SES-EXPIRED"),
    ("other-user", AuthMethod.GATEWAY, "E-SES-USER"),
    ("gw-ip-denied", AuthMethod.GATEWAY, "E-GW-IP"),
    ("competing", AuthMethod.OAUTH1A, "E-SES-COMPETING"),
    ("slow", AuthMethod.OAUTH1A, "E-TIMEOUT"),
    ("slow", AuthMethod.GATEWAY, "E-TIMEOUT"),
    ("rate-429", AuthMethod.GATEWAY, "E-RATE"),
    ("invalid-consumer", AuthMethod.OAUTH1A, "E-OA1-CONSUMER"),
    ("bad-signature", AuthMethod.OAUTH1A, "E-OA1-SIGNATURE"),
    ("lst-mismatch", AuthMethod.OAUTH1A, "E-OA1-LST"),
    ("oauth2-refused", AuthMethod.OAUTH2, "E-OA2-TOKEN"),
    ("sso-refused", AuthMethod.OAUTH2, "E-OA2-SSO"),
    ("validate-refused", AuthMethod.OAUTH2, "E-OA2-VALIDATE"),
    ("init-refused", AuthMethod.OAUTH1A, "E-SES-INIT"),
    ("init-refused", AuthMethod.OAUTH2, "E-SES-INIT"),
    ("ip-refused", AuthMethod.OAUTH2, "E-IP"),
    ("maintenance-503", AuthMethod.GATEWAY, "E-UPSTREAM"),
    ("endpoint-404", AuthMethod.OAUTH1A, "E-ENDPOINT"),
    ("garbage", AuthMethod.GATEWAY, "E-API-CONNECT"),
    ("garbage", AuthMethod.OAUTH1A, "E-API-CONNECT"),
]


@pytest.mark.parametrize(("scenario", "method", "code"), CAUSES, ids=lambda value: str(getattr(value, "value", value)))
@pytest.mark.requirement("AUTH-13", "AUTH-16", "AUTH-19", "LIM-03", "LIM-05")
def test_each_trouble_at_the_door_has_its_code(scenario, method, code) -> None:
    simulator = make_simulator(scenario)

    async def run() -> None:
        async with make_client(simulator, method, username="simpaper1"):
            pass

    with pytest.raises(IbkitError) as caught:
        anyio.run(run)
    assert caught.value.code == code, caught.value.message


@pytest.mark.requirement("SES-04", "AUTH-16")
def test_a_login_that_is_over_is_asked_to_be_revived_once_and_then_named() -> None:
    """docs/facts/auth-and-sessions.md §3.8: the gateway says whether it ever had one."""
    simulator = make_simulator("expired")

    async def run() -> IbkitError:
        async with make_client(simulator, AuthMethod.GATEWAY, open_to=None) as ib:
            for _ in range(3):
                with pytest.raises(IbkitError) as caught:
                    await ib.connect()
            return caught.value

    error = anyio.run(run)
    assert error.code == "E-SES-EXPIRED"
    assert "in a browser" in error.remedy
    assert paths(simulator).count("POST /iserver/reauthenticate") == 1
    assert not [path for path in paths(simulator) if "ssodh" in path]


@pytest.mark.requirement("SES-04")
@pytest.mark.parametrize("method", list(AuthMethod))
def test_a_brokerage_session_that_is_gone_comes_back_by_one_init(method: AuthMethod) -> None:
    simulator = make_simulator("expired:restorable")

    async def run() -> int:
        async with make_client(simulator, method) as ib:
            return len(await ib.accounts())

    assert anyio.run(run) == 1
    assert len([path for path in paths(simulator) if path.endswith("ssodh/init")]) == 1
    assert not [path for path in paths(simulator) if path.endswith("reauthenticate")]


@pytest.mark.requirement("SES-04", "SES-10")
@pytest.mark.parametrize("method", list(AuthMethod))
def test_a_logout_does_not_keep_anybody_out(method: AuthMethod) -> None:
    """docs/facts/auth-and-sessions.md §3.6: on a gateway init answers 410 then, and reauthenticate opens it again."""
    simulator = make_simulator()

    async def run() -> int:
        async with make_client(simulator, method) as ib:
            await ib.logout()
            return len(await ib.accounts())

    assert anyio.run(run) == 1


@pytest.mark.requirement("SES-04")
def test_a_gateway_login_that_comes_back_by_itself_is_taken() -> None:
    simulator = make_simulator("expired")

    class Reviving(type(simulator.transport("gateway"))):
        async def send(self, request, **rest):
            answer = await super().send(request, **rest)
            if request.url.endswith("/reauthenticate"):
                simulator.control("POST", "scenario", {"scenario": "ok"})
            return answer

    async def run() -> int:
        transport = Reviving(simulator, "gateway")
        async with make_client(simulator, AuthMethod.GATEWAY, open_to=None, transport=transport) as ib:
            await ib.connect()
            return len(await ib.accounts())

    assert anyio.run(run) == 1


@pytest.mark.requirement("LIM-08")
@pytest.mark.parametrize(("hour", "code"), [(6, "E-MAINT"), (20, "E-UPSTREAM")])
def test_an_outage_within_the_nightly_reset_is_maintenance(hour, code) -> None:
    simulator = make_simulator(start=datetime(2026, 11, 20, hour, 6, tzinfo=UTC))

    async def run() -> str:
        async with make_client(simulator, open_to=Needs.OUTER_SESSION) as ib:
            await ib.accounts()
            simulator.control(
                "POST", "faults", {"fault": "status", "endpoint": "LEDGER", "times": 9, "params": {"status": 503}}
            )
            with pytest.raises(IbkitError) as caught:
                await ib.ledger()
            return caught.value.code

    assert anyio.run(run) == code


@pytest.mark.requirement("AUTH-16")
def test_a_gateway_that_does_not_run_is_named() -> None:
    simulator = make_simulator()
    simulator.up = False

    async def run() -> None:
        async with make_client(simulator, AuthMethod.GATEWAY):
            pass

    with pytest.raises(IbkitError) as caught:
        anyio.run(run)
    assert caught.value.code == "E-GW-DOWN"


@pytest.mark.requirement("AUTH-20")
def test_what_only_a_person_can_repair_is_not_tried_again() -> None:
    simulator = make_simulator("oauth2-refused")

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH2, open_to=None) as ib:
            for _ in range(20):
                with pytest.raises(AuthError):
                    await ib.accounts()
                simulator.advance(30)

    anyio.run(run)
    assert len(simulator.requests) <= 3


@pytest.mark.requirement("AUTH-20")
def test_three_failures_in_five_minutes_pause_the_sign_in() -> None:
    simulator = make_simulator("init-refused")

    async def run() -> list[str]:
        codes = []
        async with make_client(simulator, AuthMethod.OAUTH1A, open_to=None) as ib:
            for _ in range(5):
                with pytest.raises(AuthError) as caught:
                    await ib.connect()
                codes.append(caught.value.code)
        return codes

    assert anyio.run(run) == ["E-SES-INIT"] * 3 + ["E-AUTH-BACKOFF"] * 2
    # Each of the three tries asks a second time after the pause that the answer calls for.
    assert len([entry for entry in simulator.requests if entry.endpoint == "SSODH_INIT"]) == 6
