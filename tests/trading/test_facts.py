"""What is read for the controls: as few calls as possible, as fresh as needed, and what is missing stays missing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from fakes import ACCOUNT, GRID, SPY, option, quote, stock_ticket
from ibkit.errors import LimitExceeded, Unreachable
from ibkit.model import (
    AccountId,
    Environment,
    GroupKind,
    Key,
    Order,
    OrderId,
    OrderStatus,
    OrderType,
    Position,
    Ref,
    Right,
    Side,
)
from ibkit.trading.events import IntentId
from ibkit.trading.facts import ORDERS_AGE_S, FactFinder
from ibkit.trading.intake import Asked
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import OrdersRead
from ibkit.trading.risk import Facts, Holding, Market, Mode, State
from risk_cases import limit_order, sale, spread, spread_order
from trading_room import make_room

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]
KEY = Key("key-0123456789abcdef")


class Counting:
    """A broker of which each call is counted, with what it was about."""

    def __init__(self, broker):
        self.calls = Counter()
        self.asked = {}
        self._broker = broker

    def __getattr__(self, name):
        found = getattr(self._broker, name)
        if not callable(found):
            return found

        async def call(*arguments, **options):
            self.calls[name] += 1
            self.asked[name] = (*arguments, *options.values())
            return await found(*arguments, **options)

        return call


@pytest.fixture
def room():
    return make_room()


def finder(room, broker=None):
    return FactFinder(broker or room.broker, room.journal, room.gateway.tracker, room.clock, room.journal.risk, False)


def planned(room, ticket, **options):
    asked = Asked(reduces=options.pop("reduces", None))
    return room.gateway.intake.order(room.broker.username, ticket, key=KEY, asked=asked, **options)


async def gathered(room, ticket, given=None, broker=None, **options):
    return await finder(room, broker).gather(planned(room, ticket, **options), given=given)


def position(contract, quantity, value, currency="USD"):
    return Position(
        account_id=ACCOUNT,
        contract=dataclasses.replace(contract, currency=currency),
        quantity=Decimal(quantity),
        average_price=None,
        market_price=None,
        market_value=None if value is None else Decimal(value),
        realized_pnl=None,
        unrealized_pnl=None,
    )


async def test_each_thing_is_asked_once(room):
    broker = Counting(room.broker)

    facts = await gathered(room, limit_order("630"), broker=broker)

    assert set(broker.calls.values()) == {1}
    assert set(broker.calls) == {
        "is_paper",
        "session_health",
        "recent_orders",
        "positions",
        "daily_pnl",
        "accounts",
        "increments",
        "quote",
    }
    assert [broker.asked[name] for name in ("positions", "daily_pnl", "quote")] == [
        (ACCOUNT,),
        (ACCOUNT, False),
        (SPY.conid,),
    ]
    assert broker.asked["recent_orders"] == (ACCOUNT, ORDERS_AGE_S)
    assert (facts.positions, facts.others, facts.position) == ({}, (), 0)
    assert (facts.net_liquidation, facts.daily_pnl, facts.pnl_at) == (1_000_000, 0, room.clock.now())
    assert (facts.quote_at, facts.read_at) == (room.clock.now(), room.clock.now())
    assert facts.hours is None  # on paper nobody wants to know


async def test_what_the_caller_has_read_is_not_read_again(room):
    broker = Counting(room.broker)
    given = Facts(quote=quote(SPY.conid, "1", "2"), quote_at=room.clock.now(), increments=None)

    facts = await gathered(room, stock_ticket("1"), given, broker)

    assert (facts.quote, broker.calls["quote"], broker.calls["increments"]) == (given.quote, 0, 0)
    room.limits = dataclasses.replace(room.limits, market_orders=Mode.OFF)
    room.clock.advance(5.0)
    assert (await gathered(room, stock_ticket("1"), given)).quote is given.quote
    room.clock.advance(0.1)
    assert (await gathered(room, stock_ticket("1"), given)).quote.bid == Decimal("630.00")


async def test_limits_that_are_off_cost_no_call(room):
    room.limits = dataclasses.replace(room.limits, max_exposure=None, max_daily_loss_pct=None, regular_hours=True)
    broker = Counting(room.broker)

    facts = await gathered(room, stock_ticket("1"), broker=broker)

    assert (broker.calls["daily_pnl"], broker.calls["accounts"], broker.calls["trading_hours"]) == (0, 0, 1)
    assert broker.asked["trading_hours"] == (SPY,)
    assert facts.net_liquidation is None
    assert facts.hours.open_at(room.clock.now(), outside_rth=False)


async def test_an_order_that_the_journal_proves_to_close_asks_for_its_grid_alone(room):
    outcome = await room.gateway.submit(sale("1"), key=KEY, facts=Facts(planned_stop=Decimal("3.10")))
    await room.gateway.wait_for_fill(outcome.intent, within_s=5.0)
    broker = Counting(room.broker)
    stop = stock_ticket("1", contract=option(), order_type=OrderType.STOP, stop_price=Decimal("3.10"))

    facts = await gathered(room, stop, broker=broker, reduces=outcome.intent.intent_id)

    assert facts.reduces
    assert set(broker.calls) == {"is_paper", "session_health", "increments"}
    with pytest.raises(LimitExceeded, match="does not undo"):
        await gathered(room, dataclasses.replace(stop, quantity=Decimal(2)), reduces=outcome.intent.intent_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": Decimal(2)},
        {"side": Side.SELL},
        {"contract": option("630")},
        {"account_id": AccountId("DU7654321")},
        {"reduces": IntentId("ib-never")},
    ],
    ids=["more", "same side", "other contract", "other account", "of nothing"],
)
async def test_an_exit_that_undoes_nothing_says_of_what(room, changes):
    outcome = await room.gateway.submit(sale("1"), key=KEY, facts=Facts(planned_stop=Decimal("3.10")))
    await room.gateway.wait_for_fill(outcome.intent, within_s=5.0)
    of = changes.get("reduces", outcome.intent.intent_id)
    of_ticket = {name: value for name, value in changes.items() if name != "reduces"}
    ticket = dataclasses.replace(stock_ticket("1", contract=option()), **of_ticket)

    with pytest.raises(LimitExceeded) as caught:
        await gathered(room, ticket, reduces=of)

    assert caught.value.message == f"{ticket.label} does not undo what {of} filled"
    assert caught.value.details == {"control": "nothing_to_reduce"}


async def test_rows_of_one_contract_are_one_holding(room):
    async def positions(_account_id):
        return (position(SPY, "5", "500"), position(SPY, "-2", "-210"), position(option(), "1", "70"))

    room.broker.positions = positions
    facts = await gathered(room, stock_ticket("1"))

    assert facts.positions[SPY.conid] == Holding(quantity=Decimal(3), value_usd=Decimal(710))
    assert facts.positions[option().conid] == Holding(quantity=Decimal(1), value_usd=Decimal(70))
    assert facts.position == 3


async def test_one_row_without_a_value_leaves_the_holding_without_one(room):
    async def positions(_account_id):
        return (position(SPY, "5", None), position(SPY, "2", "210"))

    room.broker.positions = positions
    facts = await gathered(room, stock_ticket("1"))

    assert facts.positions[SPY.conid] == Holding(quantity=Decimal(7), value_usd=None)


@pytest.mark.parametrize("off", ["max_exposure", "max_daily_loss_pct"])
async def test_one_limit_that_needs_the_accounts_worth_is_enough_to_ask_for_it(room, off):
    room.limits = dataclasses.replace(room.limits, **{off: None})

    assert (await gathered(room, stock_ticket("1"))).net_liquidation == 1_000_000


@pytest.mark.parametrize(
    ("said", "known"),
    [(True, True), (False, False), (frozenset({ACCOUNT}), True), (frozenset({AccountId("DU999")}), False)],
)
async def test_a_persons_word_on_live_trading_is_part_of_what_is_known(room, said, known):
    asked = dataclasses.replace(finder(room), live_confirmed=said)

    assert (await asked.login(ACCOUNT)).live_confirmed is known
    assert (await asked.gather(planned(room, stock_ticket("1")), given=None)).live_confirmed is known


@pytest.mark.parametrize(
    ("ticket", "guard", "again"),
    [
        (stock_ticket("1"), Mode.WARN, True),
        (stock_ticket("1"), Mode.OFF, False),
        (limit_order("1"), Mode.WARN, False),
        (limit_order("1"), Mode.OFF, False),
    ],
    ids=["market", "market, no guard", "limit", "limit, no guard"],
)
async def test_what_trades_at_the_market_wants_a_younger_quote(room, ticket, guard, again):
    room.limits = dataclasses.replace(room.limits, market_orders=guard)
    given = Facts(quote=quote(SPY.conid, "1", "2"), quote_at=room.clock.now())
    room.clock.advance(3.0)  # 2 s are allowed to what trades at the market, 5 s to the rest

    assert ((await gathered(room, ticket, given)).quote is not given.quote) is again


async def test_the_underlying_of_what_is_sold_is_quoted_unless_a_stop_bounds_it(room):
    async def spot(ticket, given=None, **options):
        return (await gathered(room, ticket, given, **options)).underlying_price

    assert await spot(sale("1")) == Decimal("630.00")
    assert await spot(sale("1", side=Side.BUY)) is None
    assert await spot(sale("1"), Facts(planned_stop=Decimal("3.10"))) is None
    beside = {"others": (limit_order("1"),), "group": GroupKind.OCA}
    assert await spot(sale("1", order_type=OrderType.LIMIT, limit_price=Decimal(1)), **beside) == Decimal("630.00")


async def test_a_currency_behind_the_dollar_is_asked_for_too(room):
    async def positions(_account_id):
        return (position(SPY, "5", "500"), position(option(), "1", "30", "ZAR"))

    room.broker.positions = positions
    room.broker.rates["ZAR"] = Decimal("0.05")

    assert (await gathered(room, stock_ticket("1"))).rates == {"USD": 1, "ZAR": Decimal("0.05")}


async def test_positions_are_valued_in_dollars(room):
    held = (position(SPY, "5", "500"), position(option(), "-2", "-30", "EUR"), position(option("630"), "-1", None))

    async def positions(_account_id):
        return held

    room.broker.positions = positions
    facts = await gathered(room, stock_ticket("1"))
    assert facts.positions[SPY.conid].value_usd == 500
    assert facts.positions[option().conid].value_usd is None  # no rate is known
    assert (facts.position, facts.open_short_options) == (5, 3)
    room.broker.rates["EUR"] = Decimal("1.10")
    known = await gathered(room, stock_ticket("1"))
    assert known.positions[option().conid].value_usd == 33
    assert known.positions[option("630").conid].value_usd is None
    assert known.rates == {"USD": 1, "EUR": Decimal("1.10")}


async def test_worth_in_another_base_currency_is_converted(room):
    accounts = await room.broker.accounts()

    async def in_euro():
        return tuple(dataclasses.replace(account, currency="EUR") for account in accounts)

    room.broker.accounts = in_euro
    assert (await gathered(room, stock_ticket("1"))).net_liquidation is None
    room.broker.rates["EUR"] = Decimal("1.10")
    assert (await gathered(room, stock_ticket("1"))).net_liquidation == 1_100_000


async def test_an_account_that_is_not_listed_has_no_currency_and_so_no_worth(room):
    async def nobody():
        return ()

    room.broker.accounts = nobody
    assert (await gathered(room, stock_ticket("1"))).net_liquidation is None


async def test_what_the_caller_knows_of_another_order_of_the_group_is_not_read_again(room):
    seen = Market(quote=quote(option().conid, "1", "2"), quote_at=room.clock.now(), increments=GRID)
    broker = Counting(room.broker)
    pair = {"others": (limit_order("1", contract=option()),), "group": GroupKind.OCA}

    facts = await gathered(room, limit_order("100"), Facts(markets={option().conid: seen}), broker, **pair)

    assert facts.markets == {option().conid: seen}
    assert (broker.calls["increments"], broker.asked["quote"]) == (1, (SPY.conid,))


async def test_a_rate_that_cannot_be_read_is_left_out_and_the_next_is_asked_for(room):
    held = (position(SPY, "5", "500", "CHF"), position(option(), "-2", "-30", "EUR"))
    rates = {"EUR": Decimal("1.10")}

    async def positions(_account_id):
        return held

    async def exchange_rate(currency):
        if currency not in rates:
            raise Unreachable("no answer")
        return rates[currency]

    room.broker.positions, room.broker.exchange_rate = positions, exchange_rate

    assert (await gathered(room, stock_ticket("1"))).rates == {"USD": 1, "EUR": Decimal("1.10")}


async def test_what_the_caller_knows_of_a_contract_is_not_asked_for_its_twin(room):
    """Two orders of one contract: one grid; an underlying's price that is known: no quote of it."""
    broker = Counting(room.broker)
    pair = (limit_order("100"), limit_order("90"))
    await gathered(room, pair[0], others=(pair[1],), group=GroupKind.OCA, broker=broker)
    assert broker.calls["increments"] == 1

    room.limits = dataclasses.replace(room.limits, regular_hours=True)
    hours = (await gathered(room, stock_ticket("1"))).hours
    known = await gathered(room, stock_ticket("1"), Facts(hours=hours), broker)
    assert (known.hours, broker.calls["trading_hours"]) == (hours, 0)

    given = Facts(underlying_price=Decimal("629.50"))
    facts = await gathered(room, sale("1"), given, broker)
    assert (facts.underlying_price, broker.calls["quotes"]) == (Decimal("629.50"), 0)


