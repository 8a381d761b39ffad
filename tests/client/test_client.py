"""The client's own rules, over the simulator: what is repeated, what is refused before it leaves, what waits."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import anyio
import pytest

from clients import make_client, permit
from ibkit.client.blocking import BlockingClient
from ibkit.client.broker import IbkrBroker
from ibkit.client.client import Client
from ibkit.client.core import Core
from ibkit.errors import (
    Effect,
    IbkitError,
    NotFound,
    NotPermitted,
    OutcomeUnknown,
    RateLimited,
    UnexpectedAnswer,
    Unreachable,
)
from ibkit.model import (
    AccountId,
    Asked,
    AuthMethod,
    Availability,
    Conid,
    OrderTicket,
    OrderType,
    Ref,
    Right,
    SecType,
    Side,
)
from ibkit.trading import ports
from ibkit.wire import LIVE_ORDERS, PLACE_ORDERS, PORTFOLIO_ACCOUNTS, PORTFOLIO_META, Endpoint, Needs, Pacer
from simulators import make_simulator

FRIDAY = date(2026, 11, 20)
SPY = Conid(756733)


def fault(simulator, kind: str, endpoint: str, **more: object) -> None:
    simulator.control("POST", "faults", {"fault": kind, "endpoint": endpoint, **more})


def sent(simulator, endpoint: str) -> list:
    return [entry for entry in simulator.requests if entry.endpoint == endpoint]


async def ticket(broker: IbkrBroker, quantity: int = 1) -> OrderTicket:
    (account,) = await broker.accounts()
    return OrderTicket(
        account_id=account.account_id,
        contract=await broker.underlying("SPY"),
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(quantity),
    )


@pytest.mark.requirement("LIM-04")
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_read_is_tried_three_times_with_growing_pauses(status) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            fault(simulator, "status", "ACCOUNT_SUMMARY", times=2, params={"status": status})
            began = simulator.clock.monotonic()
            await ib.accounts()
            fault(simulator, "status", "LEDGER", times=2, params={"status": status})
            began = simulator.clock.monotonic()
            await ib.ledger()
            assert 1.4 < simulator.clock.monotonic() - began < 2.5

    anyio.run(run)
    assert len(sent(simulator, "LEDGER")) == 3


@pytest.mark.requirement("LIM-04", "TRD-22")
@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("drop-request", {}),
        ("drop-answer", {}),
        ("status", {"status": 503}),
        ("status", {"status": 500}),
        ("status", {"status": 429}),
        ("status", {"status": 400}),
        ("status", {"status": 403}),
        ("status-after", {"status": 503}),
        ("html", {}),
        ("html-after", {}),
        ("truncate", {}),
        ("redirect", {"location": "https://localhost/sso/Login"}),
        ("empty-200", {}),
    ],
    ids=lambda value: str(value),
)
def test_an_order_is_sent_once_whatever_becomes_of_its_answer(kind, params) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            order = await ticket(broker)
            fault(simulator, kind, "PLACE_ORDERS", params=params)
            with pytest.raises(IbkitError) as caught:
                await broker.place(order, ref=Ref("once-only"), permit=permit(ib))
            assert isinstance(caught.value, OutcomeUnknown | UnexpectedAnswer)
            assert caught.value.effect is Effect.UNKNOWN
            await broker.read_orders(order.account_id)

    anyio.run(run)
    assert len(sent(simulator, "PLACE_ORDERS")) == 1


@pytest.mark.requirement("TRD-17")
def test_read_only_refuses_every_call_that_changes_an_order_before_it_leaves() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, read_only=True) as ib:
            broker = IbkrBroker(ib)
            order = await ticket(broker)
            for call in (
                lambda: broker.place(order, ref=Ref("r")),
                lambda: broker.reply("q", confirmed=True),
                lambda: broker.modify("1", order),
                lambda: broker.cancel(order.account_id, "1"),
            ):
                with pytest.raises(NotPermitted) as caught:
                    await call()
                assert caught.value.code == "E-READONLY"
            await broker.positions(order.account_id)
            await broker.preview(order)

    anyio.run(run)
    for endpoint in ("PLACE_ORDERS", "REPLY", "MODIFY_ORDER", "CANCEL_ORDER"):
        assert not sent(simulator, endpoint)


@pytest.mark.requirement("LIM-01", "LIM-02")
def test_accounts_are_asked_once_however_often_they_are_wanted() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            for _ in range(20):
                await ib.accounts()

    anyio.run(run)
    assert len(sent(simulator, "PORTFOLIO_ACCOUNTS")) == 1


@pytest.mark.requirement("LIM-01", "LIM-02")
def test_a_burst_meets_no_429_and_the_order_list_waits_its_five_seconds() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.GATEWAY) as ib:
            await ib.accounts()
            async with anyio.create_task_group() as group:
                for _ in range(40):
                    group.start_soon(partial(ib.request, PORTFOLIO_META, path={"account_id": "DU1000001"}))
            await ib.orders()
            await ib.orders()

    anyio.run(run)
    assert not [entry for entry in simulator.requests if entry.status == 429]
    assert len(sent(simulator, "LIVE_ORDERS")) == 2


@pytest.mark.requirement("LIM-01")
def test_a_call_that_would_wait_too_long_is_refused_here() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, open_to=Needs.OUTER_SESSION) as ib:
            for _ in range(4):
                ib._lanes._pacer.reserve(PORTFOLIO_ACCOUNTS, simulator.clock.monotonic())
            with pytest.raises(RateLimited) as caught:
                await ib.request(PORTFOLIO_ACCOUNTS)
            assert caught.value.code == "E-RATE"

    anyio.run(run)


@pytest.mark.requirement("LIM-03")
def test_three_refusals_for_pacing_stop_everything_for_ten_minutes() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            fault(simulator, "status", "LEDGER", times=3, params={"status": 429})
            with pytest.raises(RateLimited) as caught:
                await ib.ledger()
            assert caught.value.code == "E-PENALTY"
            count = len(simulator.requests)
            with pytest.raises(RateLimited) as caught:
                await ib.summary()
            assert caught.value.code == "E-PENALTY"
            assert caught.value.retry_at is not None
            assert len(simulator.requests) == count

    anyio.run(run)


@pytest.mark.requirement("LIM-03")
def test_no_request_goes_to_an_endpoint_while_it_pauses() -> None:
    """Nor one that somebody else wants meanwhile; the others go on."""
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.accounts()
            fault(simulator, "status", "LEDGER", times=1, params={"status": 429})
            async with anyio.create_task_group() as group:
                group.start_soon(ib.ledger)
                group.start_soon(ib.ledger)
                group.start_soon(ib.summary)

    anyio.run(run)
    calls = [(datetime.fromisoformat(entry.at), entry.status) for entry in sent(simulator, "LEDGER")]
    [refused] = [at for at, status in calls if status == 429]
    assert [status for _, status in calls].count(200) == 2
    assert [at for at, _ in calls if refused < at < refused + timedelta(seconds=1)] == []


@pytest.mark.requirement("TRD-04")
def test_all_positions_or_an_error_but_never_a_part() -> None:
    simulator = make_simulator("many-positions")

    async def run() -> None:
        async with make_client(simulator) as ib:
            found = await ib.positions()
            assert len(found) == 230
            assert len({position.contract.conid for position in found}) == 230
            pages = [entry.path.rsplit("/", 1)[1] for entry in sent(simulator, "POSITIONS")]
            assert pages == ["0", "1", "2"]
            assert all("sort" in entry.query for entry in sent(simulator, "POSITIONS"))
            fault(simulator, "status", "POSITIONS", after=1, times=None, params={"status": 500})
            with pytest.raises(IbkitError):
                await ib.positions(fresh=True)

    anyio.run(run)


@pytest.mark.requirement("TRD-02")
def test_a_login_without_accounts_says_so() -> None:
    simulator = make_simulator("no-account")

    async def run() -> None:
        async with make_client(simulator, open_to=Needs.OUTER_SESSION) as ib:
            with pytest.raises(NotPermitted) as caught:
                await ib.accounts()
            assert caught.value.code == "E-ACC-NONE"

    anyio.run(run)


@pytest.mark.requirement("TRD-02")
def test_of_several_accounts_none_is_taken_silently() -> None:
    simulator = make_simulator("multi-account")

    async def run() -> None:
        async with make_client(simulator) as ib:
            with pytest.raises(IbkitError) as caught:
                await ib.summary()
            assert caught.value.code == "E-ACC-AMBIGUOUS"
            first = (await ib.accounts())[0].account_id
            assert (await ib.summary(first)).account_id == first

    anyio.run(run)


@pytest.mark.requirement("TRD-05", "TRD-06")
def test_an_option_is_resolved_once_and_search_is_asked_once_in_each_brokerage_session() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            for _ in range(3):
                put = await ib.option("SPY", expiry=FRIDAY, strike=Decimal(629), right=Right.PUT)
            assert put.sec_type is SecType.OPTION
            assert put.multiplier == 100
            assert len(sent(simulator, "SECDEF_SEARCH")) == 1
            assert len(sent(simulator, "SECDEF_INFO")) == 1
            await ib.keeper.renew()
            await ib.option("SPY", expiry=FRIDAY, strike=Decimal(629), right=Right.PUT)
            assert len(sent(simulator, "SECDEF_SEARCH")) == 2

    anyio.run(run)


@pytest.mark.requirement("TRD-06")
@pytest.mark.parametrize(
    ("expiry", "strike", "code", "told"),
    [
        (FRIDAY, "629.3", "E-CONTRACT", ["629", "630"]),
        (date(2026, 11, 21), "629", "E-EXPIRY", ["20261123", "20261124", "20261125"]),
        (date(2026, 11, 19), "629", "E-EXPIRY", ["20261120", "20261123", "20261124"]),
        (date(2031, 1, 17), "629", "E-EXPIRY", None),
    ],
)
def test_what_is_not_listed_is_answered_with_what_is(expiry, strike, code, told) -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            with pytest.raises(NotFound) as caught:
                await ib.option("SPY", expiry=expiry, strike=Decimal(strike), right=Right.PUT)
            assert caught.value.code == code
            if told is not None:
                assert (caught.value.details.get("strikes") or caught.value.details.get("expiries")) == told

    anyio.run(run)


@pytest.mark.requirement("TRD-05")
def test_an_unknown_symbol_is_no_contract() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            with pytest.raises(NotFound) as caught:
                await ib.underlying("NOSUCH")
            assert caught.value.code == "E-CONTRACT"

    anyio.run(run)


@pytest.mark.requirement("TRD-06")
def test_strikes_near_a_price_come_in_order() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            found = await ib.option_strikes("SPY", expiry=FRIDAY, right=Right.CALL, near=Decimal(630), at_most=7)
            strikes = [option.strike for option in found]
            assert strikes == sorted(strikes)
            assert len(strikes) == 7
            assert Decimal(630) in strikes

    anyio.run(run)


@pytest.mark.requirement("TRD-07")
@pytest.mark.parametrize("scenario", ["ok", "empty-first-snapshot"])
def test_a_quote_is_waited_for_until_both_sides_are_there(scenario) -> None:
    simulator = make_simulator(scenario)

    async def run() -> None:
        async with make_client(simulator) as ib:
            spy = await ib.underlying("SPY")
            began = simulator.clock.monotonic()
            quote = await ib.quote(spy.conid)
            assert quote.usable
            assert simulator.clock.monotonic() - began <= 6
            assert len(sent(simulator, "SNAPSHOT")) >= 2

    anyio.run(run)


@pytest.mark.requirement("TRD-07")
def test_an_index_without_bid_and_ask_is_not_waited_for_longer_than_a_price() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            index = await ib.underlying("SPX")
            began = simulator.clock.monotonic()
            quote = await ib.quote(index.conid)
            assert quote.best is not None
            assert simulator.clock.monotonic() - began < 6

    anyio.run(run)


@pytest.mark.requirement("TRD-08")
@pytest.mark.parametrize(
    ("scenario", "code"),
    [("no-market-data", "E-MD-NONE"), ("md-not-subscribed", "E-MD-NONE"), ("md-no-ack", "E-MD-ACK")],
)
def test_missing_market_data_is_named_by_its_cause(scenario, code) -> None:
    simulator = make_simulator(scenario)

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.underlying("SPY")
            with pytest.raises(NotPermitted) as caught:
                await ib.quote(SPY)
            assert caught.value.code == code

    anyio.run(run)


@pytest.mark.requirement("TRD-08")
def test_a_delayed_quote_is_shown_as_delayed() -> None:
    simulator = make_simulator("delayed-quotes")

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.underlying("SPY")
            assert (await ib.quote(SPY)).availability is Availability.DELAYED

    anyio.run(run)


@pytest.mark.requirement("TRD-15")
def test_price_increments_are_asked_once_an_hour() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            await ib.underlying("SPY")
            for _ in range(3):
                grid = await ib.increments(SPY, side=Side.BUY)
            assert grid.at(Decimal(630)) == Decimal("0.01")
            assert len(sent(simulator, "CONTRACT_RULES")) == 1

    anyio.run(run)


@pytest.mark.requirement("TRD-22")
def test_the_first_read_of_orders_says_that_it_proves_nothing() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            (account,) = await broker.accounts()
            first, second = [await broker.read_orders(account.account_id) for _ in range(2)]
            assert first.first
            assert not second.first
            assert (first.complete, second.complete) == (False, True)
            assert first.mark == second.mark
            simulator.advance(7 * 60)  # the brokerage session dies of idleness
            other = await broker.read_orders(account.account_id)
            assert other.mark != first.mark
            assert other.first

    anyio.run(run)


@pytest.mark.requirement("TRD-12")
def test_an_unknown_order_is_none_and_its_cancel_is_refused_with_the_brokers_words() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            assert await broker.order("123456") is None
            with pytest.raises(NotFound, match="doesn't exist"):
                await broker.cancel(AccountId("DU1000001"), "123456", permit=permit(ib))

    anyio.run(run)


@pytest.mark.requirement("AUTH-10", "TRD-10")
def test_no_renewal_comes_between_a_question_and_its_reply() -> None:
    simulator = make_simulator("order-question")

    async def run() -> None:
        async with make_client(simulator) as ib:
            broker = IbkrBroker(ib)
            asked = await broker.place(await ticket(broker), ref=Ref("ask-me"), permit=permit(ib))
            ib.keeper._renew_at = simulator.clock.now()
            generation = ib.keeper.generation
            await ib.ledger()
            assert ib.keeper.generation == generation
            while isinstance(asked, Asked):
                asked = await broker.reply(asked.question.question_id, confirmed=True, permit=permit(ib))
            await ib.ledger()
            assert ib.keeper.generation == generation + 1

    anyio.run(run)


@pytest.mark.requirement("AUTH-14")
def test_suppressed_questions_are_suppressed_again_after_each_init() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, suppress=("o163", "o354")) as ib:
            await ib.keeper.renew()

    anyio.run(run)
    bodies = [entry.body for entry in sent(simulator, "SUPPRESS_QUESTIONS")]
    assert bodies == [{"messageIds": ["o163", "o354"]}] * 2


def test_a_lost_brokerage_session_is_opened_again_by_the_next_beat() -> None:
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator) as ib:
            simulator.advance(7 * 60)
            await ib.keeper.beat()
            assert (await ib.status()).ready
            await ib.search("SPY")

    anyio.run(run)
    assert len(sent(simulator, "SSODH_INIT")) == 2


def test_constructing_sends_nothing_and_a_client_opens_as_far_as_it_is_asked() -> None:
    simulator = make_simulator()

    async def run() -> None:
        ib = make_client(simulator, open_to=None)
        assert not simulator.requests
        async with ib:
            assert not simulator.requests
            await ib.ledger()
            assert not sent(simulator, "SSODH_INIT")
            await ib.search("SPY")
            assert len(sent(simulator, "SSODH_INIT")) == 1

    anyio.run(run)


@pytest.mark.requirement("AUTH-02")
def test_the_blocking_face_has_the_same_verbs_with_the_same_arguments() -> None:
    inherited = {name for name in vars(Core) if not name.startswith("_")}
    verbs = {
        name: value
        for name, value in vars(Client).items()
        if inspect.iscoroutinefunction(value) and name not in inherited
    }
    assert len(verbs) > 30
    for name, verb in verbs.items():
        wanted = list(inspect.signature(verb).parameters.values())[1:]
        found = list(inspect.signature(getattr(BlockingClient, name)).parameters.values())[1:]
        shape = [(each.name, each.kind, each.default) for each in wanted]
        assert [(each.name, each.kind, each.default) for each in found] == shape, name


@pytest.mark.requirement("AUTH-02")
def test_the_blocking_face_works_without_a_loop_of_the_callers() -> None:
    simulator = make_simulator()
    with BlockingClient(lambda: make_client(simulator)) as ib:
        (account,) = ib.accounts()
        assert ib.summary(account.account_id).total_cash_value == Decimal(1_000_000)


def test_the_broker_has_every_method_of_its_port() -> None:
    port = {name for name in vars(ports.Broker) if not name.startswith("_")}
    assert port <= set(dir(IbkrBroker))


def test_orders_go_before_data_in_a_queue() -> None:
    from ibkit.client.pacing import Lanes
    from ibkit.clock import ManualClock
    from simulators import TRADING_MOMENT

    order_call = Endpoint("POST", "/order", "test", lane=LIVE_ORDERS.lane)
    data_call = Endpoint("GET", "/data", "test")

    async def run() -> list[str]:
        lanes = Lanes(Pacer(calls_per_s=1), ManualClock(TRADING_MOMENT))
        gone: list[str] = []

        async def call(endpoint: Endpoint) -> None:
            if not lanes.quick(endpoint):
                await lanes.enter(endpoint)
            gone.append(endpoint.path)

        await call(data_call)
        async with anyio.create_task_group() as group:
            for endpoint in (data_call, data_call, order_call):
                group.start_soon(call, endpoint)
        return gone

    assert anyio.run(run).index("/order") <= 2


@pytest.mark.requirement("TRD-10", "LIM-02")
@pytest.mark.parametrize("method", [AuthMethod.OAUTH1A, AuthMethod.GATEWAY])
def test_an_order_that_had_to_wait_too_long_does_not_leave(method) -> None:
    """The pacer holds it behind a 429; by then its two seconds are over (fault F91)."""
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator, method) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)
            ib._lanes.slow_down(PLACE_ORDERS, "5")
            with pytest.raises(Unreachable) as caught:
                await broker.place(ordered, ref=Ref("ib-late-0123456789"), permit=permit(ib, within_s=2))
            assert caught.value.details["late"]
            assert caught.value.effect is Effect.NONE

    anyio.run(run)
    assert not sent(simulator, "PLACE_ORDERS")


@pytest.mark.requirement("TRD-10", "AUTH-10")
def test_an_order_whose_sign_in_took_too_long_does_not_leave() -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH2) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)
            await ib.keeper.forget()  # the next call signs in anew, which takes its three seconds to settle
            with pytest.raises(Unreachable) as caught:
                await broker.place(ordered, ref=Ref("ib-late-0123456789"), permit=permit(ib, within_s=2))
            assert caught.value.details["late"]

    anyio.run(run)
    assert not sent(simulator, "PLACE_ORDERS")


@pytest.mark.requirement("TRD-22", "LIM-03")
def test_what_our_own_side_holds_back_is_told_apart_from_what_ibkr_refused() -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator, read_only=True) as ib:
            broker = IbkrBroker(ib)
            ordered = await ticket(broker)
            with pytest.raises(NotPermitted) as caught:
                await broker.place(ordered, ref=Ref("ib-held-0123456789"))
            assert caught.value.details["unsent"]
            for _ in range(3):
                ib._lanes.slow_down(PLACE_ORDERS, None)
            with pytest.raises(RateLimited) as boxed:
                await broker.read_orders(ordered.account_id)
            assert boxed.value.details["unsent"]

    anyio.run(run)
    assert not sent(simulator, "PLACE_ORDERS")


@pytest.mark.requirement("TRD-10")
def test_one_user_has_one_name_whichever_way_he_signed_in() -> None:
    """The lock of the order conversation hangs on it: the consumer key would be another name than the gateway's."""
    simulator = make_simulator("ok")
    names = {}

    async def run() -> None:
        for method in AuthMethod:
            async with make_client(simulator, method, compete=True) as ib:
                broker = IbkrBroker(ib)
                names[method] = await broker.identify()
                assert await broker.identify() == broker.username == names[method]

    anyio.run(run)
    assert set(names.values()) == {simulator.users[0].user.username.lower()}
    assert len(sent(simulator, "ONE_USER")) <= 3


