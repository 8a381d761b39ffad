"""Vertical spreads: one order in, one stop on the same combination, and the numbers in between."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import SPY, option, quote
from ibkit.model import Availability, Increments, OrderStatus, OrderType, Right, Side
from ibkit.trading.alert import AlertKind
from ibkit.trading.grids import coarser
from ibkit.trading.selling.structure import Structure, net_quote
from ibkit.trading.selling.trade import ExitReason, RecordState, TradeStatus
from spread_room import KEY, make_spread_room, placed, sell, short

D = Decimal


class Killed(BaseException):
    """The process dies."""


@pytest.fixture
def room():
    return make_spread_room()


@pytest.mark.anyio
@pytest.mark.requirement("TRD-13", "OPT-07")
async def test_a_bull_put_spread_is_sold_and_protected_as_one_combination(room):
    result = await sell(room)

    assert result.success, result.message
    assert (result.entry_price, result.stop_loss, result.credit) == (D("0.40"), D("2.00"), D("120.00"))
    assert (result.max_risk, result.max_loss) == (D("480.00"), D("1380.00"))
    assert (result.strike, result.long_strike, result.contract_id) == (D(629), D(624), option("629").conid)
    entry, stop = room.broker.accepted
    assert [(leg.contract.strike, leg.ratio) for leg in entry.ticket.contract.legs] == [(D(629), 1), (D(624), -1)]
    assert (entry.ticket.side, stop.ticket.side) == (Side.SELL, Side.BUY)
    assert stop.ticket.contract == entry.ticket.contract
    assert (stop.ticket.order_type, stop.ticket.stop_price) == (OrderType.STOP, D("2.00"))
    assert (short(room, option("629").conid), short(room, option("624").conid)) == (-3, 3)
    (trade,) = room.trades.rows.values()
    assert (trade.record_state, trade.conid, trade.strike_price) == (RecordState.COMPLETE, option("629").conid, D(629))
    assert [(leg.strike, leg.ratio) for leg in trade.legs] == [(D(629), 1), (D(624), -1)]
    assert (trade.label, trade.width) == ("SPY 20261120 629/624 P", D(5))
    assert trade.contract.conidex == entry.ticket.contract.conidex
    assert trade.exit_plan.stop_multiple == 5


@pytest.mark.anyio
@pytest.mark.requirement("TRD-13")
async def test_a_call_spread_buys_its_protection_above(room):
    result = await sell(room, right="C", strike=631, width="2.0")

    assert result.success, result.message
    assert [(leg.contract.strike, leg.ratio) for leg in room.broker.accepted[0].ticket.contract.legs] == [
        (D(631), 1),
        (D(633), -1),
    ]


@pytest.mark.anyio
@pytest.mark.requirement("TRD-14")
async def test_a_stop_beyond_the_width_is_brought_to_where_it_can_trigger(room):
    result = await sell(room, stop_multiple=20)

    assert result.stop_loss == D("4.95")
    assert result.success


@pytest.mark.anyio
@pytest.mark.requirement("TRD-14")
async def test_a_spread_without_a_stop_is_bought_back_as_a_whole(room):
    room.broker.reject_stops = 3

    result = await sell(room)

    assert (result.code, result.closed) == ("E-STOP-FAILED", True)
    assert len(placed(room, Side.BUY, OrderType.MARKET)) == 1
    assert (short(room, option("629").conid), short(room, option("624").conid)) == (0, 0)
    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
    assert [alert.kind for alert in await room.journal.alerts.open()] == [AlertKind.UNPROTECTED]


@pytest.mark.anyio
@pytest.mark.requirement("TRD-22", "OPT-01")
async def test_the_same_key_sells_no_second_spread_and_protects_the_first(room):
    """The process dies between the fill and its stop."""
    place = room.broker.place

    async def dies(ticket, **rest):
        if ticket.side is Side.BUY:
            raise Killed
        return await place(ticket, **rest)

    room.broker.place = dies
    with pytest.raises(BaseExceptionGroup):
        await sell(room)
    room.broker.place = place
    room.restart()

    result = await sell(room)

    assert result.success, result.message
    assert len(placed(room, Side.SELL)) == 1
    assert placed(room)[0].ticket.contract.legs


@pytest.mark.anyio
@pytest.mark.requirement("TRD-07")
async def test_a_spread_that_brings_nothing_is_refused(room):
    room.broker.quote_of = lambda conid: (
        quote(conid, "630", "630.02") if conid == SPY.conid else quote(conid, "0.62", "0.63")
    )

    result = await sell(room)

    assert result.code == "E-QUOTE"
    assert "brings nothing" in result.message
    assert not room.broker.accepted


@pytest.mark.anyio
@pytest.mark.requirement("TRD-07", "TRD-08")
@pytest.mark.parametrize(
    ("bid", "ask", "availability", "code"),
    [
        (None, "0.05", Availability.REAL_TIME, ""),
        ("0", "0.05", Availability.REAL_TIME, ""),
        (None, None, Availability.REAL_TIME, "E-MD-NONE"),
        ("0.05", "0.06", Availability.DELAYED, "E-QUOTE"),
        ("0.05", "0.06", Availability.NOT_SUBSCRIBED, "E-MD-NONE"),
    ],
)
async def test_of_the_bought_leg_only_the_ask_has_to_be_there(room, bid, ask, availability, code):
    before = room.broker.quote_of
    far = option("624").conid
    room.broker.quote_of = lambda conid: quote(conid, bid, ask, availability) if conid == far else before(conid)

    result = await sell(room)

    assert (result.code, result.success) == (code, not code), result.message


@pytest.mark.requirement("OPT-01")
def test_the_net_quote_is_what_each_leg_gives_at_its_worse_side():
    whole = Structure(option("629"), option("624")).contract
    one, two = quote(option("629").conid, "0.62", "0.63"), quote(option("624").conid, "0.20", "0.22")

    net = net_quote(whole, [one, two])

    assert (net.bid, net.ask, net.availability) == (D("0.40"), D("0.43"), Availability.REAL_TIME)
    late = dataclasses.replace(two, availability=Availability.DELAYED)
    assert net_quote(whole, [one, late]).availability is Availability.DELAYED
    assert net_quote(whole, [one, dataclasses.replace(two, ask=None)]).bid is None


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize(
    ("structure", "loss", "even"),
    [
        (Structure(option("629"), option("624")), D(460), D("628.60")),
        (Structure(option("631", Right.CALL), option("636", Right.CALL)), D(460), D("631.40")),
        (Structure(option("629")), D(62860), D("628.60")),
        (Structure(option("631", Right.CALL)), None, D("631.40")),
    ],
)
def test_what_can_be_lost_and_where_nothing_is_won(structure, loss, even):
    assert structure.max_loss(D(40), D(1)) == loss
    assert structure.break_even(D("0.40")) == even


@pytest.mark.requirement("TRD-15")
def test_the_grid_of_two_legs_is_the_coarser_at_each_price():
    penny = Increments(((D(0), D("0.01")), (D(3), D("0.05"))))
    nickel = Increments(((D(0), D("0.05")), (D(3), D("0.10"))))

    assert coarser(penny, nickel) == nickel
    assert coarser(penny, Increments(((D(0), D("0.05")),))).steps == ((D(0), D("0.05")), (D(3), D("0.05")))


@pytest.mark.anyio
@pytest.mark.requirement("TRD-16")
async def test_a_preview_shows_legs_money_and_margin_and_sends_nothing(room):
    result = await sell(room, dry_run=True, take_profit="0.5")

    assert result.success, result.message
    shown = result.preview
    assert [(leg.side, leg.contract.strike, leg.quote.bid) for leg in shown.legs] == [
        (Side.SELL, D(629), D("0.62")),
        (Side.BUY, D(624), D("0.37")),
    ]
    assert (shown.entry, shown.credit, shown.stop, shown.take_profit) == (D("0.24"), D("72.00"), D("1.20"), D("0.12"))
    assert (shown.max_loss, shown.break_even) == (D("1428.00"), D("628.76"))
    assert shown.margin.initial_margin_change == 12000
    assert room.broker.calls == ["preview"]
    assert not room.journal.intents


@pytest.mark.anyio
@pytest.mark.requirement("TRD-13")
async def test_a_partial_fill_of_a_spread_is_protected_for_what_was_sold(room):
    room.broker.fill_part = D(2)

    result = await sell(room)

    assert (result.success, result.filled_quantity) == (True, D(2))
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED
    assert placed(room)[0].ticket.quantity == 2
    assert KEY in result.key


@pytest.mark.anyio
@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize("net", ["-0.05", "0.00"])
@pytest.mark.parametrize("policy", ["close", "alert"])
async def test_a_spread_that_slipped_to_no_credit_gets_no_stop_below_its_entry(room, net, policy):
    """A multiple of nothing is no stop: it would buy back at once, at whatever price."""
    fill = room.broker.fill

    def slipped(order_id, quantity, price):
        fill(order_id, quantity, D(net) if len(room.broker.accepted) == 1 else price)

    room.broker.fill = slipped

    result = await sell(room, on_stop_failure=policy)

    assert (result.success, result.code, result.closed) == (False, "E-STOP-FAILED", policy == "close")
    assert f"no stop follows from an entry at {net}" in result.message
    assert (result.stop_loss, result.max_risk) == (None, None)
    assert placed(room, kind=OrderType.STOP) == []