@pytest.mark.parametrize("silent", ["none", "error"])
async def test_profit_and_loss_that_is_not_told_stays_unknown(room, silent):
    async def daily_pnl(_account_id, *, select=False):
        if silent == "error":
            raise Unreachable("no answer")

    room.broker.daily_pnl = daily_pnl
    facts = await gathered(room, stock_ticket("1"))

    assert (facts.daily_pnl, facts.net_liquidation, facts.pnl_at) == (None, None, None)
    outcome = await room.gateway.submit(stock_ticket("1"), key=KEY)
    assert outcome.error.details["control"] == "RC-14"
    assert room.broker.accepted == []


def listed(order_id="77", **changes):
    fields = {
        "order_id": OrderId(order_id),
        "account_id": ACCOUNT,
        "conid": SPY.conid,
        "side": Side.BUY,
        "order_type": "LMT",
        "status": OrderStatus.SUBMITTED,
        "raw_status": "Submitted",
        "total": Decimal(10),
        "filled": Decimal(0),
        "remaining": Decimal(10),
    }
    return Order(**{**fields, **changes})


async def test_orders_of_others_are_told_from_ours(room):
    room.broker.fills = False
    ours = await room.gateway.submit(limit_order("600", "10"), key=Key("key-ours-0123456789"))
    rows = (
        listed(str(ours.order_id), filled=Decimal(4), remaining=Decimal(6)),
        listed("78"),
        listed("79", ref=ours.intent.ref),
        listed("80", parent_id=ours.order_id),
        listed("81", status=OrderStatus.FILLED),
    )

    async def recent_orders(_account_id, *, within_s):
        return OrdersRead(rows, complete=True, first=False, mark=await room.broker.mark())

    room.broker.recent_orders = recent_orders
    facts = await gathered(room, stock_ticket("1"))

    # 79 carries our mark under another number: a second order, which counts like anybody's.
    assert [row.order_id for row in facts.others] == ["78", "79"]
    assert facts.filled == {ours.intent.intent_id: 4}
    assert facts.replaces is None