@pytest.mark.requirement("TRD-10")
@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_untold_user_name_neither_ends_the_login_nor_the_trading(status) -> None:
    simulator = make_simulator("ok")

    async def run() -> None:
        async with make_client(simulator, AuthMethod.OAUTH1A) as ib:
            fault(simulator, "status", "ONE_USER", params={"status": status})
            broker = IbkrBroker(ib)
            assert await broker.identify() == ib.username.lower()
            assert await broker.accounts()

    anyio.run(run)
    assert len(sent(simulator, "LIVE_SESSION_TOKEN")) == 1


@pytest.mark.requirement("TRD-22")
def test_a_session_that_changes_without_an_error_is_seen_before_its_lists_are_believed() -> None:
    """Somebody logs the gateway in anew: no call fails, but the list read now says nothing of the session before."""
    simulator = make_simulator()

    async def run() -> None:
        async with make_client(simulator, AuthMethod.GATEWAY) as ib:
            broker = IbkrBroker(ib)
            (account,) = await broker.accounts()
            first, second = [await broker.read_orders(account.account_id) for _ in range(2)]
            await ib.quote((await ib.underlying("SPY")).conid)
            assert ib.caches.lines
            simulator.control("POST", "login", {"logged_in": False})
            simulator.control("POST", "login", {"logged_in": True})
            third = await broker.read_orders(account.account_id)
            assert second.mark == first.mark
            assert third.mark != second.mark
            assert third.first
            assert not ib.caches.lines  # else the next order would meet o354
            assert not ib.caches.searched

    anyio.run(run)


@pytest.mark.requirement("LIM-05", "SES-02")
@pytest.mark.parametrize("method", [AuthMethod.GATEWAY, AuthMethod.OAUTH1A, AuthMethod.OAUTH2])
def test_against_a_slow_server_a_tickle_ends_within_ten_seconds_and_a_read_within_sixteen(method) -> None:
    """Answers take a minute (scenario `slow`); the limit holds for all tries of a call together."""
    simulator = make_simulator("ok")

    async def took(call: Awaitable[object]) -> float:
        began = simulator.clock.monotonic()
        with pytest.raises(IbkitError) as caught:
            await call
        assert caught.value.code == "E-TIMEOUT"
        return simulator.clock.monotonic() - began

    async def run() -> tuple[float, float]:
        async with make_client(simulator, method) as ib:
            simulator.control("POST", "scenario", {"scenario": ["slow"]})
            simulator.advance(30)  # as between two keep-alives: no slot is waited for
            return await took(ib.keeper.beat()), await took(ib.request(PORTFOLIO_ACCOUNTS))

    tickled, read = anyio.run(run)
    assert 9 < tickled <= 10
    assert 14 < read <= 16
    assert sum(row["path"].endswith("/tickle") for row in simulator.control("GET", "requests")) >= 1