def lists(room, *rows):
    async def recent_orders(_account_id, *, within_s):
        return OrdersRead(rows, complete=True, first=False, mark=await room.broker.mark())

    room.broker.recent_orders = recent_orders


async def test_an_order_with_our_mark_is_ours_before_we_know_its_number(room):
    wish = planned(room, limit_order("600"))
    await room.journal.plan(wish)
    lists(room, listed("78", ref=f" {wish.ref.upper()} "), listed("79", ref="ib-somebody"), listed("80"))

    facts = await finder(room).gather(planned(room, stock_ticket("1")), given=None)

    assert [row.order_id for row in facts.others] == ["79", "80"]


async def test_what_is_filled_is_what_the_list_tells_and_all_of_an_order_that_ended(room):
    room.broker.fills = False
    ended = await room.gateway.submit(limit_order("600", "10"), key=Key("key-ended-012345678"))
    hidden = await room.gateway.submit(limit_order("601", "10"), key=Key("key-hidden-01234567"))
    lists(room, listed(str(ended.order_id), status=OrderStatus.FILLED, filled=Decimal(4)))

    facts = await gathered(room, stock_ticket("1"))

    assert facts.filled == {ended.intent.intent_id: 10, hidden.intent.intent_id: 0}


async def test_a_change_knows_the_order_that_it_replaces(room):
    row = listed("77")
    lists(room, listed("76"), row)
    change = room.gateway.intake.change(
        room.broker.username, OrderId("77"), limit_order("601"), key=KEY, asked=Asked(purpose="modify")
    )

    assert (await finder(room).gather(change, given=None)).replaces == row


async def test_a_combination_may_be_listed_by_one_of_its_legs(room):
    legs = spread(("629", -2, Right.PUT), ("624", 1, Right.PUT))
    lists(room, listed("77", conid=legs.legs[0].contract.conid, side=Side.SELL))
    change = room.gateway.intake.change(
        room.broker.username, OrderId("77"), spread_order(legs, "-1.00"), key=KEY, asked=Asked(purpose="modify")
    )

    assert (await finder(room).gather(change, given=None)).replaces.order_id == "77"


async def test_every_exit_counts_that_has_filled_or_may_fill(room):
    entry = await room.gateway.submit(stock_ticket("10"), key=KEY)
    of = (await room.gateway.wait_for_fill(entry.intent, within_s=5.0)).intent_id
    never = planned(room, stock_ticket("9", side=Side.SELL), reduces=of)
    await room.journal.plan(dataclasses.replace(never, key=Key("key-never-012345678"), intent_id=IntentId("ib-never")))
    filled = await room.gateway.submit(
        stock_ticket("3", side=Side.SELL), key=Key("key-close-012345678"), purpose="close", reduces=of
    )
    await room.gateway.wait_for_fill(filled.intent, within_s=5.0)
    stop = stock_ticket("4", side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"))
    await room.gateway.submit(stop, key=Key("key-stop-0123456789"), purpose="stop", reduces=of)

    assert (await gathered(room, stock_ticket("3", side=Side.SELL), reduces=of)).reduces
    with pytest.raises(LimitExceeded, match="only 3 of 10 are left to undo"):
        await gathered(room, stock_ticket("4", side=Side.SELL), reduces=of)


async def test_an_exit_whose_answer_was_lost_counts_as_if_it_could_fill(room):
    """It has no number yet, and so has a second one of the kind."""
    entry = await room.gateway.submit(stock_ticket("10"), key=KEY)
    of = (await room.gateway.wait_for_fill(entry.intent, within_s=5.0)).intent_id
    stop = stock_ticket("4", side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"))
    for number in (1, 2):
        name = f"ib-lost-{number}"
        plan = planned(room, stop, reduces=of)
        plan = dataclasses.replace(plan, key=Key(f"key-lost-01234567{number}"), intent_id=IntentId(name), ref=Ref(name))
        await room.journal.plan(plan)
        room.journal.intents[name] = dataclasses.replace(room.journal.intents[name], state=IntentState.AMBIGUOUS)

    assert (await gathered(room, stock_ticket("2", side=Side.SELL), reduces=of)).reduces
    with pytest.raises(LimitExceeded, match="only 2 of 10 are left to undo"):
        await gathered(room, stock_ticket("3", side=Side.SELL), reduces=of)


@pytest.mark.parametrize(("first_try", "known"), [(True, True), (False, False)])
async def test_a_list_that_is_not_complete_is_asked_for_once_more(room, first_try, known):
    asked = []

    async def recent_orders(account_id, *, within_s):
        asked.append((account_id, within_s))
        complete = first_try and len(asked) == 2
        return OrdersRead((), complete=complete, first=False, mark=await room.broker.mark())

    room.broker.recent_orders = recent_orders
    facts = await gathered(room, stock_ticket("1"))

    assert asked == [(ACCOUNT, ORDERS_AGE_S)] * 2
    assert (facts.others is not None) is known


async def test_legs_siblings_and_underlyings_are_quoted_at_once(room):
    legs = spread(("629", -2, Right.PUT), ("624", 1, Right.PUT))
    broker = Counting(room.broker)

    facts = await gathered(room, spread_order(legs, "-1.00"), broker=broker)

    assert (broker.calls["quotes"], broker.calls["quote"]) == (1, 0)
    assert set(facts.markets) == {leg.contract.conid for leg in legs.legs}
    sold, bought = (facts.markets[leg.contract.conid] for leg in legs.legs)
    assert (sold.underlying_price, bought.underlying_price) == (Decimal("630.00"), None)
    assert facts.increments.steps[0][1] == Decimal("0.01")
    pair = await gathered(room, limit_order("100"), others=(limit_order("1", contract=option()),), group=GroupKind.OCA)
    assert pair.markets[option().conid].quote is not None
    assert pair.markets[option().conid].increments is not None


async def test_a_wished_order_is_assessed_and_nothing_is_stored(room):
    readings = await room.gateway.assess(limit_order("630", "1"))

    assert [reading.control for reading in readings] == [f"RC-{n:02d}" for n in range(1, 31)]
    assert {r.state for r in readings} <= {State.OK, State.OFF}
    assert room.journal.intents == {}
    assert room.gateway.environment is Environment.PAPER


@pytest.mark.parametrize(
    ("held", "naked"),
    [
        ({("629", "P", 20): -3, ("624", "P", 20): 3}, 0),
        ({("629", "P", 20): -3, ("624", "P", 20): 2}, 1),
        ({("629", "P", 20): -3, ("636", "C", 20): 3}, 3),
        ({("629", "P", 20): -3, ("624", "P", 27): 3}, 0),
        ({("629", "P", 27): -3, ("624", "P", 20): 3}, 3),
        ({("629", "P", 20): -2, ("628", "P", 27): -2, ("624", "P", 27): 2, ("620", "P", 20): 1}, 1),
    ],
    ids=["spread", "part", "other right", "longer", "shorter", "two expiries"],
)
async def test_only_sold_options_that_nothing_covers_are_counted(room, held, naked):
    rows = tuple(
        position(option(strike, Right(right), date(2026, 11, day)), str(quantity), "0")
        for (strike, right, day), quantity in held.items()
    )

    async def positions(_account_id):
        return rows

    room.broker.positions = positions
    assert (await gathered(room, stock_ticket("1"))).open_short_options == naked
    rows += (position(SPY, "-5", "-500"),)  # stock that is short is no option
    assert (await gathered(room, stock_ticket("1"))).open_short_options == naked
